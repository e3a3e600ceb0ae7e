"""Two academies with people in each role, and clients signed in as them."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from academy_api.accounts.access import Role
from academy_api.accounts.models import Academy, Membership, Person

PASSWORD = "correct horse battery staple"
# Any hash of PASSWORD does; made once, since hashing is slow on purpose.
_HASHED: dict[str, str] = {}


def make_member(academy: Academy, role: Role, name: str) -> Membership:
    """A person in `academy` who signs in as `<name>@example.com`."""
    person = Person(email=f"{name}@example.com")
    if PASSWORD not in _HASHED:
        person.set_password(PASSWORD)
        _HASHED[PASSWORD] = person.password
    person.password = _HASHED[PASSWORD]
    person.save()
    return Membership.objects.create(academy=academy, person=person, role=role, name=name)


@dataclass
class Api:
    """A JSON client. Signed in, it sends its CSRF token as a page would."""

    client: Client
    csrf: str = ""

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request; the answer is Django's response."""
        sent = {"X-CSRFToken": self.csrf, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.generic(
            method,
            path,
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers={name: value for name, value in sent.items() if value},
        )


def stranger() -> Api:
    """Nobody, with CSRF checks on."""
    return Api(Client(enforce_csrf_checks=True))


def signed_in(member: Membership) -> Api:
    """`member`'s session."""
    api = stranger()
    response = api.call("POST", "/api/v1/session", {"email": member.person.email, "password": PASSWORD})
    assert response.status_code == 200, response.content
    api.csrf = response.json()["csrf_token"]
    return api


@dataclass
class World:
    """Who is there."""

    academy: Academy
    director: Membership
    teacher: Membership
    student: Membership
    other: Academy
    other_director: Membership
