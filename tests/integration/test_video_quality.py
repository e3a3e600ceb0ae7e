"""Quality, size and requests: every figure that docs/services/video.md promises, measured on what was published."""

import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import media
import pytest

from academy_api.lectures import playlists
from academy_core.store_fake import FakeStore
from academy_core.video import CHUNK, PLAN, ChunkInput, ChunkResult
from academy_video import chunk, ladder, plan

STEPS = (ladder.Step(160, 23, 400_000, 300_000), ladder.Step(120, 23, 200_000, 150_000))
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6))
LAVFI = ("-f", "lavfi", "-i")
FAST = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def published(folder: Path, source: Path, rules: plan.Rules = RULES) -> media.Published:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    store = FakeStore()
    return media.publish(media.Worker(store, work, rules), media.upload_source(store, source))


# Loudness


def loudness(sound: bytes | Path) -> tuple[float, float]:
    """(integrated LUFS, true peak dBTP) over the whole, by ffmpeg's own meter."""
    name, stdin = ("pipe:0", sound) if isinstance(sound, bytes) else (str(sound), b"")
    words = ("-hide_banner", "-nostdin", "-i", name, "-map", "0:a", "-af", "ebur128=peak=true", "-f", "null", "-")
    done = subprocess.run((media.FFMPEG, *words), input=stdin, capture_output=True, timeout=120, check=True)
    summary = done.stderr.decode().rpartition("Summary:")[2]
    integrated, peak = re.search(r"I:\s+(-?[\d.]+)", summary), re.search(r"Peak:\s+(-?[\d.]+)", summary)
    assert integrated is not None
    assert peak is not None
    return float(integrated.group(1)), float(peak.group(1))


@pytest.fixture(scope="module")
def long_lecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven minutes whose level wanders between quiet and loud, with pauses: windows do not see all of it."""
    path = tmp_path_factory.mktemp("loud") / "long.mp4"
    wander = "(0.02+0.06*(0.5+0.5*sin(2*PI*t/97)))*gt(mod(t,11),2)*(0.6+0.4*sin(2*PI*3*t))"
    sound = f"aevalsrc='{wander}*(sin(2*PI*180*t)+0.6*sin(2*PI*700*t)+0.3*sin(2*PI*2300*t))':s=48000:d=420"
    picture = "testsrc2=s=96x72:r=10:d=420"
    media.ffmpeg(*LAVFI, picture, *LAVFI, sound, *FAST, "-g", "50", "-c:a", "aac", path, level="error")
    return path


SMALL = plan.Rules(
    segment_seconds=6, min_segments=3, steps=(ladder.Step(72, 30, 100_000, 75_000),), loudness=ladder.LOUDNESS_LUFS
)


LONG: dict[str, tuple[str, ...]] = {
    "direct.mp4": ("-map", "0"),
    "sound-shorter.mp4": ("-map", "0:v", "-map", "1:a"),
    "normalised.ts": ("-map", "0"),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_lecture_is_brought_to_the_target_by_one_gain(long_lecture: Path, tmp_path: Path, name: str) -> None:
    lecture = tmp_path / name
    media.ffmpeg("-i", long_lecture, "-t", "340", "-i", long_lecture, *LONG[name], "-c", "copy", lecture, level="error")
    before, _ = loudness(lecture)
    assert abs(before - ladder.LOUDNESS_LUFS) > 3, "nothing to do: it tests nothing"
    made = published(tmp_path, lecture, SMALL)
    after, peak = loudness(made.joined("audio"))
    assert after == pytest.approx(ladder.LOUDNESS_LUFS, abs=1)
    assert peak <= -0.5
    gains = {
        child.encoding.audio.gain_db
        for child in plan.chunks(made.plan.encoding, made.plan.chunk_frames)
        if child.encoding.audio
    }
    assert len(gains) == 1


def test_peaks_of_a_quiet_lecture_are_limited_and_nothing_shifts(tmp_path: Path) -> None:
    """Loud beeps in a murmur: the murmur is raised, the beeps stay where they are, in time and below full scale."""
    lecture = media.numbered_lecture(tmp_path / "quiet.mp4", Fraction(30), 12)
    made = published(tmp_path, lecture.path, dataclasses.replace(RULES, loudness=ladder.LOUDNESS_LUFS))
    audio = made.plan.encoding.audio
    assert audio is not None
    assert audio.gain_db > 3
    _, peak = loudness(made.joined("audio"))  # nearly all of its loudness is three beeps, which the limiter holds down
    assert peak <= -0.5
    samples = media.read_sound(made.joined("audio"))[1024:]
    for flash in lecture.flashes:
        expected = int(flash / lecture.fps * media.RATE)
        heard = next(at for at in range(expected - 9600, expected + 9600) if abs(samples[at]) > 16_000)
        assert abs(heard - expected) <= media.RATE // 200


def test_without_the_setting_the_sound_is_left_as_it_is(tmp_path: Path) -> None:
    lecture = media.numbered_lecture(tmp_path / "plain.mp4", Fraction(30), 8)
    made = published(tmp_path, lecture.path)
    assert made.plan.encoding.audio is not None
    assert made.plan.encoding.audio.gain_db == 0
    assert loudness(made.joined("audio"))[0] == pytest.approx(loudness(lecture.path)[0], abs=0.3)


# Peak bandwidth


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What wants far more than any cap."""
    path = tmp_path_factory.mktemp("noise") / "noise.mp4"
    graph = "testsrc2=s=320x240:r=15:d=48,noise=alls=60:allf=t"
    media.ffmpeg(*LAVFI, graph, *FAST, "-crf", "18", "-g", "75", path, level="error")
    return path


