"""One child process: started so that it cannot outlive its parent, awaited with a bound, stopped with its whole group.

Used by the supervisor (the embedded platform) and by the holder of the servers of the integration tests.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.05
LOG_TAIL_LINES = 20
_INHERITED = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"}


class NotReady(RuntimeError):
    """A process ended, or did not become ready in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how it is stopped."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to what `inherited` lets through."""
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 10.0
    """After this long the whole process group is killed."""
    orphan_signal: signal.Signals = signal.SIGKILL
    """What the kernel sends when the parent dies without stopping it."""
    as_nobody: bool = False
    """For servers that refuse to run as root: see `_unprivileged`."""


class Server(Protocol):
    """A process of the platform that others reach by its address."""

    @property
    def name(self) -> str:
        """Of the process, its log and its folder."""
        ...

    def prepare(self) -> None:
        """Make the files it needs. Safe to run again over data that is there."""
        ...

    def command(self) -> Command:
        """How it is started."""
        ...

    def ready(self) -> bool:
        """Whether it serves now."""
        ...

    def tidy(self) -> None:
        """Once it has ended: remove what it leaves outside its folder."""
        ...


class Child:
    """A running process in a group of its own, its output in a log file.

    Must be created by a thread that lives as long as the parent: the kernel's parent-death signal follows the thread.
    """

    def __init__(self, command: Command, log: Path) -> None:
        self._command = command
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command lines, no shell
                [*_launcher(command), *command.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**inherited(), **command.env},
                start_new_session=True,
            )
        self.pid = self._process.pid

    def returncode(self) -> int | None:
        """Exit status, None while it runs; negative for a signal."""
        return self._process.poll()

    def wait_ready(self, ready: Callable[[], bool], timeout: float) -> None:
        """Return when `ready()`; NotReady when the process has ended or `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        while not ready():
            if self.returncode() is not None:
                raise NotReady(f"{self._command.argv[0]} ended with {self.returncode()}:\n{tail(self._log)}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self._command.argv[0]} not ready after {timeout:g} s:\n{tail(self._log)}")
            time.sleep(POLL_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Signal the process alone, when it still runs."""
        if self.returncode() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """Stop signal, a bounded wait, then SIGKILL for whatever is left of the group."""
        self.send(self._command.stop_signal)
        self.reap(self._command.grace_seconds)

    def reap(self, timeout: float) -> None:
        """Wait at most `timeout` seconds for the end, then kill the group, so that no grandchild stays."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            pass  # the group is killed in any case
        finally:
            kill_group(self.pid)
            self._process.wait()


def inherited() -> dict[str, str]:
    """What a child gets of this process's environment: what finds programs and files, no settings, no credentials."""
    return {name: value for name, value in os.environ.items() if name in _INHERITED}


def kill_group(group: int) -> None:
    """SIGKILL every process of a group; an empty group is fine."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def tail(log: Path) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


def _launcher(command: Command) -> list[str]:
    drop = _unprivileged() if command.as_nobody and os.geteuid() == 0 else []
    return ["setpriv", *drop, f"--pdeathsig={command.orphan_signal.name.removeprefix('SIG')}", "--"]


def _unprivileged() -> list[str]:
    """Options that make setpriv run a command as a `nobody` that still reaches files under folders only root may enter.

    Postgres and PgBouncer refuse user id 0, but the repository and its data often lie under /root. The one capability
    kept (file access) spares copying binaries elsewhere and opening up permissions.
    """
    kept = "-all,+dac_override"
    identity = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    return [*identity, f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"]
