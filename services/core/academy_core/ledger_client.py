"""The worker's way to the ledger: the worker endpoints over HTTP (see academy_core.ledger for paths and models).

Thread-safe, over one connection pool. A call that got no answer is repeated once at once: it carries its lease secret,
so the repeat is recognised, and most often only a kept connection had been closed. Everything longer is the worker
loop's to wait for, since it has a message to keep in flight meanwhile.
"""

from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from academy_core.errors import AcademyError, ApiUnavailable, LeaseLost, Permanent
from academy_core.ledger import (
    ClaimAnswer,
    ClaimRequest,
    CompleteAnswer,
    CompleteRequest,
    FailRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    ReleaseRequest,
)

A = TypeVar("A", bound=BaseModel)

_WAIT = frozenset({401, 403, 404, 408, 425, 429})
"""Not the task's fault: a token being rotated, an API being rolled out or throttling. As with 5xx, wait."""


def _refusal(response: httpx.Response) -> AcademyError:
    """The error tree's error for an answer that is not 2xx (RFC 9457 body, or any other)."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    code = str(problem.get("code", "")) if isinstance(problem, dict) else ""
    told = f"{response.request.method} {response.request.url.path}: {response.status_code} {code}".rstrip()
    if response.status_code == httpx.codes.CONFLICT and code == LeaseLost.default.code:
        return LeaseLost(told)
    if response.is_client_error and response.status_code not in _WAIT:
        return Permanent(told)
    return ApiUnavailable(told)


class HttpLedger:
    """Ledger over HTTP. Close it, or use it as a context manager's value with contextlib.closing."""

    def __init__(
        self, base_url: str, token: str, *, timeout: float = 10.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`base_url`: API_BASE_URL. `token`: INTERNAL_WORKER_TOKEN. `timeout`: seconds for a whole answer's parts."""
        self._http = httpx.Client(
            base_url=f"{base_url.rstrip('/')}/internal/v1",
            headers={"Authorization": f"Bearer {token}", "User-Agent": "academy-worker"},
            timeout=httpx.Timeout(timeout, connect=5.0),
            limits=httpx.Limits(max_connections=20, keepalive_expiry=30.0),
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, path: str, body: BaseModel | None = None) -> httpx.Response:
        content = None if body is None else body.model_dump_json()
        once_more = Retrying(
            stop=stop_after_attempt(2),
            retry=retry_if_exception_type((httpx.NetworkError, httpx.RemoteProtocolError)),
            reraise=True,
        )
        try:
            response = once_more(self._http.post, path, content=content, headers={"Content-Type": "application/json"})
        except httpx.TransportError as error:
            raise ApiUnavailable(f"POST {path}: {type(error).__name__}") from error
        if not response.is_success:
            raise _refusal(response)
        return response

    def _ask(self, path: str, body: BaseModel, answer: type[A]) -> A:
        response = self._post(path, body)
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:  # an API of another version, or a proxy's page
            raise ApiUnavailable(f"POST {path}: an answer that is not {answer.__name__}") from error

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """See Ledger.claim."""
        return self._ask("/claim", request, ClaimAnswer)

    def heartbeat(self, task: int, request: HeartbeatRequest) -> HeartbeatAnswer:
        """See Ledger.heartbeat."""
        return self._ask(f"/tasks/{task}/heartbeat", request, HeartbeatAnswer)

    def complete(self, task: int, request: CompleteRequest) -> CompleteAnswer:
        """See Ledger.complete."""
        return self._ask(f"/tasks/{task}/complete", request, CompleteAnswer)

    def fail(self, task: int, request: FailRequest) -> None:
        """See Ledger.fail."""
        self._post(f"/tasks/{task}/fail", request)

    def release(self, task: int, request: ReleaseRequest) -> None:
        """See Ledger.release."""
        self._post(f"/tasks/{task}/release", request)

    def probe(self) -> None:
        """See Ledger.probe."""
        self._post("/probe")
