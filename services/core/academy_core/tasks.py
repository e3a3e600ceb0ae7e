"""What a task's code sees: its context, and the outcome it returns.

The worker loop (academy_core.consumer) claims a task, builds a TaskContext from it and calls the Handler of its
kind in a thread of its own. The handler returns an Outcome, or raises: an error's type decides whether the task
fails for good (Permanent) or is tried again (anything else).
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from academy_core.kinds import Payload, TaskKind
from academy_core.ledger import ClaimedTask, NewTask, Progress

I = TypeVar("I", bound=Payload)  # noqa: E741 - the input's type, beside R, the result's
R = TypeVar("R", bound=Payload)


class Cancelled(Exception):
    """Raised by `TaskContext.check` once the work is to stop: cancelled, timed out or the worker is stopping."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler returns: the result, and the tasks that go on from here (see CompleteRequest)."""

    result: Payload
    children: tuple[NewTask, ...] = ()
    then: NewTask | None = None


class TaskContext(Generic[I]):
    """One attempt at one task, as its handler sees it. Every method may be called from any thread."""

    def __init__(self, task: ClaimedTask, task_input: I) -> None:
        """`task_input` is `task.input`, validated by the kind's input model."""
        self.task = task
        self.input = task_input
        self.cancelled = threading.Event()
        """Set once the work is to stop; nothing it does afterwards is listed anywhere."""
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._kills: list[Callable[[], object]] = []

    @property
    def output_prefix(self) -> str:
        """Every object the task writes lies under this key prefix, which ends with '/'."""
        return self.task.output_prefix

    def results_as(self, model: type[R]) -> tuple[R, ...]:
        """For a `then`: its children's results in their order, as `model`."""
        return tuple(model.model_validate(result) for result in self.task.results or ())

    def progress(self, percent: float, media_seconds: float | None = None) -> None:
        """Say how far the work is: 0 to 100 percent, and seconds of media done. Sent with the next heartbeat."""
        with self._lock:
            self._progress = Progress(percent=min(100.0, max(0.0, percent)), media_seconds=media_seconds)

    def latest_progress(self) -> Progress | None:
        """What was last given to `progress`."""
        with self._lock:
            return self._progress

    def check(self) -> None:
        """Raise Cancelled when the work is to stop. Call it between steps."""
        if self.cancelled.is_set():
            raise Cancelled

    @contextmanager
    def kill_on_cancel(self, kill: Callable[[], object]) -> Iterator[None]:
        """While the block runs, a cancel calls `kill` (from another thread) to end a child process; it must not raise.

        Called at once when the work is cancelled already, so that a child started late does not escape.
        """
        with self._lock:
            self._kills.append(kill)
            late = self.cancelled.is_set()
        if late:
            kill()
        try:
            yield
        finally:
            with self._lock:
                self._kills.remove(kill)

    def cancel(self) -> None:
        """Stop the work: sets `cancelled` and calls what `kill_on_cancel` holds. The worker loop calls this."""
        with self._lock:
            self.cancelled.set()
            kills = tuple(self._kills)
        for kill in kills:
            kill()


@dataclass(frozen=True, slots=True)
class Handler:
    """The code of one kind and version. A worker that understands two versions has two handlers."""

    kind: TaskKind
    run: Callable[[TaskContext[Any]], Outcome]


def accepted(handlers: Sequence[Handler]) -> dict[str, tuple[int, ...]]:
    """Kind name -> versions, as a claim states them."""
    kinds: dict[str, tuple[int, ...]] = {}
    for handler in handlers:
        kinds[handler.kind.name] = (*kinds.get(handler.kind.name, ()), handler.kind.version)
    return kinds
