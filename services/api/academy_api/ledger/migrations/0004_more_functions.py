"""The rest of what returns a task's row, as functions beside claim and lock; and a completion in one statement.

A completion that has no continuation and is not its barrier's last needs nothing of Python once its result is checked:
in one statement it holds its job's row for as long as Postgres takes, not for several round trips of a process that may
not be scheduled.
"""

from importlib import import_module

from django.db import migrations

# Frozen with that migration: what a row is has not changed since.
COLUMNS = import_module("academy_api.ledger.migrations.0003_functions").COLUMNS

FIND = f"""
CREATE FUNCTION ledger_find(wanted bigint, lease float8) RETURNS SETOF ledger_row LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT {COLUMNS} FROM ledger_task t JOIN ledger_job j ON j.id = t.job_id WHERE t.id = wanted;
END $$
"""

CLAIMED_BY = f"""
CREATE FUNCTION ledger_claimed_by(digest bytea, from_queue text, lease float8) RETURNS SETOF ledger_row
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT {COLUMNS} FROM ledger_task t JOIN ledger_job j ON j.id = t.job_id
        WHERE t.state = 'claimed' AND t.secret_digest = digest AND t.queue = from_queue;
END $$
"""

# A `then` that its completing worker takes at once: its lane is served as by any other claim.
CLAIM_THEN = f"""
CREATE FUNCTION ledger_claim_then(
    wanted bigint, from_queue text, new_digest bytea, new_worker text, lease float8, head_start int)
RETURNS SETOF ledger_row LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH picked AS MATERIALIZED (
        SELECT t.id, t.fair_key, t.urgency, t.academy, coalesce((SELECT max(l.tag) FROM ledger_lane l
            WHERE l.queue = from_queue AND l.urgency = t.urgency AND l.academy = t.academy), 0) AS highest
        FROM ledger_task t WHERE t.id = wanted AND t.state = 'ready'),
    taken AS (
        UPDATE ledger_task SET state = 'claimed', attempt = ledger_task.attempt + 1, secret_digest = new_digest,
            worker = new_worker, claimed_at = ledger_now(), ready_at = ledger_now(), heartbeat_at = ledger_now()
        FROM picked WHERE ledger_task.id = picked.id RETURNING ledger_task.*),
    served AS (
        INSERT INTO ledger_lane AS lane (queue, urgency, academy, tag, fair_key)
        SELECT from_queue, p.urgency, p.academy, greatest(p.highest - head_start, 0) + 1, p.fair_key FROM picked p
        ON CONFLICT (queue, urgency, academy) DO UPDATE SET
            tag = greatest(lane.tag + 1, excluded.tag), fair_key = greatest(lane.fair_key, excluded.fair_key))
    SELECT {COLUMNS} FROM taken t JOIN ledger_job j ON j.id = t.job_id;
END $$
"""

# Job before task before barrier, as everywhere. False: nothing was done, and the caller goes the long way.
COMPLETE = """
CREATE FUNCTION ledger_complete(wanted bigint, held_attempt int, held_digest bytea, new_result jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    counted_at bigint;
BEGIN
    PERFORM FROM ledger_job job WHERE job.id = (SELECT job_id FROM ledger_task WHERE ledger_task.id = wanted)
        FOR NO KEY UPDATE;
    SELECT b.id INTO counted_at FROM ledger_task t JOIN ledger_barrier b ON b.id = t.barrier_id
        WHERE t.id = wanted AND t.state = 'claimed' AND t.attempt = held_attempt AND t.secret_digest = held_digest
        AND b.remaining > 1 FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE ledger_task SET state = 'succeeded', result = new_result, stands = true, percent = 100,
        finished_at = ledger_now() WHERE ledger_task.id = wanted;
    UPDATE ledger_barrier SET remaining = remaining - 1 WHERE ledger_barrier.id = counted_at;
    RETURN true;
END $$
"""


class Migration(migrations.Migration):

    dependencies = [("ledger", "0003_functions")]

    operations = [
        migrations.RunSQL(FIND, "DROP FUNCTION ledger_find(bigint, float8)"),
        migrations.RunSQL(CLAIMED_BY, "DROP FUNCTION ledger_claimed_by(bytea, text, float8)"),
        migrations.RunSQL(CLAIM_THEN, "DROP FUNCTION ledger_claim_then(bigint, text, bytea, text, float8, int)"),
        migrations.RunSQL(COMPLETE, "DROP FUNCTION ledger_complete(bigint, int, bytea, jsonb)"),
    ]
