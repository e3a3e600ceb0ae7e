"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database.

A sheet that was deleted meanwhile is simply not there any more: then there is nothing to do.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from academy_api.exams.models import Sheet, State
from academy_api.ledger.registry import JobKind, JobRecord
from academy_core.errors import Reason

JOB_KIND = "exam.grade"


def _succeeded(job: JobRecord, result: Mapping[str, Any]) -> None:
    """Not graded yet: the relay fetches the readings first (`duties`)."""
    Sheet.objects.filter(pk=job.owner_ref).update(result=dict(result))


def _failed(job: JobRecord, reason: Reason) -> None:
    fail(job.owner_ref, reason)


def _cancelled(job: JobRecord) -> None:
    Sheet.objects.filter(pk=job.owner_ref).update(state=State.CANCELLED)


def _reopened(job: JobRecord) -> None:
    Sheet.objects.filter(pk=job.owner_ref).update(state=State.GRADING, reason_code="", reason_ko="", reason_en="")


def fail(sheet: UUID, reason: Reason) -> None:
    """Write a sheet's failure, with its reason for a person."""
    Sheet.objects.filter(pk=sheet).update(
        state=State.FAILED, reason_code=reason.code, reason_ko=reason.ko, reason_en=reason.en
    )


GRADE = JobKind(
    name=JOB_KIND, on_succeeded=_succeeded, on_failed=_failed, on_cancelled=_cancelled, on_reopened=_reopened
)
