"""The CDN's cache in front of the publications: what is deleted has to leave it too. Called by `graves`."""

from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from academy_core.errors import CdnUnavailable

_SECONDS = 10.0


class Cdn(Protocol):
    """A cache in front of the object store."""

    def purge(self, prefix: str) -> None:
        """Forget everything cached below a key prefix; may be repeated. CdnUnavailable when that is not certain."""
        ...


class NoCdn:
    """Nothing is cached anywhere."""

    def purge(self, prefix: str) -> None:
        """See Cdn.purge."""


class Cloudflare:
    """Cloudflare's cache, by its API: POST /zones/{zone}/purge_cache with URL prefixes (without a scheme).

    https://developers.cloudflare.com/cache/how-to/purge-cache/purge_by_prefix/
    """

    def __init__(self, api_url: str, zone: str, token: str, base_url: str) -> None:
        """`base_url`: CDN_HLS_BASE_URL, below which lie the keys."""
        self._address = f"{api_url.rstrip('/')}/zones/{zone}/purge_cache"
        self._token = token
        base = urlsplit(base_url)
        self._base = f"{base.netloc}{base.path.rstrip('/')}"

    def purge(self, prefix: str) -> None:
        """See Cdn.purge."""
        try:
            answer = httpx.post(
                self._address,
                headers={"Authorization": f"Bearer {self._token}"},
                json={"prefixes": [f"{self._base}/{prefix.rstrip('/')}"]},
                timeout=_SECONDS,
            )
        except httpx.TransportError as error:
            raise CdnUnavailable(f"purge: {type(error).__name__}") from error
        if answer.status_code != HTTPStatus.OK or not _succeeded(answer):
            raise CdnUnavailable(f"purge: HTTP {answer.status_code}, errors {_codes(answer)}")


def _succeeded(answer: httpx.Response) -> bool:
    body = _body(answer)
    return body.get("success") is True


def _codes(answer: httpx.Response) -> list[int]:
    """Cloudflare's error codes, which hold nothing of the request."""
    errors = _body(answer).get("errors")
    return [error["code"] for error in errors if "code" in error] if isinstance(errors, list) else []


def _body(answer: httpx.Response) -> dict[str, object]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
