"""What became of the last migration run, kept in the database: how an API pod that waits learns why it waits in vain.

The table is not one of Django's: it has to be there before the first migration and when one fails.
"""

import hashlib
from dataclasses import dataclass

from django.db import connection
from django.db.migrations.executor import MigrationExecutor

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


def ensure_table() -> None:
    """Make the table unless it is there."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLE)


def note(targets: str, error: str | None) -> None:
    """Note that a run begins (no error), or why it failed."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO migration_run (targets, error) VALUES (%s, %s)", [targets, error])


def failure(targets: str) -> str | None:
    """Why the newest run for these targets failed; None when it goes on or never began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('migration_run')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT error FROM migration_run WHERE targets = %s ORDER BY id DESC LIMIT 1", [targets])
        row = cursor.fetchone()
    return row[0] if row else None
