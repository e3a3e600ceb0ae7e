"""What the ledger tells this app about its jobs. Runs in the ledger's transaction, touches only the database."""

from collections.abc import Mapping
from typing import Any

from academy_api.ledger.registry import JobKind, JobRecord
from academy_api.questions.models import Comparison
from academy_core.errors import Reason

JOB_KIND = "questions.compare"


def _set(job: JobRecord, state: Comparison.State, **more: Any) -> None:
    Comparison.objects.filter(pk=job.owner_ref).update(state=state, **more)


def _succeeded(job: JobRecord, result: Mapping[str, Any]) -> None:
    _set(job, Comparison.State.DONE, result=dict(result))


def _failed(job: JobRecord, reason: Reason) -> None:
    _set(job, Comparison.State.FAILED, reason_code=reason.code, reason_ko=reason.ko, reason_en=reason.en)


def _cancelled(job: JobRecord) -> None:
    _set(job, Comparison.State.CANCELLED)


def _reopened(job: JobRecord) -> None:
    _set(job, Comparison.State.RUNNING, reason_code="", reason_ko="", reason_en="")


COMPARE = JobKind(
    name=JOB_KIND, on_succeeded=_succeeded, on_failed=_failed, on_cancelled=_cancelled, on_reopened=_reopened
)
