"""Tables of the question bank: questions, the counts of their grams, scans that questions were read from, comparisons.

A question that came from a scan has a `Scanned` beside it: its pictures, and what the machine was unsure of.

A gram's key is a hash of academy and gram, so that one index serves all academies and still leads to the asker's rows
alone (a second column in a GIN index would need an extension).
"""

import hashlib
from typing import ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

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
    passage = models.TextField(blank=True, default="", db_default="")
    """A text that it shares with other questions. It is not searched: it would outweigh the question."""
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


class Work(models.TextChoices):
    """Where work on a scan stands."""

    UPLOADING = "uploading"
    READING = "reading"
    """Its job is under way, or has ended and the relay has not fetched the questions yet."""
    DONE = "done"
    """Its questions are in the bank; single pages may have been refused."""
    FAILED = "failed"
    CANCELLED = "cancelled"


class Scan(AcademyOwned):
    """A scanned exam whose questions enter the bank: its files, and its job."""

    title = models.CharField(max_length=200)
    """The `source` of its questions."""
    files = models.JSONField()
    """In order: `{"file_name", "size", "content_type"}`, as announced."""
    state = models.CharField(max_length=12, choices=Work.choices, default=Work.UPLOADING)
    readings = models.PositiveSmallIntegerField(default=0)
    """How often it was handed to the workers; each time writes under a prefix of its own."""
    job = models.UUIDField(null=True, unique=True)
    """Of the last reading."""
    result = models.JSONField(null=True)
    """exam.read's last result once the job has succeeded."""
    pages = models.JSONField(default=list)
    """Pages that could not be read: `{"file_name", "page", "code", "ko", "en"}`."""
    missing = models.JSONField(default=list)
    """Numbers between the first and the last question that were not found."""
    reason_code = models.CharField(max_length=64, blank=True)
    reason_ko = models.TextField(blank=True)
    reason_en = models.TextField(blank=True)
    created_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first; the relay reads only those whose questions it has to fetch."""

        indexes: ClassVar = [
            models.Index(fields=["academy", "-created_at", "-id"], name="scan_newest"),
            models.Index(fields=["id"], name="scan_to_fetch", condition=Q(state="reading", result__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.title} {self.state}"

    @property
    def prefix(self) -> str:
        """Key prefix in the AI bucket of everything that belongs to it."""
        return f"scans/{self.pk}/"

    @property
    def source_keys(self) -> list[str]:
        """Where its files are uploaded; chosen by us."""
        return [f"{self.prefix}sources/{number:02}" for number in range(1, len(self.files) + 1)]

    @property
    def output_prefix(self) -> str:
        """Under which its last job writes."""
        return f"{self.prefix}readings/{self.readings}/"


class Scanned(AcademyOwned):
    """What the machine says of a question that it read."""

    question = models.OneToOneField(Question, on_delete=models.CASCADE, related_name="scanned")
    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="scanned")
    number = models.PositiveSmallIntegerField()
    """As it is printed."""
    crops = models.JSONField()
    """Its pictures: `{"what", "key", "sign"}` (`exam_read.spec.Crop`)."""
    confidence = models.FloatField()
    doubts = models.JSONField()
    """What a person has to look at (`exam_read.spec.Doubt`)."""
    to_review = models.BooleanField()
    """There are doubts, and no person has looked at the question yet."""
    reviewed = models.BooleanField(default=False)
    """A person has: another reading of the scan leaves the question as it is."""

    class Meta(AcademyOwned.Meta):
        """One question a number: however often the result of a reading is fetched, nothing enters the bank twice."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["scan", "number"], name="scanned_number"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["academy"], name="scanned_to_review", condition=Q(to_review=True)),
        ]

    def __str__(self) -> str:
        return f"{self.scan_id} {self.number}"


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
