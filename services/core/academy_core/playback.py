"""Signed playback (S-3): one signature opens every file under one publication's prefix until it expires.

The API signs (`signed_query`); whatever serves playback verifies (`admit`) and hands the same query on to every URI of
a playlist (`append_query`), so that a player's reload asks for exactly the same URL. The embedded platform's origin
runs this module; the edge worker does the same in JavaScript, and `services/edge/vectors.json` holds the two equal.

The signed text is five lines: the scheme's name, key id, expiry, viewer id, prefix. Its HMAC-SHA256 is sent as
lower-case hex beside its parts: `prefix`, `expires`, `kid`, `viewer`, `signature`.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qsl, quote, urlencode

from academy_core.errors import NotAllowed, Reason, SettingsFault

SCHEME = "academy-hls-1"
MIN_SECRET_CHARACTERS = 32
LEAST_SECONDS = 12 * 3600
"""A grant lasts at least this long."""
DURATIONS = 3
"""... and at least so many times the lecture's duration: pauses and a second viewing fit into one grant."""

_PARAMETERS = ("prefix", "expires", "kid", "viewer", "signature")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_QUERY = re.compile(r"[A-Za-z0-9._~%&=+/:@!$'()*,;?-]*")
"""What a query may contain in the raw: nothing that could end a quoted attribute or a line of a playlist."""
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
"""An object key as we name them. Without %, backslash, empty or dot segments there is nothing to normalise."""


class PlaybackRefused(NotAllowed):
    """A playback request that is not let through; `reason.code` says why."""

    default: ClassVar[Reason] = Reason(
        "playback-refused",
        "재생할 수 없는 주소입니다. 강의 페이지에서 다시 재생해 주세요.",
        "This address cannot be played. Please start the lecture again from its page.",
    )


_EXPIRED = Reason(
    "playback-expired",
    "재생 시간이 만료되었습니다. 강의 페이지에서 다시 재생해 주세요.",
    "This playback address has expired. Please start the lecture again from its page.",
)


def _refused(code: str) -> PlaybackRefused:
    """The refusals that only a broken player or a forger meets: one text, told apart by code."""
    default = PlaybackRefused.default
    return PlaybackRefused(reason=Reason(code, default.ko, default.en))


