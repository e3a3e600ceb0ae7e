"""A worker's Prometheus metrics (S-20), and the small HTTP server that shows them beside its liveness."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from academy_core.liveness import Liveness

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)


class WorkerMetrics:
    """What a worker counts. Labels are queues, kinds and ends: few and fixed."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry`: a new one when None, so that two workers in one process do not clash."""
        self.registry = registry or CollectorRegistry()
        self.receives = Counter(
            "academy_worker_receives", "Receive calls by result: bell, empty or error.", ("queue", "result"),
            registry=self.registry,
        )  # fmt: skip
        self.returned = Counter(
            "academy_worker_bells_returned", "Bells handed back at once for want of a slot.", ("queue",),
            registry=self.registry,
        )  # fmt: skip
        self.tasks = Counter(
            "academy_worker_tasks", "Attempts by end: completed, failed, refused, lost or released.", ("kind", "end"),
            registry=self.registry,
        )  # fmt: skip
        self.duration = Histogram(
            "academy_worker_task_duration_seconds", "Processing time of an attempt.", ("kind",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.queue_wait = Histogram(
            "academy_worker_queue_wait_seconds", "Claim time less ready time.", ("kind",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.busy = Gauge("academy_worker_busy_slots", "Slots at work.", registry=self.registry)
        self.api_waits = Counter(
            "academy_worker_api_unavailable", "Calls of the ledger that found the API away.", registry=self.registry
        )


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Probes are not worth a log line each."""


@contextmanager
def served(metrics: WorkerMetrics, liveness: Liveness, port: int, host: str) -> Iterator[int]:
    """Serve /metrics and /live (200, or 503 naming the silent loops) while the block runs; yields the bound port."""

    def application(environ: dict[str, Any], start: "StartResponse") -> Iterable[bytes]:
        status, kind, body = HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"not found\n"
        if environ["PATH_INFO"] == "/metrics":
            status, kind, body = HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)
        elif environ["PATH_INFO"] == "/live":
            silent = liveness.silent()
            status = HTTPStatus.SERVICE_UNAVAILABLE if silent else HTTPStatus.OK
            body = (", ".join(silent) or "live").encode() + b"\n"
        start(f"{status.value} {status.phrase}", [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    server = make_server(host, port, application, server_class=WSGIServer, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
