"""The video bucket and the CDN before it, as this process reaches them; the one place of the app that makes clients."""

import functools

from academy_api import buckets
from academy_api.lectures.cdn import Cdn, Cloudflare, NoCdn
from academy_api.settings import config
from academy_core.store import ObjectStore


@functools.cache
def video() -> ObjectStore:
    """Sources and publications. Made once a process: a client is thread-safe and dear to make."""
    return buckets.bucket(config.R2_VIDEO_BUCKET)


@functools.cache
def cdn() -> Cdn:
    """The cache in front of the publications; nothing where there is none (the embedded platform)."""
    if config.CDN_PURGE_ZONE_ID is None or config.CDN_PURGE_API_TOKEN is None:
        return NoCdn()
    return Cloudflare(
        str(config.CDN_PURGE_API_URL),
        config.CDN_PURGE_ZONE_ID,
        config.CDN_PURGE_API_TOKEN.get_secret_value(),
        str(config.CDN_HLS_BASE_URL),
    )
