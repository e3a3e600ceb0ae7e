"""Endpoints of accounts: sign-in, me, academy, people, invitations, API keys, audit log.

Signing in (`POST /session`) and joining (`POST /join`) are the only two open to strangers; both are throttled.
"""

import hashlib
from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.utils import timezone
from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict

from academy_api import off_loop
from academy_api.accounts import audit, client, people
from academy_api.accounts.access import Role, Scope
from academy_api.accounts.auth import SESSION_ACADEMY, Request, get, of_membership, require, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.accounts.limits import Limit
from academy_api.accounts.models import Academy, ApiKey, AuditEntry, Invitation, Membership, Person
from academy_api.paging import Page, PageQuery, page
from academy_core.errors import NotAllowed, NotAuthenticated, NotFound, Reason

router = Router(tags=["accounts"])

_ACCOUNT_ATTEMPTS = Limit("sign-in-account", 10, 15 * 60)
"""Wrong passwords on one account; a right one starts anew."""
_ADDRESS_ATTEMPTS = Limit("sign-in-address", 300, 5 * 60)
"""Attempts from one address: a whole academy may sit behind one."""

_WRONG = Reason(
    "wrong-credentials", "이메일이나 비밀번호가 맞지 않습니다.", "The e-mail address or the password is wrong."
)
_NO_ACADEMY = Reason("no-academy", "소속된 학원이 없습니다.", "You do not belong to this academy.")
_OWN_ROLE = Reason("own-role", "자신의 역할은 바꿀 수 없습니다.", "You cannot change your own role.")

_EMAIL = Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
_PASSWORD = Field(min_length=1, max_length=256)
_NAME = Field(min_length=1, max_length=100)


class In(Schema):
    """A body: closed, so that a misspelt field is told."""

    model_config = ConfigDict(extra="forbid")


class SignIn(In):
    """Credentials."""

    email: str = _EMAIL
    password: str = _PASSWORD
    academy: UUID | None = None


class Switch(In):
    """Which academy."""

    academy: UUID


class Join(In):
    """An invitation's code and a password."""

    code: str = Field(min_length=1, max_length=100)
    password: str = _PASSWORD


class PasswordChange(In):
    """The old password and the new one."""

    old: str = _PASSWORD
    new: str = _PASSWORD


class AcademyOut(Schema):
    """An academy."""

    id: UUID
    name: str


class MeOut(Schema):
    """Who the caller is. `csrf_token` goes into X-CSRFToken on unsafe requests of a session."""

    membership: UUID
    role: Role
    scopes: list[Scope]
    academy: AcademyOut
    academies: list[AcademyOut]
    csrf_token: str | None


class AcademyChange(In):
    """What a director may change."""

    name: str = Field(min_length=1, max_length=200)


class PersonOut(Schema):
    """A person as this academy knows them. `id` is the membership's."""

    id: UUID
    name: str
    email: str = Field(alias="person.email")
    role: Role
    joined_at: datetime


class PersonChange(In):
    """What may change; what is absent stays."""

    name: str | None = Field(None, min_length=1, max_length=100)
    role: Role | None = None


class InvitationIn(In):
    """Whom to invite as what."""

    email: str = _EMAIL
    name: str = _NAME
    role: Role


class InvitationOut(Schema):
    """An open invitation."""

    id: UUID
    email: str
    name: str
    role: Role
    expires_at: datetime


class InvitationMade(InvitationOut):
    """A new invitation. `code` is shown this once."""

    code: str


class KeyIn(In):
    """What the key is for and may do."""

    name: str = _NAME
    scopes: frozenset[Scope] = Field(min_length=1)


class KeyOut(Schema):
    """An API key, without its secret."""

    id: UUID
    name: str
    prefix: str
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class KeyMade(KeyOut):
    """A new key. `secret` is shown this once."""

    secret: str


class AuditOut(Schema):
    """One entry of the audit log."""

    id: int
    at: datetime
    action: str
    target: str
    person_id: UUID | None
    key_id: UUID | None
    ip: str | None
    request_id: str
    details: dict[str, str]


# Sign-in ------------------------------------------------------------------------------------------------------------


@router.post("/session", auth=None, response=MeOut)
@off_loop.in_turn
def sign_in(request: Request, body: SignIn) -> MeOut:
    """Sign in. Without `academy` the session starts in the one joined first."""
    account = _throttle(request, people.normalised(body.email))
    person = authenticate(request, username=people.normalised(body.email), password=body.password)
    if not isinstance(person, Person):
        audit.record(request, "session.refuse", account)
        raise NotAuthenticated(reason=_WRONG)
    _ACCOUNT_ATTEMPTS.forget(account)
    membership = _membership(person, body.academy)
    return _enter(request, person, membership)


