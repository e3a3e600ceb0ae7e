"""R2 as this process reaches it, and the AI bucket, which the apps that have AI work done share."""

import functools

from academy_api import relay
from academy_api.settings import config
from academy_core.store import ObjectStore, R2Store


def bucket(name: str) -> ObjectStore:
    """A client of one bucket. The relay's waits for no answer: its one thread has other duties, and comes back."""
    return R2Store(config, name, patient=not relay.HERE.is_set())


@functools.cache
def ai() -> ObjectStore:
    """Sheets, scans, banks, and what was found in them. Made once a process: a client is thread-safe, dear to make."""
    return bucket(config.R2_AI_BUCKET)
