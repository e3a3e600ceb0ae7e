"""The ledger's state machine, pure: what each event makes of a task, and what a job may still do.

`leases.py` asks it about every report of a worker and every expired lease, and writes down what it answers. The bulk
transitions (claim, cancel, revive) are single SQL statements; the stateful test holds them to these functions.
No clock and no database here: times are decided by SQL, random draws are passed in.
"""

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from academy_core.errors import LeaseLost

BACKOFF_BASE_SECONDS = 5.0
BACKOFF_CAP_SECONDS = 300.0


class TaskState(StrEnum):
    """Where a task stands."""

    WAITING = "waiting"
    """A `then` whose children have not all ended."""
    READY = "ready"
    CLAIMED = "claimed"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Bad input: trying again cannot help."""
    DEAD = "dead"
    """Its limits are used up; its death lies in the DLQ."""
    CANCELLED = "cancelled"


UNFINISHED = frozenset({TaskState.WAITING, TaskState.READY, TaskState.CLAIMED})
REVIVABLE = frozenset({TaskState.FAILED, TaskState.DEAD, TaskState.CANCELLED})


class JobState(StrEnum):
    """Where a job stands. `finishing`: its tasks have ended, its owner's hook has yet to succeed."""

    OPEN = "open"
    FINISHING = "finishing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Cause(StrEnum):
    """The event that last moved a task out of `claimed`, or made it ready."""

    CREATED = "created"
    RELEASED = "released"
    FAILED = "failed"
    EXPIRED = "expired"
    REVIVED = "revived"


class Call(StrEnum):
    """What a worker reports about its attempt."""

    HEARTBEAT = "heartbeat"
    COMPLETE = "complete"
    FAIL = "fail"
    RELEASE = "release"


class Verdict(Enum):
    """What a report may do: have its effect, or get the first answer again."""

    HOLDS = auto()
    REPEAT = auto()


@dataclass(frozen=True, slots=True)
class Task:
    """The part of a task that decides."""

    state: TaskState
    cause: Cause = Cause.CREATED
    attempt: int = 0
    generation: int = 1
    failures: int = 0
    crashes: int = 0
    max_failures: int = 5
    max_crashes: int = 3
    digest: bytes | None = None
    """SHA-256 of the secret of the attempt that last held the task; None before the first and after a revive."""


def claimed(task: Task, digest: bytes) -> Task:
    """A ready task is handed out."""
    return replace(task, state=TaskState.CLAIMED, attempt=task.attempt + 1, digest=digest)


def hold(task: Task, call: Call, attempt: int, digest: bytes) -> tuple[Verdict, Task]:
    """May this report have its effect? Answers with the task as the reporting attempt holds it.

    A late report takes its lease back, and the crash with it, while the task is still ready from that very expiry.
    Raises LeaseLost for every other report that does not come from the attempt that holds or ended the task.
    """
    if task.attempt != attempt or task.digest is None or task.digest != digest:
        raise LeaseLost(f"{call}: another attempt than {attempt}, or another secret")
    if task.state is TaskState.CLAIMED:
        return Verdict.HOLDS, task
    if task.state is TaskState.READY and task.cause is Cause.EXPIRED:
        return Verdict.HOLDS, replace(task, state=TaskState.CLAIMED, crashes=task.crashes - 1)
    if _ended_by(task) is call:
        return Verdict.REPEAT, task
    raise LeaseLost(f"{call}: the task is {task.state} ({task.cause})")


def _ended_by(task: Task) -> Call | None:
    """The report with which the last attempt ended, if it ended by a report."""
    if task.state is TaskState.SUCCEEDED:
        return Call.COMPLETE
    if task.state in {TaskState.READY, TaskState.FAILED, TaskState.DEAD} and task.cause is Cause.FAILED:
        return Call.FAIL
    if task.state is TaskState.READY and task.cause is Cause.RELEASED:
        return Call.RELEASE
    return None


def succeeded(task: Task) -> Task:
    """The holding attempt completed."""
    return replace(task, state=TaskState.SUCCEEDED)


def failed(task: Task, *, permanent: bool) -> Task:
    """The holding attempt reported a failure."""
    if permanent:
        return replace(task, state=TaskState.FAILED, cause=Cause.FAILED)
    failures = task.failures + 1
    state = TaskState.DEAD if failures >= task.max_failures else TaskState.READY
    return replace(task, state=state, cause=Cause.FAILED, failures=failures)


def expired(task: Task) -> Task:
    """The holding attempt's lease ran out: a crash."""
    crashes = task.crashes + 1
    state = TaskState.DEAD if crashes >= task.max_crashes else TaskState.READY
    return replace(task, state=state, cause=Cause.EXPIRED, crashes=crashes)


def released(task: Task) -> Task:
    """The holding attempt handed the task back; neither a failure nor a crash."""
    return replace(task, state=TaskState.READY, cause=Cause.RELEASED)


def cancelled(task: Task) -> Task:
    """The job ended otherwise: unfinished tasks stop, ended ones stay as they are."""
    return replace(task, state=TaskState.CANCELLED) if task.state in UNFINISHED else task


def revived(task: Task, generation: int, *, children_left: bool) -> Task:
    """The job is open again in a new generation; `children_left` says whether a `then` must still wait."""
    if task.state not in REVIVABLE:
        return task
    return replace(
        task,
        state=TaskState.WAITING if children_left else TaskState.READY,
        cause=Cause.REVIVED,
        generation=generation,
        failures=0,
        crashes=0,
        digest=None,
    )


def may_revive(job: JobState, job_generation: int, task: Task, generation: int) -> bool:
    """May the death of `generation` be undone? Only the current one of a task still dead, in a job that failed."""
    return job is JobState.FAILED and task.state is TaskState.DEAD and task.generation == job_generation == generation


def may_cancel(job: JobState) -> bool:
    """A job can be cancelled until it has ended."""
    return job in {JobState.OPEN, JobState.FINISHING}


def backoff_seconds(failures: int, draw: float) -> float:
    """Delay before the next attempt after `failures` failures: exponential, capped, jittered by `draw` in [0, 1)."""
    ceiling: float = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** (failures - 1))
    return ceiling * (0.5 + draw / 2)
