"""The one parent of a platform's processes: starts them in order, restarts what ends, stops them in reverse order.

`academy up` starts it as a daemon (`python -m academy_local.supervisor FOLDER VIDEO AI`); tests run it in a thread. It
holds the folder's lock while it lives and writes what it does into the folder's state. A process that ends is started
again after a backoff; when the supervisor itself is killed, the kernel ends its children.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from academy_local import environment, home, processes, roles, strays

TICK_SECONDS = 0.2
BACKOFF_SECONDS = 0.5
BACKOFF_CAP_SECONDS = 10.0
STEADY_SECONDS = 30.0
"""A process that has run this long starts anew without a backoff."""


class _Unit:
    """One role and the process that fills it now."""

    def __init__(self, role: roles.Role, place: home.Home) -> None:
        self.role = role
        self.name = role.server.name
        self.restarts = 0
        self.state = "stopped"
        self.started_at: float | None = None
        self._log = place.logs / f"{role.server.name}.log"
        self._env = {environment.MARK: str(place.folder)}
        self._child: processes.Child | None = None
        self._since = 0.0
        self._quick_ends = 0
        self._next_start = 0.0

    @property
    def pid(self) -> int | None:
        """Of the process that fills the role, None when there is none."""
        child = self._child  # once: another thread may ask while this one ends
        return child.pid if child else None

    def launch(self) -> None:
        """Start the process; `settle` must follow."""
        self.state = "starting"
        self.role.server.prepare()
        command = self.role.server.command()
        self._child = processes.Child(replace(command, env={**self._env, **command.env}), self._log)
        self._since, self.started_at = time.monotonic(), time.time()

    def settle(self) -> None:
        """Wait until it serves, then do what its role wants done; NotReady when either fails."""
        if self._child is None:
            raise processes.NotReady(f"{self.name} was not launched")
        try:
            self._child.wait_ready(self.role.server.ready, self.role.ready_seconds)
            self.role.after_ready()
        except BaseException:
            self.stop()
            raise
        self.state = "up"

    def stop(self) -> None:
        """Stop it with all it started."""
        if self._child is not None:
            self._child.stop()
            self._child = None
            self.role.server.tidy()
        self.state, self.started_at = "stopped", None

    def tick(self) -> bool:
        """See to a process that ended; whether anything changed."""
        if self.state == "up" and self._child is not None and self._child.returncode() is not None:
            self._child.reap(0)
            self._child = None
            self._fell()
            return True
        if self.state == "waiting" and time.monotonic() >= self._next_start:
            self.restarts += 1
            try:
                self.launch()
                self.settle()
            except processes.NotReady as error:
                with self._log.open("a") as log:
                    log.write(f"supervisor: {error}\n")
                self._fell()
            return True
        return False

    def _fell(self) -> None:
        ran = time.monotonic() - self._since
        self._quick_ends = 0 if ran > STEADY_SECONDS else self._quick_ends + 1
        pause = min(BACKOFF_CAP_SECONDS, BACKOFF_SECONDS * 2**self._quick_ends)
        self.state, self.started_at, self._next_start = "waiting", None, time.monotonic() + pause

    def seen(self) -> home.ProcessState:
        """For the folder's state."""
        return home.ProcessState(pid=self.pid, state=self.state, restarts=self.restarts, started_at=self.started_at)


class Supervisor:
    """The processes of one folder. `run` returns after `stop` was called (from any thread)."""

    def __init__(self, place: home.Home, stages: Sequence[Sequence[roles.Role]]) -> None:
        self._place = place
        self._stages = [[_Unit(role, place) for role in stage] for stage in stages]
        self._units = {unit.name: unit for stage in self._stages for unit in stage}
        self._stopping = threading.Event()
        self._mutex = threading.Lock()

    def stop(self) -> None:
        """Ask `run` to stop everything and return."""
        self._stopping.set()

    def run(self) -> None:
        """Start all, keep all running, stop all. NotReady says what kept a process from its first start."""
        end = ("stopped", "")
        try:
            self._start_all()
            while not self._stopping.wait(TICK_SECONDS):
                self._tick()
        except BaseException as error:
            end = ("failed", str(error))
            raise
        finally:
            self._stop_all()
            self._write(*end)

    def _start_all(self) -> None:
        for stage in self._stages:
            with self._mutex:
                for unit in stage:
                    unit.launch()
            for unit in stage:
                if self._stopping.is_set():
                    return
                self._write("starting", unit.name)
                with self._mutex:
                    unit.settle()
        self._write("up", "")

    def _tick(self) -> None:
        with self._mutex:
            changed = [unit.tick() for unit in self._units.values()]
        if any(changed):
            self._write("up", "")

    def _stop_all(self) -> None:
        with self._mutex:
            for unit in reversed(self._units.values()):
                unit.stop()

    def _write(self, phase: str, step: str) -> None:
        seen = {name: unit.seen() for name, unit in self._units.items()}
        self._place.write_state(home.State(supervisor=os.getpid(), phase=phase, step=step, processes=seen))

    # For tests, which take a part away for a while.

    def take_down(self, name: str) -> None:
        """Stop one process and leave it stopped."""
        with self._mutex:
            self._units[name].stop()

    def bring_back(self, name: str) -> None:
        """Start a process that `take_down` stopped; returns when it serves."""
        with self._mutex:
            self._units[name].launch()
            self._units[name].settle()

    def pid(self, name: str) -> int:
        """Process id of a part that runs. LookupError when it does not."""
        found = self._units[name].pid
        if found is None:
            raise LookupError(f"{name} is not running")
        return found


def main(folder: Path, workers: roles.Workers) -> None:
    """Supervise until SIGTERM or SIGINT."""
    place = home.Home(folder)
    with place.lock() as mine:
        if not mine:
            raise SystemExit("the platform of this folder is running already")
        strays.end(place)
        supervisor = Supervisor(place, roles.stages(place, workers))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: supervisor.stop())
        try:
            supervisor.run()
        except processes.NotReady:
            traceback.print_exc()
            raise SystemExit(1) from None


if __name__ == "__main__":
    main(Path(sys.argv[1]), roles.Workers(int(sys.argv[2]), int(sys.argv[3])))
