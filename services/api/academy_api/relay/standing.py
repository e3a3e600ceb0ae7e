"""The duties of one reign: the ledger's own, with their rhythm, and those the apps registered."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from academy_api.ledger import dlq, duties, outbox
from academy_api.ledger.outbox import Post
from academy_api.ledger.topup import TopUp
from academy_api.relay import Duty, registered_duties
from academy_api.relay.reach import Prober, Reach
from academy_core.errors import QueueUnavailable
from academy_core.ledger import HEARTBEAT_SECONDS, LEASE_SECONDS
from academy_core.settings import ApiSettings, split_tokens

SEND_SECONDS = 0.5
FINISH_SECONDS = 5.0
TOP_UP_SECONDS = 10.0
SWEEP_SECONDS = 300.0
FOLD_SECONDS = 3600.0


@contextlib.contextmanager
def duties_of(settings: ApiSettings) -> Iterator[Callable[[], Sequence[Duty]]]:
    """Probe while the context lasts; yields what makes the duties of one reign."""
    post = outbox.post(settings)
    reach = Reach()
    token = split_tokens(settings.INTERNAL_WORKER_TOKENS_RELAY)[0]
    prober = Prober(reach, str(settings.API_BASE_URL), token)
    prober.start()
    try:
        yield lambda: of_reign(post, reach)
    finally:
        prober.stop()


def of_reign(post: Post, reach: Reach, clock: Callable[[], float] = time.monotonic) -> list[Duty]:
    """All duties, for a relay that has just taken the lock: nothing is proven yet and no reading is old."""
    reach.failed()
    return [
        Duty("send", SEND_SECONDS, lambda: _send(post)),
        Duty("expire", float(HEARTBEAT_SECONDS), lambda: _ignore(expire(reach))),
        Duty("finish", FINISH_SECONDS, lambda: _ignore(duties.finish_jobs())),
        Duty("top-up", TOP_UP_SECONDS, _top_up(post, clock)),
        Duty("sweep-dlq", SWEEP_SECONDS, lambda: sweep_all(post)),
        Duty("fold", FOLD_SECONDS, lambda: _ignore(duties.fold_jobs())),
        *registered_duties(),
    ]


def _ignore(_count: int) -> None:
    """A duty answers nothing; its metrics tell."""


def _send(post: Post) -> None:
    try:
        duties.send_outbox(post)
    finally:
        duties.measure_outbox()


def expire(reach: Reach) -> int:
    """Expire leases if heartbeats have been able to arrive for a full lease period. Returns how many."""
    return duties.expire_leases() if reach.proven_seconds() >= LEASE_SECONDS else 0


def _top_up(post: Post, clock: Callable[[], float]) -> Callable[[], None]:
    readings = TopUp()
    return lambda: top_up(post, readings, clock())


def top_up(post: Post, readings: TopUp, at: float) -> None:
    """Read every queue once and ring what has been missing for a minute."""
    waiting = duties.overdue()
    for queue, name in post.names.items():
        try:
            visible: int | None = post.sqs.depth(name).visible
        except QueueUnavailable:
            visible = None
        if missing := readings.read(queue, visible=visible, overdue=waiting.get(queue, 0), at=at):
            duties.ring_overdue(queue, missing)


def sweep_all(post: Post) -> None:
    """Sweep every DLQ. Raises the last QueueUnavailable after trying all."""
    unavailable: QueueUnavailable | None = None
    for queue in post.names:
        try:
            dlq.sweep(post, queue)
        except QueueUnavailable as error:
            unavailable = error
    if unavailable:
        raise unavailable
