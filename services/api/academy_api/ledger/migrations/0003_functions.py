"""The three statements of every task's life, as functions: claim, lock, succeed.

Planning them costs more than running them; a function's plan is kept by the server connection, which also holds behind
a transaction-pooling PgBouncer. `sql.py` calls them and names what they return.
"""

from django.db import migrations

ROW_TYPE = """
CREATE TYPE ledger_row AS (
    id bigint, academy uuid, job uuid, kind text, version int, queue text, state text, cause text, input jsonb,
    barrier_id bigint, "position" int, gathers bigint, attempt int, generation int, failures smallint, crashes smallint,
    max_failures smallint, max_crashes smallint, max_seconds int, digest bytea, next_claim jsonb,
    ready_at timestamptz, claimed_at timestamptz, overdue boolean,
    owner_ref uuid, request_id text, output_prefix text, job_kind text, job_state text, job_generation int)
"""
COLUMNS = """t.id, t.academy, t.job_id, t.kind::text, t.version, t.queue::text, t.state::text, t.cause::text, t.input,
    t.barrier_id, t.position, t.gathers, t.attempt, t.generation, t.failures, t.crashes, t.max_failures, t.max_crashes,
    t.max_seconds, t.secret_digest, t.next_claim, t.ready_at, t.claimed_at,
    coalesce(t.heartbeat_at < ledger_now() - lease * interval '1 second', false),
    j.owner_ref, j.request_id::text, j.output_prefix, j.kind::text, j.state::text, j.generation"""

# A repeat finds what its secret holds already. Otherwise: the preferred class first (every fourth turn that is bulk),
# within it the academy served least, within that the task with the lowest key.
CLAIM = f"""
CREATE FUNCTION ledger_claim(
    from_queue text, counter regclass, kinds text[], versions int[], new_digest bytea, new_worker text, lease float8,
    head_start int, bulk_turn int) RETURNS SETOF ledger_row LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT {COLUMNS} FROM ledger_task t JOIN ledger_job j ON j.id = t.job_id
        WHERE t.state = 'claimed' AND t.secret_digest = new_digest AND t.queue = from_queue;
    IF FOUND THEN RETURN; END IF;
    -- A claim that a crash of Postgres forgets is harmless (its attempt just gets LeaseLost): it need not wait for disk.
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY
    WITH RECURSIVE
    turn AS MATERIALIZED (SELECT CASE WHEN nextval(counter) % bulk_turn = 0 THEN 1 ELSE 0 END AS preferred),
    backlog (urgency, academy) AS (
        (SELECT t.urgency, t.academy FROM ledger_task t WHERE t.state = 'ready' AND t.queue = from_queue
         ORDER BY t.urgency, t.academy LIMIT 1)
        UNION ALL
        SELECT following.urgency, following.academy FROM backlog b CROSS JOIN LATERAL (
            SELECT t.urgency, t.academy FROM ledger_task t WHERE t.state = 'ready' AND t.queue = from_queue
            AND (t.urgency, t.academy) > (b.urgency, b.academy) ORDER BY t.urgency, t.academy LIMIT 1) following),
    lanes AS MATERIALIZED (
        SELECT b.urgency, b.academy, coalesce(l.tag, 0) AS tag,
               max(coalesce(l.tag, 0)) OVER (PARTITION BY b.urgency) AS highest
        FROM backlog b LEFT JOIN ledger_lane l
        ON l.queue = from_queue AND l.urgency = b.urgency AND l.academy = b.academy),
    picked AS MATERIALIZED (
        SELECT candidate.id, candidate.fair_key, o.urgency, o.academy, o.highest
        FROM (SELECT l.* FROM lanes l, turn
              ORDER BY (l.urgency = turn.preferred) DESC, l.urgency, l.tag, l.academy OFFSET 0) o
        CROSS JOIN LATERAL (
            SELECT t.id, t.fair_key FROM ledger_task t
            WHERE t.state = 'ready' AND t.queue = from_queue AND t.urgency = o.urgency AND t.academy = o.academy
            AND t.ready_at <= ledger_now()
            AND EXISTS (SELECT FROM unnest(kinds, versions) AS a (kind, version)
                        WHERE a.kind = t.kind AND a.version = t.version)
            ORDER BY t.fair_key, t.id LIMIT 1 FOR NO KEY UPDATE OF t SKIP LOCKED) candidate
        LIMIT 1),
    taken AS (
        UPDATE ledger_task SET state = 'claimed', attempt = ledger_task.attempt + 1, secret_digest = new_digest,
            worker = new_worker, claimed_at = ledger_now(), heartbeat_at = ledger_now(),
            percent = NULL, media_seconds = NULL
        FROM picked WHERE ledger_task.id = picked.id RETURNING ledger_task.*),
    served AS (
        INSERT INTO ledger_lane AS lane (queue, urgency, academy, tag, fair_key)
        SELECT from_queue, p.urgency, p.academy, greatest(p.highest - head_start, 0) + 1, p.fair_key FROM picked p
        ON CONFLICT (queue, urgency, academy) DO UPDATE SET
            tag = greatest(lane.tag + 1, excluded.tag), fair_key = greatest(lane.fair_key, excluded.fair_key))
    SELECT {COLUMNS} FROM taken t JOIN ledger_job j ON j.id = t.job_id;
END $$
"""

# Job before task: the first statement holds the job's row when the second reads, and locks, the task.
LOCK = f"""
CREATE FUNCTION ledger_lock(wanted bigint, lease float8) RETURNS SETOF ledger_row LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ledger_job job WHERE job.id = (SELECT job_id FROM ledger_task WHERE ledger_task.id = wanted)
        FOR NO KEY UPDATE;
    RETURN QUERY SELECT {COLUMNS} FROM ledger_task t JOIN ledger_job j ON j.id = t.job_id
        WHERE t.id = wanted FOR NO KEY UPDATE OF t;
END $$
"""

# Ends the attempt and, where the task has no continuation (it stands for itself), counts it at its barrier.
SUCCEED = """
CREATE FUNCTION ledger_succeed(wanted bigint, new_crashes smallint, new_result jsonb, new_stands boolean)
RETURNS SETOF ledger_barrier LANGUAGE plpgsql AS $$
DECLARE
    counted_at bigint;
BEGIN
    UPDATE ledger_task SET state = 'succeeded', crashes = new_crashes, result = new_result, stands = new_stands,
        percent = 100, finished_at = ledger_now()
    WHERE ledger_task.id = wanted RETURNING barrier_id INTO counted_at;
    IF new_stands AND counted_at IS NOT NULL THEN
        RETURN QUERY UPDATE ledger_barrier b SET remaining = b.remaining - 1 WHERE b.id = counted_at RETURNING b.*;
    END IF;
END $$
"""


class Migration(migrations.Migration):

    dependencies = [("ledger", "0002_sql")]

    operations = [
        migrations.RunSQL(ROW_TYPE, "DROP TYPE ledger_row"),
        migrations.RunSQL(
            CLAIM, "DROP FUNCTION ledger_claim(text, regclass, text[], int[], bytea, text, float8, int, int)"
        ),
        migrations.RunSQL(LOCK, "DROP FUNCTION ledger_lock(bigint, float8)"),
        migrations.RunSQL(SUCCEED, "DROP FUNCTION ledger_succeed(bigint, smallint, jsonb, boolean)"),
    ]