def test_the_peak_in_any_window_is_within_a_tenth_of_the_cap(noise: Path, tmp_path: Path) -> None:
    """Six seconds, starting at every frame, across all borders of chunks."""
    rules = plan.Rules(segment_seconds=6, min_segments=3, steps=STEPS, chunk_seconds=(12, 12))
    made = published(tmp_path, noise, rules)
    assert len(made.chunks) >= 3
    window = 6 * 15
    for rung in made.plan.encoding.rungs:
        fragments = media.track(made.joined(rung.name)).fragments
        sizes = [sample.size for fragment in fragments for sample in fragment.samples]
        peak = max(sum(sizes[at : at + window]) for at in range(len(sizes) - window + 1)) * 8 / 6
        assert rung.max_rate / 2 < peak <= 1.1 * rung.max_rate
    for bandwidth in made.result.bandwidths:
        cap = next(rung.max_rate for rung in made.plan.encoding.rungs if rung.name == bandwidth.name)
        assert bandwidth.peak <= 1.1 * cap


PRODUCTION = plan.Rules(segment_seconds=6, min_segments=3)


def test_no_six_seconds_of_picture_and_sound_are_more_than_the_master_says(tmp_path: Path) -> None:
    """The ladder's own values on the worst picture, across the border of its chunks; what a player has to fetch."""
    path = tmp_path / "noise.mp4"
    graph = "testsrc2=s=854x480:r=30:d=18,noise=alls=60:allf=t"
    sound = "anoisesrc=r=48000:d=18:a=0.3"
    media.ffmpeg(*LAVFI, graph, *LAVFI, sound, *FAST, "-crf", "23", "-g", "75", "-c:a", "aac", path, level="error")
    made = published(tmp_path, path, PRODUCTION)
    (rung,) = made.plan.encoding.rungs
    assert (rung.name, rung.max_rate, len(made.chunks)) == ("480p", 1_000_000, 2)
    samples = sorted(sample for name in (rung.name, "audio") for sample in timed_bits(made, name))
    starts = [at for at, _ in timed_bits(made, rung.name)][: -6 * 30]
    peak = max(sum(bits for at, bits in samples if start <= at < start + 6) / 6 for start in starts)
    early, measured = (
        int(re.findall(r"[:,]BANDWIDTH=(\d+)", text)[0])
        for text in (
            playlists.early_master(made.plan, made.chunks),
            playlists.measured_master(made.plan, made.chunks, made.result),
        )
    )
    assert peak > 0.7 * early, "it is no hard source"
    assert peak <= 1.1 * min(early, measured)
    parts = [[segment for part in made.parts(name) for segment in part.segments] for name in (rung.name, "audio")]
    # A sound segment is as long as its picture's but for a packet.
    assert all(8 * (picture.bytes + sound.bytes) / 6 <= 1.01 * measured for picture, sound in zip(*parts, strict=True))


