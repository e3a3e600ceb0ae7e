"""What became of the last migration run, kept in the database: how an API pod that waits learns why it waits in vain.

The table is not one of Django's: it has to be there before the first migration and when one fails.
"""

import hashlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

log = structlog.get_logger(__name__)

_TABLE = """
CREATE TABLE IF NOT EXISTS migration_run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    targets text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    error text
)
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """What this version's code wants of the database."""

    targets: str
    """Digest of the last migration of each app: the same for every process of a version."""
    migrations: tuple[str, ...]
    """Still to run, in their order."""
    fresh: bool
    """No migration has ever run here."""


def pending() -> Pending:
    """Compare the code's migrations with the database's. Raises what Django raises without a database."""
    executor = MigrationExecutor(connection)
    leaves = executor.loader.graph.leaf_nodes()
    digest = hashlib.sha256(" ".join(sorted(f"{app}.{name}" for app, name in leaves)).encode()).hexdigest()[:16]
    plan = executor.migration_plan(leaves)
    names = tuple(f"{migration.app_label}.{migration.name}" for migration, _ in plan)
    return Pending(digest, names, fresh=not executor.loader.applied_migrations)


class Stopped(BaseException):
    """SIGTERM. No Exception, since what tries again after one would swallow it."""


class Run:
    """One run of a Job's command. Its failure is not the newest word once another run has begun."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._number: int | None = None

    def begin(self, targets: str) -> None:
        """Note that it is under way: an earlier failure no longer counts."""
        with connection.cursor() as cursor:
            cursor.execute(_TABLE)
            cursor.execute("INSERT INTO migration_run (targets) VALUES (%s) RETURNING id", [targets])
            self._number = cursor.fetchone()[0]

    def fail(self, error: BaseException) -> None:
        """Note why it failed; a log line where that cannot be."""
        try:
            connection.close()  # what failed may be this connection
            if self._number is None:
                self.begin(pending().targets)
            with connection.cursor() as cursor:
                reason = f"{self._what} failed: {one_line(error)}"
                cursor.execute("UPDATE migration_run SET error = %s WHERE id = %s", [reason, self._number])
        except Error as second:
            log.warning("FAILURE_NOT_NOTED", reason=one_line(second))


@contextmanager
def noted(what: str) -> Iterator[Run]:
    """Note what fails within, for those who wait; to be stopped is a failure too."""
    run = Run(what)
    try:
        with _stoppable():
            yield run
    except (Exception, Stopped) as error:
        run.fail(error)
        raise


@contextmanager
def _stoppable() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Stopped("stopped by SIGTERM: its pod was deleted, or the Job's deadline is over")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def failure(targets: str) -> str | None:
    """Why the newest run for these targets failed; None when it goes on or never began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('migration_run')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT error FROM migration_run WHERE targets = %s ORDER BY id DESC LIMIT 1", [targets])
        row = cursor.fetchone()
    return row[0] if row else None


def one_line(error: BaseException) -> str:
    """The database's or our own words."""
    return " ".join(str(error).split()) or type(error).__name__
