"""Idempotency-Key on creates: the same request sent twice creates once and gets the first answer.

    @router.post("/lectures", response={201: LectureOut}, auth=require(Scope.LECTURES_WRITE))
    @idempotent
    def create(request: Request, body: LectureIn) -> Status[Lecture]: …

A key is scoped to academy, principal and route, bound to the hash of path and body, and kept for 24 hours. `idempotent`
reserves it before the view runs, in a transaction of its own, so a concurrent duplicate meets the reservation (409).
`keep_answers`, the middleware, keeps a 2xx answer and frees the key after any other, so that a failed create can be
sent again. A process that dies between the two holds the key for BUSY_SECONDS.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from academy_api.accounts.auth import Request
from academy_api.accounts.models import IdempotentCreate
from academy_core.errors import Conflict, Permanent, Reason

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_SECONDS = 24 * 3600
BUSY_SECONDS = 60
MAX_KEY = 128

_MISMATCH = Reason(
    "idempotency-mismatch",
    "같은 Idempotency-Key로 다른 내용을 보냈습니다. 새 키를 쓰세요.",
    "This Idempotency-Key was used with another request. Use a new key.",
)
_BAD_KEY = Reason(
    "idempotency-key",
    "Idempotency-Key는 1~128자의 ASCII 문자여야 합니다.",
    "An Idempotency-Key has 1 to 128 printable ASCII characters.",
)
_BUSY = Reason(
    "idempotency-busy",
    "같은 요청을 아직 처리하고 있습니다. 잠시 뒤 다시 시도해 주세요.",
    "The same request is still being worked on. Please try again in a moment.",
)

# Ours when new, when its 24 hours are over, or when the same request's process died with it. One statement: of two
# at once the unique key lets one through.
_RESERVE = """
INSERT INTO accounts_idempotentcreate AS c (academy_id, principal, route, key, body_hash, created_at, busy_until, body)
VALUES (%(academy)s, %(principal)s, %(route)s, %(key)s, %(hash)s,
        clock_timestamp(), clock_timestamp() + make_interval(secs => %(busy)s), '')
ON CONFLICT (academy_id, principal, route, key) DO UPDATE SET
  body_hash = excluded.body_hash, created_at = excluded.created_at, busy_until = excluded.busy_until,
  status = NULL, body = ''
WHERE c.created_at < excluded.created_at - make_interval(secs => %(kept)s)
   OR (c.status IS NULL AND c.busy_until < excluded.created_at AND c.body_hash = excluded.body_hash)
RETURNING id, busy_until
"""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Reserved:
    """This request's hold on its key; `busy_until` tells it from a later holder's."""

    id: int
    busy_until: Any


def idempotent(view: Callable[Concatenate[Request, P], R]) -> Callable[..., R | HttpResponse]:
    """Honour Idempotency-Key on a create; without the header the view runs as it is.

    Raises Permanent (422) for another body under the same key, Conflict (409) while the first request is worked on.
    """

    @functools.wraps(view)
    def once(request: Request, *args: P.args, **kwargs: P.kwargs) -> R | HttpResponse:
        key = request.headers.get(HEADER)
        if key is None:
            return view(request, *args, **kwargs)
        if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
            raise Permanent(reason=_BAD_KEY)
        held = _reserve(request, key)
        if isinstance(held, HttpResponse):
            return held
        request.idempotent = held  # type: ignore[attr-defined]  # for keep_answers alone
        return view(request, *args, **kwargs)

    return once


def keep_answers(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: keep the answer of a reserved create, or free its key."""

    def handle(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        held: _Reserved | None = getattr(request, "idempotent", None)
        if held is not None:
            _settle(held, response)
        return response

    return handle


def _reserve(request: Request, key: str) -> _Reserved | HttpResponse:
    if request.resolver_match is None:
        raise TypeError("idempotent wraps a routed view")
    body_hash = hashlib.sha256(request.path.encode() + b"\0" + request.body).digest()
    academy = request.auth.academy
    scope: dict[str, str] = {
        "principal": request.auth.name,
        "route": f"{request.method} {request.resolver_match.route}",
        "key": key,
    }
    values: dict[str, str | int | bytes] = {
        **scope,
        "academy": str(academy),
        "hash": body_hash,
        "busy": BUSY_SECONDS,
        "kept": KEPT_SECONDS,
    }
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(_RESERVE, values)
        row = cursor.fetchone()
    if row is not None:
        return _Reserved(*row)
    # Freed in between: as busy as it was when we asked.
    first = IdempotentCreate.objects.filter(academy_id=academy, **scope).first()
    if first is not None and bytes(first.body_hash) != body_hash:
        raise Permanent(reason=_MISMATCH)
    if first is None or first.status is None:
        raise Conflict(reason=_BUSY)
    return HttpResponse(
        first.body, status=first.status, content_type="application/json; charset=utf-8", headers={REPLAYED: "true"}
    )


def _settle(held: _Reserved, response: HttpResponseBase) -> None:
    ours = IdempotentCreate.objects.filter(pk=held.id, busy_until=held.busy_until)
    created = HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES
    if created and isinstance(response, HttpResponse):
        ours.update(status=response.status_code, body=response.content.decode())
    else:
        ours.delete()
