"""The worker endpoints over HTTP: tokens by class, the wire models, problem+json."""

from collections.abc import Iterator
from typing import Any

import ledger_support as support
import pytest
from django.conf import settings
from django.test import Client

from academy_api.ledger import outbox, sql, tokens
from academy_api.settings import config
from academy_core.errors import NotAuthenticated
from academy_core.kinds import WorkerClass
from academy_core.settings import split_tokens

pytestmark = pytest.mark.django_db

VIDEO = split_tokens(config.INTERNAL_WORKER_TOKENS_VIDEO)[0]
AI_CPU = split_tokens(config.INTERNAL_WORKER_TOKENS_AI_CPU)[0]
RELAY = split_tokens(config.INTERNAL_WORKER_TOKENS_RELAY)[0]
PATHS = ["claim", "probe", "tasks/1/heartbeat", "tasks/1/complete", "tasks/1/fail", "tasks/1/release"]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    support.HOOKS.seen.clear()
    support.reset_clock()
    yield
    outbox.start_fast_path(None)


def post(path: str, body: Any = None, token: str | None = VIDEO) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return client.post(f"/internal/v1/{path}", body or {}, content_type="application/json", headers=headers)


def claim_body(**changes: Any) -> dict[str, Any]:
    accepts = {"kinds": {"test.short": [1], "test.bulk": [1]}}
    return {"queue": "video", "accepts": accepts, "worker": "w", "secret": support.secret()} | changes


def test_a_task_from_claim_to_completion() -> None:
    support.submit()
    body = claim_body()
    task = post("claim", body).json()["task"]
    report = {"attempt": task["attempt"], "secret": body["secret"]}
    beat = post(f"tasks/{task['task']}/heartbeat", report | {"progress": {"percent": 10}})
    assert (beat.status_code, beat.json()) == (200, {"lease_seconds": 30})
    done = post(f"tasks/{task['task']}/complete", report | {"result": {"n": 1}})
    assert (done.status_code, done.json()) == (200, {"next": None})
    assert post("claim", claim_body()).json() == {"task": None}


def test_fail_and_release_answer_nothing() -> None:
    for path, extra in (
        ("release", {}),
        ("fail", {"permanent": True, "code": "x", "reason_ko": "가", "reason_en": "a"}),
    ):
        support.submit()
        body = claim_body()
        task = post("claim", body).json()["task"]
        answer = post(f"tasks/{task['task']}/{path}", {"attempt": task["attempt"], "secret": body["secret"]} | extra)
        assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong-token-of-more-than-32-characters", AI_CPU[:-1]])
def test_strangers_are_refused_everywhere(path: str, token: str | None) -> None:
    answer = post(path, claim_body(), token)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not-authenticated"


@pytest.mark.parametrize("path", PATHS)
def test_only_post_is_answered(path: str) -> None:
    assert Client().get(f"/internal/v1/{path}").status_code == 405


@pytest.mark.parametrize("token", [AI_CPU, RELAY])
def test_another_class_gets_nothing_from_the_queue(token: str) -> None:
    support.submit()
    answer = post("claim", claim_body(), token)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    lease = support.must_claim()
    report = {"attempt": lease.task.attempt, "secret": lease.secret}
    assert post(f"tasks/{lease.task.task}/heartbeat", report, token).status_code == 403


def test_a_lost_lease_is_409_with_its_code() -> None:
    support.submit()
    lease = support.must_claim()
    answer = post(f"tasks/{lease.task.task}/heartbeat", {"attempt": 9, "secret": lease.secret})
    assert (answer.status_code, answer.json()["code"]) == (409, "lease-lost")


@pytest.mark.parametrize("body", [{}, {"queue": "video"}, claim_body(unknown=1), claim_body(secret="short")])
def test_a_body_that_does_not_fit_is_422_and_shows_no_secret(body: dict[str, Any]) -> None:
    answer = post("claim", body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-request-body")
    assert str(body.get("secret", "-absent-")) not in answer.content.decode()


def test_a_body_over_the_limit_is_422(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("academy_api.ledger.views.MAX_BODY_BYTES", 100)
    assert post("claim", claim_body()).status_code == 422


def test_the_probe_reaches_the_database_with_the_relays_token() -> None:
    assert post("probe", token=RELAY).status_code == 204


def test_several_tokens_of_a_class_are_accepted_at_once() -> None:
    rotating = config.model_copy(
        update={"INTERNAL_WORKER_TOKENS_VIDEO": type(config.INTERNAL_WORKER_TOKENS_VIDEO)(f"{'n' * 32},{VIDEO}")}
    )
    known = tokens.accepted(rotating)
    assert [worker_class for _, worker_class in known].count(WorkerClass.VIDEO) == 2


@pytest.mark.parametrize("header", ["", "Bearer", f"Basic {VIDEO}", VIDEO])
def test_only_a_bearer_token_is_one(header: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.worker_class_of(header)


def test_secrets_and_tokens_are_not_in_the_database() -> None:
    support.submit()
    body = claim_body()
    post("claim", body)
    stored = str(sql.rows("SELECT t::text FROM ledger_task t", {}))
    assert body["secret"] not in stored
    assert VIDEO not in stored
    assert settings.SECRET_KEY not in stored
