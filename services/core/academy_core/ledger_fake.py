"""The ledger in memory, for tests of workers: same interface, same answers as the API (one contract suite).

Jobs, leases, continuations, revive and cancel are all there; the order of claims is simpler (short before bulk, then
first come), and what the relay does is a method to call: `expire`, `relay`.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import ValidationError

from academy_core.errors import ApiUnavailable, LeaseLost, Permanent
from academy_core.kinds import TaskKind, Urgency
from academy_core.ledger import (
    LEASE_SECONDS,
    Accepts,
    ClaimAnswer,
    ClaimedTask,
    ClaimRequest,
    CompleteAnswer,
    CompleteRequest,
    FailRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    NewTask,
    Progress,
    ReleaseRequest,
)
from academy_core.messages import Bell

BACKOFF_SECONDS = 2.0
"""First backoff after a failure; doubles with each."""


@dataclass(slots=True)
class FakeJob:
    """`state`: running, succeeded, failed or cancelled."""

    id: UUID
    academy: UUID
    request_id: str
    output_prefix: str
    state: str = "running"
    result: dict[str, Any] | None = None
    reason: str | None = None


@dataclass(slots=True)
class _Barrier:
    """Counts the children that have not ended; then starts what follows, in its creator's place."""

    place: "tuple[_Barrier, int] | None"
    left: int
    results: list[dict[str, Any]]
    then: NewTask | None


@dataclass(slots=True)
class FakeTask:
    """`state`: ready, claimed, succeeded, failed, dead or cancelled."""

    id: int
    job: FakeJob
    kind: TaskKind
    input: dict[str, Any]
    results: tuple[dict[str, Any], ...] | None
    ready_at: datetime
    place: tuple[_Barrier, int] | None = field(repr=False)
    state: str = "ready"
    attempt: int = 0
    generation: int = 1
    failures: int = 0
    crashes: int = 0
    secret: str | None = field(default=None, repr=False)
    lease_until: datetime | None = None
    claim: ClaimedTask | None = None
    expired_attempt: int | None = None
    progress: Progress | None = None
    ended: dict[str, CompleteAnswer | None] = field(default_factory=dict, repr=False)
    """Secrets of attempts that were reported, with the first answer."""