def timed_bits(made: media.Published, name: str) -> Iterator[tuple[float, int]]:
    """(seconds, bits) of every sample of a rendition."""
    (timescale,) = {part.timescale for part in made.parts(name)}
    for fragment in media.track(made.joined(name)).fragments:
        at = fragment.decode_time
        for sample in fragment.samples:
            yield at / timescale, 8 * sample.size
            at += sample.duration


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("426x240", {"240p": (426, 240)}),
        ("640x360", {"360p": (640, 360)}),
        ("854x480", {"480p": (854, 480)}),
        ("1920x1080", {"1080p": (1920, 1080), "720p": (1280, 720), "480p": (854, 480)}),
        ("3840x2160", {"1080p": (1920, 1080), "720p": (1280, 720), "480p": (854, 480)}),
    ],
)
def test_the_production_ladder_gives_each_source_its_rungs(
    tmp_path: Path, size: str, expected: dict[str, tuple[int, int]]
) -> None:
    """Nothing is scaled up; below the last rung there is one of the source's own size."""
    media.ffmpeg(*LAVFI, f"testsrc2=s={size}:r=10:d=1", *FAST, tmp_path / "source.mp4", level="error")
    made = published(tmp_path, tmp_path / "source.mp4", PRODUCTION)
    show = ("-show_entries", "frame=width,height,sample_aspect_ratio", "-of", "csv=p=0", "-")
    for rung in made.plan.encoding.rungs:
        words = (media.FFPROBE, "-v", "error", *show)
        done = subprocess.run(words, input=made.joined(rung.name), capture_output=True, timeout=60, check=True)
        width, height = expected[rung.name]
        assert [line.strip(",") for line in done.stdout.decode().split()] == [f"{width},{height},1:1"] * 10
    master = made.write_files(tmp_path / "out").read_text()
    resolutions = re.findall(r"RESOLUTION=(\d+)x(\d+)", master)
    assert [(int(width), int(height)) for width, height in resolutions] == list(expected.values())


def test_the_production_ladder_keeps_its_promise_by_arithmetic() -> None:
    for step in ladder.LADDER:
        most = ladder.ENCODER_SHARE * step.max_rate * 6 + 2 * step.buffer_size
        assert most <= 1.1 * 6 * step.max_rate + 1e-6


# Borders


def similarities(made: media.Published, source: Path, name: str) -> list[float]:
    """SSIM of every published frame's luma against the source."""
    rung = next(rung for rung in made.plan.encoding.rungs if rung.name == name)
    graph = (
        f"[1:v]scale={rung.width}:{rung.height}:flags=bicubic:in_color_matrix=bt601:out_color_matrix=bt709:"
        "out_range=tv,format=yuv420p,setpts=N/(30*TB)[b];[0:v]setpts=N/(30*TB)[a];[a][b]ssim=stats_file=-"
    )
    words = ("-i", "pipe:0", "-i", source, "-filter_complex", graph, "-f", "null", "-")
    out = media.ffmpeg(*words, stdin=made.joined(name), level="error").decode()
    return [float(value) for value in re.findall(r"^n:\d+ Y:([0-9.]+) ", out, re.MULTILINE)]


