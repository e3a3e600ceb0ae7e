"""What every Ledger answers a worker: the fake, the API's own over Postgres, and the worker's client over real HTTP.

The fake exists for tests of workers; this suite is what lets them trust it.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import ledger_support as support
import pytest
from django.db import connection
from gunicorn_support import serve
from ledger_support import ACCEPTS, BULK, SHORT, Number
from pytest_django import DjangoDbBlocker

from academy_api.ledger import jobs, leases
from academy_api.ledger.leases import PostgresLedger
from academy_api.settings import config
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
from academy_core.ledger_client import HttpLedger
from academy_core.ledger_fake import FakeLedger
from academy_core.settings import split_tokens


@dataclass(frozen=True)
class Bench:
    """A ledger and what stands around it: users, the relay and time."""

    ledger: Ledger
    submit: Callable[[NewTask], UUID]
    cancel: Callable[[UUID], Any]
    retry: Callable[[UUID], None]
    state: Callable[[UUID], str]
    pass_time: Callable[[float], None]
    expire: Callable[[], None]

    def claim(
        self, secret: str | None = None, accepts: Accepts = ACCEPTS, message: str | None = None
    ) -> "Lease | None":
        drawn = secret or secrets.token_urlsafe(32)
        request = ClaimRequest(queue=Queue.VIDEO, accepts=accepts, worker="w", secret=drawn, message=message)
        task = self.ledger.claim(request).task
        return None if task is None else Lease(self.ledger, task, drawn)

    def must_claim(self, message: str | None = None) -> "Lease":
        lease = self.claim(message=message)
        assert lease is not None
        return lease

    def die(self, lease: "Lease") -> str:
        """Let the task use up its failures; the message that its death puts into the DLQ."""
        lease.fail()
        self.pass_time(3600)
        again = self.must_claim()
        assert again.task.task == lease.task.task
        again.fail()
        return support.death_body(lease.task.task, lease.task.generation)


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
        ledger.retry,
        lambda job: words.get(ledger.jobs[job].state, ledger.jobs[job].state),
        pass_time,
        ledger.expire,
    )


def _expire() -> None:
    for task in leases.expirable(100):
        leases.expire(task)


def _over_postgres(ledger: Ledger) -> Bench:
    """Users, relay and time act on the database; the worker's calls go through `ledger`."""
    return Bench(ledger, support.submit, jobs.cancel, jobs.retry, support.job_state, support.pass_time, _expire)


@pytest.fixture(scope="module")
def client(
    django_db_setup: None,  # noqa: ARG001 - the database that is served
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[HttpLedger]:
    """The worker's client, of an API under gunicorn that knows the tests' kinds."""
    with django_db_blocker.unblock():
        name = connection.settings_dict["NAME"]
    environment = {"DB_NAME": name, "DB_CONN_MAX_AGE": "0", "GUNICORN_WORKERS": "1"}
    folders = {"PYTHONPATH": os.pathsep.join(str(Path(__file__).parents[place]) for place in (0, 1))}
    with serve(tmp_path_factory.mktemp("api"), "ledgerapp", **environment, **folders) as served:
        token = split_tokens(config.INTERNAL_WORKER_TOKENS_VIDEO)[0]
        with closing(HttpLedger(served.base, token)) as ledger:
            yield ledger


@pytest.fixture(
    params=[
        "fake",
        pytest.param("postgres", marks=pytest.mark.django_db),
        pytest.param("http", marks=pytest.mark.django_db(transaction=True)),
    ]
)
def ledger_under_test(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A ledger without jobs."""
    if request.param == "fake":
        yield _fake()
        return
    ledger = request.getfixturevalue("client") if request.param == "http" else PostgresLedger(WorkerClass.VIDEO)
    support.reset_clock()
    yield _over_postgres(ledger)
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


def test_a_redriven_death_revives_its_job_once(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    bench.must_claim().complete(children=(new(1), new(2)), then=new(3, SHORT))
    first, sibling = bench.must_claim(), bench.must_claim()
    death = bench.die(first)
    assert bench.state(job) == "failed"
    with pytest.raises(LeaseLost):
        sibling.heartbeat()
    revived = bench.must_claim(death)
    assert bench.state(job) == "open"
    other = bench.must_claim()
    assert {revived.task.task, other.task.task} == {first.task.task, sibling.task.task}
    assert {revived.task.generation, other.task.generation} == {2}
    assert bench.claim(message=death) is None
    for lease in (revived, other):
        lease.complete(lease.task.input["n"])
    then = bench.must_claim(death)
    assert [result["n"] for result in then.task.results or ()] == [1, 2]
    then.complete()
    assert bench.claim(message=death) is None
    assert bench.state(job) == "succeeded"


def test_only_the_death_of_the_current_generation_revives(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    first_death = bench.die(bench.must_claim())
    second_death = bench.die(bench.must_claim(first_death))
    assert bench.claim(message=first_death) is None
    assert bench.state(job) == "failed"
    assert bench.must_claim(second_death).task.generation == 3
    assert bench.state(job) == "open"


def test_a_users_retry_revives_what_failed_and_a_late_death_does_not(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    lease = bench.must_claim()
    lease.fail(permanent=True)
    assert bench.claim(message=support.death_body(lease.task.task, lease.task.generation)) is None
    assert bench.state(job) == "failed"
    bench.retry(job)
    again = bench.must_claim()
    assert (again.task.task, again.task.attempt, again.task.generation) == (lease.task.task, 2, 2)
    with pytest.raises(LeaseLost):
        lease.complete()
    again.complete()
    assert bench.state(job) == "succeeded"


def test_a_retried_death_is_not_revived_again_by_its_message(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    death = bench.die(bench.must_claim())
    bench.retry(job)
    lease = bench.must_claim(death)
    assert lease.task.generation == 2
    assert bench.claim(message=death) is None
    lease.complete()
    assert bench.state(job) == "succeeded"


def test_a_cancelled_job_is_not_revived(ledger_under_test: Bench) -> None:
    bench = ledger_under_test
    job = bench.submit(new())
    lease = bench.must_claim()
    bench.cancel(job)
    assert bench.claim(message=support.death_body(lease.task.task, lease.task.generation)) is None
    assert bench.state(job) == "cancelled"
