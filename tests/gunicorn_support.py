"""The API as it is served: real gunicorn with gevent workers, on a free loopback port."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from support import wait_until

from academy_local import ports

SECONDS = 60
"""For one answer, or a start, on a busy machine."""
COMMAND = (sys.executable, "-m", "gunicorn", "-c", "python:academy_api.gunicorn_conf")


@dataclass
class Served:
    """A running gunicorn."""

    process: subprocess.Popen[bytes]
    base: str
    log: Path

    def metric(self, name: str) -> float:
        """Sum of a metric's samples; LookupError when there is none."""
        lines = httpx.get(f"{self.base}/metrics", timeout=SECONDS).text.splitlines()
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        if not found:
            raise LookupError(name)
        return sum(found)


@contextlib.contextmanager
def serve(
    folder: Path, application: str = "academy_api.wsgi", command: tuple[str, ...] = COMMAND, /, **environment: str
) -> Iterator[Served]:
    """Serve until the block ends, then stop and check that it stopped by itself."""
    address = f"127.0.0.1:{ports.free(1)[0]}"
    base = f"http://{address}"
    log = folder / "gunicorn.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--graceful-timeout", "2", "-b", address, application],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "academy_api.settings", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(
                lambda: _answers(base), SECONDS, f"gunicorn did not start: {log}", lambda: process.poll() is None
            )
            yield Served(process, base, log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()


def _answers(base: str) -> bool:
    """Whether a worker answers: gunicorn takes connections before it has one."""
    with contextlib.suppress(httpx.TransportError):
        httpx.get(f"{base}/health", timeout=5)
        return True
    return False
