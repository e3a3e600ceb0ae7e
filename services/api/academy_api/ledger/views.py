"""The worker endpoints: HTTP around `PostgresLedger`, as `academy_core.ledger` lays down.

Plain Django views, because workers call them all the time: the body goes straight into the wire model and the answer
straight out of it. Errors are raised; the API's one handler turns them into problem+json.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BaseModel, ValidationError

from academy_api.ledger import tokens
from academy_api.ledger.leases import PostgresLedger
from academy_core.errors import Permanent, Reason
from academy_core.ledger import ClaimRequest, CompleteRequest, FailRequest, HeartbeatRequest, ReleaseRequest

M = TypeVar("M", bound=BaseModel)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""2,000 children with 4 KB of input each; what is larger would hold the event loop while it is parsed."""

BAD_BODY = Reason(
    "bad-request-body",
    "요청 본문이 올바르지 않습니다. 워커와 API의 버전을 확인해 주세요.",
    "The request body does not fit. Check that worker and API are of matching versions.",
)


def _endpoint(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A worker endpoint: POST only, no cookie is ever read, so there is nothing to forge."""
    endpoint: Callable[..., HttpResponse] = csrf_exempt(require_POST(view))
    return endpoint


def _ledger(request: HttpRequest) -> PostgresLedger:
    return PostgresLedger(tokens.worker_class_of(request.headers.get("Authorization", "")))


def _body(request: HttpRequest, model: type[M]) -> M:
    raw = request.read(MAX_BODY_BYTES + 1)
    if len(raw) > MAX_BODY_BYTES:
        raise Permanent(f"body over {MAX_BODY_BYTES} bytes", reason=BAD_BODY)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise Permanent(f"{model.__name__}: {fault['loc']}: {fault['msg']}", reason=BAD_BODY) from None


def _json(answer: BaseModel) -> HttpResponse:
    return HttpResponse(answer.model_dump_json(), content_type="application/json")


def _nothing() -> HttpResponse:
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


@_endpoint
def claim(request: HttpRequest) -> HttpResponse:
    """ClaimRequest -> ClaimAnswer."""
    ledger = _ledger(request)
    return _json(ledger.claim(_body(request, ClaimRequest)))


@_endpoint
def heartbeat(request: HttpRequest, task: int) -> HttpResponse:
    """HeartbeatRequest -> HeartbeatAnswer."""
    ledger = _ledger(request)
    return _json(ledger.heartbeat(task, _body(request, HeartbeatRequest)))


@_endpoint
def complete(request: HttpRequest, task: int) -> HttpResponse:
    """CompleteRequest -> CompleteAnswer."""
    ledger = _ledger(request)
    return _json(ledger.complete(task, _body(request, CompleteRequest)))


@_endpoint
def fail(request: HttpRequest, task: int) -> HttpResponse:
    """FailRequest -> 204."""
    ledger = _ledger(request)
    ledger.fail(task, _body(request, FailRequest))
    return _nothing()


@_endpoint
def release(request: HttpRequest, task: int) -> HttpResponse:
    """ReleaseRequest -> 204."""
    ledger = _ledger(request)
    ledger.release(task, _body(request, ReleaseRequest))
    return _nothing()


@_endpoint
def probe(request: HttpRequest) -> HttpResponse:
    """Nothing -> 204, through API, pooler and database."""
    _ledger(request).probe()
    return _nothing()
