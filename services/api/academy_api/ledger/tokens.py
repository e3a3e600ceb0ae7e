"""Who is calling: the worker class behind a bearer token. Several tokens a class, so that they can be rotated."""

import functools
import hashlib
import hmac
from collections.abc import Iterable

from academy_api.settings import config
from academy_core.errors import NotAuthenticated
from academy_core.kinds import WorkerClass
from academy_core.settings import ApiSettings, split_tokens


def accepted(settings: ApiSettings) -> tuple[tuple[bytes, WorkerClass], ...]:
    """Digest and class of every accepted token; the settings have seen to it that no two classes share one."""
    return tuple(
        (_digest(token), worker_class)
        for worker_class, value in (
            (WorkerClass.VIDEO, settings.INTERNAL_WORKER_TOKENS_VIDEO),
            (WorkerClass.AI_CPU, settings.INTERNAL_WORKER_TOKENS_AI_CPU),
            (WorkerClass.AI_GPU, settings.INTERNAL_WORKER_TOKENS_AI_GPU),
            (WorkerClass.RELAY, settings.INTERNAL_WORKER_TOKENS_RELAY),
        )
        for token in split_tokens(value)
    )


@functools.cache
def _accepted() -> tuple[tuple[bytes, WorkerClass], ...]:
    return accepted(config)


def worker_class_of(authorization: str) -> WorkerClass:
    """The class whose token this Authorization header bears. Raises NotAuthenticated."""
    scheme, _, token = authorization.partition(" ")
    found = _match(_digest(token.strip()), _accepted())
    if scheme.lower() != "bearer" or found is None:
        raise NotAuthenticated("worker endpoint without a valid worker token")
    return found


def _match(digest: bytes, known: Iterable[tuple[bytes, WorkerClass]]) -> WorkerClass | None:
    """Compare with every token, each in constant time."""
    found = None
    for candidate, worker_class in known:
        if hmac.compare_digest(candidate, digest):
            found = worker_class
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
