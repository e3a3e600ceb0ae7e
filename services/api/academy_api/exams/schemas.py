"""What the exam endpoints take and give."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Schema
from pydantic import Base64Bytes, Field, StringConstraints

from academy_ai.kinds.omr_grade.spec import MAX_FILES
from academy_api.exams.models import Policy, State
from academy_api.schemas import In, ReasonOut

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Marker = Annotated[Base64Bytes, Field(max_length=400_000, description="Its picture, base64.")]
Value = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Json = dict[str, Any]


class TemplateIn(In):
    """A new answer sheet."""

    title: Title
    definition: Json = Field(description="OMRChecker's `template.json`.")
    marker: Marker | None = Field(None, description="The corner marker's picture, for templates with CropOnMarkers.")


class TemplateOut(Schema):
    """An answer sheet."""

    id: UUID
    title: str
    columns: list[str] = Field(description="What is read of a sheet, in the order of the results.")
    created_at: datetime


class TemplateDetail(TemplateOut):
    """An answer sheet with its definition."""

    definition: Json
    has_marker: bool


class ExamIn(In):
    """A new exam."""

    title: Title
    template: UUID
    answer_key: Json | None = Field(None, description="OMRChecker's `evaluation.json`; nothing is marked without it.")
    doubles: Policy = Field(Policy.KEEP, description="Two marks in a field: keep both, or leave it to a person.")
    blanks: Policy = Field(Policy.KEEP, description="No mark in a field: keep it blank, or leave it to a person.")


class ExamPatch(In):
    """What may change later. A new key marks every sheet anew at once."""

    title: Title | None = None
    answer_key: Json | None = Field(None, description="null takes the key away.")
    doubles: Policy | None = None
    blanks: Policy | None = None


class ExamOut(Schema):
    """An exam."""

    id: UUID
    title: str
    template: UUID
    has_key: bool
    created_at: datetime


class ExamDetail(ExamOut):
    """An exam with its key and how many sheets stand where."""

    answer_key: Json | None
    doubles: Policy
    blanks: Policy
    sheets: dict[State, int]
    to_review: int = Field(description="Pages with something that a person has to look at.")


class FileIn(In):
    """A file that is going to be uploaded: a picture of one sheet, or a PDF with a sheet a page."""

    file_name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    size: Annotated[int, Field(gt=0, description="Bytes.")]
    content_type: Annotated[str, StringConstraints(min_length=1, max_length=100, to_lower=True)]


class BatchIn(In):
    """A new batch."""

    files: Annotated[list[FileIn], Field(min_length=1, max_length=MAX_FILES)]


class GradeIn(In):
    """What is to be graded."""

    again: bool = Field(default=False, description="Also sheets that were graded, failed or were cancelled before.")


class SheetOut(Schema):
    """One file of a batch."""

    id: UUID
    number: int
    file_name: str
    state: State
    upload_url: str | None = Field(description="Where to PUT the file, with the Content-Type that was announced.")
    reason: ReasonOut | None


class SheetDetail(SheetOut):
    """One file with its progress."""

    batch: UUID
    pages: int = Field(description="Pages read so far stored; 0 until it is graded.")
    percent: float | None = Field(description="How far the grading under way is; null when none is.")


class BatchOut(Schema):
    """A batch and how many of its sheets stand where."""

    id: UUID
    exam: UUID
    created_at: datetime
    sheets: dict[State, int]


class BatchDetail(BatchOut):
    """A batch with its files."""

    files: list[SheetOut]
    expires_seconds: int = Field(description="How long the upload URLs are good; read the batch again for fresh ones.")


class GradedOut(Schema):
    """How many sheets were handed to the workers."""

    submitted: int


class MarksOut(Schema):
    """Marks of a page. `open` columns count for nothing until a person has looked at them."""

    score: float
    out_of: float
    right: int
    wrong: int
    blank: int
    open: int


class ResultOut(Schema):
    """One page: what the machine read, what a teacher says, and what follows."""

    id: UUID
    sheet: UUID
    file_name: str
    page: int
    refused: ReasonOut | None
    read: dict[str, str] = Field(description="What the machine read; `?` stands for a part that it was unsure of.")
    confidence: dict[str, float]
    corrections: dict[str, str]
    answers: dict[str, str] = Field(description="What stands: corrections over readings.")
    unsure: list[str] = Field(description="Columns that a person still has to look at.")
    marks: MarksOut | None = Field(description="null without a key, or while a column is not known.")
    picture_url: str | None = Field(description="The page upright with what was read drawn on it.")


class CorrectionsIn(In):
    """A teacher's word on columns of one page. null takes an earlier one back."""

    corrections: Annotated[
        dict[Annotated[str, Field(max_length=64)], Value | None], Field(min_length=1, max_length=500)
    ]
