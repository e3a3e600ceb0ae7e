"""How well and how fast `lecture.transcribe` reads, beside openai-whisper, transformers and faster-whisper.

    uv run --extra dev --extra gpu --group bench-speech python tests/bench/speech.py [--minutes 3] [--out speech.json]

The sound: the reference speech (if it is there) and made sentences (espeak-ng, seeded), with pauses as in a lesson.
One run, JSON. All read the same weights. Word error is against the known text, without case and signs; × realtime is
sound over wall time, loading not counted.
"""

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import speech_made  # the bench runs as a script; tests/ is no package
from contenders import whispers
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


def ours(options: dict[str, str]) -> Callable[[Path], str]:
    """The whole kind: decoding, speech detection, parts and join included."""
    run._loaded.clear()
    run.configure(options)

    def read(source: Path) -> str:
        with tempfile.TemporaryDirectory() as folder:
            task = LectureTranscribeInput(audio=str(source), language="en")
            follow(discover(), "lecture.transcribe", task, Path(folder), lambda kind: kind.load(options))
            listed = json.loads((Path(folder) / "words.en.json").read_text())["words"]
        return " ".join(word["text"] for word in listed)

    return read


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    samples, truth = lesson(given.minutes, given.seed)
    heard = sound.heard(samples)
    seconds = len(samples) / speech_made.RATE
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        options = speech_made.model(place / "model")
        shutil.copy(speech_model.part("tokenizer.json"), place / "model")  # faster-whisper would fetch it
        source = speech_made.write(place / "lesson.wav", samples)
        contenders: dict[str, Callable[[], Callable[[], str]]] = {
            "academy ctranslate2 int8": lambda: _on(ours(options | {"TRANSCRIBE_ENGINE": "ctranslate2"}), source),
            "faster-whisper int8 batch 4": lambda: _on(whispers.faster(place / "model", batch=4), heard),
            "academy torch": lambda: _on(ours(options | {"TRANSCRIBE_ENGINE": "torch"}), source),
            "transformers bf16 batch 4": lambda: _on(whispers.hugging_face(place / "model", batch=4), heard),
            "openai-whisper": lambda: _on(whispers.openai_whisper(place / "model"), heard),
        }
        for name, prepare in contenders.items():
            read = prepare()
            began = time.monotonic()
            text = read()
            took = time.monotonic() - began
            results[name] = {"x_realtime": round(seconds / took, 1), "word_error": round(word_error(truth, text), 4)}
            sys.stderr.write(f"{name}: {results[name]}\n")
    report = {"machine": describe(), "seconds_of_sound": round(seconds, 1), "seed": given.seed, "results": results}
    text = json.dumps(report, indent=2)
    if given.out is not None:
        given.out.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


def _on(read: Callable[[Any], str], what: Any) -> Callable[[], str]:
    return lambda: read(what)


if __name__ == "__main__":
    main()
