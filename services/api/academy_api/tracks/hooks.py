"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database.

An analysis whose publication is gone is on its way out: what is written about it then matters to nobody.
"""

from collections.abc import Mapping
from typing import Any

from academy_api.ledger.registry import JobKind, JobRecord
from academy_api.tracks.models import Analysis, State
from academy_core.errors import Reason

JOB_KIND = "lecture.analyse"


def _succeeded(job: JobRecord, result: Mapping[str, Any]) -> None:
    """Not done yet: the relay fetches the files first (`duties.fetch`)."""
    Analysis.objects.filter(pk=job.owner_ref).update(result=dict(result))


def _failed(job: JobRecord, reason: Reason) -> None:
    Analysis.objects.filter(pk=job.owner_ref).update(
        state=State.FAILED, reason_code=reason.code, reason_ko=reason.ko, reason_en=reason.en
    )


def _cancelled(job: JobRecord) -> None:
    Analysis.objects.filter(pk=job.owner_ref).update(state=State.CANCELLED)


def _reopened(job: JobRecord) -> None:
    Analysis.objects.filter(pk=job.owner_ref).update(state=State.RUNNING, reason_code="", reason_ko="", reason_en="")


ANALYSE = JobKind(
    name=JOB_KIND, on_succeeded=_succeeded, on_failed=_failed, on_cancelled=_cancelled, on_reopened=_reopened
)
