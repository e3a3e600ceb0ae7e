"""Every statement that moves work, as SQL. The rest of the ledger decides; this module says it to Postgres.

Rules that hold throughout: the clock is `ledger_now()`; the job's row is locked before a task's; claim locks no job
row; a lane's row is locked last and by claims only; no session state (`set_config(…, true)` is the transaction's), so
that a transaction-pooling PgBouncer may stand in between. Parameters are psycopg2's named ones.
"""

# ruff: noqa: S608 - statements are put together from this module's own constants; every value is a parameter

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db import connection

HEAD_START = 4
"""Tasks by which a newcomer may precede: a job within its academy, an academy among others that wait longer."""
BULK_TURN = 4
"""Every so many claims on a queue, bulk comes before short."""


class Row(NamedTuple):
    """A task joined with its job: the database's type `ledger_row`, which claim, lock and find return."""

    id: int
    academy: Any
    job: Any
    kind: str
    version: int
    queue: str
    state: str
    cause: str
    input: Any
    barrier_id: int | None
    position: int
    gathers: int | None
    attempt: int
    generation: int
    failures: int
    crashes: int
    max_failures: int
    max_crashes: int
    max_seconds: int
    digest: Any
    next_claim: Any
    ready_at: Any
    claimed_at: Any
    overdue: bool
    owner_ref: Any
    request_id: str
    output_prefix: str
    job_kind: str
    job_state: str
    job_generation: int


# A claim or heartbeat that a crash of Postgres forgets is harmless (its attempt just gets LeaseLost), so neither
# waits for the disk.
_LAZY_COMMIT = "set_config('synchronous_commit', 'off', true)"

# Functions keep their plans (migrations 0003 and 0004): planning these anew would cost more than running them.
CLAIM = f"""
SELECT * FROM ledger_claim(%(queue)s, %(counter)s, %(kinds)s::text[], %(versions)s::int[], %(digest)s, %(worker)s,
    %(lease)s, {HEAD_START}, {BULK_TURN})
"""

CLAIM_THEN = f"""
SELECT * FROM ledger_claim_then(%(task)s, %(queue)s, %(digest)s, %(worker)s, %(lease)s, {HEAD_START})
"""

CLAIMED_BY = "SELECT * FROM ledger_claimed_by(%(digest)s, %(queue)s, %(lease)s)"

TASK = "SELECT * FROM ledger_find(%(task)s, %(lease)s)"

LOCK = "SELECT * FROM ledger_lock(%(task)s, %(lease)s)"

LOCK_JOB = """
SELECT id, academy, owner_ref, kind, request_id, output_prefix, generation, state, outcome,
       reason_code, reason_ko, reason_en, summary IS NOT NULL
FROM ledger_job WHERE id = %(job)s FOR NO KEY UPDATE
"""

RESULTS = """
SELECT result FROM ledger_task
WHERE job_id = %(job)s AND barrier_id = %(barrier)s AND state = 'succeeded' AND stands ORDER BY position
"""

HEARTBEAT = f"""
WITH lazy AS MATERIALIZED (SELECT {_LAZY_COMMIT})
UPDATE ledger_task SET heartbeat_at = ledger_now(),
    percent = coalesce(%(percent)s, percent), media_seconds = coalesce(%(media_seconds)s, media_seconds)
FROM lazy WHERE id = %(task)s AND state = 'claimed' AND attempt = %(attempt)s AND secret_digest = %(digest)s
AND queue = ANY(%(queues)s)
"""

TAKE_BACK = """
UPDATE ledger_task SET state = 'claimed', crashes = %(crashes)s, heartbeat_at = ledger_now(),
    percent = coalesce(%(percent)s, percent), media_seconds = coalesce(%(media_seconds)s, media_seconds)
WHERE id = %(task)s
"""

# True when that was all: the attempt holds the task, which stands for itself and is not its barrier's last.
COMPLETE = "SELECT ledger_complete(%(task)s, %(attempt)s, %(digest)s, %(result)s::jsonb)"

# The barrier at which the task was counted, if any.
SUCCEED = """
SELECT id, remaining, total, then_task, outer_barrier, outer_position
FROM ledger_succeed(%(task)s, %(crashes)s::smallint, %(result)s::jsonb, %(stands)s)
"""

