"""A child process: killed as a group, its standard error remembered, bounded by a wall clock where one is given.

The video worker starts ffmpeg with it (academy_video.process), the AI workers the process their kinds run in
(academy_ai.host).
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import threading
from collections import deque
from dataclasses import dataclass
from typing import IO

_ADDRESS = re.compile(r"https?://\S+")
"""A presigned URL is a secret while it lives; ffmpeg names it in its messages."""
_STDERR_LINES = 40
_LINE_BYTES = 2000
REAP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Finished:
    """How a child ended. `returncode` is negative for a signal; `errors` is the end of its standard error.

    `peak_bytes` is the most memory that was really in use, by it or by the largest child it had waited for (getrusage).
    """

    returncode: int
    errors: str
    timed_out: bool
    peak_bytes: int


class Child:
    """A running child process. `kill` may be called from any thread, at any time, and more than once."""

    def __init__(self, process: "subprocess.Popen[bytes]", wall_seconds: float | None = None) -> None:
        """`process` leads a process group of its own and has its standard error piped."""
        self.process = process
        self.timed_out = False
        self._peak_bytes = 0
        self._lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read_errors, name="child-stderr", daemon=True)
        self._reader.start()
        self._clock: threading.Timer | None = None
        if wall_seconds is not None:
            self._clock = threading.Timer(wall_seconds, self._time_out)
            self._clock.daemon = True
            self._clock.start()

    @property
    def output(self) -> IO[bytes]:
        """Its standard output. RuntimeError unless it was started with a pipe there."""
        if self.process.stdout is None:
            raise RuntimeError("a child was started without a pipe for its output")
        return self.process.stdout

    @property
    def input(self) -> IO[bytes]:
        """Its standard input. RuntimeError unless it was started with a pipe there."""
        if self.process.stdin is None:
            raise RuntimeError("a child was started without a pipe for its input")
        return self.process.stdin

    def kill(self) -> bool:
        """End the child and all it started; False when it had ended by itself, or by another's hand.

        Does nothing once it is reaped, so that a reused id is never hit.
        """
        with self._lock:
            if self.process.returncode is not None:
                return False
            running = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            return running

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself, or by another's hand, in this time.

        A process closes its pipes a moment before it can be waited for: whoever sees them close and kills it at once
        could not tell afterwards what ended it.
        """
        if self.process.returncode is not None:
            return True
        pidfd = os.pidfd_open(self.process.pid)
        try:
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            return bool(waiting.poll(seconds * 1000))
        finally:
            os.close(pidfd)

    def wait(self) -> Finished:
        """Wait for the child's end. Without a wall clock limit, `kill` it first."""
        if self.process.returncode is None:
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            if self.process.returncode is None:
                # Popen.wait would throw away how much memory it used.
                _, status, usage = os.wait4(self.process.pid, 0)
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self._peak_bytes = usage.ru_maxrss * 1024
        if self._clock is not None:
            self._clock.cancel()
        self._reader.join(REAP_SECONDS)
        errors = _ADDRESS.sub("<source>", "\n".join(self._lines))
        return Finished(self.process.returncode, errors, self.timed_out, self._peak_bytes)

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
