"""Every input that docs/services/video.md lists, through plan, normalise, chunks and publish with real ffmpeg.

One numbered lecture (frame numbers as squares, beeps at flashes) is made once and turned into whatever a phone, a
recorder, a browser or a camera makes; what comes out is read back frame by frame.
"""

import array
import colorsys
import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import media
import pytest

from academy_core import containers
from academy_core.errors import Permanent, Reason
from academy_core.video import NORMALISE, PLAN, NormaliseInput, PlanInput
from academy_video import ffmpeg, ladder, plan

STEPS = (ladder.Step(160, 20, 400_000, 800_000), ladder.Step(120, 20, 200_000, 400_000))
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6))
SECONDS = 8
FPS = Fraction(30)
BIG = ("-vf", "scale=640:480:flags=neighbor")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60")
COPY = ("-c", "copy")
LAVFI = ("-f", "lavfi", "-i")
DOCS = Path(__file__).parents[2] / "docs/services/video.md"


@dataclass(frozen=True)
class Sources:
    """What the inputs are made of."""

    folder: Path
    numbered: media.Numbered
    """H.264 with B-frames and AAC, 8 s."""

    def make(self, name: str, *words: str | Path, source: Path | None = None) -> Path:
        """Run ffmpeg over the numbered lecture (or `source`) with these output options."""
        path = self.folder / name
        media.ffmpeg("-i", source or self.numbered.path, *words, path, level="error")
        return path


Make = Callable[[Sources], Path]


@dataclass(frozen=True)
class Row:
    """One row: how the input is made, and what must come of it."""

    make: Make
    way: str = "direct"
    size: tuple[int, int] = (214, 160)
    """Of the best rung."""
    seconds: float = SECONDS
    numbers: str = "all"
    """Whether the frame numbers that come out are `all`, `rising` (another rate), for `check` (`gap`) or not read."""
    sound: bool = True
    late: tuple[float, float, float] = (0, 0, 0)
    """By how many ms each beep is behind its flash in the source itself."""
    check: Callable[[media.Published], None] = field(default=lambda _: None)


def copied(name: str, *words: str) -> Make:
    return lambda sources: sources.make(name, *COPY, *words)


def coded(name: str, *words: str) -> Make:
    return lambda sources: sources.make(name, *words)


M2TS = ("-c:v", "copy", "-mpegts_m2ts_mode", "1")


def dvd(name: str, *words: str) -> Make:
    """A video object, MPEG-2; its muxer complains of a buffer that PCM does not fit into."""

    def make(sources: Sources) -> Path:
        path = sources.folder / name
        coding = (*BIG, "-c:v", "mpeg2video", "-b:v", "4M", *words, path)
        media.ffmpeg("-i", sources.numbered.path, *coding, level="fatal")
        return path

    return make


def streamed(name: str, *words: str) -> Make:
    """Written to a pipe, as a browser's recorder does: no duration, no index."""

    def make(sources: Sources) -> Path:
        path = sources.folder / name
        path.write_bytes(media.ffmpeg("-i", sources.numbered.path, *words, "pipe:1", level="error"))
        return path

    return make


def recorder_av1(sources: Sources) -> Path:
    """The same with AV1, in two steps: this encoder says only at its end what stands in front."""
    coding = ("-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-b:v", "2M", "-g", "60")
    made = sources.make("ra.mp4", *coding, "-c:a", "libopus")
    path = sources.folder / "ra.webm"
    path.write_bytes(media.ffmpeg("-i", made, *COPY, "-f", "webm", "pipe:1", level="error"))
    return path


def turned(name: str, degrees: int, *words: str) -> Make:
    """Stored lying down with a display matrix, as phones do."""
    filters = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]

    def make(sources: Sources) -> Path:
        lying = sources.make(f"lying-{name}", "-vf", filters, *X264, "-c:a", "copy")
        return sources.make(name, *COPY, "-metadata:s:v", f"rotate={degrees}", *words, source=lying)

    return make


MATRICES = {
    "left-right": ("hflip", (-1, 0, 0, 1)),
    "up-down": ("vflip", (1, 0, 0, -1)),
    "diagonal": ("transpose=cclock_flip", (0, 1, 1, 0)),
    "other-diagonal": ("transpose=clock_flip", (0, -1, -1, 0)),
}
"""What a mirror does and the upper left of the display matrix that says so, which undoes it too."""
IDENTITY = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


