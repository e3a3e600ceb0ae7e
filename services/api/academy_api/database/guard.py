"""No network call inside a transaction, and no database connection held while one runs.

A transaction that waits for R2 or SQS keeps its locks and its pooled connection for as long as the other side likes.
`install` (called when Django is ready, in every process) makes each boto3 and httpx call pass `leave_database`.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import botocore.httpsession
import httpx
from django.db import connections

F = TypeVar("F", bound=Callable[..., Any])


class NetworkInTransaction(RuntimeError):
    """A bug: the call belongs before the transaction, after it, or in the outbox."""


def leave_database() -> None:
    """Give this greenlet's connections back to the pool; NetworkInTransaction when one is in a transaction.

    The transaction that Django's test case wraps around a test does not count.
    """
    for connection in connections.all(initialized_only=True):
        if all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            if not connection.atomic_blocks:
                connection.close()
        else:
            raise NetworkInTransaction("network call inside a database transaction")


def install() -> None:
    """Guard the HTTP senders of boto3 and httpx. Calling it again changes nothing."""
    _guard(botocore.httpsession.URLLib3Session, "send")
    _guard(httpx.HTTPTransport, "handle_request")


def _guard(owner: type, name: str) -> None:
    original = getattr(owner, name)
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def send(*args: Any, **kwargs: Any) -> Any:
        leave_database()
        return original(*args, **kwargs)

    setattr(owner, name, send)