@router.post("/join", auth=None, response={201: MeOut})
@off_loop.in_turn
def join(request: Request, body: Join) -> Status[MeOut]:
    """Join an academy with an invitation's code; a person new to the platform sets the password here."""
    _throttle(request, f"code {body.code}")
    membership = people.accept(body.code, body.password)
    return Status(HTTPStatus.CREATED, _enter(request, membership.person, membership))


@router.put("/session", auth=require(Scope.SELF), response=MeOut)
def switch_academy(request: Request, body: Switch) -> MeOut:
    """Go on in another of one's academies."""
    person = Person.objects.get(pk=request.auth.person)
    return _enter(request, person, _membership(person, body.academy))


@router.delete("/session", auth=require(Scope.SELF), response={204: None})
def sign_out(request: Request) -> Status[None]:
    """Sign out."""
    audit.record(request, "session.end", by=request.auth)
    logout(request)
    return Status(HTTPStatus.NO_CONTENT, None)


@router.get("/me", auth=require(Scope.ACADEMY_READ), response=MeOut)
def me(request: Request) -> MeOut:
    """Who am I, where, and what may I do."""
    membership = get(Membership, request.auth, request.auth.membership)
    return _me(request, membership, request.auth.scopes, key=request.auth.key is not None)


@router.put("/me/password", auth=require(Scope.SELF), response={204: None})
@off_loop.in_turn
def change_password(request: Request, body: PasswordChange) -> Status[None]:
    """Change one's password; every other session of the person ends."""
    person = Person.objects.get(pk=request.auth.person)
    account = _throttle(request, person.email)
    if not person.check_password(body.old):
        raise NotAllowed(reason=_WRONG)
    _ACCOUNT_ATTEMPTS.forget(account)
    people.check_password(body.new, person.email)
    person.set_password(body.new)
    with transaction.atomic():
        person.save(update_fields=["password"])
        audit.record(request, "password.change", person.pk, by=request.auth)
    update_session_auth_hash(request, person)
    return Status(HTTPStatus.NO_CONTENT, None)


def _throttle(request: HttpRequest, account: str) -> str:
    """Spend one attempt, before any hash is computed. Accounts are counted by digest: no address lies in the table."""
    subject = hashlib.sha256(account.encode()).hexdigest()
    _ADDRESS_ATTEMPTS.spend(client.address(request))
    _ACCOUNT_ATTEMPTS.spend(subject)
    return subject


def _membership(person: Person, academy: UUID | None) -> Membership:
    mine = Membership.objects.filter(person=person).order_by("joined_at", "pk")
    found = (mine.filter(academy_id=academy) if academy else mine).first()
    if found is None:
        raise NotAllowed(reason=_NO_ACADEMY)
    return found


def _enter(request: HttpRequest, person: Person, membership: Membership) -> MeOut:
    """Start the session (or move it); its id changes, so that one planted before signing in is worth nothing."""
    with transaction.atomic():
        login(request, person)
        request.session[SESSION_ACADEMY] = str(membership.academy_id)
        principal = of_membership(membership)
        audit.record(request, "session.start", membership.pk, by=principal)
    return _me(request, membership, principal.scopes)


def _me(request: HttpRequest, membership: Membership, scopes: frozenset[Scope], *, key: bool = False) -> MeOut:
    """`key`: the caller is an API key, which sees its own academy only and needs no CSRF token."""
    own = Academy.objects.filter(pk=membership.academy_id)
    academies = own if key else Academy.objects.filter(membership__person_id=membership.person_id).order_by("name")
    return MeOut(
        membership=membership.pk,
        role=Role(membership.role),
        scopes=sorted(scopes),
        academy=AcademyOut.from_orm(own.get()),
        academies=[AcademyOut.from_orm(academy) for academy in academies],
        csrf_token=None if key else get_token(request),
    )


# Academy and people --------------------------------------------------------------------------------------------------


@router.patch("/academy", auth=require(Scope.ACADEMY_WRITE), response=AcademyOut)
def rename_academy(request: Request, body: AcademyChange) -> Academy:
    """Rename the academy."""
    with transaction.atomic():
        academy = Academy.objects.select_for_update().get(pk=request.auth.academy)
        academy.name = body.name
        academy.save(update_fields=["name"])
        audit.record(request, "academy.rename", academy.pk, by=request.auth)
    return academy


@router.get("/people", auth=require(Scope.PEOPLE_READ), response=Page[PersonOut])
def list_people(request: Request, query: Query[PageQuery], role: Role | None = None) -> dict[str, Any]:
    """The academy's people, newest first."""
    rows = scoped(Membership, request.auth).select_related("person")
    return page(rows.filter(role=role) if role else rows, query, "joined_at")


@router.get("/people/{uuid:membership}", auth=require(Scope.PEOPLE_READ), response=PersonOut)
def read_person(request: Request, membership: UUID) -> Membership:
    """One of the academy's people."""
    return get(Membership, request.auth, membership)


