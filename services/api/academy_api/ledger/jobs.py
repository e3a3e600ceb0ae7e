"""What the apps of the API ask of the ledger: submit, cancel, retry, progress, results.

Every call runs in the caller's transaction where there is one, so that an app's own row and its job are written
together or not at all. Bells are sent after the commit.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from academy_api.ledger import endings, machine, registry, sql, tasks
from academy_api.ledger.machine import JobState
from academy_core.errors import Conflict, NotFound, Reason
from academy_core.ledger import NewTask

NOT_RETRYABLE = Reason(
    "not-retryable",
    "실패한 작업만 다시 시도할 수 있습니다. 30일이 지난 작업은 새로 올려 주세요.",
    "Only failed work can be tried again. After 30 days, please upload it anew.",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One kind's tasks within a job."""

    kind: str
    total: int
    succeeded: int
    running: int
    percent: float
    """Mean over the tasks that exist, 0 to 100: a succeeded one is 100, a running one what it last reported."""
    media_seconds: float | None
    """Sum of what its running and succeeded tasks last reported; None when none reported any."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Where a job stands."""

    job: UUID
    state: str
    """open, finishing, succeeded, failed or cancelled."""
    reason: Reason | None
    """Why it failed, for a person; None in any other state."""
    stages: tuple[Stage, ...]
    """In the order in which the kinds first appeared. Empty once folded (30 days after the end)."""

    @property
    def percent(self) -> float:
        """Mean over the tasks that are known yet, 0 to 100; 100 when none is (the job was folded)."""
        total = sum(stage.total for stage in self.stages)
        return sum(stage.percent * stage.total for stage in self.stages) / total if total else 100.0


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of one succeeded task."""

    task: int
    index: int
    """Its position among its parent's children, from 0."""
    result: Mapping[str, Any]


def submit(  # noqa: PLR0913 - a job is exactly these facts
    *, kind: str, academy: UUID, owner_ref: UUID, task: NewTask, output_prefix: str, request_id: str
) -> UUID:
    """Open a job with its first task, ready at once. Returns the job's id.

    `output_prefix` is the key prefix, ending with `/`, under which all the job's tasks write.
    Raises Permanent when the job kind or task kind is unknown or the input does not fit the kind's model.
    """
    registry.job_kind(kind)
    job = uuid4()
    with transaction.atomic():
        sql.execute(
            sql.NEW_JOB,
            {
                "job": job,
                "academy": academy,
                "kind": kind,
                "owner_ref": owner_ref,
                "request_id": request_id,
                "output_prefix": output_prefix,
            },
        )
        tasks.create(job, [task])
    return job


def cancel(job: UUID) -> bool:
    """End the job and all its unfinished tasks as cancelled, at once. False when it had ended already.

    Locks the job's row. The owner's hooks run under that same lock, so a caller that also writes its own row calls
    this first: job before owner, everywhere.
    """
    with transaction.atomic():
        locked = endings.lock_job(job)
        if locked is None or not machine.may_cancel(locked.state):
            return False
        endings.end_job(locked.record, JobState.CANCELLED)
        return True


def retry(job: UUID) -> None:
    """Revive a failed job: its dead or failed task and the siblings that fell with it are ready again.

    Raises NotFound when there is no such job, Conflict when it is not failed or was folded since. Locks the job's
    row: see `cancel`.
    """
    with transaction.atomic():
        locked = endings.lock_job(job)
        if locked is None:
            raise NotFound(f"no job {job}")
        if locked.state is not JobState.FAILED or locked.folded:
            raise Conflict(f"job {job} is {locked.state}, folded: {locked.folded}", reason=NOT_RETRYABLE)
        endings.reopen(locked.record)


def progress(job: UUID) -> JobProgress:
    """Where the job stands. Raises NotFound when there is no such job."""
    found = sql.row(sql.JOB, {"job": job})
    if found is None:
        raise NotFound(f"no job {job}")
    id_, state, code, ko, en = found
    stages = tuple(
        Stage(kind, total, succeeded, running, float(percent), media_seconds)
        for kind, total, succeeded, running, percent, media_seconds in sql.rows(sql.STAGES, {"job": job})
    )
    return JobProgress(id_, state, Reason(code, ko, en) if code else None, stages)


def results(job: UUID, kind: str, *, beyond: Collection[int] = ()) -> list[TaskResult]:
    """Results of the job's succeeded tasks of one kind, by index.

    `beyond` holds the ids of tasks whose results the caller has already: a poll passes what it knows and gets only
    what is new (a result never changes).
    """
    return [
        TaskResult(task, index, json.loads(result))
        for task, index, result in sql.rows(sql.JOB_RESULTS, {"job": job, "kind": kind, "beyond": list(beyond)})
    ]
