"""What the relay does for the ledger, each a short function that can be called again at any time.

`relay/__main__.py` gives each its rhythm. Everything runs on the relay's own connection; network calls stand outside
transactions.
"""

import logging

from academy_api.ledger import endings, leases, metrics, outbox, sql
from academy_api.ledger.outbox import Post
from academy_core.kinds import Queue

log = logging.getLogger(__name__)

SEND_ROWS = 200
EXPIRE_ROWS = 100
FINISH_ROWS = 20
FOLD_JOBS = 20
FOLD_AFTER_DAYS = 30


def send_outbox(post: Post) -> int:
    """Send what is due until nothing is. Returns how many. Raises QueueUnavailable."""
    sent = 0
    while due := outbox.due(SEND_ROWS):
        taken = outbox.send(post, due)
        sent += taken
        if taken < len(due):  # SQS refused some; they are tried again at the next turn
            log.warning("sqs refused %d of %d messages", len(due) - taken, len(due))
            break
    return sent


def measure_outbox() -> None:
    """Set the lag metrics."""
    found = sql.row(sql.LAG, {})
    if found is not None:
        metrics.OUTBOX_DUE.set(found[0])
        metrics.OUTBOX_LAG.set(float(found[1]))


def expire_leases() -> int:
    """End every lease whose last heartbeat lies a full lease period back. The caller asks first whether it may."""
    return sum(leases.expire(task) for task in leases.expirable(EXPIRE_ROWS))


def finish_jobs() -> int:
    """Try the hooks of finishing jobs again. Returns how many jobs ended."""
    waiting = [job for (job,) in sql.rows(sql.FINISHING, {"limit": FINISH_ROWS})]
    ended = sum(endings.finish(job) for job in waiting)
    (left,) = sql.row("SELECT count(*) FROM ledger_job WHERE state = 'finishing'", {}) or (0,)
    metrics.FINISHING.set(left)
    return ended


def fold_jobs() -> int:
    """Fold the tasks of jobs that ended 30 days ago into their jobs, a few jobs at a time. Returns how many jobs."""
    folded = 0
    while old := sql.rows(sql.FOLDABLE, {"days": FOLD_AFTER_DAYS, "limit": FOLD_JOBS}):
        folded += sum(sql.execute(sql.FOLD, {"job": job}) for (job,) in old)
    return folded


def ring_all() -> int:
    """Write a bell for every ready task that has none on its way: after queues were purged or made anew."""
    return sql.execute(sql.RING_ALL, {})


def overdue() -> dict[Queue, int]:
    """Tasks ready for more than 60 s, a queue."""
    return {Queue(queue): count for queue, count in sql.rows(sql.OVERDUE, {"seconds": 60})}


def ring_overdue(queue: Queue, count: int) -> None:
    """Write `count` bells for the queue's longest-waiting tasks."""
    sql.execute(sql.RING_OVERDUE, {"queue": queue.value, "seconds": 60, "limit": count})
    metrics.TOPPED_UP.labels(queue.value).inc(count)
