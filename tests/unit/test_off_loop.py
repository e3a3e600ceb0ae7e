"""Views that hash take turns, so that a burst of them leaves the event loop to others in between."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import gevent
import pytest
from gevent import monkey

from academy_api import off_loop


def test_no_more_views_are_under_way_than_there_are_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monkey, "is_module_patched", lambda _name: True)
    under_way, most = [0], [0]

    @off_loop.in_turn
    def view(number: int) -> int:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        gevent.sleep(0)
        under_way[0] -= 1
        return number

    running = [gevent.spawn(view, number) for number in range(20)]
    gevent.joinall(running, timeout=10, raise_error=True)
    assert [each.value for each in running] == list(range(20))
    assert most == [off_loop.TURNS]


def test_a_view_that_fails_gives_its_turn_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monkey, "is_module_patched", lambda _name: True)

    @off_loop.in_turn
    def view() -> None:
        raise LookupError

    for _ in range(2 * off_loop.TURNS):
        with pytest.raises(LookupError):
            view()


def test_a_process_of_low_priority_keeps_it() -> None:
    """Only root may go up again: as anybody else every hash would fail."""

    def priority() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def lowered() -> tuple[int, int]:
        first = off_loop._politely(priority)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        return first, off_loop._politely(priority)

    with ThreadPoolExecutor(1) as pool:  # a thread of its own: whatever it set ends with it
        first, second = pool.submit(lowered).result()
    assert first == max(off_loop.NICENESS, priority())
    assert second == 19
