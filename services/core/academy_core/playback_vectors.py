"""Test vectors of the playback signature: what every verifier must answer, in whatever language it is written.

`python -m academy_core.playback_vectors > services/edge/vectors.json` writes them; a test holds the file equal to
this module and this module to the verifier. The secrets are examples and open nothing.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from academy_core.playback import Grant, Key, Keyring, append_query, signed_query

NOW = 1_800_000_000
PREFIX = "media/hls/videos/0d3f2a52-8f0c-4f57-9b1e-6f3f0a3d9a11/5b0c7e0e-3a53-4a35-a8a8-0f5a4f3f7c21/"
OTHER = "media/hls/videos/0d3f2a52-8f0c-4f57-9b1e-6f3f0a3d9a11/5b0c7e0e-3a53-4a35-a8a8-0f5a4f3f7c22/"
NEW = Key("v2", "example-secret-of-the-key-that-signs-now")
OLD = Key("v1", "example-secret-of-the-key-before-that-one")
RETIRED = Key("v0", "example-secret-of-a-key-no-longer-accepted")
FORGED = Key("v2", "a-secret-that-somebody-else-thought-of-himself")
KEYRING = Keyring(signing=NEW, previous=(OLD,))

_GRANT = Grant(prefix=PREFIX, expires=NOW + 43_200, viewer="8d9a1a52-3f8b-4a41-9d6e-0c1c1f5c7a11")
_GOOD = signed_query(NEW, _GRANT)
_PLAYLIST = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="URI=",DEFAULT=YES,URI="audio/index.m3u8"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90000,URI="480p/iframes.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1500000,AUDIO="audio"
480p/index.m3u8
# comment URI="no.m4s"
#EXT-X-KEY:METHOD=AES-128,URI="key.bin?v=1",IV=0x1
#EXT-X-MAP:URI="init.3f2a.mp4"
#EXTINF:6.000000,URI="title"
seg-00000.9c41.m4s
#EXTINF:6.000000,
https://elsewhere.example/seg.m4s
#EXT-X-ENDLIST
"""


@dataclass(frozen=True, slots=True)
class Vector:
    """One request and the answer every verifier must give: None for admitted, else the reason's code."""

    name: str
    path: str
    query: str
    refused: str | None = None


def vectors() -> Iterable[Vector]:
    """Every case, good ones first."""
    segment = f"/{PREFIX}480p/seg-00000.9c41.m4s"
    yield Vector("a segment", segment, _GOOD)
    yield Vector("the master playlist", f"/{PREFIX}master.m3u8", _GOOD)
    yield Vector("a viewer id in Korean", segment, signed_query(NEW, Grant(PREFIX, _GRANT.expires, "김서연 학생/3반")))
    yield Vector(
        "plus and percent in a viewer id", segment, signed_query(NEW, Grant(PREFIX, _GRANT.expires, "a+b%2F c"))
    )
    yield Vector("the key before, still accepted", segment, signed_query(OLD, _GRANT))
    yield Vector("a player's own parameter", segment, f"{_GOOD}&_HLS_skip=YES")
    yield Vector("the last second", segment, signed_query(NEW, Grant(PREFIX, NOW + 1, _GRANT.viewer)))
    yield from _refused_grants(segment)
    yield from _refused_paths()


def _refused_grants(segment: str) -> Iterable[Vector]:
    expired = signed_query(NEW, Grant(PREFIX, NOW, _GRANT.viewer))
    other = signed_query(NEW, Grant(OTHER, _GRANT.expires, _GRANT.viewer))
    yield Vector("no query", segment, "", "playback-unsigned")
    yield Vector("expired this second", segment, expired, "playback-expired")
    yield Vector(
        "expired, then prolonged by hand",
        segment,
        expired.replace(f"expires={NOW}", f"expires={NOW + 9}"),
        "playback-bad-signature",
    )
    yield Vector("another's secret under our key id", segment, signed_query(FORGED, _GRANT), "playback-bad-signature")
    yield Vector("a retired key", segment, signed_query(RETIRED, _GRANT), "playback-unknown-key")
    yield Vector(
        "the old key's id on the new signature", segment, _GOOD.replace("kid=v2", "kid=v1"), "playback-bad-signature"
    )
    yield Vector("prefix widened", segment, _GOOD.replace(PREFIX, "media/hls/videos/"), "playback-bad-signature")
    yield Vector("prefix of another publication", segment, _GOOD.replace(PREFIX, OTHER), "playback-bad-signature")
    yield Vector("viewer changed", segment, _GOOD.replace("viewer=8d", "viewer=9d"), "playback-bad-signature")
    yield Vector("another publication's grant", segment, other, "playback-outside-prefix")
    yield Vector("signature missing", segment, _GOOD.partition("&signature=")[0], "playback-malformed")
    yield Vector(
        "signature in capitals",
        segment,
        _GOOD.partition("&signature=")[0] + "&signature=" + "A" * 64,
        "playback-malformed",
    )
    yield Vector("expiry twice", segment, f"{_GOOD}&expires={NOW + 99_999}", "playback-malformed")
    yield Vector("expiry with a sign", segment, _GOOD.replace("expires=", "expires=%2B"), "playback-malformed")
    yield Vector("a quote in the query", segment, f'{_GOOD}&x="', "playback-malformed")


def _refused_paths() -> Iterable[Vector]:
    beside = PREFIX.rstrip("/")
    yield Vector("another publication's path", f"/{OTHER}master.m3u8", _GOOD, "playback-outside-prefix")
    yield Vector("a name that only begins like the prefix", f"/{beside}0/master.m3u8", _GOOD, "playback-outside-prefix")
    yield Vector("the prefix without its slash", f"/{beside}", _GOOD, "playback-outside-prefix")
    for name, path in (
        ("the prefix itself", f"/{PREFIX}"),
        ("dot dot", f"/{PREFIX}../master.m3u8"),
        ("encoded dot dot", f"/{PREFIX}%2e%2e/master.m3u8"),
        ("encoded slash", f"/{PREFIX}480p%2Fseg-00000.9c41.m4s"),
        ("backslash", f"/{PREFIX}480p\\seg-00000.9c41.m4s"),
        ("empty segment", f"/{PREFIX}/master.m3u8"),
        ("a leading empty segment", f"//{PREFIX}master.m3u8"),
        ("null byte", f"/{PREFIX}master.m3u8%00"),
        ("nothing", "/"),
    ):
        yield Vector(f"path: {name}", path, _GOOD, "playback-bad-path")


def document() -> dict[str, Any]:
    """What the file holds: `refused` null means admitted, with `key` the object to serve."""
    return {
        "about": "Generated by `python -m academy_core.playback_vectors`; do not edit. The secrets are examples.",
        "now": NOW,
        "keys": {key.id: key.secret for key in (NEW, OLD)},
        "requests": [
            {
                "name": vector.name,
                "path": vector.path,
                "query": vector.query,
                "refused": vector.refused,
                "key": vector.path.removeprefix("/") if vector.refused is None else None,
            }
            for vector in vectors()
        ],
        "playlists": [{"query": _GOOD, "stored": _PLAYLIST, "served": append_query(_PLAYLIST, _GOOD)}],
    }


def text() -> str:
    """The file's content."""
    return json.dumps(document(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
