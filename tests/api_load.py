"""Steady idempotent requests to an API while something happens to it, as a patient client sends them.

Each request is repeated at most three times within ten seconds; what fails even then has failed for a person. What a
single attempt met is counted too, because retries hide it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import httpx

WAITS = (1.0, 3.0, 6.0)
"""Seconds before each repetition."""
PAUSE_SECONDS = 0.2
REQUEST_SECONDS = 30.0
STOP_SECONDS = 60.0

Send = Callable[[httpx.Client], httpx.Response]


@dataclass
class Load:
    """What the requests have met so far."""

    requests: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by status ("503, Retry-After") or error."""
    failed: list[str] = field(default_factory=list)
    """Requests that failed with all their repetitions."""

    def __str__(self) -> str:
        """For a drill to print."""
        met = ", ".join(f"{count} x {what}" for what, count in self.raw.most_common()) or "none"
        return f"{self.requests} requests, {len(self.failed)} failed; failed attempts: {met}"

    def send(self, http: httpx.Client, send: Send) -> None:
        """One request with its repetitions."""
        self.requests += 1
        for wait in (*WAITS, None):
            met = _attempt(http, send)
            if met is None:
                return
            self.raw[met] += 1
            if wait is None:
                self.failed.append(met)
                return
            time.sleep(wait)


def _attempt(http: httpx.Client, send: Send) -> str | None:
    """What went wrong; None when nothing did. A refusal below 500 is a fault of this test."""
    try:
        answer = send(http)
    except httpx.TransportError as error:
        return type(error).__name__
    if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        answer.raise_for_status()
        return None
    return f"{answer.status_code}{', Retry-After' if 'Retry-After' in answer.headers else ''}"


@contextmanager
def running(url: str, headers: Mapping[str, str], *sends: Send) -> Iterator[Load]:
    """Every `send` again and again in a thread of its own, for as long as the context lasts."""
    load, stop, faults = Load(), threading.Event(), list[BaseException]()

    def repeat(send: Send) -> None:
        try:
            with httpx.Client(base_url=url, headers=headers, timeout=REQUEST_SECONDS) as http:
                while not stop.wait(PAUSE_SECONDS):
                    load.send(http, send)
        except Exception as error:  # noqa: BLE001 - raised below, in the test's own thread
            faults.append(error)

    threads = [threading.Thread(target=repeat, args=[send], daemon=True) for send in sends]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(STOP_SECONDS)
    assert not any(thread.is_alive() for thread in threads), "a request hangs"
    assert faults == []
