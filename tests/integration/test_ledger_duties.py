"""What the relay does for the ledger, on real Postgres with SQS in memory; hours pass on the ledger's own clock."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import ledger_support as support
import pytest
from django.core.management import call_command
from ledger_support import BULK, HOOKS, SHORT, claim, must_claim, new, pass_time, submit
from support import wait_until

from academy_api.ledger import dlq, duties, jobs, metrics, outbox, sql
from academy_api.ledger.outbox import Post
from academy_api.ledger.topup import TopUp
from academy_api.relay import standing
from academy_api.relay.reach import Reach
from academy_core.errors import Conflict, QueueUnavailable
from academy_core.kinds import Queue
from academy_core.messages import Bell
from academy_core.sqs import Message
from academy_core.sqs_fake import FakeSqs

pytestmark = pytest.mark.django_db

NAMES = {Queue.VIDEO: "video", Queue.AI_LITE: "lite"}


@dataclass
class Clock:
    """The simulated time: SQS, relay and ledger share it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds
        pass_time(seconds)


@dataclass
class Relay:
    """One relay's reign in simulated time."""

    clock: Clock = field(default_factory=Clock)
    readings: TopUp = field(default_factory=TopUp)

    def __post_init__(self) -> None:
        self.sqs = FakeSqs("video", "lite", clock=self.clock)
        self.post = Post(self.sqs, NAMES)
        self.reach = Reach(self.clock)

    def turn(self) -> None:
        """Everything that falls due every ten seconds."""
        duties.send_outbox(self.post)
        standing.top_up(self.post, self.readings, self.clock.now)

    def ten_seconds(self) -> None:
        self.clock.passes(10)
        self.turn()

    def visible(self, name: str = "video") -> int:
        return self.sqs.depth(name).visible

    def receive(self, visibility: int = 43_200) -> Message | None:
        found = self.sqs.receive("video", wait_seconds=0, visibility_seconds=visibility)
        return found[0] if found else None


@pytest.fixture
def relay() -> Iterator[Relay]:
    HOOKS.seen.clear()
    HOOKS.broken = False
    support.reset_clock()
    yield Relay()
    outbox.start_fast_path(None)


# -- outbox -----------------------------------------------------------------------------------------------------------


def test_a_bell_is_sent_once_and_its_row_goes(relay: Relay) -> None:
    job = submit()
    assert duties.send_outbox(relay.post) == 1
    assert duties.send_outbox(relay.post) == 0
    assert support.outbox() == []
    message = relay.receive()
    assert message is not None
    bell = Bell.model_validate_json(message.body)
    assert (bell.v, bell.queue, bell.job, bell.request_id, bell.generation) == (1, Queue.VIDEO, job, "req-1", None)


def test_without_sqs_the_outbox_waits_and_the_lag_shows(relay: Relay) -> None:
    submit()
    submit(new(support.LITE))
    relay.sqs.unavailable = True
    with pytest.raises(QueueUnavailable):
        duties.send_outbox(relay.post)
    relay.clock.passes(90)
    duties.measure_outbox()
    assert metrics.OUTBOX_LAG._value.get() >= 90
    assert metrics.OUTBOX_DUE._value.get() == 2
    relay.sqs.unavailable = False
    assert duties.send_outbox(relay.post) == 2
    duties.measure_outbox()
    assert metrics.OUTBOX_LAG._value.get() == 0


