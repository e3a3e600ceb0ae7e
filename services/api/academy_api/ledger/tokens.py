"""Who is calling: the worker class behind a bearer token. Several tokens a class, so that they can be rotated."""

import functools
import hashlib
import hmac
from collections.abc import Iterable

from academy_api.settings import config
from academy_core.errors import NotAuthenticated, SettingsFault
from academy_core.kinds import WorkerClass
from academy_core.settings import ApiSettings

LEAST_LENGTH = 32


def accepted(settings: ApiSettings) -> tuple[tuple[bytes, WorkerClass], ...]:
    """Digest and class of every accepted token.

    Raises SettingsFault for a class without a token, a token under 32 characters, or one that two classes share.
    """
    faults: list[str] = []
    found: dict[bytes, WorkerClass] = {}
    for worker_class, value in (
        (WorkerClass.VIDEO, settings.INTERNAL_WORKER_TOKENS_VIDEO),
        (WorkerClass.AI_CPU, settings.INTERNAL_WORKER_TOKENS_AI_CPU),
        (WorkerClass.AI_GPU, settings.INTERNAL_WORKER_TOKENS_AI_GPU),
        (WorkerClass.RELAY, settings.INTERNAL_WORKER_TOKENS_RELAY),
    ):
        name = f"INTERNAL_WORKER_TOKENS_{worker_class.name}"
        tokens = split(value.get_secret_value())
        if not tokens or any(len(token) < LEAST_LENGTH for token in tokens):
            faults.append(f"{name}: wanted at least one token, each of at least {LEAST_LENGTH} characters")
        if any(found.setdefault(_digest(token), worker_class) is not worker_class for token in tokens):
            faults.append(f"{name}: a token that another worker class has too")
    if faults:
        raise SettingsFault("settings: " + "; ".join(faults))
    return tuple(found.items())


def split(value: str) -> list[str]:
    """The tokens of one setting, which are separated by commas."""
    return [token.strip() for token in value.split(",") if token.strip()]


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
