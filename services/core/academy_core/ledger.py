"""The contract between worker and ledger: what is asked and answered over the worker endpoints.

Worker side: `academy_core.ledger_client` (HTTP) and `academy_core.ledger_fake` (in memory), both `Ledger`.
API side: `academy_api.ledger` implements the same models over Postgres. One contract suite runs over all.
All times are the database's; secrets are drawn by the worker so that a repeat after a lost answer is recognised.

    POST /internal/v1/claim                    ClaimRequest     -> ClaimAnswer
    POST /internal/v1/tasks/{task}/heartbeat   HeartbeatRequest -> HeartbeatAnswer
    POST /internal/v1/tasks/{task}/complete    CompleteRequest  -> CompleteAnswer
    POST /internal/v1/tasks/{task}/fail        FailRequest      -> 204
    POST /internal/v1/tasks/{task}/release     ReleaseRequest   -> 204
    POST /internal/v1/probe                                     -> 204

Authorization: Bearer <INTERNAL_WORKER_TOKEN of the class>. Errors are RFC 9457; 409 with code `lease-lost`
is `LeaseLost`; 5xx, no answer and what passes with a rollout, a token's rotation or throttling (401, 403, 404, 408,
425, 429) are `ApiUnavailable`; other 4xx are `Permanent`.
"""

from datetime import datetime
from typing import Annotated, Any, Protocol, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from academy_core.kinds import Payload, Queue, TaskKind

LEASE_SECONDS = 30
HEARTBEAT_SECONDS = 5
MAX_CHILDREN = 2000
MAX_RESULT_BYTES = 64 * 1024

Secret = Annotated[str, Field(min_length=32, max_length=128)]
"""Drawn by the worker with `secrets.token_urlsafe(32)`; stored as a SHA-256 digest only."""


class _Wire(BaseModel):
    """Closed and frozen: an unknown field is an error at both ends."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Accepts(_Wire):
    """What a worker can run: kind name -> versions it understands."""

    kinds: dict[str, tuple[int, ...]]


class ClaimRequest(_Wire):
    """One worker with a free slot asks for one task."""

    queue: Queue
    accepts: Accepts
    worker: str = Field(max_length=128)
    """VIDEO_WORKER_ID, AI_WORKER_ID_CPU or AI_WORKER_ID_GPU."""
    secret: Secret
    message: str | None = None
    """The bell's body as received: a redriven death's message revives its task (generation must match)."""


class ClaimedTask(_Wire):
    """A task with its lease. `attempt` and the secret name the lease in every later call."""

    task: int
    attempt: int
    generation: int
    job: UUID
    academy: UUID
    request_id: str
    kind: str
    version: int
    input: dict[str, Any]
    results: tuple[dict[str, Any], ...] | None = None
    """For a `then`: its children's results in their order. None for any other task."""
    output_prefix: str
    """Everything the task writes lies under this key prefix (ends with '/'). Shared by the whole job."""
    ready_at: datetime
    claimed_at: datetime
    max_seconds: int

    @property
    def queue_wait_sec(self) -> float:
        """S-17's queue_wait_sec: claim time − ready_at, in seconds, both the database's clock."""
        return (self.claimed_at - self.ready_at).total_seconds()


class ClaimAnswer(_Wire):
    """`task` None means nothing is ready for this worker: delete the bell."""

    task: ClaimedTask | None


class Progress(_Wire):
    """How far an attempt is."""

    percent: Annotated[float, Field(ge=0, le=100)]
    media_seconds: Annotated[float, Field(ge=0)] | None = None


class HeartbeatRequest(_Wire):
    """Extends the lease; carries progress."""

    attempt: int
    secret: Secret
    progress: Progress | None = None


class HeartbeatAnswer(_Wire):
    """The lease now lasts this long."""

    lease_seconds: int = LEASE_SECONDS


class NewTask(_Wire):
    """A task to create. Queue, urgency and limits come from the kind; input is checked against its model."""

    kind: str
    version: int
    input: dict[str, Any]

    @classmethod
    def of(cls, kind: TaskKind, task_input: Payload) -> Self:
        """A new task of `kind`; TypeError when `task_input` is not the kind's input model."""
        if not isinstance(task_input, kind.input):
            raise TypeError(f"{kind.name} takes {kind.input.__name__}, not {type(task_input).__name__}")
        return cls(kind=kind.name, version=kind.version, input=task_input.sent())


class NextClaim(_Wire):
    """Asks for the job's `then` already claimed under `secret` (never while stopping)."""

    secret: Secret
    accepts: Accepts
    queue: Queue
    worker: str = Field(max_length=128)


class CompleteRequest(_Wire):
    """Ends the attempt with a result. `children` are new tasks; `then` starts once when all have succeeded.

    A task with children or then counts as ended for its own siblings' barrier only when the whole of its
    continuation has ended; the continuation's last result stands in its place.
    """

    attempt: int
    secret: Secret
    result: dict[str, Any]
    children: tuple[NewTask, ...] = Field(default=(), max_length=MAX_CHILDREN)
    then: NewTask | None = None
    next: NextClaim | None = None


class CompleteAnswer(_Wire):
    """A repeat gets the first answer."""

    next: ClaimedTask | None = None


class FailRequest(_Wire):
    """`permanent` fails the job with the reason; otherwise the task is tried again after a backoff."""

    attempt: int
    secret: Secret
    permanent: bool
    code: str = Field(max_length=64)
    reason_ko: str = Field(max_length=1000)
    reason_en: str = Field(max_length=1000)
    detail: str = Field(default="", max_length=4000)
    """For the log and the operator, never shown to a user."""


class ReleaseRequest(_Wire):
    """Hands the task back untouched: ready again at once with a new bell; counts as no failure and no crash."""

    attempt: int
    secret: Secret


class Ledger(Protocol):
    """The ledger as a worker sees it. Calls raise LeaseLost, ApiUnavailable or Permanent."""

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Hand out the most urgent ready task of the queue, or none. A repeated secret gets the same attempt."""
        ...

    def heartbeat(self, task: int, request: HeartbeatRequest) -> HeartbeatAnswer:
        """Extend the lease; LeaseLost when the task was cancelled or claimed anew."""
        ...

    def complete(self, task: int, request: CompleteRequest) -> CompleteAnswer:
        """End the attempt with its result; idempotent."""
        ...

    def fail(self, task: int, request: FailRequest) -> None:
        """End the attempt with a reason; idempotent."""
        ...

    def release(self, task: int, request: ReleaseRequest) -> None:
        """Hand the task back; idempotent."""
        ...

    def probe(self) -> None:
        """Prove that heartbeats can arrive: API, pooler and database are passed through."""
        ...
