"""Every operation of the OpenAPI schema, as a stranger, as another academy's director and as a student.

An operation that is not in EXPECTED fails the test, and so does a line of EXPECTED that no operation has. Ids in paths
are of `world.academy`, so the other director must never find them, nor may a student find a lecture that cannot be
watched yet. The body is `{}` unless BODIES has another: most refusals come before it.
"""

from typing import Any, NamedTuple

import pytest
from api_support import PASSWORD, Api, World, signed_in, stranger
from django.urls import URLPattern, URLResolver, get_resolver

from academy_api.accounts import people
from academy_api.accounts.access import Role
from academy_api.accounts.auth import of_membership
from academy_api.accounts.models import ApiKey, Invitation
from academy_api.api import api
from academy_api.exams.models import Batch, Exam, Reading, Sheet, Template
from academy_api.lectures.models import Lecture
from academy_api.questions import service as questions
from academy_api.questions.models import Comparison, Question, Scan


class Answers(NamedTuple):
    """Status for each caller."""

    stranger: int
    other_director: int
    student: int


OPEN = Answers(422, 422, 422)
"""Open to everyone: the empty body is all that is wrong."""

EXPECTED: dict[str, Answers] = {
    "POST /api/v1/session": OPEN,
    "POST /api/v1/join": OPEN,
    "PUT /api/v1/session": Answers(401, 422, 422),
    "DELETE /api/v1/session": Answers(401, 204, 204),
    "GET /api/v1/me": Answers(401, 200, 200),
    "PUT /api/v1/me/password": Answers(401, 422, 422),
    "PATCH /api/v1/academy": Answers(401, 422, 403),
    "GET /api/v1/people": Answers(401, 200, 403),
    "GET /api/v1/people/{membership}": Answers(401, 404, 403),
    "PATCH /api/v1/people/{membership}": Answers(401, 404, 403),
    "DELETE /api/v1/people/{membership}": Answers(401, 404, 403),
    "POST /api/v1/invitations": Answers(401, 422, 403),
    "GET /api/v1/invitations": Answers(401, 200, 403),
    "DELETE /api/v1/invitations/{invitation}": Answers(401, 404, 403),
    "POST /api/v1/keys": Answers(401, 422, 422),
    "GET /api/v1/keys": Answers(401, 200, 200),
    "DELETE /api/v1/keys/{key}": Answers(401, 404, 404),
    "GET /api/v1/audit": Answers(401, 200, 403),
    "POST /api/v1/lectures": Answers(401, 422, 403),
    "GET /api/v1/lectures": Answers(401, 200, 200),
    "GET /api/v1/lectures/{lecture}": Answers(401, 404, 404),
    "DELETE /api/v1/lectures/{lecture}": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/upload/parts": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/upload/complete": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/cancel": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/retry": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/replace": Answers(401, 404, 403),
    "GET /api/v1/lectures/{lecture}/playback": Answers(401, 404, 404),
    "POST /api/v1/lectures/{lecture}/transcription": Answers(401, 404, 403),
    "DELETE /api/v1/lectures/{lecture}/transcription": Answers(401, 404, 403),
    "POST /api/v1/lectures/{lecture}/slides": Answers(401, 404, 403),
    "DELETE /api/v1/lectures/{lecture}/slides": Answers(401, 404, 403),
    "GET /api/v1/lectures/{lecture}/tracks": Answers(401, 404, 404),
    "GET /api/v1/lectures/{lecture}/subtitles/{language}": Answers(401, 404, 404),
    "PUT /api/v1/lectures/{lecture}/subtitles/{language}": Answers(401, 404, 403),
    "DELETE /api/v1/lectures/{lecture}/subtitles/{language}": Answers(401, 404, 403),
    "GET /api/v1/lectures/{lecture}/chapters": Answers(401, 404, 404),
    "PUT /api/v1/lectures/{lecture}/chapters": Answers(401, 404, 403),
    "DELETE /api/v1/lectures/{lecture}/chapters": Answers(401, 404, 403),
    "POST /api/v1/exams/templates": Answers(401, 422, 403),
    "GET /api/v1/exams/templates": Answers(401, 200, 403),
    "GET /api/v1/exams/templates/{template}": Answers(401, 404, 403),
    "DELETE /api/v1/exams/templates/{template}": Answers(401, 404, 403),
    "POST /api/v1/exams": Answers(401, 404, 403),
    "GET /api/v1/exams": Answers(401, 200, 403),
    "GET /api/v1/exams/{exam}": Answers(401, 404, 403),
    "PATCH /api/v1/exams/{exam}": Answers(401, 404, 403),
    "DELETE /api/v1/exams/{exam}": Answers(401, 404, 403),
    "POST /api/v1/exams/{exam}/batches": Answers(401, 404, 403),
    "GET /api/v1/exams/{exam}/batches": Answers(401, 404, 403),
    "GET /api/v1/exams/{exam}/results": Answers(401, 404, 403),
    "GET /api/v1/exams/{exam}/results.{export_type}": Answers(401, 404, 403),
    "GET /api/v1/exams/batches/{batch}": Answers(401, 404, 403),
    "POST /api/v1/exams/batches/{batch}/grade": Answers(401, 404, 403),
    "POST /api/v1/exams/batches/{batch}/cancel": Answers(401, 404, 403),
    "DELETE /api/v1/exams/batches/{batch}": Answers(401, 404, 403),
    "GET /api/v1/exams/sheets/{sheet}": Answers(401, 404, 403),
    "POST /api/v1/exams/sheets/{sheet}/grade": Answers(401, 404, 403),
    "PATCH /api/v1/exams/readings/{reading}": Answers(401, 404, 403),
    "POST /api/v1/questions": Answers(401, 422, 403),
    "GET /api/v1/questions": Answers(401, 200, 403),
    "POST /api/v1/questions/search": Answers(401, 422, 403),
    "POST /api/v1/questions/comparisons": Answers(401, 429, 403),
    "GET /api/v1/questions/comparisons": Answers(401, 200, 403),
    "GET /api/v1/questions/comparisons/{comparison}": Answers(401, 404, 403),
    "POST /api/v1/questions/scans": Answers(401, 422, 403),
    "GET /api/v1/questions/scans": Answers(401, 200, 403),
    "GET /api/v1/questions/scans/{scan}": Answers(401, 404, 403),
    "POST /api/v1/questions/scans/{scan}/read": Answers(401, 404, 403),
    "POST /api/v1/questions/scans/{scan}/cancel": Answers(401, 404, 403),
    "DELETE /api/v1/questions/scans/{scan}": Answers(401, 404, 403),
    "GET /api/v1/questions/{question}": Answers(401, 404, 403),
    "PATCH /api/v1/questions/{question}": Answers(401, 404, 403),
    "DELETE /api/v1/questions/{question}": Answers(401, 404, 403),
}
BODIES: dict[str, dict[str, Any]] = {
    "POST /api/v1/lectures/{lecture}/replace": {"file_name": "a.mp4", "size": 1000, "content_type": "video/mp4"},
    "PUT /api/v1/lectures/{lecture}/subtitles/{language}": {"vtt": "WEBVTT"},
    "PUT /api/v1/lectures/{lecture}/chapters": {"vtt": "WEBVTT"},
    "POST /api/v1/exams": {"title": "시험", "template": "{template}"},
    "POST /api/v1/exams/{exam}/batches": {"files": [{"file_name": "a.jpg", "size": 1, "content_type": "image/jpeg"}]},
    "PATCH /api/v1/exams/readings/{reading}": {"corrections": {"q1": "A"}},
}
"""Where an empty body would be refused before the id is looked up."""


