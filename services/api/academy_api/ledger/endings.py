"""How places, jobs and lives end: barriers counted down, owners' hooks run, siblings cancelled, the dead revived.

Every function here is called inside a transaction that holds the job's row lock.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction

from academy_api.ledger import metrics, outbox, registry, sql
from academy_api.ledger.machine import JobState
from academy_api.ledger.registry import JobRecord
from academy_core.errors import AcademyError, Reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LockedJob:
    """A job whose row this transaction has locked."""

    record: JobRecord
    state: JobState
    outcome: str
    reason: Reason
    folded: bool


@dataclass(frozen=True, slots=True)
class Count:
    """A barrier after one more of its children's places has ended."""

    barrier: int
    remaining: int
    total: int
    then_task: int | None
    outer_barrier: int | None
    outer_position: int


def lock_job(job: UUID) -> LockedJob | None:
    """Lock the job's row; None when there is no such job."""
    found = sql.row(sql.LOCK_JOB, {"job": job})
    if found is None:
        return None
    id_, academy, owner_ref, kind, request_id, prefix, generation, state, outcome, code, ko, en, folded = found
    record = JobRecord(id_, academy, owner_ref, kind, request_id, prefix, generation)
    return LockedJob(record, JobState(state), outcome, Reason(code, ko, en), folded)


def record_of(row: sql.Row) -> JobRecord:
    """The job of a locked task row, as hooks see it."""
    return JobRecord(
        row.job, row.academy, row.owner_ref, row.job_kind, row.request_id, row.output_prefix, row.job_generation
    )


def end_place(job: JobRecord, count: Count | None, result: Any) -> int | None:
    """A place has ended and was counted at its barrier (None: it was the root's, and the job succeeds).

    Returns the `then` that may start now, still waiting, if this was the last child of its barrier.
    """
    while count is not None:
        if count.remaining:
            return None
        if count.then_task is not None:
            return count.then_task
        sql.execute(
            sql.MOVE_OUT,
            {
                "job": job.id,
                "barrier": count.barrier,
                "position": count.total - 1,
                "outer_barrier": count.outer_barrier,
                "outer_position": count.outer_position,
            },
        )
        result = None
        outer = count.outer_barrier
        found = None if outer is None else sql.row(sql.COUNT_DOWN, {"barrier": outer})
        count = Count(*found) if found else None
    if result is None:
        result = root_result(job.id)
    end_job(job, JobState.SUCCEEDED, result=result)
    return None


def root_result(job: UUID) -> Any:
    """The job's last result: that of the task that stands in the root's place."""
    found = sql.row(sql.ROOT_RESULT, {"job": job})
    return json.loads(found[0]) if found else {}


def end_job(job: JobRecord, outcome: JobState, *, reason: Reason | None = None, result: Any = None) -> bool:
    """End the job through its owner's hook; unfinished tasks are cancelled first unless it succeeded.

    False when the hook raised: the hook's own writes are rolled back, the job is `finishing`, the relay tries again.
    """
    if outcome is not JobState.SUCCEEDED:
        sql.execute(sql.CANCEL_TASKS, {"job": job.id})
    reason = reason or Reason("", "", "")
    ended = _run_hook(job, outcome, reason, result)
    sql.execute(
        sql.END_JOB,
        {
            "job": job.id,
            "state": (outcome if ended else JobState.FINISHING).value,
            "outcome": outcome.value,
            "code": reason.code,
            "ko": reason.ko,
            "en": reason.en,
        },
    )
    return ended


def _run_hook(job: JobRecord, outcome: JobState, reason: Reason, result: Any) -> bool:
    try:
        with transaction.atomic():
            _hook(job, outcome, reason, result)()
    except Exception:  # whatever the owner's code raises, the ledger's own writes must stand
        metrics.HOOK_FAILURES.labels(job.kind).inc()
        log.exception("hook %s of job kind %s raised; job %s stays finishing", outcome, job.kind, job.id)
        return False
    return True


def _hook(job: JobRecord, outcome: JobState, reason: Reason, result: Any) -> Callable[[], None]:
    kind = registry.job_kind(job.kind)
    if outcome is JobState.SUCCEEDED:
        return lambda: kind.on_succeeded(job, result)
    if outcome is JobState.FAILED:
        return lambda: kind.on_failed(job, reason)
    return lambda: kind.on_cancelled(job)


def finish(job: UUID) -> bool:
    """Try the hook of a finishing job again. True when the job has ended now."""
    with transaction.atomic():
        locked = lock_job(job)
        if locked is None or locked.state is not JobState.FINISHING:
            return False
        outcome = JobState(locked.outcome)
        result = root_result(job) if outcome is JobState.SUCCEEDED else None
        return end_job(locked.record, outcome, reason=locked.reason, result=result)


def reopen(job: JobRecord) -> None:
    """Revive a failed job: new generation, cleared counts, bells for all that is ready again, the owner's hook."""
    found = sql.row(sql.REOPEN_JOB, {"job": job.id})
    if found is None:
        raise AcademyError(f"job {job.id} vanished while it was locked")
    (generation,) = found
    hold = outbox.hold_seconds()
    outbox.ring(sql.rows(sql.REVIVE_TASKS, {"job": job.id, "generation": generation, "hold": hold}))
    reopened = JobRecord(job.id, job.academy, job.owner_ref, job.kind, job.request_id, job.output_prefix, generation)
    registry.job_kind(job.kind).on_reopened(reopened)
