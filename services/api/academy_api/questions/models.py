"""Tables of the question bank.

A gram's key is a hash of academy and gram, so that one index serves all academies and still leads to the asker's rows
alone (a second column in a GIN index would need an extension).
"""

import hashlib
from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models

from academy_api.accounts.models import Membership
from academy_api.database.tenancy import AcademyOwned


def gram_key(academy: UUID, gram: str) -> int:
    """64-bit signed key of a gram in an academy."""
    digest = hashlib.blake2b(gram.encode(), digest_size=8, key=academy.bytes).digest()
    return int.from_bytes(digest, "big", signed=True)


class Question(AcademyOwned):
    """One question of an academy's bank."""

    text = models.TextField()
    choices = models.JSONField(default=list)
    """The choices' texts, in order; empty for an open question."""
    answer = models.TextField(blank=True)
    source = models.CharField(max_length=200, blank=True)
    """Where it comes from, as a person would say it."""
    grams = ArrayField(models.BigIntegerField())
    """Keys of its grams (`gram_key`), ascending."""
    created_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first; found by grams."""

        indexes: ClassVar = [
            models.Index(fields=["academy", "-created_at", "-id"], name="question_newest"),
            GinIndex(fields=["grams"], name="question_grams", fastupdate=False),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.text[:40]}"


class Gram(models.Model):
    """How many questions have a gram. Under `gram_key(academy, "")`: how many the academy has at all."""

    key = models.BigIntegerField(primary_key=True)
    holders = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.key}: {self.holders}"


class Comparison(AcademyOwned):
    """One search of the whole bank for questions that stand in it twice."""

    class State(models.TextChoices):
        """Where it stands."""

        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    state = models.CharField(max_length=12, choices=State.choices, default=State.RUNNING)
    job = models.UUIDField(null=True, unique=True)
    result = models.JSONField(null=True)
    reason_code = models.CharField(max_length=64, blank=True)
    reason_ko = models.TextField(blank=True)
    reason_en = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first."""

        indexes: ClassVar = [models.Index(fields=["academy", "-created_at", "-id"], name="comparison_newest")]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"

    @property
    def prefix(self) -> str:
        """Key prefix in the AI bucket of the exported bank and what was found."""
        return f"questions/{self.pk}/"
