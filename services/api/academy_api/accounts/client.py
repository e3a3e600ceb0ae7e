"""Where a request came from."""

from django.conf import settings
from django.http import HttpRequest


def address(request: HttpRequest) -> str:
    """The client's IP address: the entry that the outermost of our own proxies appended to X-Forwarded-For.

    Entries further left are the client's own words and are not believed.
    """
    trusted: int = settings.TRUSTED_PROXIES
    entries = [entry.strip() for entry in request.headers.get("X-Forwarded-For", "").split(",") if entry.strip()]
    if trusted and len(entries) >= trusted:
        return entries[-trusted]
    peer: str = request.META.get("REMOTE_ADDR", "")
    return peer
