"""exam.ocr: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, model_validator

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

MAX_PICTURES = 100

Key = Annotated[str, Field(min_length=1, max_length=1024)]


class ExamOcrInput(KindInput):
    """Pictures of one question each, as `exam.segment` cuts them out; or whole pages of one column."""

    pictures: tuple[Key, ...] = Field((), max_length=MAX_PICTURES)
    """Pictures and PDFs, in order."""
    cut: tuple[str, ...] = Field((), max_length=MAX_PICTURES)
    """Or pictures that an earlier task of the same job left."""
    part: Annotated[str, Field(pattern=r"^[a-z0-9-]*$", max_length=16)] = ""
    """Stands before the names of all files that are left: tasks of one job must not take each other's."""
    straight: bool = True
    """False for photos and scans as they come: the page is then cut out and straightened first."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.pictures and not self.cut:
            raise ValueError("no picture to read")
        return self

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        return self.pictures

    def artefacts(self) -> Iterable[str]:
        """See KindInput.artefacts."""
        return self.cut


class Cut(Payload):
    """Something cut out as a picture (a file of the artefacts), and where it stood."""

    picture: str
    x: int
    y: int
    width: int
    height: int


class Formula(Cut):
    """A formula: it stands in the text as `⟦n⟧`, n from 1."""


class Figure(Cut):
    """A drawing: it stands in no text."""


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
    figures: tuple[Figure, ...] = ()
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
