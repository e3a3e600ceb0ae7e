"""Who may do what: roles, scopes and the principal. Pure; `auth` finds the principal of a request.

An endpoint states one scope. A person has the scopes of the role they hold in the academy; an API key has those it was
given, cut down to what its maker may do *now*, so a demoted maker's keys shrink with them.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a person is in one academy."""

    DIRECTOR = "director"
    TEACHER = "teacher"
    STUDENT = "student"


class Scope(StrEnum):
    """What an endpoint needs. Stored by value in API keys."""

    ACADEMY_READ = "academy:read"
    ACADEMY_WRITE = "academy:write"
    PEOPLE_READ = "people:read"
    PEOPLE_WRITE = "people:write"
    AUDIT_READ = "audit:read"
    LECTURES_READ = "lectures:read"
    LECTURES_WRITE = "lectures:write"
    EXAMS_READ = "exams:read"
    EXAMS_WRITE = "exams:write"
    SELF = "self"
    """One's own password and API keys: what only the person may do, never a key."""


_STUDENT = frozenset({Scope.ACADEMY_READ, Scope.LECTURES_READ, Scope.SELF})
_TEACHER = _STUDENT | {Scope.PEOPLE_READ, Scope.LECTURES_WRITE, Scope.EXAMS_READ, Scope.EXAMS_WRITE}
_DIRECTOR = _TEACHER | {Scope.ACADEMY_WRITE, Scope.PEOPLE_WRITE, Scope.AUDIT_READ}

SCOPES_OF: dict[Role, frozenset[Scope]] = {
    Role.DIRECTOR: _DIRECTOR,
    Role.TEACHER: _TEACHER,
    Role.STUDENT: _STUDENT,
}


def key_scopes(given: frozenset[Scope], maker: Role) -> frozenset[Scope]:
    """What an API key may do while its maker holds this role."""
    return (given & SCOPES_OF[maker]) - {Scope.SELF}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for: a person in one academy, or an API key of theirs."""

    academy: UUID
    membership: UUID
    person: UUID
    role: Role
    scopes: frozenset[Scope]
    key: UUID | None = None

    @property
    def name(self) -> str:
        """Stable text that tells principals apart (idempotency, limits, logs); says nothing of the person."""
        return f"key:{self.key}" if self.key else f"membership:{self.membership}"
