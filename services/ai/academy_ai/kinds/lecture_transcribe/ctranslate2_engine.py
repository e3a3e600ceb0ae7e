"""Whisper by CTranslate2, int8 on processors."""

from collections.abc import Mapping, Sequence

import ctranslate2
import numpy as np

from academy_ai.kinds.lecture_transcribe.engine import LONGEST_TEXT, NO_REPEAT, processors
from academy_ai.kinds.lecture_transcribe.mel import FRAMES, SECONDS, Array
from academy_ai.kinds.lecture_transcribe.model import LANGUAGES, TEXT_END, Model, Reading

_FRAME = 0.02
"""Seconds of a step of the encoder's output."""


class CTranslate2Engine:
    """See Engine."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._whisper = ctranslate2.models.Whisper(
            str(model.folder), device="cpu", compute_type="int8", intra_threads=processors()
        )

    def languages(self, window: Array) -> Mapping[str, float]:
        """See Engine.languages."""
        (found,) = self._whisper.detect_language(ctranslate2.StorageView.from_array(window[None]))
        ours = {f"<|{language}|>": language for language in LANGUAGES}
        chances = {ours[mark]: chance for mark, chance in found if mark in ours}
        return {language: chance / sum(chances.values()) for language, chance in chances.items()}

    def read(
        self, windows: Array, seconds: Sequence[float], language: str, task: str, *, no_repeat: bool = False
    ) -> list[Reading]:
        """See Engine.read."""
        encoded = self._whisper.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(windows)))
        prompt = self._model.prompt(language, task)
        results = self._whisper.generate(
            encoded,
            [prompt] * len(windows),
            beam_size=1,
            max_length=LONGEST_TEXT + len(prompt),
            return_no_speech_prob=True,
            suppress_tokens=list(self._model.suppressed),
            no_repeat_ngram_size=NO_REPEAT if no_repeat else 0,
        )
        texts = [[token for token in result.sequences_ids[0] if token < TEXT_END] for result in results]
        frames = [min(FRAMES, max(2, round(length * FRAMES / SECONDS))) for length in seconds]
        aligned = self._whisper.align(encoded, prompt, texts, frames)
        return [
            Reading(
                tokens=tuple(tokens),
                starts=_starts(alignment.alignments, len(tokens)),
                probabilities=tuple(alignment.text_token_probs[: len(tokens)]),
                no_speech=result.no_speech_prob,
            )
            for result, tokens, alignment in zip(results, texts, aligned, strict=True)
        ]


def _starts(path: Sequence[tuple[int, int]], tokens: int) -> tuple[float, ...]:
    """Where the path first meets each token, and the text's end."""
    first: dict[int, int] = {}
    for token, frame in path:
        first.setdefault(token, frame)
    return tuple(first.get(index, 0) * _FRAME for index in range(tokens + 1))
