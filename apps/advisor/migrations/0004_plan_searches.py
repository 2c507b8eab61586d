"""Searches of plans, kept for whoever asks again."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('advisor', '0003_trained_steps'),
    ]

    operations = [
        migrations.CreateModel(
            name='PlanSearch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=64, unique=True)),
                ('asked', models.JSONField()),
                ('found', models.JSONField(blank=True, null=True)),
                ('took_s', models.FloatField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('made_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('next_look_at', models.DateTimeField(blank=True, db_index=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('lease_token', models.UUIDField(blank=True, null=True)),
            ],
        ),
    ]
