"""The composition root every worker shares: settings and handlers in, a running worker out.

A worker's `main.py` loads its settings, builds its handlers over its own clients and calls `run_worker`.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing

from academy_core import deletion_cost, lifecycle, log, metrics
from academy_core.consumer import Consumer
from academy_core.kinds import Queue
from academy_core.ledger_client import HttpLedger
from academy_core.liveness import Liveness
from academy_core.settings import WorkerSettings
from academy_core.slot import WorkerOptions
from academy_core.sqs import SqsClient
from academy_core.tasks import Handler

_log = log.get(__name__)


def run_worker(
    settings: WorkerSettings,
    handlers: Sequence[Handler],
    *,
    worker_id: str,
    weights: Mapping[Queue, int],
    slots: int = 1,
) -> int:
    """Run until SIGTERM or SIGINT (the second one exits at once); returns the process's exit code. Main thread only.

    `weights` names the queues this worker polls and their share of its slots, e.g. {AI_BASIC: 3, AI_LITE: 1}.
    """
    log.configure(settings)
    options = WorkerOptions(
        worker=worker_id,
        queues=settings.queue_names(),
        weights=weights,
        slots=slots,
        wait_seconds=settings.SQS_WAIT_TIME_SECONDS,
        visibility_seconds=settings.SQS_VISIBILITY_TIMEOUT_SECONDS,
        grace_seconds=settings.SHUTDOWN_GRACE_SECONDS,
        backoff_base=settings.BACKOFF_BASE_SECONDS,
        backoff_cap=settings.BACKOFF_CAP_SECONDS,
    )
    sqs = SqsClient(settings, pool=len(weights) + slots)
    with (
        lifecycle.Signals() as signals,
        closing(HttpLedger(str(settings.API_BASE_URL), settings.INTERNAL_WORKER_TOKEN.get_secret_value())) as ledger,
        deletion_cost.reported(settings.POD_NAME) as activity,
    ):
        consumer = Consumer(
            sqs, ledger, handlers, options, liveness=Liveness(), activity=activity, on_finished=signals.wake
        )
        with metrics.served(consumer.metrics, consumer.liveness, settings.METRICS_PORT, settings.METRICS_HOST) as port:
            consumer.start()
            _log.info("WORKER_STARTED", worker=worker_id, queues=",".join(weights), slots=slots, metrics_port=port)
            _until_finished(consumer, signals)
    _log.info("WORKER_STOPPED", worker=worker_id, broken=consumer.broken)
    return 1 if consumer.broken else 0


def _until_finished(consumer: Consumer, signals: lifecycle.Signals) -> None:
    told = False
    while not consumer.join(0):
        if not signals.wait():
            continue
        if told:
            consumer.abort()
            lifecycle.exit_at_once()
        told = True
        _log.info("Graceful shutdown")
        consumer.stop()
