"""SeaweedFS in a test process: the S3 emulator that takes region `auto`, CORS and lifecycle rules as R2 does."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from academy_local import ports, processes
from academy_local.servers import s3

START_SECONDS = 60
KEY = "test"
VOLUMES = 400
"""It gives each bucket volumes of its own, seven at once unless told, and has room for as many as the disk has GB."""


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A SeaweedFS with nothing in it and room for VOLUMES buckets; its endpoint. Key and secret are both "test"."""
    server = s3.S3(folder, tuple(ports.free(s3.PORTS)), KEY, KEY)
    server.prepare()
    command = server.command()
    command = dataclasses.replace(
        command,
        argv=(*command.argv, f"-volume.max={VOLUMES}"),
        env={**command.env, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
    )
    child = processes.Child(command, folder / "log")
    try:
        child.wait_ready(server.ready, START_SECONDS)
        yield server.endpoint
    finally:
        child.stop()
        server.tidy()
