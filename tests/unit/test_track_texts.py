"""Subtitles and chapters as text: WebVTT that people write, and what the playlists say of it."""

import json

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_api.tracks import hls, webvtt
from academy_api.tracks.webvtt import Cue, Malformed

LINES = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=30).filter(
    lambda line: "-->" not in line
)


@st.composite
def cue_lists(draw: st.DrawFn) -> list[Cue]:
    start, cues = 0, []
    for _ in range(draw(st.integers(0, 8))):
        start += draw(st.integers(0, 4_000_000))
        end = start + draw(st.integers(1, 400_000))
        cues.append(Cue(start, end, "\n".join(draw(st.lists(LINES, max_size=3)))))
    return cues


@given(cue_lists(), st.sampled_from(["", "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000"]))
def test_what_is_written_is_read_again(cues: list[Cue], header: str) -> None:
    text = webvtt.render(cues, header=header)
    assert webvtt.parse(text) == cues
    assert webvtt.parse(text.replace("\n", "\r\n")) == cues


def read(text: str) -> list[Cue] | Malformed:
    try:
        return webvtt.parse(text)
    except Malformed as error:
        return error


@given(st.text(max_size=300), st.sampled_from(["", "WEBVTT\n\n"]))
def test_no_text_does_anything_but_be_read_or_refused_with_its_line(text: str, header: str) -> None:
    whole = header + text
    found = read(whole)
    if isinstance(found, Malformed):
        assert 1 <= found.line <= whole.count("\n") + whole.count("\r") + 2
    else:
        assert read(webvtt.render(found)) == found


def test_comments_styles_names_and_settings_are_left_out() -> None:
    text = (
        "\ufeffWEBVTT - 1강\nKind: captions\n\nNOTE a comment\nover two lines\n\nSTYLE\n::cue { color: red }\n\n"
        "1\n00:01.000 --> 00:02.500 align:start\n<b>안녕</b>\n\nintro\n00:00:03.000 --> 01:00:04.000\n하나\n둘\n"
    )
    assert webvtt.parse(text) == [Cue(1000, 2500, "<b>안녕</b>"), Cue(3000, 3_604_000, "하나\n둘")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("1\n00:00:01,000 --> 00:00:02,000\nSRT\n", 1),
        ("WEBVTT\n\n00:00:01,000 --> 00:00:02,000\ncomma\n", 3),
        ("WEBVTT\n\n00:02.000 --> 00:01.000\nbackwards\n", 3),
        ("WEBVTT\n\n00:02.000 --> 00:03.000\na\n\n00:01.000 --> 00:02.000\nb\n", 6),
        ("WEBVTT\n\n00:02.000 --> 00:03.000\na\n00:03.000 --> 00:04.000\nb\n", 3),
        ("WEBVTT\n\n00:62.000 --> 01:03.000\nno such minute\n", 3),
    ],
)
def test_the_line_at_fault_is_named(text: str, line: int) -> None:
    with pytest.raises(Malformed) as refused:
        webvtt.parse(text)
    assert refused.value.line == line
    assert refused.value.ko


MASTER = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS="avc1.64001f",RESOLUTION=1280x720,FRAME-RATE=30.000,AUDIO="audio"
720p.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500,CODECS="avc1.64001f",RESOLUTION=854x480,FRAME-RATE=30.000,AUDIO="audio"
480p.m3u8
"""
CHANGES = st.tuples(st.lists(st.sampled_from(["ko", "en"]), unique=True), st.sampled_from([None, "chapters.a.json"]))


@given(st.lists(CHANGES, max_size=4), CHANGES)
def test_the_master_says_what_was_last_said_whatever_came_before(
    before: list[tuple[list[str], str | None]], last: tuple[list[str], str | None]
) -> None:
    text = MASTER
    for languages, chapters in before:
        text = hls.master(text, languages, chapters)
    assert hls.master(text, *last) == hls.master(MASTER, *last)
    assert hls.master(text, [], None) == MASTER


def test_an_independent_reader_finds_subtitles_and_chapters() -> None:
    found = m3u8.loads(hls.master(MASTER, ["ko", "en"], "chapters.a.json"))
    subtitles = [media for media in found.media if media.type == "SUBTITLES"]
    assert [(media.language, media.name, media.uri) for media in subtitles] == [
        ("ko", "한국어", "subtitles.ko.m3u8"),
        ("en", "English", "subtitles.en.m3u8"),
    ]
    assert {playlist.stream_info.subtitles for playlist in found.playlists} == {"subtitles"}
    assert [(data.data_id, data.uri) for data in found.session_data] == [("com.apple.hls.chapters", "chapters.a.json")]


def test_a_subtitle_playlist_holds_the_whole_text_on_the_medias_clock() -> None:
    segment, playlist = hls.subtitles("ko", [Cue(0, 1000, "안녕")], 96.4)
    assert segment.text.startswith("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\n00:00:00.000 -->")
    found = m3u8.loads(playlist.text)
    assert (found.target_duration, found.is_endlist, found.playlist_type) == (97, True, "vod")
    assert [(each.uri, each.duration) for each in found.segments] == [(segment.name, 96.4)]
    assert hls.subtitles("ko", [Cue(0, 1000, "안녕!")], 96.4)[0].name != segment.name


def test_chapters_in_apples_form() -> None:
    file = hls.chapters([Cue(0, 1500, "<b>1</b> &lt; 2"), Cue(1500, 9000, "둘\n셋")])
    assert json.loads(file.text) == [
        {"chapter": 1, "start-time": 0.0, "duration": 1.5, "titles": [{"language": "und", "title": "1 < 2"}]},
        {"chapter": 2, "start-time": 1.5, "duration": 7.5, "titles": [{"language": "und", "title": "둘 셋"}]},
    ]
