"""exam.ocr: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

MAX_PICTURES = 100

Key = Annotated[str, Field(min_length=1, max_length=1024)]


class ExamOcrInput(KindInput):
    """Pictures of one question each, as `exam.segment` cuts them out; or whole pages of one column."""

    pictures: tuple[Key, ...] = Field(min_length=1, max_length=MAX_PICTURES)
    """Pictures and PDFs, in order."""
    straight: bool = True
    """False for photos and scans as they come: the page is then cut out and straightened first."""

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        return self.pictures


class Formula(Payload):
    """A formula: a picture (a file of the artefacts) that stands in the text as `⟦n⟧`, n from 1."""

    picture: str
    x: int
    y: int
    width: int
    height: int


class LineRead(Payload):
    """One line of text with its box in pixels of the straightened picture; confidence of its least certain word."""

    text: str
    confidence: float
    x: int
    y: int
    width: int
    height: int


class PictureRead(Payload):
    """One picture, read or refused."""

    source: Key
    page: int
    """Page of a PDF, from 1; 1 for a picture."""
    text: str = ""
    confidence: float = 0.0
    """Mean over the signs read, 0 to 1; 0 where nothing was read."""
    lines: tuple[LineRead, ...] = ()
    formulae: tuple[Formula, ...] = ()
    engine: str = "tesseract"
    """Who read it: `tesseract` or `google-vision`."""
    straightened: str | None = None
    """What was read, on white paper (a file of the artefacts)."""
    refused: str | None = None
    reason_ko: str = ""
    reason_en: str = ""


class ExamOcrResult(Payload):
    """The summary; the texts are in `details` (a JSON list of PictureRead)."""

    pictures: int
    refused: int
    confidence: float
    """Mean of those that were read, 0 to 1."""
    artefacts: tuple[str, ...]
    details: str = "text.json"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return (self.details, *self.artefacts)


KIND = TaskKind("exam.ocr", 1, Queue.AI_BASIC, Urgency.SHORT, ExamOcrInput, ExamOcrResult, max_seconds=600)
