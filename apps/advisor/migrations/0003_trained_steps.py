"""How many steps a job trained."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('advisor', '0002_chips_of_a_team'),
    ]

    operations = [
        migrations.AddField(
            model_name='prediction',
            name='trained_steps',
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
