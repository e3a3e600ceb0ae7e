"""Steady idempotent requests to an API while something happens to it, as a patient client sends them.

Each request is repeated at most three times, within ten seconds of waiting and one attempt's patience; what has no
answer by then has failed for a person. What a single attempt met is counted too, because retries hide it.
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
"""An attempt's patience, as the web client has it."""
PATIENCE_SECONDS = sum(WAITS) + REQUEST_SECONDS
"""A request's, from its first attempt to its answer: an answer later than that comes too late."""
STOP_SECONDS = 60.0

Send = Callable[[httpx.Client], httpx.Response]


@dataclass
class Load:
    """What the requests have met so far."""

    requests: int = 0
    raw: Counter[str] = field(default_factory=Counter)
    """Attempts that failed, by status ("503, Retry-After") or error."""
    failed: list[str] = field(default_factory=list)
    """Requests that failed with all their repetitions, or were answered too late."""
    seconds: list[float] = field(default_factory=list)
    """How long each request took until its answer, repetitions included."""

    def __str__(self) -> str:
        """For a drill to print."""
        met = ", ".join(f"{count} x {what}" for what, count in self.raw.most_common()) or "none"
        slowest = max(self.seconds, default=0.0)
        return (
            f"{self.requests} requests, {len(self.failed)} failed, the slowest answered after {slowest:.1f} s;"
            f" failed attempts: {met}"
        )

    def send(self, http: httpx.Client, send: Send) -> None:
        """One request with its repetitions."""
        self.requests += 1
        began, met = time.monotonic(), ""
        for wait in (0.0, *WAITS):
            time.sleep(wait)
            left = began + PATIENCE_SECONDS - time.monotonic()
            if left <= 0:
                break
            http.timeout = min(REQUEST_SECONDS, left)
            met = _attempt(http, send)
            if not met:
                took = time.monotonic() - began
                self.seconds.append(took)
                if took > PATIENCE_SECONDS:
                    self.failed.append(f"answered after {took:.0f} s")
                return
            self.raw[met] += 1
        self.failed.append(met)


def _attempt(http: httpx.Client, send: Send) -> str:
    """What went wrong; nothing when nothing did. A refusal below 500 is a fault of this test."""
    try:
        answer = send(http)
    except httpx.TransportError as error:
        return type(error).__name__
    if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        answer.raise_for_status()
        return ""
    return f"{answer.status_code}{', Retry-After' if 'Retry-After' in answer.headers else ''}"


@contextmanager
def running(url: str, headers: Mapping[str, str], *sends: Send) -> Iterator[Load]:
    """Every `send` again and again in a thread of its own, for as long as the context lasts."""
    load, stop, faults = Load(), threading.Event(), list[BaseException]()

    def repeat(send: Send) -> None:
        try:
            with httpx.Client(base_url=url, headers=headers) as http:
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
