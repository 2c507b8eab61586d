"""The kept logs of attempts."""

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('jobs', '0002_ends_are_final'),
    ]

    operations = [
        migrations.CreateModel(
            name='Log',
            fields=[
                ('attempt', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='log', serialize=False, to='jobs.attempt')),
                ('stored_bytes', models.BigIntegerField(default=0)),
                ('ending', models.CharField(blank=True, choices=[('complete', 'complete'), ('too_long', 'cut: longer than the portal keeps'), ('unreachable', 'cut: the cluster could not be asked for the rest')], max_length=20)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('lease_token', models.UUIDField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('ending', '')), fields=['lease_until'], name='log_followed')],
                'constraints': [models.CheckConstraint(condition=models.Q(('ending__in', ['', 'complete', 'too_long', 'unreachable'])), name='log_ending_known')],
            },
        ),
        migrations.CreateModel(
            name='LogChunk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('byte_from', models.BigIntegerField()),
                ('byte_to', models.BigIntegerField()),
                ('data', models.BinaryField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('attempt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='jobs.attempt')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('attempt', 'byte_from'), name='log_chunk_once'), models.CheckConstraint(condition=models.Q(('byte_to', django.db.models.expressions.CombinedExpression(models.F('byte_from'), '+', models.Func('data', function='octet_length', output_field=models.BigIntegerField()))), ('byte_to__gt', models.F('byte_from'))), name='log_chunk_length')],
            },
        ),
    ]
