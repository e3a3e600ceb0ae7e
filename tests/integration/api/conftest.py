"""Fixtures of the API's tests."""

import pytest
from api_support import World, make_member

from academy_api.accounts.access import Role
from academy_api.accounts.models import Academy


@pytest.fixture
def world(db: None) -> World:  # noqa: ARG001 - a fixture asks for another by naming it
    """Two academies."""
    academy, other = Academy.objects.create(name="하늘학원"), Academy.objects.create(name="바다학원")
    return World(
        academy=academy,
        director=make_member(academy, Role.DIRECTOR, "director"),
        teacher=make_member(academy, Role.TEACHER, "teacher"),
        student=make_member(academy, Role.STUDENT, "student"),
        other=other,
        other_director=make_member(other, Role.DIRECTOR, "other-director"),
    )
