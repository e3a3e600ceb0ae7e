"""lecture.transcribe: what goes in and what comes out. Light: the API may import it.

Flow: lecture.transcribe (finds speech, cuts at silences) -> children lecture.transcribe.part x n (speech to words) ->
then lecture.transcribe.join (words to subtitles). Times are seconds of the lecture.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from academy_ai.kind import KindInput
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

Language = Literal["ko", "en"]
Span = tuple[float, float]
"""Start and end, seconds."""


class LectureTranscribeInput(KindInput):
    """One lecture's sound."""

    audio: Annotated[str, Field(min_length=1, max_length=1024)]
    """Key in the video bucket: the audio rendition's media playlist, or any file that has sound."""
    language: Language | None = None
    """What is spoken; found out when not given."""
    translate: bool = False
    """English subtitles as well, of a lecture in another language."""

    def media(self) -> Iterable[str]:
        """See KindInput.media."""
        yield self.audio


class LectureTranscribeResult(Payload):
    """How the lecture was cut. The files hold the sound of each part."""

    duration_seconds: float
    speech_seconds: float
    language: Language
    parts: tuple[str, ...]

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return self.parts


class PartInput(KindInput):
    """Some minutes of a lecture."""

    number: int
    sound: str
    start: float
    """Where the part begins in the lecture."""
    windows: tuple[Span, ...]
    """Stretches with speech, seconds from the part's beginning, none longer than 28 s."""
    language: Language
    translate: bool

    def artefacts(self) -> Iterable[str]:
        """See KindInput.artefacts."""
        yield self.sound


class PartResult(Payload):
    """The words of one part, a file of the job: language -> list of [start, end, text, probability]."""

    words: str
    unsure: int
    """Windows that gave nothing usable: noise, or the same words over and over."""

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        yield self.words


class JoinInput(KindInput):
    """What the join has to know; the parts' results come with it."""

    duration_seconds: float
    speech_seconds: float
    language: Language
    translate: bool
    parts: tuple[PartResult, ...] = ()

    def artefacts(self) -> Iterable[str]:
        """See KindInput.artefacts."""
        return (part.words for part in self.parts)

    def with_results(self, results: Sequence[Mapping[str, Any]]) -> Self:
        """See KindInput.with_results."""
        return self.model_copy(update={"parts": tuple(PartResult.model_validate(result) for result in results)})


class Track(Payload):
    """Subtitles in one language."""

    language: Language
    translated: bool
    vtt: str
    """WebVTT."""
    words: str
    """JSON: {"language", "words": [{"start", "end", "text", "probability"}, …]}."""
    word_count: int
    cue_count: int


class JoinResult(Payload):
    """A lecture's subtitles. Without any speech the tracks are empty, not missing."""

    duration_seconds: float
    speech_seconds: float
    language: Language
    tracks: tuple[Track, ...]
    unsure: int
    """Stretches of at most 30 s in which speech was heard that could not be read."""

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        for track in self.tracks:
            yield track.vtt
            yield track.words


def _kind(name: str, given: type[Payload], result: type[Payload], seconds: int) -> TaskKind:
    return TaskKind(name, 1, Queue.AI_PREMIUM, Urgency.BULK, given, result, max_seconds=seconds)


KIND = _kind("lecture.transcribe", LectureTranscribeInput, LectureTranscribeResult, 1200)
PART = _kind("lecture.transcribe.part", PartInput, PartResult, 900)
JOIN = _kind("lecture.transcribe.join", JoinInput, JoinResult, 120)
STEPS = (PART, JOIN)