def _operations() -> list[str]:
    paths: dict[str, dict[str, Any]] = api.get_openapi_schema(path_prefix="/api")["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


def test_every_operation_has_its_expectation() -> None:
    assert sorted(_operations()) == sorted(EXPECTED)


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    """A row of `world.academy` for each path parameter, by its name."""
    invitation: Invitation = people.invite(world.academy.pk, "invited@example.com", "초대", Role.STUDENT)[0]
    key: ApiKey = people.make_key(of_membership(world.director), "script", frozenset())[0]
    lecture = Lecture.objects.create(academy=world.academy, title="강의", created_by=world.teacher)
    owned = {"academy": world.academy}
    template = Template.objects.create(title="OMR", definition={}, **owned)
    exam = Exam.objects.create(title="시험", template=template, **owned)
    batch = Batch.objects.create(exam=exam, **owned)
    sheet = Sheet.objects.create(batch=batch, number=1, file_name="a", content_type="image/png", size=1, **owned)
    read = {name: {} for name in ("answers", "confidence", "unsure", "doubles", "blanks")}
    reading = Reading.objects.create(sheet=sheet, page=1, open_columns=0, **read, **owned)
    question = Question.objects.create(text="질문", grams=[], **owned)
    comparison = Comparison.objects.create(**owned)
    scan = Scan.objects.create(title="기출", files=[], **owned)
    return {
        "question": str(question.pk),
        "comparison": str(comparison.pk),
        "scan": str(scan.pk),
        "template": str(template.pk),
        "exam": str(exam.pk),
        "batch": str(batch.pk),
        "sheet": str(sheet.pk),
        "reading": str(reading.pk),
        "export_type": "csv",
        "language": "ko",
        "lecture": str(lecture.pk),
        "membership": str(world.teacher.pk),
        "invitation": str(invitation.pk),
        "key": str(key.pk),
    }


def _filled(body: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Ids in a body are written as in a path."""
    return {name: value.format(**ids) if isinstance(value, str) else value for name, value in body.items()}


@pytest.mark.parametrize("operation", sorted(EXPECTED))
def test_each_caller_gets_what_is_expected(
    operation: str, world: World, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A comparison would write to the object store: its allowance is the last thing that can refuse it before.
    monkeypatch.setattr(questions, "config", questions.config.model_copy(update={"AI_DAILY_BASIC": 0}))
    method, path = operation.split(" ")
    callers: dict[str, Api] = {
        "stranger": stranger(),
        "other_director": signed_in(world.other_director),
        "student": signed_in(world.student),
    }
    answers = {
        who: caller.call(method, path.format(**ids), _filled(BODIES.get(operation, {}), ids))
        for who, caller in callers.items()
    }
    assert {who: answer.status_code for who, answer in answers.items()} == EXPECTED[operation]._asdict()
    for answer in answers.values():
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert {"type", "title", "status", "code", "ko", "en", "request_id"} <= answer.json().keys()
    seen = answers["other_director"].content.decode()
    for secret in (world.academy.name, str(world.academy.pk), *ids.values(), "invited@example.com", PASSWORD):
        if answers["other_director"].status_code < 400:
            assert secret not in seen


def _internal(patterns: list[URLPattern | URLResolver], prefix: str = "/") -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            found += _internal(pattern.url_patterns, here)
        elif here.startswith("/internal/"):
            found.append(here.replace("<int:task>", "1"))
    return found


def test_worker_endpoints_refuse_whoever_has_no_worker_token(world: World) -> None:
    paths = _internal(get_resolver().url_patterns)
    assert paths
    for caller in (stranger(), signed_in(world.director)):
        for path in paths:
            answer = caller.call("POST", path, {})
            assert (path, answer.status_code) == (path, 401)
            assert answer["Content-Type"] == "application/problem+json"
