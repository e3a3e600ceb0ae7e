"""What becomes of the API while its pooler rolls and its database dies: nothing that a patient client would see."""

import time
from typing import Any

import api_load
import exam_e2e
import httpx
import platform_e2e
import pytest
from platform_e2e import Platform, is_ready
from support import wait_until

from academy_local import client

SHOW = "from django.db import connection as c; k = c.cursor(); k.execute('SHOW {}'); print('shown', *k.fetchone())"
BEFORE_SECONDS = 3.0
"""Under load before, and after, what a drill does."""
ROLLOUT_SECONDS = 180
RECOVERY_SECONDS = 180
AGAIN_SECONDS = 30.0
"""The API serves again so soon after the database is back; seen: up to 3.7 s."""


@pytest.fixture
def exam(director: client.Client) -> exam_e2e.Exam:
    return exam_e2e.make(director)


def sends(exam: str) -> list[api_load.Send]:
    """Reads, and writes that may be repeated."""
    path = f"{exam_e2e.EXAMS}/{exam}"

    def read(http: httpx.Client) -> httpx.Response:
        return http.get(path)

    def write(http: httpx.Client) -> httpx.Response:
        return http.patch(path, json={"title": "6월 모의고사"})

    return [read, write, read, write]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("statement_timeout", "25s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")],
)
def test_timeouts_of_the_role_hold_through_the_pooler(platform: Platform, setting: str, value: str) -> None:
    """They are ALTER ROLE's: the pooler would refuse or forget a client's own."""
    command = ("python", "-m", "academy_api.manage", "shell", "-c", SHOW.format(setting))
    shown = platform.run("exec", "deployment/academy-api", "-c", "api", "--", *command)
    assert f"shown {value}" in shown
    assert "academy-pgbouncer" in platform.run("get", "configmap", "academy-api", "-o", "jsonpath={.data.DB_HOST}")


def test_the_pooler_rolls_and_no_request_fails(platform: Platform, exam: exam_e2e.Exam) -> None:
    with api_load.running(*platform.signed_in(exam.director), *sends(exam.id)) as load:
        time.sleep(BEFORE_SECONDS)
        platform.run("rollout", "restart", "deployment/academy-pgbouncer")
        wait = ("rollout", "status", "deployment/academy-pgbouncer", f"--timeout={ROLLOUT_SECONDS}s")
        platform.run(*wait, timeout=2 * ROLLOUT_SECONDS)
        gone = "app.kubernetes.io/component=pgbouncer"
        wait_until(lambda: len(platform.run.get("pods", "-l", gone)["items"]) == 1, ROLLOUT_SECONDS, "the old one ends")
        time.sleep(BEFORE_SECONDS)
    print(f"pooler rolled out: {load}")  # noqa: T201  (a drill tells)
    assert load.requests > 0
    assert load.failed == []


def test_the_database_dies_and_comes_back(platform: Platform, exam: exam_e2e.Exam) -> None:
    """Whoever asks meanwhile is told to come again (503, Retry-After); no API pod restarts or is unready for it."""
    url, headers = platform.signed_in(exam.director)
    before = restarts(platform)
    with api_load.running(url, headers, *sends(exam.id)) as load:
        time.sleep(BEFORE_SECONDS)
        (killed,) = databases(platform)
        platform.run("delete", "pod", platform_e2e.DATABASE_POD, "--grace-period=1")
        wait_until(
            lambda: any(is_ready(pod) for pod in databases(platform) if uid(pod) != uid(killed)),
            RECOVERY_SECONDS,
            "another pod of that name is ready",
        )
        back = time.monotonic()
        with httpx.Client(base_url=url, headers=headers, timeout=api_load.REQUEST_SECONDS) as http:
            wait_until(
                lambda: http.get(f"{exam_e2e.EXAMS}/{exam.id}").is_success,
                AGAIN_SECONDS,
                f"the API serves again; so far: {load}",
            )
        again = time.monotonic() - back
        time.sleep(BEFORE_SECONDS)
    print(f"database killed: served again {again:.1f} s after it was ready; {load}")  # noqa: T201  (a drill tells)
    assert set(load.raw) <= {"503, Retry-After"}
    assert restarts(platform) == before
    assert platform.available("academy-api")


def databases(platform: Platform) -> list[dict[str, Any]]:
    """The database's pod; none between one and the next."""
    found: list[dict[str, Any]] = platform.run.get(
        "pods", "--field-selector", f"metadata.name={platform_e2e.DATABASE_POD}"
    )["items"]
    return found


def uid(pod: dict[str, Any]) -> str:
    """Tells it from another one of the same name."""
    return str(pod["metadata"]["uid"])


def restarts(platform: Platform) -> dict[str, int]:
    """Of every API pod, by name."""
    pods = platform.run.pods("app.kubernetes.io/component=api")
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}
