"""Errors to a machine: RFC 9457 `application/problem+json`, one shape for every address of the API.

`ops.middleware.Problems` and the ninja exception handlers (`ninja_api`) turn every exception, and every bare error
answer of Django's, into `problem(...)`. Sentences come in Korean and English; `detail` is the one that the caller's
Accept-Language asks for.
"""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from ninja.errors import ValidationError
from psycopg2 import errorcodes

from academy_core import errors
from academy_core.errors import Reason

CONTENT_TYPE = "application/problem+json"
DATABASE_RETRY_SECONDS = 5

_log = structlog.get_logger(__name__)

UNSTORABLE = Reason(
    "unstorable-character",
    "보낸 내용에 저장할 수 없는 문자가 있습니다. 지우고 다시 보내 주세요.",
    "The request has a character that cannot be stored (NUL, or half of a surrogate pair). Please remove it.",
)
INVALID = Reason("invalid-request", "보낸 내용을 확인해 주세요.", "Please check what you sent.")
_BY_STATUS = {
    HTTPStatus.BAD_REQUEST: Reason("bad-request", "요청을 이해할 수 없습니다.", "The request cannot be understood."),
    HTTPStatus.UNAUTHORIZED: errors.NotAuthenticated.default,
    HTTPStatus.FORBIDDEN: errors.NotAllowed.default,
    HTTPStatus.NOT_FOUND: errors.NotFound.default,
    HTTPStatus.METHOD_NOT_ALLOWED: Reason(
        "method-not-allowed", "이 주소에서 지원하지 않는 요청 방식입니다.", "This address does not take that method."
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Reason("too-large", "보낸 내용이 너무 큽니다.", "The request is too large."),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Reason(
        "not-json", "본문은 application/json으로 보내 주세요.", "Please send the body as application/json."
    ),
    HTTPStatus.UNPROCESSABLE_ENTITY: INVALID,
}
# What went wrong with one field, by pydantic's error type; anything else is `_WRONG`.
_FIELD = {
    "missing": ("꼭 필요한 값입니다.", "This value is required."),
    "extra_forbidden": ("알 수 없는 항목입니다.", "This field is not known."),
    "string_too_short": ("너무 짧습니다.", "This is too short."),
    "string_too_long": ("너무 깁니다.", "This is too long."),
    "enum": ("고를 수 없는 값입니다.", "This is not one of the choices."),
    "literal_error": ("고를 수 없는 값입니다.", "This is not one of the choices."),
    "json_invalid": ("JSON 형식이 아닙니다.", "This is not valid JSON."),
    "greater_than": ("너무 작습니다.", "This is too small."),
    "greater_than_equal": ("너무 작습니다.", "This is too small."),
    "less_than": ("너무 큽니다.", "This is too large."),
    "less_than_equal": ("너무 큽니다.", "This is too large."),
}
_WRONG = ("값이 올바르지 않습니다.", "This value is not valid.")


def problem(
    request: HttpRequest,
    status: HTTPStatus,
    reason: Reason,
    *,
    fields: Sequence[Mapping[str, str]] = (),
    retry_after: int | None = None,
) -> HttpResponse:
    """Build the answer. `fields` names what is wrong in the body or query; `retry_after` is in seconds."""
    body: dict[str, Any] = {
        "type": f"urn:academy:problem:{reason.code}",
        "title": status.phrase,
        "status": status.value,
        "detail": reason.en if _wants_english(request) else reason.ko,
        "instance": request.path,
        "code": reason.code,
        "ko": reason.ko,
        "en": reason.en,
        "request_id": getattr(request, "request_id", ""),
    }
    if fields:
        body["errors"] = list(fields)
    response = HttpResponse(json.dumps(body, ensure_ascii=False), status=status, content_type=CONTENT_TYPE)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    if status is HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = "Bearer"
    return response


def of_status(request: HttpRequest, status: int) -> HttpResponse:
    """Answer for a bare error status (Django's own 404, ninja's 405 …)."""
    known = HTTPStatus(status)
    return problem(request, known, _BY_STATUS.get(known, errors.AcademyError.default))


def of_exception(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    """Answer for an exception: ours by its type, a lost database as 503, a validation by its fields, else 500."""
    match error:
        case errors.AcademyError():
            return _of_ours(request, error)
        case ValidationError():
            fields = [_field(fault) for fault in error.errors]
            return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, INVALID, fields=fields)
        case DataError() | ValueError() if _unstorable(error):
            return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, UNSTORABLE)
        case OperationalError() | InterfaceError():
            _log.error("database_unavailable", error=str(error).strip())
            default = errors.Retryable.default
            retry_after = DATABASE_RETRY_SECONDS
            return problem(request, HTTPStatus.SERVICE_UNAVAILABLE, default, retry_after=retry_after)
        case _:
            _log.error("unhandled_exception", exc_info=error)
            return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, errors.AcademyError.default)


def _unstorable(error: Exception) -> bool:
    """Whether a text was refused for its characters: the caller's doing, wherever in a request it stood."""
    if isinstance(error, DataError):
        return getattr(error.__cause__, "pgcode", None) == errorcodes.UNTRANSLATABLE_CHARACTER
    return isinstance(error, UnicodeEncodeError) or "NUL (0x00)" in str(error)


def _of_ours(request: HttpRequest, error: errors.AcademyError) -> HttpResponse:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("request_failed", exc_info=error)
    elif error.detail:
        _log.info("request_refused", code=error.reason.code, detail=error.detail)
    retry_after = None
    if isinstance(error, errors.TooManyRequests):
        retry_after = error.retry_after
    elif error.retryable:
        retry_after = DATABASE_RETRY_SECONDS
    return problem(request, error.status, error.reason, retry_after=retry_after)


def _field(fault: Mapping[str, Any]) -> dict[str, str]:
    ko, en = _FIELD.get(str(fault["type"]), _WRONG)
    return {"field": ".".join(map(str, fault["loc"])), "code": str(fault["type"]), "ko": ko, "en": en}


def _wants_english(request: HttpRequest) -> bool:
    """True when the first language of Accept-Language is not Korean. No header means Korean."""
    first = request.headers.get("Accept-Language", "").split(",")[0].strip().lower()
    return bool(first) and first != "*" and not first.startswith("ko")
