"""Idempotency-Key and limits, on real Postgres with real concurrency."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from api_support import Api, World, signed_in
from django.db import connection
from django.utils import timezone

from academy_api.accounts import people, upkeep
from academy_api.accounts.limits import Limit
from academy_api.accounts.models import IdempotentCreate, Invitation, Spent
from academy_core.errors import TooManyRequests

BODY = {"email": "new@example.com", "name": "신입", "role": "student"}


def _create(api: Api, body: Any = None, key: str = "key-1") -> Any:
    return api.call("POST", "/api/v1/invitations", body or BODY, Idempotency_Key=key)


def test_a_repeat_gets_the_first_answer(world: World) -> None:
    api = signed_in(world.director)
    first, again = _create(api), _create(api)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert (again.get("Idempotency-Replayed"), first.get("Idempotency-Replayed")) == ("true", None)
    assert _create(api, key="key-2").json()["code"] != first.json()["code"]


def test_another_body_under_the_same_key_is_refused(world: World) -> None:
    api = signed_in(world.director)
    _create(api)
    answer = _create(api, {**BODY, "name": "다른 이름"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")


def test_keys_of_another_academy_are_others(world: World) -> None:
    first = _create(signed_in(world.director))
    assert _create(signed_in(world.other_director)).json()["code"] != first.json()["code"]


def test_a_failed_create_frees_the_key(world: World) -> None:
    api = signed_in(world.director)
    body = {**BODY, "email": world.student.person.email}
    assert _create(api, body).json()["code"] == "already-member"
    people.remove(world.student)
    assert _create(api, body).status_code == 201


def test_a_key_is_kept_24_hours(world: World) -> None:
    api = signed_in(world.director)
    first = _create(api)
    IdempotentCreate.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert _create(api).content == first.content
    IdempotentCreate.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert _create(api, {**BODY, "name": "다른 이름"}).status_code == 201


def test_the_answer_with_a_key_reads_as_the_one_without(world: World) -> None:
    api = signed_in(world.director)
    with_key = _create(api)
    without = api.call("POST", "/api/v1/invitations", BODY)
    assert with_key["Content-Type"] == without["Content-Type"]
    assert with_key.json().keys() == without.json().keys()
    same = {"email", "name", "role"}
    assert {name: with_key.json()[name] for name in same} == {name: without.json()[name] for name in same}
    assert [len(answer.json()["expires_at"]) for answer in (with_key, without)] == [24, 24]


@pytest.mark.django_db(transaction=True)
def test_while_the_first_is_worked_on_a_repeat_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    invite = people.invite

    def slow(*args: Any) -> Any:
        begun.set()
        assert go_on.wait(30)
        return invite(*args)

    monkeypatch.setattr(people, "invite", slow)
    apis = [signed_in(world.director) for _ in range(2)]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: (_create(apis[0]), connection.close())[0])
        assert begun.wait(30)
        busy = _create(apis[1])
        go_on.set()
        assert first.result().status_code == 201
    assert (busy.status_code, busy.json()["code"]) == (409, "idempotency-busy")
    assert _create(apis[1]).content == first.result().content


@pytest.mark.parametrize("key", ["", "x" * 129, "\x00"])
def test_a_bad_key_is_refused(world: World, key: str) -> None:
    api = signed_in(world.director)
    answer = api.client.post(
        "/api/v1/invitations", BODY, "application/json", headers={"X-CSRFToken": api.csrf, "Idempotency-Key": key}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key")


@pytest.mark.django_db(transaction=True)
def test_of_ten_at_once_one_creates(world: World) -> None:
    apis = [signed_in(world.director) for _ in range(10)]
    start = threading.Barrier(len(apis))

    def one(api: Api) -> tuple[int, bytes]:
        start.wait(30)
        answer = _create(api)
        connection.close()
        return answer.status_code, answer.content

    with ThreadPoolExecutor(len(apis)) as pool:
        answers = list(pool.map(one, apis))
    assert {status for status, _ in answers} <= {201, 409}
    assert len({content for status, content in answers if status == 201}) == 1
    assert Invitation.objects.count() == 1


@pytest.mark.django_db
def test_a_limit_counts_what_fits_and_starts_anew() -> None:
    seed = random.randrange(2**32)  # noqa: S311 - amounts of a test
    print(f"seed={seed}")  # noqa: T201 - shown when the test fails
    draw, limit, subject, used = random.Random(seed), Limit("bytes", 1000, 60), uuid4(), 0  # noqa: S311
    for _ in range(50):
        amount = draw.randint(1, 300)
        if used + amount <= 1000:
            limit.spend(subject, amount)
            used += amount
        else:
            with pytest.raises(TooManyRequests) as refused:
                limit.spend(subject, amount)
            assert 0 < refused.value.retry_after <= 60
    assert Spent.objects.get(subject=f"bytes:{subject}").amount == used
    Spent.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    limit.spend(subject, 1000)
    with pytest.raises(TooManyRequests):
        limit.spend(uuid4(), 1001)


@pytest.mark.django_db(transaction=True)
def test_concurrent_spenders_never_go_over() -> None:
    limit, subject = Limit("jobs", 7, 60), uuid4()

    def spend(_number: int) -> bool:
        try:
            limit.spend(subject)
        except TooManyRequests:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(spend, range(40))) == 7


def test_pruning_takes_what_has_expired_and_nothing_else(world: World) -> None:
    api = signed_in(world.director)
    _create(api, key="old")
    IdempotentCreate.objects.update(created_at=timezone.now() - timedelta(hours=25))
    fresh = _create(api, {**BODY, "email": "second@example.com"}, key="fresh")
    Invitation.objects.filter(email=BODY["email"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    Spent.objects.create(subject="over", amount=1, ends_at=timezone.now() - timedelta(seconds=1))
    Spent.objects.create(subject="open", amount=1, ends_at=timezone.now() + timedelta(minutes=1))
    upkeep.prune()
    assert [row.key for row in IdempotentCreate.objects.all()] == ["fresh"]
    assert [str(row.pk) for row in Invitation.objects.all()] == [fresh.json()["id"]]
    assert not Spent.objects.filter(subject="over").exists()
    assert Spent.objects.filter(subject="open").exists()
    assert api.call("GET", "/api/v1/me").status_code == 200
