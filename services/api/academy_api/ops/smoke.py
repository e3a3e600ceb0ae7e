"""A tiny lecture from upload to playback and away again, over the public API: what `helm test` does.

It lives in an academy of its own, which nobody is a member of but this test; a lecture that an earlier run left behind
is removed first. The key it works with is drawn for one run.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import structlog
from django.utils import timezone

from academy_api.accounts import auth, people
from academy_api.accounts.access import Scope
from academy_core.errors import Retryable

log = structlog.get_logger(__name__)

ACADEMY = "academy self-test"
EMAIL = "self-test@academy.invalid"
POLL_SECONDS = 1.0
CALL_SECONDS = 30.0


class Failed(Retryable):
    """The platform does not work; the detail says where it stopped."""


@contextmanager
def _key() -> Iterator[str]:
    """The secret of a key of the hidden academy's director, revoked at the end."""
    member = people.bootstrap(ACADEMY, EMAIL, secrets.token_urlsafe(32))
    scopes = frozenset({Scope.LECTURES_READ, Scope.LECTURES_WRITE})
    key, secret = people.make_key(auth.of_membership(member), "helm test", scopes)
    try:
        yield secret
    finally:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])


def run(api: str, site: str, video: Path, seconds: float) -> None:
    """Publish `video` through `api` as if the request came for `site`, play it, delete it. Failed, with the reason."""
    public = urlsplit(site)
    headers = {"Host": public.netloc, "X-Forwarded-Proto": public.scheme, "X-Forwarded-For": "127.0.0.1"}
    with _key() as secret, httpx.Client(base_url=api, timeout=CALL_SECONDS) as http:
        http.headers.update({"Authorization": f"Bearer {secret}", **headers})
        for left in _call(http, "GET", "/api/v1/lectures")["items"]:
            _call(http, "DELETE", f"/api/v1/lectures/{left['id']}")
        lecture = _upload(http, video)
        log.info("SMOKE_UPLOADED", lecture=lecture)
        try:
            _await_ready(http, lecture, seconds)
            _play(_call(http, "GET", f"/api/v1/lectures/{lecture}/playback")["url"])
        finally:
            _call(http, "DELETE", f"/api/v1/lectures/{lecture}")
        if (gone := http.get(f"/api/v1/lectures/{lecture}")).status_code != httpx.codes.NOT_FOUND:
            raise Failed(f"the deleted lecture answers {gone.status_code}")


def _call(http: httpx.Client, method: str, path: str, **options: Any) -> dict[str, Any]:
    answer = http.request(method, path, **options)
    if not answer.is_success:
        raise Failed(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
    return dict(answer.json()) if answer.content else {}


def _upload(http: httpx.Client, video: Path) -> str:
    content = video.read_bytes()
    announced = {"title": "self-test", "file_name": video.name, "size": len(content), "content_type": "video/mp4"}
    made = _call(http, "POST", "/api/v1/lectures", json=announced, headers={"Idempotency-Key": uuid4().hex})
    parts = _call(http, "POST", f"/api/v1/lectures/{made['id']}/upload/parts", json={})
    for part in parts["urls"]:
        start = (part["number"] - 1) * parts["part_bytes"]
        answer = httpx.put(part["url"], content=content[start : start + part["size"]], timeout=CALL_SECONDS)
        if not answer.is_success:
            raise Failed(f"upload to the store: {answer.status_code} {answer.text[:500]}")
    _call(http, "POST", f"/api/v1/lectures/{made['id']}/upload/complete")
    return str(made["id"])


def _await_ready(http: httpx.Client, lecture: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        publication = _call(http, "GET", f"/api/v1/lectures/{lecture}")["publication"]
        if publication["state"] == "ready":
            log.info("SMOKE_READY", lecture=lecture)
            return
        if publication["state"] in {"failed", "cancelled"}:
            raise Failed(f"the lecture is {publication['state']}: {publication['reason']}")
        if time.monotonic() > deadline:
            raise Failed(f"the lecture is {publication['state']} after {seconds:g} s; stages: {publication['stages']}")
        time.sleep(POLL_SECONDS)


def _play(url: str) -> None:
    answer = httpx.get(url, timeout=CALL_SECONDS)
    if not answer.is_success or "#EXT-X-STREAM-INF" not in answer.text:
        raise Failed(f"playback: {answer.status_code} {answer.text[:500]}")
