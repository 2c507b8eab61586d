"""Packages can be deleted: a name is then free, and an object is dropped with its last package."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("jobs", "0004_attempt_sealed_secrets")]

    operations = [
        migrations.AddField(
            model_name="package",
            name="deleted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RemoveConstraint(model_name="package", name="package_name_once"),
        migrations.AddConstraint(
            model_name="package",
            constraint=models.UniqueConstraint(
                condition=models.Q(("deleted_at", None)),
                fields=("team", "name"),
                name="package_name_once",
            ),
        ),
        migrations.AddIndex(
            model_name="package",
            index=models.Index(
                condition=models.Q(("deleted_at", None)), fields=["sha256"], name="package_object"
            ),
        ),
    ]
