"""The seams between chunks: chunked output against one-piece output of the same source, by the same handlers.

25, 30 and 60 frames a second, each with another container and sample rate. Small pictures, 2-s segments and 4- and 6-s
chunks, so that the sources are short and the borders many; nothing else differs from production.
"""

import array
import math
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import m3u8
import media
import pytest

from academy_core.store_fake import FakeStore
from academy_core.video import BASE_SECONDS, Rung
from academy_video import boxes, ffmpeg, ladder, plan

STEPS = (ladder.Step(160, 23, 400_000, 800_000), ladder.Step(120, 23, 200_000, 400_000))
SECONDS = 20
CHUNKED = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6))
ONE_PIECE = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(3600,))
WINDOW = ffmpeg.AAC_FRAME


@dataclass(frozen=True)
class Both:
    """One source, made both ways."""

    source: media.Numbered
    chunked: media.Published
    whole: media.Published

    @property
    def rungs(self) -> tuple[Rung, ...]:
        return self.chunked.plan.encoding.rungs


@pytest.fixture(
    scope="module",
    params=[(25, "mp4", 48_000), (30, "mov", 44_100), (60, "mkv", 44_100)],
    ids=lambda param: f"{param[0]}fps-{param[1]}-{param[2]}Hz",
)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Both:
    fps, suffix, rate = request.param
    folder = tmp_path_factory.mktemp("seams")
    source = media.numbered_lecture(folder / f"source.{suffix}", Fraction(fps), SECONDS, audio_rate=rate)
    one, other = FakeStore(), FakeStore()
    chunked = media.publish(media.Worker(one, folder, CHUNKED), media.upload_source(one, source.path))
    whole = media.publish(media.Worker(other, folder, ONE_PIECE), media.upload_source(other, source.path))
    assert (len(chunked.chunks), len(whole.chunks)) == (4, 1)
    return Both(source, chunked, whole)


def test_every_rung_has_the_same_frames_as_one_piece(both: Both) -> None:
    for rung in both.rungs:
        tracks = [media.track(made.joined(rung.name)) for made in (both.chunked, both.whole)]
        counts = [len(track.presentation_times) for track in tracks]
        assert counts == [both.source.frames, both.source.frames]
        assert both.chunked.parts(rung.name)[0].init == both.whole.parts(rung.name)[0].init


def test_presentation_times_step_evenly_over_every_border(both: Both) -> None:
    encoding = both.chunked.plan.encoding
    start = BASE_SECONDS * encoding.timescale
    for rung in both.rungs:
        times = media.track(both.chunked.joined(rung.name)).presentation_times
        assert times == [start + frame * encoding.tick for frame in range(both.source.frames)]


def test_decode_times_go_on_without_a_hole(both: Both) -> None:
    for name in (*(rung.name for rung in both.rungs), "audio"):
        fragments = media.track(both.chunked.joined(name)).fragments
        assert [fragment.sequence for fragment in fragments] == list(range(1, len(fragments) + 1))
        for before, after in pairwise(fragments):
            assert after.decode_time == before.decode_time + sum(sample.duration for sample in before.samples)


def test_every_segment_starts_with_its_only_key_frame(both: Both) -> None:
    for rung in both.rungs:
        for fragment in media.track(both.chunked.joined(rung.name)).fragments:
            assert [sample.sync for sample in fragment.samples] == [True] + [False] * (len(fragment.samples) - 1)


def test_burnt_in_numbers_come_back_in_order(both: Both) -> None:
    for rung in both.rungs:
        numbers, _ = media.read_frames(both.chunked.joined(rung.name), rung.width, rung.height)
        assert numbers == list(range(both.source.frames))


def _errors(made: "array.array[int]", reference: "array.array[int]") -> list[float]:
    """RMS error of each AAC packet's samples."""
    count = min(len(made), len(reference)) // WINDOW
    return [
        math.sqrt(sum((made[at] - reference[at]) ** 2 for at in range(number * WINDOW, (number + 1) * WINDOW)) / WINDOW)
        for number in range(count)
    ]


