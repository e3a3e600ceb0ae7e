"""Two ledgers behind one interface, for the stateful test: the pure machine in memory, and Postgres through the SQL.

`PureWorld` applies `academy_api.ledger.machine` to tasks in a dictionary; a call is atomic. `PostgresWorld` runs each
call on one of eight threads with a connection of its own, which stops before every statement and every commit until
the test lets it go on; a thread that waits for a lock in Postgres is recognised and left waiting.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Protocol
from uuid import UUID, uuid4

import ledger_support as support
from django.db import DEFAULT_DB_ALIAS, connection, connections

from academy_api.ledger import duties, jobs, leases, machine, outbox, sql
from academy_api.ledger.machine import Call, JobState, TaskState, Verdict
from academy_core.errors import AcademyError, Conflict, LeaseLost
from academy_core.kinds import Queue
from academy_core.ledger import (
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatRequest,
    NextClaim,
    ReleaseRequest,
)
from academy_core.messages import Bell

SLOTS = 8


@dataclass(frozen=True)
class TaskView:
    job: Any
    tag: int
    state: str
    attempt: int
    generation: int
    barrier: int | None
    gathers: int | None
    stands: bool


@dataclass(frozen=True)
class Snapshot:
    """Everything committed."""

    jobs: dict[Any, tuple[str, int]]
    tasks: dict[int, TaskView]
    barriers: dict[int, tuple[int, int]]
    """Remaining and total."""
    outbox: list[tuple[int, int | None]]
    """Task, and the generation of a death."""
    hooks: list[tuple[str, Any]]


@dataclass(frozen=True)
class Shape:
    """What a complete brings along. Tags are unique, so that anything made twice is seen."""

    children: tuple[int, ...] = ()
    then: int | None = None
    next_secret: str | None = None


@dataclass(frozen=True)
class Grip:
    """A lease as its worker holds it."""

    task: int
    attempt: int
    secret: str


class Api(Protocol):
    """The calls of the ledger that the test makes. Reports raise LeaseLost; retry raises Conflict."""

    def submit(self, tag: int) -> None: ...
    def claim(self, secret: str, message: str | None) -> Grip | None: ...
    def heartbeat(self, grip: Grip) -> None: ...
    def complete(self, grip: Grip, shape: Shape) -> Grip | None: ...
    def fail(self, grip: Grip, *, permanent: bool) -> None: ...
    def release(self, grip: Grip) -> None: ...
    def expire(self, task: int) -> None: ...
    def cancel(self, job: Any) -> None: ...
    def retry(self, job: Any) -> None: ...
    def send(self) -> list[tuple[int, int | None]]: ...
    def top_up(self, visible: int) -> None: ...


class World(Protocol):
    """Runs calls on slots, one step at a time."""

    api: Api

    def begin(self, slot: int, call: Callable[[], Any], done: Callable[[Any], None]) -> None: ...
    def busy(self, slot: int) -> bool: ...
    def step(self, slot: int) -> None: ...
    def snapshot(self) -> Snapshot: ...
    def pass_time(self, seconds: float) -> None: ...
    def close(self) -> None: ...


# -- the pure machine -------------------------------------------------------------------------------------------------


@dataclass
class _PureTask:
    job: int
    tag: int
    decides: machine.Task
    barrier: int | None
    position: int
    gathers: int | None = None
    stands: bool = False
    next: Grip | None = None


@dataclass
class _PureBarrier:
    remaining: int
    total: int
    then: int | None
    outer: tuple[int | None, int]


@dataclass
class PureApi:
    """The specification: the machine's decisions over plain dictionaries."""

    jobs: dict[int, tuple[JobState, int]] = field(default_factory=dict)
    tasks: dict[int, _PureTask] = field(default_factory=dict)
    barriers: dict[int, _PureBarrier] = field(default_factory=dict)
    outbox: list[tuple[int, int | None]] = field(default_factory=list)
    hooks: list[tuple[str, int]] = field(default_factory=list)

    def submit(self, tag: int) -> None:
        job = len(self.jobs) + 1
        self.jobs[job] = (JobState.OPEN, 1)
        self._create(job, tag, None, 0)

    def _create(self, job: int, tag: int, barrier: int | None, position: int) -> None:
        task = len(self.tasks) + 1
        self.tasks[task] = _PureTask(
            job,
            tag,
            machine.Task(TaskState.READY, generation=self.jobs[job][1], max_failures=2, max_crashes=2),
            barrier,
            position,
        )
        self.outbox.append((task, None))

    def claim(self, secret: str, message: str | None) -> Grip | None:
        if message is not None:
            bell = Bell.model_validate_json(message)
            if bell.task and bell.generation:
                task = self.tasks[bell.task]
                if machine.may_revive(*self.jobs[task.job], task.decides, bell.generation):
                    self._reopen(task.job)
        digest = leases.digest_of(secret)
        for id_, task in self.tasks.items():
            if task.decides.state is TaskState.CLAIMED and task.decides.digest == digest:
                return Grip(id_, task.decides.attempt, secret)
        for id_, task in self.tasks.items():
            if task.decides.state is TaskState.READY:
                task.decides = machine.claimed(task.decides, digest)
                return Grip(id_, task.decides.attempt, secret)
        return None

    def _hold(self, call: Call, grip: Grip) -> tuple[_PureTask, Verdict, machine.Task]:
        task = self.tasks[grip.task]
        return task, *machine.hold(task.decides, call, grip.attempt, leases.digest_of(grip.secret))

    def heartbeat(self, grip: Grip) -> None:
        task, _, held = self._hold(Call.HEARTBEAT, grip)
        task.decides = held

    def complete(self, grip: Grip, shape: Shape) -> Grip | None:
        task, verdict, held = self._hold(Call.COMPLETE, grip)
        if verdict is Verdict.REPEAT:
            return task.next
        task.decides = machine.succeeded(held)
        then = self._continue(task, shape)
        if then is None:
            return None
        woken = self.tasks[then]
        woken.decides = replace(woken.decides, state=TaskState.READY)
        if shape.next_secret is None:
            self.outbox.append((then, None))
            return None
        woken.decides = machine.claimed(woken.decides, leases.digest_of(shape.next_secret))
        task.next = Grip(then, woken.decides.attempt, shape.next_secret)
        return task.next

    def _continue(self, task: _PureTask, shape: Shape) -> int | None:
        if not shape.children and shape.then is None:
            task.stands = True
            return self._end_place(task.job, task.barrier)
        if shape.then is None and len(shape.children) == 1:
            self._create(task.job, shape.children[0], task.barrier, task.position)
            return None
        barrier = len(self.barriers) + 1
        total = len(shape.children)
        self.barriers[barrier] = _PureBarrier(total, total, None, (task.barrier, task.position))
        if shape.then is not None:
            self._create(task.job, shape.then, task.barrier, task.position)
            self.outbox.pop()
            then = len(self.tasks)
            self.barriers[barrier].then = then
            self.tasks[then].gathers = barrier
            self.tasks[then].decides = replace(self.tasks[then].decides, state=TaskState.WAITING)
        for position, tag in enumerate(shape.children):
            self._create(task.job, tag, barrier, position)
        return None if shape.children else self.barriers[barrier].then

    def _end_place(self, job: int, barrier: int | None) -> int | None:
        while barrier is not None:
            counter = self.barriers[barrier]
            counter.remaining -= 1
            if counter.remaining:
                return None
            if counter.then is not None:
                return counter.then
            for task in self.tasks.values():
                if task.barrier == barrier and task.stands and task.position == counter.total - 1:
                    task.barrier, task.position = counter.outer
            barrier = counter.outer[0]
        self._end(job, JobState.SUCCEEDED)
        return None

    def _end(self, job: int, state: JobState) -> None:
        self.jobs[job] = (state, self.jobs[job][1])
        for task in self.tasks.values():
            if task.job == job:
                task.decides = machine.cancelled(task.decides)
        self.hooks.append((state.value, job))

    def fail(self, grip: Grip, *, permanent: bool) -> None:
        task, verdict, held = self._hold(Call.FAIL, grip)
        if verdict is Verdict.HOLDS:
            self._leave(grip.task, task, machine.failed(held, permanent=permanent))

    def release(self, grip: Grip) -> None:
        task, verdict, held = self._hold(Call.RELEASE, grip)
        if verdict is Verdict.HOLDS:
            self._leave(grip.task, task, machine.released(held))

    def expire(self, task: int) -> None:
        found = self.tasks[task]
        if found.decides.state is TaskState.CLAIMED:
            self._leave(task, found, machine.expired(found.decides))

    def _leave(self, id_: int, task: _PureTask, ended: machine.Task) -> None:
        task.decides = ended
        if ended.state is TaskState.READY:
            self.outbox.append((id_, None))
            return
        if ended.state is TaskState.DEAD:
            self.outbox.append((id_, ended.generation))
        self._end(task.job, JobState.FAILED)

    def cancel(self, job: int) -> None:
        if machine.may_cancel(self.jobs[job][0]):
            self._end(job, JobState.CANCELLED)

    def retry(self, job: int) -> None:
        if self.jobs[job][0] is not JobState.FAILED:
            raise Conflict("not failed")
        self._reopen(job)

    def _reopen(self, job: int) -> None:
        generation = self.jobs[job][1] + 1
        self.jobs[job] = (JobState.OPEN, generation)
        self.hooks.append(("reopened", job))
        for id_, task in self.tasks.items():
            if task.job == job and task.decides.state in machine.REVIVABLE:
                left = task.gathers is not None and self.barriers[task.gathers].remaining > 0
                task.decides = machine.revived(task.decides, generation, children_left=left)
                if not left:
                    self.outbox.append((id_, None))

    def send(self) -> list[tuple[int, int | None]]:
        sent, self.outbox = self.outbox, []
        return sent

    def top_up(self, visible: int) -> None:
        waiting = {task for task, generation in self.outbox if generation is None}
        overdue = [i for i, t in self.tasks.items() if t.decides.state is TaskState.READY and i not in waiting]
        self.outbox += [(task, None) for task in overdue[: max(0, len(overdue) - visible)]]


