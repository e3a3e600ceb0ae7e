"""What tests of the worker loop share: small kinds, and a platform of fakes to run a Consumer against."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from academy_core.consumer import Activity, Consumer
from academy_core.kinds import Payload, Queue, TaskKind, Urgency
from academy_core.ledger import NewTask
from academy_core.ledger_fake import FakeLedger
from academy_core.slot import WorkerOptions
from academy_core.sqs_fake import FakeSqs
from academy_core.tasks import Handler, Outcome, TaskContext


class Number(Payload):
    """Input and result of every test kind."""

    n: int


ADD = TaskKind("test.add", 1, Queue.AI_BASIC, Urgency.BULK, Number, Number, max_failures=2, max_crashes=2)
LITE = TaskKind("test.lite", 1, Queue.AI_LITE, Urgency.BULK, Number, Number)
SUM = TaskKind("test.sum", 1, Queue.AI_BASIC, Urgency.SHORT, Number, Number)
KINDS = (ADD, LITE, SUM)
NAMES = {queue: f"q-{queue}" for queue in Queue}

Run = Callable[[TaskContext[Any]], Outcome]


def echo(context: TaskContext[Number]) -> Outcome:
    return Outcome(context.input)


class Platform:
    """Fake SQS and ledger, and the workers started on them."""

    def __init__(self) -> None:
        self.sqs = FakeSqs(*NAMES.values())
        self.ledger = FakeLedger(
            KINDS, ring=lambda bell: void(self.sqs.send(NAMES[bell.queue], [bell.model_dump_json()]))
        )

    def submit(self, *kinds: TaskKind) -> None:
        for n, kind in enumerate(kinds):
            self.ledger.submit(NewTask.of(kind, Number(n=n)))

    def states(self) -> list[str]:
        return [task.state for task in self.ledger.tasks.values()]

    def in_flight(self) -> int:
        return sum(self.sqs.depth(name).in_flight for name in NAMES.values())

    @contextmanager
    def worker(
        self,
        runs: Mapping[TaskKind, Run],
        *,
        weights: Mapping[Queue, int] | None = None,
        activity: Activity | None = None,
        sqs: Any = None,
        **options: Any,
    ) -> Iterator[Consumer]:
        """A running worker; stopped and joined at the end of the block."""
        settings: dict[str, Any] = {
            "worker": "w",
            "queues": NAMES,
            "weights": weights or {Queue.AI_BASIC: 1},
            "wait_seconds": 0.2,
            "grace_seconds": 0.0,
            "heartbeat_seconds": 0.02,
            "backoff_base": 0.01,
            "backoff_cap": 0.02,
        }
        handlers = [Handler(kind, run) for kind, run in runs.items()]
        consumer = Consumer(
            sqs or self.sqs, self.ledger, handlers, WorkerOptions(**settings | options), activity=activity
        )
        consumer.start()
        try:
            yield consumer
        finally:
            consumer.stop()
            assert consumer.join(30), [thread.name for thread in threading.enumerate()]


def void(_value: object) -> None:
    """Drop a value."""
