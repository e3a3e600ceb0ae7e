"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database.

A row that was deleted meanwhile is simply not there any more: then there is nothing to do.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from academy_api.ledger.registry import JobKind, JobRecord
from academy_api.questions.models import Comparison, Scan, Work
from academy_core.errors import Reason

COMPARE_JOB = "questions.compare"
READ_JOB = "questions.read"


def _because(reason: Reason | None) -> dict[str, str]:
    if reason is None:
        return {"reason_code": "", "reason_ko": "", "reason_en": ""}
    return {"reason_code": reason.code, "reason_ko": reason.ko, "reason_en": reason.en}


def _compared(job: JobRecord, result: Mapping[str, Any]) -> None:
    _set(job, Comparison.State.DONE, result=dict(result))


def _set(job: JobRecord, state: Comparison.State, **more: Any) -> None:
    Comparison.objects.filter(pk=job.owner_ref).update(state=state, **more)


COMPARE = JobKind(
    name=COMPARE_JOB,
    on_succeeded=_compared,
    on_failed=lambda job, reason: _set(job, Comparison.State.FAILED, **_because(reason)),
    on_cancelled=lambda job: _set(job, Comparison.State.CANCELLED),
    on_reopened=lambda job: _set(job, Comparison.State.RUNNING, **_because(None)),
)


def _read(job: JobRecord, result: Mapping[str, Any]) -> None:
    """Not in the bank yet: the relay fetches the questions first (`duties`)."""
    Scan.objects.filter(pk=job.owner_ref, job=job.id).update(result=dict(result))


def _reread(job: JobRecord) -> None:
    Scan.objects.filter(pk=job.owner_ref, job=job.id).update(state=Work.READING, **_because(None))


def fail(scan: UUID, job: UUID | None, reason: Reason) -> None:
    """Write a scan's failure, with its reason for a person; nothing when another reading has begun since."""
    Scan.objects.filter(pk=scan, job=job).update(state=Work.FAILED, **_because(reason))


def _cancelled(job: JobRecord) -> None:
    Scan.objects.filter(pk=job.owner_ref, job=job.id).update(state=Work.CANCELLED)


READ = JobKind(
    name=READ_JOB,
    on_succeeded=_read,
    on_failed=lambda job, reason: fail(job.owner_ref, job.id, reason),
    on_cancelled=_cancelled,
    on_reopened=_reread,
)
