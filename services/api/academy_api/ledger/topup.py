"""When bells were lost: how many to ring again. Pure; the relay feeds it readings.

A bell is missing when, for a whole minute, fewer messages were visible than tasks had been waiting for over a minute.
SQS counts approximately and a bell just received is not visible: only what every reading of that minute shows is true.
"""

from dataclasses import dataclass, field

from academy_core.kinds import Queue

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Window:
    since: float
    smallest: int


@dataclass(slots=True)
class TopUp:
    """The readings of one relay's reign."""

    _windows: dict[Queue, _Window] = field(default_factory=dict)

    def read(self, queue: Queue, *, visible: int | None, overdue: int, at: float) -> int:
        """One reading at `at` (seconds, any steady clock). Returns how many bells to send now.

        `visible` None means that the count could not be read: unknown is not 0, and the minute starts anew.
        """
        if visible is None or visible >= overdue:
            self._windows.pop(queue, None)
            return 0
        window = self._windows.setdefault(queue, _Window(at, overdue - visible))
        window.smallest = min(window.smallest, overdue - visible)
        if at - window.since < WINDOW_SECONDS:
            return 0
        del self._windows[queue]
        return window.smallest
