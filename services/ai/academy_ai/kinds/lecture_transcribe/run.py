"""lecture.transcribe at work: plan, parts, join. Called in the worker's child and on the command line.

Speech detection decides what is read at all, so silence and music are not put before a model that would invent words
for them; what is read is checked again by the model's own doubts.
"""

import json
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from academy_ai.kind import KindInput, Options, Report
from academy_ai.kinds.lecture_transcribe import engine, mel, model, sound, speech, unread, words
from academy_ai.kinds.lecture_transcribe.model import Reading
from academy_ai.kinds.lecture_transcribe.spec import (
    JOIN,
    PART,
    JoinInput,
    JoinResult,
    Language,
    LectureTranscribeInput,
    LectureTranscribeResult,
    PartInput,
    PartResult,
    Track,
)
from academy_ai.kinds.lecture_transcribe.words import Word
from academy_core.errors import SettingsFault
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome

PART_SECONDS = 600.0
BATCH = 8
LISTENED_FOR_LANGUAGE = 3
"""Stretches that say which language is spoken."""
NO_SPEECH, LEAST_LOG_PROBABILITY, MOST_COMPRESSED = 0.6, -1.0, 2.4
"""openai/whisper's thresholds: silence, doubt, and text that goes round in circles."""

Window = tuple[speech.Seconds, ...]
"""Stretches of speech that are read at once, seconds from the part's beginning."""

_loaded: list[tuple[model.Model, engine.Engine]] = []
_options: dict[str, str] = {}


def configure(options: Options) -> None:
    """Load the model now, and keep it for every task of this process. SettingsFault when it cannot be."""
    if _loaded and _options == dict(options):
        return
    missing = [name for name in ("TRANSCRIBE_MODEL_DIR", "TRANSCRIBE_MODEL_SHA256") if not options.get(name)]
    if missing:
        raise SettingsFault(f"{', '.join(missing)}: needed to transcribe")
    _loaded[:] = [engine.load(options)]
    _options.clear()
    _options.update(options)
    _warm_up()


def _warm_up() -> None:
    """The first run of a network is slow: do it before someone waits."""
    _, reader = _loaded[0]
    reader.read(np.stack([mel.log_mel(np.zeros(speech.RATE, np.float32))]), [1.0], "ko", "transcribe")


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> Outcome | PartResult | JoinResult:
    """One task of a transcription. Raises Permanent when there is no sound."""
    if isinstance(task, LectureTranscribeInput):
        return _plan(task, files[task.audio], out, report)
    if isinstance(task, PartInput):
        return _part(task, files[task.sound], out, report)
    assert isinstance(task, JoinInput)  # noqa: S101 - the caller picks run by the input's kind
    return _join(task, files, out)


def _plan(task: LectureTranscribeInput, source: Path, out: Path, report: Report) -> Outcome:
    samples = sound.decode(source, out / "sound.raw")
    report(0.1)
    curve = sound.Detector().curve(samples, lambda share: report(0.1 + 0.8 * share))
    spans = speech.spans(curve)
    stretches = speech.stretches(spans, curve)
    language = task.language or _language(samples, stretches)
    groups = speech.parts(stretches, PART_SECONDS)
    translate = task.translate and language != "en"
    children = []
    for number, group in enumerate(groups):
        first, end = group[0][0], group[-1][1]
        name = f"speech-{number:03}.flac"
        sound.encode(samples[first * speech.FRAME : end * speech.FRAME], out / name)
        children.append(
            PartInput(
                number=number,
                sound=name,
                start=first / speech.SECOND,
                windows=tuple(((one - first) / speech.SECOND, (last - first) / speech.SECOND) for one, last in group),
                language=language,
                translate=translate,
            )
        )
    duration = len(samples) / speech.RATE
    spoken = sum(last - first for first, last in spans) / speech.SECOND
    return Outcome(
        LectureTranscribeResult(
            duration_seconds=duration,
            speech_seconds=spoken,
            language=language,
            parts=tuple(child.sound for child in children),
        ),
        children=tuple(NewTask.of(PART, child) for child in children),
        then=NewTask.of(
            JOIN,
            JoinInput(duration_seconds=duration, speech_seconds=spoken, language=language, translate=translate),
        ),
    )


def _language(samples: sound.Samples, stretches: Sequence[speech.Frames]) -> Language:
    """What the longest stretches sound like; Korean when nothing is said at all."""
    _, reader = _loaded[0]
    longest = sorted(stretches, key=lambda stretch: stretch[0] - stretch[1])[:LISTENED_FOR_LANGUAGE]
    chances = [
        reader.languages(mel.log_mel(sound.heard(samples[first * speech.FRAME : last * speech.FRAME])))
        for first, last in longest
    ]
    return "en" if sum(chance["en"] for chance in chances) > len(chances) / 2 else "ko"


