"""Tables of the lectures app: a lecture, its publications, their uploads, and the tombstones of what is gone.

A lecture has at most two publications: the one that is ready (and plays), and the newest while it is not ready yet.

Locks are taken in one order: job, lecture, publication. The ledger calls the hooks with the job's row locked.
"""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from academy_api.accounts.models import Membership
from academy_api.database.tenancy import AcademyOwned


class State(models.TextChoices):
    """Where a publication stands; a lecture's state is derived from its publications' (`states.of_lecture`)."""

    UPLOADING = "uploading"
    PROCESSING = "processing"
    PLAYABLE = "playable"
    """The first chunks can be played while the others are being made."""
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


RUNNING = (State.PROCESSING, State.PLAYABLE)
"""States in which a publication's job is under way."""
WATCHABLE = (State.PLAYABLE, State.READY)
"""States in which a lecture can be played: what students see."""


class Language(models.TextChoices):
    """What is spoken in a lecture (ISO 639-1)."""

    KOREAN = "ko"
    ENGLISH = "en"
    JAPANESE = "ja"
    CHINESE = "zh"


class Lecture(AcademyOwned):
    """One lecture of an academy."""

    title = models.CharField(max_length=200)
    language = models.CharField(
        max_length=2, choices=Language.choices, default=Language.KOREAN, db_default=Language.KOREAN
    )
    """Of a recording's tracks of sound the one in this language is published."""
    state = models.CharField(max_length=12, choices=State.choices, default=State.UPLOADING)
    created_by = models.ForeignKey(Membership, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(AcademyOwned.Meta):
        """Listed newest first, all of them or those of one state."""

        indexes: ClassVar = [
            models.Index(fields=["academy", "-created_at", "-id"], name="lecture_newest"),
            models.Index(fields=["academy", "state", "-created_at", "-id"], name="lecture_newest_of_state"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


class Publication(AcademyOwned):
    """One encoding of a lecture's recording. Its id is drawn once and never used again; so is its prefix."""

    lecture = models.ForeignKey(Lecture, on_delete=models.CASCADE, related_name="publications")
    state = models.CharField(max_length=12, choices=State.choices, default=State.UPLOADING)
    output_prefix = models.TextField()
    """Key prefix, ending with `/`, of everything that is played."""
    job = models.UUIDField(null=True, unique=True)
    """The ledger's job, once the upload is complete."""
    reason_code = models.CharField(max_length=64, blank=True)
    reason_ko = models.TextField(blank=True)
    reason_en = models.TextField(blank=True)
    duration_seconds = models.FloatField(null=True)
    """Of the recording, from the plan; None while unknown."""
    playable_seconds = models.FloatField(default=0.0)
    chunks_listed = models.IntegerField(default=0)
    """How many chunks the stored playlists name."""
    playlists_at = models.DateTimeField(null=True)
    """When they were last written: at most once a second."""
    published = models.JSONField(null=True)
    """video.publish's result, once the job has succeeded; the playlists are then ended and the lecture is ready."""
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True)
    tidied_at = models.DateTimeField(null=True)
    """When it was rid of what it does not list; once, about a day after it became ready."""

    class Meta(AcademyOwned.Meta):
        """At most one ready and one newer publication a lecture."""

        constraints: ClassVar = [
            *AcademyOwned.Meta.constraints,
            models.UniqueConstraint(fields=["lecture"], name="publication_one_ready", condition=Q(state="ready")),
            models.UniqueConstraint(fields=["lecture"], name="publication_one_newer", condition=~Q(state="ready")),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["playlists_at"],
                name="publication_running",
                condition=Q(state__in=["processing", "playable"]),
            ),
            models.Index(
                fields=["ready_at"], name="publication_untidied", condition=Q(state="ready", tidied_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}"


class Upload(AcademyOwned):
    """The multipart upload of one publication's source, straight from the client to the object store."""

    publication = models.OneToOneField(Publication, on_delete=models.CASCADE, related_name="upload")
    source_key = models.TextField()
    """Chosen by us; lies outside everything that a playback grant can open."""
    file_name = models.CharField(max_length=255)
    """As the client named it: shown to people, never part of a key."""
    content_type = models.CharField(max_length=100)
    source_bytes = models.BigIntegerField()
    part_bytes = models.BigIntegerField()
    upload_id = models.TextField(blank=True)
    """The object store's id of the multipart upload; empty until the first part is asked for."""
    active_at = models.DateTimeField(auto_now_add=True)
    """When the client last asked for parts; an upload left alone for a day is given up."""
    completed_at = models.DateTimeField(null=True)

    class Meta(AcademyOwned.Meta):
        """The duty that gives up abandoned uploads reads only open ones."""

        indexes: ClassVar = [
            models.Index(fields=["active_at"], name="upload_open", condition=Q(completed_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.publication_id} {self.upload_id}"


class Tombstone(models.Model):
    """What is left of a publication that is gone: its keys. First its playlists are hidden, a day later all is deleted.

    Kept for good and without references, so that every publication id that was ever removed stays on record.
    """

    publication = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    academy_id = models.UUIDField()
    output_prefix = models.TextField()
    source_key = models.TextField()
    upload_id = models.TextField(blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    """When its next step is due; None when everything is deleted."""
    hidden = models.BooleanField(db_default=False)
    """Whether its playlists are out of reach already, so that the next step deletes."""

    class Meta:
        """The sweeping duty reads only what is due."""

        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="tombstone_due", condition=Q(due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return str(self.publication)
