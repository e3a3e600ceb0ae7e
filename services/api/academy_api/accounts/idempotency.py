"""Idempotency-Key on creates: the same request sent twice creates once and gets the first answer.

    @router.post("/lectures", response={201: LectureOut}, auth=require(Scope.LECTURES_WRITE))
    @idempotent
    def create(request: Request, body: LectureIn) -> Status[LectureOut]: …

A key is scoped to academy, principal and route, bound to the hash of path and body, and kept for 24 hours. What the
view creates and the answer about it are one transaction: a process that dies leaves both or neither. A create that
fails leaves its key free. The view therefore talks to the database alone (`database.guard` sees to that).
"""

import functools
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from django.db import connection, transaction
from django.http import HttpResponse
from django.utils import timezone
from ninja import Schema, Status
from ninja.responses import Response

from academy_api.accounts.auth import Request
from academy_api.accounts.models import IdempotentCreate
from academy_core.errors import Conflict, Permanent, Reason

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_SECONDS = 24 * 3600
MAX_KEY = 128
_CONTENT_TYPE = "application/json; charset=utf-8"

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

P = ParamSpec("P")
S = TypeVar("S", bound=Schema)


def idempotent(
    view: Callable[Concatenate[Request, P], Status[S]],
) -> Callable[..., Status[S] | HttpResponse]:
    """Honour Idempotency-Key on a create; without the header the view runs as it is.

    Raises Permanent (422) for another body under the same key, Conflict (409) while the first request is worked on.
    """

    @functools.wraps(view)
    def once(request: Request, *args: P.args, **kwargs: P.kwargs) -> Status[S] | HttpResponse:
        key = request.headers.get(HEADER)
        if key is None:
            return view(request, *args, **kwargs)
        if not (0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable()):
            raise Permanent(reason=_BAD_KEY)
        scope = _scope(request, key)
        body_hash = hashlib.sha256(request.path.encode() + b"\0" + request.body).digest()
        with transaction.atomic(durable=True):
            _lock(scope)
            first = _kept(scope, body_hash)
            if first is not None:
                return first
            made = view(request, *args, **kwargs)
            answer = Response(made.value.model_dump(), status=made.status_code, content_type=_CONTENT_TYPE)
            _keep(scope, body_hash, answer)
        return answer

    return once


def _scope(request: Request, key: str) -> dict[str, Any]:
    if request.resolver_match is None:
        raise TypeError("idempotent wraps a routed view")
    return {
        "academy_id": request.auth.academy,
        "principal": request.auth.name,
        "route": f"{request.method} {request.resolver_match.route}",
        "key": key,
    }


def _lock(scope: dict[str, Any]) -> None:
    """Hold the scope until the transaction ends; Conflict when another request holds it (a dead one holds nothing)."""
    name = hashlib.sha256("\0".join(map(str, scope.values())).encode()).digest()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int.from_bytes(name[:8], signed=True)])
        if cursor.fetchone() != (True,):
            raise Conflict(reason=_BUSY)


def _kept(scope: dict[str, Any], body_hash: bytes) -> HttpResponse | None:
    first = IdempotentCreate.objects.filter(**scope, created_at__gt=_oldest()).first()
    if first is None:
        return None
    if bytes(first.body_hash) != body_hash:
        raise Permanent(reason=_MISMATCH)
    return HttpResponse(first.body, status=first.status, content_type=_CONTENT_TYPE, headers={REPLAYED: "true"})


def _keep(scope: dict[str, Any], body_hash: bytes, answer: HttpResponse) -> None:
    """Keep the answer, in the place of one whose time is over."""
    IdempotentCreate.objects.update_or_create(
        **scope,
        defaults={
            "body_hash": body_hash,
            "created_at": timezone.now(),
            "status": answer.status_code,
            "body": answer.content.decode(),
        },
    )


def _oldest() -> Any:
    return timezone.now() - timedelta(seconds=KEPT_SECONDS)
