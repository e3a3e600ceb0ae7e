"""What the operator costs: a thousand resources resumed, and an hour at rest, over providers in memory.

The providers answer at once, so the times are the operator's own; the calls are counted, so the cost is exact.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from operator_support import World

RESOURCES = 1000
SQS_PER_MILLION = 0.40
"""US dollars, standard queues; the first million a month are free."""
CLOUDWATCH_PER_THOUSAND = 0.01
"""US dollars for GetMetricStatistics and DescribeAlarms; the first million a month are free."""
CLOUDWATCH = ("DescribeAlarms", "GetMetricStatistics")


def resting(count: int) -> tuple[World, list[str]]:
    """Queues that have been made and are at rest."""
    world = World()
    uids = [world.queue(f"academy-{number}") for number in range(count)]
    for uid in uids:
        world.reconciler.reconcile(uid)
    world.restart()
    world.queues.calls.clear()
    world.cluster.patches.clear()
    return world, uids


def test_a_thousand_resources_are_resumed_without_a_patch() -> None:
    world, uids = resting(RESOURCES)
    began = time.process_time()  # which does not pass while the machine does something else
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(world.reconciler.reconcile, uids))
    seconds = time.process_time() - began
    print(f"{RESOURCES} queues resumed in {seconds:.2f} s of the processor, {len(world.queues.calls)} provider calls")  # noqa: T201  (a bench tells)
    assert world.cluster.patches == []
    assert world.queues.writes() == []
    assert seconds < 30, "3 s is the aim; a busy machine is no failure"


def test_an_hour_at_rest() -> None:
    world, _ = resting(4)
    world.sweep(3600, step=1.0)
    calls = Counter(world.queues.calls)
    assert world.cluster.patches == []
    assert world.queues.writes() == []
    # The fake counts one call where `find` makes three (GetQueueUrl, GetQueueAttributes, ListQueueTags).
    sqs = calls["GetQueueUrl"] * 3 + calls["GetQueueAttributes"] + calls["ListMessageMoveTasks"]
    watch = sum(calls[name] for name in CLOUDWATCH)
    a_queue = (sqs / 4, watch / 4)
    month = 730 * (sqs * SQS_PER_MILLION / 1e6 + watch * CLOUDWATCH_PER_THOUSAND / 1e3)
    print(  # noqa: T201  (a bench tells)
        f"a queue an hour: {a_queue[0]:.0f} SQS, {a_queue[1]:.0f} CloudWatch calls; four queues: ${month:.2f} a month"
    )
    assert a_queue[0] <= 350
    assert a_queue[1] <= 13