def mirrored(name: str, mirror: str, *words: str) -> Make:
    """Stored as in a mirror, with the display matrix that says so: front cameras and screen recorders."""
    filters, (a, b, c, d) = MATRICES[mirror]

    def make(sources: Sources) -> Path:
        path = sources.make(f"stored-{name}", "-vf", filters, *X264, "-c:a", "copy")
        matrix = struct.pack(">9i", a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
        head, found, rest = path.read_bytes().partition(b"tkhd")
        path.write_bytes(head + found + rest.replace(IDENTITY, matrix, 1))
        return sources.make(name, *COPY, *words, source=path)

    return make


FRAGMENTED = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")


def fragmented_mov(name: str, sound: str) -> Make:
    """MOV in fragments of a second, each with all of its sound."""
    lasting = ("-frag_duration", "1000000", "-movflags", "+empty_moov+default_base_moof+delay_moov")
    return coded(name, "-c:v", "copy", "-c:a", sound, *lasting)


def joined(path: Path, *parts: Path, after: int | None = None) -> None:
    """The packets of the parts, one after the other in one file; each begins `after` seconds if that is longer."""
    listed = path.with_suffix(".txt")
    length = "" if after is None else f"duration {after}\n"
    listed.write_text("".join(f"file '{part}'\n{length}" for part in parts))
    media.ffmpeg("-f", "concat", "-safe", "0", "-i", listed, *COPY, path, level="error")


SIZES = (("640:480", "yuv420p"), ("480:360", "yuv420p"), ("640:360", "yuv420p"))
"""Smaller at 3 s, of another shape from 5 s on: what a recorder makes of a window that is resized."""
TIMES = (("0", "3"), ("3", "5"), ("5", "8"))
FORMATS = (("640:480", "yuv420p"), ("640:480", "yuv444p"), ("640:480", "yuv420p10le"))


def varied(name: str, parts: Sequence[tuple[str, str]], *coding: str) -> Make:
    """One stream whose pictures are of the first size and format, from 3 s on of the second, from 5 s of the third."""

    def make(sources: Sources) -> Path:
        made = []
        for number, ((size, pixels), (start, end)) in enumerate(zip(parts, TIMES, strict=True)):
            shown = f"scale={size}:flags=neighbor,setsar=1,format={pixels}"
            words = ("-ss", start, "-to", end, "-vf", shown, *coding, "-an")
            made.append(sources.make(f"part-{number}-{name}", *words))
        pictures, path = sources.folder / f"pictures-{name}", sources.folder / name
        joined(pictures, *made)
        words = ("-map", "0:v", "-map", "1:a", "-c:v", "copy", *(() if name.endswith("mp4") else ("-c:a", "libopus")))
        output = ("-f", "webm", "pipe:1") if name.endswith("webm") else (path,)
        streamed = media.ffmpeg("-i", pictures, "-i", sources.numbered.path, *words, *output, level="error")
        if streamed:
            path.write_bytes(streamed)
        return path

    return make


def has_bars(made: media.Published) -> None:
    """The wider picture of the last three seconds is not drawn out: bars lie above and below it."""
    check_bars(made, 150)


def has_no_bars(made: media.Published) -> None:
    """It is drawn out."""
    check_bars(made, 240)


def check_bars(made: media.Published, first: int) -> None:
    """Whether bars begin with this frame."""
    for rung in made.plan.encoding.rungs:
        shown = planes(made, rung.name)
        bar = rung.width * (rung.height // 8 - 4)
        for number, plane in enumerate(shown[10:-10], 10):
            barred = max(plane[:bar]) < 32 and max(plane[-bar:]) < 32
            assert barred == (number >= first), f"frame {number} of {rung.name}"


def changing(name: str, before: str, after: str, *coding: str) -> Make:
    return lambda sources: media.changing(sources.numbered.path, sources.folder / name, before, after, *coding)


def jumping(name: str, first: int, second: int) -> Make:
    """Two recordings one after the other in one file: times start anew in the middle, `first` and `second` seconds."""

    def make(sources: Sources) -> Path:
        parts = halves(sources, f"{name}.ts", ("-output_ts_offset", str(first)), ("-output_ts_offset", str(second)))
        path = sources.folder / f"{name}.ts"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    return make


def halves(sources: Sources, name: str, *words: tuple[str, ...]) -> list[Path]:
    """The lecture up to 4 s and from there on, cut at a key frame; `words` are further options of each half."""
    keys = sources.make("keys.mp4", *X264, "-g", "30", "-c:a", "copy")
    cuts = (("-to", "4"), ("-ss", "4"))
    return [
        sources.make(f"half-{number}-{name}", *COPY, *cut, *more, source=keys)
        for number, (cut, more) in enumerate(zip(cuts, words, strict=True))
    ]


def rates(sources: Sources) -> Path:
    """A broadcast whose sound has another rate from 4 s on, its times going on."""
    first, second = (("-c:a", "aac", "-ar", rate) for rate in ("44100", "48000"))
    parts = halves(sources, "rates.ts", first, (*second, "-output_ts_offset", str(4 + 1024 / 44_100)))
    path = sources.folder / "rates.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def gapped(name: str) -> Make:
    """Nothing between the two halves for three seconds: times in one file jump from 4 s to 7 s."""

    def make(sources: Sources) -> Path:
        path = sources.folder / name
        joined(path, *halves(sources, name, (), ()), after=7)
        return path

    return make


def stands_for_the_gap(made: media.Published) -> None:
    """The picture stands and the sound is silent for three seconds; check_sound has looked at what lies around them."""
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    assert sorted(numbers) == numbers
    assert set(range(2, 240)) <= set(numbers)
    assert numbers.count(119) == pytest.approx(91, abs=1)
    assert len(numbers) == pytest.approx(330, abs=1)
    samples = media.read_sound(made.joined("audio"))[1024:]
    silent = samples[int(4.1 * media.RATE) : int(6.9 * media.RATE)]
    assert max(map(abs, silent)) < 50


def sparse(sources: Sources) -> Path:
    """Three minutes with one key frame."""
    words = ("-g", "9999", "-sc_threshold", "0")
    return media.numbered_lecture(sources.folder / "sparse.mp4", Fraction(10), 180, murmur=False, words=words).path


def sparse_stream(sources: Sources) -> Path:
    """The same in MPEG-TS."""
    return sources.make("sparse.ts", *COPY, source=sparse(sources))


def hdr(transfer: str, values: str = "tv") -> Make:
    """White and black halves, 10 bit, BT.2020: what a phone's HDR mode records. `values`: the range they take."""
    tags = ("-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc", "-color_range", values)
    coding = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none", *tags)
    return lambda sources: bright(sources.folder / f"{transfer}-{values}.mp4", transfer, values, *coding)


def untagged(sources: Sources) -> Path:
    """HDR that says how light is coded and not how colour is."""
    coding = ("-c:v", "libvpx-vp9", "-profile:v", "2", *FAST_VPX, "-b:v", "4M", "-color_trc", "smpte2084")
    return bright(sources.folder / "untagged.mkv", "smpte2084", "tv", *coding)


PATCHES = ((192, 32, 32), (32, 160, 64), (32, 64, 192), (216, 160, 128), (200, 176, 32), (128, 128, 128))
"""Red, green, blue, skin, yellow, grey: what SDR's colours are before they are put among HDR's."""


def bright(path: Path, transfer: str, values: str, *coding: str) -> Path:
    """White and black halves above, patches of colour below."""
    side = 320 // len(PATCHES)
    patches = "".join(
        f"drawbox=x={number * side}:y=180:w={side}:h=60:color=0x{bytes(colour).hex()}:t=fill,"
        for number, colour in enumerate(PATCHES)
    )
    graph = (
        f"color=white:s=320x240:r=30:d=4,format=rgb24,drawbox=w=iw/2:h=ih:color=black:t=fill,{patches}"
        "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p,"
        "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv,"
        "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt2020,"
        f"zscale=t={transfer}:m=bt2020nc:p=bt2020:r={values}:npl=100,format=yuv420p10le"
    )
    media.ffmpeg("-f", "lavfi", "-i", graph, *coding, path, level="error")
    return path


def planes(made: media.Published, name: str) -> list[bytes]:
    """Luma of every frame of a rung."""
    rung = next(rung for rung in made.plan.encoding.rungs if rung.name == name)
    raw = media.ffmpeg("-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1", stdin=made.joined(name))
    luma, size = rung.width * rung.height, rung.width * rung.height * 3 // 2
    return [raw[at : at + luma] for at in range(0, len(raw), size)]


def is_sdr(made: media.Published) -> None:
    """White is the one white of SDR that is tone-mapped and black is black, and the file says BT.709."""
    rung = made.plan.encoding.rungs[0]
    plane = planes(made, rung.name)[30]
    middle = plane[rung.width * (rung.height // 2) : rung.width * (rung.height // 2 + 1)]
    black, white = middle[rung.width // 4], middle[3 * rung.width // 4]
    assert black < 30, (black, white)
    assert abs(white - 200) <= 2, (black, white)
    words = (
        media.FFPROBE,
        "-v",
        "error",
        "-show_entries",
        "stream=color_transfer,color_space,pix_fmt",
        "-of",
        "csv=p=0",
    )
    found = subprocess.run((*words, "-"), input=made.joined(rung.name), capture_output=True, timeout=60, check=True)
    assert found.stdout.decode().split() == ["yuv420p,bt709,bt709"]
    shows_patches(made.joined(rung.name), rung.width, rung.height)


def shows_patches(data: bytes, width: int, height: int) -> None:
    """Each patch has its colour again: tone mapping takes up to a tenth of what is bright and leaves the hue."""
    shown = ("-vf", "scale=in_color_matrix=bt709:in_range=tv,format=rgb24", "-frames:v", "1", "-f", "rawvideo")
    raw = media.ffmpeg("-i", "pipe:0", *shown, "pipe:1", stdin=data)
    row = height * 7 // 8 * width
    for number, colour in enumerate(PATCHES):
        at = 3 * (row + (2 * number + 1) * width // (2 * len(PATCHES)))
        found = tuple(raw[at : at + 3])
        assert found == pytest.approx(colour, abs=20), f"{colour} comes out as {found}"
        if len(set(colour)) > 1:
            hues = [360 * colorsys.rgb_to_hsv(*each)[0] for each in (colour, found)]
            assert abs((hues[0] - hues[1] + 180) % 360 - 180) < 8, f"{colour} comes out as {found}"


def green(sources: Sources) -> Path:
    """What screen recorders make that keep RGB."""
    path = sources.folder / "rgb.mp4"
    graph = "color=lime:s=320x240:r=30:d=4,format=rgb24"
    media.ffmpeg("-f", "lavfi", "-i", graph, "-c:v", "libx264rgb", "-preset", "ultrafast", path, level="error")
    return path


def lossless(name: str, *coding: str, rate: int = 30, seconds: int = 2) -> Make:
    """RGB of a screen recorder that keeps every pixel, HD: nothing but its decoder says that it is RGB."""

    def make(sources: Sources) -> Path:
        path = sources.folder / name
        graph = f"color=lime:s=1280x720:r={rate}:d={seconds},format=rgb24"
        media.ffmpeg("-f", "lavfi", "-i", graph, *coding, path, level="error")
        return path

    return make


def is_green(made: media.Published) -> None:
    """Green as BT.709 has it: luma 16 + 219 * 0.7152. With BT.601's matrix it would be 145."""
    plane = planes(made, made.plan.encoding.rungs[0].name)[30]
    assert abs(plane[len(plane) // 2] - 173) <= 3


STEP, TRACK = 40, 560
"""How far the square moves from field to field, and after how far it begins again, pixels of the source's 640."""


def is_progressive(made: media.Published) -> None:
    """One picture of each two fields: the square is seen once in it, and moves on by two steps."""
    assert Fraction(made.plan.encoding.fps_num, made.plan.encoding.fps_den) == 25
    places = []
    for plane in planes(made, "160p"):
        row = plane[214 * 143 : 214 * 144]
        assert sum(60 < value < 180 for value in row) <= 6, "it is where both fields have it"
        places.append(next(at for at, value in enumerate(row) if value >= 180) * 640 / 214)
    moved = [(after - before) % TRACK for before, after in pairwise(places[2:-4])]
    assert moved == pytest.approx([2 * STEP] * len(moved), abs=4)


MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-flags", "+ildct+ilme", "-g", "15", "-c:a", "mp2")
MBAFF = ("-c:v", "libx264", "-preset", "ultrafast", "-flags", "+ildct+ilme", "-g", "50", "-c:a", "aac")


def interlaced(name: str, first: str, *coding: str) -> Make:
    """50 fields a second, as a camcorder: both of a frame have its number, and a square moves from field to field."""

    def make(sources: Sources) -> Path:
        numbered = media.numbered_lecture(sources.folder / f"25-{name}.mp4", Fraction(25), SECONDS, murmur=False)
        path, order = sources.folder / name, f"{first[0]}ff"
        graph = (
            f"[1:v][2:v]overlay=x=mod(n*{STEP}\\,{TRACK})[track];[0:v]fps=50,scale=640:480:flags=neighbor[numbers];"
            f"[numbers][track]overlay=y=400:shortest=1,tinterlace=interleave_{first},setfield={order}"
        )
        moving = [word for drawn in ("black:s=640x60", "white:s=80x60") for word in (*LAVFI, f"color={drawn}:r=50")]
        words = ("-filter_complex", graph, *coding, "-field_order", order[0] * 2)
        media.ffmpeg("-i", numbered.path, *moving, *words, path, level="error")
        shown = ("-select_streams", "v", "-show_entries", "frame=interlaced_frame,top_field_first", "-of", "csv=p=0")
        done = subprocess.run((media.FFPROBE, "-v", "error", *shown, path), capture_output=True, check=True, text=True)
        assert {line[:3] for line in done.stdout.split()} == {f"1,{int(first == 'top')}"}
        return path

    return make


def at_rate(expected: Fraction) -> Callable[[media.Published], None]:
    def check(made: media.Published) -> None:
        assert Fraction(made.plan.encoding.fps_num, made.plan.encoding.fps_den) == expected

    return check


def tracks(sources: Sources) -> Path:
    """English by default at 300 Hz, Korean at 1,200 Hz."""
    return sources.make(
        "tracks.mkv",
        *("-f", "lavfi", "-i", "sine=f=300:d=8", "-f", "lavfi", "-i", "sine=f=1200:d=8"),
        *("-map", "0:v", "-map", "1:a", "-map", "2:a", "-c:v", "copy", "-c:a", "aac"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=kor"),
        *("-disposition:a:0", "default", "-disposition:a:1", "0"),
    )


def programs(sources: Sources) -> Path:
    """A multiplex: another program's picture, and its sound in the lecture's language, beside the lecture."""
    return sources.make(
        "programs.ts",
        *("-f", "lavfi", "-i", "sine=f=1200:d=8", "-f", "lavfi", "-i", "testsrc2=s=320x240:r=30:d=8"),
        *("-map", "0:v", "-map", "0:a", "-map", "2:v", "-map", "1:a"),
        *("-c:v:0", "copy", "-c:a", "aac", "-c:v:1", "libx264", "-preset", "ultrafast", "-g", "30"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=kor"),
        *("-program", "program_num=1:st=0:st=1", "-program", "program_num=2:st=2:st=3"),
    )


def covered(sources: Sources) -> Path:
    """MP4 with a still as its cover, which is a stream of pictures too."""
    cover = ("-f", "lavfi", "-i", "color=red:s=640x640:d=0.04", "-map", "0", "-map", "1", *COPY, "-c:v:1", "mjpeg")
    return sources.make("cover.mp4", *cover, "-disposition:v:1", "attached_pic")


def trimmed(sources: Sources) -> Path:
    """MP4 cut by a phone: its edit list leaves out six pictures in front, which are still there to be decoded."""
    path = sources.folder / "trimmed.mp4"
    words = (*COPY, "-avoid_negative_ts", "disabled")
    media.ffmpeg("-ss", "0.2", "-i", sources.numbered.path, *words, path, level="error")
    return path


def begins_at_6(made: media.Published) -> None:
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    assert numbers == list(range(6, 240))


def spatial(name: str, *sounds: str) -> Make:
    """MP4 whose first sound is one that ffmpeg does not know, as phones record beside AAC."""

    def make(sources: Sources) -> Path:
        path = sources.make(name, "-map", "0:v", *sounds, *COPY)
        path.write_bytes(path.read_bytes().replace(b"mp4a", b"apac", 1).replace(b"esds", b"xsds", 1))
        return path

    return make


def crossings(samples: "array.array[int]") -> float:
    """Zero crossings a second, halved: the frequency of a pure tone."""
    middle = samples[2 * media.RATE : 4 * media.RATE]
    return sum((before < 0) != (after < 0) for before, after in pairwise(middle)) / 4


def is_korean(made: media.Published) -> None:
    assert crossings(media.read_sound(made.joined("audio"))) == pytest.approx(1200, abs=5)


HELD = 30
"""Seconds for which a slide stands, longer than chunks may lie behind a key frame."""


def held(name: str, *coding: str) -> Make:
    """What a screen recorder makes of a slide: five pictures, then nothing until the next five."""
    times = f"select=lt(n\\,10),setpts=if(lt(N\\,5)\\,N\\,N+30*{HELD})/30/TB"
    sound = ("-f", "lavfi", "-i", f"sine=f=500:d={HELD + 10}", "-map", "0:v", "-map", "1:a")
    return lambda sources: sources.make(name, *sound, "-vf", times, *coding)


def stands(made: media.Published) -> None:
    """Each picture from its time to the next one's, and the sound all along."""
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    before = HELD * 30 + 1
    assert numbers == [*range(4), *[4] * before, *range(5, 9), *[9] * (len(numbers) - before - 8)]
    assert crossings(media.read_sound(made.joined("audio"))[20 * media.RATE :]) == pytest.approx(500, abs=5)


AHEAD = 15
"""Seconds for which the picture stands: ffmpeg waits for ten, then it writes the sound first."""


def ahead(sources: Sources) -> Path:
    """A screen recording: a new slide that stands, which its encoder gives out only when the next ones come."""
    lecture = media.numbered_lecture(sources.folder / "ahead.mp4", FPS, AHEAD + SECONDS).path
    shown = f"scale=640:480:flags=neighbor,select=not(between(n\\,60\\,{60 + 30 * AHEAD}))"
    coding = ("-c:v", "libx264", "-preset", "veryfast", "-force_key_frames", "1.93", "-fps_mode", "passthrough")
    return sources.make("ahead.mkv", "-vf", shown, *coding, source=lecture)


def is_heard_all_along(made: media.Published) -> None:
    """Half a second of it is never silent."""
    samples = media.read_sound(made.joined("audio"))[1024:]
    half = media.RATE // 2
    assert min(max(samples[at : at + half]) for at in range(0, len(samples) - half, half)) > 500


def one_picture(sources: Sources) -> Path:
    """A recording of a voice with its cover: no player ever shows anything else."""
    path = sources.folder / "one.mp4"
    one = sources.make("cover.mp4", "-frames:v", "1", "-an", *COPY)
    sound = ("-f", "lavfi", "-i", "sine=f=500:d=90")
    media.ffmpeg("-i", one, *sound, "-map", "0", "-map", "1", "-c:v", "copy", "-c:a", "aac", path, level="error")
    return path


def shows_one(made: media.Published) -> None:
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    assert set(numbers) == {0}
    assert made.result.patched_seconds == 0


def shows_those_kept(made: media.Published) -> None:
    """Each picture in its frame, and the one before where it was dropped; the flashes were not."""
    numbers, flashing = media.read_frames(made.joined("160p"), 214, 160)
    assert numbers == [frame - max(0, frame % 11 - 7) for frame in range(SECONDS * 30 - 1)]
    check_sound(made, numbers, flashing)


def is_not_cut(made: media.Published) -> None:
    """Four channels together are louder than full scale: their peaks are brought down, not cut off."""
    assert 16_000 < max(map(abs, media.read_sound(made.joined("audio")))) < 30_000


def ends_silent(made: media.Published) -> None:
    samples = media.read_sound(made.joined("audio"))
    assert len(samples) == pytest.approx(SECONDS * media.RATE, abs=2048)
    assert max(map(abs, samples[6 * media.RATE :])) < 50 < max(map(abs, samples[: 4 * media.RATE]))


LATE = (
    *X264[:4],
    "-b:v",
    "12M",
    "-minrate",
    "12M",
    "-maxrate",
    "12M",
    "-bufsize",
    "12M",
    "-x264-params",
    "nal-hrd=cbr",
)
"""MPEG-TS whose sound begins behind 7 MB, when ffmpeg has long stopped looking what its streams are."""


def late_program_stream(sources: Sources) -> Path:
    """The same as an MPEG program stream, which declares nothing."""
    path = sources.folder / "late.mpg"
    picture = (*BIG, "-c:v", "mpeg2video", "-b:v", "12M", "-minrate", "12M", "-maxrate", "12M", "-bufsize", "4M")
    sound = ("-af", "aselect=gte(t\\,5)", "-c:a", "mp2")
    media.ffmpeg("-i", sources.numbered.path, *picture, *sound, path, level="fatal")
    return path


def silenced(sources: Sources) -> Path:
    """MPEG-TS that lists AAC of which nothing can be read, as where it is encrypted."""
    path = sources.make("never.ts", *COPY)
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 188):
        if int.from_bytes(data[at + 1 : at + 3]) & 0x1FFF == 0x101:  # ffmpeg's second stream
            start = at + 4 + (1 + data[at + 4] if data[at + 3] & 0x20 else 0)
            start += 9 + data[start + 8] if data[at + 1] & 0x40 else 0
            data[start : at + 188] = bytes(at + 188 - start)
    path.write_bytes(data)
    return path


def begins_late(made: media.Published) -> None:
    """Silence up to 5 s; from there on the sound, in time with the picture: its beep at the last flash."""
    samples = media.read_sound(made.joined("audio"))[1024:]
    assert max(map(abs, samples[: int(4.9 * media.RATE)])) < 50
    loud = next(at for at, sample in enumerate(samples) if abs(sample) > 8000)
    assert loud / media.RATE == pytest.approx(int(0.93 * SECONDS * FPS) / 30, abs=2 / 30)


def listed(name: str, registration: bytes) -> Make:
    """MPEG-TS that lists one stream beside the picture, of a private type, registered by this name."""

    def make(sources: Sources) -> Path:
        path = sources.make(f"private-{name}", "-c:v", "copy", "-c:a", "s302m", "-strict", "-2", "-ac", "2")
        data = bytearray(path.read_bytes())
        for at in (found.start() for found in re.finditer(b"BSSD", bytes(data))):
            packet = at // 188 * 188
            section = packet + 5 + data[packet + 4]
            end = section + 3 + (int.from_bytes(data[section + 1 : section + 3]) & 0xFFF)
            data[at : at + 4] = registration
            data[end - 4 : end] = checksum(data[section : end - 4]).to_bytes(4)
        path.write_bytes(data)
        return path

    return make


def checksum(section: bytes) -> int:
    """CRC-32 of MPEG-2 (ISO/IEC 13818-1, annex A)."""
    register = 0xFFFFFFFF
    for byte in section:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register


def lost_nothing(made: media.Published) -> None:
    assert made.result.lost_seconds == 0


def says_that_it_lost_sound(made: media.Published) -> None:
    assert made.result.lost_sound


def stands_still(made: media.Published) -> None:
    """The last picture stands while the sound goes on."""
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    assert numbers[:240] == list(range(240))
    assert set(numbers[240:]) == {239}
    assert len(numbers) == 300


DV = ("-vf", "scale=720:480:flags=neighbor,setsar=8/9,fps=30000/1001,format=yuv411p")
HD = "scale=1280:720:flags=neighbor,setsar=1,format=yuv422p"
FAST_VPX = ("-deadline", "realtime", "-cpu-used", "8", "-g", "60")
REPEATED = ("-x264-params", "repeat-headers=1:keyint=60")
PCM = ("-c:a", "pcm_s16le")
FLASH = ("-ar", "22050", "-ac", "1")
DROPPED = "scale=640:480:flags=neighbor,select=lt(mod(n\\,11)\\,8)"
"""Three pictures of eleven are missing."""
VFR = "setpts='(N+if(between(mod(N,10),3,6),0.6,0))/30/TB'"

TWICE_DELAYED = (21.3, 21.3, 42.7)
"""Two encodes of AAC in MPEG-TS, where nothing says that each begins with its encoder's delay of 1,024 samples."""
OVERLAPPED = (0, 38.4, 38.4)
"""The first recording's sound goes on for so long beside the second's: it is heard to its end, and the rest later."""

ROWS: dict[str, Row] = {
    "mp4": Row(copied("end.mp4")),
    "mp4-faststart": Row(copied("front.mp4", "-movflags", "+faststart")),
    "mov": Row(copied("a.mov")),
    "mkv": Row(copied("a.mkv")),
    "webm": Row(coded("a.webm", *BIG, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "90")),
    "webm-recorder": Row(
        streamed("r.webm", *("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "16", "-b:v", "2M"), "-f", "webm"),
        way="copy",
    ),
    "recorder-vp9": Row(streamed("r9.webm", "-c:v", "libvpx-vp9", *FAST_VPX, "-f", "webm"), way="copy"),
    "recorder-av1": Row(recorder_av1, way="copy"),
    "mkv-broken-off": Row(
        streamed("bo.mkv", *BIG, "-c:v", "mjpeg", "-q:v", "3", "-c:a", "mp3", "-f", "matroska", "-live", "1"),
        way="copy",
        check=lost_nothing,
    ),
    "recorder-h264": Row(streamed("rh.mkv", "-c:v", "copy", "-c:a", "libopus", "-f", "matroska"), way="copy"),
    "mp4-fragmented": Row(copied("f.mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"), way="copy"),
    "ts": Row(copied("a.ts"), way="copy"),
    "flv": Row(copied("a.flv"), way="copy"),
    "avi-mjpeg": Row(coded("m.avi", *BIG, "-c:v", "mjpeg", "-q:v", "3", "-c:a", "pcm_s16le"), way="copy"),
    "avi-h264": Row(copied("b.avi"), way="encode"),
    "avi-dropped": Row(
        coded("d.avi", "-vf", DROPPED, "-fps_mode", "vfr", "-enc_time_base", "1/30", *X264, "-bf", "0", *PCM),
        way="copy",
        numbers="no",
        check=shows_those_kept,
    ),
    "avi-mpeg1": Row(coded("m1.avi", *BIG, "-c:v", "mpeg1video", "-b:v", "4M", "-bf", "0", *PCM), way="encode"),
    "mpg": Row(coded("a.mpg", *BIG, "-c:v", "mpeg2video", "-b:v", "4M", "-c:a", "mp2"), way="copy"),
    "m2ts": Row(coded("a.m2ts", *M2TS, "-c:a", "ac3"), way="copy"),
    "vob": Row(dvd("a.vob", "-c:a", "ac3"), way="copy"),
    "m2ts-lpcm": Row(coded("l.m2ts", *M2TS, "-c:a", "pcm_bluray", "-sample_fmt", "s16"), way="copy"),
    "vob-lpcm": Row(dvd("l.vob", "-c:a", "pcm_s16be"), way="copy"),
    "flv-nellymoser": Row(coded("n.flv", "-c:v", "copy", "-c:a", "nellymoser", *FLASH), way="copy"),
    "flv-adpcm": Row(coded("sw.flv", "-c:v", "copy", "-c:a", "adpcm_swf", *FLASH), way="copy"),
    "ts-s302m": Row(coded("s.ts", "-c:v", "copy", "-c:a", "s302m", "-strict", "-2", "-ac", "2"), way="copy"),
    "mov-ima-fragmented": Row(fragmented_mov("i.mov", "adpcm_ima_qt"), way="copy"),
    "mov-float-fragmented": Row(fragmented_mov("f.mov", "pcm_f32be"), way="copy"),
    "hevc": Row(coded("h.mp4", *BIG, "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none")),
    "av1": Row(coded("a1.mp4", *BIG, "-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-b:v", "2M")),
    "mjpeg": Row(coded("m.mov", *BIG, "-c:v", "mjpeg", "-q:v", "3", "-c:a", "pcm_s16le")),
    "mpeg4": Row(coded("m4.mp4", *BIG, "-c:v", "mpeg4", "-b:v", "3M")),
    "dv": Row(coded("dv.avi", *DV, "-c:v", "dvvideo", "-c:a", "pcm_s16le", "-ar", "48000"), way="copy"),
    "h263": Row(
        coded("h.3gp", "-vf", "scale=352:288:flags=neighbor,setsar=12/11", "-c:v", "h263", "-q:v", "2", "-c:a", "aac")
    ),
    "msmpeg4": Row(coded("d.avi", *BIG, "-c:v", "msmpeg4", "-q:v", "3", "-c:a", "mp3"), way="copy"),
    "dnxhd": Row(
        coded("d.mov", "-vf", HD, "-c:v", "dnxhd", "-b:v", "60M", "-t", "2"),
        size=(284, 160),
        seconds=2,
        numbers="no",
        sound=True,
    ),
    "qtrle": Row(
        lossless("q.mov", "-c:v", "qtrle"), size=(284, 160), seconds=2, numbers="no", sound=False, check=is_green
    ),
    "png": Row(lossless("p.mov", "-c:v", "png"), size=(284, 160), seconds=2, numbers="no", sound=False, check=is_green),
    "cover": Row(covered),
    "edit-list": Row(trimmed, seconds=7.8, numbers="gap", check=begins_at_6),
    "rgb-sparse": Row(
        lossless("qs.mov", "-c:v", "qtrle", "-g", "9999", rate=10, seconds=24),
        way="encode",
        size=(284, 160),
        seconds=24,
        numbers="no",
        sound=False,
        check=is_green,
    ),
    "vfr": Row(coded("v.mkv", "-vf", VFR, *X264, "-fps_mode", "passthrough", "-an"), numbers="rising", sound=False),
    "rotated": Row(turned("t.mp4", 90)),
    "rotated-180": Row(turned("u.mp4", 180)),
    "rotated-fragmented": Row(
        turned("x.mp4", 270, "-movflags", "+frag_keyframe+empty_moov+default_base_moof"), way="copy"
    ),
    **{f"mirrored-{each}": Row(mirrored(f"mirrored-{each}.mp4", each)) for each in MATRICES},
    **{
        f"mirrored-{each}-fragmented": Row(mirrored(f"mirrored-{each}-f.mp4", each, *FRAGMENTED), way="copy")
        for each in MATRICES
    },
    "odd-size": Row(coded("o.mp4", "-vf", "scale=321:241:flags=neighbor,format=yuv444p", *X264[:4]), size=(214, 160)),
    "anamorphic": Row(coded("s.mp4", "-vf", "scale=160:240,setsar=2", *X264)),
    "interlaced": Row(interlaced("it.ts", "top", *MPEG2, "-top", "1"), way="copy", check=is_progressive),
    "interlaced-bottom": Row(interlaced("ib.ts", "bottom", *MPEG2, "-top", "0"), way="copy", check=is_progressive),
    "interlaced-mbaff": Row(
        interlaced("mt.ts", "top", *MBAFF, "-x264-params", "tff=1"), way="copy", check=is_progressive
    ),
    "interlaced-mbaff-bottom": Row(
        interlaced("mb.ts", "bottom", *MBAFF, "-x264-params", "bff=1"), way="copy", check=is_progressive
    ),
    "rgb": Row(green, seconds=4, numbers="no", sound=False, check=is_green),
    "ten-bit": Row(coded("ten.mp4", *X264[:4], "-pix_fmt", "yuv420p10le")),
    "hdr-pq": Row(hdr("smpte2084"), seconds=4, numbers="no", sound=False, check=is_sdr),
    "hdr-hlg": Row(hdr("arib-std-b67"), seconds=4, numbers="no", sound=False, check=is_sdr),
    "hdr-pq-full": Row(hdr("smpte2084", "pc"), seconds=4, numbers="no", sound=False, check=is_sdr),
    "hdr-hlg-full": Row(hdr("arib-std-b67", "pc"), seconds=4, numbers="no", sound=False, check=is_sdr),
    "hdr-untagged": Row(untagged, seconds=4, numbers="no", sound=False, check=is_sdr),
    "no-sound": Row(copied("n.mp4", "-an"), sound=False),
    "mono": Row(coded("mono.mp4", "-c:v", "copy", "-ac", "1")),
    "surround": Row(coded("5.1.mp4", "-c:v", "copy", "-af", "pan=5.1|FC=c0|FL=0.1*c0|FR=0.1*c0", "-c:a", "aac")),
    "surround-seven": Row(coded("7.1.mp4", "-c:v", "copy", "-af", "pan=7.1|FC=c0|FL=0.1*c0|BR=0.1*c0", "-c:a", "aac")),
    "mkv-eac3": Row(coded("e.mkv", "-c:v", "copy", "-c:a", "eac3")),
    "mkv-dts": Row(coded("d.mkv", "-c:v", "copy", "-c:a", "dca", "-strict", "-2")),
    "mkv-flac": Row(coded("f.mkv", "-c:v", "copy", "-c:a", "flac")),
    "surround-loud": Row(
        coded("4.mov", "-c:v", "copy", "-af", "pan=4c|c0=c0|c1=c0|c2=c0|c3=c0", "-c:a", "pcm_s16le"), check=is_not_cut
    ),
    "tracks": Row(tracks, sound=False, check=is_korean),
    "programs": Row(programs, way="copy"),
    "sound-unknown": Row(spatial("two.mp4", "-map", "0:a", "-map", "0:a")),
    "sound-late": Row(
        coded("late.ts", *LATE, "-af", "aselect=gte(t\\,5)", "-c:a", "aac"),
        way="copy",
        sound=False,
        check=begins_late,
    ),
    "sound-late-flv": Row(
        coded("late.flv", *LATE, "-af", "aselect=gte(t\\,5)", "-c:a", "aac"),
        way="copy",
        sound=False,
        check=begins_late,
    ),
    "sound-late-mpg": Row(late_program_stream, way="copy", sound=False, check=begins_late),
    "sound-private": Row(listed("p.ts", b"XXXX"), way="copy", sound=False, check=says_that_it_lost_sound),
    "sound-never": Row(silenced, way="copy", sound=False, check=says_that_it_lost_sound),
    "sound-shorter": Row(coded("short.mp4", "-c:v", "copy", "-af", "atrim=end=5"), sound=False, check=ends_silent),
    "sound-longer": Row(
        coded("longer.mp4", "-c:v", "copy", "-af", "apad,atrim=end=10"), seconds=10, numbers="no", check=stands_still
    ),
    "late-start": Row(copied("late.mkv", "-output_ts_offset", "7")),
    "jump": Row(jumping("back", 500, 0), way="copy"),
    "jump-ahead": Row(jumping("ahead", 0, 500), way="copy"),
    "gap-mkv": Row(gapped("gap.mkv"), seconds=11, numbers="gap", check=stands_for_the_gap),
    "gap-mp4": Row(gapped("gap.mp4"), seconds=11, numbers="gap", check=stands_for_the_gap),
    "resized": Row(varied("z.webm", SIZES, "-c:v", "libvpx", *FAST_VPX, "-b:v", "2M"), way="copy", check=has_bars),
    "resized-vp9": Row(varied("z9.mkv", SIZES, "-c:v", "libvpx-vp9", *FAST_VPX), check=has_bars),
    "resized-h264": Row(varied("z.mp4", SIZES, *X264[:4], *REPEATED), check=has_no_bars),
    "formats": Row(varied("f4.mkv", FORMATS, *X264[:4], *REPEATED)),
    "channels": Row(changing("c.ts", "5.1", "stereo", "-f", "ac3"), way="copy"),
    "channels-mp2": Row(changing("m.ts", "mono", "stereo", "-f", "mp2"), way="copy"),
    "channels-aac": Row(changing("a6.ts", "5.1", "stereo", "-f", "adts"), way="copy", late=TWICE_DELAYED),
    "channels-aac-up": Row(changing("a2.ts", "stereo", "5.1", "-f", "adts"), way="copy", late=TWICE_DELAYED),
    "channels-aac-mono": Row(changing("a1.ts", "mono", "stereo", "-f", "adts"), way="copy", late=TWICE_DELAYED),
    "channels-aac-down": Row(changing("a8.ts", "7.1", "mono", "-f", "adts"), way="copy", late=TWICE_DELAYED),
    "rate-aac": Row(rates, way="copy", late=OVERLAPPED),
    "uhd": Row(
        coded("uhd.mp4", "-vf", "scale=2880:2160:flags=neighbor", *X264, "-t", "2", "-an"), seconds=2, sound=False
    ),
    "tiny": Row(coded("tiny.mp4", "-vf", "scale=134:100", *X264), size=(134, 100)),
    "held": Row(
        held("h.mkv", *X264, "-fps_mode", "passthrough"), way="encode", seconds=HELD + 10, numbers="no", check=stands
    ),
    "held-recorder": Row(
        held("h.webm", "-c:v", "libvpx", *FAST_VPX, "-b:v", "2M", "-fps_mode", "passthrough", "-live", "1"),
        way="encode",
        seconds=HELD + 10,
        numbers="no",
        check=stands,
    ),
    "held-ahead": Row(ahead, way="copy", seconds=AHEAD + SECONDS, numbers="no", check=is_heard_all_along),
    "one-picture": Row(one_picture, way="encode", seconds=90, numbers="no", check=shows_one),
    "sparse-keys": Row(sparse, way="encode", seconds=180, check=at_rate(Fraction(10))),
    "sparse-keys-ts": Row(sparse_stream, way="encode", seconds=180, check=at_rate(Fraction(10))),
}


REFUSED: dict[str, tuple[Make, Reason]] = {
    "sound-undecodable": (spatial("one.mp4", "-map", "0:a"), plan.SOUND_CODEC),
    "sound-ac4": (listed("ac4.ts", b"AC-4"), plan.SOUND_CODEC),
    "utvideo": (lossless("u.avi", "-c:v", "utvideo"), plan.CODEC),
    "ts-private": (coded("private.ts", *BIG, "-c:v", "mjpeg", "-q:v", "3"), plan.CODEC),
    "wmv": (coded("w.wmv", "-c:v", "wmv2", "-c:a", "wmav2"), containers.UNSUPPORTED),
    "realmedia": (coded("r.rm", "-c:v", "rv10", "-an"), containers.UNSUPPORTED),
    "ogg": (coded("o.ogv", "-c:v", "libtheora", "-an"), containers.UNSUPPORTED),
    "mxf": (coded("m.mxf", "-c:v", "mpeg2video", "-an"), containers.UNSUPPORTED),
}
"""What is refused in the plan, and what is told."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("inputs")
    return Sources(
        folder,
        media.numbered_lecture(folder / "numbered.mp4", FPS, SECONDS),
    )


@pytest.fixture
def worker(tmp_path: Path) -> media.Worker:
    folder = tmp_path / "worker"
    folder.mkdir()
    return media.Worker(media.WatchedStore(), folder, RULES)


@pytest.mark.parametrize("name", ROWS)
def test_inputs(sources: Sources, worker: media.Worker, name: str) -> None:
    row = ROWS[name]
    ways: list[str] = []
    made = media.publish(worker, media.upload_source(worker.store, row.make(sources)), ways)
    encoding = made.plan.encoding
    assert set(ways or ["direct"]) == {row.way}
    assert (encoding.rungs[0].width, encoding.rungs[0].height) == row.size
    assert made.plan.duration_seconds == pytest.approx(row.seconds, abs=0.11)
    assert (encoding.audio is not None) == row.sound or name in {
        "tracks",
        "sound-late",
        "sound-late-flv",
        "sound-late-mpg",
        "sound-shorter",
    }
    best = encoding.rungs[0].name
    times = media.track(made.joined(best)).presentation_times
    assert len(times) == encoding.total_frames
    assert len({after - before for before, after in pairwise(times)}) == 1
    kept = [key for key in worker.store.objects if "/intermediate/" in key]
    assert bool(kept) == (row.way != "direct"), "a restored database needs what its chunks were made of"
    if row.numbers != "no":
        numbers, flashing = media.read_frames(made.joined(best), *row.size)
        check_numbers(row, numbers)
        if row.sound:
            check_sound(made, numbers, flashing, row.late)
    row.check(made)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_inputs(sources: Sources, worker: media.Worker, name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(Permanent) as refused:
        worker.run(PLAN, media.upload_source(worker.store, make(sources)))
    assert refused.value.reason is reason


def test_sound_that_begins_too_late_is_told(
    sources: Sources, worker: media.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in front of a program stream says that it is there."""
    monkeypatch.setattr(ffmpeg, "FAR_BYTES", 5_500_000)
    made = media.publish(worker, media.upload_source(worker.store, ROWS["sound-late-mpg"].make(sources)))
    assert made.plan.encoding.audio is None
    assert made.result.lost_sound


@pytest.mark.parametrize(
    "name", ["rotated-fragmented", "mirrored-left-right-fragmented", "mirrored-diagonal-fragmented"]
)
def test_what_a_copy_lost_of_the_display_matrix_an_encode_of_it_keeps(
    sources: Sources, worker: media.Worker, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its key frames get sparse only behind what the first stretch saw."""
    outcome = worker.run(PLAN, media.upload_source(worker.store, ROWS[name].make(sources)))
    outcome = worker.run(NORMALISE, NormaliseInput.model_validate(outcome.children[0].input))
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 0.5)
    ways: list[str] = []
    made = media.publish(worker, PlanInput.model_validate(outcome.children[0].input), ways)
    assert ways == ["encode"]
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    check_numbers(ROWS[name], numbers)


def check_numbers(row: Row, numbers: list[int]) -> None:
    """Every frame in its order; of another rate some twice or left out, but none out of order."""
    if row.numbers == "all":
        body = numbers[2:-4]  # what a writer does with a sound that starts before the picture shows in the first two
        assert body[0] <= 3
        assert body == list(range(body[0], body[0] + len(body)))
    elif row.numbers == "rising":
        assert numbers == sorted(numbers)
        assert len(set(numbers)) > 0.8 * len(numbers)


def check_sound(
    made: media.Published, numbers: list[int], flashing: list[int], late: Sequence[float] = (0, 0, 0)
) -> None:
    """Beeps come with their flashes, at most a frame apart, at start, middle and end; `late` as of a Row."""
    samples = media.read_sound(made.joined("audio"))[1024:]
    onsets = [frame for frame in flashing if frame - 1 not in flashing]
    rate = made.plan.encoding.fps_num / made.plan.encoding.fps_den
    loud = max(map(abs, samples)) // 3
    for onset, behind in zip(onsets, late, strict=True):
        expected = int((numbers.index(onset) / rate + behind / 1000) * media.RATE)
        around = range(max(0, expected - media.RATE // 4), expected + media.RATE // 4)
        heard = next(at for at in around if abs(samples[at]) > loud)
        assert abs(heard - expected) <= media.RATE / max(rate, FPS)


def test_the_documents_table_and_the_cases_are_the_same() -> None:
    """Every row has its case, which is read in the way that the row says, or refused with the code that it says."""
    table = DOCS.read_text().partition("## What inputs give")[2].partition("\n#")[0]
    rows = re.findall(r"^\| .* \| (\w+) \| .* \| `([\w-]+)` \|$", table, re.MULTILINE)
    assert len(rows) == table.count("\n|") - 2, "a row is of another form"
    elsewhere = {"test_six_hours_are_planned_as_any_other_lecture": "direct"}
    refused = dict.fromkeys(REFUSED, "refused")
    assert {name: way for way, name in rows} == {name: row.way for name, row in ROWS.items()} | refused | elsewhere
    told = re.findall(r"^\| .* \| refused \| `([\w-]+)`.* \| `([\w-]+)` \|$", table, re.MULTILINE)
    assert {name: code for code, name in told} == {name: reason.code for name, (_, reason) in REFUSED.items()}
    others = Path(__file__).with_name("test_video_normalise.py").read_text()
    assert all(f"def {name}(" in others for name in elsewhere)
