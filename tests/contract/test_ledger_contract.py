"""What every Ledger answers a worker: the fake, and the API's own over Postgres.

The fake exists for tests of workers; this suite is what lets them trust it.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import ledger_support as support
import pytest
from ledger_support import ACCEPTS, BULK, SHORT, Number

from academy_api.ledger import jobs, leases
from academy_api.ledger.leases import PostgresLedger
from academy_core.errors import LeaseLost, Permanent
from academy_core.kinds import Queue, TaskKind, WorkerClass
from academy_core.ledger import (
    Accepts,
    ClaimedTask,
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatRequest,
    Ledger,
    NewTask,
    NextClaim,
    Progress,
    ReleaseRequest,
)
from academy_core.ledger_fake import FakeLedger


@dataclass(frozen=True)
class Bench:
    """A ledger and what stands around it: users, the relay and time."""

    ledger: Ledger
    submit: Callable[[NewTask], UUID]
    cancel: Callable[[UUID], None]
    state: Callable[[UUID], str]
    pass_time: Callable[[float], None]
    expire: Callable[[], None]

    def claim(self, secret: str | None = None, accepts: Accepts = ACCEPTS) -> "Lease | None":
        drawn = secret or secrets.token_urlsafe(32)
        request = ClaimRequest(queue=Queue.VIDEO, accepts=accepts, worker="w", secret=drawn)
        task = self.ledger.claim(request).task
        return None if task is None else Lease(self.ledger, task, drawn)

    def must_claim(self) -> "Lease":
        lease = self.claim()
        assert lease is not None
        return lease


@dataclass(frozen=True)
class Lease:
    """One attempt, as its worker holds it."""

    ledger: Ledger
    task: ClaimedTask
    secret: str

    @property
    def names(self) -> dict[str, Any]:
        return {"attempt": self.task.attempt, "secret": self.secret}

    def heartbeat(self) -> None:
        self.ledger.heartbeat(self.task.task, HeartbeatRequest(progress=Progress(percent=1), **self.names))

    def complete(self, n: int = 1, **more: Any) -> ClaimedTask | None:
        return self.ledger.complete(self.task.task, CompleteRequest(result={"n": n}, **self.names, **more)).next

    def fail(self, *, permanent: bool = False) -> None:
        request = FailRequest(permanent=permanent, code="c", reason_ko="이유", reason_en="Reason.", **self.names)
        self.ledger.fail(self.task.task, request)

    def release(self) -> None:
        self.ledger.release(self.task.task, ReleaseRequest(**self.names))


def _fake() -> Bench:
    now = [datetime(2026, 1, 1, tzinfo=UTC)]
    ledger = FakeLedger((SHORT, BULK), clock=lambda: now[0])
    words = {"running": "open"}

    def pass_time(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    return Bench(
        ledger,
        lambda task: ledger.submit(task).id,
        ledger.cancel,
        lambda job: words.get(ledger.jobs[job].state, ledger.jobs[job].state),
        pass_time,
        ledger.expire,
    )


def _postgres() -> Bench:
    def expire() -> None:
        for task in leases.expirable(100):
            leases.expire(task)

    return Bench(
        PostgresLedger(WorkerClass.VIDEO), support.submit, jobs.cancel, support.job_state, support.pass_time, expire
    )


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.django_db)])
def ledger_under_test(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A ledger without jobs."""
    if request.param == "fake":
        yield _fake()
        return
    support.reset_clock()
    yield _postgres()
    support.reset_clock()


def new(n: int = 0, kind: TaskKind = BULK) -> NewTask:
    return NewTask.of(kind, Number(n=n))


def test_a_task_is_handed_out_once_and_a_repeat_gets_the_same_attempt(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new(7))
    lease = bench.must_claim()
    assert (lease.task.job, lease.task.input["n"], lease.task.attempt) == (job, 7, 1)
    assert lease.task.results is None
    again = bench.claim(lease.secret)
    assert again is not None
    assert (again.task.task, again.task.attempt) == (lease.task.task, 1)
    assert bench.claim() is None


