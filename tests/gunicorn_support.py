"""The API as it is served: real gunicorn with gevent workers, on a free loopback port."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from support import wait_until

from academy_local import ports

SECONDS = 60
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
    port = ports.free(1)[0]
    log = folder / "gunicorn.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--graceful-timeout", "2", "-b", f"127.0.0.1:{port}", application],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "academy_api.settings", **environment},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(
                lambda: _answers(port), SECONDS, f"gunicorn did not start: {log}", lambda: process.poll() is None
            )
            yield Served(process, f"http://127.0.0.1:{port}", log)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            finally:
                process.kill()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
