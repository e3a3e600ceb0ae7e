"""What the question bank's endpoints take and give."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from academy_ai.kinds.question_similar.spec import MAX_TEXT
from academy_api.questions.models import Comparison

ADDED_AT_ONCE = 200

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Choice = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class _In(Schema):
    model_config = ConfigDict(extra="forbid")


class QuestionIn(_In):
    """A question."""

    text: Text
    choices: Annotated[list[Choice], Field(default_factory=list, max_length=10)]
    answer: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT)] = ""
    source: Short = ""


class QuestionsIn(_In):
    """Questions to add."""

    questions: Annotated[list[QuestionIn], Field(min_length=1, max_length=ADDED_AT_ONCE)]


class QuestionPatch(_In):
    """What is to change."""

    text: Text = ""
    choices: Annotated[list[Choice], Field(default_factory=list, max_length=10)]
    answer: Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT)] = ""
    source: Short = ""


class QuestionOut(Schema):
    """A question of the bank."""

    id: UUID
    text: str
    choices: list[str]
    answer: str
    source: str
    created_at: datetime


class AddedOut(Schema):
    """The ids of what was added, in the order in which it came."""

    ids: list[UUID]


class SearchIn(_In):
    """What is looked for."""

    text: Text
    limit: Annotated[int, Field(ge=1, le=50)] = 10


class SimilarOut(Schema):
    """A similar question."""

    question: QuestionOut
    score: float = Field(description="0 to 1: the share of the text's weight that the question has too.")
    same: bool = Field(description="The same question but for trifles: the same numbers, nearly the same wording.")


class PairOut(Schema):
    """Two questions that are alike."""

    first: UUID
    second: UUID
    likeness: float


class GroupOut(Schema):
    """Questions that are the same."""

    ids: list[UUID]
    pairs: list[PairOut]


class ReasonOut(Schema):
    """Why it failed."""

    code: str
    ko: str
    en: str


class ComparisonOut(Schema):
    """A comparison of the whole bank with itself."""

    id: UUID
    state: Comparison.State
    created_at: datetime
    questions: int | None = Field(description="How many were compared; null until it is done.")
    duplicates: int | None = Field(description="How many could go: all but one of each group.")
    reason: ReasonOut | None


class ComparisonDetail(ComparisonOut):
    """A comparison with what it found."""

    groups: list[GroupOut]
