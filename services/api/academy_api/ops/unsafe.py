"""Which migrations the running version would not survive (expand/contract).

While a release rolls out, the previous version works on the new schema, and it must go on working when the release is
rolled back. A migration may therefore only add; what the new version no longer needs goes one release later. It must
also not shut a table that is in use: indexes are made concurrently, constraints without a scan. And it must be possible
to run it again wherever it ended: only what `release` can repeat may stand outside a transaction.

Pure: from Django's plan to sentences. `release` refuses to run what this names on a database that is in use.
"""

import re
from collections.abc import Iterable, Sequence

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, RemoveIndexConcurrently
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

REPEATABLE = (AddIndexConcurrently, RemoveIndexConcurrently)
"""What a migration that is not atomic may hold: the one is dropped before a new try, the other may be gone already."""
SAFE = (
    operations.CreateModel,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.RemoveConstraint,
    AddConstraintNotValid,
    *REPEATABLE,
)
WHY = {
    operations.DeleteModel: "the previous version still reads the table: delete it one release later",
    operations.RemoveField: "the previous version still names the column: remove it one release later",
    operations.RenameField: "the previous version knows the old name: add a column and copy",
    operations.RenameModel: "the previous version knows the old name: add a table and copy",
    operations.AlterModelTable: "the previous version knows the old name: add a table and copy",
    operations.AddIndex: "shuts the table for writes: AddIndexConcurrently",
    operations.RemoveIndex: "shuts the table: RemoveIndexConcurrently",
    operations.AddConstraint: "scans the table while it is shut: AddConstraintNotValid, then validate it",
}
_ALTER_TABLE = re.compile(r'\s*ALTER TABLE "?([a-z0-9_]+)"? [^;]*;?\s*')
HALF_WAY = "a run that ends half-way could not be repeated: a migration of its own, which is atomic"
UNKNOWN = "cannot be judged: say in the migration's `safe_because` why the previous version goes on working"


def faults(plan: Iterable[Migration]) -> list[str]:
    """A sentence for each unsafe operation of the migrations that are to run, in their order.

    Tables that the plan itself makes are nobody's yet. A migration with a text in `safe_because` answers for itself.
    """
    made: set[tuple[str, str]] = set()
    found = []
    for migration in plan:
        for operation in _flat(migration.operations):
            if isinstance(operation, operations.CreateModel):
                made.add((migration.app_label, operation.name_lower))
            if getattr(migration, "safe_because", ""):
                continue
            if not migration.atomic and not isinstance(operation, REPEATABLE):
                fault: str | None = HALF_WAY
            elif _on_new_table(migration.app_label, operation, made):
                fault = None
            else:
                fault = _fault(operation)
            if fault:
                found.append(f"{migration.app_label}.{migration.name}: {operation.describe()}: {fault}")
    return found


def concurrent_indexes(plan: Iterable[Migration]) -> list[str]:
    """Names of the indexes that the migrations make concurrently."""
    listed = [operation for migration in plan for operation in _flat(migration.operations)]
    return [operation.index.name for operation in listed if isinstance(operation, AddIndexConcurrently)]


def _flat(listed: Sequence[Operation]) -> Iterable[Operation]:
    for operation in listed:
        if isinstance(operation, operations.SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _on_new_table(app: str, operation: Operation, made: set[tuple[str, str]]) -> bool:
    if isinstance(operation, operations.RunSQL):
        # One ALTER TABLE, as tenant_link's, can be judged; anything else in SQL cannot.
        altered = _ALTER_TABLE.fullmatch(operation.sql) if isinstance(operation.sql, str) else None
        return altered is not None and altered[1] in {f"{owner}_{model}" for owner, model in made}
    name = getattr(operation, "model_name", None) or getattr(operation, "name", None)
    return isinstance(name, str) and (app, name.lower()) in made


def _fault(operation: Operation) -> str | None:
    if isinstance(operation, SAFE):
        return None
    if isinstance(operation, operations.AddField):
        field = operation.field
        if field.null or field.many_to_many or getattr(field, "db_default", NOT_PROVIDED) is not NOT_PROVIDED:
            return None
        return "the previous version's INSERT leaves the column out: null=True or db_default"
    return next((why for kind, why in WHY.items() if isinstance(operation, kind)), UNKNOWN)
