"""What a release does to the database, once, before its pods serve: rights, migrations, and a note of how it went.

One run at a time (an advisory lock on this connection, which is past the pooler); a migration that cannot get its table
within LOCK_TIMEOUT gives way to the application and is tried again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog
from django.core.management import call_command
from django.db import Error, OperationalError, connection
from django.db.migrations.executor import MigrationExecutor

from academy_api.ops import roles, runs, unsafe
from academy_core.backoff import jittered
from academy_core.errors import Permanent

log = structlog.get_logger(__name__)

KEY = 7_205_759_403_793
"""Any number that nothing else in this database locks (the relay's is one less)."""
LOCK_TIMEOUT = "5s"
BACKOFF_BASE = 1.0
BACKOFF_CAP = 30.0


class Refused(Permanent):
    """The migrations are not to be run as they are."""


def run(app_role: str | None, *, patience: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Migrate, trying for `patience` seconds while the database or a table cannot be had.

    Raises Refused when a pending migration is unsafe and whatever a migration raises; each is noted for those who wait.
    """
    deadline = time.monotonic() + patience
    tries = 0
    while True:
        tries += 1
        delay = jittered(tries, BACKOFF_BASE, BACKOFF_CAP)
        try:
            with _locked():
                _once(app_role)
        except Exception as error:
            if not isinstance(error, OperationalError) or time.monotonic() + delay > deadline:
                _note_failure(error)
                raise
            log.warning("MIGRATION_WAITS", reason=one_line(error), seconds=round(delay, 1))
            sleep(delay)
        else:
            return


@contextmanager
def _locked() -> Iterator[None]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
            # It waits for another run no longer than for a table; then its turn comes again.
            cursor.execute("SELECT pg_advisory_lock(%s)", [KEY])
        yield
    finally:
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_all()")
        connection.close()


def _once(app_role: str | None) -> None:
    runs.ensure_table()
    if app_role is not None:
        roles.prepare(app_role)
    todo = runs.pending()
    runs.note(todo.targets, None)
    _migrate(todo)


def _note_failure(error: Exception) -> None:
    try:
        runs.note(runs.pending().targets, one_line(error))
    except Error as second:
        log.warning("FAILURE_NOT_NOTED", reason=one_line(second))


def _migrate(todo: runs.Pending) -> None:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not todo.fresh and (found := unsafe.faults(migration for migration, _ in plan)):
        raise Refused("unsafe migrations: " + "; ".join(found))
    log.info("MIGRATING", migrations=",".join(todo.migrations))
    call_command("migrate", interactive=False, verbosity=0)


def one_line(error: Exception) -> str:
    """The database's or our own words."""
    return " ".join(str(error).split()) or type(error).__name__