def test_sound_at_borders_is_as_good_as_anywhere(both: Both) -> None:
    reference = media.read_sound(both.source.path)
    # The first packet is the encoder's delay; it decodes to the 1,024 samples before the lecture.
    chunked = _errors(media.read_sound(both.chunked.joined("audio"))[WINDOW:], reference)
    whole = _errors(media.read_sound(both.whole.joined("audio"))[WINDOW:], reference)
    limit = sorted(whole)[math.ceil(0.99 * len(whole)) - 1]
    encoding = both.chunked.plan.encoding
    borders = [ffmpeg.packet_at(encoding, made.first_frame) - 1 for made in both.chunked.chunks[1:]]
    assert len(borders) == 3
    for border in borders:
        for window in range(border - 2, border + 2):
            assert chunked[window] <= limit, f"packet {window} at border {border}"


def test_sound_and_picture_stay_together(both: Both) -> None:
    """A/V offset at start, middle and end: the flash and the onset of the beep are at most one frame apart."""
    sound = media.read_sound(both.chunked.joined("audio"))[WINDOW:]
    rung = both.rungs[0]
    _, flashing = media.read_frames(both.chunked.joined(rung.name), rung.width, rung.height)
    onsets = [frame for frame in flashing if frame - 1 not in flashing]
    assert onsets == list(both.source.flashes)
    for onset in onsets:
        expected = int(onset / both.source.fps * media.RATE)
        around = range(expected - media.RATE // 4, expected + media.RATE // 4)
        heard = next(at for at in around if abs(sound[at]) > 9000)
        assert abs(heard - expected) <= media.RATE / both.source.fps


def test_sound_and_picture_segments_cover_the_same_time(both: Both) -> None:
    """They never drift apart by more than a packet, however long the lecture."""
    encoding = both.chunked.plan.encoding
    pictures = media.track(both.chunked.joined(both.rungs[0].name)).fragments
    sounds = media.track(both.chunked.joined("audio")).fragments
    assert len(sounds) == len(pictures)
    for number, sound in enumerate(sounds):
        shown = Fraction(number * encoding.gop * encoding.tick, encoding.timescale) + BASE_SECONDS
        assert 0 <= shown - Fraction(sound.decode_time, media.RATE) <= Fraction(WINDOW, media.RATE)


def test_independent_readers_take_the_playlists(both: Both, tmp_path: Path) -> None:
    master = both.chunked.write_files(tmp_path)
    read = m3u8.load(str(master))
    assert [variant.stream_info.resolution for variant in read.playlists] == [(r.width, r.height) for r in both.rungs]
    for name in (*(rung.name for rung in both.rungs), "audio"):
        playlist = m3u8.load(str(tmp_path / f"{name}.m3u8"))
        assert playlist.is_endlist
        assert len(playlist.segments) == both.chunked.result.segments == 10
        assert max(round(segment.duration) for segment in playlist.segments) <= playlist.target_duration
        assert sum(segment.duration for segment in playlist.segments) == pytest.approx(SECONDS, abs=0.05)
    probe = (media.FFPROBE, "-v", "warning", "-show_entries", "stream=codec_name", "-of", "csv=p=0", str(master))
    probed = subprocess.run(probe, capture_output=True, timeout=60, check=True, text=True)
    assert probed.stderr == ""
    assert {"h264", "aac"} <= set(probed.stdout.split())
    media.ffmpeg("-i", str(master), "-map", "0", "-c", "copy", "-f", "null", "-")
    for name in (*(rung.name for rung in both.rungs), "audio"):
        media.ffmpeg("-i", "pipe:0", "-f", "null", "-", stdin=both.chunked.joined(name))


def test_a_seam_would_be_seen(both: Both) -> None:
    """The readers do notice: a chunk left out, or its time stamps not moved, changes what they read."""
    rung = both.rungs[-1]
    parts = both.chunked.parts(rung.name)
    names = [parts[0].init, *(segment.name for part in (parts[0], *parts[2:]) for segment in part.segments)]
    lacking = b"".join(both.chunked.store.get(media.PREFIX + name) for name in names)
    numbers, _ = media.read_frames(lacking, rung.width, rung.height)
    assert numbers != list(range(len(numbers)))
    steps = {after - before for before, after in pairwise(media.track(lacking).presentation_times)}
    assert len(steps) > 1
    first = both.chunked.store.get(media.PREFIX + parts[1].segments[0].name)
    moof = next(box.data for box in boxes.read_boxes(media.Reader(first)) if box.kind == b"moof")
    assert boxes.parse_moof(boxes.restamp(moof, sequence=1, decode_time=0)).decode_time == 0