def test_borders_are_as_good_as_a_one_piece_encode(tmp_path: Path) -> None:
    """The half second on each side of a border: at most 0.005 below."""
    source = tmp_path / "moving.mp4"
    graph = "testsrc2=s=320x240:r=30:d=16,noise=alls=12:allf=t"
    media.ffmpeg(*LAVFI, graph, *FAST, "-crf", "15", "-g", "60", source, level="error")
    whole = published(tmp_path, source, dataclasses.replace(RULES, chunk_seconds=(3600,)))
    chunked = published(tmp_path, source)
    assert (len(whole.chunks), len(chunked.chunks)) == (1, 3)
    for name in ("160p", "120p"):
        one, many = similarities(whole, source, name), similarities(chunked, source, name)
        assert len(one) == len(many) == 480
        for border in (made.first_frame for made in chunked.chunks[1:]):
            for side in (slice(border - 15, border), slice(border, border + 15)):
                assert sum(one[side]) / 15 - sum(many[side]) / 15 <= 0.005


# Two builds of ffmpeg


@pytest.mark.parametrize(("odd", "expected"), [(False, 0), (True, 2)], ids=["alike", "odd"])
def test_two_builds_of_ffmpeg_make_one_lecture(tmp_path: Path, odd: bool, expected: int) -> None:  # noqa: FBT001
    """Equal inits, or a break with a MAP of its own, so that every reader plays on."""
    lecture = media.numbered_lecture(tmp_path / "two.mp4", Fraction(30), 14)
    work = tmp_path / "work"
    work.mkdir()
    store = FakeStore()
    one = media.Worker(store, work, RULES)
    binary = media.odd_build(tmp_path / "ffmpeg") if odd else imageio_ffmpeg.get_ffmpeg_exe()
    other = dataclasses.replace(one, ffmpeg=binary)
    assert version(one.ffmpeg) != version(other.ffmpeg)
    outcome = one.run(PLAN, media.upload_source(store, lecture.path))
    made = media.planned(outcome)
    assert made is not None
    assert outcome.then is not None
    chunks = tuple(
        media.as_model(ChunkResult, worker.run(CHUNK, ChunkInput.model_validate(child.input)).result)
        for worker, child in zip((one, other, one), outcome.children, strict=True)
    )
    final = one.run(media.PUBLISH, media.PublishInput.model_validate(outcome.then.input), chunks)
    whole = media.Published(store, made, chunks, media.as_model(media.PublishResult, final.result))
    assert whole.result.poster is not None
    inits = [{part.name: part.init for part in result.renditions} for result in chunks]
    breaks = sum(before != after for before, after in pairwise(inits))
    for text in playlists.media_playlists(made, chunks, ended=True).values():
        assert text.count("#EXT-X-DISCONTINUITY\n") == breaks
        assert text.count("#EXT-X-MAP:") == breaks + 1
    assert breaks == expected
    plays_through(whole.write_files(tmp_path / "out"), 420)


def plays_through(master: Path, frames: int) -> None:
    """A reader of HLS that knows nothing of us shows every frame, each at its time, and the sound to its end.

    Errors alone count: ffmpeg warns of the second MAP, which is not the first one's to the byte, and keeps the first.
    """
    raw = media.ffmpeg(
        *("-i", master, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "nut", "pipe:1"), level="error"
    )
    assert media.read_frames(raw, 214, 160)[0] == list(range(frames))
    for stream, step in (("v:0", 1 / 30), ("a:0", 1024 / media.RATE)):
        show = ("-select_streams", stream, "-show_entries", "packet=pts_time", "-of", "csv=p=0")
        words = (media.FFPROBE, "-v", "error", *show, master)
        done = subprocess.run(words, capture_output=True, timeout=60, check=True, text=True)
        assert done.stderr == ""
        times = sorted(map(float, done.stdout.split()))
        assert len(times) >= frames / 30 / step
        assert all(abs(after - before - step) < 0.0001 for before, after in pairwise(times))
    sound = media.ffmpeg("-i", master, "-map", "0:a", "-ac", "1", "-f", "s16le", "pipe:1", level="error")
    assert len(sound) // 2 >= frames / 30 * media.RATE


