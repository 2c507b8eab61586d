"""Prices and meters."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Meter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80)),
                ('on', models.CharField(blank=True, db_index=True, max_length=80)),
                ('kind', models.CharField(max_length=80)),
                ('quantity', models.DecimalField(decimal_places=6, default=Decimal('1'), max_digits=14)),
                ('started_at', models.DateTimeField()),
                ('stopped_at', models.DateTimeField(blank=True, null=True)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='accounts.team')),
            ],
            options={
                'indexes': [models.Index(fields=['name'], name='meter_of_name')],
                'constraints': [models.CheckConstraint(condition=models.Q(('quantity__gte', 0)), name='meter_not_negative'), models.CheckConstraint(condition=models.Q(('stopped_at', None), ('stopped_at__gte', models.F('started_at')), _connector='OR'), name='meter_stops_after_its_start'), models.UniqueConstraint(condition=models.Q(('stopped_at', None)), fields=('name', 'kind'), name='one_open_meter')],
            },
        ),
        migrations.CreateModel(
            name='PriceInterval',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=80, verbose_name='kind of node')),
                ('usd_per_hour', models.DecimalField(decimal_places=6, max_digits=14, validators=[django.core.validators.MinValueValidator(0)], verbose_name='USD per node-hour')),
                ('from_at', models.DateTimeField(verbose_name='holds from')),
                ('to_at', models.DateTimeField(blank=True, null=True, verbose_name='holds until')),
                ('basis', models.CharField(choices=[('sample', 'sample data'), ('list', 'list price'), ('contract', 'contract'), ('tco', 'total cost of ownership')], default='list', max_length=10, verbose_name='basis')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='note')),
                ('set_by', models.CharField(blank=True, max_length=120)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('team', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to='accounts.team')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('usd_per_hour__gte', 0)), name='price_not_negative'), models.CheckConstraint(condition=models.Q(('basis__in', ['sample', 'list', 'contract', 'tco'])), name='price_basis_known'), models.CheckConstraint(condition=models.Q(('to_at', None), ('to_at__gt', models.F('from_at')), _connector='OR'), name='price_has_length'), models.UniqueConstraint(condition=models.Q(('to_at', None)), fields=('team', 'kind'), name='one_open_price', nulls_distinct=False), models.UniqueConstraint(fields=('team', 'kind', 'from_at'), name='one_price_at_once', nulls_distinct=False)],
            },
        ),
    ]
