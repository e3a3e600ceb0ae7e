"""A process's signals: the main thread waits for them here, and does in its own time what they ask for.

Handlers that run between two bytecodes may not take locks; these only note the signal (by a wake-up descriptor), and
`Signals.wait` hands it to the main thread. Children started meanwhile inherit no blocked signals.
"""

import contextlib
import os
import select
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

_STOP = (signal.SIGTERM, signal.SIGINT)


def _noted(_signum: int, _frame: FrameType | None) -> None:
    """Python writes the number to the wake-up descriptor; nothing else is to be done here."""


class Signals:
    """SIGTERM and SIGINT as something to wait for. Enter it in the main thread."""

    def __enter__(self) -> Self:
        """Take the two signals over."""
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _noted) for number in _STOP}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd)
        self._read.close()
        self._write.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal to stop; False when `seconds` passed or `wake` was called first."""
        if not select.select([self._read], [], [], seconds)[0]:
            return False
        return any(byte in _STOP for byte in self._read.recv(1))

    def wake(self) -> None:
        """End the main thread's `wait`, from any thread."""
        with contextlib.suppress(BlockingIOError):  # a full buffer wakes it as well
            self._write.send(b"\0")


def exit_at_once() -> None:
    """The second signal: no more cleaning up."""
    os._exit(128 + signal.SIGTERM)
