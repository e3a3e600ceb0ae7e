"""Runs ffmpeg and ffprobe: empty environment, nothing inherited but the named pipes, limits, killed as a group.

The only place where a child process is started. A child knows a loopback address and no credential.
"""

import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from academy_core.tasks import TaskContext

_ADDRESS = re.compile(r"https?://\S+")
"""A presigned URL is a secret while it lives; ffmpeg names it in its messages."""
_STDERR_LINES = 40
_LINE_BYTES = 2000
_MEMORY_BYTES = 4 * 1024**3
_CPU_PER_WALL = 8
_REAP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal; `errors` is the end of its standard error."""

    returncode: int
    errors: str
    timed_out: bool


class Child:
    """A running child process. `kill` may be called from any thread, at any time, and more than once."""

    def __init__(self, process: "subprocess.Popen[bytes]", wall_seconds: float) -> None:
        self.process = process
        self.timed_out = False
        self._lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read_errors, name="ffmpeg-stderr", daemon=True)
        self._reader.start()
        self._clock = threading.Timer(wall_seconds, self._time_out)
        self._clock.daemon = True
        self._clock.start()

    @property
    def output(self) -> IO[bytes]:
        """Its standard output. RuntimeError unless it was started with a pipe there."""
        if self.process.stdout is None:
            raise RuntimeError("a child was started without a pipe for its output")
        return self.process.stdout

    def kill(self) -> None:
        """End the child and all it started; does nothing once it is reaped, so that a reused id is never hit."""
        with self._lock:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> Finished:
        """Wait for the child's end. Its wall clock limit bounds this."""
        if self.process.returncode is None:
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            returncode = self.process.wait()
        self._clock.cancel()
        self._reader.join(_REAP_SECONDS)
        return Finished(returncode, _ADDRESS.sub("<source>", "\n".join(self._lines)), self.timed_out)

    def _time_out(self) -> None:
        self.timed_out = True
        self.kill()

    def _read_errors(self) -> None:
        stream = self.process.stderr
        if stream is None:
            raise RuntimeError("a child is started with its standard error piped")
        with stream:
            while line := stream.readline(_LINE_BYTES):
                self._lines.append(line.decode(errors="replace").rstrip())


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
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(pid, kind, (value, value))


@dataclass(frozen=True, slots=True)
class Output:
    """What a short command printed."""

    stdout: bytes
    finished: Finished


def run(
    context: TaskContext[Any], command: Sequence[str], *, folder: str, wall_seconds: float, stdin: bytes = b""
) -> Output:
    """Run a short command, with `stdin` on its standard input. A cancel ends it; then raises Cancelled."""
    with (
        running(
            command, folder=folder, wall_seconds=wall_seconds, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
        context.kill_on_cancel(child.kill),
    ):
        feeder = threading.Thread(target=_feed, args=(child.process.stdin, stdin), daemon=True)
        feeder.start()
        with child.output as pipe:
            output = pipe.read()
        finished = child.wait()
        feeder.join(_REAP_SECONDS)
    context.check()
    return Output(output, finished)


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    """Write what a child reads; it may end before it has read all."""
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(data)
