"""Fixtures of the API's tests."""

import pytest
from api_support import Api, World, make_member, signed_in

from academy_api import buckets
from academy_api.accounts.access import Role
from academy_api.accounts.models import Academy
from academy_core.store_fake import FakeStore


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


@pytest.fixture
def teacher(world: World) -> Api:
    """The teacher's browser."""
    return signed_in(world.teacher)


@pytest.fixture
def ai(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    """The AI bucket, in memory."""
    bucket = FakeStore("ai")
    monkeypatch.setattr(buckets, "ai", lambda: bucket)
    return bucket
