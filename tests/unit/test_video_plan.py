"""The plan as a pure function: frame grid, ladder, chunks, refusals; and the parsing of what ffprobe prints."""

import dataclasses
import heapq
import json
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core.errors import Permanent
from academy_core.video import PlanInput
from academy_video import ladder, plan, probe

RULES = plan.Rules(segment_seconds=6, min_segments=3)
INPUT = PlanInput(source_key="sources/a.mp4", source_bytes=1, source_etag="e")
VIDEO = probe.VideoStream(
    index=0,
    codec="h264",
    width=1920,
    height=1080,
    sample_aspect=Fraction(1),
    nominal_rate=Fraction(30),
    average_rate=Fraction(30),
    start=Fraction(0),
    default=True,
    rotation=0,
    interlaced=False,
)
AUDIO = probe.AudioStream(index=1, codec="aac", rate=44_100, channels=2, start=Fraction(0), default=True)
MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MKV = "matroska,webm"


def source(**changes: Any) -> probe.Source:
    whole = probe.Source(container=MP4, claimed_end=None, videos=(VIDEO,), audios=(AUDIO,))
    return dataclasses.replace(whole, **changes)


def tails(picture: float, sound: float | None = None) -> dict[int, probe.Tail]:
    end = Fraction(picture)
    found = {0: probe.Tail(end - Fraction(1, 30), end)}
    if sound is not None:
        found[1] = probe.Tail(Fraction(sound), Fraction(sound))
    return found


@pytest.mark.parametrize(
    ("nominal", "average", "expected"),
    [
        ("30/1", "30/1", Fraction(30)),
        ("25/1", "25/1", Fraction(25)),
        ("24000/1001", "24000/1001", Fraction(24000, 1001)),
        ("30000/1001", "2997/100", Fraction(30000, 1001)),
        ("60/1", "60/1", Fraction(60)),
        ("15/1", "15/1", Fraction(15)),
        ("1000/1", "27/1", Fraction(30)),
        ("90000/1", "48/1", Fraction(50)),
        ("120/1", "120/1", Fraction(60)),
        ("30/1", "0/0", Fraction(30)),
    ],
)
def test_frame_rate(nominal: str, average: str, expected: Fraction) -> None:
    video = dataclasses.replace(VIDEO, nominal_rate=probe._ratio(nominal), average_rate=probe._ratio(average))
    assert plan.frame_rate(video) == expected


@pytest.mark.parametrize(("audio", "expected"), [(None, 1_000_000), (100_000, 900_000), (999_999, 300_000)])
def test_the_cap_of_an_encode_is_the_pictures_share_of_the_source(audio: int | None, expected: int) -> None:
    """Of its length from its start on: MPEG-TS may start anywhere."""
    start = Fraction(5000)
    video = dataclasses.replace(VIDEO, start=start)
    sound = dataclasses.replace(AUDIO, start=start, bit_rate=audio)
    found = source(container="mpegts", claimed_end=start + 80, videos=(video,), audios=(sound,))
    task = INPUT.model_copy(update={"source_bytes": 10_000_000})
    assert plan.normalise(task, found, "copy").max_rate == expected


def test_what_was_normalised_is_at_most_encoded_once() -> None:
    assert plan.way_on("direct", encoded=False) == plan.way_on("direct", encoded=True) == "direct"
    assert plan.way_on("copy", encoded=False) == plan.way_on("encode", encoded=False) == "encode"
    assert plan.way_on("encode", encoded=True) == "direct"  # the picture stands where no key frame is
    with pytest.raises(Permanent) as refused:
        plan.way_on("copy", encoded=True)
    assert refused.value.reason == plan.UNREADABLE


def test_the_picture_is_sampled_all_over_the_lecture_where_reading_is_cheap() -> None:
    places = [Fraction(at) for at in range(7, 3607, 400)]
    found = plan.title_places(Fraction(7), Fraction(3600), places)
    assert found == (407, 1207, 1607, 2407, 3207)
    assert plan.title_places(Fraction(7), Fraction(200), places) == ()
    assert plan.title_places(Fraction(7), Fraction(3600), ()) == ()


