"""What the track endpoints take and give."""

from datetime import datetime
from typing import Annotated, Literal

from ninja import Schema
from pydantic import Field

from academy_api.schemas import In, ReasonOut
from academy_api.tracks.models import State, What

Language = Literal["ko", "en"]
MAX_TEXT = 1_000_000


class TranscriptionIn(In):
    """What subtitles are wanted."""

    language: Language | None = Field(None, description="What is spoken; found out when null.")
    translate: bool = Field(default=False, description="English subtitles as well.")


class TextIn(In):
    """A track as a person wrote it."""

    vtt: Annotated[str, Field(max_length=MAX_TEXT, description="WebVTT.")]


class AnalysisOut(Schema):
    """How far the machine is."""

    what: What
    state: State
    percent: float = Field(description="Of the tasks that are known yet.")
    reason: ReasonOut | None


class TrackOut(Schema):
    """One track that is shown, or will be in a moment."""

    what: What
    language: str
    translated: bool
    edited: bool = Field(description="A person's text is shown instead of the machine's.")
    edited_at: datetime | None
    published: bool = Field(description="The playlists show this very text.")


class ChapterOut(Schema):
    """One chapter: seconds, title, and a picture's address that is good for an hour."""

    start: float
    end: float
    title: str
    thumbnail: str | None


class TracksOut(Schema):
    """All of a lecture's tracks."""

    analyses: list[AnalysisOut]
    tracks: list[TrackOut]
    chapters: list[ChapterOut]
