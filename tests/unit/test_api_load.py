"""The load of the drills: what counts as served."""

from collections.abc import Iterator

import api_load
import httpx
import pytest


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(api_load, "time", clock)
    return clock


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


def answering(clock: Clock, *answers: tuple[float, int]) -> api_load.Send:
    """After so many seconds with that status; an attempt that has less patience than that meets a timeout."""
    left = iter(answers)

    def send(http: httpx.Client) -> httpx.Response:
        seconds, status = next(left)
        patience = http.timeout.read
        assert patience is not None
        clock.sleep(min(seconds, patience))
        if seconds > patience:
            raise httpx.ReadTimeout("too slow")
        return httpx.Response(status, request=httpx.Request("GET", "http://api/"))

    return send


def test_a_repetition_that_is_answered_in_time_serves_the_request(clock: Clock, http: httpx.Client) -> None:
    load = api_load.Load()
    load.send(http, answering(clock, (0.5, 503), (0.5, 502), (0.5, 200)))
    assert (load.requests, load.failed, dict(load.raw)) == (1, [], {"503": 1, "502": 1})
    assert load.seconds == [5.5]
    assert "the slowest answered after 5.5 s" in str(load)


def test_a_request_fails_with_its_last_repetition(clock: Clock, http: httpx.Client) -> None:
    load = api_load.Load()
    load.send(http, answering(clock, *[(0.0, 503)] * 4))
    assert (load.failed, dict(load.raw)) == (["503"], {"503": 4})


def test_slow_attempts_do_not_add_up_beyond_a_clients_patience(clock: Clock, http: httpx.Client) -> None:
    load = api_load.Load()
    load.send(http, answering(clock, (60.0, 200), (29.0, 200), (0.0, 200), (0.0, 200)))
    assert (load.failed, dict(load.raw)) == (["ReadTimeout"], {"ReadTimeout": 2})


def test_an_answer_that_trickles_in_too_late_is_none(clock: Clock, http: httpx.Client) -> None:
    """The timeout of an attempt is one between two bytes."""

    def send(_: httpx.Client) -> httpx.Response:
        clock.sleep(41.0)
        return httpx.Response(200, request=httpx.Request("GET", "http://api/"))

    load = api_load.Load()
    load.send(http, send)
    assert load.failed == ["answered after 41 s"]
