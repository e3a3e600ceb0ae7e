"""What the relay clears away for accounts: answers kept for repeats, limits whose window is over, dead sessions."""

from datetime import timedelta

from django.contrib.sessions.models import Session
from django.utils import timezone

from academy_api.accounts.idempotency import KEPT_SECONDS
from academy_api.accounts.models import IdempotentCreate, Invitation, Spent

EVERY_SECONDS = 3600.0


def prune() -> None:
    """Delete what has no effect any more. Each statement is a transaction of its own."""
    now = timezone.now()
    IdempotentCreate.objects.filter(created_at__lt=now - timedelta(seconds=KEPT_SECONDS)).delete()
    Spent.objects.filter(ends_at__lt=now).delete()
    Session.objects.filter(expire_date__lt=now).delete()
    Invitation.objects.filter(expires_at__lt=now).delete()
