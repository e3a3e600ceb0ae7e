"""How much of a source is read from the object store: counted at the real client, on the S3 emulator.

Short form: of the chunks every third is made and stands for the others. `make soak` makes all, and counts longer
lectures at a lower rate as well, on which what is read in vain weighs more, and one of 20 minutes, the shortest that
two workers read within the bound (ADR 0056). What is encoded before is noise: its intermediate is as large as it gets.
"""

import dataclasses
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import media
import pytest

from academy_core.settings import StoreSettings
from academy_core.store import R2Store
from academy_core.video import CHUNK, KINDS, PLAN, ChunkInput
from academy_video import ladder, plan

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SOAK = os.environ.get("ACADEMY_SOAK") == "1"
RULES = plan.Rules(
    segment_seconds=6, min_segments=3, steps=(ladder.Step(72, 30, 100_000, 200_000),), loudness=ladder.LOUDNESS_LUFS
)


@dataclass(frozen=True)
class Recording:
    """A made one of a real one's size: what it lacks in picture it has in filler."""

    name: str
    minutes: int
    rate: int
    """Of the picture, bit/s."""
    most: float
    """What may be read of it, in times its size."""
    key_seconds: int = 8
    """How far apart its key frames are."""
    sound_runs: bool = False
    """Whether a second of sound lies together, as phones write it, and not a packet at a time, as ffmpeg does."""


LONGER = [
    Recording("usual.mp4", 20, 2_000_000, 1.2),
    Recording("slow.mp4", 90, 250_000, 1.2),
    Recording("slow.ts", 90, 250_000, 2.3),
]
RECORDINGS = [
    # Five minutes of sound are listened to before anything is encoded: of a shorter lecture that is a larger share.
    Recording("direct.mp4", 42, 500_000, 1.2),
    # Where a second of sound lies together ffmpeg jumps over the picture between: even short ones are read little.
    Recording("phone.mp4", 4, 8_000_000, 1.2, sound_runs=True),
    Recording("normalised.ts", 6, 500_000, 2.3),
    Recording("sparse.mp4", 6, 500_000, 2.3, key_seconds=60),
    Recording("sparse.ts", 6, 500_000, 2.3, key_seconds=60),
    *(LONGER if SOAK else []),
]


def drawn(recording: Recording, folder: Path) -> Path:
    """A minute at a constant rate, repeated without encoding it again; of noise where it will be encoded again."""
    minute, path = folder / "minute.mp4", folder / recording.name
    noise = "nullsrc=s=160x120:r=10:d=60,geq=random(1)*255:128:128"
    drawing = noise if recording.key_seconds > ladder.MAX_KEY_GAP_SECONDS else "testsrc2=s=96x72:r=10:d=60"
    picture = ("-f", "lavfi", "-i", drawing)
    sound = ("-f", "lavfi", "-i", "anoisesrc=d=60:a=0.8:r=48000", "-c:a", "aac", "-b:a", "96k")
    constant = ("-b:v", str(recording.rate), "-maxrate", str(recording.rate), "-bufsize", str(recording.rate))
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-x264-params", "nal-hrd=cbr:filler=1")
    keys = ("-g", str(10 * recording.key_seconds), "-sc_threshold", "0")
    media.ffmpeg(*picture, *sound, *coding, *keys, *constant, minute, level="error")
    times = str(recording.minutes - 1)
    runs = ("-chunk_duration", "1000000") if recording.sound_runs else ()
    media.ffmpeg("-stream_loop", times, "-i", minute, "-c", "copy", *runs, path, level="error")
    assert path.stat().st_size > recording.minutes * 60 * recording.rate / 8, "the filler is missing"
    return path


class CountingStore(R2Store):
    """The real client; counts what it reads."""

    def __init__(self, bucket: str) -> None:
        super().__init__(StoreSettings.model_validate(os.environ), bucket)
        self.calls = 0
        self.bytes = 0

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        return self._counted(super().get_range(key, start, end))

    def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        return self._counted(super().get(key))

    def _counted(self, data: bytes) -> bytes:
        self.calls += 1
        self.bytes += len(data)
        return data


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
@pytest.mark.usefixtures("s3")
def test_little_more_than_the_source_is_read(bucket: str, tmp_path: Path, recording: Recording) -> None:
    """Over plan, normalise and chunks, all objects counted; two workers take turns."""
    store = CountingStore(bucket)
    source = media.upload_source(cast("Any", store), drawn(recording, tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    worker = media.Worker(cast("Any", store), work, RULES)
    workers = itertools.cycle([worker, dataclasses.replace(worker)])
    outcome = next(workers).run(PLAN, source)
    while (made := media.planned(outcome)) is None:
        (child,) = outcome.children
        kind = next(kind for kind in KINDS if kind.name == child.kind)
        outcome = next(workers).run(kind, kind.input.model_validate(child.input))
    assert made.duration_seconds == pytest.approx(60 * recording.minutes, rel=0.01)
    assert made.encoding.audio is not None
    assert made.encoding.audio.gain_db != 0, "its loudness was not measured"
    before = store.bytes
    chunks = [ChunkInput.model_validate(child.input) for child in outcome.children][:: 1 if SOAK else 3]
    for chunk in chunks:
        next(workers).run(CHUNK, chunk)
    share = sum(chunk.end_frame - chunk.first_frame for chunk in chunks) / made.encoding.total_frames
    ratio = (before + (store.bytes - before) / share) / source.source_bytes
    print(f"{recording}: {ratio:.3f} times its size in {store.calls} requests")  # noqa: T201 - the figure
    assert 1 <= ratio <= recording.most
