"""The values that decide how a lecture looks and what it costs, in one place. Read by `plan` alone.

Rates are bit/s, lengths seconds, pictures by their short side in pixels.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the ladder: constant quality (x264 CRF) under a cap.

    Every chunk starts with a full buffer, so a window over a border may hold two of them: with `ENCODER_SHARE` of the
    cap as rate and a buffer of 3/4 s, six seconds anywhere hold at most (0.85 * 6 + 2 * 0.75) / 6 = 1.1 times the cap.
    """

    short_side: int
    crf: int
    max_rate: int
    """The cap: what players are told to expect at most."""
    buffer_size: int


ENCODER_SHARE = 0.85
"""Of a step's cap, what the encoder is given as its rate."""

LADDER = (
    Step(1080, 23, 4_500_000, 3_375_000),
    Step(720, 23, 2_400_000, 1_800_000),
    Step(480, 23, 1_000_000, 750_000),
)
"""Best first. A source below the last step gets one rung of its own size with the last step's values."""


@dataclass(frozen=True, slots=True)
class Title:
    """A kind of picture, and what it needs."""

    name: str
    below: float
    """Applies while the samples take less than this share of the last step's cap at the last step's quality."""
    crf: int
    """Added to every step's."""
    middle: bool
    """Whether the steps between best and last are worth their cost."""


TITLES = (
    Title("still", 0.25, 1, middle=False),
    Title("ordinary", 0.9, 0, middle=True),
    Title("busy", float("inf"), 2, middle=True),
)
"""Slides take so little at any size that nobody needs a step between; noise would sit at every cap anyway."""

TITLE_SAMPLES = 5
TITLE_SAMPLE_SECONDS = 2
TITLE_FROM_SECONDS = 300
"""A shorter lecture is taken for ordinary: looking would cost more than it saves."""

QUALITY_SAMPLES = 5
QUALITY_SAMPLE_SECONDS = 2

TILE_SECONDS = 10
TILES = 10
TILE_SIZE = (160, 90)
"""Small pictures for the seek bar: how far apart at most, how many at least (of a short lecture), how large at most."""
DARK = 48
"""A picture whose brightest parts are below this (0 to 255, black is 16) is no poster."""

CHUNK_SECONDS = (6, 12, 24, 60)
"""The first chunks are short so that the front plays soon; the last length repeats until less than two are left.

The last chunks halve what is left, down to the second length: workers that began at different times end together.
"""

FRAME_RATES = (
    Fraction(10),
    Fraction(15),
    Fraction(24000, 1001),
    Fraction(24),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(30),
    Fraction(50),
    Fraction(60000, 1001),
    Fraction(60),
)
"""Constant rates that are kept; any other source is put on 30, 50 or 60."""

THREADS = 1
"""Of one decoder or encoder. Pinned: x264's output depends on it, and a chunk that is made again must be byte-equal."""

SEEK_MARGIN_SECONDS = 0.5
"""How far before a chunk the source is read from; covers B-frame delay where the container has an index."""

WIDER_MARGINS_SECONDS = (15.0, 60.0)
"""Tried next when the front of a chunk did not come."""

STAND_MARGIN_SECONDS = 300.0
"""How far before a chunk a picture is looked for that may stand where the source has none: its limit of time allows it.
"""

LOUDNESS_LUFS = -16.0
"""What every lecture's sound is brought to."""

MAX_SECONDS = 12 * 3600
"""Longest lecture."""

MAX_PIXELS = 17_000_000
"""Largest picture that is decoded: a little above 5K."""

MAX_KEY_GAP_SECONDS = 20
"""A source with a longer stretch without a key frame is normalised: a chunk would decode too much before its own."""

NORMALISE_SECONDS = 100.0
"""How long one `video.normalise` works before it saves its part."""

INTERMEDIATE_CRF = 18
INTERMEDIATE_KEY_SECONDS = 4
"""Of an intermediate that is encoded: quality, under the source's own bit rate as a cap, and its key frames."""

INTERMEDIATE_BUFFER_SECONDS = 15
INTERMEDIATE_BUFFER_BITS = 4_000_000
"""Over how long that cap holds, and how much may come at once at the least: a slide in 1080p, after which nothing comes
for minutes, is half a megabyte, though the source has only a few kilobits a second."""