def version(binary: str) -> str:
    done = subprocess.run((binary, "-version"), capture_output=True, timeout=60, check=True, text=True)
    return done.stdout.partition(" Copyright")[0]


# Poster, small pictures, report


@pytest.fixture(scope="module")
def dark_start(tmp_path_factory: pytest.TempPathFactory) -> media.Published:
    """Fourteen seconds of black, then a picture: 36 s, 320x180."""
    folder = tmp_path_factory.mktemp("dark")
    graph = "testsrc2=s=320x180:r=10:d=36,drawbox=color=black:t=fill:enable='lt(t,14)'"
    media.ffmpeg(*LAVFI, graph, *FAST, "-g", "50", folder / "dark.mp4", level="error")
    return published(folder, folder / "dark.mp4")


def picture(data: bytes, words: tuple[str, ...] = ()) -> tuple[int, int, bytes]:
    """Width, height and grey samples of a JPEG."""
    entries = ("-show_entries", "stream=width,height", "-of", "json", "-")
    probed = subprocess.run(
        (media.FFPROBE, "-v", "error", "-f", "jpeg_pipe", *entries),
        input=data,
        capture_output=True,
        check=True,
        timeout=60,
    )
    (stream,) = json.loads(probed.stdout)["streams"]
    grey = media.ffmpeg(
        "-f",
        "jpeg_pipe",
        "-i",
        "pipe:0",
        *words,
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "pipe:1",
        stdin=data,
        level="error",
    )
    return stream["width"], stream["height"], grey


def test_the_poster_is_never_black(dark_start: media.Published) -> None:
    poster = dark_start.result.poster
    assert poster is not None
    width, height, grey = picture(dark_start.store.get(media.PREFIX + poster))
    rung = dark_start.plan.encoding.rungs[0]
    assert (width, height) == (rung.width, rung.height)
    assert chunk.light(grey) > 100


def test_the_poster_of_a_short_lecture_is_not_black_either(tmp_path: Path) -> None:
    """Nine seconds of which only the last three have a picture."""
    graph = "testsrc2=s=320x180:r=10:d=9,drawbox=color=black:t=fill:enable='lt(t,6)'"
    media.ffmpeg(*LAVFI, graph, *FAST, tmp_path / "dark.mp4", level="error")
    made = published(tmp_path, tmp_path / "dark.mp4")
    assert made.result.poster is not None
    assert chunk.light(picture(made.store.get(media.PREFIX + made.result.poster))[2]) > 100


def test_a_lecture_that_is_black_all_along_is_published(tmp_path: Path) -> None:
    media.ffmpeg(*LAVFI, "color=black:s=320x180:r=10:d=12", *FAST, tmp_path / "black.mp4", level="error")
    assert published(tmp_path, tmp_path / "black.mp4").result.poster is not None


def test_small_pictures_show_what_their_webvtt_says(dark_start: media.Published) -> None:
    name = dark_start.result.thumbnails
    assert name is not None
    text = dark_start.store.get(media.PREFIX + name).decode()
    assert text.startswith("WEBVTT\n\n")
    cues = re.findall(r"([\d:.]+) --> ([\d:.]+)\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)\n", text)
    starts = [f"00:00:{3.6 * number:06.3f}" for number in range(10)]
    assert [(start, end) for start, end, *_ in cues] == list(pairwise([*starts, "00:00:36.000"]))
    lights = []
    for *_, image, x, y, width, height in cues:
        whole_width, whole_height, _ = picture(dark_start.store.get(media.PREFIX + image))
        assert int(x) + int(width) <= whole_width
        assert int(height) == whole_height
        _, _, grey = picture(dark_start.store.get(media.PREFIX + image), ("-vf", f"crop={width}:{height}:{x}:{y}"))
        assert len(grey) == int(width) * int(height)
        lights.append(chunk.light(grey))
    assert [light > 100 for light in lights] == [False] * 4 + [True] * 6


