"""lecture.transcribe without a model: `premium.Dockerfile` puts this in the place of that kind's `run`.

The same tasks with the same inputs and results, plan, part and join, on the lecture's own sound. Only speech is not
read: each part says for how long it was heard.
"""

import json
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path

from academy_ai.kind import KindInput, Report
from academy_ai.kinds.lecture_transcribe import sound, words
from academy_ai.kinds.lecture_transcribe.spec import (
    JOIN,
    PART,
    JoinInput,
    JoinResult,
    LectureTranscribeInput,
    LectureTranscribeResult,
    PartInput,
    PartResult,
    Track,
)
from academy_ai.kinds.lecture_transcribe.speech import RATE
from academy_ai.kinds.lecture_transcribe.words import Word
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Outcome | PartResult | JoinResult:
    """One task of a transcription."""
    report(0.5)
    if isinstance(task, LectureTranscribeInput):
        return _plan(task, files[task.audio], out)
    if isinstance(task, PartInput):
        return _part(files[task.sound], out)
    assert isinstance(task, JoinInput)
    return _join(task, files, out)


def _plan(task: LectureTranscribeInput, source: Path, out: Path) -> Outcome:
    """The whole lecture as one part, all of it speech."""
    samples = sound.decode(source, out / "sound.raw")
    sound.encode(samples, out / "speech.flac")
    seconds, language = len(samples) / RATE, task.language or "ko"
    part = PartInput(
        number=0, sound="speech.flac", start=0.0, windows=((0.0, seconds),), language=language, translate=False
    )
    join = JoinInput(duration_seconds=seconds, speech_seconds=seconds, language=language, translate=False)
    result = LectureTranscribeResult(
        duration_seconds=seconds, speech_seconds=seconds, language=language, parts=(part.sound,)
    )
    return Outcome(result, children=(NewTask.of(PART, part),), then=NewTask.of(JOIN, join))


def _part(source: Path, out: Path) -> PartResult:
    seconds = len(sound.decode(source, out / "sound.raw")) / RATE
    heard = [Word(0.0, seconds / 2, "heard", 1.0), Word(seconds / 2, seconds, f"{seconds:.0f}s", 1.0)]
    (out / "part.json").write_text(json.dumps([astuple(word) for word in heard]), "utf-8")
    return PartResult(words="part.json", unsure=0)


def _join(task: JoinInput, files: Mapping[str, Path], out: Path) -> JoinResult:
    said = words.joined(
        [[Word(*row) for row in json.loads(files[part.words].read_text("utf-8"))] for part in task.parts]
    )
    cues = words.cues(said, task.language)
    track = Track(
        language=task.language,
        translated=False,
        vtt="subtitles.vtt",
        words="words.json",
        word_count=len(said),
        cue_count=len(cues),
    )
    (out / track.vtt).write_text(words.vtt(cues, task.language), "utf-8")
    (out / track.words).write_text(words.to_json(said, task.language), "utf-8")
    return JoinResult(
        duration_seconds=task.duration_seconds,
        speech_seconds=task.speech_seconds,
        language=task.language,
        tracks=(track,),
        unsure=0,
    )
