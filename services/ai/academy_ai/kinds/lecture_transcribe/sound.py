"""Sound in and out: ffmpeg decodes a lecture to 16 kHz mono, silero-vad says where there is speech.

silero-vad's weights come with its package; they are run by onnxruntime, its own code (which wants torch) is not.
"""

import importlib.util
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from academy_ai import recordings
from academy_ai.kinds.lecture_transcribe.speech import FRAME, RATE, Curve
from academy_core.errors import Permanent, Reason, SettingsFault

Samples = npt.NDArray[np.int16]

LONGEST_HOURS = 12
_CONTEXT = 64
"""Samples of the frame before that the detector hears again (silero-vad, 16 kHz)."""
_FULL_SCALE = 32_768

NO_SOUND = Reason(
    "no-sound",
    "강의에서 소리를 찾을 수 없습니다. 소리가 녹음되었는지 확인해 주세요.",
    "No sound was found in the lecture. Check that sound was recorded.",
)
TOO_LONG = Reason(
    "lecture-too-long",
    f"{LONGEST_HOURS}시간보다 긴 강의에는 자막을 만들 수 없습니다. 나누어 올려 주세요.",
    f"Lectures longer than {LONGEST_HOURS} hours get no subtitles. Upload them in parts.",
)


def decode(source: Path, target: Path) -> Samples:
    """The first sound track as samples at RATE, kept in the file `target` and mapped from there. Raises Permanent."""
    command = [*recordings.ffmpeg(), "-format_whitelist", recordings.SOUND, "-i", f"file:{source}"]
    command += ["-map", "0:a:0", "-ac", "1", "-ar", str(RATE)]
    # The sound of a lecture begins where its picture does; a gap in the recording stays a gap.
    command += ["-af", "aresample=async=1:first_pts=0", "-t", str(LONGEST_HOURS * 3600 + 1), "-f", "s16le"]
    done = subprocess.run([*command, "-y", f"file:{target}"], check=False, env={}, capture_output=True)  # noqa: S603 - a fixed program on a path we made
    samples = target.stat().st_size // 2 if target.is_file() else 0
    if done.returncode != 0 or samples == 0:
        raise Permanent(f"ffmpeg: {done.stderr.decode(errors='replace')[-500:]}", reason=NO_SOUND)
    if samples > LONGEST_HOURS * 3600 * RATE:
        raise Permanent(f"{samples} samples", reason=TOO_LONG)
    return np.memmap(target, np.int16, "r", shape=(samples,))


def encode(samples: Samples, target: Path) -> None:
    """A FLAC file of these samples."""
    command = [*recordings.ffmpeg(), "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0"]
    command += ["-y", f"file:{target}"]
    subprocess.run(command, check=True, env={}, input=samples.tobytes())  # noqa: S603 - as above


def heard(samples: Samples) -> npt.NDArray[np.float32]:
    """-1 to 1."""
    return np.asarray(samples.astype(np.float32) / _FULL_SCALE, np.float32)


class Detector:
    """silero-vad 6, one frame after the other. Its weights are read from the installed package."""

    def __init__(self) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else its builds report to their maker; read when it is imported
        import onnxruntime  # noqa: PLC0415 - heavy, and only the plan needs it

        found = importlib.util.find_spec("silero_vad")
        if found is None or found.origin is None:
            raise SettingsFault("the package silero-vad is not installed")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = Path(found.origin).parent / "data" / "silero_vad.onnx"
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def curve(self, samples: Samples, report: Callable[[float], None]) -> Curve:
        """Probability of speech of every frame of FRAME samples; the last one is filled up with silence."""
        total = -(-len(samples) // FRAME)
        out = np.zeros(total, np.float32)
        state, rate = np.zeros((2, 1, 128), np.float32), np.array(RATE, np.int64)
        heard_before = np.zeros(_CONTEXT, np.float32)
        for number, frame in enumerate(_frames(samples)):
            given = np.concatenate((heard_before, frame))[None]
            probability, state = self._session.run(None, {"input": given, "state": state, "sr": rate})
            out[number] = probability[0, 0]
            heard_before = frame[-_CONTEXT:]
            if number % 4096 == 0:
                report(number / total)
        return out


def _frames(samples: Samples) -> Iterable[npt.NDArray[np.float32]]:
    for start in range(0, len(samples), FRAME):
        frame = heard(samples[start : start + FRAME])
        yield frame if len(frame) == FRAME else np.pad(frame, (0, FRAME - len(frame)))
