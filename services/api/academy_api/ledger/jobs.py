"""What the apps of the API ask of the ledger: submit, cancel, retry, progress, results.

Every call runs in the caller's transaction where there is one, so that an app's own row and its job are written
together or not at all. Bells are sent after the commit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from academy_core.errors import Reason
from academy_core.ledger import NewTask


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
    raise NotImplementedError


def cancel(job: UUID) -> bool:
    """End the job and all its unfinished tasks as cancelled, at once. False when it had ended already."""
    raise NotImplementedError


def retry(job: UUID) -> None:
    """Revive a failed job: its dead or failed task and the siblings that fell with it are ready again.

    Raises NotFound when there is no such job, Conflict when it is not failed or was folded since.
    """
    raise NotImplementedError


def progress(job: UUID) -> JobProgress:
    """Where the job stands. Raises NotFound when there is no such job."""
    raise NotImplementedError


def results(job: UUID, kind: str, *, beyond: Collection[int] = ()) -> list[TaskResult]:
    """Results of the job's succeeded tasks of one kind, by index.

    `beyond` holds the ids of tasks whose results the caller has already: a poll passes what it knows and gets only
    what is new (a result never changes).
    """
    raise NotImplementedError