COUNT_DOWN = """
UPDATE ledger_barrier SET remaining = remaining - 1 WHERE id = %(barrier)s
RETURNING id, remaining, total, then_task, outer_barrier, outer_position
"""

# A barrier without `then` has ended: its last child's result stands in the place of the task that made it.
MOVE_OUT = """
UPDATE ledger_task SET barrier_id = %(outer_barrier)s, position = %(outer_position)s
WHERE job_id = %(job)s AND barrier_id = %(barrier)s AND position = %(position)s AND stands
"""

ROOT_RESULT = """
SELECT result FROM ledger_task WHERE job_id = %(job)s AND barrier_id IS NULL AND stands AND state = 'succeeded'
"""

SET_NEXT = "UPDATE ledger_task SET next_claim = %(next)s::jsonb WHERE id = %(task)s"

_BELL = "INSERT INTO ledger_outbox (queue, task, job, request_id, generation, created_at, send_after)"
_BELL_RETURNING = "RETURNING id, queue, task, job, request_id, created_at"

WAKE = """
UPDATE ledger_task t SET state = 'ready', cause = 'created', ready_at = ledger_now(),
    fair_key = coalesce((SELECT l.fair_key FROM ledger_lane l
        WHERE l.queue = t.queue AND l.urgency = t.urgency AND l.academy = t.academy), 0)
WHERE t.id = %(task)s AND t.state = 'waiting' RETURNING t.queue, t.kind, t.version
"""

RING_ONE = f"""
{_BELL} SELECT t.queue, t.id, t.job_id, j.request_id, NULL, ledger_now(),
    ledger_now() + %(hold)s * interval '1 second'
FROM ledger_task t JOIN ledger_job j ON j.id = t.job_id WHERE t.id = %(task)s {_BELL_RETURNING}
"""

# Ready again: at once (released, expired) or after a backoff; one bell, due when the task is.
READY_AGAIN = f"""
WITH t AS (
    UPDATE ledger_task SET state = 'ready', cause = %(cause)s, failures = %(failures)s, crashes = %(crashes)s,
        code = %(code)s, detail = %(detail)s, ready_at = ledger_now() + %(delay)s * interval '1 second',
        percent = NULL, media_seconds = NULL
    WHERE id = %(task)s RETURNING *)
{_BELL} SELECT t.queue, t.id, t.job_id, j.request_id, NULL, ledger_now(),
    t.ready_at + %(hold)s * interval '1 second'
FROM t JOIN ledger_job j ON j.id = t.job_id {_BELL_RETURNING}
"""

# Failed or dead. A death is told to the DLQ.
END_TASK = f"""
WITH t AS (
    UPDATE ledger_task SET state = %(state)s, cause = %(cause)s, failures = %(failures)s, crashes = %(crashes)s,
        code = %(code)s, detail = %(detail)s, finished_at = ledger_now()
    WHERE id = %(task)s RETURNING *)
{_BELL} SELECT t.queue, t.id, t.job_id, j.request_id, t.generation, ledger_now(), ledger_now()
FROM t JOIN ledger_job j ON j.id = t.job_id WHERE t.state = 'dead'
"""

CANCEL_TASKS = """
UPDATE ledger_task SET state = 'cancelled', finished_at = ledger_now()
WHERE job_id = %(job)s AND state IN ('ready', 'claimed', 'waiting')
"""

END_JOB = """
UPDATE ledger_job SET state = %(state)s, outcome = %(outcome)s, reason_code = %(code)s, reason_ko = %(ko)s,
    reason_en = %(en)s, finished_at = CASE WHEN %(state)s = 'finishing' THEN NULL ELSE ledger_now() END,
    hook_failures = CASE WHEN %(state)s = 'finishing' THEN hook_failures + 1 ELSE 0 END,
    hook_after = CASE WHEN %(state)s = 'finishing'
        THEN ledger_now() + least(300, 5 * 2 ^ least(hook_failures, 10)) * interval '1 second' END
WHERE id = %(job)s
"""

REOPEN_JOB = """
UPDATE ledger_job SET state = 'open', outcome = '', generation = generation + 1, reason_code = '', reason_ko = '',
    reason_en = '', finished_at = NULL, hook_failures = 0, hook_after = NULL
WHERE id = %(job)s RETURNING generation
"""

