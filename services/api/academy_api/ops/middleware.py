"""What every request passes: its id and log line, problem+json for errors, security headers."""

import re
import time
import uuid
from collections.abc import Callable
from http import HTTPStatus

import structlog
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from academy_api import problems
from academy_api.ops import metrics

GetResponse = Callable[[HttpRequest], HttpResponseBase]

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{6,64}")
_QUIET = frozenset({"/health", "/ready", "/metrics"})
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
_DJANGOS_OWN = (Http404, BadRequest, PermissionDenied, SuspiciousOperation)
_log = structlog.get_logger(__name__)


def request_log(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give the request its id (`request.request_id`, bound to every log line, answered), then log and measure it.

    A caller's X-Request-ID is taken when it is 6 to 64 letters, digits, dots, dashes or underscores.
    """

    def handle(request: HttpRequest) -> HttpResponseBase:
        asked = request.headers.get("X-Request-ID", "")
        request_id = asked if _SANE_ID.fullmatch(asked) else uuid.uuid4().hex
        request.request_id = request_id  # type: ignore[attr-defined]  # typed in accounts.auth.Request
        # A keep-alive connection is one greenlet: what the last request bound must not stay.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        start = time.perf_counter()
        with metrics.active_requests.track_inprogress():
            response = get_response(request)
        seconds = time.perf_counter() - start
        response["X-Request-ID"] = request_id
        metrics.observe(request, response.status_code, seconds)
        if request.path not in _QUIET:
            milliseconds = round(seconds * 1000, 1)
            _log.info(
                "http_request",
                method=request.method,
                path=request.path,
                status=response.status_code,
                duration_ms=milliseconds,
            )
        return response

    return handle


def security_headers(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase]:
    """Add a content security policy and keep answers of the API out of caches unless the view said otherwise."""

    def handle(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        is_page = response.get("Content-Type", "").startswith("text/html")
        response.headers.setdefault("Content-Security-Policy", _PAGE_POLICY if is_page else _API_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return handle


class Problems:
    """Turn what Django alone would answer as HTML into problem+json."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Replace a bare error answer; headers such as Allow stay."""
        response = self._get_response(request)
        is_error = response.status_code >= HTTPStatus.BAD_REQUEST
        if not is_error or response.get("Content-Type", "") == problems.CONTENT_TYPE:
            return response
        replaced = problems.of_status(request, response.status_code)
        for name in ("Allow", "Retry-After"):
            if name in response:
                replaced[name] = response[name]
        return replaced

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Answer for an exception that left a view; Django's own (404 and such) come back as an answer above."""
        if isinstance(error, _DJANGOS_OWN):
            return None
        return problems.of_exception(request, error)
