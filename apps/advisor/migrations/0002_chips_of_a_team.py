"""Chips and figures of a team."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('advisor', '0001_predictions'),
    ]

    operations = [
        migrations.CreateModel(
            name='ChipFigure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('chip', models.CharField(max_length=80)),
                ('figure', models.CharField(max_length=40)),
                ('value', models.FloatField()),
                ('quality', models.CharField(max_length=20)),
                ('source', models.CharField(max_length=200)),
                ('from_at', models.DateTimeField()),
                ('to_at', models.DateTimeField(blank=True, null=True)),
                ('set_by', models.CharField(blank=True, max_length=120)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.team')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('value__gt', 0)), name='chip_figure_above_0'), models.CheckConstraint(condition=models.Q(('quality__in', ('measured', 'published', 'approximate', 'unverified', 'assumed'))), name='chip_figure_quality_known'), models.CheckConstraint(condition=models.Q(('to_at', None), ('to_at__gt', models.F('from_at')), _connector='OR'), name='chip_figure_has_length'), models.UniqueConstraint(condition=models.Q(('to_at', None)), fields=('team', 'chip', 'figure'), name='one_open_chip_figure')],
            },
        ),
        migrations.CreateModel(
            name='TeamChip',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('key', models.CharField(max_length=80)),
                ('vendor', models.CharField(max_length=80)),
                ('form_factor', models.CharField(blank=True, max_length=80)),
                ('note', models.CharField(blank=True, max_length=200)),
                ('added_at', models.DateTimeField()),
                ('removed_at', models.DateTimeField(blank=True, null=True)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.team')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('team', 'key'), name='one_chip_of_a_name')],
            },
        ),
    ]