@dataclass(frozen=True, slots=True)
class Key:
    """One signing key; `id` travels in the URL, `secret` never."""

    id: str
    secret: str

    def __post_init__(self) -> None:
        """A key that cannot be used is a fault of the settings."""
        if _KEY_ID.fullmatch(self.id) is None:
            raise SettingsFault("a playback key id is 1 to 64 letters, digits, dots, dashes or underscores")
        if len(self.secret) < MIN_SECRET_CHARACTERS:
            raise SettingsFault(
                f"the secret of playback key {self.id} has fewer than {MIN_SECRET_CHARACTERS} characters"
            )

    def __repr__(self) -> str:
        return f"Key(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class Keyring:
    """The key that signs, and those before it, which still verify until their last grant has expired."""

    signing: Key
    previous: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        """Two secrets under one id would make a refusal depend on order."""
        ids = [key.id for key in (self.signing, *self.previous)]
        if len(set(ids)) != len(ids):
            raise SettingsFault("playback key ids must differ")

    @classmethod
    def parse(cls, key_id: str, secret: str, previous: str = "") -> "Keyring":
        """From the settings' texts; `previous` is `id:secret` by comma. SettingsFault when one cannot be used."""
        pairs = [entry.strip().partition(":") for entry in previous.split(",") if entry.strip()]
        return cls(Key(key_id, secret), tuple(Key(old_id, old_secret) for old_id, _, old_secret in pairs))

    def find(self, key_id: str) -> Key | None:
        """The key of that id, None when it is unknown (or retired)."""
        return next((key for key in (self.signing, *self.previous) if key.id == key_id), None)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one signature allows: `viewer` may read every key under `prefix` before `expires` (Unix seconds)."""

    prefix: str
    expires: int
    viewer: str


def expiry(now: float, duration_seconds: float) -> int:
    """When a grant made at `now` ends, in Unix seconds: max(12 h, 3 x the duration) later."""
    return int(now + max(LEAST_SECONDS, DURATIONS * duration_seconds)) + 1


def _digest(key: Key, grant: Grant) -> str:
    text = "\n".join((SCHEME, key.id, str(grant.expires), grant.viewer, grant.prefix))
    return hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signed_query(key: Key, grant: Grant) -> str:
    """The query that opens `grant.prefix`. ValueError for a grant that `admit` would never let through."""
    if not grant.prefix.endswith("/") or _KEY.fullmatch(grant.prefix[:-1]) is None:
        raise ValueError("a playback prefix is a plain key prefix that ends with '/'")
    if not grant.viewer or not grant.viewer.isprintable():
        raise ValueError("a viewer id is printable and not empty")
    values = (grant.prefix, str(grant.expires), key.id, grant.viewer, _digest(key, grant))
    return urlencode(dict(zip(_PARAMETERS, values, strict=True)), quote_via=quote, safe="/")


def plain_key(path: str) -> str:
    """The object key of a raw (still encoded) path below the playback base.

    Nothing is decoded: PlaybackRefused for `%`, backslash, `..`, `//` and whatever else our names never contain, so
    that no two readers of a path can differ about which object it names.
    """
    key = path.removeprefix("/")
    if _KEY.fullmatch(key) is None:
        raise _refused("playback-bad-path")
    return key


def _parameters(query: str) -> dict[str, str]:
    """Our five parameters, each exactly once. Others (a player's own) are let through unread."""
    if _QUERY.fullmatch(query) is None:
        raise _refused("playback-malformed")
    ours = [(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name in _PARAMETERS]
    if not ours:
        raise _refused("playback-unsigned")
    values = dict(ours)
    if len(ours) != len(_PARAMETERS) or len(values) != len(_PARAMETERS):
        raise _refused("playback-malformed")
    if _EXPIRES.fullmatch(values["expires"]) is None or _SIGNATURE.fullmatch(values["signature"]) is None:
        raise _refused("playback-malformed")
    return values


def admit(keyring: Keyring, path: str, query: str, now: float) -> tuple[str, Grant]:
    """The object key asked for and the grant that allows it; PlaybackRefused, with the reason's code, otherwise.

    `path` is the raw path below the playback base, `query` the raw query without `?`, `now` in Unix seconds. The
    signature is checked before the expiry, so that a forged URL never reads as an expired one.
    """
    object_key = plain_key(path)
    values = _parameters(query)
    key = keyring.find(values["kid"])
    if key is None:
        raise _refused("playback-unknown-key")
    grant = Grant(prefix=values["prefix"], expires=int(values["expires"]), viewer=values["viewer"])
    if not hmac.compare_digest(_digest(key, grant), values["signature"]):
        raise _refused("playback-bad-signature")
    # The signer only makes prefixes that end with "/": "lecture-1/" never covers "lecture-10/".
    if not grant.prefix.endswith("/") or not object_key.startswith(grant.prefix):
        raise _refused("playback-outside-prefix")
    if grant.expires <= now:
        raise PlaybackRefused(reason=_EXPIRED)
    return object_key, grant


_TAG_WITH_ATTRIBUTES = re.compile(r"(#EXT-X-[A-Z0-9-]+:)(.*)", re.DOTALL)
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)=("[^"]*"|[^,"]*)')
_ELSEWHERE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|//)")
"""An absolute URI: never ours, and a viewer's grant is not for other hosts to see."""


def append_query(playlist: str, query: str) -> str:
    """The playlist with `query` appended unchanged to every relative URI in it.

    URIs are the lines that are no tag (segments, variants) and the `URI` attribute of any tag (MAP, MEDIA, KEY,
    I-FRAME-STREAM-INF ...). Everything else, line endings included, stays byte for byte.
    """
    return "\n".join(_append_to_line(line, query) for line in playlist.split("\n"))


def _append_to_line(line: str, query: str) -> str:
    text = line.removesuffix("\r")
    end = line[len(text) :]
    if not text.strip():
        return line
    if not text.startswith("#"):
        return _append_to_uri(text, query) + end
    tag = _TAG_WITH_ATTRIBUTES.fullmatch(text)
    if tag is None:
        return line
    return tag[1] + _ATTRIBUTE.sub(lambda attribute: _append_to_attribute(attribute, query), tag[2]) + end


def _append_to_attribute(attribute: re.Match[str], query: str) -> str:
    name, value = attribute[1], attribute[2]
    if name != "URI" or not value.startswith('"'):
        return attribute[0]
    return f'URI="{_append_to_uri(value[1:-1], query)}"'


def _append_to_uri(uri: str, query: str) -> str:
    if _ELSEWHERE.match(uri):
        return uri
    address, mark, fragment = uri.partition("#")
    return f"{address}{'&' if '?' in address else '?'}{query}{mark}{fragment}"
