"""How well and how fast `lecture.transcribe` reads, beside openai-whisper, transformers and faster-whisper.

    uv run --extra dev --extra gpu --group bench-speech python tests/bench/speech.py [--minutes 4] [--out speech.json]

Without that group ours alone are measured, without torch the other engine alone.

The sound: a lesson of the reference speech (if it is there) and made sentences (espeak-ng, seeded) with pauses, and the
reference speech alone. All read the same weights in one run, a few rounds of the lesson, one after the other in each
round, so that whatever else runs meets all alike. JSON: word error against the known text, without case and signs;
× realtime (sound over wall time of the median round, loading not counted) and processor seconds; and how much faster
each of our engines is than each of the others (`ours_over`, above 1: faster), by the median over the rounds.
"""

import argparse
import importlib.util
import json
import random
import re
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import speech_made  # the bench runs as a script; tests/ is no package
from machine import describe

from academy_ai.__main__ import follow
from academy_ai.kind import discover
from academy_ai.kinds.lecture_transcribe import run, sound
from academy_ai.kinds.lecture_transcribe.spec import LectureTranscribeInput
from academy_local import speech_model

JFK = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
SENTENCES = (
    "Please open your books at the second page.",
    "The teacher writes the answer on the board.",
    "We will have a test about history on Friday.",
    "The train leaves the station at seven in the morning.",
    "Water is made of hydrogen and oxygen.",
    "My brother plays the piano every evening.",
    "The capital of France is a very old city.",
    "Yesterday the weather was cold and windy.",
)
PAUSES = (0.5, 1.0, 2.5, 6.0)
OURS = ("academy ctranslate2 int8", "academy torch")

Read = Callable[[Path], str]
"""A loaded engine: a WAV file's words."""


def lesson(minutes: float, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.int16]], str]:
    """Sound and what is said in it."""
    draw = random.Random(seed)  # noqa: S311 - a made lesson
    spoken = [(speech_made.say(text), text) for text in SENTENCES]
    reference = speech_made.reference("jfk.flac")
    if reference is not None:
        with tempfile.TemporaryDirectory() as folder:
            spoken += [(np.array(sound.decode(reference, Path(folder) / "a")), JFK)] * 3
    pieces, texts = [], []
    while sum(map(len, pieces)) < minutes * 60 * speech_made.RATE:
        piece, text = draw.choice(spoken)
        pieces += [piece, speech_made.silence(draw.choice(PAUSES))]
        texts.append(text)
    return np.concatenate(pieces), " ".join(texts)


def word_error(truth: str, heard: str) -> float:
    """Levenshtein distance over words, divided by the true ones."""
    wanted, got = (re.findall(r"[\w']+", text.lower()) for text in (truth, heard))
    row: Sequence[int] = range(len(got) + 1)
    for number, word in enumerate(wanted, start=1):
        line = [number]
        for at, other in enumerate(got, start=1):
            line.append(min(row[at] + 1, line[-1] + 1, row[at - 1] + (word != other)))
        row = line
    return row[-1] / len(wanted)


def ours(options: dict[str, str]) -> Read:
    """The whole kind: decoding, speech detection, parts and join included."""
    run._loaded.clear()
    run.configure(options)
    loaded = list(run._loaded)

    def read(source: Path) -> str:
        run._loaded[:] = loaded  # both engines take turns in this process
        run._options.clear()
        run._options.update(options)
        with tempfile.TemporaryDirectory() as folder:
            task = LectureTranscribeInput(audio=str(source), language="en")
            follow(discover(), "lecture.transcribe", task, Path(folder), lambda kind: kind.load(options))
            listed = json.loads((Path(folder) / "words.en.json").read_text())["words"]
        return " ".join(word["text"] for word in listed)

    return read


def contenders(model: Path, options: dict[str, str]) -> dict[str, Read]:
    """All that read and are installed, loaded."""
    readers = {OURS[0]: ours(options | {"TRANSCRIBE_ENGINE": "ctranslate2"})}
    if importlib.util.find_spec("torch") is not None:
        readers[OURS[1]] = ours(options | {"TRANSCRIBE_ENGINE": "torch"})
    if importlib.util.find_spec("whisper") is not None:
        readers |= others(model)
    return readers


def others(model: Path) -> dict[str, Read]:
    """What ours are compared with."""
    from contenders import whispers  # noqa: PLC0415 - needs the group bench-speech

    def decoded(reader: whispers.Reader) -> Read:
        return lambda source: reader(_samples(source))

    return {
        "faster-whisper int8 batch 4": decoded(whispers.faster(model, batch=4)),
        "transformers bf16 batch 4": decoded(whispers.hugging_face(model, batch=4)),
        "openai-whisper": decoded(whispers.openai_whisper(model)),
    }


def _samples(source: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    with tempfile.TemporaryDirectory() as folder:
        return sound.heard(np.array(sound.decode(source, Path(folder) / "a")))


def timed(read: Read, source: Path) -> tuple[str, float, float]:
    """What is read, wall seconds, processor seconds (its children's too)."""
    began, spent = time.monotonic(), _spent()
    text = read(source)
    return text, time.monotonic() - began, _spent() - spent


def _spent() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measured(readers: dict[str, Read], source: Path, rounds: int) -> dict[str, list[tuple[str, float, float]]]:
    """Of each reader: every round."""
    seen: dict[str, list[tuple[str, float, float]]] = {name: [] for name in readers}
    for number in range(rounds):
        for name, read in readers.items():
            seen[name].append(timed(read, source))
            sys.stderr.write(f"round {number + 1}, {name}: {seen[name][-1][1]:.1f} s\n")
    return seen


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    samples, truth = lesson(given.minutes, given.seed)
    seconds = len(samples) / speech_made.RATE
    reference = speech_made.reference("jfk.flac")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = speech_made.model(place / "model")
        shutil.copy(speech_model.part("tokenizer.json"), place / "model")  # faster-whisper would fetch it
        readers = contenders(place / "model", options)
        source = speech_made.write(place / "lesson.wav", samples)
        # Read before the rounds: what a first run has to set up is not timed.
        errors = {name: word_error(JFK, read(reference)) for name, read in readers.items()} if reference else {}
        seen = measured(readers, source, given.rounds)
    report = {
        "machine": describe(),
        "seconds_of_sound": round(seconds, 1),
        "seed": given.seed,
        "rounds": given.rounds,
        "results": {
            name: {
                "word_error_lesson": round(word_error(truth, rounds[0][0]), 4),
                "word_error_reference": round(errors[name], 4) if errors else None,
                "x_realtime": round(seconds / statistics.median(took for _, took, _ in rounds), 1),
                "processor_seconds": round(statistics.median(spent for _, _, spent in rounds), 2),
            }
            for name, rounds in seen.items()
        },
        "ours_over": {
            name: {
                other: round(statistics.median(b[1] / a[1] for a, b in zip(seen[name], rounds, strict=True)), 2)
                for other, rounds in seen.items()
                if other not in OURS
            }
            for name in OURS
            if name in seen
        },
    }
    text = json.dumps(report, indent=2)
    if given.out is not None:
        given.out.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
