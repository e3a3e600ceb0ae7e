"""HttpLedger: what is sent, and which answer becomes which error."""

from collections.abc import Callable

import httpx
import pytest

from academy_core.errors import AcademyError, ApiUnavailable, LeaseLost, Permanent
from academy_core.kinds import Queue
from academy_core.ledger import Accepts, ClaimRequest, CompleteRequest, FailRequest, HeartbeatRequest, ReleaseRequest
from academy_core.ledger_client import HttpLedger

SECRET = "s" * 40
CLAIM = ClaimRequest(queue=Queue.VIDEO, accepts=Accepts(kinds={"k": (1,)}), worker="w", secret=SECRET)
LEASE = {"attempt": 1, "secret": SECRET}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> HttpLedger:
    return HttpLedger("http://api/", "token-of-the-class", transport=httpx.MockTransport(answer))


def test_each_call_has_its_path_and_the_token() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer token-of-the-class"
        seen.append(request.url.path)
        bodies = {"claim": {"task": None}, "heartbeat": {}, "complete": {}}
        last = request.url.path.rsplit("/", 1)[1]
        return httpx.Response(200, json=bodies[last]) if last in bodies else httpx.Response(204)

    ledger = client(answer)
    assert ledger.claim(CLAIM).task is None
    assert ledger.heartbeat(7, HeartbeatRequest(attempt=1, secret=SECRET)).lease_seconds == 30
    assert ledger.complete(7, CompleteRequest(attempt=1, secret=SECRET, result={})).next is None
    ledger.fail(7, FailRequest(attempt=1, secret=SECRET, permanent=True, code="c", reason_ko="k", reason_en="e"))
    ledger.release(7, ReleaseRequest(attempt=1, secret=SECRET))
    ledger.probe()
    ledger.close()
    base = "/internal/v1"
    tasks = [f"{base}/tasks/7/{what}" for what in ("heartbeat", "complete", "fail", "release")]
    assert seen == [f"{base}/claim", *tasks, f"{base}/probe"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (409, {"code": "lease-lost"}, LeaseLost),
        (409, {"code": "conflict"}, Permanent),
        (409, ["not a problem"], Permanent),
        (422, {"code": "bad-input"}, Permanent),
        (401, {}, ApiUnavailable),
        (404, {}, ApiUnavailable),
        (429, {}, ApiUnavailable),
        (500, {}, ApiUnavailable),
        (503, {}, ApiUnavailable),
    ],
)
def test_refusals(status: int, body: object, error: type[AcademyError]) -> None:
    with pytest.raises(error) as caught:
        client(lambda _request: httpx.Response(status, json=body)).claim(CLAIM)
    assert type(caught.value) is error
    assert SECRET not in str(caught.value)


def test_a_page_instead_of_an_answer_is_unavailable() -> None:
    for status in (200, 502):
        with pytest.raises(ApiUnavailable):
            client(lambda _request, status=status: httpx.Response(status, text="<html>")).claim(CLAIM)  # type: ignore[misc]


def test_a_lost_answer_is_repeated_once_with_the_same_secret() -> None:
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) == 1:
            raise httpx.RemoteProtocolError("server closed the connection")
        return httpx.Response(200, json={"task": None})

    client(answer).claim(CLAIM)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(("error", "calls"), [(httpx.ConnectError, 2), (httpx.ReadTimeout, 1)])
def test_no_answer_is_unavailable(error: type[httpx.TransportError], calls: int) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        raise error("no")

    with pytest.raises(ApiUnavailable):
        client(answer).probe()
    assert len(seen) == calls
