"""Our worker loop with one slot; the ledger is the one in memory, so that only SQS is measured."""

import signal
import sys
import threading
from datetime import UTC, datetime

from academy_core.consumer import Consumer
from academy_core.kinds import Payload, Queue, TaskKind, Urgency
from academy_core.ledger import NewTask
from academy_core.ledger_fake import FakeLedger
from academy_core.messages import Bell
from academy_core.settings import QueueSettings, load
from academy_core.slot import WorkerOptions
from academy_core.sqs import SqsClient
from academy_core.tasks import Handler, Outcome, TaskContext

BATCH = 10
"""As the relay sends."""


class Number(Payload):
    """Input and result."""

    n: int


KIND = TaskKind("bench.job", 1, Queue.VIDEO, Urgency.BULK, Number, Number)
settings = load(QueueSettings)
NAMES = settings.queue_names()


def job(context: TaskContext[Number]) -> Outcome:
    """Say that it ran."""
    sys.stdout.write(f"done {context.input.n}\n")
    sys.stdout.flush()
    return Outcome(context.input)


def send(jobs: int) -> None:
    """Ring `jobs` bells in the relay's batches."""
    bell = Bell(queue=Queue.VIDEO, enqueued_at=datetime.now(UTC)).model_dump_json()
    client = SqsClient(settings, pool=1)
    for start in range(0, jobs, BATCH):
        client.send(NAMES[Queue.VIDEO], [bell] * min(BATCH, jobs - start))


def work(jobs: int) -> None:
    """Run until SIGTERM."""
    ledger = FakeLedger([KIND])
    for n in range(jobs):
        ledger.submit(NewTask.of(KIND, Number(n=n)))
    options = WorkerOptions(worker="bench", queues=NAMES, weights={Queue.VIDEO: 1})
    consumer = Consumer(SqsClient(settings, pool=2), ledger, [Handler(KIND, job)], options)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    consumer.start()
    stop.wait()
    consumer.stop()
    consumer.join(30)


if __name__ == "__main__":
    (send if sys.argv[1] == "send" else work)(int(sys.argv[2]))