class FakeLedger:
    """See Ledger. Thread-safe."""

    def __init__(
        self,
        kinds: Sequence[TaskKind],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        ring: Callable[[Bell], None] = lambda _bell: None,
    ) -> None:
        """`clock`: the database's. `ring` sends a bell; it is called for each ready task, as the relay would."""
        self._kinds = {(kind.name, kind.version): kind for kind in kinds}
        self._clock = clock
        self._ring = ring
        self._lock = threading.RLock()
        self._outbox: list[tuple[datetime, Bell]] = []
        self.jobs: dict[UUID, FakeJob] = {}
        self.tasks: dict[int, FakeTask] = {}
        self.deaths: list[Bell] = []
        """What was sent to the DLQ."""
        self.available = True
        """Set False by a test: every call raises ApiUnavailable."""
        self.claims = 0
        """Claim calls that arrived."""

    # -- what the API and the relay do -----------------------------------------------------------------------------

    def submit(self, task: NewTask, *, academy: UUID | None = None, request_id: str = "req") -> FakeJob:
        """A new job with its first task."""
        with self._lock:
            ident = uuid4()
            job = FakeJob(ident, academy or uuid4(), request_id, f"jobs/{ident}/")
            self.jobs[job.id] = job
            self._create(job, task, None)
            self.relay()
            return job

    def cancel(self, job: UUID) -> None:
        """Cancel a running job and its unfinished tasks."""
        with self._lock:
            if self.jobs[job].state == "running":
                self._end_job(self.jobs[job], "cancelled")

    def retry(self, job: UUID) -> None:
        """A user's retry of a failed job."""
        with self._lock:
            for task in tuple(self.tasks.values()):
                if task.job.id == job and task.state in {"dead", "failed"} and task.job.state == "failed":
                    self._revive(task)
            self.relay()

    def expire(self) -> None:
        """Make tasks ready again whose lease ran out, as the relay does while heartbeats can arrive."""
        with self._lock:
            now = self._clock()
            for task in tuple(self.tasks.values()):
                if task.state == "claimed" and task.lease_until is not None and task.lease_until <= now:
                    task.crashes += 1
                    if task.crashes >= task.kind.max_crashes:
                        self._die(task)
                    else:
                        task.expired_attempt = task.attempt
                        self._make_ready(task, now)
            self.relay()

    def relay(self) -> None:
        """Ring the bells whose time has come."""
        with self._lock:
            now = self._clock()
            due = [bell for after, bell in self._outbox if after <= now]
            self._outbox = [(after, bell) for after, bell in self._outbox if after > now]
            for bell in due:
                self._ring(bell)

    # -- transitions -----------------------------------------------------------------------------------------------

    def _create(
        self,
        job: FakeJob,
        new: NewTask,
        place: tuple[_Barrier, int] | None,
        results: tuple[dict[str, Any], ...] | None = None,
    ) -> FakeTask:
        kind = self._kind(new)
        now = self._clock()
        task = FakeTask(len(self.tasks) + 1, job, kind, new.input, results, now, place)
        self.tasks[task.id] = task
        self._make_ready(task, now)
        return task

    def _kind(self, new: NewTask) -> TaskKind:
        kind = self._kinds.get((new.kind, new.version))
        if kind is None:
            raise Permanent(f"no kind {new.kind} version {new.version}")
        try:
            kind.input.model_validate(new.input)
        except ValidationError as error:
            raise Permanent(f"input of {new.kind}") from error
        return kind

    def _bell(self, task: FakeTask, generation: int | None = None) -> Bell:
        return Bell(
            queue=task.kind.queue,
            task=task.id,
            job=task.job.id,
            request_id=task.job.request_id,
            generation=generation,
            enqueued_at=self._clock(),
        )

    def _make_ready(self, task: FakeTask, at: datetime) -> None:
        task.state, task.ready_at = "ready", at
        self._outbox.append((at, self._bell(task)))

    def _end_job(self, job: FakeJob, state: str, reason: str | None = None) -> None:
        job.state, job.reason = state, reason
        for task in self.tasks.values():
            if task.job is job and task.state in {"ready", "claimed"}:
                task.state = "cancelled"

    def _die(self, task: FakeTask) -> None:
        task.state = "dead"
        self.deaths.append(self._bell(task, task.generation))
        self._end_job(task.job, "failed", "dead")

    def _revive(self, task: FakeTask) -> None:
        task.job.state, task.job.reason = "running", None
        for other in self.tasks.values():
            if other.job is task.job and (other is task or other.state == "cancelled"):
                other.generation += 1
                other.failures = other.crashes = 0
                other.expired_attempt = None
                self._make_ready(other, self._clock())

    def _ended(self, task: FakeTask, place: tuple[_Barrier, int] | None, result: dict[str, Any]) -> FakeTask | None:
        """A piece of work has ended with all that followed from it; the `then` this started, if any."""
        if place is None:
            task.job.state, task.job.result = "succeeded", result
            return None
        barrier, index = place
        barrier.results[index] = result
        barrier.left -= 1
        if barrier.left:
            return None
        if barrier.then is not None:
            return self._create(task.job, barrier.then, barrier.place, tuple(barrier.results))
        return self._ended(task, barrier.place, barrier.results[-1])

    def _hold(self, ident: int, attempt: int, secret: str) -> FakeTask:
        """The task, its lease held by the caller; a lease that expired and was not claimed since is taken back."""
        task = self.tasks.get(ident)
        if task is None or task.attempt != attempt or task.secret != secret or secret in task.ended:
            raise LeaseLost(f"task {ident}")
        if task.state == "ready" and task.expired_attempt == attempt:
            task.crashes -= 1
            task.state, task.expired_attempt = "claimed", None
        if task.state != "claimed":
            raise LeaseLost(f"task {ident}")
        task.lease_until = self._clock() + timedelta(seconds=LEASE_SECONDS)
        return task

    def _lease(self, task: FakeTask, secret: str) -> ClaimedTask:
        now = self._clock()
        task.attempt += 1
        task.state, task.secret, task.expired_attempt = "claimed", secret, None
        task.lease_until = now + timedelta(seconds=LEASE_SECONDS)
        task.claim = ClaimedTask(
            task=task.id,
            attempt=task.attempt,
            generation=task.generation,
            job=task.job.id,
            academy=task.job.academy,
            request_id=task.job.request_id,
            kind=task.kind.name,
            version=task.kind.version,
            input=task.input,
            results=task.results,
            output_prefix=task.job.output_prefix,
            ready_at=task.ready_at,
            claimed_at=now,
            max_seconds=task.kind.max_seconds,
        )
        return task.claim

    # -- the interface ---------------------------------------------------------------------------------------------

    def _reached(self) -> None:
        if not self.available:
            raise ApiUnavailable("fake API is away")

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """See Ledger.claim."""
        with self._lock:
            self._reached()
            self.claims += 1
            known = next((task for task in self.tasks.values() if request.secret == task.secret), None)
            if known is not None:
                return ClaimAnswer(task=known.claim if known.state == "claimed" else None)
            if request.message is not None:
                self._redriven(request.message)
            now = self._clock()
            ready = [
                task
                for task in self.tasks.values()
                if task.state == "ready"
                and task.ready_at <= now
                and task.kind.queue is request.queue
                and _fits(task, request.accepts)
            ]
            if not ready:
                return ClaimAnswer(task=None)
            first = min(ready, key=lambda task: (task.kind.urgency is Urgency.BULK, task.ready_at, task.id))
            return ClaimAnswer(task=self._lease(first, request.secret))

    def _redriven(self, message: str) -> None:
        """A death's message that came back revives its task, if it is still that death."""
        try:
            bell = Bell.model_validate_json(message)
        except ValidationError:
            return
        task = None if bell.task is None else self.tasks.get(bell.task)
        if task is None or bell.generation != task.generation:
            return
        if task.state == "dead" and task.job.state == "failed":
            self._revive(task)
            self.relay()

    def heartbeat(self, task: int, request: HeartbeatRequest) -> HeartbeatAnswer:
        """See Ledger.heartbeat."""
        with self._lock:
            self._reached()
            held = self._hold(task, request.attempt, request.secret)
            held.progress = request.progress or held.progress
            return HeartbeatAnswer()

    def complete(self, task: int, request: CompleteRequest) -> CompleteAnswer:
        """See Ledger.complete."""
        with self._lock:
            self._reached()
            if (first := self._first_answer(task, request.secret)) is not None:
                return first
            held = self._hold(task, request.attempt, request.secret)
            try:
                held.kind.result.model_validate(request.result)
            except ValidationError as error:
                raise Permanent(f"result of {held.kind.name}") from error
            for new in (*request.children, *([request.then] if request.then else [])):
                self._kind(new)
            held.state = "succeeded"
            following = self._continue(held, request)
            claimed = None
            if following is not None and request.next is not None:
                fits = following.kind.queue is request.next.queue and _fits(following, request.next.accepts)
                if fits:
                    self._outbox = [(after, bell) for after, bell in self._outbox if bell.task != following.id]
                    claimed = self._lease(following, request.next.secret)
            self.relay()
            answer = CompleteAnswer(next=claimed)
            held.ended[request.secret] = answer
            return answer

    def _continue(self, task: FakeTask, request: CompleteRequest) -> FakeTask | None:
        """Create what follows a completed task; the `then` that is ready at once, if any."""
        if not request.children and request.then is None:
            return self._ended(task, task.place, request.result)
        if not request.children and request.then is not None:
            return self._create(task.job, request.then, task.place, ())
        barrier = _Barrier(task.place, len(request.children), [{}] * len(request.children), request.then)
        for index, child in enumerate(request.children):
            self._create(task.job, child, (barrier, index))
        return None

    def _first_answer(self, ident: int, secret: str) -> CompleteAnswer | None:
        task = self.tasks.get(ident)
        return None if task is None else task.ended.get(secret)

    def fail(self, task: int, request: FailRequest) -> None:
        """See Ledger.fail."""
        with self._lock:
            self._reached()
            if self._reported(task, request.secret):
                return
            held = self._hold(task, request.attempt, request.secret)
            held.ended[request.secret] = None
            if request.permanent:
                held.state = "failed"
                self._end_job(held.job, "failed", request.code)
                return
            held.failures += 1
            if held.failures >= held.kind.max_failures:
                self._die(held)
                return
            backoff = timedelta(seconds=BACKOFF_SECONDS * 2 ** (held.failures - 1))
            self._make_ready(held, self._clock() + backoff)
            self.relay()

    def release(self, task: int, request: ReleaseRequest) -> None:
        """See Ledger.release."""
        with self._lock:
            self._reached()
            if self._reported(task, request.secret):
                return
            held = self._hold(task, request.attempt, request.secret)
            held.ended[request.secret] = None
            self._make_ready(held, self._clock())
            self.relay()

    def _reported(self, ident: int, secret: str) -> bool:
        task = self.tasks.get(ident)
        return task is not None and secret in task.ended

    def probe(self) -> None:
        """See Ledger.probe."""
        with self._lock:
            self._reached()


def _fits(task: FakeTask, accepts: Accepts) -> bool:
    return task.kind.version in accepts.kinds.get(task.kind.name, ())
