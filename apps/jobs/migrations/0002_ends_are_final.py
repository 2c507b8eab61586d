"""What the tables cannot say by themselves: an end is final, and a name is found by any part."""

from django.db import migrations

FINAL = """
CREATE FUNCTION jobs_attempt_ends_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'attempt % has ended as %: an end is final', OLD.id, OLD.state
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER ends_are_final BEFORE UPDATE OF state ON jobs_attempt FOR EACH ROW
  WHEN (OLD.state IN ('succeeded', 'failed', 'stopped', 'lost') AND NEW.state <> OLD.state)
  EXECUTE FUNCTION jobs_attempt_ends_are_final();
"""
NOT_FINAL = """
DROP TRIGGER ends_are_final ON jobs_attempt;
DROP FUNCTION jobs_attempt_ends_are_final();
"""
# The words of Django's icontains, so that the planner finds the index. The extension is a trusted
# one: the owner of a database may create it.
BY_NAME = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX job_name_parts ON jobs_job USING gin (upper(name::text) gin_trgm_ops);
"""


class Migration(migrations.Migration):
    dependencies = [("jobs", "0001_initial")]

    operations = [
        migrations.RunSQL(FINAL, NOT_FINAL),
        migrations.RunSQL(BY_NAME, "DROP INDEX job_name_parts"),
    ]
