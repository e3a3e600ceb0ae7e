"""The two engines that read speech, behind one interface, and which one is taken.

torch: CUDA with float16 where there is a GPU, the processor otherwise. CTranslate2: int8 on processors. Both read the
same `model.bin`, decode greedily and give each token its time by attention (see `align`).
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from academy_ai.kind import Options
from academy_ai.kinds.lecture_transcribe import model
from academy_ai.kinds.lecture_transcribe.mel import Array
from academy_ai.kinds.lecture_transcribe.model import Model, Reading
from academy_core.errors import SettingsFault

LONGEST_TEXT = 224
"""Tokens of a window: half of the model's context, as the paper has it."""
NO_REPEAT = 4
"""No run of so many tokens twice, when a window is read again because its text went round in circles."""


class Engine(Protocol):
    """A loaded model. One call at a time."""

    def languages(self, window: Array) -> Mapping[str, float]:
        """Probability of each language that we offer, of one window (BANDS x FRAMES); they sum up to 1."""
        ...

    def read(
        self, windows: Array, seconds: Sequence[float], language: str, task: str, *, no_repeat: bool = False
    ) -> list[Reading]:
        """Read a batch of windows (batch x BANDS x FRAMES), each with so many seconds of sound."""
        ...


def load(options: Options) -> tuple[Model, Engine]:
    """The model and the engine that the settings name. SettingsFault when one cannot be had."""
    found = model.opened(options["TRANSCRIBE_MODEL_DIR"], options["TRANSCRIBE_MODEL_SHA256"])
    wanted = options.get("TRANSCRIBE_ENGINE", "auto")
    return found, (_torch(found) if wanted == "torch" or (wanted == "auto" and _has_gpu()) else _ctranslate2(found))


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # noqa: PLC0415 - 2 s, and 5 GB that need not be installed

    return bool(torch.cuda.is_available())


def _torch(found: Model) -> Engine:
    if importlib.util.find_spec("torch") is None:
        raise SettingsFault("TRANSCRIBE_ENGINE: torch is not installed (extra `gpu`)")
    from academy_ai.kinds.lecture_transcribe.torch_engine import TorchEngine  # noqa: PLC0415 - as above

    return TorchEngine(found)


def _ctranslate2(found: Model) -> Engine:
    if importlib.util.find_spec("ctranslate2") is None:
        raise SettingsFault("TRANSCRIBE_ENGINE: ctranslate2 is not installed (extra `speech`)")
    from academy_ai.kinds.lecture_transcribe.ctranslate2_engine import CTranslate2Engine  # noqa: PLC0415 - as above

    return CTranslate2Engine(found)