REVIVE_TASKS = f"""
WITH t AS (
    UPDATE ledger_task SET
        state = CASE WHEN EXISTS (SELECT FROM ledger_barrier b WHERE b.id = gathers AND b.remaining > 0)
            THEN 'waiting' ELSE 'ready' END,
        cause = 'revived', generation = %(generation)s, failures = 0, crashes = 0, secret_digest = NULL,
        ready_at = ledger_now(), finished_at = NULL, percent = NULL, media_seconds = NULL
    WHERE job_id = %(job)s AND state IN ('dead', 'failed', 'cancelled') RETURNING *)
{_BELL} SELECT t.queue, t.id, t.job_id, j.request_id, NULL, ledger_now(), ledger_now() + %(hold)s * interval '1 second'
FROM t JOIN ledger_job j ON j.id = t.job_id WHERE t.state = 'ready' {_BELL_RETURNING}
"""

NEW_JOB = """
INSERT INTO ledger_job (id, academy, kind, owner_ref, request_id, output_prefix, state, outcome, generation,
    reason_code, reason_ko, reason_en, hook_failures, created_at)
VALUES (%(job)s, %(academy)s, %(kind)s, %(owner_ref)s, %(request_id)s, %(output_prefix)s, 'open', '', 1,
    '', '', '', 0, ledger_now())
"""

NEW_BARRIER = """
INSERT INTO ledger_barrier (academy, job_id, then_task, remaining, total, outer_barrier, outer_position)
SELECT j.academy, j.id, CASE WHEN %(has_then)s THEN nextval('ledger_task_id_seq') END, %(total)s, %(total)s,
    %(outer_barrier)s, %(outer_position)s
FROM ledger_job j WHERE j.id = %(job)s RETURNING id, then_task
"""

# New tasks with their bells. `fair_key`: the lane's virtual time plus the place in the job's own line.
NEW_TASKS = f"""
WITH t AS (
    INSERT INTO ledger_task (id, academy, job_id, kind, version, queue, urgency, state, cause, input, barrier_id,
        position, ordinal, gathers, stands, fair_key, attempt, generation, failures, crashes, max_failures, max_crashes,
        max_seconds, worker, code, detail, created_at, ready_at)
    SELECT coalesce(%(id)s, nextval('ledger_task_id_seq')), j.academy, j.id, n.kind, n.version, n.queue, n.urgency,
        %(state)s, 'created', n.input::jsonb, %(barrier)s, %(position)s + n.place - 1, %(ordinal)s + n.place - 1,
        %(gathers)s, false, coalesce(l.fair_key, 0) + greatest(0, %(ordinal)s + n.place - {HEAD_START}), 0,
        j.generation, 0, 0, n.max_failures, n.max_crashes, n.max_seconds, '', '', '', ledger_now(), ledger_now()
    FROM ledger_job j CROSS JOIN unnest(%(kinds)s::text[], %(versions)s::int[], %(queues)s::text[],
        %(urgencies)s::smallint[], %(inputs)s::text[], %(max_failures)s::smallint[], %(max_crashes)s::smallint[],
        %(max_seconds)s::int[]) WITH ORDINALITY
        AS n (kind, version, queue, urgency, input, max_failures, max_crashes, max_seconds, place)
    LEFT JOIN ledger_lane l ON l.queue = n.queue AND l.urgency = n.urgency AND l.academy = j.academy
    WHERE j.id = %(job)s ORDER BY n.place RETURNING *)
{_BELL} SELECT t.queue, t.id, t.job_id, j.request_id, NULL, ledger_now(), ledger_now() + %(hold)s * interval '1 second'
FROM t JOIN ledger_job j ON j.id = t.job_id WHERE t.state = 'ready' AND %(bell)s ORDER BY t.id {_BELL_RETURNING}
"""

EXPIRED = """
SELECT id FROM ledger_task WHERE state = 'claimed' AND heartbeat_at < ledger_now() - %(lease)s * interval '1 second'
ORDER BY heartbeat_at LIMIT %(limit)s
"""

FINISHING = """
SELECT id FROM ledger_job WHERE state = 'finishing' AND hook_after <= ledger_now() ORDER BY hook_after LIMIT %(limit)s
"""

DUE = """
SELECT id, queue, task, job, request_id, created_at, generation FROM ledger_outbox
WHERE send_after <= ledger_now() ORDER BY send_after, id LIMIT %(limit)s
"""

