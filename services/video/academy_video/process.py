"""Runs ffmpeg and ffprobe: empty environment, nothing inherited but the named pipes, limits, killed as a group.

The only place where a child process is started. A child knows a loopback address and no credential.
"""

import contextlib
import resource
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from academy_core.child import REAP_SECONDS, Child, Finished
from academy_core.tasks import TaskContext

_MEMORY_BYTES = 4 * 1024**3
_CPU_PER_WALL = 8
_PROCESSES = 4096
"""Of the worker's user, threads included: no fork bomb, and room for every worker of a node."""
_OUTPUT_BYTES = 64 * 1024 * 1024
"""Twelve hours of packets, listed, are half of this."""


@contextmanager
def running(  # noqa: PLR0913 - as Popen
    command: Sequence[str],
    *,
    folder: str,
    wall_seconds: float,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.DEVNULL,
) -> Iterator[Child]:
    """Start a child in a process group of its own; whatever happens in the block, it is dead and reaped afterwards.

    `folder` is its working directory, in which it cannot write. OSError when it cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
        command,
        cwd=folder,
        env={},
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        pass_fds=pass_fds,
        start_new_session=True,
    )
    child = Child(process, wall_seconds)
    try:
        _limit(process.pid, wall_seconds)
        yield child
    finally:
        child.kill()
        child.wait()


def _limit(pid: int, wall_seconds: float) -> None:
    """Memory and processor time bounded, no file written, no core dumped."""
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        resource.RLIMIT_CPU: int(wall_seconds * _CPU_PER_WALL) + 1,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: _PROCESSES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, kind, (value, value))


class Endless(Exception):
    """A child printed more than any real source makes it print."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a short command printed."""

    stdout: bytes
    finished: Finished


def run(
    context: TaskContext[Any], command: Sequence[str], *, folder: str, wall_seconds: float, stdin: bytes = b""
) -> Output:
    """Run a short command, with `stdin` on its standard input. A cancel ends it; then raises Cancelled.

    Raises Endless when it prints without end.
    """
    with (
        running(
            command, folder=folder, wall_seconds=wall_seconds, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
        context.kill_on_cancel(child.kill),
    ):
        feeder = threading.Thread(target=_feed, args=(child.process.stdin, stdin), daemon=True)
        feeder.start()
        with child.output as pipe:
            output = pipe.read(_OUTPUT_BYTES + 1)
        if len(output) > _OUTPUT_BYTES:
            child.kill()
            raise Endless(f"a child printed more than {_OUTPUT_BYTES} bytes")
        finished = child.wait()
        feeder.join(REAP_SECONDS)
    context.check()
    return Output(output, finished)


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    """Write what a child reads; it may end before it has read all."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(data)
