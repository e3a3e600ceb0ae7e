"""Endpoints under /api/v1/questions. Thin: who may, what is asked, and how it reads."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from ninja import Query, Router, Status
from pydantic import TypeAdapter

from academy_ai.kinds.question_similar import grams
from academy_ai.kinds.question_similar.spec import Group, QuestionSimilarResult
from academy_api import buckets, off_loop
from academy_api.accounts import audit
from academy_api.accounts.access import Scope
from academy_api.accounts.auth import Request, get, require, scoped
from academy_api.accounts.idempotency import idempotent
from academy_api.exams import uploads
from academy_api.paging import Page, PageQuery, page
from academy_api.questions import search, service
from academy_api.questions.models import Comparison, Question, Scan, Scanned
from academy_api.questions.schemas import (
    AddedOut,
    ComparisonDetail,
    ComparisonOut,
    CropOut,
    GroupOut,
    PairOut,
    QuestionIn,
    QuestionOut,
    QuestionPatch,
    QuestionsIn,
    ScannedOut,
    SearchIn,
    SimilarOut,
)
from academy_api.schemas import ReasonOut
from academy_core.errors import NotFound

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
def index(
    request: Request, paging: Query[PageQuery], scan: UUID | None = None, *, review: bool = False
) -> dict[str, Any]:
    """The bank, newest first; the questions of one scan, or those that a person has to look at (`review`)."""
    rows = _rows(request)
    if scan is not None:
        rows = rows.filter(scanned__scan=get(Scan, request.auth, scan))
    if review:
        rows = rows.filter(scanned__to_review=True)
    found = page(rows, paging, "created_at")
    return found | {"items": [_question(each) for each in found["items"]]}


@router.post("/search", response=list[SimilarOut], auth=READ)
def similar(request: Request, body: SearchIn) -> list[SimilarOut]:
    """Questions like a text, the most similar first; those that are the same are marked."""
    found = search.similar(request.auth.academy, body.text, body.limit)
    rows = _rows(request).in_bulk([one.question for one in found])
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
        data = buckets.ai().get(f"{found.prefix}found/{result.details}")
        groups = off_loop.run(lambda: _groups(data))
    return ComparisonDetail(**_comparison(found).dict(), groups=groups)


@router.get("/{uuid:question}", response=QuestionOut, auth=READ)
def detail(request: Request, question: UUID) -> QuestionOut:
    """One question."""
    return _question(_one(request, question))


@router.patch("/{uuid:question}", response=QuestionOut, auth=WRITE)
def change(request: Request, question: UUID, body: QuestionPatch) -> QuestionOut:
    """Change a question, or say by an empty body that it is right as it was read."""
    service.change(_one(request, question), body.dict(exclude_unset=True))
    return _question(_one(request, question))


@router.delete("/{uuid:question}", response={204: None}, auth=WRITE)
def delete(request: Request, question: UUID) -> Status[None]:
    """Take a question out of the bank."""
    found = get(Question, request.auth, question)
    with transaction.atomic():
        service.remove(found)
        audit.record(request, "question.delete", question, by=request.auth)
    return Status(204, None)


def _rows(request: Request) -> QuerySet[Question]:
    return scoped(Question, request.auth).defer("grams").select_related("scanned")


def _one(request: Request, question: UUID) -> Question:
    found = _rows(request).filter(pk=question).first()
    if found is None:
        raise NotFound
    return found


def _made(request: Request, given: QuestionIn) -> Question:
    return Question(
        academy_id=request.auth.academy,
        text=given.text,
        choices=given.choices,
        passage=given.passage,
        answer=given.answer,
        source=given.source,
        created_by_id=request.auth.membership,
    )


def _question(question: Question) -> QuestionOut:
    return QuestionOut(
        id=question.pk,
        text=question.text,
        choices=question.choices,
        passage=question.passage,
        answer=question.answer,
        source=question.source,
        created_at=question.created_at,
        scanned=_scanned(question.scanned) if hasattr(question, "scanned") else None,
    )


def _scanned(scanned: Scanned) -> ScannedOut:
    return ScannedOut(
        scan=scanned.scan_id,
        number=scanned.number,
        confidence=scanned.confidence,
        doubts=scanned.doubts,
        to_review=scanned.to_review,
        crops=[CropOut(what=c["what"], sign=c["sign"], url=uploads.get_url(c["key"])) for c in scanned.crops],
    )


def _comparison(comparison: Comparison) -> ComparisonOut:
    result = None if comparison.result is None else QuestionSimilarResult.model_validate(comparison.result)
    return ComparisonOut(
        id=comparison.pk,
        state=Comparison.State(comparison.state),
        created_at=comparison.created_at,
        questions=None if result is None else result.questions,
        duplicates=None if result is None else result.duplicates,
        reason=ReasonOut.of(comparison.reason_code, comparison.reason_ko, comparison.reason_en),
    )


def _groups(data: bytes) -> list[GroupOut]:
    return [
        GroupOut(
            ids=[UUID(each) for each in group.ids],
            pairs=[PairOut(first=UUID(p.first), second=UUID(p.second), likeness=p.likeness) for p in group.pairs],
        )
        for group in _GROUPS.validate_json(data)[:GROUPS_SHOWN]
    ]