class PureWorld:
    """Calls are atomic: a slot's one step runs its whole call."""

    def __init__(self) -> None:
        self._pure = PureApi()
        self.api: Api = self._pure
        self._waiting: dict[int, tuple[Callable[[], Any], Callable[[Any], None]]] = {}

    def begin(self, slot: int, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._waiting[slot] = (call, done)

    def busy(self, slot: int) -> bool:
        return slot in self._waiting

    def step(self, slot: int) -> None:
        call, done = self._waiting.pop(slot)
        done(outcome_of(call))

    def snapshot(self) -> Snapshot:
        pure = self._pure
        return Snapshot(
            {job: (state.value, generation) for job, (state, generation) in pure.jobs.items()},
            {
                id_: TaskView(
                    t.job,
                    t.tag,
                    t.decides.state.value,
                    t.decides.attempt,
                    t.decides.generation,
                    t.barrier,
                    t.gathers,
                    t.stands,
                )
                for id_, t in pure.tasks.items()
            },
            {id_: (barrier.remaining, barrier.total) for id_, barrier in pure.barriers.items()},
            list(pure.outbox),
            list(pure.hooks),
        )

    def pass_time(self, seconds: float) -> None:
        """The pure machine has no clock."""

    def close(self) -> None:
        """Nothing to close."""


def outcome_of(call: Callable[[], Any]) -> Any:
    """The call's answer, or the error of ours that it raised; any other error is a bug and goes up."""
    try:
        return call()
    except (LeaseLost, Conflict) as error:
        return error


# -- Postgres ---------------------------------------------------------------------------------------------------------


class PostgresApi:
    """The ledger itself."""

    def submit(self, tag: int) -> None:
        support.submit(support.new(support.BULK, tag), support.ACADEMIES[tag % len(support.ACADEMIES)])

    def claim(self, secret: str, message: str | None) -> Grip | None:
        task = support.VIDEO.claim(
            ClaimRequest(queue=Queue.VIDEO, accepts=support.ACCEPTS, worker="w", secret=secret, message=message)
        ).task
        return Grip(task.task, task.attempt, secret) if task else None

    def heartbeat(self, grip: Grip) -> None:
        support.VIDEO.heartbeat(grip.task, HeartbeatRequest(attempt=grip.attempt, secret=grip.secret))

    def complete(self, grip: Grip, shape: Shape) -> Grip | None:
        following = None
        if shape.next_secret is not None:
            following = NextClaim(secret=shape.next_secret, accepts=support.ACCEPTS, queue=Queue.VIDEO, worker="w")
        answer = support.VIDEO.complete(
            grip.task,
            CompleteRequest(
                attempt=grip.attempt,
                secret=grip.secret,
                result={"n": grip.task},
                children=tuple(support.new(support.BULK, tag) for tag in shape.children),
                then=None if shape.then is None else support.new(support.SHORT, shape.then),
                next=following,
            ),
        )
        return Grip(answer.next.task, answer.next.attempt, str(shape.next_secret)) if answer.next else None

    def fail(self, grip: Grip, *, permanent: bool) -> None:
        support.VIDEO.fail(
            grip.task,
            FailRequest(
                attempt=grip.attempt,
                secret=grip.secret,
                permanent=permanent,
                code="broken",
                reason_ko="고장",
                reason_en="Broken.",
            ),
        )

    def release(self, grip: Grip) -> None:
        support.VIDEO.release(grip.task, ReleaseRequest(attempt=grip.attempt, secret=grip.secret))

    def expire(self, task: int) -> None:
        leases.expire(task)

    def cancel(self, job: UUID) -> None:
        jobs.cancel(job)

    def retry(self, job: UUID) -> None:
        jobs.retry(job)

    def send(self) -> list[tuple[int, int | None]]:
        due = outbox.due(100)
        sql.execute(sql.SENT, {"ids": [message.id for message in due]})
        return [(message.task, message.generation) for message in due]

    def top_up(self, visible: int) -> None:
        missing = duties.overdue().get(Queue.VIDEO, 0) - visible
        if missing > 0:
            duties.ring_overdue(Queue.VIDEO, missing)


class _Slot:
    """One thread with one connection that stops before each statement and each commit."""

    def __init__(self, number: int) -> None:
        self.calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.go = threading.Semaphore(0)
        self.stopped = threading.Event()
        self.finished = False
        self.answer: Any = None
        self.error: BaseException | None = None
        self.pid: int = 0
        self.gated = False
        self.thread = threading.Thread(target=self._run, name=f"slot-{number}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        wrapper: Any = connections[DEFAULT_DB_ALIAS]
        commit = wrapper._commit

        def gated_commit() -> None:
            self._pause()
            commit()

        wrapper._commit = gated_commit
        with connection.execute_wrapper(self._gate):
            while (call := self.calls.get()) is not None:
                try:
                    with connection.cursor() as cursor:
                        cursor.execute("SELECT pg_backend_pid()")
                        (self.pid,) = cursor.fetchone()
                    self.gated = True
                    self.answer = outcome_of(call)
                except BaseException as error:  # noqa: BLE001 - handed to the test's own thread, which raises it
                    self.error = error
                self.gated = False
                self.finished = True
                self.stopped.set()
        wrapper._commit = commit
        connection.close()

    def _gate(self, execute: Callable[..., Any], statement: str, parameters: Any, many: bool, context: Any) -> Any:  # noqa: FBT001 - Django's signature
        self._pause()
        return execute(statement, parameters, many, context)

    def _pause(self) -> None:
        if self.gated:
            self.stopped.set()
            self.go.acquire()


class PostgresWorld:
    """Eight gated connections; the test's own thread looks on over a ninth."""

    STUCK_SECONDS = 20.0

    def __init__(self) -> None:
        self.api: Api = PostgresApi()
        support.HOOKS.seen.clear()
        support.HOOKS.broken = False
        with connection.cursor() as cursor:
            cursor.execute(
                "TRUNCATE ledger_job, ledger_task, ledger_barrier, ledger_outbox, ledger_lane RESTART IDENTITY CASCADE"
            )
        support.reset_clock()
        self._slots = [_Slot(number) for number in range(SLOTS)]
        self._done: dict[int, Callable[[Any], None]] = {}

    def begin(self, slot: int, call: Callable[[], Any], done: Callable[[Any], None]) -> None:
        found = self._slots[slot]
        found.stopped.clear()
        found.finished = False
        self._done[slot] = done
        found.calls.put(call)
        self._settle(slot)

    def busy(self, slot: int) -> bool:
        return slot in self._done

    def step(self, slot: int) -> None:
        """Let the slot run its next statement. Whoever waits for a lock goes on as soon as it gets it."""
        found = self._slots[slot]
        if found.stopped.is_set() and not found.finished:
            found.stopped.clear()
            found.go.release()
        self._settle(slot)
        for other in list(self._done):
            if other != slot and (self._slots[other].finished or not self._slots[other].stopped.is_set()):
                self._settle(other)

    def _settle(self, slot: int) -> None:
        """Wait until the slot has stopped again, or waits for a lock that another slot holds."""
        found = self._slots[slot]
        deadline = time.monotonic() + self.STUCK_SECONDS
        while not found.stopped.wait(0.002):
            if self._waits_for_lock(found.pid):
                return
            assert time.monotonic() < deadline, f"slot {slot} is stuck"
        if found.finished:
            done = self._done.pop(slot)
            if found.error is not None:
                raise found.error
            done(found.answer)

    def _waits_for_lock(self, pid: int) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid])
            (blocked,) = cursor.fetchone()
        return bool(blocked)

    def snapshot(self) -> Snapshot:
        rows = sql.rows
        return Snapshot(
            {job: (state, gen) for job, state, gen in rows("SELECT id, state, generation FROM ledger_job", {})},
            {
                id_: TaskView(*view)
                for id_, *view in rows(
                    "SELECT id, job_id, (input->>'n')::int, state, attempt, generation, barrier_id, gathers, stands "
                    "FROM ledger_task",
                    {},
                )
            },
            {id_: (left, total) for id_, left, total in rows("SELECT id, remaining, total FROM ledger_barrier", {})},
            [(task, gen) for task, gen in rows("SELECT task, generation FROM ledger_outbox ORDER BY id", {})],
            [(what, job) for what, job, _ in list(support.HOOKS.seen)],
        )

    def pass_time(self, seconds: float) -> None:
        support.pass_time(seconds)

    def close(self) -> None:
        """Let every call end (a failed test leaves some under way) and the threads with them."""
        deadline = time.monotonic() + self.STUCK_SECONDS
        while self._done and time.monotonic() < deadline:
            for slot in list(self._done):
                with contextlib.suppress(Exception):
                    self.step(slot)
        for found in self._slots:
            found.calls.put(None)
        for found in self._slots:
            found.thread.join(timeout=self.STUCK_SECONDS)
        support.reset_clock()


def secrets() -> Iterator[str]:
    """Secrets without end."""
    while True:
        yield uuid4().hex


__all__ = ["AcademyError", "Api", "Grip", "PostgresWorld", "PureWorld", "Shape", "Snapshot", "World", "secrets"]