SENT = "DELETE FROM ledger_outbox WHERE id = ANY(%(ids)s)"

LET_GO = "UPDATE ledger_outbox SET send_after = created_at WHERE id = ANY(%(ids)s)"

LAG = """
SELECT count(*), coalesce(extract(epoch FROM ledger_now() - min(send_after)), 0)
FROM ledger_outbox WHERE send_after <= ledger_now()
"""

# Ready for more than a minute, and no bell of theirs is still on its way out.
_OVERDUE = """FROM ledger_task t
WHERE t.state = 'ready' AND t.ready_at < ledger_now() - %(seconds)s * interval '1 second'
AND t.id NOT IN (SELECT o.task FROM ledger_outbox o)"""

OVERDUE = f"SELECT t.queue, count(*) {_OVERDUE} GROUP BY t.queue"

RING_OVERDUE = f"""
{_BELL} SELECT t.queue, t.id, t.job_id, (SELECT j.request_id FROM ledger_job j WHERE j.id = t.job_id), NULL,
    ledger_now(), ledger_now()
{_OVERDUE} AND t.queue = %(queue)s ORDER BY t.ready_at LIMIT %(limit)s
"""

RING_ALL = f"""
{_BELL} SELECT t.queue, t.id, t.job_id, (SELECT j.request_id FROM ledger_job j WHERE j.id = t.job_id), NULL,
    ledger_now(), greatest(ledger_now(), t.ready_at)
FROM ledger_task t WHERE t.state = 'ready' AND t.id NOT IN (SELECT o.task FROM ledger_outbox o)
"""

DEAD_AMONG = """
SELECT t.id, t.generation FROM ledger_task t
JOIN unnest(%(tasks)s::bigint[], %(generations)s::int[]) AS m (task, generation)
ON t.id = m.task AND t.generation = m.generation WHERE t.state = 'dead'
"""

FOLDABLE = """
SELECT id FROM ledger_job WHERE finished_at < ledger_now() - %(days)s * interval '1 day' AND summary IS NULL
ORDER BY finished_at LIMIT %(limit)s
"""

FOLD = """
WITH gone AS (DELETE FROM ledger_task WHERE job_id = %(job)s RETURNING *),
barriers AS (DELETE FROM ledger_barrier WHERE job_id = %(job)s),
kinds AS (
    SELECT kind, count(*) AS tasks, count(*) FILTER (WHERE state = 'succeeded') AS succeeded, sum(attempt) AS attempts,
        coalesce(sum(extract(epoch FROM finished_at - claimed_at)) FILTER (WHERE state = 'succeeded'), 0) AS seconds
    FROM gone GROUP BY kind)
UPDATE ledger_job SET summary = jsonb_build_object(
    'result', (SELECT result FROM gone WHERE barrier_id IS NULL AND stands AND state = 'succeeded'),
    'kinds', coalesce((SELECT jsonb_object_agg(kind, jsonb_build_object('tasks', tasks, 'succeeded', succeeded,
        'attempts', attempts, 'seconds', seconds)) FROM kinds), '{}'))
WHERE id = %(job)s AND summary IS NULL
"""

STAGES = """
SELECT kind, count(*), count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'claimed'),
    avg(CASE WHEN state = 'succeeded' THEN 100 ELSE coalesce(percent, 0) END), sum(media_seconds)
FROM ledger_task WHERE job_id = %(job)s GROUP BY kind ORDER BY min(id)
"""

JOB = """
SELECT id, state, reason_code, reason_ko, reason_en FROM ledger_job WHERE id = %(job)s
"""

JOB_RESULTS = """
SELECT id, ordinal, result FROM ledger_task
WHERE job_id = %(job)s AND kind = %(kind)s AND state = 'succeeded' AND id <> ALL(%(beyond)s::bigint[])
ORDER BY ordinal, id
"""

PROBE = "SELECT ledger_now()"


def rows(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement that returns rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def row(statement: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row, or None."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: tuple[Any, ...] | None = cursor.fetchone()
        return found


def task_row(statement: str, parameters: Mapping[str, Any]) -> Row | None:
    """The task row of a statement that selects one, or None."""
    found = row(statement, parameters)
    return Row(*found) if found else None


def execute(statement: str, parameters: Mapping[str, Any]) -> int:
    """Run a statement that returns no rows. Returns how many it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        touched: int = cursor.rowcount
        return touched
