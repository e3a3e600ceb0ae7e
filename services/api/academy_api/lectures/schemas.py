"""What the lecture endpoints take and give."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from ninja import Schema
from pydantic import Field, StringConstraints

from academy_api.lectures.models import Language, State
from academy_api.lectures.progress import StageState
from academy_api.schemas import In, ReasonOut

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class FileIn(In):
    """The recording that is going to be uploaded."""

    file_name: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    size: Annotated[int, Field(gt=0, description="Bytes.")]
    content_type: Annotated[str, StringConstraints(min_length=1, max_length=100, to_lower=True)]


class LectureIn(FileIn):
    """A new lecture."""

    title: Title
    language: Annotated[
        Language, Field(description="Spoken in it: of several tracks of sound, the one in this language is published.")
    ] = Language.KOREAN


class PartsIn(In):
    """Which URLs are wanted."""

    after: Annotated[int, Field(ge=0, description="Only parts with a higher number.")] = 0


class PartOut(Schema):
    """A part that has arrived."""

    number: int
    size: int


class PartUrlOut(PartOut):
    """Where to PUT a missing part's bytes, without any header of your own."""

    url: str


class PartsOut(Schema):
    """How far the upload is. All parts have `part_bytes` bytes but the last."""

    part_bytes: int
    part_count: int
    uploaded: list[PartOut]
    missing: int
    urls: list[PartUrlOut] = Field(description="For the first missing parts; ask again for more, or for fresh ones.")
    expires_seconds: int


class StageOut(Schema):
    """One stage: upload, plan, chunks or publish."""

    name: str
    state: StageState
    done: int
    total: int | None
    percent: float | None


class ReportOut(Schema):
    """What the finished recording is like."""

    bytes: int = Field(description="Of all files.")
    lost_seconds: float = Field(description="What the uploaded file claims and does not hold: its end is cut off.")
    lost_sound: bool = Field(
        description="The uploaded file lists sound of which nothing could be found or decoded: it has none to hear."
    )
    patched_seconds: float = Field(description="Length of the stretches of which not all could be read.")
    similarity: float | None = Field(
        description="SSIM of samples of the best rung against the upload, 1 is equal; null when none was taken."
    )


class PublicationOut(Schema):
    """The newest recording of the lecture and how far it is."""

    id: UUID
    state: State
    file_name: str
    size: int
    part_bytes: int
    created_at: datetime
    duration_seconds: float | None
    playable_seconds: float
    stages: list[StageOut]
    reason: ReasonOut | None
    report: ReportOut | None = Field(description="Null until it is ready.")


class LectureOut(Schema):
    """A lecture. `duration_seconds` and `playable_seconds` are of what plays now."""

    id: UUID
    title: str
    language: Language
    state: State
    created_at: datetime
    duration_seconds: float | None
    playable_seconds: float


class LectureDetail(LectureOut):
    """A lecture with its newest publication, which a student is not shown."""

    replacing: bool = Field(description="A newer recording is on its way (or failed) while the ready one plays.")
    publication: PublicationOut | None
