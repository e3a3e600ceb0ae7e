"""The worker loop over fakes: weights, one bell a slot, failures, cancel, outages, SIGTERM (S-5 to S-7, S-16)."""

import math
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest
import structlog
from support import wait_until
from worker_kit import ADD, LITE, NAMES, SUM, Number, Platform, echo

from academy_core import attempt as attempt_module
from academy_core.attempt import HeldMessage
from academy_core.consumer import Consumer
from academy_core.errors import Permanent, Reason, Retryable
from academy_core.kinds import Queue
from academy_core.ledger import NewTask
from academy_core.sqs import Message
from academy_core.sqs_fake import FakeSqs
from academy_core.tasks import Outcome, TaskContext

BOTH = {Queue.AI_BASIC: 3, Queue.AI_LITE: 1}
LONG = 20.0


@pytest.fixture
def platform() -> Platform:
    return Platform()


class Blocker:
    """A handler that works until it is told to go on, or stopped."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.go = threading.Event()
        self.killed = threading.Event()
        self.stop = threading.Event()

    def __call__(self, context: TaskContext[Number]) -> Outcome:
        def kill() -> None:
            self.killed.set()
            self.stop.set()

        with context.kill_on_cancel(kill):
            context.progress(40, 2.5)
            self.started.release()
            while not self.go.is_set() and not self.stop.is_set():
                self.stop.wait(0.01)
        context.check()
        return Outcome(context.input)


def test_both_full_are_served_three_to_one(platform: Platform) -> None:
    served: list[str] = []
    done = threading.Event()

    def note(context: TaskContext[Number]) -> Outcome:
        served.append(context.task.kind)
        if len(served) >= 400:
            done.set()
        return Outcome(context.input)

    platform.submit(*[ADD] * 400, *[LITE] * 400)
    with platform.worker({ADD: note, LITE: note}, weights=BOTH):
        assert done.wait(60)
    counts = Counter(served[:400])
    assert abs(counts["test.add"] - 300) <= 15, counts


def let_go(platform: Platform, consumer: Consumer) -> None:
    """Stop, and end the long polls that are still out."""
    consumer.stop()
    for name in (NAMES[Queue.AI_BASIC], NAMES[Queue.AI_LITE]):
        platform.sqs.send(name, ["wake"])


@pytest.mark.parametrize("kind", [ADD, LITE])
def test_with_one_queue_empty_the_other_does_not_wait_for_its_poll(platform: Platform, kind: object) -> None:
    started = threading.Event()

    def note(context: TaskContext[Number]) -> Outcome:
        started.set()
        return Outcome(context.input)

    with platform.worker({ADD: note, LITE: note}, weights=BOTH, wait_seconds=30 * LONG) as consumer:
        wait_until(lambda: len(platform.sqs.receives) == 2, LONG, "both queues polled")
        platform.submit(kind)  # type: ignore[arg-type]
        assert started.wait(LONG)
        let_go(platform, consumer)


def test_idle_costs_one_call_a_queue_and_poll(platform: Platform) -> None:
    began = time.monotonic()
    with platform.worker({ADD: echo, LITE: echo}, weights=BOTH, slots=3, wait_seconds=1):
        time.sleep(2.5)
        calls = dict(platform.sqs.receives)
        polls = math.ceil(time.monotonic() - began)
    # 2.5 s are at most 3 polls of 1 s: with the 20 s of production at most 2 in any 20 s.
    assert all(1 <= calls[NAMES[queue]] <= polls for queue in BOTH), calls


def test_ten_bells_and_ten_idle_workers_get_one_each(platform: Platform) -> None:
    blockers = [Blocker() for _ in range(10)]
    with ExitStack() as stack:
        for blocker in blockers:
            stack.enter_context(platform.worker({ADD: blocker}))
        platform.submit(*[ADD] * 10)
        for blocker in blockers:
            assert blocker.started.acquire(timeout=LONG)
        assert platform.sqs.depth(NAMES[Queue.AI_BASIC]).visible == 0
        for blocker in blockers:
            blocker.go.set()
        wait_until(lambda: platform.states() == ["succeeded"] * 10, LONG, "all done")
        wait_until(lambda: platform.in_flight() == 0, LONG, "messages deleted")
    assert all(blocker.started._value == 0 for blocker in blockers)


def test_a_busy_slot_takes_no_bell_and_hands_a_surplus_one_back(platform: Platform) -> None:
    blocker = Blocker()
    with platform.worker({ADD: blocker, LITE: echo}, weights=BOTH, wait_seconds=30 * LONG) as consumer:
        wait_until(lambda: len(platform.sqs.receives) == 2, LONG, "both queues polled")
        platform.submit(ADD)
        assert blocker.started.acquire(timeout=LONG)
        platform.submit(LITE)  # the lite poll is still out and brings it
        wait_until(lambda: consumer.metrics.returned.labels(Queue.AI_LITE)._value.get() == 1, LONG, "returned")
        wait_until(lambda: platform.sqs.depth(NAMES[Queue.AI_LITE]).visible == 1, LONG, "visible again")
        assert platform.states() == ["claimed", "ready"]
        blocker.go.set()
        wait_until(lambda: platform.states() == ["succeeded"] * 2, LONG, "both done")
        let_go(platform, consumer)


def test_a_bell_with_nothing_ready_is_deleted(platform: Platform) -> None:
    with platform.worker({ADD: echo}):
        platform.sqs.send(NAMES[Queue.AI_BASIC], ["not even a bell"])
        wait_until(lambda: platform.ledger.claims == 1, LONG, "claimed")
        wait_until(lambda: platform.in_flight() == 0, LONG, "deleted")
    assert platform.sqs.depth(NAMES[Queue.AI_BASIC]).visible == 0


def test_children_run_and_then_gets_their_results_with_the_last_message(platform: Platform) -> None:
    def fan_out(context: TaskContext[Number]) -> Outcome:
        if context.input.n:
            return Outcome(Number(n=context.input.n * 10))
        children = tuple(NewTask.of(ADD, Number(n=n)) for n in (1, 2, 3))
        return Outcome(Number(n=0), children, NewTask.of(SUM, Number(n=0)))

    def total(context: TaskContext[Number]) -> Outcome:
        return Outcome(Number(n=sum(result.n for result in context.results_as(Number))))

    job = platform.ledger.submit(NewTask.of(ADD, Number(n=0)))
    with platform.worker({ADD: fan_out, SUM: total}):
        wait_until(lambda: job.state == "succeeded", LONG, "job done")
        wait_until(lambda: platform.in_flight() == 0, LONG, "messages deleted")
    assert job.result == {"n": 60}
    assert platform.ledger.claims == 4  # the `then` came claimed with the last child


def test_a_permanent_error_fails_the_job_with_its_reason(platform: Platform) -> None:
    def refuse(_context: TaskContext[Number]) -> Outcome:
        raise Permanent(reason=Reason("no-video", "영상이 없습니다.", "There is no video."))

    job = platform.ledger.submit(NewTask.of(ADD, Number(n=1)))
    with platform.worker({ADD: refuse}):
        wait_until(lambda: job.state == "failed", LONG, "job failed")
    assert (job.reason, platform.ledger.deaths) == ("no-video", [])


@pytest.mark.parametrize("error", [Retryable("away"), ZeroDivisionError("bug")])
def test_any_other_error_is_tried_again_until_the_task_is_dead(platform: Platform, error: Exception) -> None:
    def raising(_context: TaskContext[Number]) -> Outcome:
        raise error

    job = platform.ledger.submit(NewTask.of(ADD, Number(n=1)))
    with platform.worker({ADD: raising}):
        wait_until(lambda: platform.ledger.tasks[1].failures == 1, LONG, "failed once")
        platform.ledger.tasks[1].ready_at = platform.ledger._clock()
        platform.sqs.send(NAMES[Queue.AI_BASIC], ["bell"])
        wait_until(lambda: job.state == "failed", LONG, "dead")
    assert [bell.task for bell in platform.ledger.deaths] == [1]


def test_a_result_the_ledger_refuses_is_a_failure_not_an_end(platform: Platform) -> None:
    class Other(Number):
        m: int

    platform.submit(ADD)
    with platform.worker({ADD: lambda _context: Outcome(Other(n=1, m=2))}):
        wait_until(lambda: platform.ledger.tasks[1].failures == 1, LONG, "failed")


def test_an_input_of_another_shape_is_a_failure(platform: Platform) -> None:
    platform.submit(ADD)
    platform.ledger.tasks[1].input = {"m": 1}
    with platform.worker({ADD: echo}):
        wait_until(lambda: platform.ledger.tasks[1].failures == 1, LONG, "failed")


def test_cancel_kills_the_work_and_deletes_the_message(platform: Platform) -> None:
    blocker = Blocker()
    job = platform.ledger.submit(NewTask.of(ADD, Number(n=1)))
    with platform.worker({ADD: blocker}):
        assert blocker.started.acquire(timeout=LONG)
        wait_until(lambda: platform.ledger.tasks[1].progress is not None, LONG, "progress sent")
        platform.ledger.cancel(job.id)
        assert blocker.killed.wait(LONG)
        wait_until(lambda: platform.in_flight() == 0, LONG, "message deleted")
    assert platform.states() == ["cancelled"]


@pytest.mark.parametrize("heartbeat_seconds", [0.02, LONG])
def test_an_attempt_whose_lease_is_gone_says_so_by_whatever_it_learns_it(
    platform: Platform, heartbeat_seconds: float
) -> None:
    """By a heartbeat, or, when the work ends before the next one, by the answer to its result."""
    blocker = Blocker()
    job = platform.ledger.submit(NewTask.of(ADD, Number(n=1)))
    with structlog.testing.capture_logs() as lines:
        with platform.worker({ADD: blocker}, heartbeat_seconds=heartbeat_seconds) as consumer:
            assert blocker.started.acquire(timeout=LONG)
            platform.ledger.cancel(job.id)
            if heartbeat_seconds == LONG:
                blocker.go.set()
            lost = consumer.metrics.tasks.labels(ADD.name, "lost")
            wait_until(lambda: lost._value.get() == 1, LONG, "counted as lost")
        ends = [line["end"] for line in lines if line["event"] == "TASK_ENDED"]
    assert ends == ["lost"]
    assert blocker.killed.is_set() == (heartbeat_seconds != LONG)


def test_work_over_its_time_is_killed_and_reported(platform: Platform) -> None:
    blocker = Blocker()
    platform.submit(ADD)
    platform.ledger.tasks[1].kind = replace(ADD, max_seconds=0)
    with platform.worker({ADD: blocker}):
        assert blocker.killed.wait(LONG)
        wait_until(lambda: platform.ledger.tasks[1].failures == 1, LONG, "failed")


def test_an_outage_costs_one_receive_and_ends_with_the_claim(platform: Platform) -> None:
    platform.ledger.available = False
    platform.submit(*[ADD] * 5)
    with platform.worker({ADD: echo}) as consumer:
        wait_until(lambda: consumer.metrics.api_waits._value.get() >= 5, LONG, "waiting for the API")
        assert platform.sqs.receives == {NAMES[Queue.AI_BASIC]: 1}
        platform.ledger.available = True
        wait_until(lambda: platform.states() == ["succeeded"] * 5, LONG, "done")


def test_an_outage_under_way_loses_no_attempt(platform: Platform) -> None:
    blocker = Blocker()
    platform.submit(ADD)
    with platform.worker({ADD: blocker}) as consumer:
        assert blocker.started.acquire(timeout=LONG)
        platform.ledger.available = False
        blocker.go.set()
        wait_until(lambda: consumer.metrics.api_waits._value.get() >= 3, LONG, "waiting for the API")
        platform.ledger.available = True
        wait_until(lambda: platform.states() == ["succeeded"], LONG, "done")
    assert platform.ledger.tasks[1].attempt == 1


def test_stop_finishes_work_that_fits_the_grace_period(platform: Platform) -> None:
    blocker = Blocker()
    platform.submit(ADD, ADD)
    with platform.worker({ADD: blocker}, grace_seconds=30.0) as consumer:
        assert blocker.started.acquire(timeout=LONG)
        consumer.stop()
        blocker.go.set()
        assert consumer.join(LONG)
    assert platform.states() == ["succeeded", "ready"]


def test_stop_hands_back_work_that_does_not_fit(platform: Platform) -> None:
    blocker, other = Blocker(), Blocker()
    platform.submit(ADD)
    with platform.worker({ADD: blocker}) as consumer:
        assert blocker.started.acquire(timeout=LONG)
        consumer.stop()
        assert blocker.killed.wait(LONG)
        assert consumer.join(LONG)
        assert platform.states() == ["ready"]
        assert platform.ledger.tasks[1].ready_at <= platform.ledger._clock()  # claimable again at once
        with platform.worker({ADD: other}):
            assert other.started.acquire(timeout=LONG)
            other.go.set()
            wait_until(lambda: platform.states() == ["succeeded"], LONG, "done")
    task = platform.ledger.tasks[1]
    assert (task.failures, task.crashes) == (0, 0)


def test_stop_while_the_api_is_away_makes_the_message_visible(platform: Platform) -> None:
    blocker = Blocker()
    platform.submit(ADD)
    with platform.worker({ADD: blocker}) as consumer:
        assert blocker.started.acquire(timeout=LONG)
        platform.ledger.available = False
        consumer.stop()
        assert consumer.join(LONG)
    assert platform.sqs.depth(NAMES[Queue.AI_BASIC]).visible == 1


def test_stop_while_waiting_to_claim_makes_the_message_visible(platform: Platform) -> None:
    platform.ledger.available = False
    platform.submit(ADD)
    with platform.worker({ADD: echo}, grace_seconds=30.0) as consumer:
        wait_until(lambda: consumer.metrics.api_waits._value.get() >= 1, LONG, "waiting for the API")
        consumer.stop()
        assert consumer.join(LONG)
    assert platform.sqs.depth(NAMES[Queue.AI_BASIC]).visible == 1


def test_visibility_is_extended_at_half_life_and_a_lost_receipt_does_not_stop_the_work(platform: Platform) -> None:
    blocker = Blocker()
    extended: list[float] = []
    change_visibility = platform.sqs.change_visibility

    def noted(queue: str, receipt: str, seconds: int) -> None:
        change_visibility(queue, receipt, seconds)
        extended.append(time.monotonic())

    platform.sqs.change_visibility = noted  # type: ignore[method-assign]
    # Time stands still in SQS: a receipt is lost where the test says so, and not because this machine was busy.
    now = platform.sqs._clock()
    platform.sqs._clock = lambda: now
    platform.submit(ADD)
    began = time.monotonic()
    with structlog.testing.capture_logs() as lines, platform.worker({ADD: blocker}, visibility_seconds=1):
        assert blocker.started.acquire(timeout=LONG)
        wait_until(lambda: len(extended) == 3, LONG, "extended three times")
        assert extended[2] - began >= 3 * 0.5
        (stored,) = platform.sqs._queues[NAMES[Queue.AI_BASIC]].messages
        stored.receipt = "taken by another"
        wait_until(lambda: "SQS_RECEIPT_LOST" in [line["event"] for line in lines], LONG, "receipt lost")
        blocker.go.set()
        wait_until(lambda: platform.states() == ["succeeded"], LONG, "done")


def test_a_message_is_to_be_extended_at_half_its_life() -> None:
    held = HeldMessage(FakeSqs("q"), "q", Message("id", "body", "receipt", 1), 300)
    assert held.due - time.monotonic() == pytest.approx(150, abs=LONG)


def test_sqs_away_is_waited_for(platform: Platform) -> None:
    platform.sqs.unavailable = True
    with platform.worker({ADD: echo}) as consumer:
        errors = consumer.metrics.receives.labels(Queue.AI_BASIC, "error")
        wait_until(lambda: errors._value.get() >= 2, LONG, "errors")
        platform.sqs.unavailable = False
        platform.submit(ADD)
        wait_until(lambda: platform.states() == ["succeeded"], LONG, "done")


def test_activity_tells_each_change_once(platform: Platform) -> None:
    told: list[bool] = []
    blocker = Blocker()
    with platform.worker({ADD: blocker}, activity=told.append, slots=2):
        platform.submit(ADD, ADD)
        assert blocker.started.acquire(timeout=LONG)
        assert blocker.started.acquire(timeout=LONG)
        blocker.go.set()
        wait_until(lambda: len(told) == 2, LONG, "idle again")
    assert told == [True, False]


def test_an_activity_callback_that_raises_is_no_harm(platform: Platform) -> None:
    def raising(_busy: bool) -> None:  # noqa: FBT001 - the callback's signature
        raise OSError

    platform.submit(ADD)
    with platform.worker({ADD: echo}, activity=raising):
        wait_until(lambda: platform.states() == ["succeeded"], LONG, "done")


def test_a_handler_that_does_not_stop_breaks_the_worker(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_module, "STOP_SECONDS", 0.05)
    go, started = threading.Event(), threading.Event()

    def deaf(context: TaskContext[Number]) -> Outcome:
        started.set()
        go.wait(LONG)
        return Outcome(context.input)

    job = platform.ledger.submit(NewTask.of(ADD, Number(n=1)))
    try:
        with platform.worker({ADD: deaf}) as consumer:
            assert started.wait(LONG)
            platform.ledger.cancel(job.id)
            assert consumer.join(LONG)
            assert consumer.broken
    finally:
        go.set()


def test_abort_kills_the_children_at_once(platform: Platform) -> None:
    blocker = Blocker()
    platform.submit(ADD)
    with platform.worker({ADD: blocker}) as consumer:
        assert blocker.started.acquire(timeout=LONG)
        consumer.abort()
        assert blocker.killed.wait(LONG)
