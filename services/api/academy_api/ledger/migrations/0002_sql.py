"""What Django's models cannot say: the clock, composite foreign keys, claim counters, room for HOT updates."""

from django.db import migrations

from academy_core.kinds import Queue

CLOCK = """
CREATE FUNCTION ledger_now() RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT statement_timestamp()';
COMMENT ON FUNCTION ledger_now() IS 'The only clock of the ledger.';
"""
# The database itself refuses a task or barrier of one academy in the job of another.
SAME_ACADEMY = """
ALTER TABLE ledger_task ADD CONSTRAINT ledger_task_same_academy
    FOREIGN KEY (academy, job_id) REFERENCES ledger_job (academy, id);
ALTER TABLE ledger_barrier ADD CONSTRAINT ledger_barrier_same_academy
    FOREIGN KEY (academy, job_id) REFERENCES ledger_job (academy, id);
"""
# Room on each page for the versions that heartbeats and barrier counts leave, and a vacuum that keeps up.
ROOM = """
ALTER TABLE ledger_task SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE ledger_barrier SET (fillfactor = 50);
ALTER TABLE ledger_lane SET (fillfactor = 50);
ALTER TABLE ledger_outbox SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
"""


def counter(queue: Queue) -> str:
    """Name of the queue's claim counter (every fourth claim prefers bulk)."""
    return f"ledger_claims_{queue.value.replace('-', '_')}"


class Migration(migrations.Migration):

    dependencies = [("ledger", "0001_initial")]

    operations = [
        migrations.RunSQL(CLOCK, "DROP FUNCTION ledger_now()"),
        migrations.RunSQL(
            SAME_ACADEMY,
            "ALTER TABLE ledger_task DROP CONSTRAINT ledger_task_same_academy;"
            "ALTER TABLE ledger_barrier DROP CONSTRAINT ledger_barrier_same_academy;",
        ),
        migrations.RunSQL(ROOM, migrations.RunSQL.noop),
        *(migrations.RunSQL(f"CREATE SEQUENCE {counter(q)}", f"DROP SEQUENCE {counter(q)}") for q in Queue),
    ]
