"""The AI bucket as this process reaches it. The one place of the app that makes a client."""

import functools

from academy_api.settings import config
from academy_core.store import ObjectStore, R2Store


@functools.cache
def ai() -> ObjectStore:
    """Sheets and what was read of them. Made once a process: a client is thread-safe and dear to make."""
    return R2Store(config, config.R2_AI_BUCKET)
