"""Removing from the AI bucket what is gone from the database: exams' batches, comparisons of the question bank.

A worker that lost its lease may go on writing until its task's time is over, and an upload URL that was handed out is
good for a while, so what is swept at once is swept again.
"""

import itertools
from datetime import timedelta

from django.utils import timezone

from academy_api import buckets
from academy_api.exams.models import Grave

SWEEP_SECONDS = 5.0
URL_LIFE = timedelta(hours=1)
"""Of every upload URL that this app hands out."""
SWEPT_AGAIN = URL_LIFE + timedelta(hours=1)
"""After this long no upload URL is good any more, and no attempt (AI kinds: 15 min at most) can still write."""
_PAGE = 1000


def bury(prefix: str) -> None:
    """Have everything under the prefix removed, in the caller's transaction."""
    Grave.objects.get_or_create(prefix=prefix, defaults={"due_at": timezone.now()})


def sweep() -> None:
    """Relay duty: remove one page of what lies under the prefix that has waited longest."""
    grave = Grave.objects.filter(due_at__lte=timezone.now()).order_by("due_at").first()
    if grave is None:
        return
    bucket = buckets.ai()
    keys = [info.key for info in itertools.islice(bucket.list(grave.prefix), _PAGE)]
    bucket.delete_many(keys)
    if len(keys) == _PAGE:
        return
    again = grave.created_at + SWEPT_AGAIN
    if again > timezone.now():
        Grave.objects.filter(pk=grave.pk).update(due_at=again)
    else:
        grave.delete()
