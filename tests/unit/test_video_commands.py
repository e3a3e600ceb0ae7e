"""ffmpeg's command lines and the cut of sound into packets: pure, table-driven."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core.video import Audio, ChunkInput, Encoding, Rung
from academy_video import ffmpeg, ladder, plan, probe

URL = "http://127.0.0.1:5000/secret"


def encoding(rate: Fraction = Fraction(30), total: int = 3600, source_rate: int = 48_000) -> Encoding:
    scale, tick = plan.timing(rate)
    return Encoding(
        source_key="sources/a.mp4",
        source_bytes=1,
        source_etag="e",
        container="mov,mp4",
        video_stream_index=0,
        start_seconds="1/30",
        fps_num=rate.numerator,
        fps_den=rate.denominator,
        timescale=scale,
        tick=tick,
        gop=round(6 * rate),
        total_frames=total,
        pad_frames=15,
        rungs=tuple(
            Rung(name=f"{side}p", width=2 * side, height=side, crf=23, max_rate=1000, buffer_size=2000)
            for side in (720, 480)
        ),
        audio=Audio(stream_index=1, source_rate=source_rate),
        threads=2,
        seek_margin_seconds=2.0,
    )


def chunk(first: int, end: int, made: Encoding | None = None) -> ChunkInput:
    return ChunkInput(encoding=made or encoding(), index=0, first_frame=first, end_frame=end)


def command(piece: ChunkInput, reading: ffmpeg.Reading = ffmpeg.Reading(2.0)) -> list[str]:  # noqa: B008 - frozen
    outputs = {"720p": 11, "480p": 12, "sound": 13, ffmpeg.TILES: 15, ffmpeg.LIGHTS: 16}
    return ffmpeg.chunk_command("/bin/ffmpeg", piece, URL, outputs=outputs, progress=14, reading=reading)


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_a_chunk_reads_from_its_margin_and_cuts_by_frame_number() -> None:
    words = command(chunk(360, 720))
    assert Fraction(after(words, "-ss")) == Fraction("10.033333")
    graph = after(words, "-filter_complex")
    assert "trim=end_pts=720:start_pts=360" in graph
    assert "setpts=PTS-360" in graph
    assert "tpad" not in graph
    assert "start_time" not in graph
    assert [word for word in words if word.startswith("pipe:")] == [
        "pipe:14",
        "pipe:11",
        "pipe:12",
        "pipe:15",
        "pipe:16",
        "pipe:13",
    ]


def test_a_chunk_near_the_start_reads_from_the_start() -> None:
    assert "-ss" not in command(chunk(0, 360))
    assert "fps=eof_action=pass:fps=30/1:start_time=0" in after(command(chunk(0, 360)), "-filter_complex")
    assert "-ss" not in command(chunk(360, 720), ffmpeg.Reading(60.0))


def test_a_picture_may_stand_for_what_the_source_does_not_hold() -> None:
    graph = after(command(chunk(9000, 9360, encoding(total=36_000)), ffmpeg.Reading(60.0, "stand")), "-filter_complex")
    assert "start_time=9000/30" in graph
    assert "tpad=stop=9360:stop_mode=clone" in graph
    black = command(chunk(9000, 9360, encoding(total=36_000)), ffmpeg.Reading(2.0, "black"))
    assert "color=black:s=1440x720:r=30/1" in black
    assert "[0:0]" not in after(black, "-filter_complex")


def test_only_the_sound_is_filtered_anew_when_its_format_changes() -> None:
    words = command(chunk(360, 720))
    assert after(words, "-reinit_filter:v") == "0"
    assert "atrim" not in after(words, "-filter_complex")
    assert "atrim" in after(words, "-af")


def test_only_the_end_of_a_lecture_may_be_cloned() -> None:
    assert "tpad=stop=15:stop_mode=clone" in after(command(chunk(3240, 3600)), "-filter_complex")


def test_hostile_sources_are_fenced_in() -> None:
    for words in (
        command(chunk(0, 360)),
        probe.streams_command("ffprobe", URL),
        probe.tail_command("ffprobe", URL, Fraction(0)),
    ):
        assert after(words, "-protocol_whitelist") == "http,tcp"
        assert "hls" not in after(words, "-format_whitelist")
        assert after(words, "-max_pixels") == str(ladder.MAX_PIXELS)
        assert "-rw_timeout" not in words  # the store may take minutes; the wall clock ends a child


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "concat:a|b", "https://r2.example/a", "http://127.0.0.10/a"]
)
def test_nothing_but_loopback_is_read(url: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        ffmpeg.source_options(url)


@pytest.mark.parametrize(("rate", "source_rate"), [(30, 48_000), (25, 44_100), (60, 22_050), (30, 32_000)])
def test_resampling_starts_on_a_sample_both_rates_share(rate: int, source_rate: int) -> None:
    made = encoding(Fraction(rate), rate * 120, source_rate)
    assert made.audio is not None
    piece = chunk(rate * 36, rate * 96, made)
    decoded = after(command(piece), "-af")
    start = int(decoded.split("atrim=start_pts=")[1].split(":")[0])
    assert f"first_pts={start}" in after(ffmpeg.sound_command("ffmpeg", piece, made.audio, 13), "-filter_complex")
    assert Fraction(start, source_rate) * 48_000 % 1 == 0


@given(st.sampled_from(ladder.FRAME_RATES), st.integers(1, 4000), st.integers(1, 20))
def test_the_packets_of_all_segments_are_those_of_the_whole(rate: Fraction, total: int, least: int) -> None:
    made = encoding(rate, total)
    borders = [*range(0, total, max(round(rate / 4), least)), total]
    cuts = [ffmpeg.audio_cut(chunk(first, end, made)) for first, end in pairwise(borders)]
    assert cuts[0].first_packet == 0
    assert all(before.end_packet == after.first_packet for before, after in pairwise(cuts))
    samples = ffmpeg.total_samples(made)
    assert (cuts[-1].end_packet - 2) * 1024 < samples <= (cuts[-1].end_packet - 1) * 1024
    for cut in cuts:
        assert cut.first_packet < cut.end_packet
        assert cut.first_sample % 1024 == 0
        assert cut.first_sample // 1024 <= cut.first_packet
        assert cut.end_sample == min(samples, (cut.end_packet + ffmpeg.POSTROLL_PACKETS) * 1024)


def test_the_poster_command_reads_its_standard_input_alone() -> None:
    words = ffmpeg.poster_command("/bin/ffmpeg", 12, (1280, 720))
    assert after(words, "-protocol_whitelist") == "pipe"
    assert "trim=start_frame=12" in after(words, "-filter_complex")


@pytest.mark.parametrize(
    ("audio", "limited"),
    [
        (Audio(stream_index=1), False),
        (Audio(stream_index=1, gain_db=-3), False),
        (Audio(stream_index=1, gain_db=3), True),
        (Audio(stream_index=1, mixed_down=True), True),
        (Audio(stream_index=1, mixed_down=True, gain_db=-3), True),
    ],
)
def test_peaks_are_limited_where_sound_may_be_louder_than_full_scale(audio: Audio, *, limited: bool) -> None:
    graph = after(ffmpeg.sound_command("ffmpeg", chunk(360, 720), audio, 13), "-filter_complex")
    assert ("alimiter" in graph) == limited
    assert ("volume" in graph) == (audio.gain_db != 0)