def _part(task: PartInput, source: Path, out: Path, report: Report) -> PartResult:
    samples = sound.decode(source, out / "sound.raw")
    tracks = {task.language: "transcribe"} | ({"en": "translate"} if task.translate else {})
    found: dict[str, list[Word]] = {}
    unsure = 0
    for number, (language, what) in enumerate(tracks.items()):
        found[language], failed = _said(task, samples, what, _one_of(report, number, len(tracks)))
        unsure += failed if what == "transcribe" else 0
    name = f"words-{task.number:03}.json"
    (out / name).write_text(json.dumps({language: [_row(word) for word in said] for language, said in found.items()}))
    return PartResult(words=name, unsure=unsure)


def _one_of(report: Report, number: int, count: int) -> Report:
    """Reports the share of one of several equal pieces of work."""
    return lambda share: report((number + share) / count)


def _row(word: Word) -> list[float | str]:
    return [word.start, word.end, word.text, word.probability]


def _said(task: PartInput, samples: sound.Samples, what: str, report: Report) -> tuple[list[Word], int]:
    """All words of a track in order, and how many stretches gave nothing usable.

    What a window's reading passes over is read again in smaller windows, at last stretch by stretch.
    """
    found, reader = _loaded[0]

    def read(windows: Sequence[Window], *, no_repeat: bool = False) -> list[Reading]:
        heard = [_cut(samples, window) for window in windows]
        lengths = [len(each) / speech.RATE for each in heard]
        sounds = np.stack([mel.log_mel(each) for each in heard])
        return reader.read(sounds, lengths, task.language, what, no_repeat=no_repeat)

    queue = deque(speech.windows(task.windows))
    words_of: list[Word] = []
    settled = failed = 0
    while queue:
        batch = [queue.popleft() for _ in range(min(BATCH, len(queue)))]
        for window, first in zip(batch, read(batch), strict=True):
            reading = read([window], no_repeat=True)[0] if _circles(first) else first
            usable = not _doubtful(reading) and not _circles(reading)
            spoken = model.words(reading, found.vocabulary) if usable else []
            missing = unread.stretches(spoken, window, reading.starts[-1] if usable else 0.0)
            if len(window) == 1:  # there is no smaller one
                missing = []
                failed += not usable
            queue.extend(unread.apart(window, missing))
            places = [(task.start + start, task.start + end) for start, end in window]
            kept = [said for place, said in enumerate(words.placed(spoken, places)) if place not in missing]
            words_of += chain.from_iterable(kept)
            settled += len(kept)
        report(settled / len(task.windows))
    return sorted(words_of, key=lambda word: word.start), failed


def _cut(samples: sound.Samples, window: Window) -> mel.Array:
    """The sound of a window's stretches, one behind the other."""
    edges = [(round(start * speech.RATE), round(end * speech.RATE)) for start, end in window]
    return np.concatenate([sound.heard(samples[start:end]) for start, end in edges])


def _doubtful(reading: Reading) -> bool:
    """Both the model's own sign for silence and its doubt in the text."""
    if not reading.tokens:
        return True
    mean = float(np.mean(np.log(np.maximum(reading.probabilities, 1e-10))))
    return mean < LEAST_LOG_PROBABILITY and reading.no_speech > NO_SPEECH


def _circles(reading: Reading) -> bool:
    """Text that compresses too well says the same over and over."""
    text = b"".join(_loaded[0][0].vocabulary[token] for token in reading.tokens)
    return len(text) / len(zlib.compress(text)) > MOST_COMPRESSED


def _join(task: JoinInput, files: Mapping[str, Path], out: Path) -> JoinResult:
    parts = [json.loads(files[part.words].read_text("utf-8")) for part in task.parts]
    tracks = []
    languages: tuple[Language, ...] = (task.language, "en") if task.translate else (task.language,)
    for language in languages:
        said = words.joined([[Word(*row) for row in part[language]] for part in parts])
        cues = words.cues(said, language)
        track = Track(
            language=language,
            translated=language != task.language,
            vtt=f"subtitles.{language}.vtt",
            words=f"words.{language}.json",
            word_count=len(said),
            cue_count=len(cues),
        )
        (out / track.vtt).write_text(words.vtt(cues, language), "utf-8")
        (out / track.words).write_text(words.to_json(said, language), "utf-8")
        tracks.append(track)
    return JoinResult(
        duration_seconds=task.duration_seconds,
        speech_seconds=task.speech_seconds,
        language=task.language,
        tracks=tuple(tracks),
        unsure=sum(part.unsure for part in task.parts),
    )
