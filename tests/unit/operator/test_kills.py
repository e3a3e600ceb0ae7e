"""The operator killed at random points, in memory: it converges, creates nothing twice, runs no redrive twice."""

import random
from typing import Any

import pytest
from operator_support import World

SEEDS = range(100)


class Kill(BaseException):
    """The process is gone, wherever it was."""


class Killer:
    """Kills at the n-th moment of a run, before or after the effect of a call."""

    def __init__(self) -> None:
        self.left = -1

    def arm(self, moments: int) -> None:
        self.left = moments

    def __call__(self, _moment: str) -> None:
        if self.left == 0:
            self.left = -1
            raise Kill
        self.left -= self.left > 0


def attempts(world: World, rng: random.Random, killer: Killer, uids: list[str]) -> None:
    """Reconcile everything; die somewhere in between up to five times; then be left alone."""
    for _ in range(5):
        killer.arm(rng.randrange(1, 40))
        try:
            for uid in rng.sample(uids, len(uids)):
                world.reconciler.reconcile(uid)
            world.sweep(rng.choice([35, 70, 310]))
        except Kill:
            world.restart()
    killer.arm(-1)
    world.restart()
    for uid in uids:
        world.reconciler.reconcile(uid)
    world.sweep(400)


def attributes(world: World) -> dict[str, Any]:
    return {name: dict(queue.attributes) for name, queue in world.queues.queues.items()}


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  (a test's dice)
    world = World()
    killer = Killer()
    world.queues.fault = world.buckets.fault = world.cluster.fault = killer
    world.queues.move_support = seed % 3 != 0
    queue = world.queue("video", tags={"team": "video"})
    bucket = world.bucket("academy-video", cors=[{"allowedOrigins": ["*"], "allowedMethods": ["GET"]}])
    attempts(world, rng, killer, [queue, bucket])
    for uid in (queue, bucket):
        assert world.condition(uid, "Ready") == ("True", "Available"), f"seed {seed}"
        assert world.condition(uid, "Synced") == ("True", "UpToDate"), f"seed {seed}"
    assert world.queues.calls.count("CreateQueue") == 2, f"seed {seed}"
    assert world.buckets.calls.count("CreateBucket") == 1, f"seed {seed}"

    for number in range(30):
        world.queues.send("video-dlq", f"dead {number}")
    world.edit(queue, redrive={"token": "one"}, visibilityTimeout=120)
    attempts(world, rng, killer, [queue, bucket])
    assert world.status(queue)["redrive"]["phase"] == "Completed", f"seed {seed}"
    messages = world.queues.queues["video"].messages
    assert sorted(messages) == sorted(f"dead {number}" for number in range(30)), f"seed {seed}"
    assert sum(len(tasks) for tasks in world.queues.tasks.values()) == (1 if world.queues.move_support else 0)
    assert world.queues.queues["video"].attributes["VisibilityTimeout"] == "120"

    quiet = (attributes(world), len(world.queues.writes()), len(world.buckets.writes()), len(world.cluster.patches))
    world.sweep(900)
    now = (attributes(world), len(world.queues.writes()), len(world.buckets.writes()), len(world.cluster.patches))
    assert now == quiet, f"seed {seed}: at rest nothing is written"
