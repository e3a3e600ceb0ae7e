"""What accounts can do, apart from HTTP: invitations, memberships, API keys, the first director.

An invitation is how anyone joins: a director makes a one-time code and hands it over. The code proves that the director
meant this person; the password proves that the person is who holds the account. So an academy that registers a
stranger's address first gains nothing in another academy.
"""

import secrets
from datetime import timedelta
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from academy_api.accounts.access import Principal, Role, Scope
from academy_api.accounts.auth import digest
from academy_api.accounts.models import Academy, ApiKey, Invitation, Membership, Person
from academy_core.errors import Conflict, NotAllowed, NotFound, Permanent, Reason

INVITATION_DAYS = 14

WEAK = Reason(
    "weak-password",
    "비밀번호는 10자 이상이어야 하고, 흔한 비밀번호나 이메일과 비슷한 비밀번호는 쓸 수 없습니다.",
    "A password has at least 10 characters and is neither common nor like the e-mail address.",
)
WRONG_CODE = Reason(
    "wrong-invitation",
    "초대 코드나 비밀번호가 맞지 않거나 초대가 만료되었습니다.",
    "The invitation code or the password is wrong, or the invitation has expired.",
)
LAST_DIRECTOR = Reason(
    "last-director",
    "학원에는 원장이 한 명 이상 있어야 합니다. 먼저 다른 원장을 지정하세요.",
    "An academy needs a director. Make someone else director first.",
)
ALREADY_MEMBER = Reason(
    "already-member", "이미 이 학원에 등록된 사람입니다.", "This person already belongs to the academy."
)
TOO_WIDE = Reason(
    "scope-too-wide",
    "자신에게 없는 권한은 API 키에 줄 수 없습니다.",
    "An API key cannot be given what you may not do yourself.",
)


def normalised(email: str) -> str:
    """An address as stored and compared."""
    return email.strip().lower()


def check_password(password: str, email: str) -> None:
    """Permanent when the password is too weak."""
    try:
        validate_password(password, Person(email=email))
    except ValidationError as error:
        raise Permanent(reason=WEAK) from error


def invite(academy: UUID, email: str, name: str, role: Role) -> tuple[Invitation, str]:
    """Make an invitation and its code; an earlier one to the same address is void. Conflict for a member."""
    address = normalised(email)
    if Membership.objects.filter(academy_id=academy, person__email=address).exists():
        raise Conflict(reason=ALREADY_MEMBER)
    code = secrets.token_urlsafe(24)
    invitation, _ = Invitation.objects.update_or_create(
        academy_id=academy,
        email=address,
        defaults={
            "name": name,
            "role": role,
            "digest": digest(code),
            "expires_at": timezone.now() + timedelta(days=INVITATION_DAYS),
        },
    )
    return invitation, code


def accept(code: str, password: str) -> Membership:
    """Join with a code: a new person sets the password, a known one gives theirs. NotAllowed when either is wrong."""
    invitation = Invitation.objects.filter(digest=digest(code), expires_at__gt=timezone.now()).first()
    if invitation is None:
        raise NotAllowed(reason=WRONG_CODE)
    person = Person.objects.filter(email=invitation.email).first()
    if person is None:
        check_password(password, invitation.email)
        person = Person(email=invitation.email)
        person.set_password(password)
    elif not person.check_password(password):
        raise NotAllowed(reason=WRONG_CODE)
    return _join(invitation, person)


@transaction.atomic
def _join(invitation: Invitation, person: Person) -> Membership:
    """Use the invitation up and make the membership, once however often the code is sent at once."""
    mine = Invitation.objects.select_for_update().filter(pk=invitation.pk, digest=invitation.digest)
    if mine.first() is None:
        raise NotAllowed(reason=WRONG_CODE)
    mine.delete()
    if person._state.adding:  # noqa: SLF001 - Django's documented name
        person.save(force_insert=True)
    return Membership.objects.create(
        academy_id=invitation.academy_id, person=person, name=invitation.name, role=invitation.role
    )


def change(membership: Membership, *, name: str | None, role: Role | None) -> Membership:
    """Rename or give another role. Conflict when the academy would be left without a director."""
    with transaction.atomic():
        locked = _locked(membership)
        if role is not None and role != locked.role:
            _keep_a_director(locked)
            locked.role = role
        if name is not None:
            locked.name = name
        locked.save()
    return locked


def remove(membership: Membership) -> None:
    """End a membership and with it the keys made under it. Conflict for the last director."""
    with transaction.atomic():
        locked = _locked(membership)
        _keep_a_director(locked)
        locked.delete()


def _locked(membership: Membership) -> Membership:
    """The membership under its academy's lock: two directors cannot remove each other at once."""
    Academy.objects.select_for_update().get(pk=membership.academy_id)
    found = Membership.objects.filter(pk=membership.pk).first()
    if found is None:
        raise NotFound
    return found


def _keep_a_director(leaving: Membership) -> None:
    if leaving.role != Role.DIRECTOR:
        return
    others = Membership.objects.filter(academy_id=leaving.academy_id, role=Role.DIRECTOR).exclude(pk=leaving.pk)
    if not others.exists():
        raise Conflict(reason=LAST_DIRECTOR)


def make_key(maker: Principal, name: str, scopes: frozenset[Scope]) -> tuple[ApiKey, str]:
    """Make an API key and its secret, which is shown this once. NotAllowed for a scope the maker lacks."""
    if not scopes <= maker.scopes - {Scope.SELF}:
        raise NotAllowed(reason=TOO_WIDE)
    prefix = f"ak_{secrets.token_hex(4)}_"
    secret = prefix + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        academy_id=maker.academy,
        maker_id=maker.membership,
        name=name,
        prefix=prefix,
        digest=digest(secret),
        scopes=sorted(scopes),
    )
    return key, secret


def bootstrap(academy_name: str, email: str, password: str) -> Membership:
    """The first academy and its director. Run again, it finds them and changes nothing, the password included."""
    address = normalised(email)
    with transaction.atomic():
        person = Person.objects.filter(email=address).first()
        if person is None:
            check_password(password, address)
            person = Person(email=address)
            person.set_password(password)
            person.save(force_insert=True)
        academy, _ = Academy.objects.get_or_create(name=academy_name)
        membership, _ = Membership.objects.get_or_create(
            academy=academy, person=person, defaults={"name": address, "role": Role.DIRECTOR}
        )
    return membership
