"""The sweep, its token bucket, backoff, and the liveness probe that follows it."""

import asyncio
import random
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from operator_support import Hands, World
from support import wait_until

from academy_operator import backoff, main
from academy_operator import sweep as sweep_module
from academy_operator.errors import ClusterFault
from academy_operator.model import Clock
from academy_operator.sweep import STUCK_SECONDS, Sweep


class Inline(Executor):
    """Runs what is submitted at once, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @property
    def order(self) -> list[str]:
        """The resources visited, by uid."""
        return [name for name in self.names if name != "refresh"]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.names.append(args[0])
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def sweep_of(world: World, per_second: float) -> tuple[Sweep, Inline]:
    pool = Inline()
    return Sweep(world.reconciler, pool, world.hands.clock(), per_second, threading.Event()), pool


def test_no_faster_than_the_bucket_and_earliest_due_first() -> None:
    world = World()
    uids = [world.queue(f"academy-{number}") for number in range(30)]
    for uid in uids:
        world.reconciler.reconcile(uid)
        world.hands.pass_by(1)
    sweep, pool = sweep_of(world, per_second=10)
    world.hands.pass_by(40)
    assert sweep.round() == 10
    assert pool.order == uids[:10]
    assert sweep.round() == 0, "the bucket is empty"
    world.hands.pass_by(1)
    assert sweep.round() == 10
    assert pool.order[10:] == uids[10:20]


def test_what_somebody_waits_for_is_not_held_up_by_the_bucket() -> None:
    world = World()
    uids = [world.queue(f"academy-{number}") for number in range(30)]
    sweep, pool = sweep_of(world, per_second=10)
    assert sweep.round() == 30
    assert sorted(pool.order) == sorted(uids)


def test_nothing_is_visited_before_everything_is_listed() -> None:
    world = World()
    world.queue("academy-a")

    def down(_moment: str) -> None:
        raise ClusterFault("503")

    world.cluster.fault = down
    sweep, pool = sweep_of(world, per_second=10)
    sweep.round()
    sweep.round()
    assert pool.names == ["refresh", "refresh"], "tried again, and nothing else"
    assert not sweep.listed.is_set()
    world.cluster.fault = lambda _moment: None
    sweep.round()
    assert sweep.listed.is_set()
    assert len(pool.order) == 1


def test_everything_is_listed_again_every_five_minutes() -> None:
    world = World()
    sweep, pool = sweep_of(world, per_second=10)
    for _ in range(60):
        world.hands.pass_by(10)
        sweep.round()
    assert pool.names.count("refresh") == 2, "at the start, and 300 s later"


def test_it_goes_round_at_once_when_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_module, "ROUND_SECONDS", 600.0)
    world = World()
    with ThreadPoolExecutor(2) as pool:
        sweep = Sweep(world.reconciler, pool, Clock(), 10, threading.Event())
        sweep.start()
        assert sweep.listed.wait(20)
        uid = world.queue("academy-a")
        sweep.wake()
        wait_until(lambda: "observedGeneration" in world.status(uid), 20, "the new resource is served")
        sweep.stop()


def test_nothing_is_due_at_rest() -> None:
    world = World()
    world.reconciler.reconcile(world.queue("academy-a"))
    sweep, pool = sweep_of(world, per_second=10)
    world.hands.pass_by(5)
    sweep.round()
    assert pool.order == []


def test_a_resource_that_is_being_deleted_is_left_to_its_handler() -> None:
    world = World()
    uid = world.queue("academy-a", deletionPolicy="Delete")
    world.reconciler.reconcile(uid)
    world.mark_deleted(uid)
    sweep, pool = sweep_of(world, per_second=10)
    world.hands.pass_by(4000)
    sweep.round()
    assert pool.order == []


def test_a_visit_that_fails_does_not_stop_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.reconciler.reconcile(world.queue("academy-a"))

    def fail(_uid: str) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(world.reconciler, "visit", fail)
    sweep, pool = sweep_of(world, per_second=10)
    world.hands.pass_by(40)
    sweep.round()
    sweep.round()
    assert len(pool.order) == 2, "tried, and tried again"


@pytest.mark.parametrize(("lag", "healthy"), [(0.0, True), (STUCK_SECONDS, True), (STUCK_SECONDS + 1, False)])
def test_the_probe_fails_when_the_sweep_is_stuck(lag: float, *, healthy: bool) -> None:
    world = World()
    sweep, _ = sweep_of(world, per_second=10)
    world.hands.pass_by(lag)
    memo: Any = SimpleNamespace(running=SimpleNamespace(sweep=sweep))
    probe: Any = main.sweeping
    if healthy:
        assert asyncio.run(probe(memo=memo)) == lag
    else:
        with pytest.raises(kopf.PermanentError, match="sweep"):
            asyncio.run(probe(memo=memo))


def test_backoff_doubles_up_to_a_cap_with_jitter() -> None:
    rng = random.Random(3)  # noqa: S311  (jitter)
    for failures in range(1, 40):
        ceiling = min(backoff.CAP_SECONDS, backoff.BASE_SECONDS * 2 ** min(failures - 1, 16))
        assert ceiling / 2 <= backoff.delay(failures, rng) <= ceiling
    assert len({backoff.delay(5, rng) for _ in range(10)}) > 5


def test_a_token_bucket_saves_no_more_than_its_burst() -> None:
    hands = Hands()
    bucket = backoff.TokenBucket(2, 4, hands.clock().monotonic)
    assert [bucket.take() for _ in range(5)] == [True, True, True, True, False]
    hands.pass_by(1)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    hands.pass_by(3600)
    assert sum(bucket.take() for _ in range(10)) == 4
