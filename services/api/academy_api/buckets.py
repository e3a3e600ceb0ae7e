"""The AI bucket as this process reaches it; the apps that have AI work done share it."""

import functools

from academy_api import relay
from academy_api.settings import config
from academy_core.store import ObjectStore, R2Store


@functools.cache
def ai() -> ObjectStore:
    """Sheets, scans, banks, and what was found in them. Made once a process: a client is thread-safe, dear to make."""
    return R2Store(config, config.R2_AI_BUCKET, patient=not relay.HERE.is_set())
