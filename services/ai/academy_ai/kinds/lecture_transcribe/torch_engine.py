"""Whisper in torch: the network of Radford et al. 2022, decoded greedily in batches with cached keys and values.

Written out instead of taken from a library: the attention of the alignment heads is noted while decoding, so that words
get their times without a second pass, and the loop does nothing that greedy decoding does not need.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from academy_ai.kinds.lecture_transcribe import align, weights
from academy_ai.kinds.lecture_transcribe.engine import LONGEST_TEXT, NO_REPEAT, processors
from academy_ai.kinds.lecture_transcribe.mel import SECONDS, Array
from academy_ai.kinds.lecture_transcribe.model import LANGUAGES, START, TEXT_END, Model, Reading, language_token

_HEAD = 64
"""Width of an attention head in every Whisper model."""


@dataclass(slots=True)
class _Attended:
    """What decoding has seen so far: per layer its own keys and values, and the sound's."""

    keys: list[Tensor]
    values: list[Tensor]
    sound: list[tuple[Tensor, Tensor]]
    aligned: list[Tensor] = field(default_factory=list)
    """Of each step: batch x alignment heads x frames."""
    length: int = 0


class TorchEngine:
    """See Engine."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._type = torch.float16 if self._device.type == "cuda" else _processor_type()
        self._w = {
            name: torch.from_numpy(array).to(self._device, self._type)
            for name, array in weights.read(model.folder / "model.bin").items()
            if array.ndim
        }
        self._layers = {half: _layers(self._w, half) for half in ("encoder", "decoder")}
        silenced = torch.zeros(self._w["decoder/embeddings/weight"].shape[0], device=self._device)
        silenced[list(model.suppressed)] = -torch.inf
        silenced[TEXT_END + 1 :] = -torch.inf
        self._silenced = silenced
        first = silenced.clone()
        first[list(model.suppressed_first)] = -torch.inf
        self._silenced_first = first

    def languages(self, window: Array) -> Mapping[str, float]:
        """See Engine.languages."""
        with torch.inference_mode():
            sound = self._encode(window[None])
            logits = self._step(torch.full((1, 1), START, device=self._device), self._begin(sound))
            chances = torch.softmax(logits[0, -1, [language_token(language) for language in LANGUAGES]], -1)
        return dict(zip(LANGUAGES, chances.tolist(), strict=True))

    def read(
        self, windows: Array, seconds: Sequence[float], language: str, task: str, *, no_repeat: bool = False
    ) -> list[Reading]:
        """See Engine.read."""
        with torch.inference_mode():
            seen = self._begin(self._encode(windows))
            prompt = torch.tensor([self._model.prompt(language, task)] * len(windows), device=self._device)
            logits = self._step(prompt, seen)
            torch.set_num_threads(1)  # decoding's steps are small: threads would mostly wait for one another
            no_speech = torch.softmax(logits[:, 0], -1)[:, self._model.no_speech].tolist()
            tokens, chances = self._decode(logits[:, -1], seen, no_repeat=no_repeat)
            attention = torch.stack(seen.aligned, dim=2).float().cpu().numpy()
        return [
            self._reading(tokens[row], chances[row], attention[row], seconds[row], no_speech[row])
            for row in range(len(windows))
        ]

    def _decode(self, logits: Tensor, seen: _Attended, *, no_repeat: bool) -> tuple[list[list[int]], list[list[float]]]:
        """Greedily, until every row has ended or LONGEST_TEXT tokens are there."""
        count = logits.shape[0]
        tokens: list[list[int]] = [[] for _ in range(count)]
        chances: list[list[float]] = [[] for _ in range(count)]
        ended = torch.zeros(count, dtype=torch.bool, device=self._device)
        for step in range(LONGEST_TEXT):
            scores = logits + (self._silenced if step else self._silenced_first)
            if no_repeat:
                for row in range(count):
                    scores[row, _repeating(tokens[row])] = -torch.inf
            logarithms = torch.log_softmax(scores, -1)
            best, chosen = logarithms.max(-1)
            chosen = torch.where(ended, TEXT_END, chosen)
            ended |= chosen == TEXT_END
            for row, (token, chance) in enumerate(zip(chosen.tolist(), best.exp().tolist(), strict=True)):
                if token != TEXT_END:
                    tokens[row].append(token)
                    chances[row].append(chance)
            logits = self._step(chosen[:, None], seen)[:, -1]
            if bool(ended.all()):
                break
        return tokens, chances

    def _reading(
        self, tokens: Sequence[int], chances: Sequence[float], attention: Array, seconds: float, no_speech: float
    ) -> Reading:
        """Row n of the attention is where token n was looked for: row 0 is that of the prompt's last mark."""
        frames = max(1, min(attention.shape[-1], round(seconds / SECONDS * attention.shape[-1])))
        firsts = align.starts(attention[:, : len(tokens) + 1, :frames]) if tokens else np.zeros(1)
        each = SECONDS / attention.shape[-1]
        return Reading(tuple(tokens), tuple(float(first * each) for first in firsts), tuple(chances), no_speech)

    # -- the network -----------------------------------------------------------------------------------------------

    def _encode(self, windows: Array) -> Tensor:
        """Batch x frames x width."""
        torch.set_num_threads(processors())
        x = torch.from_numpy(windows).to(self._device, self._type)
        x = functional.gelu(functional.conv1d(x, *self._pair("encoder/conv1"), padding=1))
        x = functional.gelu(functional.conv1d(x, *self._pair("encoder/conv2"), stride=2, padding=1)).transpose(1, 2)
        x += self._w["encoder/position_encodings/encodings"]
        for layer in range(self._layers["encoder"]):
            at = f"encoder/layer_{layer}"
            query, key, value = self._own(at, x)
            heard = functional.scaled_dot_product_attention(_heads(query), _heads(key), _heads(value))
            x = x + self._linear(f"{at}/self_attention/linear_1", _together(heard))
            x = self._feed_forward(at, x)
        return self._norm("encoder", x)

    def _begin(self, sound: Tensor) -> _Attended:
        count, layers = sound.shape[0], range(self._layers["decoder"])
        width = sound.shape[-1]
        room = (count, width // _HEAD, LONGEST_TEXT + 8, _HEAD)
        return _Attended(
            keys=[sound.new_empty(room) for _ in layers],
            values=[sound.new_empty(room) for _ in layers],
            sound=[self._heard(layer, sound) for layer in layers],
        )

    def _heard(self, layer: int, sound: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self._linear(f"decoder/layer_{layer}/attention/linear_1", sound).chunk(2, -1)
        return _heads(key).contiguous(), _heads(value).contiguous()

    def _step(self, tokens: Tensor, seen: _Attended) -> Tensor:
        """Logits (float32) of batch x new tokens; what was attended to goes into `seen`."""
        start, end = seen.length, seen.length + tokens.shape[1]
        seen.length = end
        x = functional.embedding(tokens, self._w["decoder/embeddings/weight"])
        x = x + self._w["decoder/position_encodings/encodings"][start:end]
        aligned = []
        for layer in range(self._layers["decoder"]):
            at = f"decoder/layer_{layer}"
            query, key, value = self._own(at, x)
            seen.keys[layer][:, :, start:end], seen.values[layer][:, :, start:end] = _heads(key), _heads(value)
            said = functional.scaled_dot_product_attention(
                _heads(query), seen.keys[layer][:, :, :end], seen.values[layer][:, :, :end], is_causal=start == 0
            )
            x = x + self._linear(f"{at}/self_attention/linear_1", _together(said))
            query = _heads(self._linear(f"{at}/attention/linear_0", self._norm(f"{at}/attention", x)))
            key, value = seen.sound[layer]
            # Not scaled_dot_product_attention: of one query over 1500 keys in bfloat16 it takes a processor 15 times as
            # long, and it does not say where it looked.
            looked = torch.softmax(query @ key.transpose(2, 3) * _HEAD**-0.5, -1)
            heads = [head for of, head in self._model.alignment_heads if of == layer]
            aligned.append(looked[:, heads, -1].float())
            x = x + self._linear(f"{at}/attention/linear_2", _together(looked @ value))
            x = self._feed_forward(at, x)
        seen.aligned.append(torch.cat(aligned, 1))
        return (self._norm("decoder", x) @ self._w["decoder/embeddings/weight"].T).float()

    def _own(self, at: str, x: Tensor) -> Sequence[Tensor]:
        """Query, key and value of self-attention."""
        joined = self._linear(f"{at}/self_attention/linear_0", self._norm(f"{at}/self_attention", x))
        own: Sequence[Tensor] = joined.chunk(3, -1)
        return own

    def _feed_forward(self, at: str, x: Tensor) -> Tensor:
        inner = functional.gelu(self._linear(f"{at}/ffn/linear_0", self._norm(f"{at}/ffn", x)))
        return x + self._linear(f"{at}/ffn/linear_1", inner)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, *self._pair(name))

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        return self._w[f"{name}/weight"], self._w[f"{name}/bias"]

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(
            x, x.shape[-1:], self._w[f"{name}/layer_norm/gamma"], self._w[f"{name}/layer_norm/beta"]
        )


def _layers(names: Iterable[str], half: str) -> int:
    return len({name.split("/")[1] for name in names if name.startswith(f"{half}/layer_") and "/ffn/" in name})


def _heads(x: Tensor) -> Tensor:
    """Batch x tokens x width to batch x heads x tokens x _HEAD."""
    return x.unflatten(-1, (-1, _HEAD)).transpose(1, 2)


def _together(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _repeating(tokens: Sequence[int]) -> list[int]:
    """Tokens that would make a run of NO_REPEAT tokens that was there before."""
    before = NO_REPEAT - 1
    tail = tokens[-before:]
    return [tokens[at + before] for at in range(len(tokens) - before) if list(tokens[at : at + before]) == list(tail)]


def _processor_type() -> torch.dtype:
    """bfloat16 where the processor computes with it, float32 elsewhere."""
    flags = Path("/proc/cpuinfo").read_text("ascii", "replace").split()
    return torch.bfloat16 if {"avx512_bf16", "amx_bf16"} & set(flags) else torch.float32
