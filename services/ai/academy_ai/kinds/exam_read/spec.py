"""exam.read: what goes in and what comes out. Light: the API may import it.

Flow: exam.read (finds the questions, as exam.segment) -> children exam.ocr x n (their text) -> then exam.read.collect
(text, choices and passages put together, and what a person has to look at).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from academy_ai.kind import KindInput
from academy_ai.kinds.exam_ocr.spec import ExamOcrResult
from academy_ai.kinds.exam_segment.spec import ExamSegmentInput, ExamSegmentResult, PageSeen
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

MAX_QUESTIONS = 1000

Doubt = Literal["text", "choices", "picture"]
"""What a person has to look at: a badly read word; choices that do not count up; a picture that could not be read."""


class ExamReadInput(ExamSegmentInput):
    """Pages of one exam in order."""


class CollectInput(KindInput):
    """Where the layout is; the texts' results come with it."""

    layout: str
    texts: tuple[ExamOcrResult, ...] = ()

    def artefacts(self) -> Iterable[str]:
        """See KindInput.artefacts."""
        yield self.layout
        yield from (text.details for text in self.texts)

    def with_results(self, results: Sequence[Mapping[str, Any]]) -> Self:
        """See KindInput.with_results."""
        return self.model_copy(update={"texts": tuple(ExamOcrResult.model_validate(result) for result in results)})


class Crop(Payload):
    """A picture cut from the pages, a file of the job: the question as printed, a formula of its text, a figure."""

    what: Literal["question", "passage", "formula", "figure"]
    picture: Annotated[str, Field(pattern=r"^[a-z0-9-]+\.png$", max_length=100)]
    sign: str = ""
    """A formula's sign in the text."""


class QuestionRead(Payload):
    """One question."""

    number: Annotated[int, Field(ge=0, le=999)]
    text: str
    choices: tuple[str, ...] = ()
    """In order, without their circled digits; empty for an open question."""
    passage: str = ""
    """The text that it shares with others."""
    crops: tuple[Crop, ...]
    confidence: float
    """Mean over the signs read, 0 to 1."""
    doubts: tuple[Doubt, ...] = ()


class ExamRead(Payload):
    """What `details` holds."""

    pages: tuple[PageSeen, ...]
    questions: Annotated[tuple[QuestionRead, ...], Field(max_length=MAX_QUESTIONS)]
    """By number, no number twice."""
    missing: tuple[int, ...] = ()
    """Numbers between the first and the last that were not found."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len({question.number for question in self.questions}) < len(self.questions):
            raise ValueError("a number stands twice")
        return self


class CollectResult(Payload):
    """The summary; the questions are in `details` (JSON of ExamRead)."""

    pages: int
    refused: int
    questions: int
    doubtful: int
    """Questions that a person has to look at."""
    details: str = "questions.json"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        yield self.details


KIND = TaskKind("exam.read", 1, Queue.AI_BASIC, Urgency.SHORT, ExamReadInput, ExamSegmentResult, max_seconds=300)
COLLECT = TaskKind("exam.read.collect", 1, Queue.AI_BASIC, Urgency.SHORT, CollectInput, CollectResult, max_seconds=120)
STEPS = (COLLECT,)
