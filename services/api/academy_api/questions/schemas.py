"""What the question bank's endpoints take and give."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field, StringConstraints

from academy_ai.kinds.exam_read.spec import Doubt
from academy_ai.kinds.exam_segment.spec import MAX_FILES
from academy_ai.kinds.question_similar.spec import MAX_TEXT
from academy_api.exams.schemas import FileIn
from academy_api.questions.models import Comparison, Work
from academy_api.schemas import In, ReasonOut

ADDED_AT_ONCE = 200

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
Choice = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]
Long = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class QuestionIn(In):
    """A question."""

    text: Text
    choices: Annotated[list[Choice], Field(default_factory=list, max_length=10)]
    passage: Long = ""
    answer: Long = ""
    source: Short = ""


class QuestionsIn(In):
    """Questions to add."""

    questions: Annotated[list[QuestionIn], Field(min_length=1, max_length=ADDED_AT_ONCE)]


class QuestionPatch(In):
    """What is to change. Whatever is sent, nothing included, says that a person has looked at the question."""

    text: Text = ""
    choices: Annotated[list[Choice], Field(default_factory=list, max_length=10)]
    passage: Long = ""
    answer: Long = ""
    source: Short = ""


class CropOut(Schema):
    """A picture cut from the scan."""

    what: Literal["question", "passage", "formula", "figure"]
    sign: str = Field(description="What stands for a formula in the text: `⟦1⟧`; empty for other pictures.")
    url: str


class ScannedOut(Schema):
    """Where a question was read from, and what the machine was unsure of."""

    scan: UUID
    number: int
    confidence: float = Field(description="0 to 1, mean over the signs read.")
    doubts: list[Doubt]
    to_review: bool = Field(description="There are doubts, and no person has looked at it yet.")
    crops: list[CropOut]


class QuestionOut(Schema):
    """A question of the bank."""

    id: UUID
    text: str
    choices: list[str]
    passage: str = Field(description="A text that it shares with other questions.")
    answer: str
    source: str
    created_at: datetime
    scanned: ScannedOut | None = Field(description="null for a question that a person typed.")


class AddedOut(Schema):
    """The ids of what was added, in the order in which it came."""

    ids: list[UUID]


class SearchIn(In):
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


class ScanIn(In):
    """A scanned exam: pictures of its pages, or PDFs, in order."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    files: Annotated[list[FileIn], Field(min_length=1, max_length=MAX_FILES)]


class ReadIn(In):
    """How it is to be read."""

    again: bool = Field(
        default=False, description="Also when it has been read. Questions that nobody has looked at are replaced."
    )


class ScanFileOut(Schema):
    """One file of a scan."""

    file_name: str
    upload_url: str | None = Field(description="Where to PUT the file, with the Content-Type that was announced.")


class RefusedOut(ReasonOut):
    """A page that could not be read."""

    file_name: str
    page: int


class ScanOut(Schema):
    """A scanned exam and how far it is."""

    id: UUID
    title: str
    state: Work
    created_at: datetime
    reason: ReasonOut | None


class ScanDetail(ScanOut):
    """A scanned exam with its files, and what became of it."""

    files: list[ScanFileOut]
    expires_seconds: int = Field(description="How long the upload URLs are good; read the scan again for fresh ones.")
    percent: float | None = Field(description="Of the tasks that are known yet; null when it is not being read.")
    questions: int = Field(description="Of its questions in the bank.")
    to_review: int = Field(description="Of those, with something that a person has to look at.")
    missing: list[int] = Field(description="Numbers between the first and the last question that were not found.")
    refused: list[RefusedOut] = Field(description="Pages that could not be read.")
