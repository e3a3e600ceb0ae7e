"""The worker loop: bells from SQS, tasks from the ledger, weighted over several queues (S-5 to S-7, S-16, S-17).

    receive a bell -> claim -> work under heartbeats -> complete, fail or release -> delete the message

One receiver thread a queue long-polls while there is a free slot (academy_core.gate says when); one thread a bell sees
it through (academy_core.slot); the handler has a thread of its own (academy_core.attempt). Nothing is prefetched:
docs/adr/0003 says how slots and long polls go together.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial

from academy_core import log
from academy_core.attempt import HeldMessage
from academy_core.backoff import jittered
from academy_core.errors import QueueUnavailable
from academy_core.gate import Gate
from academy_core.kinds import Queue
from academy_core.ledger import Ledger
from academy_core.liveness import Liveness
from academy_core.metrics import WorkerMetrics
from academy_core.slot import Bell, Slot, WorkerOptions
from academy_core.sqs import Message, Sqs
from academy_core.tasks import Handler

Activity = Callable[[bool], None]
"""Called with True when the worker's first slot gets busy and with False when its last one is idle again."""

_SILENCE_SECONDS = 120.0
"""Longest silence of a loop: the longest poll or HTTP call with its repeats, and room."""

_log = log.get(__name__)


class Consumer:
    """The loop of one process: `start`, later `stop`, then wait until `finished`."""

    def __init__(  # noqa: PLR0913 - the loop's collaborators, each one thing
        self,
        sqs: Sqs,
        ledger: Ledger,
        handlers: Sequence[Handler],
        options: WorkerOptions,
        *,
        metrics: WorkerMetrics | None = None,
        liveness: Liveness | None = None,
        activity: Activity | None = None,
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_finished` is called when the last thread has ended."""
        self.metrics = metrics or WorkerMetrics()
        self.liveness = liveness or Liveness()
        self._sqs = sqs
        self._options = options
        self._gate = Gate(options.weights, options.slots)
        self._slot = Slot(ledger, handlers, options, self._gate, self.metrics)
        self._activity = activity
        self._on_finished = on_finished
        self._died = False
        self._threads = 0
        self._ended = threading.Condition()
        self._telling = threading.Lock()
        self._told = False

    def start(self) -> None:
        """Start polling."""
        for queue in self._options.weights:
            self._spawn(f"receive-{queue}", partial(self._receiver, queue))

    def stop(self) -> None:
        """Stop receiving; work that is not done after the grace period is handed back."""
        self._gate.stop(self._options.grace_seconds)

    def abort(self) -> None:
        """Kill the work's child processes: the process is about to exit without another word."""
        self._gate.abort()

    @property
    def broken(self) -> bool:
        """A handler did not stop when told to, or a thread of the loop died: the process has to be replaced."""
        return self._died or self._slot.stuck

    def join(self, seconds: float) -> bool:
        """Wait until every thread has ended; False when `seconds` passed first."""
        with self._ended:
            return self._ended.wait_for(lambda: self._threads == 0, seconds)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        with self._ended:
            self._threads += 1
        threading.Thread(target=self._thread, args=(name, run), name=name, daemon=True).start()

    def _thread(self, name: str, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception:  # noqa: BLE001 - whatever it was, it is logged and ends the process
            _log.exception("WORKER_THREAD_DIED", thread=name)
            self._died = True
            self.stop()
        finally:
            with self._ended:
                self._threads -= 1
                last = self._threads == 0
                self._ended.notify_all()
            if last:
                self._on_finished()

    def _receiver(self, queue: Queue) -> None:
        errors = 0
        with self.liveness.watched(f"receive-{queue}", _SILENCE_SECONDS) as beat:
            while self._gate.wait_for_turn(queue, beat):
                messages = self._poll(queue)
                errors = errors + 1 if messages is None else 0
                if errors:
                    self._gate.pause(jittered(errors, self._options.backoff_base, self._options.backoff_cap))

    def _poll(self, queue: Queue) -> tuple[Message, ...] | None:
        """One poll, and what comes of it; None when SQS is unavailable."""
        name, visibility = self._options.queues[queue], self._options.visibility_seconds
        messages: tuple[Message, ...] | None = None
        try:
            messages = self._sqs.receive(name, wait_seconds=self._options.wait_seconds, visibility_seconds=visibility)
        except QueueUnavailable as error:
            _log.warning("SQS_RECEIVE_FAILED", queue=queue, detail=error.detail)
        finally:
            taken = self._gate.polled(queue, bell=bool(messages))
        self.metrics.receives.labels(queue, "error" if messages is None else "bell" if messages else "empty").inc()
        for message in messages or ():
            held = HeldMessage(self._sqs, name, message, visibility)
            if taken:
                self._spawn(f"slot-{message.id}", partial(self._see_through, queue, held))
            else:
                self.metrics.returned.labels(queue).inc()
                held.give_back()
        return messages

    def _see_through(self, queue: Queue, held: HeldMessage) -> None:
        self._tell()
        try:
            with self.liveness.watched(f"slot-{held.message.id}", _SILENCE_SECONDS) as beat:
                self._slot.see_through(Bell(queue, held, beat))
        finally:
            self._gate.slot_freed()
            self._tell()
            if self._slot.stuck:
                self.stop()

    def _tell(self) -> None:
        """Tell busy or idle, each change once and in order."""
        with self._telling:
            busy = self._gate.busy
            self.metrics.busy.set(busy)
            if self._activity is None or self._told == bool(busy):
                return
            self._told = bool(busy)
            try:
                self._activity(self._told)
            except Exception:  # noqa: BLE001 - a hint for the cluster; the work does not depend on it
                _log.exception("ACTIVITY_CALLBACK_FAILED")
