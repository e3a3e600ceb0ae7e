"""Bounded waits: what they make of a machine that stands still, and of an end that comes with what is waited for."""

import pytest
import support


class Clock:
    """Time that passes only in sleep, `pace` times as fast."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace, self.sleeps = 0.0, pace, 0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds * self.pace
        self.sleeps += 1


def test_a_machine_that_stands_still_is_not_a_condition_that_stays_false(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(pace=1000)  # each sleep lasts 50 s
    monkeypatch.setattr(support, "time", clock)
    support.wait_until(lambda: clock.sleeps == 4, 5, "not four")
    with pytest.raises(AssertionError, match="never within 5 s"):
        support.wait_until(lambda: False, 5, "never")


def test_a_condition_that_stays_false_is_waited_for_as_long_as_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(pace=1)
    monkeypatch.setattr(support, "time", clock)
    with pytest.raises(AssertionError, match="never within 5 s"):
        support.wait_until(lambda: False, 5, "never")
    assert clock.now == pytest.approx(5, abs=0.1)


def test_what_is_waited_for_may_come_with_the_end_of_what_goes_on() -> None:
    """A player's last report is a refusal that it does not survive: it is what the test waits for."""
    looks = 0

    def reports() -> bool:
        nonlocal looks
        looks += 1
        return looks > 1

    support.wait_until(reports, 5, "no report", lambda: looks == 0)


def test_what_no_longer_goes_on_is_not_waited_for() -> None:
    with pytest.raises(AssertionError, match="it has ended"):
        support.wait_until(lambda: False, 600, "it has ended", lambda: False)
