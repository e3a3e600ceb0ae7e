"""openai-whisper, transformers and faster-whisper on the weights that lecture.transcribe reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faster_whisper
import numpy as np
import torch
import transformers
import whisper

from academy_ai.kinds.lecture_transcribe import mel, model, weights
from academy_ai.kinds.lecture_transcribe.speech import RATE

Sound = np.ndarray[Any, np.dtype[np.float32]]
Reader = Callable[[Sound], str]

_LAYERS, _WIDTH, _HEADS = 6, 512, 8
"""Whisper base."""


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array.copy()) for name, array in weights.read(folder / "model.bin").items()}


def _renamed(w: dict[str, torch.Tensor], names: dict[str, str], layer: dict[str, str], split: list[str]) -> Any:
    """State of another library's model; `names` and `layer` map CTranslate2's names, `split`: query, key, value."""
    out = {theirs: w[ours] for ours, theirs in names.items()}
    for half in ("encoder", "decoder"):
        for number in range(_LAYERS):
            at, to = f"{half}/layer_{number}", layer["layer"].format(half=half, number=number)
            out |= _attention(w, (f"{at}/self_attention", f"{to}.{layer['self']}"), layer["out"], split)
            pairs = {"ffn/linear_0": layer["fc1"], "ffn/linear_1": layer["fc2"]}
            norms = {"self_attention": layer["self_norm"], "ffn": layer["ffn_norm"]}
            if half == "decoder":
                out |= _attention(w, (f"{at}/attention", f"{to}.{layer['cross']}"), layer["out"], split)
                norms["attention"] = layer["cross_norm"]
            for kind, theirs_kind in (("weight", "weight"), ("bias", "bias")):
                out |= {f"{to}.{name}.{theirs_kind}": w[f"{at}/{ours}/{kind}"] for ours, name in pairs.items()}
            for kind, theirs_kind in (("gamma", "weight"), ("beta", "bias")):
                out |= {
                    f"{to}.{name}.{theirs_kind}": w[f"{at}/{ours}/layer_norm/{kind}"] for ours, name in norms.items()
                }
    return out


def _attention(
    w: dict[str, torch.Tensor], places: tuple[str, str], out: str, split: list[str]
) -> dict[str, torch.Tensor]:
    """Joined projections taken apart: query, key, value of its own, or query apart from the sound's key and value."""
    at, to = places
    own = at.endswith("self_attention")
    groups = [("linear_0", split)] if own else [("linear_0", split[:1]), ("linear_1", split[1:])]
    groups.append(("linear_1" if own else "linear_2", [out]))
    return {
        f"{to}.{name}.{kind}": piece
        for linear, parts in groups
        for kind in ("weight", "bias")
        for name, piece in zip(parts, w[f"{at}/{linear}/{kind}"].chunk(len(parts)), strict=True)
        if (name, kind) != (split[1], "bias")  # keys have none
    }


def _convolutions(prefix: str) -> dict[str, str]:
    return {
        f"encoder/{name}/{kind}": f"{prefix}encoder.{name}.{kind}"
        for name in ("conv1", "conv2")
        for kind in ("weight", "bias")
    }


def openai_whisper(folder: Path) -> Reader:
    """As its README has it: greedy with fallback."""
    w = _tensors(folder)
    names = _convolutions("") | {
        "encoder/position_encodings/encodings": "encoder.positional_embedding",
        "decoder/position_encodings/encodings": "decoder.positional_embedding",
        "decoder/embeddings/weight": "decoder.token_embedding.weight",
        "encoder/layer_norm/gamma": "encoder.ln_post.weight",
        "encoder/layer_norm/beta": "encoder.ln_post.bias",
        "decoder/layer_norm/gamma": "decoder.ln.weight",
        "decoder/layer_norm/beta": "decoder.ln.bias",
    }
    layer = {"layer": "{half}.blocks.{number}", "self": "attn", "cross": "cross_attn", "out": "out", "fc1": "mlp.0"}
    layer |= {"fc2": "mlp.2", "self_norm": "attn_ln", "cross_norm": "cross_attn_ln", "ffn_norm": "mlp_ln"}
    sizes = whisper.model.ModelDimensions(80, 1500, _WIDTH, _HEADS, _LAYERS, 51865, 448, _WIDTH, _HEADS, _LAYERS)
    loaded = whisper.model.Whisper(sizes)
    loaded.load_state_dict(_renamed(w, names, layer, ["query", "key", "value"]), strict=False)
    loaded.eval()
    return lambda sound: str(whisper.transcribe(loaded, sound, language="en", fp16=False)["text"])


