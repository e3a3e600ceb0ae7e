"""lecture.slides: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency


class LectureSlidesInput(KindInput):
    """One recorded lecture, or a rendition of it (480 lines are enough)."""

    video: str
    """Key in the video bucket: a rendition's media playlist, or the file itself."""

    def media(self) -> Iterable[str]:
        """See KindInput.media."""
        yield self.video


class Chapter(Payload):
    """One slide: from `start` to `end`, seconds."""

    start: float
    end: float
    thumbnail: str


class LectureSlidesResult(Payload):
    """The slides in order; `track` is a WebVTT chapters track."""

    chapters: tuple[Chapter, ...]
    track: str = "chapters.vtt"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return (self.track, *(chapter.thumbnail for chapter in self.chapters))


KIND = TaskKind(
    "lecture.slides", 1, Queue.AI_LITE, Urgency.BULK, LectureSlidesInput, LectureSlidesResult, max_seconds=900
)
