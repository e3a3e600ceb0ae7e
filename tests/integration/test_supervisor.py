"""The supervisor with small processes: what ends is started again, what is stopped stays stopped, nothing is left."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support import ended, wait_until

from academy_local import environment, home, processes, roles, strays, supervisor

# Starts a child of its own, as a worker starts ffmpeg, then serves: the child's pid is in the file named first.
FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def family(folder: Path, name: str = "family") -> roles.Role:
    child = folder / f"{name}.child"
    child.unlink(missing_ok=True)
    worker = roles.Worker(
        name, ("-c", FAMILY, str(child)), {}, probe=lambda: child.exists() and child.read_text() != "", grace_seconds=1
    )
    return roles.Role(worker)


def child_of(folder: Path, name: str = "family") -> int:
    return int((folder / f"{name}.child").read_text())


@pytest.fixture
def place(tmp_path: Path) -> home.Home:
    place = home.Home(tmp_path / "data")
    place.identity()
    return place


@contextmanager
def running(place: home.Home, *stage: roles.Role) -> Iterator[supervisor.Supervisor]:
    platform = supervisor.Supervisor(place, [stage])
    failures: list[BaseException] = []

    def run() -> None:
        try:
            platform.run()
        except processes.NotReady as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: phase(place) == "up", 30, "not up", thread.is_alive)
        yield platform
    finally:
        platform.stop()
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []


def phase(place: home.Home) -> str:
    state = place.state()
    return state.phase if state else ""


def gone(pid: int) -> Callable[[], bool]:
    return lambda: ended(pid)


def test_a_killed_process_is_started_again_without_its_orphans(place: home.Home) -> None:
    with running(place, family(place.folder)) as platform:
        first, orphan = platform.pid("family"), child_of(place.folder)
        (place.folder / "family.child").unlink()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: seen(place).restarts == 1 and seen(place).state == "up", 30, "not started again")
        assert platform.pid("family") != first
        wait_until(gone(orphan), 10, "the killed process's child lives on")
    assert phase(place) == "stopped"


def seen(place: home.Home) -> home.ProcessState:
    state = place.state()
    assert state is not None
    return state.processes["family"]


def test_stopping_leaves_no_process(place: home.Home) -> None:
    with running(place, family(place.folder, "one"), family(place.folder, "two")) as platform:
        pids = [platform.pid("one"), platform.pid("two"), child_of(place.folder, "one"), child_of(place.folder, "two")]
    for pid in pids:
        wait_until(gone(pid), 10, f"{pid} lives on")


def test_taken_down_stays_down_until_brought_back(place: home.Home) -> None:
    with running(place, family(place.folder)) as platform:
        platform.take_down("family")
        with pytest.raises(LookupError):
            platform.pid("family")
        platform.bring_back("family")
        assert psutil.pid_exists(platform.pid("family"))


def test_a_process_that_does_not_start_says_why(place: home.Home) -> None:
    broken = roles.Role(roles.Worker("broken", ("-c", "raise SystemExit('no such luck')"), {}, probe=lambda: False))
    with pytest.raises(processes.NotReady, match="no such luck"):
        supervisor.Supervisor(place, [[family(place.folder)], [broken]]).run()
    state = place.state()
    assert state is not None
    assert state.phase == "failed"
    assert "no such luck" in state.step
    wait_until(gone(child_of(place.folder)), 10, "the first stage lives on")


# A supervisor in a process of its own, to be killed.
DAEMON = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
import test_supervisor
from academy_local import home, supervisor
place = home.Home(pathlib.Path(sys.argv[1]))
supervisor.Supervisor(place, [[test_supervisor.family(place.folder)]]).run()
"""


def test_a_killed_supervisor_leaves_nothing_that_the_next_start_does_not_end(place: home.Home) -> None:
    daemon = subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(place.folder), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    wait_until(lambda: phase(place) == "up", 60, "not up", lambda: daemon.poll() is None)
    pid, child = seen(place).pid, child_of(place.folder)
    assert pid is not None
    assert psutil.Process(pid).environ()[environment.MARK] == str(place.folder)
    daemon.kill()
    daemon.wait()
    wait_until(gone(pid), 10, "the supervisor's child outlived it")
    strays.end(place)
    assert gone(child)()