@pytest.mark.parametrize("rate", ladder.FRAME_RATES)
def test_timescale_and_tick_are_exact(rate: Fraction) -> None:
    scale, tick = plan.timing(rate)
    assert Fraction(tick, scale) == 1 / rate
    assert scale >= 10_000


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("1080p", 1920, 1080), ("720p", 1280, 720), ("480p", 854, 480)]),
        ({"width": 1280, "height": 720}, [("720p", 1280, 720), ("480p", 854, 480)]),
        ({"width": 1600, "height": 900}, [("720p", 1280, 720), ("480p", 854, 480)]),
        ({"width": 1080, "height": 1920}, [("1080p", 1080, 1920), ("720p", 720, 1280), ("480p", 480, 854)]),
        ({"rotation": 90}, [("1080p", 1080, 1920), ("720p", 720, 1280), ("480p", 480, 854)]),
        ({"width": 853, "height": 479}, [("478p", 852, 478)]),
        ({"width": 320, "height": 240}, [("240p", 320, 240)]),
        ({"width": 720, "height": 480, "sample_aspect": Fraction(32, 27)}, [("480p", 854, 480)]),
        ({"width": 3840, "height": 2160}, [("1080p", 1920, 1080), ("720p", 1280, 720), ("480p", 854, 480)]),
    ],
)
def test_ladder_goes_by_the_short_side_and_never_up(
    changes: dict[str, Any], expected: list[tuple[str, int, int]]
) -> None:
    rungs = plan.rungs(dataclasses.replace(VIDEO, **changes), ladder.LADDER)
    assert [(rung.name, rung.width, rung.height) for rung in rungs] == expected


@given(st.integers(16, 8000), st.integers(16, 8000), st.sampled_from([0, 90, 180, 270]))
def test_every_rung_has_even_sides_within_the_source(width: int, height: int, rotation: int) -> None:
    video = dataclasses.replace(VIDEO, width=width, height=height, rotation=rotation)
    rungs = plan.rungs(video, ladder.LADDER)
    assert rungs
    assert len({rung.name for rung in rungs}) == len(rungs)
    for rung in rungs:
        assert rung.width % 2 == rung.height % 2 == 0
        assert min(rung.width, rung.height) <= min(width, height)


@given(st.integers(1, ladder.MAX_SECONDS * 60), st.sampled_from(ladder.FRAME_RATES))
def test_chunks_tile_the_grid_on_segment_borders(longest: int, rate: Fraction) -> None:
    total, gop = min(longest, int(ladder.MAX_SECONDS * rate)), round(6 * rate)
    frames = plan.chunk_frames(total, gop, rate, ladder.CHUNK_SECONDS)
    assert sum(frames) == total
    assert all(count > 0 for count in frames)
    assert all(count % gop == 0 for count in frames[:-1])
    assert max(frames) <= 72 * rate + gop
    assert len(frames) <= 2000


@given(st.integers(1, 200 * 60), st.sampled_from(ladder.FRAME_RATES))
def test_no_chunk_is_a_rest_of_a_few_frames(total: int, rate: Fraction) -> None:
    gop = plan.segment_length(total, rate, RULES)
    frames = plan.chunk_frames(total, gop, rate, ladder.CHUNK_SECONDS)
    assert len(frames) == 1 or frames[-1] >= gop // 2


