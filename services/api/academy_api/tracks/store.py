"""The two buckets as this app reaches them."""

import functools

from academy_api.lectures.store import video
from academy_api.settings import config
from academy_core.store import ObjectStore, R2Store

__all__ = ["ai", "video"]


@functools.cache
def ai() -> ObjectStore:
    """Where the analyses' files lie. Made once a process: a client is thread-safe and dear to make."""
    return R2Store(config, config.R2_AI_BUCKET)
