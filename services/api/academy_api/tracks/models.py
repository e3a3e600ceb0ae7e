"""Tables of the tracks app: an analysis (one job over a publication) and the tracks of a publication.

A track belongs to a publication: another recording has other words at other times. What the machine wrote and what a
person wrote stand side by side; the person's is shown where there is one. Locks: job, publication, analysis, track.
"""

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from academy_api.accounts.models import Membership
from academy_api.database.tenancy import AcademyOwned
from academy_api.lectures.models import Publication


class What(models.TextChoices):
    """What is looked for, and what a track is."""

    SUBTITLES = "subtitles"
    CHAPTERS = "chapters"


class State(models.TextChoices):
    """Where an analysis stands."""

    RUNNING = "running"
    """Its job is under way, or has ended and the relay has not fetched its files yet."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Analysis(AcademyOwned):
    """One job over one publication. Without a publication it is to be swept: see `duties.sweep`."""

    publication = models.ForeignKey(Publication, on_delete=models.SET_NULL, null=True, related_name="analyses")
    what = models.CharField(max_length=12, choices=What.choices)
    state = models.CharField(max_length=12, choices=State.choices, default=State.RUNNING)
    job = models.UUIDField(null=True, unique=True)
    result = models.JSONField(null=True)
    """The job's, once it has succeeded."""
    reason_code = models.CharField(max_length=64, blank=True)
    reason_ko = models.TextField(blank=True)
    reason_en = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    swept_at = models.DateTimeField(null=True)
    """When its files were first removed; they are again, once no attempt can write any more."""

    class Meta(AcademyOwned.Meta):
        """One of a kind a publication; the relay reads only what it has to fetch or to sweep."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["publication", "what"], name="analysis_one_a_kind"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["id"], name="analysis_to_fetch", condition=Q(state="running", result__isnull=False)),
            models.Index(fields=["swept_at"], name="analysis_to_sweep", condition=Q(publication__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.what} {self.state}"

    @property
    def output_prefix(self) -> str:
        """Key prefix in the AI bucket of everything its job writes."""
        return f"lectures/{self.pk}/"


class Track(AcademyOwned):
    """Subtitles in one language, or the chapters."""

    publication = models.ForeignKey(Publication, on_delete=models.CASCADE, related_name="tracks")
    what = models.CharField(max_length=12, choices=What.choices)
    language = models.CharField(max_length=8, blank=True)
    """`ko`, `en`; empty for chapters."""
    machine = models.TextField(blank=True)
    """WebVTT of the last analysis; empty when there is none."""
    translated = models.BooleanField(default=False)
    """Whether the machine's text is a translation of what is said."""
    written = models.TextField(blank=True)
    """WebVTT of a person; shown instead of the machine's unless empty."""
    written_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    written_at = models.DateTimeField(null=True)
    revision = models.PositiveIntegerField(default=1)
    """Raised with every change."""
    published = models.PositiveIntegerField(default=0)
    """The revision that the playlists show."""

    class Meta(AcademyOwned.Meta):
        """One a language; the relay reads only what it has to publish."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["publication", "what", "language"], name="track_one_a_language"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["publication"], name="track_to_publish", condition=~Q(published=F("revision")))
        ]

    def __str__(self) -> str:
        return f"{self.publication_id} {self.what} {self.language}"

    @property
    def text(self) -> str:
        """What is shown; empty when the track is to go."""
        return self.written or self.machine
