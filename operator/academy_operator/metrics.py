"""Prometheus metrics of the operator; a figure that cannot be read has no sample."""

from prometheus_client import Counter, Gauge

RECONCILES = Counter("academy_operator_reconciles_total", "Full passes over a resource.", ["kind", "outcome"])
PROVIDER_CALLS = Counter("academy_operator_provider_calls_total", "Calls to a provider.", ["operation", "result"])
STATUS_WRITES = Counter("academy_operator_status_writes_total", "PATCHes of a status.", ["kind"])
RELEASED = Counter("academy_operator_released_total", "Resources let go with something left behind.", ["kind"])
RESOURCES = Gauge("academy_operator_resources", "Resources that are known.", ["kind"])
LAST_SWEEP = Gauge("academy_operator_last_sweep_timestamp_seconds", "When the sweep last went round.")
LAST_SYNC = Gauge(
    "academy_operator_last_sync_timestamp_seconds", "Last pass without a fault.", ["kind", "namespace", "name"]
)
QUEUE_DEPTH = Gauge("academy_queue_depth", "Visible messages.", ["namespace", "name"])
QUEUE_DLQ_DEPTH = Gauge("academy_queue_dlq_depth", "Messages in the dead-letter queue.", ["namespace", "name"])
QUEUE_AGE = Gauge("academy_queue_oldest_message_age_seconds", "Age of the oldest message.", ["namespace", "name"])


def _show(gauge: Gauge, labels: tuple[str, ...], value: float | None) -> None:
    if value is None:
        gauge.remove(*labels)
    else:
        gauge.labels(*labels).set(value)


def show_queue(namespace: str, name: str, depth: float | None, dlq_depth: float | None) -> None:
    """A queue's depths; None where they could not be read."""
    _show(QUEUE_DEPTH, (namespace, name), depth)
    _show(QUEUE_DLQ_DEPTH, (namespace, name), dlq_depth)


def show_age(namespace: str, name: str, seconds: float | None) -> None:
    """Age of a queue's oldest message; None where there is none or it is unknown."""
    _show(QUEUE_AGE, (namespace, name), seconds)


def forget_queue(namespace: str, name: str) -> None:
    """The resource is gone."""
    show_queue(namespace, name, None, None)
    show_age(namespace, name, None)


def forget_resource(kind: str, namespace: str, name: str) -> None:
    """The resource is gone."""
    RESOURCES.labels(kind).dec()
    _show(LAST_SYNC, (kind, namespace, name), None)