@given(st.integers(1, 40_000), st.sampled_from(ladder.FRAME_RATES))
def test_every_rendition_has_its_least_number_of_segments_at_any_rate(ms: int, rate: Fraction) -> None:
    made = plan.plan(
        INPUT,
        source(videos=(dataclasses.replace(VIDEO, nominal_rate=rate, average_rate=rate),)),
        tails(ms / 1000),
        RULES,
    )
    assert made.encoding.fps_num / made.encoding.fps_den == pytest.approx(float(rate))
    count = -(-made.encoding.total_frames // made.encoding.gop)
    assert count >= (RULES.min_segments if ms >= 18_000 else -(-ms // 6_000))


def test_chunks_ramp_up() -> None:
    made = plan.plan(INPUT, source(), tails(150), RULES)
    assert [count // 30 for count in made.chunk_frames] == [6, 12, 24, 54, 24, 12, 18]
    assert made.encoding.gop == 180
    assert made.target_duration == 6


@given(st.integers(60, 7200), st.sampled_from([None, 2, 5, 8, 10]), st.integers(2, 4))
def test_workers_end_together(seconds: int, apart: int | None, workers: int) -> None:
    """Chunks are claimed in order; encoding takes as long as the media is: at most a short chunk a worker is lost."""
    keys = [] if apart is None else [Fraction(at) for at in range(0, seconds, apart)]
    busy = [0.0] * workers
    for count in plan.chunk_frames(seconds * 30, 180, Fraction(30), ladder.CHUNK_SECONDS, keys=keys):
        heapq.heapreplace(busy, busy[0] + count / 30)
    assert max(busy) - seconds / workers <= ladder.CHUNK_SECONDS[1] * (workers - 1)


def test_a_short_lecture_still_has_its_least_number_of_segments() -> None:
    made = plan.plan(INPUT, source(), tails(9), RULES)
    assert -(-made.encoding.total_frames // made.encoding.gop) == 3
    assert made.target_duration >= made.encoding.gop / 30


def test_sound_that_outlives_the_picture_extends_it() -> None:
    made = plan.plan(INPUT, source(), tails(75, 90), RULES)
    assert made.encoding.total_frames == 2700
    assert made.encoding.pad_frames == 451 + 15
    assert plan.plan(INPUT, source(), tails(90, 70), RULES).encoding.total_frames == 2700


def test_sound_that_starts_long_before_the_picture_is_kept() -> None:
    late = dataclasses.replace(VIDEO, start=Fraction("8.3"))
    early = dataclasses.replace(AUDIO, start=Fraction(7))
    made = plan.plan(INPUT, source(videos=(late,), audios=(early,)), tails(37), RULES)
    assert Fraction(made.encoding.start_seconds) == 7
    assert made.encoding.total_frames == 900


def test_matroska_sound_is_put_back_on_its_packet_grid() -> None:
    def audio(container: str) -> int:
        made = plan.plan(INPUT, source(container=container), tails(30), RULES).encoding.audio
        assert made is not None
        return made.source_grid

    assert (audio(MKV), audio(MP4)) == (1024, 1)


@pytest.mark.parametrize(
    ("language", "tracks", "chosen"),
    [
        ("ko", [("eng", True), ("kor", False)], 1),
        ("ko", [("eng", False), ("jpn", True)], 1),
        ("ko", [("", False), ("", False)], 0),
        ("ko", [("ko-KR", False), ("kor", True)], 1),
        ("ko", [("kor", True), ("kor", True)], 0),
        ("en", [("kor", True), ("eng", False)], 1),
        ("ja", [("kor", True), ("jpn", False)], 1),
        ("zh", [("kor", True), ("chi", False)], 1),
    ],
)
def test_of_several_sounds_the_lectures_language_comes_first_then_the_default_flag(
    language: str, tracks: list[tuple[str, bool]], chosen: int
) -> None:
    sounds = tuple(
        dataclasses.replace(AUDIO, index=1 + at, language=language, default=default)
        for at, (language, default) in enumerate(tracks)
    )
    _, audio = plan.main_streams(source(audios=sounds), language)
    assert audio is sounds[chosen]


@pytest.mark.parametrize(
    ("change", "mixed_down"),
    [
        ({}, False),
        ({"channels": 1}, False),
        ({"channels": 4}, True),
        ({"codec": "ac3"}, True),
        ({"packed": True}, True),
    ],
)
def test_sound_of_more_channels_or_that_may_come_to_have_them_is_mixed_down(
    change: dict[str, Any], *, mixed_down: bool
) -> None:
    made = plan.plan(INPUT, source(audios=(dataclasses.replace(AUDIO, **change),)), tails(30), RULES).encoding.audio
    assert made is not None
    assert made.mixed_down == mixed_down


@pytest.mark.parametrize(
    ("programs", "chosen"),
    [
        ([], 2),
        ([{0, 1}, {3, 2}], 1),
        ([{0, 1, 2}], 2),
        ([{0, 1}], 2),  # that of no program may be the picture's
        ([{0, 1}, {0, 2}], 2),
        ([{3, 2}], 2),  # the picture is of no program
    ],
)
def test_of_several_programs_the_sound_is_that_of_the_pictures(programs: list[set[int]], chosen: int) -> None:
    sounds = (AUDIO, dataclasses.replace(AUDIO, index=2, language="kor"))
    held = source(audios=sounds, programs=tuple(map(frozenset, programs)))
    _, audio = plan.main_streams(held, "ko")
    assert audio is not None
    assert audio.index == chosen


@pytest.mark.parametrize(
    ("codec", "samples", "made_with"),
    [
        ("aac", "fltp", "copy"),
        ("pcm_s24be", "s32", "copy"),
        ("pcm_bluray", "s16", "pcm_s16le"),
        ("pcm_bluray", "s32", "pcm_s24le"),
        ("pcm_dvd", "s16", "pcm_s16le"),
        ("pcm_dvd", "s32", "pcm_s24le"),
        ("s302m", "s32", "pcm_s24le"),
        ("pcm_s8", "u8", "pcm_s16le"),
        ("adpcm_swf", "s16p", "pcm_s16le"),
        ("pcm_f32be", "flt", "pcm_f32le"),
        ("nellymoser", "flt", "pcm_f32le"),
        ("pcm_f64be", "dbl", "pcm_f32le"),
    ],
)
def test_sound_that_matroska_cannot_hold_keeps_its_samples(codec: str, samples: str, made_with: str) -> None:
    sound = dataclasses.replace(AUDIO, codec=codec, samples=samples)
    assert plan.normalise(INPUT, source(audios=(sound,)), "copy").sound_codec == made_with


@pytest.mark.parametrize(
    ("container", "rates", "far", "late"),
    [
        ("mpegts", [0], False, True),
        ("mpegts", [48_000, 0], False, True),
        ("mpegts", [48_000], False, False),
        ("mpegts", [0], True, False),
        ("mpegts", [], False, False),
        ("flv", [], False, True),
        ("flv", [48_000], False, False),
        ("mpeg", [], False, True),
        (MP4, [0], False, False),
        (MP4, [], False, False),
    ],
)
def test_only_a_stream_whose_sound_may_begin_later_is_looked_at_again(
    container: str, rates: list[int], *, far: bool, late: bool
) -> None:
    sounds = tuple(dataclasses.replace(AUDIO, rate=rate) for rate in rates)
    assert source(container=container, audios=sounds, far=far).shows_late is late


def test_sound_without_a_decoder_is_passed_over_or_refused_as_sound() -> None:
    unknown = dataclasses.replace(AUDIO, codec="unknown", language="kor")
    usable = dataclasses.replace(AUDIO, index=2)
    assert plan.main_streams(source(audios=(unknown, usable)), "ko")[1] is usable
    with pytest.raises(Permanent) as refused:
        plan.main_streams(source(audios=(unknown, dataclasses.replace(usable, rate=0))), "ko")
    assert refused.value.reason is plan.SOUND_CODEC
    elsewhere = source(audios=(dataclasses.replace(unknown, index=3),), programs=(frozenset({0}), frozenset({2, 3})))
    assert plan.main_streams(elsewhere, "ko")[1] is None


@pytest.mark.parametrize(
    ("changed", "keys", "expected"),
    [
        ({}, [0, 10, 20], "direct"),
        ({}, [0, 30], "encode"),
        ({}, [0, 5], "encode"),  # none in the last 25 s
        ({}, None, "copy"),
        ({"claimed_end": None}, [0, 10, 20], "copy"),
        ({"container": "avi"}, None, "copy"),
        ({"container": "avi", "videos": (dataclasses.replace(VIDEO, reordered=1),)}, None, "encode"),
    ],
)
def test_a_source_is_direct_when_its_index_leads_close_to_every_chunk(
    changed: dict[str, Any], keys: list[int] | None, expected: str
) -> None:
    made = source(**{"claimed_end": Fraction(30), **changed})
    assert plan.way(made, made.videos[0], None if keys is None else list(map(Fraction, keys))) == expected


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"sample_aspect": Fraction(1, 1000)}, (1920, 1080)),  # an error in the file
        ({"width": 1440, "sample_aspect": Fraction(4, 3)}, (1920, 1080)),
        ({"width": 720, "height": 576, "sample_aspect": Fraction(64, 45)}, (1024, 576)),
        ({"width": 1440, "sample_aspect": Fraction(4, 3), "rotation": 90}, (1080, 1920)),
    ],
)
def test_pictures_are_measured_as_they_are_shown(changes: dict[str, Any], size: tuple[int, int]) -> None:
    assert plan.displayed(dataclasses.replace(VIDEO, **changes)) == size


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "bt709"),
        ({"height": 480, "width": 640}, "bt601"),
        ({"matrix": "smpte170m"}, "bt601"),
        ({"matrix": "bt2020nc"}, "bt2020"),
    ],
)
def test_colours_that_are_not_said_are_those_of_the_pictures_size(changes: dict[str, Any], expected: str) -> None:
    assert plan.picture(dataclasses.replace(VIDEO, **changes)).matrix == expected


