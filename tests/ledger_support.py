"""What the ledger's tests share: kinds of their own, a job kind whose hooks remember, and one worker's calls."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from academy_api.ledger import jobs, registry, sql
from academy_api.ledger.leases import PostgresLedger
from academy_api.ledger.registry import JobRecord
from academy_core.errors import Reason
from academy_core.kinds import Payload, Queue, TaskKind, Urgency, WorkerClass
from academy_core.ledger import (
    Accepts,
    ClaimedTask,
    ClaimRequest,
    CompleteAnswer,
    CompleteRequest,
    FailRequest,
    HeartbeatRequest,
    NewTask,
    NextClaim,
    Progress,
    ReleaseRequest,
)


class Number(Payload):
    n: int = 0
    names: tuple[str, ...] = ()

    def keys(self) -> Iterable[str]:
        return self.names


SHORT = TaskKind("test.short", 1, Queue.VIDEO, Urgency.SHORT, Number, Number, max_failures=2, max_crashes=2)
BULK = TaskKind("test.bulk", 1, Queue.VIDEO, Urgency.BULK, Number, Number, max_failures=2, max_crashes=2)
BULK_V2 = TaskKind("test.bulk", 2, Queue.VIDEO, Urgency.BULK, Number, Number, max_failures=2, max_crashes=2)
LITE = TaskKind("test.lite", 1, Queue.AI_LITE, Urgency.SHORT, Number, Number)
ACCEPTS = Accepts(kinds={"test.short": (1,), "test.bulk": (1,)})

for _kind in (SHORT, BULK, BULK_V2, LITE):
    registry.register_kind(_kind)


@dataclass
class Hooks:
    """What the job kind `test` saw; `broken` makes its hooks raise."""

    seen: list[tuple[str, UUID, Any]] = field(default_factory=list)
    broken: bool = False

    def _see(self, what: str, job: JobRecord, detail: Any = None) -> None:
        if self.broken:
            raise RuntimeError(f"hook {what} is broken on purpose")
        self.seen.append((what, job.id, detail))

    def succeeded(self, job: JobRecord, result: Mapping[str, Any]) -> None:
        self._see("succeeded", job, result)

    def failed(self, job: JobRecord, reason: Reason) -> None:
        self._see("failed", job, reason)

    def cancelled(self, job: JobRecord) -> None:
        self._see("cancelled", job)

    def reopened(self, job: JobRecord) -> None:
        self._see("reopened", job, job.generation)


HOOKS = Hooks()
registry.register_job(registry.JobKind("test", HOOKS.succeeded, HOOKS.failed, HOOKS.cancelled, HOOKS.reopened))

ACADEMIES = (UUID(int=1), UUID(int=2), UUID(int=3))


def new(kind: TaskKind = BULK, n: int = 0) -> NewTask:
    return NewTask(kind=kind.name, version=kind.version, input={"n": n})


def submit(task: NewTask | None = None, academy: UUID | None = None) -> UUID:
    return jobs.submit(
        kind="test",
        academy=academy or uuid4(),
        owner_ref=uuid4(),
        task=task or new(),
        output_prefix="out/one/",
        request_id="req-1",
    )


def secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass
class Lease:
    """One attempt, as its worker holds it."""

    ledger: PostgresLedger
    task: ClaimedTask
    secret: str

    def heartbeat(self, percent: float | None = None) -> None:
        progress = None if percent is None else Progress(percent=percent, media_seconds=percent)
        self.ledger.heartbeat(
            self.task.task, HeartbeatRequest(attempt=self.task.attempt, secret=self.secret, progress=progress)
        )

    def complete(
        self,
        result: dict[str, Any] | None = None,
        children: Iterable[NewTask] = (),
        then: NewTask | None = None,
        following: NextClaim | None = None,
    ) -> CompleteAnswer:
        return self.ledger.complete(
            self.task.task,
            CompleteRequest(
                attempt=self.task.attempt,
                secret=self.secret,
                result={"n": 1} if result is None else result,
                children=tuple(children),
                then=then,
                next=following,
            ),
        )

    def fail(self, *, permanent: bool = False) -> None:
        self.ledger.fail(
            self.task.task,
            FailRequest(
                attempt=self.task.attempt,
                secret=self.secret,
                permanent=permanent,
                code="broken",
                reason_ko="고장",
                reason_en="Broken.",
                detail="a detail",
            ),
        )

    def release(self) -> None:
        self.ledger.release(self.task.task, ReleaseRequest(attempt=self.task.attempt, secret=self.secret))


VIDEO = PostgresLedger(WorkerClass.VIDEO)


def claim(message: str | None = None, the_secret: str | None = None, accepts: Accepts = ACCEPTS) -> Lease | None:
    drawn = the_secret or secret()
    answer = VIDEO.claim(ClaimRequest(queue=Queue.VIDEO, accepts=accepts, worker="test", secret=drawn, message=message))
    return Lease(VIDEO, answer.task, drawn) if answer.task else None


def must_claim(message: str | None = None) -> Lease:
    lease = claim(message)
    assert lease is not None, "nothing was ready"
    return lease


def column(task: int, name: str) -> Any:
    found = sql.row(f"SELECT {name} FROM ledger_task WHERE id = %(task)s", {"task": task})  # noqa: S608
    assert found is not None
    return found[0]


def job_state(job: UUID) -> str:
    return jobs.progress(job).state


def outbox() -> list[tuple[Any, ...]]:
    return sql.rows("SELECT task, generation FROM ledger_outbox ORDER BY id", {})


def clear_outbox() -> None:
    sql.execute("DELETE FROM ledger_outbox", {})


def pass_time(seconds: float) -> None:
    """Shift the ledger's clock. The function is the database's only clock; tests put a shifted one in its place."""
    sql.execute(
        "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS "
        f"'SELECT statement_timestamp() + interval ''{float(_shift.total + seconds)} seconds'''",
        {},
    )
    _shift.total += seconds


@dataclass
class _Shift:
    total: float = 0.0


_shift = _Shift()


def reset_clock() -> None:
    _shift.total = 0.0
    pass_time(0)


def death_body(task: int, generation: int) -> str:
    return json.dumps(
        {"v": 1, "queue": "video", "task": task, "generation": generation, "enqueued_at": "2026-01-01T00:00:00Z"}
    )
