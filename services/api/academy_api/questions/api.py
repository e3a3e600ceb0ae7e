"""Endpoints under /api/v1/questions. Thin: who may, what is asked, and how it reads."""

from typing import Any
from uuid import UUID

from django.db import transaction
from ninja import Query, Router, Status
from pydantic import TypeAdapter

from academy_ai.kinds.question_similar import grams
from academy_ai.kinds.question_similar.spec import Group, QuestionSimilarResult
from academy_api import off_loop
from academy_api.accounts import audit
from academy_api.accounts.access import Scope
from academy_api.accounts.auth import Request, get, require, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.exams import store
from academy_api.paging import Page, PageQuery, page
from academy_api.questions import search, service
from academy_api.questions.models import Comparison, Question
from academy_api.questions.schemas import (
    AddedOut,
    ComparisonDetail,
    ComparisonOut,
    GroupOut,
    PairOut,
    QuestionIn,
    QuestionOut,
    QuestionPatch,
    QuestionsIn,
    ReasonOut,
    SearchIn,
    SimilarOut,
)

router = Router(tags=["questions"])

READ = require(Scope.EXAMS_READ)
WRITE = require(Scope.EXAMS_WRITE)
GROUPS_SHOWN = 500

_GROUPS = TypeAdapter(list[Group])


@router.post("", response={201: AddedOut}, auth=WRITE)
@idempotent
def add(request: Request, body: QuestionsIn) -> Status[AddedOut]:
    """Add questions to the academy's bank."""
    made = [_made(request, question) for question in body.questions]
    service.add(request.auth.academy, made)
    return Status(201, AddedOut(ids=[question.pk for question in made]))


@router.get("", response=Page[QuestionOut], auth=READ)
def index(request: Request, paging: Query[PageQuery]) -> dict[str, Any]:
    """The bank, newest first."""
    found = page(scoped(Question, request.auth).defer("grams"), paging, "created_at")
    return found | {"items": [_question(each) for each in found["items"]]}


@router.post("/search", response=list[SimilarOut], auth=READ)
def similar(request: Request, body: SearchIn) -> list[SimilarOut]:
    """Questions like a text, the most similar first; those that are the same are marked."""
    found = search.similar(request.auth.academy, body.text, body.limit)
    rows = scoped(Question, request.auth).defer("grams").in_bulk([one.question for one in found])
    return [
        SimilarOut(
            question=_question(rows[one.question]),
            score=round(one.score, 4),
            same=grams.likeness(body.text, rows[one.question].text) >= grams.SAME,
        )
        for one in found
        if one.question in rows
    ]


@router.post("/comparisons", response={201: ComparisonOut}, auth=WRITE)
@idempotent
def compare(request: Request) -> Status[ComparisonOut]:
    """Have the whole bank searched for questions that stand in it twice."""
    return Status(201, _comparison(service.compare(request.auth.academy, request.request_id)))


@router.get("/comparisons", response=Page[ComparisonOut], auth=READ)
def comparisons(request: Request, paging: Query[PageQuery]) -> dict[str, Any]:
    """Comparisons, newest first."""
    found = page(scoped(Comparison, request.auth), paging, "created_at")
    return found | {"items": [_comparison(each) for each in found["items"]]}


@router.get("/comparisons/{uuid:comparison}", response=ComparisonDetail, auth=READ)
def comparison_detail(request: Request, comparison: UUID) -> ComparisonDetail:
    """What a comparison found: the first groups, each with how alike its questions are."""
    found = get(Comparison, request.auth, comparison)
    groups: list[GroupOut] = []
    if found.state == Comparison.State.DONE:
        result = QuestionSimilarResult.model_validate(found.result)
        data = store.ai().get(f"{found.prefix}found/{result.details}")
        groups = off_loop.run(lambda: _groups(data))
    return ComparisonDetail(**_comparison(found).dict(), groups=groups)


@router.get("/{uuid:question}", response=QuestionOut, auth=READ)
def detail(request: Request, question: UUID) -> QuestionOut:
    """One question."""
    return _question(get(Question, request.auth, question))


@router.patch("/{uuid:question}", response=QuestionOut, auth=WRITE)
def change(request: Request, question: UUID, body: QuestionPatch) -> QuestionOut:
    """Change a question."""
    found = get(Question, request.auth, question)
    service.change(found, body.dict(exclude_unset=True))
    return _question(get(Question, request.auth, question))


@router.delete("/{uuid:question}", response={204: None}, auth=WRITE)
def delete(request: Request, question: UUID) -> Status[None]:
    """Take a question out of the bank."""
    found = get(Question, request.auth, question)
    with transaction.atomic():
        service.remove(found)
        audit.record(request, "question.delete", question, by=request.auth)
    return Status(204, None)


def _made(request: Request, given: QuestionIn) -> Question:
    return Question(
        academy_id=request.auth.academy,
        text=given.text,
        choices=given.choices,
        answer=given.answer,
        source=given.source,
        created_by_id=request.auth.membership,
    )


def _question(question: Question) -> QuestionOut:
    return QuestionOut(
        id=question.pk,
        text=question.text,
        choices=question.choices,
        answer=question.answer,
        source=question.source,
        created_at=question.created_at,
    )


def _comparison(comparison: Comparison) -> ComparisonOut:
    result = None if comparison.result is None else QuestionSimilarResult.model_validate(comparison.result)
    reason = None
    if comparison.reason_code:
        reason = ReasonOut(code=comparison.reason_code, ko=comparison.reason_ko, en=comparison.reason_en)
    return ComparisonOut(
        id=comparison.pk,
        state=Comparison.State(comparison.state),
        created_at=comparison.created_at,
        questions=None if result is None else result.questions,
        duplicates=None if result is None else result.duplicates,
        reason=reason,
    )


def _groups(data: bytes) -> list[GroupOut]:
    return [
        GroupOut(
            ids=[UUID(each) for each in group.ids],
            pairs=[PairOut(first=UUID(p.first), second=UUID(p.second), likeness=p.likeness) for p in group.pairs],
        )
        for group in _GROUPS.validate_json(data)[:GROUPS_SHOWN]
    ]
