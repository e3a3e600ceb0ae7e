"""SeaweedFS in a test process: the S3 emulator that takes region `auto`, CORS and lifecycle rules as R2 does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from academy_local import ports, processes
from academy_local.servers import s3

START_SECONDS = 60
KEY = "test"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A SeaweedFS with nothing in it; its endpoint. Key and secret are both "test"."""
    server = s3.S3(folder, tuple(ports.free(s3.PORTS)), KEY, KEY)
    server.prepare()
    child = processes.Child(server.command(), folder / "log")
    try:
        child.wait_ready(server.ready, START_SECONDS)
        yield server.endpoint
    finally:
        child.stop()
        server.tidy()
