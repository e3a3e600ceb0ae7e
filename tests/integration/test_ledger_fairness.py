"""Fairness on real Postgres: simulated workers and chunk times, the ledger's own claims (design §2).

The simulation is a plain event queue: a free worker claims; a task takes as many simulated seconds as its input says.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import ledger_support as support
import pytest
from ledger_support import BULK, HOOKS, LITE, SHORT, Lease, claim, new

from academy_api.ledger import sql
from academy_api.ledger.leases import PostgresLedger
from academy_core.kinds import Queue, WorkerClass
from academy_core.ledger import Accepts, ClaimRequest, NewTask, NextClaim

pytestmark = pytest.mark.django_db

PLAN_SECONDS = 5
PUBLISH_SECONDS = 5


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    HOOKS.seen.clear()
    support.reset_clock()
    yield
    HOOKS.seen.clear()


def chunks(minutes: int) -> list[int]:
    """Seconds of each chunk of a lecture, encoded at the speed of playing: 12 s, 24 s, then 60 s and the rest."""
    left, lengths = minutes * 60, []
    for length in (12, 24, *[60] * left):
        if left <= 0:
            break
        lengths.append(min(length, left))
        left -= lengths[-1]
    return lengths


@dataclass
class Lecture:
    academy: UUID
    minutes: int
    arrives: float
    ready: float | None = None

    @property
    def took(self) -> float:
        assert self.ready is not None
        return self.ready - self.arrives


@dataclass(order=True)
class Event:
    at: float
    order: int
    worker: int = field(compare=False)
    lease: Lease | None = field(compare=False, default=None)
    lecture: Lecture | None = field(compare=False, default=None)


@dataclass
class Platform:
    """Workers that claim whenever they are free."""

    workers: int
    lectures: list[Lecture]
    now: float = 0.0
    claims: list[tuple[float, UUID]] = field(default_factory=list)
    """Every claimed chunk: when, for which academy."""
    ready_chunks: list[set[UUID]] = field(default_factory=list)

    def run(self) -> None:
        order = 0
        jobs: dict[UUID, Lecture] = {}
        events: list[Event] = []
        idle = list(range(self.workers))
        for lecture in self.lectures:
            heapq.heappush(events, Event(lecture.arrives, order := order + 1, -1, lecture=lecture))
        while events:
            event = heapq.heappop(events)
            self.now = event.at
            following = None
            if event.lecture is not None:
                jobs[support.submit(new(SHORT, PLAN_SECONDS), event.lecture.academy)] = event.lecture
            elif event.lease is not None:
                following = self.end(event.lease, jobs)
                idle.append(event.worker)
            while idle:
                lease = following or claim()
                following = None
                if lease is None:
                    break
                if lease.task.kind == BULK.name:
                    self.claims.append((self.now, lease.task.academy))
                seconds = float(lease.task.input["n"])
                heapq.heappush(events, Event(self.now + seconds, order := order + 1, idle.pop(), lease))

    def end(self, lease: Lease, jobs: dict[UUID, Lecture]) -> Lease | None:
        """Complete as a real worker does, taking the publish task along."""
        lecture = jobs[lease.task.job]
        secret = support.secret()
        following = NextClaim(secret=secret, accepts=support.ACCEPTS, queue=Queue.VIDEO, worker="w")
        children: list[NewTask] = []
        then = None
        if lease.task.kind == SHORT.name and lease.task.results is None:
            children = [new(BULK, seconds) for seconds in chunks(lecture.minutes)]
            then = new(SHORT, PUBLISH_SECONDS)
        answer = lease.complete(children=children, then=then, following=following)
        if lease.task.results is not None:
            lecture.ready = self.now
        return Lease(lease.ledger, answer.next, secret) if answer.next else None


def run(workers: int, *lectures: Lecture) -> Platform:
    platform = Platform(workers, list(lectures))
    platform.run()
    return platform


@pytest.mark.parametrize(
    ("workers", "arrives", "same_academy"), [(1, 600.0, False), (2, 641.0, False), (4, 600.0, False), (2, 600.0, True)]
)
def test_a_three_minute_lecture_is_ready_within_twice_its_time_beside_a_six_hour_one(
    workers: int,
    arrives: float,
    same_academy: bool,  # noqa: FBT001
) -> None:
    alone = Lecture(uuid4(), 3, 0.0)
    run(workers, alone)
    long = Lecture(uuid4(), 360, 0.0)
    short = Lecture(long.academy if same_academy else uuid4(), 3, arrives)
    run(workers, long, short)
    assert short.took <= 2 * alone.took
    assert long.ready is not None


@pytest.mark.parametrize("workers", [1, 4, 10])
def test_ten_lectures_of_one_academy_take_at_most_half_the_workers_from_one_of_another(workers: int) -> None:
    one, ten = uuid4(), uuid4()
    single = Lecture(one, 60, 0.0)
    platform = run(workers, single, *(Lecture(ten, 60, 1.0) for _ in range(10)))
    assert single.ready is not None
    # While both wait for workers (the single one's last chunks may all be under way at its end).
    both = [academy for at, academy in platform.claims if 30.0 * 10 / workers < at < single.ready - 2 * 60]
    assert len(both) >= 40
    assert both.count(ten) <= both.count(one) + workers


@pytest.mark.parametrize("late", [False, True])
def test_at_every_moment_the_other_academy_has_had_half_but_for_the_head_start(late: bool) -> None:  # noqa: FBT001
    one, ten = uuid4(), uuid4()
    single = Lecture(one, 60, 0.0)
    platform = run(1, single, *(Lecture(ten, 30, 900.0 if late else 1.0) for _ in range(10)))
    assert single.ready is not None
    last = max(at for at, academy in platform.claims if academy == one)
    first = min(at for at, academy in platform.claims if academy == ten)
    had = {one: 0, ten: 0}
    for at, academy in platform.claims:
        if first <= at <= last:
            had[academy] += 1
            assert had[ten] <= had[one] + sql.HEAD_START + 1


def test_short_comes_before_bulk_but_every_fourth_claim_prefers_bulk() -> None:
    academy = uuid4()
    for _ in range(30):
        support.submit(new(SHORT), academy)
        support.submit(new(BULK), academy)
    taken = [support.must_claim().task.kind for _ in range(24)]
    assert taken.count(BULK.name) == 6
    positions = [index for index, kind in enumerate(taken) if kind == BULK.name]
    assert {b - a for a, b in itertools.pairwise(positions)} == {4}


def test_every_waiting_academy_gets_its_turn() -> None:
    academies = [uuid4() for _ in range(20)]
    for academy in academies:
        for _ in range(3):
            support.submit(new(BULK), academy)
    first = [support.must_claim().task.academy for _ in range(20)]
    assert set(first) == set(academies)


def test_a_sheet_is_graded_soon_beside_a_batch_of_four_hundred() -> None:
    """A batch is as many jobs as sheets (ADR 0091), all in the lite queue; the other academy came last."""
    many, one = uuid4(), uuid4()
    ledger = PostgresLedger(WorkerClass.AI_CPU)
    for number in range(400):
        support.submit(NewTask.of(LITE, support.Number(n=number)), many)
    taken = [lite(ledger) for _ in range(5)]
    support.submit(NewTask.of(LITE, support.Number()), one)
    taken += [lite(ledger) for _ in range(sql.HEAD_START + 1)]
    assert taken[:5] == [many] * 5
    assert one in taken[5:]


def lite(ledger: PostgresLedger) -> UUID:
    """Academy of the next task of the lite queue."""
    accepts = Accepts(kinds={LITE.name: (1,)})
    answer = ledger.claim(
        ClaimRequest(queue=Queue.AI_LITE, accepts=accepts, worker="test", secret=support.secret(), message=None)
    )
    assert answer.task is not None, "nothing was ready"
    return answer.task.academy
