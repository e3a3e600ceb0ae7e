"""Finds the principal of a request and checks the endpoint's scope: the one place for both.

    @router.get("/lectures", auth=require(Scope.LECTURES_READ))
    def lectures(request: Request) -> …:
        scoped(Lecture, request.auth)…

`require` accepts a session (with CSRF protection on unsafe methods) or an API key (`Authorization: Bearer`). `scoped`
and `get` are how every query on an academy-owned table starts.
"""

import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from academy_api.accounts.access import SCOPES_OF, Principal, Role, Scope, key_scopes
from academy_api.accounts.models import ApiKey, Membership
from academy_api.database.tenancy import AcademyOwned
from academy_core.errors import NotAllowed, NotAuthenticated, NotFound, Reason

SESSION_ACADEMY = "academy"
_LAST_USED_STEP = timedelta(minutes=1)
_CSRF = Reason(
    "csrf", "화면을 새로 고친 뒤 다시 시도해 주세요.", "Please reload the page and try again (X-CSRFToken is missing)."
)
Owned = TypeVar("Owned", bound=AcademyOwned)


class Request(HttpRequest):
    """A request that passed `require`."""

    auth: Principal
    request_id: str


def require(scope: Scope) -> list[Callable[[HttpRequest], Any]]:
    """`auth=` of an operation: whoever has `scope` in their academy; NotAuthenticated or NotAllowed for the rest."""
    return [_KeyAuth(scope), _SessionAuth(scope)]


def nobody(_request: HttpRequest) -> None:
    """`auth=` where none was stated: refuses everyone."""


def scoped(model: type[Owned], principal: Principal) -> QuerySet[Owned]:
    """All rows of the principal's academy."""
    return model._default_manager.filter(academy_id=principal.academy)  # noqa: SLF001 - Django's documented name


def get(model: type[Owned], principal: Principal, pk: UUID) -> Owned:
    """One row of the principal's academy; NotFound otherwise."""
    row = scoped(model, principal).filter(pk=pk).first()
    if row is None:
        raise NotFound
    return row


def digest(secret: str) -> bytes:
    """SHA-256 of a drawn secret, as stored."""
    return hashlib.sha256(secret.encode()).digest()


def of_session(request: HttpRequest) -> Principal | None:
    """The signed-in person in the academy that the session is in; None when nobody is or they left it."""
    if not request.user.is_authenticated:
        return None
    academy = str(request.session.get(SESSION_ACADEMY))
    membership = Membership.objects.filter(person_id=request.user.pk, academy_id=academy).first()
    return of_membership(membership) if membership else None


def of_membership(membership: Membership) -> Principal:
    """A person acting for themselves."""
    role = Role(membership.role)
    return Principal(
        academy=membership.academy_id,
        membership=membership.pk,
        person=membership.person_id,
        role=role,
        scopes=SCOPES_OF[role],
    )


def of_key(secret: str) -> Principal | None:
    """The principal of an API key; None when it is unknown or revoked."""
    prefix = secret[: ApiKey._meta.get_field("prefix").max_length]  # noqa: SLF001 - Django's documented name
    key = ApiKey.objects.select_related("maker").filter(prefix=prefix, revoked_at=None).first()
    if key is None or not hmac.compare_digest(bytes(key.digest), digest(secret)):
        return None
    _touch(key)
    role = Role(key.maker.role)
    return Principal(
        academy=key.academy_id,
        membership=key.maker_id,
        person=key.maker.person_id,
        role=role,
        scopes=key_scopes(frozenset(map(Scope, key.scopes)), role),
        key=key.pk,
    )


def _touch(key: ApiKey) -> None:
    """Note the use, at most once a minute a key."""
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _LAST_USED_STEP)
    if key.last_used_at is None or key.last_used_at < now - _LAST_USED_STEP:
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def _authorised(principal: Principal, scope: Scope) -> Principal:
    structlog.contextvars.bind_contextvars(academy=str(principal.academy), principal=principal.name)
    if scope not in principal.scopes:
        raise NotAllowed(f"needs {scope}")
    return principal


class _KeyAuth(HttpBearer):
    """API keys. A bad key is refused outright, never tried as a session."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        super().__init__()

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        """Principal of the key; NotAuthenticated when there is none."""
        del request
        principal = of_key(token)
        if principal is None:
            raise NotAuthenticated
        return _authorised(principal, self.scope)


class _SessionAuth(APIKeyCookie):
    """Sessions. Says 401 before it says CSRF, so that a stranger learns nothing but to sign in."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        super().__init__()

    def __call__(self, request: HttpRequest) -> Principal | None:
        """Principal of the session, or None."""
        principal = of_session(request)
        if principal is None:
            return None
        if check_csrf(request) is not None:
            raise NotAllowed(reason=_CSRF)
        return _authorised(principal, self.scope)

    def authenticate(self, request: HttpRequest, key: str | None) -> None:
        """Not used: __call__ does it all (ninja wants the method)."""
