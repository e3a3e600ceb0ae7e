"""omr.grade: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

MAX_FILES = 100

Key = Annotated[str, Field(min_length=1, max_length=1024)]


class OmrGradeInput(KindInput):
    """Sheets of one exam, all printed from one template."""

    template: Key
    """OMRChecker's `template.json`."""
    sheets: tuple[Key, ...] = Field(min_length=1, max_length=MAX_FILES)
    """Pictures (one sheet each) and PDFs (a sheet a page)."""
    key: Key | None = None
    """OMRChecker's `evaluation.json`: answers and marking scheme. Without it nothing is marked."""
    marker: Key | None = None
    """The corner marker's picture, for templates with `CropOnMarkers`."""
    doubles: Literal["keep", "unsure"] = "keep"
    """Two or more marks in a field: keep them joined (`BC`), or leave the field to a person."""
    blanks: Literal["keep", "unsure"] = "keep"
    """No mark in a field: keep it empty, or leave the field to a person."""

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        yield self.template
        yield from self.sheets
        yield from (key for key in (self.key, self.marker) if key is not None)


class Marks(Payload):
    """Marks of one sheet. `open`: columns that count for nothing until a person has looked at them."""

    score: float
    out_of: float
    right: int
    wrong: int
    blank: int
    open: int


class SheetRead(Payload):
    """One sheet, read or refused."""

    source: Key
    page: int
    """Page of a PDF, from 1; 1 for a picture."""
    refused: str | None = None
    """Code of the reason, when the sheet could not be read."""
    reason_ko: str = ""
    reason_en: str = ""
    answers: dict[str, str] = Field(default_factory=dict)
    """Column -> what was read; `?` stands for a part that is unsure."""
    confidence: dict[str, float] = Field(default_factory=dict)
    """Column -> confidence of its least certain part, 0 to 1."""
    unsure: tuple[str, ...] = ()
    doubles: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ()
    marks: Marks | None = None
    picture: str | None = None
    """The sheet upright with what was read drawn on it (a file of the artefacts)."""

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return () if self.picture is None else (self.picture,)


class OmrGradeResult(Payload):
    """All sheets. The readings themselves are in `details` (a JSON list of SheetRead) and, as a table, in `table`."""

    sheets: int
    refused: int
    unsure: int
    """Sheets with at least one unsure column."""
    pictures: tuple[str, ...]
    details: str = "answers.json"
    table: str = "answers.csv"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return (self.details, self.table, *self.pictures)


KIND = TaskKind("omr.grade", 1, Queue.AI_LITE, Urgency.SHORT, OmrGradeInput, OmrGradeResult, max_seconds=300)
