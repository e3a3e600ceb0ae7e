"""lecture.transcribe with a real model: words, times, silence, music, many parts; and what it refuses."""

import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import speech_made
from speech_made import WORDS, needs_voice, silence

from academy_ai.__main__ import follow
from academy_ai.host import Host, Life
from academy_ai.kind import discover
from academy_ai.kinds.lecture_transcribe import run
from academy_ai.kinds.lecture_transcribe.spec import JoinResult, LectureTranscribeInput
from academy_core.errors import Permanent, SettingsFault

ENGINES = [
    "ctranslate2",
    pytest.param(
        "torch",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("torch") is None,
            reason="torch is not installed: `uv sync --extra dev --extra gpu`",
        ),
    ),
]
PACKAGE = "academy_ai.kinds.lecture_transcribe"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return speech_made.model(tmp_path_factory.mktemp("model"))


@pytest.fixture(params=ENGINES)
def options(model: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return model | {"TRANSCRIBE_ENGINE": request.param}


Transcribe = Callable[..., tuple[JoinResult, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def transcribe(options: dict[str, str], tmp_path: Path) -> Iterator[Transcribe]:
    """Transcribe sound with all its parts; the result and each track's words."""

    def whole(source: Path, **task: Any) -> tuple[JoinResult, dict[str, list[dict[str, Any]]]]:
        out = tmp_path / "out"
        out.mkdir()
        given = LectureTranscribeInput(audio=str(source), **task)
        result = follow(discover(), "lecture.transcribe", given, out, lambda kind: kind.load(options))
        assert isinstance(result, JoinResult)
        words = {track.language: json.loads((out / track.words).read_text())["words"] for track in result.tracks}
        for track in result.tracks:
            assert (out / track.vtt).read_text().startswith("WEBVTT")
            assert track.word_count == len(words[track.language])
        return result, words

    yield whole
    run._loaded.clear()


def text(words: list[dict[str, Any]]) -> list[str]:
    return re.findall(r"[\w']+", " ".join(word["text"] for word in words).lower())


def test_a_speech_is_read_word_by_word(transcribe: Transcribe) -> None:
    source = speech_made.reference("jfk.flac")
    if source is None:
        pytest.skip("no reference data: speech/jfk.flac (see ACADEMY_REFERENCE_DATA)")
    result, words = transcribe(source)
    assert result.language == "en"
    expected = (
        "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
    )
    assert text(words["en"]) == expected.split()
    starts = {word["text"].strip(".,").lower(): word["start"] for word in words["en"][:7]}
    assert abs(starts["americans"] - 1.4) < 0.4
    assert all(one["end"] <= other["start"] for one, other in pairwise(words["en"]))
    assert 0 <= words["en"][0]["start"] < words["en"][-1]["end"] <= 11.1


@needs_voice
def test_parts_join_without_a_lost_or_doubled_word(
    transcribe: Transcribe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PART_SECONDS", 15.0)
    pieces = []
    for number, word in enumerate(WORDS):
        pieces += [speech_made.say(f"The next word in our list is {word}."), silence((0.6, 1.5, 4.0)[number % 3])]
    result, words = transcribe(speech_made.write(tmp_path / "list.wav", *pieces))
    assert result.language == "en"
    said = text(words["en"])
    # Each in its place, once; at most one of twelve may be heard as another word by so small a model.
    heard = [word for word in said if word in WORDS]
    assert heard == sorted(set(heard), key=WORDS.index)
    assert len(heard) >= len(WORDS) - 1
    assert said.count("list") == len(WORDS)
    ends = [word["end"] for word in words["en"]]
    assert ends == sorted(ends)


def test_silence_noise_and_music_have_no_words(transcribe: Transcribe, tmp_path: Path) -> None:
    pieces = silence(20), speech_made.noise(20), speech_made.music(30), silence(5)
    result, words = transcribe(speech_made.write(tmp_path / "nothing.wav", *pieces), translate=True)
    assert words == {"ko": [], "en": []}
    assert result.duration_seconds == pytest.approx(75, abs=0.1)
    assert result.speech_seconds < 1


@needs_voice
def test_music_and_noise_between_sentences_have_no_words(transcribe: Transcribe, tmp_path: Path) -> None:
    spoken = [speech_made.say(f"The {word} is on the table.") for word in ("apple", "window", "bicycle")]
    pieces = [spoken[0], silence(1), speech_made.music(15), silence(1), spoken[1], speech_made.noise(15), spoken[2]]
    edges = [0.0, *accumulate(len(piece) / speech_made.RATE for piece in pieces)]
    said = [(edges[at], edges[at + 1]) for at in (0, 4, 6)]
    _, words = transcribe(speech_made.write(tmp_path / "mixed.wav", *pieces), language="en")
    assert len(words["en"]) <= 6 * len(spoken)
    for word in words["en"]:
        assert any(start - 0.5 <= word["start"] <= end + 0.5 for start, end in said), word


@needs_voice
def test_a_sentence_said_again_and_again_is_not_passed_over(transcribe: Transcribe, tmp_path: Path) -> None:
    """Read in one go, the model skips some of them."""
    again = speech_made.say("Please open your books at the second page.")
    other = speech_made.say("My brother plays the piano every evening.")
    pieces = [piece for spoken in (again, again, other, again, again, again) for piece in (spoken, silence(1.2))]
    _, words = transcribe(speech_made.write(tmp_path / "again.wav", *pieces), language="en")
    said = text(words["en"])
    assert (said.count("please"), said.count("piano")) == (5, 1)


@needs_voice
def test_korean_is_recognised_and_gets_two_tracks(transcribe: Transcribe, tmp_path: Path) -> None:
    spoken = speech_made.say("안녕하세요. 안녕하세요. 오늘은 수학을 공부합니다.", voice="ko+f2", speed=100)
    result, words = transcribe(speech_made.write(tmp_path / "ko.wav", silence(1), spoken, silence(1)), translate=True)
    assert result.language == "ko"
    assert [(track.language, track.translated) for track in result.tracks] == [("ko", False), ("en", True)]
    # The made voice is bad Korean; that Hangul comes of it, in its place, is what can be held.
    hangul = [word for word in words["ko"] if re.search("[가-힣]", word["text"])]
    assert hangul
    assert hangul[0]["text"] in (tmp_path / "out" / "subtitles.ko.vtt").read_text()
    assert all(0.7 <= word["start"] <= word["end"] <= result.duration_seconds for word in words["ko"])


def test_a_file_without_sound_is_refused(transcribe: Transcribe, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no sound")
    with pytest.raises(Permanent) as refused:
        transcribe(tmp_path / "text.mp4")
    assert refused.value.reason.code == "no-sound"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TRANSCRIBE_MODEL_SHA256": "0" * 64}, "TRANSCRIBE_MODEL_SHA256: model.bin is"),
        ({"TRANSCRIBE_MODEL_DIR": "/nowhere"}, "TRANSCRIBE_MODEL_DIR"),
        ({"TRANSCRIBE_MODEL_DIR": ""}, "TRANSCRIBE_MODEL_DIR: needed"),
    ],
)
def test_a_model_that_is_not_the_right_one_stops_the_worker_at_start(
    model: dict[str, str], change: dict[str, str], words: str, tmp_path: Path
) -> None:
    host = Host(Life(10, 1 << 30, None, model | change), tmp_path)
    with pytest.raises(SettingsFault, match=words):
        host.warm([PACKAGE])
    host.close()


def test_a_worker_is_warm_with_its_model_before_the_first_task(model: dict[str, str], tmp_path: Path) -> None:
    host = Host(Life(10, 4 << 30, None, model), tmp_path)
    host.warm([PACKAGE])
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    out.mkdir()
    source = speech_made.write(given / "a.wav", silence(2))
    kind = discover()["lecture.transcribe"]
    task = LectureTranscribeInput(audio="a")
    warm = [child.child.process.pid for child in host._idle]
    done = host.run(kind, task, {"a": source}, out, progress=lambda _: None, killable=lambda _: nullcontext())
    assert done.result["parts"] == []
    assert [child.child.process.pid for child in host._idle] == warm
    assert set(tmp_path.iterdir()) == {given, out}  # no library left or reported anything
    host.close()
