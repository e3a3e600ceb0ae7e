"""The API under real gunicorn and gevent: pool bound, password hashing, a lost database, shutdown."""

import json
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg2
import pytest
from api_support import PASSWORD, World, make_member
from django.db import connection
from gunicorn_support import SECONDS, Served, serve
from support import wait_until

from academy_api.accounts.access import Role
from academy_api.accounts.models import Invitation
from academy_local.servers.pgbouncer import PgBouncer

HERE = str(Path(__file__).parent)


def _database() -> dict[str, str]:
    """The test database's address, for a child process."""
    values = connection.settings_dict
    return {"DB_NAME": values["NAME"], "DB_HOST": values["HOST"], "DB_PORT": str(values["PORT"])}


def _backends() -> int:
    """Connections of the test database but our own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def _ask(method: str, url: str, **more: Any) -> httpx.Response:
    """One request, whose answer may take its time."""
    return httpx.request(method, url, timeout=SECONDS, **more)


def _status(url: str) -> int:
    """Status of one GET over a connection of its own (httpx costs too much CPU for 500 threads)."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310 - our own loopback server
        return int(answer.status)


def _patient_status(url: str) -> int:
    """As a client should: a full pool's 503 names when to ask again, and the client does, within a minute."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return _status(url)
        except urllib.error.HTTPError as refused:
            if refused.code != HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(int(refused.headers["Retry-After"]))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("max_age", ["0", "1"])
def test_500_requests_at_once_stay_within_the_pool_and_leave_nothing_open(tmp_path: Path, max_age: str) -> None:
    bound, peak = 5, 0
    environment = {**_database(), "DB_MAX_CONCURRENCY": str(bound), "DB_CONN_MAX_AGE": max_age, "PYTHONPATH": HERE}
    with serve(tmp_path, "loadapp", GUNICORN_WORKERS="1", **environment) as served:
        before = _backends()
        with ThreadPoolExecutor(500) as pool:
            answers = [pool.submit(_patient_status, f"{served.base}/hold") for _ in range(500)]
            while not all(answer.done() for answer in answers):
                peak = max(peak, _backends() - before)
                time.sleep(0.02)
        assert {answer.result() for answer in answers} == {200}
        assert 1 < peak <= bound
        assert served.metric("api_db_connections_lent") == 0
        if max_age == "0":
            wait_until(lambda: _backends() == before, SECONDS, "connections stayed open")
        else:
            assert _backends() - before <= bound


def _sign_in(served: Served, email: str) -> int:
    body = json.dumps({"email": email, "password": PASSWORD}).encode()
    request = urllib.request.Request(  # noqa: S310 - our own loopback server
        f"{served.base}/api/v1/session", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return int(answer.status)


def _processor_seconds(process: psutil.Process) -> float:
    """What it has used so far, all its threads together."""
    used = process.cpu_times()
    return float(used.user + used.system)


@pytest.mark.django_db(transaction=True)
def test_50_sign_ins_at_once_do_not_hold_up_the_loop(tmp_path: Path, world: World) -> None:
    people = [make_member(world.academy, Role.STUDENT, f"s{number}").person.email for number in range(50)]
    with serve(tmp_path, GUNICORN_WORKERS="1", **_database()) as served:
        (worker,) = psutil.Process(served.process.pid).children()
        beats: list[float] = []
        burnt: list[float] = []
        done = threading.Event()

        def beat() -> None:
            with httpx.Client(base_url=served.base, timeout=SECONDS) as client:
                while not done.is_set():
                    start, before = time.perf_counter(), _processor_seconds(worker)
                    client.get("/health").raise_for_status()
                    beats.append(time.perf_counter() - start)
                    burnt.append(_processor_seconds(worker) - before)
                    done.wait(0.01)

        began = _processor_seconds(worker)
        heart = threading.Thread(target=beat)
        heart.start()
        start = time.perf_counter()
        try:
            with ThreadPoolExecutor(50) as pool:
                statuses = list(pool.map(lambda email: _sign_in(served, email), people))
            seconds = time.perf_counter() - start
        finally:
            done.set()
            heart.join()
        whole = _processor_seconds(worker) - began
        assert statuses == [200] * 50
        p99 = sorted(beats)[int(len(beats) * 0.99)]
        # The figure itself is for the reader of the log: other work on the machine moves it.
        print(f"sign_ins_s={seconds:.2f} beats={len(beats)} p99_ms={p99 * 1000:.1f} max_ms={max(beats) * 1000:.1f}")  # noqa: T201
        # Hashes on the loop would come in one go, and nearly all of them while one beat waits. Of the processor's time,
        # which does not pass while the machine stands still; and a ratio, since a slow machine stretches both.
        assert max(burnt) < whole / 3
        assert served.metric("api_event_loop_lag_seconds_count") > 0


@pytest.mark.django_db(transaction=True)
def test_it_works_behind_transaction_pooling(tmp_path: Path, world: World, pgbouncer: PgBouncer) -> None:
    environment = {**_database(), "DB_PORT": str(pgbouncer.port), "DB_CONN_MAX_AGE": "0", "PYTHONPATH": HERE}
    with serve(tmp_path, "loadapp", GUNICORN_WORKERS="1", DB_MAX_CONCURRENCY="40", **environment) as served:
        with ThreadPoolExecutor(100) as pool:
            statuses = set(pool.map(_patient_status, [f"{served.base}/hold"] * 100))
        assert statuses == {200}
        assert 0 < _backends() <= pgbouncer.pool_size
        assert _sign_in(served, world.director.person.email) == 200
        assert served.metric("api_db_connections_lent") == 0
    # The pooler keeps its server connections, which would keep the test database from being dropped.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.django_db(transaction=True)
def test_a_lost_database_answers_503_and_does_not_unready(tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    environment = {**_database(), "DB_CONN_MAX_AGE": "60"}
    with serve(tmp_path, GUNICORN_WORKERS="1", **environment) as served:
        assert _ask("GET", f"{served.base}/ready").status_code == 200
        body = {"email": "nobody@example.com", "password": "x"}
        assert _ask("POST", f"{served.base}/api/v1/session", json=body).status_code == 401
        _refuse_connections(refuse=True)
        try:
            answer = _ask("POST", f"{served.base}/api/v1/session", json=body)
            assert (answer.status_code, answer.json()["code"]) == (503, "temporarily-unavailable")
            assert int(answer.headers["Retry-After"]) > 0
            assert _ask("GET", f"{served.base}/ready").status_code == 200
            assert _ask("GET", f"{served.base}/health").status_code == 200
        finally:
            _refuse_connections(refuse=False)
        assert _ask("POST", f"{served.base}/api/v1/session", json=body).status_code == 401


def _refuse_connections(*, refuse: bool) -> None:
    """Make the test database refuse clients, and end those it has."""
    values = connection.settings_dict
    name = values["NAME"]
    connection.close()
    admin = psycopg2.connect(
        dbname="postgres", user=values["USER"], password=values["PASSWORD"], host=values["HOST"], port=values["PORT"]
    )
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {"false" if refuse else "true"}')
        if refuse:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
    admin.close()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_whose_process_dies_around_its_commit_is_made_once(tmp_path: Path, world: World, when: str) -> None:
    invitation = {"email": "new@example.com", "name": "신입", "role": "student"}
    with serve(tmp_path, "dyingapp", GUNICORN_WORKERS="1", PYTHONPATH=HERE, **_database()) as served:
        api, once = f"{served.base}/api/v1", {"Idempotency-Key": "once"}
        with httpx.Client(base_url=api, headers=once, timeout=SECONDS) as client:
            body = {"email": world.director.person.email, "password": PASSWORD}
            client.headers["X-CSRFToken"] = client.post("/session", json=body).json()["csrf_token"]
            with pytest.raises((httpx.NetworkError, httpx.RemoteProtocolError)):
                client.post("/invitations", json=invitation, headers={"X-Die": when})
            assert Invitation.objects.count() == (1 if when == "after" else 0)
            answer = client.post("/invitations", json=invitation)
            assert answer.status_code == 201
            assert answer.headers.get("Idempotency-Replayed") == ("true" if when == "after" else None)
        assert [str(made.pk) for made in Invitation.objects.all()] == [answer.json()["id"]]


@pytest.mark.django_db(transaction=True)
def test_two_workers_share_metrics_and_stop_leaving_nothing(tmp_path: Path) -> None:
    with serve(tmp_path, GUNICORN_WORKERS="2", **_database()) as served:
        for _ in range(20):
            _ask("GET", f"{served.base}/health").raise_for_status()
        assert served.metric('api_requests_total{method="GET",route="health",status="200"}') >= 20
        folder = _metrics_folder(served)
        assert folder.is_dir()
    assert served.process.returncode == 0
    assert not folder.exists()


def _metrics_folder(served: Served) -> Path:
    """The arbiter's metrics folder, read from what the workers that have begun by now map."""
    children = psutil.Process(served.process.pid).children()
    mapped = {Path(each.path) for child in children for each in child.memory_maps()}
    (folder,) = {path.parent for path in mapped if path.parent.name.startswith("academy-metrics-")}
    return folder


@pytest.mark.django_db(transaction=True)
def test_public_and_internal_processes_serve_their_own(tmp_path: Path) -> None:
    for serves, public, internal in (("public", 401, 404), ("internal", 404, 401)):
        folder = tmp_path / serves
        folder.mkdir()
        with serve(folder, GUNICORN_WORKERS="1", API_SERVES=serves, **_database()) as served:
            assert _ask("GET", f"{served.base}/api/v1/me").status_code == public
            assert _ask("POST", f"{served.base}/internal/v1/probe").status_code == internal
