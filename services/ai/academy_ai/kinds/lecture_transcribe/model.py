"""A Whisper model on disk, in CTranslate2's format: verified, and its tokens turned into words.

The folder holds `model.bin`, `config.json` and `vocabulary.txt` (or `.json`), as CTranslate2's converter writes them.
It is never fetched: who runs the worker puts it there, and `TRANSCRIBE_MODEL_SHA256` says which `model.bin` it must be.
"""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from academy_ai.kinds.lecture_transcribe.words import Word
from academy_core.errors import SettingsFault

TEXT_END = 50257
"""<|endoftext|>; every id below it is text, every one from it on is a mark (multilingual models)."""
START = 50258
_LANGUAGE = {"en": 50259, "ko": 50264}
NO_TIMESTAMPS_AFTER = {"transcribe": 50359, "translate": 50358}
LANGUAGES = tuple(_LANGUAGE)


@dataclass(frozen=True, slots=True)
class Model:
    """Where it lies, and what its configuration says."""

    folder: Path
    vocabulary: tuple[bytes, ...]
    """Bytes of every text token."""
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    alignment_heads: tuple[tuple[int, int], ...]
    no_speech: int
    no_timestamps: int

    def prompt(self, language: str, task: str) -> list[int]:
        """The marks before the text. `task`: transcribe or translate (to English)."""
        return [START, _LANGUAGE[language], NO_TIMESTAMPS_AFTER[task], self.no_timestamps]


def language_token(language: str) -> int:
    """The mark of a language."""
    return _LANGUAGE[language]


def opened(folder: str, sha256: str) -> Model:
    """The model of a folder. SettingsFault when it is not there, or not the one it must be."""
    place = Path(folder)
    try:
        with (place / "model.bin").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256.lower():
            raise SettingsFault(f"TRANSCRIBE_MODEL_SHA256: model.bin is {digest}")
        config = json.loads((place / "config.json").read_text("utf-8"))
        tokens = _vocabulary(place)
    except (OSError, ValueError) as error:
        raise SettingsFault(f"TRANSCRIBE_MODEL_DIR: {type(error).__name__}: {error}") from error
    if tokens[TEXT_END] != "<|endoftext|>":
        raise SettingsFault("TRANSCRIBE_MODEL_DIR: the model is not multilingual")
    table = _byte_of_sign()
    return Model(
        folder=place,
        vocabulary=tuple(bytes(table[sign] for sign in token) for token in tokens[:TEXT_END]),
        suppressed=tuple(config["suppress_ids"]),
        suppressed_first=tuple(config["suppress_ids_begin"]),
        alignment_heads=tuple((layer, head) for layer, head in config["alignment_heads"]),
        no_speech=tokens.index("<|nospeech|>" if "<|nospeech|>" in tokens else "<|nocaptions|>"),
        no_timestamps=tokens.index("<|notimestamps|>"),
    )


def _vocabulary(folder: Path) -> list[str]:
    listed = folder / "vocabulary.json"
    if listed.exists():
        return [str(token) for token in json.loads(listed.read_text("utf-8"))]
    return (folder / "vocabulary.txt").read_text("utf-8").removesuffix("\n").split("\n")


@functools.cache
def _byte_of_sign() -> dict[str, int]:
    """GPT-2's byte-level vocabulary writes each byte as a visible sign: printable Latin-1 stands for itself."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + number): byte for number, byte in enumerate(other)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What an engine read in one window."""

    tokens: tuple[int, ...]
    """Text tokens alone."""
    starts: tuple[float, ...]
    """Seconds from the window's beginning at which each token is spoken, and last where the text ends."""
    probabilities: tuple[float, ...]
    """Of each token."""
    no_speech: float
    """Probability that the window holds no speech."""


def words(reading: Reading, vocabulary: Sequence[bytes]) -> list[Word]:
    """A word begins with a token that begins with a blank; signs stay with the word before."""
    groups: list[list[int]] = []
    for index, token in enumerate(reading.tokens):
        if not groups or vocabulary[token].startswith(b" "):
            groups.append([])
        groups[-1].append(index)
    found = []
    for group in groups:
        text = b"".join(vocabulary[reading.tokens[index]] for index in group).decode("utf-8", "replace").strip()
        if text:
            sure = sum(reading.probabilities[index] for index in group) / len(group)
            found.append(Word(reading.starts[group[0]], reading.starts[group[-1] + 1], text, sure))
    return found
