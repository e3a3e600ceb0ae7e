"""The operator's process killed at seeded points of its work: before or after the effect of a call to a provider.

A proxy between the operator and the providers counts their calls and sends SIGKILL at the n-th, so the points do not
depend on the speed of the machine. tests/unit/operator/test_kills.py kills at any call, the cluster's too, in memory.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import pytest
from forwarding import Dropped, Proxy, Request
from operator_e2e import Kube, Operator, eventually

from academy_operator.model import Owner
from academy_operator.providers.r2 import R2Buckets

KILLS = 100 if os.environ.get("ACADEMY_SOAK") == "1" else 6
SEED = 20261125
PER_TOKEN = 5
"""Messages that one redrive token may move."""
MakeOperator = Callable[..., Operator]


@dataclass
class Killer:
    """Kills the operator at the `left`-th call; remembers what was created with success."""

    left: int = 0
    after: bool = False
    victim: Operator | None = None
    created: Counter[str] = field(default_factory=Counter)
    endpoints: tuple[str, str] = ("", "")
    """The ways to SQS and to R2 that it watches."""
    _lock: Lock = field(default_factory=Lock)

    def arm(self, victim: Operator, left: int, *, after: bool) -> None:
        """Kill `victim` at the `left`-th call from now on, before or after its effect."""
        with self._lock:
            self.victim, self.left, self.after = victim, left, after

    def before(self, request: Request) -> None:
        """The call has not reached the provider."""
        self._look(request, after=False)

    def sent(self, request: Request, status: int) -> None:
        """The call had its effect; its answer has not reached the operator."""
        name = created_by(request)
        if name and status == 200:
            with self._lock:
                self.created[name] += 1
        self._look(request, after=True)

    def _look(self, _request: Request, *, after: bool) -> None:
        with self._lock:
            if self.victim is None or after is not self.after:
                return
            self.left -= 1
            if self.left > 0:
                return
            assert self.victim.process is not None
            self.victim.process.kill()
            self.victim = None
        raise Dropped


def created_by(request: Request) -> str:
    """What a request creates: a queue's or a bucket's name; "" when nothing."""
    if request.action == "CreateQueue":
        return f"queue {json.loads(request.body)['QueueName']}"
    if request.method == "PUT" and request.path.count("/") == 1 and "?" not in request.path:
        return f"bucket {request.path.strip('/')}"
    return ""


@pytest.fixture
def killer(endpoint: str, r2_endpoint: str) -> Iterator[Killer]:
    """Stands between the operator and both providers."""
    killer = Killer()
    proxies = [Proxy(int(url.rpartition(":")[2]), killer.before, killer.sent) for url in (endpoint, r2_endpoint)]
    killer.endpoints = (proxies[0].endpoint, proxies[1].endpoint)
    yield killer
    for proxy in proxies:
        proxy.close()


def all_ready(kube: Kube, namespace: str, count: int) -> bool:
    return kube.ready(namespace, "queues") == count and kube.ready(namespace, "buckets") == count


@pytest.mark.timeout(1800)
def test_killed_at_random_points(
    kube: Kube, namespace: str, make_operator: MakeOperator, killer: Killer, buckets: R2Buckets
) -> None:
    """A new Queue and a new Bucket a kill, adoption Refuse: all end Ready, and each was created once."""
    dice = random.Random(SEED)  # noqa: S311  (a test's dice)
    operator = make_operator(namespace, OPERATOR_COUNT_SECONDS="30", OPERATOR_DRIFT_SECONDS="300")
    operator.endpoint, operator.r2_endpoint = killer.endpoints
    moments: Counter[str] = Counter()
    for kill in range(KILLS):
        name = f"academy-kill-{kill}"
        kube.create(namespace, "queues", name, {})
        kube.create(namespace, "buckets", name, {})
        after = dice.random() < 0.5
        killer.arm(operator, dice.randint(1, 45), after=after)
        operator.start(ready=False)
        died = operator.await_death(lambda count=kill + 1: all_ready(kube, namespace, count))
        moments["at rest" if not died else "after a call" if after else "before a call"] += 1
    print(f"seed {SEED}: {KILLS} kills, {dict(moments)}")  # noqa: T201  (a drill tells how far it went)
    assert moments["before a call"] + moments["after a call"] >= KILLS // 2, "most kills hit the work"

    killer.arm(operator, 10**9, after=False)
    operator.environment["OPERATOR_DRIFT_SECONDS"] = "10"
    operator.start()
    eventually(lambda: all_ready(kube, namespace, KILLS), f"seed {SEED}: all are Ready")
    synced = "academy_operator_last_sync_timestamp_seconds{"
    eventually(lambda: operator.metrics().count(synced) == 2 * KILLS, "all are compared once more")
    names = [f"academy-kill-{kill}" for kill in range(KILLS)]
    expected = [f"{kind} {name}" for name in names for kind in ("queue", "bucket")] + [f"queue {n}-dlq" for n in names]
    assert killer.created == Counter(expected), f"seed {SEED}: each was created once"
    assert {buckets.owner(name) for name in names} == {Owner("e2e", namespace, name) for name in names}


@pytest.mark.timeout(1800)
def test_a_redrive_is_not_run_twice_over_kills(
    kube: Kube, namespace: str, make_operator: MakeOperator, killer: Killer, sqs: Any
) -> None:
    """A token a kill: no token moves more than its maximum, whatever the moment; the last one ends."""
    kills = max(3, KILLS // 5)
    dice = random.Random(SEED + 1)  # noqa: S311  (a test's dice)
    operator = make_operator(namespace, OPERATOR_COUNT_SECONDS="1")
    operator.endpoint, operator.r2_endpoint = killer.endpoints
    operator.start()
    kube.create(namespace, "queues", "academy-redriven", {})
    kube.await_condition(namespace, "queues", "academy-redriven", "Ready", ("True", "Available"))
    operator.stop()
    status = kube.status(namespace, "queues", "academy-redriven")
    for number in range(kills * PER_TOKEN + 50):
        sqs.send_message(QueueUrl=status["dlqUrl"], MessageBody=str(number))

    def moved() -> int:
        counted = sqs.get_queue_attributes(QueueUrl=status["url"], AttributeNames=["All"])["Attributes"]
        return int(counted["ApproximateNumberOfMessages"])

    def ended(token: str) -> bool:
        record = kube.status(namespace, "queues", "academy-redriven").get("redrive", {})
        return bool((record.get("token"), record.get("phase")) == (token, "Completed"))

    for kill in range(kills):
        token = f"token-{kill}"
        redrive = {"token": token, "maxMessages": PER_TOKEN, "maxMessagesPerSecond": 2}
        kube.patch(namespace, "queues", "academy-redriven", {"redrive": redrive})
        killer.arm(operator, dice.randint(1, 25), after=dice.random() < 0.5)
        operator.start(ready=False)
        operator.await_death(lambda token=token: ended(token))
        killer.arm(operator, 10**9, after=False)
        operator.start()
        eventually(lambda token=token: ended(token), f"seed {SEED}: {token} ends")
        operator.stop()
        assert moved() <= (kill + 1) * PER_TOKEN, f"seed {SEED}: {token} moved more than its maximum"
    print(f"seed {SEED}: {kills} kills, {moved()} of at most {kills * PER_TOKEN} messages moved")  # noqa: T201
    assert moved() > 0
