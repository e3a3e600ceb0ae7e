"""Reads CTranslate2's `model.bin`: names and arrays. The format is that of its `ModelSpec` serialisation, version 6."""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from academy_core.errors import SettingsFault

_VERSION = 6
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Every variable in float32; aliases are left out. SettingsFault for a format or type that is not known."""
    with path.open("rb") as file:
        if _number(file, "I") != _VERSION:
            raise SettingsFault("TRANSCRIBE_MODEL_DIR: model.bin is of another version of CTranslate2's format")
        _text(file)
        _number(file, "I")
        return dict(_variable(file) for _ in range(_number(file, "I")))


def _variable(file: BinaryIO) -> tuple[str, npt.NDArray[np.float32]]:
    name = _text(file)
    shape = tuple(_number(file, "I") for _ in range(_number(file, "B")))
    kind = _number(file, "B")
    if kind not in _TYPES:
        raise SettingsFault(f"TRANSCRIBE_MODEL_DIR: {name} is of unknown type {kind}")
    data = file.read(_number(file, "I"))
    return name, np.frombuffer(data, _TYPES[kind]).reshape(shape).astype(np.float32)


def _number(file: BinaryIO, kind: str) -> int:
    value: int = struct.unpack(f"<{kind}", file.read(struct.calcsize(f"<{kind}")))[0]
    return value


def _text(file: BinaryIO) -> str:
    return file.read(_number(file, "H"))[:-1].decode("ascii")
