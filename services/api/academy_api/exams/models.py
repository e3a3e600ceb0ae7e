"""Tables of the exams app: template, exam, batch, sheet, reading, correction, and the graves of what is gone.

A sheet is one uploaded file (a photo, or a PDF of many pages) and one job of the ledger; a reading is one page of it.
What the machine read (`Reading`) is never changed; what a teacher says of it (`Correction`) stands beside it. Marks are
in no table: they follow from both and the exam's key (`results`), so that a mended key marks every sheet anew.

Locks are taken in one order: job, sheet. The ledger calls the hooks with the job's row locked.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from academy_api.accounts.models import Membership
from academy_api.database.tenancy import AcademyOwned


class State(models.TextChoices):
    """Where a sheet stands."""

    UPLOADING = "uploading"
    GRADING = "grading"
    """Its job is under way, or has ended and the relay has not fetched the readings yet."""
    GRADED = "graded"
    """Its readings are there; single pages may have been refused."""
    FAILED = "failed"
    CANCELLED = "cancelled"


class Policy(models.TextChoices):
    """What becomes of a field with two marks, or with none (`omr.grade`)."""

    KEEP = "keep"
    UNSURE = "unsure"


class Template(AcademyOwned):
    """An answer sheet as it is printed: OMRChecker's `template.json`."""

    title = models.CharField(max_length=200)
    definition = models.JSONField()
    marker = models.BinaryField(null=True)
    """The corner marker's picture, for templates that are cropped on markers."""
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first."""

        indexes: ClassVar = [models.Index(fields=["academy", "-created_at", "-id"], name="template_newest")]

    def __str__(self) -> str:
        return f"{self.id} {self.title}"


class Exam(AcademyOwned):
    """One exam: a template and the answers that are right."""

    title = models.CharField(max_length=200)
    template = models.ForeignKey(Template, on_delete=models.PROTECT, related_name="exams")
    answer_key = models.JSONField(null=True)
    """OMRChecker's `evaluation.json`; None while nothing is marked."""
    doubles = models.CharField(max_length=8, choices=Policy.choices, default=Policy.KEEP)
    blanks = models.CharField(max_length=8, choices=Policy.choices, default=Policy.KEEP)
    created_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first."""

        indexes: ClassVar = [models.Index(fields=["academy", "-created_at", "-id"], name="exam_newest")]

    def __str__(self) -> str:
        return f"{self.id} {self.title}"


class Batch(AcademyOwned):
    """Sheets that were announced together. All its files lie under one prefix."""

    exam = models.ForeignKey(Exam, on_delete=models.CASCADE, related_name="batches")
    created_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first, those of one exam."""

        indexes: ClassVar = [models.Index(fields=["exam", "-created_at", "-id"], name="batch_newest")]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def prefix(self) -> str:
        """Key prefix in the AI bucket of everything that belongs to the batch."""
        return f"exams/{self.pk}/"


class Sheet(AcademyOwned):
    """One uploaded file of a batch, and its job."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="sheets")
    number = models.PositiveSmallIntegerField()
    """Place in the batch, from 1."""
    file_name = models.CharField(max_length=255)
    """As the client named it: shown to people, never part of a key."""
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    """Bytes, as announced; another size is refused."""
    state = models.CharField(max_length=12, choices=State.choices, default=State.UPLOADING)
    gradings = models.PositiveSmallIntegerField(default=0)
    """How often it was handed to the workers; each time writes under a prefix of its own."""
    job = models.UUIDField(null=True, unique=True)
    """Of the last grading."""
    result = models.JSONField(null=True)
    """omr.grade's result once the job has succeeded: which files hold the readings."""
    reason_code = models.CharField(max_length=64, blank=True)
    reason_ko = models.TextField(blank=True)
    reason_en = models.TextField(blank=True)

    class Meta(AcademyOwned.Meta):
        """The relay reads only sheets whose readings it has to fetch."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["batch", "number"], name="sheet_number"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], name="sheet_to_fetch", condition=Q(state="grading", result__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.number} {self.state}"

    @property
    def source_key(self) -> str:
        """Where the file is uploaded; chosen by us."""
        return f"exams/{self.batch_id}/sources/{self.pk}"

    @property
    def output_prefix(self) -> str:
        """Under which its last job writes."""
        return f"exams/{self.batch_id}/results/{self.pk}/{self.gradings}/"


class Reading(AcademyOwned):
    """What the machine read of one page."""

    sheet = models.ForeignKey(Sheet, on_delete=models.CASCADE, related_name="readings")
    page = models.PositiveSmallIntegerField()
    refused_code = models.CharField(max_length=64, blank=True)
    """Why the page could not be read; empty when it was."""
    refused_ko = models.TextField(blank=True)
    refused_en = models.TextField(blank=True)
    answers = models.JSONField()
    confidence = models.JSONField()
    unsure = models.JSONField()
    doubles = models.JSONField()
    blanks = models.JSONField()
    picture = models.CharField(max_length=255, blank=True)
    """File of the annotated page, relative to the sheet's output prefix."""

    open_columns = models.PositiveSmallIntegerField()
    """How many columns a person still has to look at: follows from the above and the corrections."""
    read_at = models.DateTimeField(default=timezone.now)

    class Meta(AcademyOwned.Meta):
        """One reading a page."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["sheet", "page"], name="reading_page"),
        ]

    def __str__(self) -> str:
        return f"{self.sheet_id} page {self.page}"


class Correction(AcademyOwned):
    """What a teacher says stands in one column of one page."""

    reading = models.ForeignKey(Reading, on_delete=models.CASCADE, related_name="corrections")
    column = models.CharField(max_length=64)
    value = models.CharField(max_length=200, blank=True)
    """Empty: the student left it blank."""
    corrected_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    corrected_at = models.DateTimeField(auto_now=True)

    class Meta(AcademyOwned.Meta):
        """One a column; a later one replaces it."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["reading", "column"], name="correction_column"),
        ]

    def __str__(self) -> str:
        return f"{self.reading_id} {self.column}"


class Grave(models.Model):
    """The prefix of a batch that is gone: swept at once, and again after the longest task time."""

    prefix = models.TextField(primary_key=True)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField()

    class Meta:
        """The sweeping duty takes what has waited longest."""

        indexes: ClassVar = [models.Index(fields=["due_at"], name="grave_due")]

    def __str__(self) -> str:
        return self.prefix
