"""gunicorn with sync workers, sharing as much memory as ours: loaded once before the fork, frozen for the collector."""

import gc
import os
from typing import Any

workers = int(os.environ["GUNICORN_WORKERS"])
worker_class = "sync"
preload_app = True


def when_ready(server: Any) -> None:
    """Before the first fork, as in our own configuration."""
    del server
    gc.collect()
    gc.freeze()
