"""Accounts over HTTP, on real Postgres."""

from typing import Any

import pytest
from api_support import PASSWORD, Api, World, signed_in, stranger
from django.apps import apps
from django.db import IntegrityError, connection
from django.utils import timezone

from academy_api.accounts import people
from academy_api.accounts.models import ApiKey, AuditEntry, Invitation, Membership
from academy_api.database.tenancy import AcademyOwned


def test_sign_in_and_out(world: World) -> None:
    api = signed_in(world.director)
    me = api.call("GET", "/api/v1/me").json()
    assert (me["role"], me["academy"]["name"]) == ("director", "하늘학원")
    assert api.call("DELETE", "/api/v1/session").status_code == 204
    assert api.call("GET", "/api/v1/me").status_code == 401
    actions = AuditEntry.objects.filter(academy_id=world.academy.pk).values_list("action", flat=True).order_by("id")
    assert list(actions) == ["session.start", "session.end"]


def test_an_unsafe_request_without_csrf_token_is_refused(world: World) -> None:
    api = signed_in(world.director)
    api.csrf = ""
    answer = api.call("PATCH", "/api/v1/academy", {"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


@pytest.mark.django_db
def test_a_form_cannot_sign_anyone_in() -> None:
    answer = stranger().client.post("/api/v1/session", "{}", content_type="text/plain")
    assert (answer.status_code, answer.json()["code"]) == (415, "not-json")


def test_wrong_passwords_are_throttled_and_audited(world: World) -> None:
    body = {"email": world.director.person.email, "password": "wrong"}
    codes = [stranger().call("POST", "/api/v1/session", body).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    right = stranger().call("POST", "/api/v1/session", {**body, "password": PASSWORD})
    assert right.status_code == 429
    assert 0 < int(right["Retry-After"]) <= 900
    assert AuditEntry.objects.filter(action="session.refuse").count() == 10


def test_an_unknown_address_gets_the_same_answer_as_a_wrong_password(world: World) -> None:
    answers = [
        stranger().call("POST", "/api/v1/session", {"email": email, "password": "wrong"}).json()
        for email in ("nobody@example.com", world.director.person.email)
    ]
    assert {answer.pop("request_id") for answer in answers} != {""}
    assert answers[0] == answers[1]


def _invite(api: Api, **change: str) -> Any:
    body = {"email": "New@Example.com", "name": "신입", "role": "teacher", **change}
    return api.call("POST", "/api/v1/invitations", body)


def test_an_invitation_makes_a_person_once(world: World) -> None:
    made = _invite(signed_in(world.director))
    assert made.status_code == 201
    code = made.json()["code"]
    weak = stranger().call("POST", "/api/v1/join", {"code": code, "password": "short"})
    assert (weak.status_code, weak.json()["code"]) == (422, "weak-password")
    joined = stranger().call("POST", "/api/v1/join", {"code": code, "password": PASSWORD})
    assert (joined.status_code, joined.json()["role"]) == (201, "teacher")
    again = stranger().call("POST", "/api/v1/join", {"code": code, "password": PASSWORD})
    assert (again.status_code, again.json()["code"]) == (403, "wrong-invitation")
    assert Membership.objects.get(person__email="new@example.com").role == "teacher"
    assert not Invitation.objects.exists()


def test_whoever_holds_the_account_must_prove_it_to_join_another_academy(world: World) -> None:
    code = _invite(signed_in(world.other_director), email=world.teacher.person.email).json()["code"]
    wrong = stranger().call("POST", "/api/v1/join", {"code": code, "password": "not the password"})
    assert wrong.status_code == 403
    api = stranger()
    joined = api.call("POST", "/api/v1/join", {"code": code, "password": PASSWORD}).json()
    assert joined["academy"]["name"] == "바다학원"
    api.csrf = joined["csrf_token"]
    assert [academy["name"] for academy in joined["academies"]] == ["바다학원", "하늘학원"]
    back = api.call("PUT", "/api/v1/session", {"academy": str(world.academy.pk)})
    assert back.json()["academy"]["name"] == "하늘학원"


def test_the_last_director_stays(world: World) -> None:
    api = signed_in(world.director)
    path = f"/api/v1/people/{world.director.pk}"
    assert api.call("DELETE", path).json()["code"] == "last-director"
    assert api.call("PATCH", path, {"role": "student"}).json()["code"] == "own-role"
    assert api.call("PATCH", path, {"name": "새 이름"}).json()["name"] == "새 이름"


def test_a_role_change_is_audited_and_takes_effect_at_once(world: World) -> None:
    api, teacher = signed_in(world.director), signed_in(world.teacher)
    assert teacher.call("GET", "/api/v1/people").status_code == 200
    changed = api.call("PATCH", f"/api/v1/people/{world.teacher.pk}", {"role": "student"})
    assert changed.json()["role"] == "student"
    assert teacher.call("GET", "/api/v1/people").status_code == 403
    entry = AuditEntry.objects.get(action="role.change")
    assert entry.details == {"old": "teacher", "new": "student"}


def test_people_of_another_academy_are_not_found(world: World) -> None:
    api = signed_in(world.other_director)
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        assert api.call(method, f"/api/v1/people/{world.student.pk}", body).status_code == 404


def test_paging_shows_everyone_once(world: World) -> None:
    api, seen, cursor = signed_in(world.director), [], ""
    while True:
        answer = api.call("GET", f"/api/v1/people?limit=2{cursor}").json()
        seen += [person["name"] for person in answer["items"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert seen == ["student", "teacher", "director"]
    bad = api.call("GET", "/api/v1/people?cursor=nonsense")
    assert (bad.status_code, bad.json()["code"]) == (422, "bad-cursor")


def _key(api: Api, *scopes: str) -> Any:
    return api.call("POST", "/api/v1/keys", {"name": "script", "scopes": scopes})


def _with_key(secret: str, method: str, path: str, body: Any = None) -> Any:
    return stranger().call(method, path, body, Authorization=f"Bearer {secret}")


def test_a_key_does_what_it_was_given_and_no_more(world: World) -> None:
    made = _key(signed_in(world.director), "people:read").json()
    assert _with_key(made["secret"], "GET", "/api/v1/people").status_code == 200
    assert _with_key(made["secret"], "PATCH", "/api/v1/academy", {"name": "x"}).status_code == 403
    assert (
        _with_key(made["secret"], "POST", "/api/v1/keys", {"name": "x", "scopes": ["people:read"]}).status_code == 403
    )
    assert _with_key(made["secret"] + "x", "GET", "/api/v1/people").status_code == 401
    key = ApiKey.objects.get()
    assert key.last_used_at is not None
    assert key.last_used_at <= timezone.now()
    assert made["secret"].encode() not in bytes(key.digest)


@pytest.mark.parametrize("scope", ["people:write", "self"])
def test_a_key_is_never_wider_than_its_maker(world: World, scope: str) -> None:
    answer = _key(signed_in(world.teacher), scope)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope-too-wide")


def test_a_key_shrinks_with_its_maker_and_ends_with_the_membership(world: World) -> None:
    secret = _key(signed_in(world.teacher), "people:read").json()["secret"]
    director = signed_in(world.director)
    director.call("PATCH", f"/api/v1/people/{world.teacher.pk}", {"role": "student"})
    assert _with_key(secret, "GET", "/api/v1/people").status_code == 403
    assert director.call("DELETE", f"/api/v1/people/{world.teacher.pk}").status_code == 204
    assert _with_key(secret, "GET", "/api/v1/people").status_code == 401


def test_a_revoked_key_is_refused_and_others_cannot_revoke_it(world: World) -> None:
    made = _key(signed_in(world.teacher), "people:read").json()
    path = f"/api/v1/keys/{made['id']}"
    assert signed_in(world.student).call("DELETE", path).status_code == 404
    assert signed_in(world.director).call("DELETE", path).status_code == 204
    assert _with_key(made["secret"], "GET", "/api/v1/people").status_code == 401


def test_a_new_password_ends_other_sessions(world: World) -> None:
    here, elsewhere = signed_in(world.teacher), signed_in(world.teacher)
    answer = here.call("PUT", "/api/v1/me/password", {"old": PASSWORD, "new": "another long passphrase"})
    assert answer.status_code == 204
    assert here.call("GET", "/api/v1/me").status_code == 200
    assert elsewhere.call("GET", "/api/v1/me").status_code == 401


def test_the_database_refuses_a_link_across_academies(world: World) -> None:
    with pytest.raises(IntegrityError, match="maker_id_tenant"):
        ApiKey.objects.create(academy=world.other, maker=world.teacher, name="x", prefix="ak_x", digest=b"x", scopes=[])


@pytest.mark.django_db
def test_bootstrap_is_idempotent() -> None:
    first = people.bootstrap("첫 학원", "First@Example.com", PASSWORD)
    second = people.bootstrap("첫 학원", "first@example.com", "another password entirely")
    assert first == second
    assert first.person.check_password(PASSWORD)


@pytest.mark.django_db
def test_every_link_between_academy_owned_tables_is_composite() -> None:
    owned = [model for model in apps.get_models() if issubclass(model, AcademyOwned)]
    links = {
        (model._meta.db_table, field.column)
        for model in owned
        for field in model._meta.concrete_fields
        if field.related_model in owned
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
            " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[2]"
            " WHERE c.contype = 'f' AND cardinality(c.conkey) = 2"
        )
        composite = set(cursor.fetchall())
    assert links
    assert links <= composite
