"""The API with `/longest`: the most CPU that one stretch between two switches of the event loop took; and with `/hog`.

Seconds of the thread's own CPU, not of the clock: what else the machine does does not count. Each answer starts anew.
`/pace` says what a second of this machine's CPU is worth.
"""

import importlib
import json
import time
import traceback
from typing import Any

import gevent
import greenlet
from django.http import HttpRequest, HttpResponse
from django.urls import path

from academy_api.wsgi import application

__all__ = ["application"]


class _Longest:
    """The stretch so far, and where the greenlet that ran it gave the loop its turn."""

    def __init__(self) -> None:
        self.began = time.thread_time()
        self.seconds = 0.0
        self.where = ""

    def switched(self, _event: str, greenlets: tuple[Any, Any]) -> None:
        """greenlet's trace function: one greenlet stops, another goes on."""
        now = time.thread_time()
        if now - self.began > self.seconds:
            self.seconds = now - self.began
            self.where = " < ".join(frame.name for frame in reversed(traceback.extract_stack(greenlets[0].gr_frame)))
        # What the note above took is not counted.
        self.began = time.thread_time()


_longest = _Longest()
_ROW = {"id": "0" * 36, "title": "수학", "state": "ready", "names": ["a", "b"], "seconds": 1.5}


def longest(_request: HttpRequest) -> HttpResponse:
    """Answer and start anew."""
    gevent.sleep(0)  # ends the stretch of the request before, which may have come in on the same connection
    answer = json.dumps({"seconds": _longest.seconds, "where": _longest.where})
    _longest.seconds, _longest.where = 0.0, ""
    return HttpResponse(answer, content_type="application/json")


def _work() -> float:
    """A fixed piece of work, of the kind that requests are; the seconds of CPU that it took."""
    began = time.thread_time()
    for number in range(2000):
        json.dumps({**_ROW, "number": number})
    return time.thread_time() - began


def pace(_request: HttpRequest) -> HttpResponse:
    """Seconds of CPU of the fixed piece of work, the least of some: whatever disturbs it only adds."""
    return HttpResponse(json.dumps(min(_work() for _ in range(5))), content_type="application/json")


def hog(_request: HttpRequest) -> HttpResponse:
    """Hold the loop for twenty pieces of work, whatever they take."""
    for _ in range(20):
        _work()
    return HttpResponse()


# Only after Django is set up, which importing `application` has done.
importlib.import_module("ledger_support")
importlib.import_module("academy_api.urls").urlpatterns.extend(
    [path("longest", longest), path("hog", hog), path("pace", pace)]
)
greenlet.settrace(_longest.switched)
