"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database.

A publication that was deleted or replaced meanwhile is simply not there any more: then there is nothing to do.
"""

from collections.abc import Callable, Mapping
from typing import Any

from academy_api.lectures import graves, states
from academy_api.lectures.models import Lecture, Publication, State
from academy_api.ledger.registry import JobKind, JobRecord
from academy_core.errors import Reason

JOB_KIND = "lecture.encode"


def _of(job: JobRecord, change: Callable[[Publication], None]) -> None:
    """Change the job's publication under its lecture's lock, and the lecture's state after it."""
    lecture = Lecture.objects.select_for_update(of=("self",)).filter(publications=job.owner_ref).first()
    if lecture is None:
        return
    publication = lecture.publications.select_related("upload").get(pk=job.owner_ref)
    change(publication)
    states.follow(lecture)


def _succeeded(job: JobRecord, result: Mapping[str, Any]) -> None:
    """Not ready yet: the relay ends the playlists first (`publishing`)."""

    def change(publication: Publication) -> None:
        publication.published = dict(result)
        publication.save(update_fields=["published"])

    _of(job, change)


def _failed(job: JobRecord, reason: Reason) -> None:
    """The source stays, for a retry."""
    _of(job, lambda publication: states.fail(publication, reason))


def _cancelled(job: JobRecord) -> None:
    """Final: what was made is swept, the source too."""

    def change(publication: Publication) -> None:
        publication.state = State.CANCELLED
        publication.save(update_fields=["state"])
        graves.bury([publication])

    _of(job, change)


def _reopened(job: JobRecord) -> None:
    """A retry goes on where the job failed; what was listed before can be played at once."""

    def change(publication: Publication) -> None:
        publication.state = State.PLAYABLE if publication.chunks_listed else State.PROCESSING
        publication.reason_code = publication.reason_ko = publication.reason_en = ""
        publication.save(update_fields=["state", "reason_code", "reason_ko", "reason_en"])

    _of(job, change)


ENCODE = JobKind(
    name=JOB_KIND, on_succeeded=_succeeded, on_failed=_failed, on_cancelled=_cancelled, on_reopened=_reopened
)