@router.patch("/people/{uuid:membership}", auth=require(Scope.PEOPLE_WRITE), response=PersonOut)
def change_person(request: Request, membership: UUID, body: PersonChange) -> Membership:
    """Rename a person or give them another role; nobody changes their own role."""
    found = get(Membership, request.auth, membership)
    if found.pk == request.auth.membership and body.role not in {None, found.role}:
        raise NotAllowed(reason=_OWN_ROLE)
    with transaction.atomic():
        changed = people.change(found, name=body.name, role=body.role)
        if changed.role != found.role:
            audit.record(request, "role.change", found.pk, by=request.auth, old=found.role, new=changed.role)
    return changed


@router.delete("/people/{uuid:membership}", auth=require(Scope.PEOPLE_WRITE), response={204: None})
def remove_person(request: Request, membership: UUID) -> Status[None]:
    """End a person's membership; their API keys of this academy go with it."""
    found = get(Membership, request.auth, membership)
    with transaction.atomic():
        people.remove(found)
        audit.record(request, "person.remove", found.pk, by=request.auth, role=found.role)
    return Status(HTTPStatus.NO_CONTENT, None)


@router.post("/invitations", auth=require(Scope.PEOPLE_WRITE), response={201: InvitationMade})
@idempotent
def invite(request: Request, body: InvitationIn) -> Status[InvitationMade]:
    """Invite someone; hand them the code. A second invitation to an address replaces the first."""
    with transaction.atomic():
        invitation, code = people.invite(request.auth.academy, body.email, body.name, body.role)
        audit.record(request, "invitation.make", invitation.pk, by=request.auth, role=body.role)
    made = InvitationOut.from_orm(invitation)
    return Status(HTTPStatus.CREATED, InvitationMade(**made.dict(), code=code))


@router.get("/invitations", auth=require(Scope.PEOPLE_WRITE), response=Page[InvitationOut])
def list_invitations(request: Request, query: Query[PageQuery]) -> dict[str, Any]:
    """Invitations that nobody has used yet."""
    return page(scoped(Invitation, request.auth), query, "created_at")


@router.delete("/invitations/{uuid:invitation}", auth=require(Scope.PEOPLE_WRITE), response={204: None})
def withdraw_invitation(request: Request, invitation: UUID) -> Status[None]:
    """Withdraw an invitation; its code is worth nothing from now on."""
    found = get(Invitation, request.auth, invitation)
    with transaction.atomic():
        audit.record(request, "invitation.withdraw", found.pk, by=request.auth)
        found.delete()
    return Status(HTTPStatus.NO_CONTENT, None)


# API keys and audit log ----------------------------------------------------------------------------------------------


@router.post("/keys", auth=require(Scope.SELF), response={201: KeyMade})
def make_key(request: Request, body: KeyIn) -> Status[KeyMade]:
    """Make an API key, no wider than oneself; the secret is shown this once.

    Not repeatable by Idempotency-Key: a kept answer would keep the secret. After a lost answer, revoke and make anew.
    """
    with transaction.atomic():
        key, secret = people.make_key(request.auth, body.name, body.scopes)
        audit.record(request, "key.make", key.pk, by=request.auth, scopes=" ".join(key.scopes))
    return Status(HTTPStatus.CREATED, KeyMade(**KeyOut.from_orm(key).dict(), secret=secret))


@router.get("/keys", auth=require(Scope.SELF), response=Page[KeyOut])
def list_keys(request: Request, query: Query[PageQuery]) -> dict[str, Any]:
    """One's own API keys; a director sees the academy's."""
    return page(_keys(request), query, "created_at")


@router.delete("/keys/{uuid:key}", auth=require(Scope.SELF), response={204: None})
def revoke_key(request: Request, key: UUID) -> Status[None]:
    """Revoke an API key, one's own or, for a director, anyone's of the academy."""
    found = _keys(request).filter(pk=key).first()
    if found is None:
        raise NotFound
    with transaction.atomic():
        _keys(request).filter(pk=key, revoked_at=None).update(revoked_at=timezone.now())
        audit.record(request, "key.revoke", key, by=request.auth)
    return Status(HTTPStatus.NO_CONTENT, None)


def _keys(request: Request) -> QuerySet[ApiKey]:
    rows = scoped(ApiKey, request.auth)
    return rows if request.auth.role is Role.DIRECTOR else rows.filter(maker_id=request.auth.membership)


@router.get("/audit", auth=require(Scope.AUDIT_READ), response=Page[AuditOut])
def read_audit(request: Request, query: Query[PageQuery]) -> dict[str, Any]:
    """What happened in the academy, newest first."""
    return page(AuditEntry.objects.filter(academy_id=request.auth.academy), query, "at")
