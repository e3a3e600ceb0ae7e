"""exam.segment: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

MAX_FILES = 20

Key = Annotated[str, Field(min_length=1, max_length=1024)]


class ExamSegmentInput(KindInput):
    """Pages of one exam in order."""

    pages: tuple[Key, ...] = Field(min_length=1, max_length=MAX_FILES)
    """Pictures (one page each) and PDFs."""

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        return self.pages


class Box(Payload):
    """A rectangle on a page: `page` counts from 0 in `ExamSegmentResult.pages`, pixels of that picture."""

    page: int
    x: int
    y: int
    width: int
    height: int


class Choice(Payload):
    """One of a question's choices; `label` 1 stands for ①."""

    label: int
    box: Box


class Part(Payload):
    """A question or a passage: where it stands, and what a reader needs of it cut out as pictures."""

    boxes: tuple[Box, ...]
    """More than one when it goes on in the next column or on the next page."""
    pictures: tuple[str, ...]
    """Each box cut out (files of the artefacts)."""


class Passage(Part):
    """A text that the questions `first` to `last` share."""

    first: int
    last: int


class Question(Part):
    """One question."""

    number: int
    choices: tuple[Choice, ...] = ()
    passage: int | None = None
    """Place of its passage in the list of passages."""


class PageSeen(Payload):
    """One page, straightened and on white paper, or refused."""

    source: Key
    page: int
    """Page of a PDF, from 1; 1 for a picture."""
    picture: str | None = None
    columns: int = 0
    refused: str | None = None
    reason_ko: str = ""
    reason_en: str = ""


class ExamLayout(Payload):
    """What `details` holds: everything found, in reading order."""

    pages: tuple[PageSeen, ...]
    passages: tuple[Passage, ...]
    questions: tuple[Question, ...]


class ExamSegmentResult(Payload):
    """The summary; the layout itself is in `details` (JSON of ExamLayout)."""

    pages: int
    refused: int
    questions: int
    passages: int
    pictures: tuple[str, ...]
    details: str = "layout.json"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return (self.details, *self.pictures)


KIND = TaskKind("exam.segment", 1, Queue.AI_BASIC, Urgency.SHORT, ExamSegmentInput, ExamSegmentResult, max_seconds=300)
