"""Tables of the ledger. Django keeps their shape (migrations); every hot statement on them is in `sql.py`.

States and rules are those of `machine.py`; `docs/services/ledger.md` explains each table.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q


class Job(models.Model):
    """What a user asked for. Ends through its owner's hook."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    academy = models.UUIDField()
    kind = models.CharField(max_length=64)
    owner_ref = models.UUIDField()
    request_id = models.CharField(max_length=128)
    output_prefix = models.TextField()
    state = models.CharField(max_length=12)
    outcome = models.CharField(max_length=12)
    generation = models.IntegerField()
    reason_code = models.CharField(max_length=64)
    reason_ko = models.TextField()
    reason_en = models.TextField()
    hook_failures = models.IntegerField()
    hook_after = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    summary = models.JSONField(null=True)

    class Meta:
        """Indexes and constraints."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["academy", "id"], name="ledger_job_academy_id")]
        indexes: ClassVar = [
            models.Index(fields=["hook_after"], name="ledger_job_finishing", condition=Q(state="finishing")),
            models.Index(
                fields=["finished_at"],
                name="ledger_job_unfolded",
                condition=Q(finished_at__isnull=False, summary__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.state}"


class Barrier(models.Model):
    """One `children`/`then` pair: how many children's places have yet to end."""

    id = models.BigAutoField(primary_key=True)
    academy = models.UUIDField()
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False)
    then_task = models.BigIntegerField(null=True)
    remaining = models.IntegerField()
    total = models.IntegerField()
    outer_barrier = models.BigIntegerField(null=True)
    outer_position = models.IntegerField()

    def __str__(self) -> str:
        return f"barrier {self.id} {self.remaining}/{self.total}"


class Task(models.Model):
    """One unit of work on one queue, with its lease."""

    id = models.BigAutoField(primary_key=True)
    academy = models.UUIDField()
    job = models.ForeignKey(Job, on_delete=models.DO_NOTHING, db_constraint=False)
    kind = models.CharField(max_length=64)
    version = models.IntegerField()
    queue = models.CharField(max_length=16)
    urgency = models.SmallIntegerField()
    state = models.CharField(max_length=10)
    cause = models.CharField(max_length=10)
    input = models.JSONField()
    result = models.JSONField(null=True)
    barrier_id = models.BigIntegerField(null=True)
    position = models.IntegerField()
    ordinal = models.IntegerField()
    gathers = models.BigIntegerField(null=True)
    stands = models.BooleanField()
    fair_key = models.BigIntegerField()
    attempt = models.IntegerField()
    generation = models.IntegerField()
    failures = models.SmallIntegerField()
    crashes = models.SmallIntegerField()
    max_failures = models.SmallIntegerField()
    max_crashes = models.SmallIntegerField()
    max_seconds = models.IntegerField()
    secret_digest = models.BinaryField(null=True)
    worker = models.CharField(max_length=128)
    next_claim = models.JSONField(null=True)
    code = models.CharField(max_length=64)
    detail = models.TextField()
    percent = models.FloatField(null=True)
    media_seconds = models.FloatField(null=True)
    created_at = models.DateTimeField()
    ready_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        """Indexes and constraints."""

        constraints: ClassVar = [
            models.UniqueConstraint(fields=["secret_digest"], name="ledger_task_claimed", condition=Q(state="claimed"))
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["queue", "urgency", "academy", "fair_key", "id"],
                name="ledger_task_ready",
                condition=Q(state="ready"),
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} {self.state}"


class Lane(models.Model):
    """One academy's line in one class of one queue: what fairness remembers."""

    pk = models.CompositePrimaryKey("queue", "urgency", "academy")
    queue = models.CharField(max_length=16)
    urgency = models.SmallIntegerField()
    academy = models.UUIDField()
    tag = models.BigIntegerField()
    fair_key = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.queue} {self.urgency} {self.academy}"


class Outbox(models.Model):
    """A message to send: a bell, or (with a generation) a death for the DLQ. Deleted once sent."""

    id = models.BigAutoField(primary_key=True)
    queue = models.CharField(max_length=16)
    task = models.BigIntegerField()
    job = models.UUIDField()
    request_id = models.CharField(max_length=128)
    generation = models.IntegerField(null=True)
    created_at = models.DateTimeField()
    send_after = models.DateTimeField()

    class Meta:
        """Indexes and constraints."""

        indexes: ClassVar = [models.Index(fields=["send_after"], name="ledger_outbox_send_after")]

    def __str__(self) -> str:
        return f"{self.queue} {self.task}"
