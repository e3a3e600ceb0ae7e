"""Published playlists against RFC 8216 and against the files they name, for lectures of all lengths and frame rates.

What a validator of HLS looks at: every segment's real time and length, the target duration, and what the master claims.
"""

import json
import os
import subprocess
from fractions import Fraction
from itertools import accumulate, pairwise, product
from pathlib import Path

import m3u8
import media
import pytest

from academy_api.lectures import playlists
from academy_core.store_fake import FakeStore
from academy_video import ffmpeg, ladder, plan

SOAK = os.environ.get("ACADEMY_SOAK") == "1"
RULES = plan.Rules(
    segment_seconds=6,
    min_segments=3,
    steps=(ladder.Step(96, 23, 400_000, 300_000), ladder.Step(72, 23, 200_000, 150_000)),
    loudness=ladder.LOUDNESS_LUFS,
)
LENGTHS = ("0.04", "0.1", "0.26", "0.5", "1", "3", "5.99", "6", "6.01", "12", "17.99", "18", "18.02", "20", "24.02")
RATES = ("15/2", "10", "15", "24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60", "120")
EDGES = [
    ("0.04", "30"),  # one frame
    ("0.26", "60"),  # shorter than three of the shortest segments
    ("5.99", "60000/1001"),  # behind its first chunk lie two frames
    ("17.99", "30000/1001"),
    ("18", "24000/1001"),
    ("18", "15/2"),
    ("18.02", "30"),  # behind its third segment lies one frame
    ("18.02", "120"),
    ("24.02", "60"),  # at 24 s a segment of sound begins with a packet
]
PACKET = Fraction(1024, 48_000)


def cases() -> list[tuple[str, str]]:
    """Lengths and frame rates: the edges, and in the soak all others."""
    return EDGES if not SOAK else [*EDGES, *sorted({*product(LENGTHS, RATES)} - {*EDGES})]


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "rate"), cases())
def test_playlists_are_what_the_standard_says_and_the_files_are(tmp_path: Path, seconds: str, rate: str) -> None:
    made = lecture_of(tmp_path, Fraction(seconds), Fraction(rate))
    texts = playlists.media_playlists(made.plan, made.chunks, ended=True)
    total = Fraction(made.plan.encoding.total_frames) / ffmpeg.rate(made.plan.encoding)
    lengths = {name.removesuffix(playlists.SUFFIX): check_media(made, name, text) for name, text in texts.items()}
    first, second, sound = lengths["96p"], lengths["72p"], lengths["audio"]
    assert first == second
    assert sum(first) == total
    assert len(first) >= (RULES.min_segments if total >= 18 else -(-total // 6))
    assert all(
        0 <= heard - shown <= PACKET * 2 for heard, shown in zip(accumulate(sound), accumulate(first), strict=True)
    )
    check_master(made, playlists.measured_master(made.plan, made.chunks, made.result))


def lecture_of(folder: Path, seconds: Fraction, rate: Fraction) -> media.Published:
    """A lecture of this length, published."""
    source, work = folder / "source.mp4", folder / "work"
    work.mkdir()
    frames = max(1, round(seconds * rate))
    picture = f"testsrc2=s=128x96:r={rate},trim=end_frame={frames}"
    media.ffmpeg(
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", f"sine=r=44100:d={float(seconds)}", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac", source),
        level="error",
    )
    store = FakeStore()
    return media.publish(media.Worker(store, work, RULES), media.upload_source(store, source))


def check_media(made: media.Published, name: str, text: str) -> list[Fraction]:
    """A media playlist says of each segment what it is; their lengths, exact."""
    read = m3u8.loads(text)
    rendition = name.removesuffix(playlists.SUFFIX)
    (timescale,) = {part.timescale for part in made.parts(rendition)}
    fragments = media.track(made.joined(rendition)).fragments
    assert (read.version, read.playlist_type, read.media_sequence) == (7, "event", 0)
    assert read.is_endlist
    assert read.is_independent_segments
    assert len(read.segments) == len(fragments) == len({segment.uri for segment in read.segments})
    assert all(fragment.samples[0].sync for fragment in fragments)
    ends = [fragment.decode_time + sum(sample.duration for sample in fragment.samples) for fragment in fragments]
    assert [fragment.decode_time for fragment in fragments[1:]] == ends[:-1], "decode times have a hole"
    times = media.track(made.joined(rendition)).presentation_times
    assert len({after - before for before, after in pairwise(times)}) <= 1, "pictures are not one step apart"
    lengths = [Fraction(end - fragment.decode_time, timescale) for end, fragment in zip(ends, fragments, strict=True)]
    for segment, length in zip(read.segments, lengths, strict=True):
        assert abs(segment.duration - length) < 1e-6
        assert round(segment.duration) <= read.target_duration
    return lengths


def check_master(made: media.Published, text: str) -> None:
    """The master says of each rendition what ffprobe finds in it."""
    total = made.plan.encoding.total_frames / ffmpeg.rate(made.plan.encoding)
    for variant in m3u8.loads(text).playlists:
        rendition, info = variant.uri.removesuffix(playlists.SUFFIX), variant.stream_info
        words = (media.FFPROBE, "-v", "error", "-show_streams", "-of", "json", "-")
        done = subprocess.run(words, input=made.joined(rendition), capture_output=True, timeout=60, check=True)
        (stream,) = json.loads(done.stdout)["streams"]
        assert info.resolution == (stream["width"], stream["height"])
        assert info.frame_rate == pytest.approx(float(ffmpeg.rate(made.plan.encoding)), abs=0.0005)
        assert Fraction(stream["r_frame_rate"]) == ffmpeg.rate(made.plan.encoding)
        assert stream["profile"] == "High"
        assert info.codecs == f"avc1.6400{stream['level']:02x},mp4a.40.2"
        parts = [*made.parts(rendition), *made.parts("audio")]
        bits = 8 * sum(segment.bytes for part in parts for segment in part.segments)
        # The sound is up to two packets longer than the picture.
        assert bits / (total + 2 * PACKET) - 2 <= info.average_bandwidth <= bits / total + 2
        assert info.average_bandwidth <= info.bandwidth