def test_what_sqs_refuses_stays(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    submit()
    submit()
    monkeypatch.setattr(relay.sqs, "send", lambda _queue, bodies: (True,) + (False,) * (len(bodies) - 1))
    assert duties.send_outbox(relay.post) == 1
    assert len(support.outbox()) == 1


def test_a_relay_killed_between_send_and_delete_only_doubles_a_bell(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    with monkeypatch.context() as patch:
        patch.setattr(sql, "execute", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            duties.send_outbox(relay.post)
    duties.send_outbox(relay.post)
    assert relay.visible() == 2
    must_claim().complete()
    assert claim() is None


def test_a_backoffs_bell_is_sent_when_the_task_is_due_and_not_before(relay: Relay) -> None:
    submit()
    duties.send_outbox(relay.post)
    must_claim().fail()
    assert duties.send_outbox(relay.post) == 0
    relay.clock.passes(6)
    assert duties.send_outbox(relay.post) == 1


@pytest.mark.django_db(transaction=True)
def test_the_fast_path_sends_at_once_and_leaves_nothing_for_the_relay(relay: Relay) -> None:
    sent = threading.Event()

    class Telling(FakeSqs):
        def send(self, queue: str, bodies: object) -> tuple[bool, ...]:
            answer = super().send(queue, bodies)  # type: ignore[arg-type]
            sent.set()
            return answer

    told = Telling("video", "lite")
    outbox.start_fast_path(Post(told, NAMES))
    submit()
    assert sent.wait(30)
    wait_until(lambda: support.outbox() == [], 30, "a sent bell's row is still there")
    relay.clock.passes(100)
    assert duties.send_outbox(relay.post) == 0
    assert told.depth("video").visible == 1


@pytest.mark.django_db(transaction=True)
def test_what_the_fast_path_cannot_send_is_the_relays_after_the_hold(relay: Relay) -> None:
    broken = FakeSqs()
    outbox.start_fast_path(Post(broken, NAMES))
    submit()
    assert duties.send_outbox(relay.post) == 0
    relay.clock.passes(outbox.HOLD_SECONDS)
    assert duties.send_outbox(relay.post) == 1


def test_many_bells_at_once_are_the_relays_from_the_start(relay: Relay) -> None:
    submit(new(SHORT))
    duties.send_outbox(relay.post)
    outbox.start_fast_path(Post(FakeSqs(), NAMES))
    must_claim().complete(children=[new() for _ in range(outbox.FAST_ROWS + 1)])
    assert duties.send_outbox(relay.post) == outbox.FAST_ROWS + 1


# -- top-up -----------------------------------------------------------------------------------------------------------


def test_two_thousand_tasks_waiting_an_hour_for_one_worker_get_no_bell_twice(relay: Relay) -> None:
    submit(new(SHORT))
    relay.turn()
    assert relay.receive() is not None
    must_claim().complete(children=[new(BULK, i) for i in range(2000)], then=new(SHORT))
    relay.turn()
    assert relay.visible() == 2000
    lease = None
    for step in range(360):
        relay.ten_seconds()
        if step % 6 == 0:  # one worker, a task a minute, one message each kept in flight until it is done
            if lease:
                lease.complete()
            assert relay.receive() is not None
            lease = must_claim()
    assert relay.visible() == 2000 - 60


def test_lost_bells_come_back_within_two_minutes(relay: Relay) -> None:
    for _ in range(5):
        submit()
    relay.turn()
    for _ in range(3):
        message = relay.receive()
        assert message is not None
        relay.sqs.delete("video", message.receipt)
    for _ in range(13):
        relay.ten_seconds()
    assert relay.visible() == 5
    for _ in range(30):
        relay.ten_seconds()
    assert relay.visible() == 5


def test_an_unreadable_depth_is_not_zero(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_queue: str) -> None:
        raise QueueUnavailable("no count")

    submit()
    duties.send_outbox(relay.post)
    monkeypatch.setattr(relay.sqs, "depth", unreadable)
    for _ in range(60):
        relay.ten_seconds()
    monkeypatch.undo()
    assert relay.visible() == 1


def test_ring_gives_every_ready_task_one_bell(relay: Relay) -> None:
    for _ in range(3):
        submit()
    duties.send_outbox(relay.post)
    submit()
    call_command("ring")
    call_command("ring")
    assert len(support.outbox()) == 4


# -- DLQ --------------------------------------------------------------------------------------------------------------


def die(relay: Relay) -> int:
    for _ in range(2):
        lease = must_claim()
        lease.fail()
        relay.clock.passes(400)
    return lease.task.task


def test_the_dlqs_depth_returns_to_the_number_of_dead_tasks(relay: Relay) -> None:
    retried = submit()
    die(relay)
    kept = submit()
    die(relay)
    duties.send_outbox(relay.post)
    assert relay.visible("video-dlq") == 2
    relay.sqs.send("video-dlq", ["not ours", '{"v":1,"queue":"video","task":1,"enqueued_at":"2026-01-01T00:00:00Z"}'])
    jobs.retry(retried)
    doubled = relay.sqs.receive("video-dlq", wait_seconds=0, visibility_seconds=0, most=10)
    relay.sqs.send("video-dlq", [message.body for message in doubled])
    assert relay.visible("video-dlq") == 8
    assert dlq.sweep(relay.post, Queue.VIDEO) == 7
    assert relay.visible("video-dlq") == 1
    (left,) = relay.sqs.receive("video-dlq", wait_seconds=0, visibility_seconds=0)
    assert Bell.model_validate_json(left.body).job == kept


def test_a_death_in_the_dlq_moved_back_by_hand_revives_its_job(relay: Relay) -> None:
    job = submit()
    task = die(relay)
    duties.send_outbox(relay.post)
    (death,) = relay.sqs.receive("video-dlq", wait_seconds=0, visibility_seconds=100)
    revived = claim(death.body)
    assert revived is not None
    assert (revived.task.task, revived.task.generation) == (task, 2)
    relay.clock.passes(200)
    assert dlq.sweep(relay.post, Queue.VIDEO) == 1
    revived.complete()
    assert support.job_state(job) == "succeeded"


def test_the_sweep_tries_every_queue_and_then_says_what_was_away(relay: Relay) -> None:
    standing.sweep_all(relay.post)
    relay.sqs.unavailable = True
    with pytest.raises(QueueUnavailable):
        standing.sweep_all(relay.post)


# -- outages ----------------------------------------------------------------------------------------------------------


def test_leases_stand_still_while_heartbeats_cannot_arrive(relay: Relay) -> None:
    submit()
    lease = must_claim()
    for _ in range(18):  # the API is away for three times the lease
        relay.clock.passes(5)
        relay.reach.failed()
        assert standing.expire(relay.reach) == 0
    for _ in range(5):  # and for a lease period after it is back
        relay.clock.passes(5)
        relay.reach.proved()
        assert standing.expire(relay.reach) == 0
    lease.heartbeat()
    relay.clock.passes(5)
    relay.reach.proved()
    assert standing.expire(relay.reach) == 0
    lease.complete()


def test_a_dead_workers_lease_expires_once_a_full_period_is_proven(relay: Relay) -> None:
    submit()
    must_claim()
    for _ in range(7):
        assert standing.expire(relay.reach) == 0
        relay.clock.passes(5)
        relay.reach.proved()
    assert standing.expire(relay.reach) == 1
    assert must_claim().task.attempt == 2


def test_api_down_ten_minutes_with_fifty_tasks_and_ten_worker_restarts_leaves_the_dlq_empty(relay: Relay) -> None:
    """A worker that cannot claim hands its bell back and receives no more; each restart costs one receive."""
    for _ in range(50):
        submit()
    relay.turn()
    running = []
    for _ in range(4):
        assert relay.receive() is not None
        running.append(must_claim())
    for step in range(60):
        relay.ten_seconds()
        relay.reach.failed()
        assert standing.expire(relay.reach) == 0
        if step % 6 == 0:
            message = relay.receive(visibility=300)
            assert message is not None
            relay.sqs.change_visibility("video", message.receipt, 0)
    assert relay.visible("video-dlq") == 0
    assert relay.visible() == 46
    for lease in running:
        lease.complete()
    assert sql.rows("SELECT sum(crashes), sum(failures) FROM ledger_task", {}) == [(0, 0)]


# -- folding ----------------------------------------------------------------------------------------------------------


def test_finished_tasks_are_folded_into_their_job_after_thirty_days(relay: Relay) -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(), new()], then=new(SHORT))
    for _ in range(3):
        must_claim().complete({"n": 8})
    failed = submit()
    must_claim().fail(permanent=True)
    open_job = submit()
    relay.clock.passes(29 * 86_400)
    assert duties.fold_jobs() == 0
    relay.clock.passes(2 * 86_400)
    assert duties.fold_jobs() == 2
    assert duties.fold_jobs() == 0
    ((summary,),) = sql.rows("SELECT summary::text FROM ledger_job WHERE id = %(job)s", {"job": job})
    assert '"result": {"n": 8}' in summary
    assert sql.rows("SELECT count(*) FROM ledger_task", {}) == [(1,)]
    assert sql.rows("SELECT count(*) FROM ledger_barrier", {}) == [(0,)]
    assert jobs.progress(job).stages == ()
    assert support.job_state(open_job) == "open"
    with pytest.raises(Conflict):
        jobs.retry(failed)


def test_a_reign_has_every_duty_and_begins_with_nothing_proven(relay: Relay) -> None:
    relay.reach.proved()
    made = standing.of_reign(relay.post, relay.reach, relay.clock)
    assert [duty.name for duty in made][:6] == ["send", "expire", "finish", "top-up", "sweep-dlq", "fold"]
    assert relay.reach.proven_seconds() == 0
    submit(academy=uuid4())
    for duty in made[:6]:
        duty.run()
    assert relay.visible() == 1