def test_the_report_has_the_quality_of_five_samples_of_two_seconds(dark_start: media.Published) -> None:
    qualities = dark_start.result.qualities
    assert len(qualities) >= 5
    assert all(quality.frames == 20 for quality in qualities)
    assert all(0.9 < quality.least <= quality.ssim <= 1 for quality in qualities)


def test_the_report_notices_a_bad_encode(tmp_path: Path) -> None:
    """The same source at a quality nobody would want: the figure falls."""
    source = tmp_path / "moving.mp4"
    media.ffmpeg(
        *LAVFI, "testsrc2=s=320x240:r=30:d=12,noise=alls=20:allf=t", *FAST, "-crf", "12", source, level="error"
    )
    good, bad = (
        published(tmp_path, source, dataclasses.replace(RULES, steps=(ladder.Step(160, crf, 4_000_000, 3_000_000),)))
        for crf in (18, 45)
    )
    least = [min(quality.ssim for quality in made.result.qualities) for made in (good, bad)]
    assert least[0] > 0.88  # of a picture that is half noise
    assert least[1] < least[0] - 0.1


# Segments


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(18, 3), (19, 4), (60, 10), (12, 3), (7, 3), (1, 3)],
)
def test_every_rendition_has_its_least_number_of_segments(seconds: int, expected: int) -> None:
    """`MIN_SEGMENTS_PER_VARIANT` from 18 s on by 6-s segments; shorter ones get at least ceil(duration / 6)."""
    total = seconds * 30
    gop = plan.segment_length(total, Fraction(30), plan.Rules(segment_seconds=6, min_segments=3))
    count = -(-total // gop)
    assert count == expected
    assert count >= -(-seconds // 6)


# Titles


@pytest.mark.parametrize(
    ("rate", "name", "sides"),
    [
        (100_000, "still", [1080, 480]),
        (500_000, "ordinary", [1080, 720, 480]),
        (2_000_000, "busy", [1080, 720, 480]),
    ],
)
def test_slides_get_less_and_noise_is_not_chased(rate: float, name: str, sides: list[int]) -> None:
    kind = plan.title([rate] * 5, ladder.LADDER)
    assert kind.name == name
    rungs = plan.suited(
        [media.rung(step) for step in ladder.LADDER],
        kind,
    )
    assert [rung.height for rung in rungs] == sides


@pytest.mark.parametrize(
    ("graph", "expected"),
    [("color=0xf4f1e8:s=640x360:r=10:d=20,drawbox=x=40:y=40:w=300:h=30:t=fill", "still"), ("noise", "busy")],
)
def test_samples_tell_slides_from_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: str, expected: str
) -> None:
    monkeypatch.setattr(ladder, "TITLE_FROM_SECONDS", 10)
    made = "testsrc2=s=640x360:r=10:d=20,noise=alls=80:allf=t" if graph == "noise" else graph
    path = tmp_path / "title.mp4"
    media.ffmpeg(*LAVFI, made, *FAST, "-g", "20", "-crf", "15", path, level="error")
    work = tmp_path / "work"
    work.mkdir()
    store = FakeStore()
    steps = tuple(ladder.Step(side, 23, rate, rate) for side, rate in ((360, 800_000), (240, 500_000), (180, 300_000)))
    worker = media.Worker(store, work, dataclasses.replace(RULES, steps=steps))
    planned = media.planned(worker.run(PLAN, media.upload_source(store, path)))
    assert planned is not None
    assert planned.encoding.title == expected
    assert len(planned.encoding.rungs) == (2 if expected == "still" else 3)