@pytest.mark.parametrize(
    ("changes", "scaler"),
    [({}, "zimg"), ({"width": 1919}, "swscale"), ({"height": 1081}, "swscale"), ({"matrix": "gbr"}, "swscale")],
)
def test_odd_sides_and_rgb_are_scaled_by_what_takes_them(changes: dict[str, Any], scaler: str) -> None:
    assert plan.picture(dataclasses.replace(VIDEO, **changes)).scaler == scaler


@given(st.integers(1, 3600), st.integers(1, 20))
def test_chunks_end_near_key_frames_and_still_tile_the_grid(seconds: int, apart: int) -> None:
    rate = Fraction(30)
    keys = [Fraction(at) for at in range(0, seconds, apart)]
    moved = plan.chunk_frames(seconds * 30, 180, rate, ladder.CHUNK_SECONDS, keys=keys)

    def lead(frame: int) -> Fraction:
        return (frame / rate - Fraction(ladder.SEEK_MARGIN_SECONDS)) % apart

    assert sum(moved) == seconds * rate
    assert all(count > 0 for count in moved)
    assert all(count % 180 == 0 for count in moved[:-1])
    assert max(moved) <= (60 + 2 * 6 + ladder.CHUNK_SECONDS[1]) * rate
    for start, end in pairwise(accumulate(moved, initial=0)):
        if start >= 42 * rate and seconds * rate - start >= 2 * 60 * rate:  # a full one
            assert lead(end) <= lead(start + 1800)


