"""gunicorn's configuration: `gunicorn -c python:academy_api.gunicorn_conf academy_api.wsgi`.

The order matters. gevent's patch comes before anything imports sockets, threads or locks; the metrics directory before
anything imports prometheus_client's values. The application is loaded once, before the fork.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import atexit
import contextlib
import gc
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a tmpfs, wanted for exactly that


def _make_metrics_folder() -> None:
    """Make prometheus_client's multi-process folder; this process, the arbiter, removes it at its end."""
    folder = tempfile.mkdtemp(prefix="academy-metrics-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


_make_metrics_folder()

import gevent
from prometheus_client import multiprocess

from academy_api.database import green
from academy_core.settings import ApiSettings, load

green.install()
_settings = load(ApiSettings)

workers = _settings.GUNICORN_WORKERS
worker_class = "gevent"
worker_connections = _settings.GUNICORN_WORKER_CONNECTIONS
preload_app = True
# Longer than the load balancer's 60 s: whoever closes first gets the reset, and that must not be us.
keepalive = 75
timeout = 30
graceful_timeout = 25
# The heartbeat file on a disk can block a worker for as long as the disk likes.
worker_tmp_dir = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None
control_socket_disable = True
# The access log, durations included, is `http_request` of ops.middleware: it knows the request id and the academy.
accesslog = None
errorlog = "-"

_LAG_EVERY_SECONDS = 0.1


def when_ready(server: Any) -> None:
    """Before the first fork: a full collection would else walk all of Django, holding the loop for 0.1 s each time."""
    del server
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Measure, in each worker, how late the event loop is."""
    del worker
    gevent.spawn(_watch_loop)


def child_exit(server: Any, worker: Any) -> None:
    """Drop the gauges of a worker that is gone."""
    del server
    with contextlib.suppress(FileNotFoundError):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def _watch_loop() -> None:
    from academy_api.ops import metrics  # noqa: PLC0415 - after the fork, with the worker's own metric files

    hub = gevent.get_hub()
    while True:
        due = hub.loop.now() + _LAG_EVERY_SECONDS
        gevent.sleep(_LAG_EVERY_SECONDS)
        hub.loop.update_now()
        metrics.loop_lag.observe(max(0.0, hub.loop.now() - due))
