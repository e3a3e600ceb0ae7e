"""Health, readiness, metrics, request ids, problem+json, security headers, docs page, deploy checks."""

import os
import re
import subprocess
import sys

import boto3
import httpx
import pytest
from api_support import World, signed_in, stranger
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from academy_api.database import guard
from academy_api.ops import views


@pytest.fixture(autouse=True)
def _fresh_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "readiness", views.Readiness())


def test_health_asks_no_database() -> None:
    assert stranger().call("GET", "/health").json() == {"status": "ok"}  # pytest-django refuses any query here


@pytest.mark.django_db
def test_ready_only_once_all_migrations_are_there() -> None:
    applied = MigrationRecorder.Migration.objects.filter(app="accounts").latest("id")
    key = applied.pk
    applied.delete()
    answer = stranger().call("GET", "/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "migrations-pending")
    applied.pk = key
    applied.save()
    assert stranger().call("GET", "/ready").status_code == 200
    applied.delete()
    assert stranger().call("GET", "/ready").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/ready", "/metrics"])
def test_what_came_through_the_load_balancer_learns_nothing(path: str) -> None:
    assert stranger().call("GET", path, X_Forwarded_For="203.0.113.9").status_code == 404
    assert stranger().call("GET", path).status_code == 200


@pytest.mark.django_db
def test_metrics_count_requests_by_route() -> None:
    stranger().call("GET", "/api/v1/people/00000000-0000-0000-0000-000000000000")
    text = stranger().call("GET", "/metrics").content.decode()
    assert 'api_requests_total{method="GET",route="api/v1/people/<uuidstr:membership>",status="401"}' in text, (
        re.findall("api_requests_total.*", text)
    )


@pytest.mark.parametrize(
    ("sent", "taken"), [("abc123", True), ("a" * 64, True), ("short", False), ("a" * 65, False), ("x y\tz0", False)]
)
def test_a_sane_request_id_is_kept_and_any_other_replaced(sent: str, taken: bool) -> None:  # noqa: FBT001
    answer = stranger().call("GET", "/health", X_Request_ID=sent)
    assert (answer["X-Request-ID"] == sent) is taken
    assert re.fullmatch(r"[A-Za-z0-9._-]{6,64}", answer["X-Request-ID"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("GET", "/api/v1/nowhere", 404, "not-found"),
        ("PUT", "/api/v1/people", 405, "method-not-allowed"),
        ("GET", "/internal/v1/claim", 405, "method-not-allowed"),
    ],
)
def test_djangos_own_errors_are_problems_too(method: str, path: str, status: int, code: str) -> None:
    answer = stranger().call(method, path, X_Request_ID="request-1")
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"], body["request_id"]) == (status, status, code, "request-1")
    if status == 405:
        assert answer["Allow"]


@pytest.mark.django_db
def test_a_wrong_body_names_its_fields_in_both_languages() -> None:
    answer = stranger().call("POST", "/api/v1/session", {"email": "no", "extra": 1}, Accept_Language="en-GB")
    body = answer.json()
    assert (answer.status_code, body["code"], body["detail"]) == (422, "invalid-request", body["en"])
    fields = {error["field"].rsplit(".", 1)[-1]: error for error in body["errors"]}
    assert {"email", "password", "extra"} == fields.keys()
    assert fields["password"]["ko"] == "꼭 필요한 값입니다."
    assert all(error["ko"] and error["en"] for error in body["errors"])


def test_an_unexpected_error_is_a_problem_without_its_text(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    api = signed_in(world.director)

    def broken(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("academy_api.accounts.api.page", broken)
    answer = api.call("GET", "/api/v1/people")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "secret detail" not in answer.content.decode()


@pytest.mark.django_db
def test_the_docs_page_needs_nothing_from_elsewhere() -> None:
    page = stranger().call("GET", "/api/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert links
    for link in links:
        assert link.startswith("/api/static/")
        assert stranger().call("GET", link).status_code == 200
    assert "script-src" not in page["Content-Security-Policy"]
    assert page["Content-Security-Policy"].startswith("default-src 'self'")


def test_answers_carry_security_headers() -> None:
    answer = stranger().call("GET", "/health")
    assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cache-Control"] == "no-store"


def test_the_deploy_check_is_clean() -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "academy_api.settings",
        "SITE_URL": "https://academy.example.com",
        "TRUSTED_PROXIES": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "academy_api.manage", "check", "--deploy", "--fail-level", "WARNING"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db(transaction=True)
def test_no_network_call_inside_a_transaction() -> None:
    s3 = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:1", region_name="auto", aws_access_key_id="x", aws_secret_access_key="x"
    )
    with transaction.atomic(), pytest.raises(guard.NetworkInTransaction):
        s3.list_buckets()
    with transaction.atomic(), pytest.raises(guard.NetworkInTransaction):
        httpx.get("http://127.0.0.1:1/")
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:1/")
    assert connection.connection is None  # given back to the pool before the call
