"""What an attempt was started with, to be masked in its log."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0003_logs")]

    operations = [
        migrations.AddField(
            model_name="attempt",
            name="sealed_secrets",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
    ]