def test_a_worker_gets_only_what_it_understands(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    assert bench.claim(accepts=Accepts(kinds={"test.bulk": (2,), "test.short": (1,)})) is None
    assert bench.claim() is not None


def test_complete_ends_the_job_and_a_repeat_gets_the_first_answer(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    lease = bench.must_claim()
    lease.heartbeat()
    assert lease.complete() is None
    assert lease.complete() is None
    assert bench.state(job) == "succeeded"
    with pytest.raises(LeaseLost):
        lease.heartbeat()


def test_a_wrong_secret_holds_nothing(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    lease = bench.must_claim()
    stranger = Lease(bench.ledger, lease.task, secrets.token_urlsafe(32))
    for call in (stranger.heartbeat, stranger.complete, stranger.fail, stranger.release):
        with pytest.raises(LeaseLost):
            call()
    lease.heartbeat()


def test_then_starts_once_with_its_results_in_order_already_claimed(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    bench.must_claim().complete(children=(new(1), new(2)), then=new(3, SHORT))
    first, second = bench.must_claim(), bench.must_claim()
    following = NextClaim(secret=secrets.token_urlsafe(32), accepts=ACCEPTS, queue=Queue.VIDEO, worker="w")
    assert second.complete(second.task.input["n"] * 10, next=following) is None
    then = first.complete(first.task.input["n"] * 10, next=following)
    assert then is not None
    assert [result["n"] for result in then.results or ()] == [10, 20]
    assert bench.claim() is None
    repeat = first.complete(first.task.input["n"] * 10, next=following)
    assert repeat is not None
    assert repeat.task == then.task
    Lease(bench.ledger, then, following.secret).complete()
    assert bench.state(job) == "succeeded"


def test_a_childs_whole_continuation_stands_in_its_place(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    bench.must_claim().complete(children=(new(1),), then=new(9, SHORT))
    bench.must_claim().complete(children=(new(2),))
    bench.must_claim().complete(42)
    then = bench.must_claim()
    assert then.task.input["n"] == 9
    assert [result["n"] for result in then.task.results or ()] == [42]


def test_empty_children_start_then_at_once(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    bench.must_claim().complete(then=new(5, SHORT))
    then = bench.must_claim()
    assert (then.task.input["n"], then.task.results) == (5, ())


def test_a_released_task_is_ready_at_once_under_a_new_attempt(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    lease = bench.must_claim()
    lease.release()
    lease.release()
    assert bench.must_claim().task.attempt == 2
    with pytest.raises(LeaseLost):
        lease.complete()


def test_failures_back_off_and_then_kill_the_job(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    lease = bench.must_claim()
    lease.fail()
    lease.fail()
    assert bench.claim() is None
    bench.pass_time(3600)
    bench.must_claim().fail()
    assert bench.state(job) == "failed"


def test_a_permanent_failure_ends_the_job_and_its_siblings(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    bench.must_claim().complete(children=(new(1), new(2)))
    first, second = bench.must_claim(), bench.must_claim()
    first.fail(permanent=True)
    assert bench.state(job) == "failed"
    with pytest.raises(LeaseLost):
        second.heartbeat()


def test_cancel_takes_the_lease(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    lease = bench.must_claim()
    bench.cancel(job)
    for call in (lease.heartbeat, lease.complete, lease.release):
        with pytest.raises(LeaseLost):
            call()
    assert bench.state(job) == "cancelled"


def test_an_expired_lease_is_taken_back_until_the_next_claim(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    bench.submit(new())
    lease = bench.must_claim()
    bench.pass_time(31)
    bench.expire()
    lease.heartbeat()
    assert bench.claim() is None
    bench.pass_time(31)
    bench.expire()
    assert bench.must_claim().task.attempt == 2
    with pytest.raises(LeaseLost):
        lease.complete()


@pytest.mark.parametrize(
    "more", [{"result": {"bad": 1}}, {"children": (NewTask(kind="no.such", version=1, input={}),)}]
)
def test_what_does_not_fit_its_kind_is_refused(ledger_under_test: Bench, more: dict[str, Any]) -> None:
    bench = ledger_under_test
    bench.submit(new())
    lease = bench.must_claim()
    request = CompleteRequest(**{"result": {"n": 1}, **lease.names, **more})
    with pytest.raises(Permanent):
        bench.ledger.complete(lease.task.task, request)
    lease.complete()
