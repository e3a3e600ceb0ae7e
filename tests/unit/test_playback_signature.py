"""The playback signature: its vectors, what hypothesis finds, and what the keyring refuses."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core import playback, playback_vectors
from academy_core.errors import SettingsFault

VECTORS = Path(__file__).parents[2] / "services" / "edge" / "vectors.json"
NOW = playback_vectors.NOW
KEYRING = playback_vectors.KEYRING
NAMES = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,11}", fullmatch=True)
PREFIXES = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/".join(names) + "/")
VIEWERS = st.text(min_size=1, max_size=20).filter(str.isprintable)


def test_the_file_is_what_the_command_writes() -> None:
    assert VECTORS.read_text(encoding="utf-8") == playback_vectors.text()


@pytest.mark.parametrize("vector", json.loads(VECTORS.read_text(encoding="utf-8"))["requests"], ids=lambda v: v["name"])
def test_the_verifier_answers_every_vector(vector: dict[str, str | None]) -> None:
    path, query = vector["path"], vector["query"]
    assert path is not None
    assert query is not None
    if vector["refused"] is None:
        key, granted = playback.admit(KEYRING, path, query, NOW)
        assert key == vector["key"]
        assert granted.prefix == playback_vectors.PREFIX
    else:
        with pytest.raises(playback.PlaybackRefused) as refused:
            playback.admit(KEYRING, path, query, NOW)
        assert refused.value.reason.code == vector["refused"]
        assert refused.value.status == 403


def test_a_playlist_hands_the_query_on_to_its_own_uris_alone() -> None:
    case = playback_vectors.document()["playlists"][0]
    query = case["query"]
    changed = {
        served
        for stored, served in zip(case["stored"].split("\n"), case["served"].split("\n"), strict=True)
        if stored != served
    }
    assert changed == {
        f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="URI=",DEFAULT=YES,URI="audio/index.m3u8?{query}"',
        f'#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI="480p/iframes.m3u8?{query}"',
        f"480p/index.m3u8?{query}",
        f'#EXT-X-KEY:METHOD=AES-128,URI="key.bin?v=1&{query}",IV=0x1',
        f'#EXT-X-MAP:URI="init.3f2a.mp4?{query}"',
        f"seg-00000.9c41.m4s?{query}",
    }


def test_line_endings_and_fragments_survive() -> None:
    assert playback.append_query("#EXTM3U\r\na.m4s\r\n\r\nsprite.jpg#xywh=0,0,1,1\r\n", "q=1") == (
        "#EXTM3U\r\na.m4s?q=1\r\n\r\nsprite.jpg?q=1#xywh=0,0,1,1\r\n"
    )


@given(prefix=PREFIXES, name=NAMES, viewer=VIEWERS, seconds=st.integers(1, 10**9))
def test_what_is_signed_is_admitted_until_it_expires(prefix: str, name: str, viewer: str, seconds: int) -> None:
    grant = playback.Grant(prefix, NOW + seconds, viewer)
    query = playback.signed_query(KEYRING.signing, grant)
    assert playback.admit(KEYRING, f"/{prefix}{name}", query, NOW) == (prefix + name, grant)
    with pytest.raises(playback.PlaybackRefused):
        playback.admit(KEYRING, f"/{prefix}{name}", query, NOW + seconds)


@given(prefix=PREFIXES, path=st.text(alphabet="abc./%2eE5fF\\-", max_size=30), outside=PREFIXES)
def test_no_path_leaves_its_prefix(prefix: str, path: str, outside: str) -> None:
    query = playback.signed_query(KEYRING.signing, playback.Grant(prefix, NOW + 1, "viewer"))
    for asked in (f"/{prefix}{path}", f"/{outside}{path}", path):
        try:
            key, _ = playback.admit(KEYRING, asked, query, NOW)
        except playback.PlaybackRefused:
            continue
        assert key.startswith(prefix)
        assert ".." not in key.split("/")
        assert "%" not in key


@given(position=st.integers(0, 400), character=st.sampled_from("0aZ/%&=~"))
def test_no_changed_character_is_admitted(position: int, character: str) -> None:
    grant = playback.Grant(playback_vectors.PREFIX, NOW + 9, "학생 a+b")
    query = playback.signed_query(KEYRING.signing, grant)
    at = position % len(query)
    changed = query[:at] + character + query[at + 1 :]
    path = f"/{playback_vectors.PREFIX}master.m3u8"
    try:
        _, admitted = playback.admit(KEYRING, path, changed, NOW)
    except playback.PlaybackRefused:
        return
    assert admitted == grant  # another spelling of the same values (%2B and %2b), never another value


@pytest.mark.parametrize("hours_and_expected", [(0.0, 12), (3.9, 12), (4.0, 12), (6.0, 18)])
def test_a_grant_outlasts_the_lecture(hours_and_expected: tuple[float, int]) -> None:
    hours, expected = hours_and_expected
    assert 0 <= playback.expiry(NOW + 0.5, hours * 3600) - NOW - expected * 3600 <= 2


@pytest.mark.parametrize(
    ("key_id", "secret", "previous"),
    [
        ("v1", "short", ""),
        ("v 1", "s" * 32, ""),
        ("v1", "s" * 32, "v1:" + "t" * 32),
        ("v1", "s" * 32, "v0"),
        ("v1", "s" * 32, "v0:short"),
    ],
)
def test_an_unusable_keyring_is_a_settings_fault_without_the_secret(key_id: str, secret: str, previous: str) -> None:
    with pytest.raises(SettingsFault) as fault:
        playback.Keyring.parse(key_id, secret, previous)
    assert secret not in str(fault.value)
    assert "tttt" not in str(fault.value)


def test_rotation_by_settings() -> None:
    ring = playback.Keyring.parse("v3", "c" * 32, f"v2:{'b' * 32}, v1:{'a' * 32}")
    assert [ring.find(key_id) is not None for key_id in ("v1", "v2", "v3", "v4")] == [True, True, True, False]
    assert "aaaa" not in repr(ring)


@pytest.mark.parametrize("prefix", ["", "/", "a", "a//", "../a/", "/a/", "a/%2e/"])
def test_only_a_plain_prefix_on_a_path_border_is_signed(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        playback.signed_query(KEYRING.signing, playback.Grant(prefix, NOW, "viewer"))


@pytest.mark.parametrize("viewer", ["", "a\nb"])
def test_only_a_printable_viewer_is_signed(viewer: str) -> None:
    with pytest.raises(ValueError, match="viewer"):
        playback.signed_query(KEYRING.signing, playback.Grant("a/", NOW, viewer))
