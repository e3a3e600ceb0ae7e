"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database.

A publication that was deleted or replaced meanwhile is simply not there any more: then there is nothing to do.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone

from academy_api.lectures import graves, states
from academy_api.lectures.models import Lecture, Publication, State
from academy_api.ledger.registry import JobKind, JobRecord
from academy_core.errors import Conflict, Reason
from academy_core.video import REFUSED

NOTHING_TO_RETRY = Reason(
    "nothing-to-retry",
    "다시 시도할 수 있는 실패한 작업이 없습니다. 파일을 다시 올리려면 영상 교체를 이용해 주세요.",
    "There is no failed encoding to retry. To upload a file again, replace the recording.",
)
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
    """The source stays, for a retry; of a file that is refused nothing stays."""

    def change(publication: Publication) -> None:
        states.fail(publication, reason)
        if reason.code.startswith(REFUSED):
            # Other chunks' workers may still be writing: they learn of the end by their next heartbeat, if at all.
            graves.bury([publication], first_step_at=timezone.now() + graves.LONGEST_TASK, keep=False)

    _of(job, change)


def _cancelled(job: JobRecord) -> None:
    """Final: what was made is swept, the source too."""

    def change(publication: Publication) -> None:
        publication.state = State.CANCELLED
        publication.save(update_fields=["state"])
        graves.bury([publication])

    _of(job, change)


def _reopened(job: JobRecord) -> None:
    """A retry goes on where the job failed; what was listed before can be played at once.

    Raises Conflict for a file that was refused: it is being deleted.
    """

    def change(publication: Publication) -> None:
        if publication.reason_code.startswith(REFUSED):
            raise Conflict(reason=NOTHING_TO_RETRY)
        publication.state = State.PLAYABLE if publication.chunks_listed else State.PROCESSING
        publication.reason_code = publication.reason_ko = publication.reason_en = ""
        publication.save(update_fields=["state", "reason_code", "reason_ko", "reason_en"])

    _of(job, change)


ENCODE = JobKind(
    name=JOB_KIND, on_succeeded=_succeeded, on_failed=_failed, on_cancelled=_cancelled, on_reopened=_reopened
)
