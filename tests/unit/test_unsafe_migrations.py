"""Which migrations the running version would not survive."""

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import models
from django.db.migrations import Migration, operations
from django.db.migrations.operations.base import Operation

from academy_api.database.tenancy import tenant_link
from academy_api.ops import unsafe

NAME = models.CharField(max_length=10)
INDEX = models.Index(fields=["name"], name="thing_name")
CHECK = models.CheckConstraint(condition=models.Q(name="x"), name="thing_check")


def judged(*listed: Operation, safe_because: str = "", atomic: bool = True) -> list[str]:
    migration = Migration("0002_change", "things")
    migration.atomic = atomic
    migration.operations = list(listed)
    migration.safe_because = safe_because  # type: ignore[attr-defined]
    return unsafe.faults([migration])


@pytest.mark.parametrize(
    "operation",
    [
        operations.RemoveField("Thing", "name"),
        operations.DeleteModel("Thing"),
        operations.RenameField("Thing", "name", "title"),
        operations.RenameModel("Thing", "Item"),
        operations.AlterField("Thing", "name", models.TextField()),
        operations.AddField("Thing", "name", NAME),
        operations.AddField("Thing", "name", models.CharField(max_length=10, default="x")),
        operations.AddIndex("Thing", INDEX),
        operations.AddConstraint("Thing", CHECK),
        operations.RunSQL("DROP TABLE thing"),
        operations.RunPython(operations.RunPython.noop),
        operations.SeparateDatabaseAndState(database_operations=[operations.RunSQL("SELECT 1")]),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_breaks_the_previous_version_or_shuts_a_table_is_named(operation: Operation) -> None:
    (fault,) = judged(operation)
    assert fault.startswith("things.0002_change: ")
    assert judged(operation, safe_because="the table is unused") == []


@pytest.mark.parametrize(
    "operation",
    [
        operations.AddField("Thing", "name", models.CharField(max_length=10, null=True)),
        operations.AddField("Thing", "name", models.CharField(max_length=10, db_default="")),
        AddIndexConcurrently("Thing", INDEX),
        operations.SeparateDatabaseAndState(state_operations=[operations.DeleteModel("Thing")]),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_what_only_adds_passes(operation: Operation) -> None:
    assert judged(operation) == []


def test_a_table_of_the_same_plan_is_nobodys_yet() -> None:
    made = operations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
    assert judged(made, operations.AddField("Thing", "name", NAME), operations.AddIndex("thing", INDEX)) == []


def test_sql_that_alters_a_table_of_the_same_plan_passes_and_no_other_sql() -> None:
    made = operations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
    assert judged(made, tenant_link("things_thing", "owner_id", "accounts_owner")) == []
    assert len(judged(made, tenant_link("others_thing", "owner_id", "accounts_owner"))) == 1
    assert len(judged(made, operations.RunSQL("ALTER TABLE things_thing ADD x int; DROP TABLE other"))) == 1


def test_what_cannot_be_repeated_stands_in_a_transaction() -> None:
    """A run that ends half-way is tried again; Postgres has rolled back only what was atomic."""
    made = operations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
    added = operations.AddField("Thing", "name", models.CharField(max_length=10, null=True))
    for operation in (made, added):
        (fault,) = judged(operation, AddIndexConcurrently("Thing", INDEX), atomic=False)
        assert "could not be repeated" in fault
    assert judged(AddIndexConcurrently("Thing", INDEX), RemoveIndexConcurrently("Thing", "old"), atomic=False) == []


def test_concurrent_indexes_are_found_by_name() -> None:
    migration = Migration("0002_change", "things")
    migration.operations = [
        operations.SeparateDatabaseAndState(database_operations=[AddIndexConcurrently("Thing", INDEX)]),
        RemoveIndexConcurrently("Thing", "old"),
    ]
    assert unsafe.concurrent_indexes([migration]) == ["thing_name"]
