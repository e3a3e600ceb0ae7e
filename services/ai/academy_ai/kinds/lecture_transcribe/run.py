"""lecture.transcribe at work: plan, parts, join. Called in the worker's child and on the command line.

Speech detection decides what is read at all, so silence and music are not put before a model that would invent words
for them; what is read is checked again by the model's own doubts.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from academy_ai.kind import KindInput, Options, Report
from academy_ai.kinds.lecture_transcribe import engine, mel, model, sound, speech, words
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
"""Windows that say which language is spoken."""
NO_SPEECH, LEAST_LOG_PROBABILITY, MOST_COMPRESSED = 0.6, -1.0, 2.4
"""openai/whisper's thresholds: silence, doubt, and text that goes round in circles."""

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
    windows = speech.windows(spans, curve)
    language = task.language or _language(samples, windows)
    groups = speech.parts(windows, PART_SECONDS)
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


def _language(samples: sound.Samples, windows: Sequence[speech.Frames]) -> Language:
    """What the longest windows sound like; Korean when nothing is said at all."""
    _, reader = _loaded[0]
    longest = sorted(windows, key=lambda window: window[0] - window[1])[:LISTENED_FOR_LANGUAGE]
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
        found[language] = []
        for place, reading in _readings(task, samples, what, lambda share, n=number: report((n + share) / len(tracks))):  # type: ignore[misc]
            if reading is None:
                unsure += what == "transcribe"
                continue
            spoken = model.words(reading, _loaded[0][0].vocabulary)
            found[language] += words.placed(spoken, task.start + place[0], task.start + place[1])
    name = f"words-{task.number:03}.json"
    (out / name).write_text(json.dumps({language: [_row(word) for word in said] for language, said in found.items()}))
    return PartResult(words=name, unsure=unsure)


def _row(word: Word) -> list[float | str]:
    return [word.start, word.end, word.text, word.probability]


def _readings(
    task: PartInput, samples: sound.Samples, what: str, report: Report
) -> Iterator[tuple[tuple[float, float], Reading | None]]:
    """Each window with what was read in it; None where nothing usable was."""
    _, reader = _loaded[0]
    left = iter(task.windows)
    done = 0
    while batch := list(islice(left, BATCH)):
        heard = np.stack([mel.log_mel(_cut(samples, window)) for window in batch])
        lengths = [end - start for start, end in batch]
        readings = reader.read(heard, lengths, task.language, what)
        for row, window in enumerate(batch):
            reading = readings[row]
            if _circles(reading):
                alone = slice(row, row + 1)
                (reading,) = reader.read(heard[alone], lengths[alone], task.language, what, no_repeat=True)
            yield window, None if _doubtful(reading) or _circles(reading) else reading
        done += len(batch)
        report(done / len(task.windows))


def _cut(samples: sound.Samples, window: tuple[float, float]) -> mel.Array:
    start, end = (round(second * speech.RATE) for second in window)
    return sound.heard(samples[start:end])


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