@given(st.integers(15, 7200), st.sampled_from([None, 1, 2, 8, 20]))
def test_quality_is_sampled_in_each_fifth_where_little_is_decoded_before(seconds: int, apart: int | None) -> None:
    rate, gop = Fraction(30), 180
    keys = [] if apart is None else [Fraction(at) for at in range(0, seconds, apart)]
    total = seconds * 30
    found = plan.samples(total, gop, rate, keys)
    assert [5 * first // total for first in found] == [0, 1, 2, 3, 4]
    for first in found:
        assert first + 60 <= min((first // gop + 1) * gop, total)
    if seconds >= 60:
        # A segment of ours begins in each fifth, and a picture of the source may have to be decoded to it.
        assert all(first % gop + first % (apart * 30 if apart else 1) <= 30 * (apart or 0) for first in found)


def test_a_lecture_without_sound_has_no_audio() -> None:
    assert plan.plan(INPUT, source(audios=()), tails(30), RULES).encoding.audio is None


def test_a_truncated_source_is_noted() -> None:
    made = plan.plan(INPUT, source(claimed_end=Fraction(30)), tails(13.5), RULES)
    assert made.notes == ("source claims 16.5 s more than it holds",)


@pytest.mark.parametrize(
    ("changed", "ends", "code"),
    [
        (source(videos=()), tails(30), "source-without-video"),
        (source(container="asf"), tails(30), "source-container-unsupported"),
        (source(videos=(dataclasses.replace(VIDEO, codec="wmv3"),)), tails(30), "source-codec-unsupported"),
        (source(audios=(dataclasses.replace(AUDIO, codec="unknown"),)), tails(30), "source-codec-unsupported"),
        (source(videos=(dataclasses.replace(VIDEO, width=2),)), tails(30), "source-too-small"),
        (source(videos=(dataclasses.replace(VIDEO, width=16_000, height=9000),)), tails(30), "source-too-large"),
        (source(videos=(dataclasses.replace(VIDEO, width=8000, height=100),)), tails(30), "source-odd-shape"),
        (source(), {}, "source-unreadable"),
        (source(), tails(13 * 3600), "source-too-long"),
    ],
)
def test_refusals_say_why_in_both_languages(changed: probe.Source, ends: dict[int, probe.Tail], code: str) -> None:
    with pytest.raises(Permanent) as refused:
        plan.plan(INPUT, changed, ends, RULES)
    reason = refused.value.reason
    assert reason.code == code
    assert reason.en.endswith(".")
    assert any("가" <= letter <= "힣" for letter in reason.ko)


@pytest.mark.parametrize(
    ("rows", "said", "expected"),
    [
        ("1 0 0 1", 0, (0, False)),
        ("0 1 -1 0", -90, (270, False)),
        ("-1 0 0 -1", -180, (180, False)),
        ("-1 0 0 1", -180, (0, True)),
        ("1 0 0 -1", 0, (180, True)),
        ("0 1 1 0", -90, (90, True)),
        ("0 -1 -1 0", 90, (270, True)),
    ],
)
def test_a_mirror_is_no_turn(rows: str, said: int, expected: tuple[int, bool]) -> None:
    a, b, c, d = (65536 * int(each) for each in rows.split())
    matrix = f"\n00000000: {a} {b} 0\n00000001: {c} {d} 0\n00000002: 0 0 1073741824\n"
    stream = {"index": 0, "codec_type": "video", "side_data_list": [{"displaymatrix": matrix, "rotation": said}]}
    video = probe.parse(json.dumps({"streams": [stream]})).videos[0]
    assert (video.rotation, video.mirrored) == expected


def test_a_header_is_parsed() -> None:
    stream = {
        "index": 0,
        "codec_type": "video",
        "codec_name": "h264",
        "width": 1920,
        "height": 1080,
        "sample_aspect_ratio": "N/A",
        "r_frame_rate": "30000/1001",
        "avg_frame_rate": "0/0",
        "time_base": "1/15360",
        "start_pts": 512,
        "disposition": {"default": 1, "attached_pic": 0},
        "side_data_list": [{"rotation": -90}],
    }
    cover = {"index": 2, "codec_type": "video", "codec_name": "mjpeg", "disposition": {"attached_pic": 1}}
    sound = {
        "index": 1,
        "codec_type": "audio",
        "codec_name": "aac",
        "sample_rate": "44100",
        "channels": 2,
        "sample_fmt": "s16",
    }
    head = {"format_name": MP4, "start_time": "1.5", "duration": "10.0"}
    programs = [{"program_num": 7, "streams": [{"index": 0}, {"index": 1}]}]
    parsed = probe.parse(json.dumps({"programs": programs, "streams": [cover, stream, sound], "format": head}))
    assert parsed.programs == (frozenset({0, 1}),)
    assert [video.index for video in parsed.videos] == [0]
    video = parsed.videos[0]
    assert (video.start, video.rotation, video.average_rate) == (Fraction(1, 30), 270, None)
    assert (parsed.audios[0].rate, parsed.audios[0].samples) == (44_100, "s16")
    assert parsed.claimed_end == Fraction("11.5")
    assert probe.parse('{"streams": [], "format": {"duration": "N/A"}}').claimed_end is None
    counted = {"format_name": "matroska,webm", "start_time": "7.0", "duration": "17.0"}
    assert probe.parse(json.dumps({"format": counted})).claimed_end == 17, "Matroska counts from 0"


@pytest.mark.parametrize(("said", "turn"), [(-90, 270), (180, 180), (44, 0), (46.5, 90), (-45.1, 270), (359.9, 0)])
def test_any_display_matrix_is_a_quarter_turn(said: float, turn: int) -> None:
    stream = {"index": 0, "codec_type": "video", "side_data_list": [{"rotation": said}]}
    assert probe.parse(json.dumps({"streams": [stream]})).videos[0].rotation == turn


@pytest.mark.parametrize(
    ("pixels", "space", "matrix"),
    [
        ("rgb24", "unknown", "gbr"),
        ("bgr0", "unknown", "gbr"),
        ("gbrp10le", "gbr", "gbr"),
        ("pal8", "unknown", "gbr"),
        ("yuv420p", "bt709", "bt709"),
        ("yuvj420p", "unknown", "unknown"),
    ],
)
def test_pixels_say_that_a_picture_is_rgb(pixels: str, space: str, matrix: str) -> None:
    stream = {"index": 0, "codec_type": "video", "pix_fmt": pixels, "color_space": space}
    assert probe.parse(json.dumps({"streams": [stream]})).videos[0].matrix == matrix


def test_tails_are_the_latest_packets_whatever_their_order() -> None:
    found = probe.parse_tails("0,9.9,0.1\n1,10.000000,0.021\n0,9.8,0.1\n0,N/A,0.1\n1,9.97,N/A\nside data\n")
    assert found == {
        0: probe.Tail(Fraction("9.9"), Fraction(10)),
        1: probe.Tail(Fraction(10), Fraction("10.021")),
    }