def hugging_face(folder: Path, *, batch: int) -> Reader:
    """Transformers in bfloat16: fixed pieces of 30 s, in batches."""
    w = _tensors(folder)
    names = _convolutions("model.") | {
        "encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
        "decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
        "decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
        "encoder/layer_norm/gamma": "model.encoder.layer_norm.weight",
        "encoder/layer_norm/beta": "model.encoder.layer_norm.bias",
        "decoder/layer_norm/gamma": "model.decoder.layer_norm.weight",
        "decoder/layer_norm/beta": "model.decoder.layer_norm.bias",
    }
    layer = {"layer": "model.{half}.layers.{number}", "self": "self_attn", "cross": "encoder_attn", "out": "out_proj"}
    layer |= {"fc1": "fc1", "fc2": "fc2", "self_norm": "self_attn_layer_norm"}
    layer |= {"cross_norm": "encoder_attn_layer_norm", "ffn_norm": "final_layer_norm"}
    settings = transformers.WhisperConfig(
        vocab_size=51865, d_model=_WIDTH, encoder_layers=_LAYERS, decoder_layers=_LAYERS,
        encoder_attention_heads=_HEADS, decoder_attention_heads=_HEADS, encoder_ffn_dim=2048, decoder_ffn_dim=2048,
        pad_token_id=model.TEXT_END, bos_token_id=model.TEXT_END, eos_token_id=model.TEXT_END,
        decoder_start_token_id=model.START,
    )  # fmt: skip
    loaded = transformers.WhisperForConditionalGeneration(settings)
    state = _renamed(w, names, layer, ["q_proj", "k_proj", "v_proj"])
    loaded.load_state_dict(state | {"proj_out.weight": w["decoder/embeddings/weight"]}, strict=False)
    loaded = loaded.to(torch.bfloat16).eval()
    ours = model.opened(str(folder), _sha256(folder))
    prompt = torch.tensor([ours.prompt("en", "transcribe")])

    def read(sound: Sound) -> str:
        pieces = [sound[at : at + 30 * RATE] for at in range(0, len(sound), 30 * RATE)]
        text = b""
        for at in range(0, len(pieces), batch):
            heard = torch.from_numpy(np.stack([mel.log_mel(piece) for piece in pieces[at : at + batch]]))
            with torch.inference_mode():
                tokens = transformers.GenerationMixin.generate(
                    loaded,
                    input_features=heard.to(torch.bfloat16),
                    decoder_input_ids=prompt.expand(len(heard), -1),
                    max_length=448,
                    do_sample=False,
                    suppress_tokens=list(ours.suppressed),
                )
            for row in tokens.tolist():
                text += b"".join(ours.vocabulary[token] for token in row if token < model.TEXT_END) + b" "
        return text.decode("utf-8", "replace")

    return read


def faster(folder: Path, *, batch: int) -> Reader:
    """faster-whisper int8: its batched pipeline with its own speech detection."""
    pipeline = faster_whisper.BatchedInferencePipeline(
        faster_whisper.WhisperModel(str(folder), device="cpu", compute_type="int8", local_files_only=True)
    )
    return lambda sound: " ".join(
        segment.text for segment in pipeline.transcribe(sound, language="en", batch_size=batch, beam_size=1)[0]
    )


def _sha256(folder: Path) -> str:
    import hashlib  # noqa: PLC0415 - of the bench alone

    return hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest()
