"""Finds the meters of a cluster in a span of time."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('costs', '0002_sample_prices'),
    ]

    operations = [
        migrations.AlterField(
            model_name='meter',
            name='on',
            field=models.CharField(blank=True, max_length=80),
        ),
        migrations.AddIndex(
            model_name='meter',
            index=models.Index(fields=['on', 'stopped_at'], name='meter_on_until'),
        ),
    ]
