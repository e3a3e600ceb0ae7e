"""Processes of a platform whose supervisor was killed: found by the folder's name in their environment, and ended.

The kernel ends the supervisor's children with it; this sees to what they had started and to any that lingers.
"""

import os
from collections.abc import Callable

import psutil

from academy_local import environment, home

GRACE_SECONDS = 10.0


def find(place: home.Home) -> list[psutil.Process]:
    """Live processes that belong to the folder, but this one."""
    return [process for process in psutil.process_iter() if process.pid != os.getpid() and _belongs(process, place)]


def end(place: home.Home) -> None:
    """End them: SIGTERM, a bounded wait, SIGKILL."""
    found = find(place)
    for process in found:
        _unless_gone(process.terminate)
    _, alive = psutil.wait_procs(found, GRACE_SECONDS)
    for process in alive:
        _unless_gone(process.kill)
    psutil.wait_procs(alive, GRACE_SECONDS)


def _belongs(process: psutil.Process, place: home.Home) -> bool:
    try:
        return process.environ().get(environment.MARK) == str(place.folder)
    except (psutil.Error, OSError):
        return False  # another user's, or gone: neither is ours


def _unless_gone(act: Callable[[], None]) -> None:
    try:
        act()
    except psutil.NoSuchProcess:
        return
