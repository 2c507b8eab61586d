"""What was foretold of jobs."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Prediction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('job_id', models.BigIntegerField()),
                ('plan', models.JSONField()),
                ('iteration_s', models.FloatField()),
                ('peak_bytes', models.FloatField()),
                ('tokens_per_step', models.FloatField()),
                ('tokens', models.FloatField(default=0)),
                ('usd_per_hour', models.DecimalField(decimal_places=6, max_digits=16, null=True)),
                ('made_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('attempt', models.PositiveIntegerField(null=True)),
                ('steps', models.PositiveIntegerField(default=0)),
                ('measured_iteration_s', models.FloatField(null=True)),
                ('measured_peak_bytes', models.FloatField(null=True)),
                ('measured_hours', models.FloatField(null=True)),
                ('measured_usd', models.DecimalField(decimal_places=6, max_digits=16, null=True)),
                ('settled_at', models.DateTimeField(null=True)),
                ('team', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.team')),
            ],
            options={
                'indexes': [models.Index(fields=['team', '-job_id'], name='prediction_of_team')],
                'constraints': [models.UniqueConstraint(fields=('job_id',), name='prediction_once')],
            },
        ),
    ]
