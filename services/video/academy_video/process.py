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
from academy_core.errors import Permanent, Reason, Retryable
from academy_core.tasks import TaskContext
from academy_video import plan

_MEMORY_BYTES = 4 * 1024**3
_CPU_PER_WALL = 8
_PROCESSES = 4096
"""Of the worker's user, threads included: no fork bomb, and room for every worker of a node."""
_OUTPUT_BYTES = 64 * 1024 * 1024
"""Twelve hours of packets, listed, are half of this."""
_NO_MEMORY = "Cannot allocate memory"
"""What ffmpeg prints at its limit, and of a header or packet that claims more than that at once."""
_CLAIM_BYTES = _MEMORY_BYTES // 2
"""A child that never held as much was not at its limit: its code, threads and buffers reserve 0.6 GiB that they do not
use (1080p, three rungs), so what was asked for at last was more than 1 GiB at once, which no real source needs."""

BROKE_OFF = Reason(
    "video-broke-off",
    "동영상을 처리하는 프로그램이 거듭 중단되었습니다. 다시 시도해도 안 되면 MP4, MOV 또는 MKV 파일(H.264 또는 HEVC)로"
    " 저장해서 다시 올려 주세요.",
    "The program that processes the video broke off again and again. If another try does not help, please save the"
    " video as an MP4, MOV or MKV file (H.264 or HEVC) and upload it again.",
)
"""Told once all tries are used up: not as the file's fault, since nobody can tell, so that the upload stays."""


@contextmanager
def running(  # noqa: PLR0913 - as Popen
    context: TaskContext[Any],
    command: Sequence[str],
    *,
    folder: str,
    wall_seconds: float,
    pass_fds: Sequence[int] = (),
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.DEVNULL,
) -> Iterator[Child]:
    """Start a child in a process group of its own; whatever happens in the block, it is dead and reaped afterwards.

    A cancel of the task kills it. `folder` is its working directory, in which it cannot write. OSError when it cannot
    be started.
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
        with context.kill_on_cancel(child.kill):
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


def check(finished: Finished) -> None:
    """Raise Retryable unless a child ended by itself: a signal or a limit says nothing about what it was reading."""
    if finished.timed_out:
        how = "took too long"
    elif finished.returncode < 0:
        how = f"was ended by signal {-finished.returncode}"
    elif finished.returncode > 0 and _NO_MEMORY in finished.errors and finished.peak_bytes >= _CLAIM_BYTES:
        how = "came to its memory's limit"
    else:
        return
    raise Retryable(f"a child {how}\n{finished.errors}", reason=BROKE_OFF)


@dataclass(frozen=True, slots=True)
class Output:
    """What a short command printed."""

    stdout: bytes
    finished: Finished


def run(
    context: TaskContext[Any], command: Sequence[str], *, folder: str, wall_seconds: float, stdin: bytes = b""
) -> Output:
    """Run a short command, with `stdin` on its standard input. A cancel ends it; then raises Cancelled.

    Raises Retryable unless it ended by itself, Permanent when it prints more than any real source makes it print.
    """
    with running(
        context, command, folder=folder, wall_seconds=wall_seconds, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        feeder = threading.Thread(target=_feed, args=(child.input, stdin), daemon=True)
        feeder.start()
        with child.output as pipe:
            output = pipe.read(_OUTPUT_BYTES + 1)
        if len(output) > _OUTPUT_BYTES:
            child.kill()
            raise Permanent(f"a child printed more than {_OUTPUT_BYTES} bytes", reason=plan.UNREADABLE)
        finished = child.wait()
        feeder.join(REAP_SECONDS)
    context.check()
    check(finished)
    return Output(output, finished)


def _feed(pipe: IO[bytes], data: bytes) -> None:
    """Write what a child reads; it may end before it has read all."""
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)
