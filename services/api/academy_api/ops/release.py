"""What a release does to the database, once, before its pods serve: rights, migrations, and a note of how it went.

One run at a time (an advisory lock on this connection, which is past the pooler); a migration that cannot get its table
within LOCK_TIMEOUT gives way to the application and is tried again. An index that is made concurrently is in nobody's
way and may wait longer; what an earlier try has left of it is dropped first, so that every try can succeed.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from django.core.management import call_command
from django.db import Error, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from psycopg2 import extensions, extras

from academy_api.ops import roles, runs, unsafe
from academy_core.backoff import jittered
from academy_core.errors import Permanent

log = structlog.get_logger(__name__)

KEY = 7_205_759_403_793
"""Any number that nothing else in this database locks (the relay's is one less)."""
LOCK_TIMEOUT = "5s"
CLIENT_CHECK = "5s"
"""A killed Job's server process goes on with an index, and keeps the lock, until it looks for its client."""
BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0
_CONCURRENTLY = re.compile(r"(CREATE|CREATE UNIQUE|DROP) INDEX CONCURRENTLY ")


class Refused(Permanent):
    """The migrations are not to be run as they are."""


def run(app_role: str | None, noted: runs.Run, *, patience: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Migrate, trying for `patience` seconds while the database or a table cannot be had.

    Raises Refused when a pending migration is unsafe and whatever a migration raises.
    """
    deadline = time.monotonic() + patience
    tries = 0
    while True:
        tries += 1
        delay = jittered(tries, BACKOFF_BASE, BACKOFF_CAP)
        try:
            with _locked(), connection.execute_wrapper(_patiently(deadline)):
                _once(app_role, noted)
        except OperationalError as error:
            if time.monotonic() + delay > deadline:
                raise
            log.warning("MIGRATION_WAITS", reason=runs.one_line(error), seconds=round(delay, 1))
            sleep(delay)
        else:
            return


@contextmanager
def _locked() -> Iterator[None]:
    waits = extensions.get_wait_callback()
    try:
        with connection.cursor() as cursor:
            # libpq's own wait returns to Python only with the answer: SIGTERM would not end a query.
            extensions.set_wait_callback(extras.wait_select)
            _set("lock_timeout", LOCK_TIMEOUT)
            _set("client_connection_check_interval", CLIENT_CHECK)
            # Who waited in a query for another run would hold a snapshot, for which that run's index would wait.
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEY])
            if not cursor.fetchone()[0]:
                raise OperationalError("another release is running")
        yield
    finally:
        extensions.set_wait_callback(waits)
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
        connection.close()


def _set(setting: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [setting, value])


def _patiently(deadline: float) -> Callable[..., Any]:
    """A wrapper for Django: an index that is made or dropped concurrently may wait until `deadline`."""

    def execute(go_on: Callable[..., Any], statement: object, *rest: Any) -> Any:
        if not _CONCURRENTLY.match(str(statement)):
            return go_on(statement, *rest)
        _set("lock_timeout", f"{max(1, round(deadline - time.monotonic()))}s")
        result = go_on(statement, *rest)
        # Not after an error: the connection is closed then.
        _set("lock_timeout", LOCK_TIMEOUT)
        return result

    return execute


def _once(app_role: str | None, noted: runs.Run) -> None:
    todo = runs.pending()
    noted.begin(todo.targets)
    if app_role is not None:
        roles.prepare(app_role)
    _migrate(todo)


def _migrate(todo: runs.Pending) -> None:
    executor = MigrationExecutor(connection)
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    if not todo.fresh and (found := unsafe.faults(plan)):
        raise Refused("unsafe migrations: " + "; ".join(found))
    log.info("MIGRATING", migrations=",".join(todo.migrations))
    with connection.cursor() as cursor:
        for name in unsafe.concurrent_indexes(plan):
            # A try that was cut off leaves it invalid, or whole and not recorded.
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {connection.ops.quote_name(name)}")
    call_command("migrate", interactive=False, verbosity=0)
