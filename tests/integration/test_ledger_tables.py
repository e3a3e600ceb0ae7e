"""What the ledger's tables promise: small indexes on the hot part (S-11), heartbeats that touch no index."""

from collections.abc import Iterator

import ledger_support as support
import pytest
from django.db import connection
from django.db.backends.utils import CursorWrapper
from ledger_support import SHORT, must_claim, new, submit
from support import wait_until

from academy_api.ledger import leases, sql

FINISHED = 1_000_000


def plan(statement: str, parameters: dict[str, object]) -> str:
    return "\n".join(line for (line,) in sql.rows(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}", parameters))


def pages(explained: str) -> int:
    """Pages that the statement touched."""
    line = next(line for line in explained.splitlines() if "Buffers:" in line)
    counted = (part.split("=")[1] for part in line.split() if part.startswith(("hit=", "read=")))
    return sum(map(int, counted))


@pytest.mark.django_db
def test_a_row_has_the_fields_of_its_type_in_their_order() -> None:
    found = sql.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ledger_row'::regclass AND attnum > 0 ORDER BY attnum", {}
    )
    assert tuple(name for (name,) in found) == sql.Row._fields


@pytest.fixture
def million() -> Iterator[tuple[int, int]]:
    """A million finished tasks, and twenty ready ones among them; the sizes of before."""
    support.reset_clock()
    with connection.cursor() as cursor:
        cursor.execute("REINDEX TABLE ledger_task")  # tests before this one left dead entries that no vacuum has seen
    before = sizes()
    job = submit(new(SHORT))
    must_claim().complete()
    with connection.cursor() as cursor:
        # Skips what only the application's own rows need checked: a million foreign keys to one job.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            """
            INSERT INTO ledger_task (academy, job_id, kind, version, queue, urgency, state, cause, input, position,
                ordinal, stands, fair_key, attempt, generation, failures, crashes, max_failures, max_crashes,
                max_seconds, worker, code, detail, created_at, ready_at, finished_at)
            SELECT academy, job_id, kind, version, queue, urgency, 'succeeded', cause, '{}', 0, 0, true, 0, 1, 1, 0, 0,
                5, 3, 60, '', '', '', created_at, created_at, created_at
            FROM ledger_task, generate_series(1, %s) WHERE job_id = %s
            """,
            [FINISHED, job],
        )
        cursor.execute("SET LOCAL session_replication_role = DEFAULT")
    for _ in range(20):
        submit()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ledger_task")
    yield before
    support.reset_clock()


@pytest.mark.django_db
def test_hot_statements_touch_only_the_small_part_of_a_million_rows(million: tuple[int, int]) -> None:
    secret = leases.digest_of(support.secret())
    before = sequential_scans()
    claim = plan(  # a function, as `by_secret`: its inside shows in what it touched
        sql.CLAIM,
        {
            "queue": "video",
            "counter": "ledger_claims_video",
            "kinds": ["test.bulk"],
            "versions": [1],
            "digest": secret,
            "worker": "w",
            "lease": 30,
        },
    )
    by_secret = plan(sql.CLAIMED_BY, {"digest": secret, "queue": "video", "lease": 30})
    expired = plan(sql.EXPIRED, {"lease": 30, "limit": 100})
    overdue = plan(sql.OVERDUE, {"seconds": 60})
    assert sequential_scans() == before
    assert "ledger_task_claimed" in expired
    assert "ledger_task_ready" in overdue
    for explained in (claim, by_secret, expired, overdue):
        assert "Seq Scan on ledger_task" not in explained, explained
        assert pages(explained) < 500, explained
    indexes, table = sizes()
    assert table - million[1] > 100_000_000
    assert indexes - million[0] < 100_000


def _alone(cursor: CursorWrapper) -> bool:
    """Whether no other transaction of any database is under way.

    One that has written holds this database's dead versions too: Postgres looks anew which versions nobody needs only
    when the oldest running transaction of all databases has moved (`GlobalVisTestShouldUpdate` in procarray.c).
    """
    cursor.execute("SELECT pg_snapshot_xmin(now) = pg_snapshot_xmax(now) FROM pg_current_snapshot() AS now")
    return bool(cursor.fetchone()[0])


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """An empty table, and no autovacuum whose ANALYZE would keep old versions alive.

    Rows that earlier tests rolled back fill their pages until a vacuum comes: whether an update then finds room beside
    its row would depend on which tests ran before.
    """
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE ledger_task CASCADE")
        cursor.execute("ALTER TABLE ledger_task SET (autovacuum_enabled = off)")  # ends one that is under way
        yield
        cursor.execute("ALTER TABLE ledger_task RESET (autovacuum_enabled)")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("undisturbed")
def test_at_least_nine_in_ten_heartbeats_are_hot_updates() -> None:
    support.reset_clock()
    for _ in range(40):
        submit()
    held = [must_claim() for _ in range(40)]
    before = updates()
    with connection.cursor() as cursor:
        for round_ in range(25):
            wait_until(lambda: _alone(cursor), 120, "another transaction keeps old versions alive")
            for lease in held:
                lease.heartbeat(round_)
    after = updates()
    heartbeats = after[0] - before[0]
    assert heartbeats == 1000
    assert after[1] - before[1] >= 0.9 * heartbeats


def sizes() -> tuple[int, int]:
    """Bytes of the two partial indexes together, and of the table."""
    ((indexes, table),) = sql.rows(
        "SELECT pg_relation_size('ledger_task_ready') + pg_relation_size('ledger_task_claimed'), "
        "pg_relation_size('ledger_task')",
        {},
    )
    return indexes, table


def sequential_scans() -> int:
    """Of the task table, in this transaction."""
    ((scans,),) = sql.rows("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'ledger_task'", {})
    return int(scans)


def updates() -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT pg_stat_clear_snapshot()")
    ((all_, hot),) = sql.rows(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'ledger_task'", {}
    )
    return all_, hot
