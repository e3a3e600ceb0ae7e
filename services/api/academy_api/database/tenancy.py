"""Composite keys: the database itself refuses a row of one academy that points at a row of another.

Django 5.2 has no composite foreign keys. An academy-owned table therefore inherits `AcademyOwned` (unique
`(academy_id, id)`), and each link between two such tables gets a second, composite foreign key by `tenant_link` in its
migration, beside the plain one that Django makes for the ORM.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.migrations.operations import RunSQL


class AcademyOwned(models.Model):
    """Base of every table that belongs to an academy. A child's `Meta` extends `AcademyOwned.Meta`."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # The unique key below starts with academy_id, so the column needs no index of its own.
    academy = models.ForeignKey("accounts.Academy", on_delete=models.PROTECT, db_index=False)

    class Meta:
        """The key that composite foreign keys refer to."""

        abstract = True
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["academy", "id"], name="%(app_label)s_%(class)s_tenant")
        ]


def tenant_link(table: str, column: str, target: str) -> RunSQL:
    """Make `FOREIGN KEY (academy_id, column)` of `table` refer to `(academy_id, id)` of `target`.

    All three are database names, e.g. `tenant_link("lectures_publication", "lecture_id", "lectures_lecture")`. A null
    `column` links to nothing. Checked at once, so that the statement that crosses academies is the one that fails.
    """
    name = f"{table}_{column}_tenant"
    return RunSQL(
        f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" FOREIGN KEY (academy_id, "{column}")'
        f' REFERENCES "{target}" (academy_id, id)',
        f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"',
    )
