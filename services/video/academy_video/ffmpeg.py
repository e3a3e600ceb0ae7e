"""ffmpeg's command lines, pure: what a chunk and a poster are made with.

ffmpeg-python builds the graph of a chunk (one decode, split to the rungs, sound beside it). Cuts are frame and sample
numbers on the absolute grid, never seconds: `-copyts` keeps the source's own times, `-noaccurate_seek` only decides
where reading starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from math import ceil, gcd
from typing import Any, Literal

import ffmpeg as graph

from academy_core.video import Audio, ChunkInput, Encoding, NormaliseInput, Picture, Rung
from academy_video import ladder

AAC_FRAME = 1024
"""Samples of one AAC packet; also the encoder's delay."""
PREROLL_PACKETS = 32
"""Encoded before a chunk's first packet and dropped, so that the encoder's state has settled at the border."""
POSTROLL_PACKETS = 8
"""Encoded behind a chunk's last packet and dropped: the last packet's window and the encoder look ahead."""
_RESAMPLER_LEAD = 4096
"""Samples of the output's rate before the pre-roll, in which a resampler starts up."""

_FORMATS = "mov,matroska,webm,avi,flv,mpegts,mpeg"
"""What ffmpeg may read a source as. Playlists, scripts and pictures are not on it; the plan narrows it further."""

_INPUT = {
    "protocol_whitelist": "http,tcp",
    "format_whitelist": _FORMATS,
    "recv_buffer_size": 32_768,  # what waits in a socket when ffmpeg jumps was fetched in vain
    "max_pixels": ladder.MAX_PIXELS,
}
FAR_BYTES = 64 * 1024 * 1024
"""How far a header is looked for where a stream may begin later."""
_FRAGMENTS = "+frag_keyframe+empty_moov+default_base_moof+skip_trailer+frag_discont"


def source_options(url: str, *, far: bool = False) -> list[str]:
    """Input options for ffmpeg and ffprobe. ValueError unless the source is on loopback (`reader.serving`).

    `far`: what its streams are shows late.
    """
    options = _source_options(url)
    if far:
        options |= {"probesize": FAR_BYTES, "analyzeduration": 1_000_000 * ladder.MAX_SECONDS}
    return [word for name, value in options.items() for word in (f"-{name}", str(value))]


def _source_options(url: str) -> dict[str, Any]:
    if not url.startswith("http://127.0.0.1:"):
        raise ValueError("a source is read from loopback alone")
    return dict(_INPUT)


def seconds(value: Fraction) -> str:
    """A decimal with microseconds, never later than `value`: where to start reading."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return str(exact.quantize(Decimal("0.000001"), rounding=ROUND_FLOOR))


def rate(encoding: Encoding) -> Fraction:
    """Frames a second."""
    return Fraction(encoding.fps_num, encoding.fps_den)


@dataclass(frozen=True, slots=True)
class AudioCut:
    """Which AAC packets are a chunk's. Packet p holds samples [(p-1)*1024, p*1024): packet 0 is the encoder's delay."""

    first_packet: int
    end_packet: int
    first_sample: int
    """Where the encoder's input starts; a multiple of 1,024. Its first packet is number first_sample/1024."""
    end_sample: int
    """Where the encoder's input ends."""


def total_samples(encoding: Encoding) -> int:
    """Samples of the whole track."""
    return int(Fraction(encoding.total_frames * 48_000) / rate(encoding))


def packet_at(encoding: Encoding, frame: int) -> int:
    """The first packet of the sound that belongs to the segment that starts with this frame."""
    if frame == 0:
        return 0
    if frame >= encoding.total_frames:
        return -(-total_samples(encoding) // AAC_FRAME) + 1
    return int(Fraction(frame * 48_000) / rate(encoding)) // AAC_FRAME + 1


def audio_cut(chunk: ChunkInput) -> AudioCut:
    """The chunk's packets and the samples to encode for them."""
    first, end = packet_at(chunk.encoding, chunk.first_frame), packet_at(chunk.encoding, chunk.end_frame)
    return AudioCut(
        first_packet=first,
        end_packet=end,
        first_sample=max(0, first - 1 - PREROLL_PACKETS) * AAC_FRAME,
        end_sample=min(total_samples(chunk.encoding), (end + POSTROLL_PACKETS) * AAC_FRAME),
    )


def seek_seconds(chunk: ChunkInput, margin: float) -> Fraction | None:
    """Absolute source time to read from; None is the source's start."""
    if chunk.first_frame == 0:
        return None
    start = Fraction(chunk.encoding.start_seconds)
    target = start + chunk.first_frame / rate(chunk.encoding) - Fraction(margin)
    return target if target > max(start, Fraction(0)) else None


@dataclass(frozen=True, slots=True)
class Reading:
    """How a chunk is read from its source."""

    margin: float
    """Seconds before the chunk at which reading starts."""
    missing: Literal["", "stand", "black"] = ""
    """What is shown where the source has no picture: nothing, the one before (or behind), or black all along."""


SOUND = "sound"
"""Output of a chunk beside its renditions: the decoded sound, which `sound_command` makes the rendition of."""


def chunk_command(  # noqa: PLR0913 - each is one fact of the run
    binary: str, chunk: ChunkInput, url: str, *, outputs: Mapping[str, int], progress: int, reading: Reading
) -> list[str]:
    """The command line of one chunk. `outputs`: rendition name -> file descriptor of the pipe it is written to."""
    encoding = chunk.encoding
    source = _source(url, chunk, reading.margin)
    if reading.missing == "black":
        picture = _black(chunk)
    else:
        picture = _picture(source[str(encoding.video_stream_index)], chunk, fill=reading.missing == "stand")
    tiled = tile_frames(chunk)
    branches = picture.filter_multi_output("split", len(encoding.rungs) + bool(tiled))
    made = [
        _rung(branches[number], rung, encoding, f"pipe:{outputs[rung.name]}")
        for number, rung in enumerate(encoding.rungs)
    ]
    if tiled:
        made += _tiles(branches[len(encoding.rungs)], chunk, len(tiled), outputs)
    if encoding.audio is not None:
        made.append(_decoded(source, encoding.audio, chunk, f"pipe:{outputs[SOUND]}"))
    return [
        *(binary, "-hide_banner", "-nostdin", "-v", "warning", "-nostats", "-stats_period", "1"),
        *("-progress", f"pipe:{progress}", "-filter_complex_threads", "1"),
        *graph.merge_outputs(*made).get_args(),
    ]


_ONE_GRAPH = {"reinit_filter:v": 0}
"""A picture whose size or format changes goes on through the same filters; anew they would forget what they hold."""


def _source(url: str, chunk: ChunkInput, margin: float) -> Any:
    """The source in its own times, read from `margin` seconds before the chunk."""
    return _opened(url, seek_seconds(chunk, margin), threads=chunk.encoding.threads, **_ONE_GRAPH)


def _opened(url: str, at: Fraction | None, **options: int) -> Any:
    """A source in its own times, from the key frame before `at` (absolute source time); None is its start."""
    seek = {} if at is None else {"noaccurate_seek": None, "seek_timestamp": 1, "ss": seconds(at)}
    return graph.input(url, **_source_options(url), **options, copyts=None, **seek)


def _picture(stream: Any, chunk: ChunkInput, *, fill: bool) -> Any:
    """Frames [first, end) of the grid, numbered from 0.

    At most as many of them are cloned as the plan foresaw; with `fill` all that the source does not hold.
    """
    encoding = chunk.encoding
    stream = _steady(stream, encoding.picture)
    clones = max(0, chunk.end_frame - (encoding.total_frames - encoding.pad_frames))
    if fill:
        clones = chunk.end_frame
    # A last picture that lasts less than half a frame is one too.
    fps: dict[str, Any] = {"fps": f"{encoding.fps_num}/{encoding.fps_den}", "eof_action": "pass"}
    if fill or chunk.first_frame == 0:
        # A picture that comes late is cloned back to the chunk's first frame.
        fps["start_time"] = f"{chunk.first_frame * encoding.fps_den}/{encoding.fps_num}"
    stream = stream.filter("setpts", f"round(PTS-({encoding.start_seconds})/TB)").filter("fps", **fps)
    if clones:
        stream = stream.filter("tpad", stop=clones, stop_mode="clone")
    stream = stream.filter("trim", start_pts=chunk.first_frame, end_pts=chunk.end_frame)
    return _plain(stream.filter("setpts", f"PTS-{chunk.first_frame}"), encoding.picture, encoding.rungs[0])


def _black(chunk: ChunkInput) -> Any:
    """The same frames, without a source."""
    encoding = chunk.encoding
    best, count = encoding.rungs[0], chunk.end_frame - chunk.first_frame
    drawn = f"color=black:s={best.width}x{best.height}:r={encoding.fps_num}/{encoding.fps_den}"
    return graph.input(drawn, format="lavfi").filter("trim", end_frame=count)


def _steady(stream: Any, picture: Picture) -> Any:
    """Whole pictures in the first one's size and format: other filters would read past the end of smaller ones.

    Their pixels keep their shape: a picture that is scaled unevenly has others than square ones.
    """
    stream = stream.filter("setsar", "if(between(sar,1/4,4),sar,1)").filter("scale")
    return _deinterlaced(stream) if picture.interlaced else stream


def _deinterlaced(stream: Any) -> Any:
    """One frame from each two fields; frames that say they are progressive are left alone."""
    return stream.filter("bwdif", mode="send_frame", deint="interlaced")


_TURNS = {90: ("clock",), 180: ("clock", "clock"), 270: ("cclock",)}
_NOMINAL_PEAK = 100
"""Brightness of SDR white in an HDR picture, cd/m²."""


def _plain(stream: Any, picture: Picture, size: Rung) -> Any:
    """Upright, not mirrored, and SDR when the source is HDR. `size` is the largest that is wanted of it."""
    if picture.mirrored:
        stream = stream.filter("hflip")
    for turn in _TURNS.get(picture.turn, ()):
        stream = stream.filter("transpose", turn)
    if not picture.hdr:
        return stream
    # Whatever it says of its colours it is taken for BT.2020's, and some say nothing: all is named here, but the range.
    source = {"tin": picture.hdr, "min": "bt2020nc", "pin": "bt2020", "npl": _NOMINAL_PEAK}
    linear = {"t": "linear", "m": "gbr", "p": "bt709"}
    return (
        stream.filter("zscale", w=size.width, h=size.height, filter="bicubic", **source, **linear)
        .filter("format", "gbrpf32le")
        .filter("tonemap", "mobius", desat=0)
        .filter("zscale", t="bt709", m="bt709", r="tv", p="bt709")
        .filter("format", "yuv420p")
    )


_SDR = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}


_YUV = "|".join(f"yuv{shape}p{depth}" for shape in (420, 422, 444) for depth in ("", "10le"))
"""What zimg is given, whatever the source: others are converted first."""
_ZIMG_MATRICES = {"bt601": "smpte170m", "smpte240m": "smpte2400m", "bt2020": "bt2020nc"}
"""The scale filter's name of a matrix -> zscale's, where they differ; the second is misspelt there."""
_SAME = {"pin": "bt709", "p": "bt709", "tin": "bt709", "t": "bt709"}
"""Primaries and transfer stay as they are, whatever the source calls them."""


_SHAPE = 0.05
"""A picture whose shape differs from the plan's by more is another one: a side of few pixels is rounded to even too."""


def _fitted(stream: Any, encoding: Encoding, width: int, height: int) -> Any:
    """A picture that was scaled to this size, square pixels: one of another shape gets bars instead of being drawn out.

    Not in MP4, whose header has the one size of them all: the copy that `pad` makes of every picture is not free.
    """
    if "mov" in encoding.container:
        return stream.filter("setsar", 1)
    narrow, flat = f"lt(sar,{1 - _SHAPE})", f"gt(sar,{1 + _SHAPE})"
    sides = {"w": f"if({narrow},2*ceil(iw*sar/2),iw)", "h": f"if({flat},2*ceil(ih/sar/2),ih)"}
    inside = {"x": "(ow-iw)/2", "y": "(oh-ih)/2"}
    return (
        stream.filter("scale", **sides, eval="frame")
        .filter("pad", width, height, **inside, eval="frame")
        .filter("setsar", 1)
    )


def _scaled(stream: Any, rung: Rung, encoding: Encoding) -> Any:
    """The picture at a rung's size, 4:2:0, with BT.709's matrix in video range; Catmull-Rom's kernel, a bit sharper."""
    picture = encoding.picture
    matrix = "bt709" if picture.hdr else picture.matrix
    if picture.scaler == "zimg":
        size = {"w": rung.width, "h": rung.height, "filter": "bicubic", "param_a": 0, "param_b": 0.6}
        colours = {"min": _ZIMG_MATRICES.get(matrix, matrix), "m": "bt709", "r": "tv", **_SAME}
        stream = stream.filter("format", _YUV).filter("zscale", **size, **colours)
    else:
        colours = {"in_color_matrix": matrix, "out_color_matrix": "bt709", "out_range": "tv"}
        stream = stream.filter("scale", rung.width, rung.height, flags="bicubic", **colours)
    return _fitted(stream.filter("format", "yuv420p"), encoding, rung.width, rung.height)


_MP4 = {
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
    # What else builds of ffmpeg write into an init each in their own way, and no player needs: two of them make one.
    "write_btrt": 0,
    "movie_timescale": 1000,
    "format": "mp4",
}


def _rung(stream: Any, rung: Rung, encoding: Encoding, pipe: str) -> Any:
    stream = _scaled(stream, rung, encoding)
    options = {
        "c:v": "libx264",
        "preset": "veryfast",
        "profile:v": "high",
        "crf": rung.crf,
        "maxrate": round(ladder.ENCODER_SHARE * rung.max_rate),
        "bufsize": rung.buffer_size,
        "g": encoding.gop,
        "keyint_min": encoding.gop,
        "sc_threshold": 0,
        "flags:v": "+cgop+bitexact",
        "threads": encoding.threads,
        "fps_mode": "passthrough",
        "video_track_timescale": encoding.timescale,
        **_SDR,
        # The first fragment's time is then that of the first frame: 0 only when the chunk's front is whole.
        "avoid_negative_ts": "disabled",
        "movflags": _FRAGMENTS,
    }
    return graph.output(stream, pipe, **_MP4, **options)


TILES, LIGHTS = "tiles", "lights"
"""Outputs of a chunk beside its renditions: the image, and every picture of it in grey."""
LIGHT_SIZE = (32, 18)


def tile_frames(chunk: ChunkInput) -> tuple[int, ...]:
    """Frames of the lecture that the chunk's small pictures show."""
    step = _tile_step(chunk.encoding)
    return tuple(range(-(-chunk.first_frame // step) * step, chunk.end_frame, step))


def _tile_step(encoding: Encoding) -> int:
    """Frames between two small pictures: closer together in a short lecture, but one a second at most."""
    usual, least = (round(seconds_ * rate(encoding)) for seconds_ in (ladder.TILE_SECONDS, 1))
    return max(least, min(usual, encoding.total_frames // ladder.TILES))


def tile_size(encoding: Encoding) -> tuple[int, int]:
    """Width and height of each small picture: the shape of the lecture, both even."""
    best, (most_width, most_height) = encoding.rungs[0], ladder.TILE_SIZE
    scale = min(Fraction(most_width, best.width), Fraction(most_height, best.height))
    return max(2, 2 * round(best.width * scale / 2)), max(2, 2 * round(best.height * scale / 2))


def _tiles(stream: Any, chunk: ChunkInput, count: int, outputs: Mapping[str, int]) -> list[Any]:
    encoding = chunk.encoding
    width, height = tile_size(encoding)
    step = _tile_step(encoding)
    stream = stream.filter("select", f"not(mod(n+{chunk.first_frame},{step}))")
    both = _fitted(stream.filter("scale", width, height), encoding, width, height).filter_multi_output("split", 2)
    one = {"fflags": "+bitexact", "flags:v": "+bitexact", "fps_mode": "passthrough"}
    return [
        graph.output(
            both[0].filter("tile", layout=f"{count}x1").filter("format", "yuvj420p"),
            f"pipe:{outputs[TILES]}",
            **one,
            **{"c:v": "mjpeg", "q:v": 5, "threads": 1, "format": "image2pipe"},
        ),
        graph.output(
            both[1].filter("scale", *LIGHT_SIZE).filter("format", "gray"),
            f"pipe:{outputs[LIGHTS]}",
            **one,
            **{"c:v": "rawvideo", "format": "rawvideo"},
        ),
    ]


def sample_command(binary: str, encoding: Encoding, url: str, at: Fraction) -> list[str]:
    """Encodes a sample of the picture at the last rung, uncapped, to standard output: its size tells what it needs."""
    rung = encoding.rungs[-1]
    options: dict[str, Any] = {**_source_options(url), **_ONE_GRAPH, "threads": encoding.threads, "seek_timestamp": 1}
    if at > 0:
        options["ss"] = seconds(at)
    source = graph.input(url, t=ladder.TITLE_SAMPLE_SECONDS, **options)
    picture = _steady(source[str(encoding.video_stream_index)], encoding.picture)
    # Cut right behind what repeats it: a picture that stands for hours would be scaled for every frame of them.
    frames = ceil(ladder.TITLE_SAMPLE_SECONDS * rate(encoding))
    picture = picture.filter("fps", fps=f"{encoding.fps_num}/{encoding.fps_den}").filter("trim", end_frame=frames)
    picture = _scaled(_plain(picture, encoding.picture, rung), rung, encoding)
    words = {"c:v": "libx264", "preset": "veryfast", "crf": rung.crf, "threads": encoding.threads, "format": "h264"}
    # Nothing is put before a first picture that comes hours late.
    made = graph.output(picture, "pipe:1", fps_mode="passthrough", **words).get_args()
    return [binary, "-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1", *made]


def quality_command(binary: str, sample: ChunkInput, url: str, offset: int) -> list[str]:
    """Compares a sample of the best rung with the source, frame by frame, on standard output.

    The published init and segment come on standard input; the sample starts `offset` frames into that segment.
    """
    encoding, count = sample.encoding, sample.end_frame - sample.first_frame
    rung = encoding.rungs[0]
    source = _source(url, sample, encoding.seek_margin_seconds)
    wanted = _picture(source[str(encoding.video_stream_index)], sample, fill=False)
    wanted = _scaled(wanted, rung, encoding)
    pipe = {"protocol_whitelist": "pipe", "format_whitelist": "mov", "format": "mp4", "threads": encoding.threads}
    published = graph.input("pipe:0", **pipe)
    tick = f"N*{encoding.fps_den}/({encoding.fps_num}*TB)"
    shown = published["0"].filter("trim", start_frame=offset, end_frame=offset + count).filter("setpts", tick)
    compared = graph.filter([shown, wanted], "ssim", stats_file="-", shortest=1)
    made = graph.output(compared, "-", format="null").get_args()
    return [binary, "-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1", *made]


def grey_command(binary: str) -> list[str]:
    """The JPEG on standard input as a small grey picture on standard output."""
    taken = ("-protocol_whitelist", "pipe", "-format_whitelist", "jpeg_pipe", "-f", "jpeg_pipe", "-i", "pipe:0")
    width, height = LIGHT_SIZE
    shown = ("-vf", f"scale={width}:{height},format=gray", "-f", "rawvideo", "pipe:1")
    return [binary, "-hide_banner", "-nostdin", "-v", "error", *taken, *shown]


_PEAK = 0.75
"""Ceiling of the limiter, about -2.5 dB: the encoder adds up to 1.5 dB to what is let through."""
_OVERSAMPLED = 4


def _louder(stream: Any, audio: Audio) -> Any:
    """The lecture's one gain; where it raises or channels are mixed, peaks are limited, between the samples too."""
    if audio.gain_db != 0:
        stream = stream.filter("volume", f"{audio.gain_db}dB")
    if audio.gain_db <= 0 and not audio.mixed_down:
        return stream
    return (
        stream.filter("aresample", _OVERSAMPLED * audio.sample_rate)
        .filter("alimiter", limit=_PEAK, attack=5, release=50, level=0, latency=1)
        .filter("aresample", audio.sample_rate)
        .filter("aformat", channel_layouts="stereo", sample_fmts="fltp")
    )


def loudness_command(binary: str, url: str, stream_index: int, window: tuple[Fraction, Fraction] | None) -> list[str]:
    """Prints the momentary loudness of the sound as it will be mixed; `window` is (start, length), absolute seconds."""
    words = [binary, "-hide_banner", "-nostdin", "-v", "error", *source_options(url), "-threads", "1"]
    if window is not None:
        start, length = window
        words += ["-seek_timestamp", "1", "-ss", seconds(max(Fraction(0), start)), "-t", seconds(length)]
    return [*words, "-i", url, *_measure(stream_index, "pipe\\:1")]


def _measure(stream_index: int, output: str) -> list[str]:
    """An output that is nothing but what the mixed sound measures, printed to `output` (a URL, colons escaped)."""
    mixed = "aresample=48000,aformat=channel_layouts=stereo"
    measured = f"ebur128=metadata=1,ametadata=print:key=lavfi.r128.M:file='{output}':direct=1"
    return ["-map", f"0:{stream_index}", "-af", f"{mixed},{measured}", "-f", "null", "-"]


def _source_samples(chunk: ChunkInput, audio: Audio) -> tuple[int, int]:
    """Samples [first, end) of the source that the chunk's sound is made of.

    Resampling starts where both rates have a sample, on a grid that all chunks share.
    """
    cut, common = audio_cut(chunk), gcd(audio.source_rate, audio.sample_rate)
    into, out = audio.source_rate // common, audio.sample_rate // common
    return max(0, cut.first_sample - _RESAMPLER_LEAD) // out * into, -(-cut.end_sample * into // out)


def _decoded(source: Any, audio: Audio, chunk: ChunkInput, pipe: str) -> Any:
    """The chunk's sound and its pre-roll as stereo samples, each with its time; none where the source has none.

    Filters without memory: ffmpeg makes them anew wherever the channels change, as broadcasts' do. At the end a silent
    sample is added, since a stream without any is not readable.
    """
    encoding = chunk.encoding
    first, end = _source_samples(chunk, audio)
    # Matroska rounds times to 1 ms: each packet goes back on the stream's own packet grid.
    time = f"round((PTS-({encoding.start_seconds})/TB)/{audio.source_grid})*{audio.source_grid}"
    shape = f"aformat=sample_fmts=flt:channel_layouts=stereo:sample_rates={audio.source_rate}"
    options = {
        "af": f"asetpts={time},{shape},atrim=start_pts={first}:end_pts={end},apad=pad_len=1",
        "c:a": "pcm_f32le",
        "avoid_negative_ts": "disabled",
        "write_index": 0,
        "format": "nut",
    }
    return graph.output(source[str(audio.stream_index)], pipe, **options)


def sound_command(binary: str, chunk: ChunkInput, audio: Audio, pipe: int) -> list[str]:
    """Makes the rendition of what `SOUND` holds, on standard input: gaps are silence, the gain, the pre-roll, AAC."""
    cut, (first, _) = audio_cut(chunk), _source_samples(chunk, audio)
    taken = {"protocol_whitelist": "pipe", "format_whitelist": "nut", "format": "nut", "copyts": None}
    # first_pts counts in samples of the input, whatever its name says of the output.
    resample = {"async": 1, "min_hard_comp": 0.1, "first_pts": first}
    stream = (
        graph.input("pipe:0", **taken)
        .filter("aresample", audio.sample_rate, **resample)
        .filter("aformat", channel_layouts="stereo", sample_fmts="fltp")
    )
    stream = (
        _louder(stream, audio)
        .filter("apad")
        .filter("atrim", start_pts=cut.first_sample, end_pts=cut.end_sample)
        .filter("asetpts", f"PTS-{cut.first_sample}")
    )
    options = {
        "c:a": "aac",
        "b:a": audio.bit_rate,
        "flags:a": "+bitexact",
        "frag_duration": 1_000_000,
        "movflags": "+empty_moov+default_base_moof+skip_trailer",
    }
    made = graph.output(stream, f"pipe:{pipe}", **_MP4, **options).get_args()
    return [binary, "-hide_banner", "-nostdin", "-v", "warning", "-filter_complex_threads", "1", *made]


ENCODE_BASE_SECONDS = 10
"""Added to all times of an intermediate while it is encoded, so that none is negative."""
_HALF_MS = Fraction(1, 2000)
_SOUND_MARGIN_SECONDS = 1
_QUEUE_PACKETS = 1_000_000
_STREAM = {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact"}
_MATROSKA = ("-f", "matroska", "-write_crc32", "0", "pipe:1")


def _mapped(task: NormaliseInput) -> list[str]:
    streams = [task.video_stream_index, *([] if task.audio_stream_index is None else [task.audio_stream_index])]
    words = [word for index in streams for word in ("-map", f"0:{index}")]
    return [*words, *(word for name, value in _STREAM.items() for word in (f"-{name}", str(value)))]


def _streamed(binary: str, task: NormaliseInput, url: str) -> list[str]:
    """Read once from front to end, times that are missing or jump put right by ffmpeg."""
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error")
    return [*quiet, *source_options(url, far=task.far), "-seekable", "0", "-fflags", "+genpts", "-i", url]


def _copied(task: NormaliseInput) -> list[str]:
    """AVI has one time of a picture: where none waits for others that of its decoding is that of its showing.

    ffmpeg would take the next one's, which is late where pictures were dropped.
    """
    own_times = task.container == "avi"
    return ["-c:v", "copy", "-c:a", task.sound_codec, *(("-bsf:v", "setts=pts=DTS") if own_times else ())]


def _measured(task: NormaliseInput, pipe: int | None) -> list[str]:
    if task.audio_stream_index is None or pipe is None:
        return []
    return _measure(task.audio_stream_index, f"pipe\\:{pipe}")


def copy_command(binary: str, task: NormaliseInput, url: str, pipe: int | None) -> list[str]:
    """Copies the packets of a source's picture and sound to Matroska on standard output, times from 0.

    How loud the sound is, is printed to `pipe` on the way, if there is one. Sound that is decoded comes out in packets
    of the same samples.
    """
    return [*_streamed(binary, task, url), *_mapped(task), *_copied(task), *_MATROSKA, *_measured(task, pipe)]


def packed_commands(binary: str, task: NormaliseInput, url: str, pipe: int | None) -> list[list[str]]:
    """The same as a pipeline of two, for AAC that carries its description in every packet (ADTS).

    A broadcast changes it in mid-stream, so the packets are kept as they are. All that writes AAC takes the description
    off, or wants it in a header too: between the two a length stands before each packet, and Matroska is told of PCM
    (see ebml.Tracks.with_packed_sound).
    """
    flags = "+frag_keyframe+empty_moov+delay_moov+default_base_moof"
    # Of a second: one that lasted from key frame to key frame would hold all its pictures before its sound.
    lasting = ("-frag_duration", "1000000")
    fragments = ("-bsf:a", "text2movsub", "-f", "mp4", "-movflags", flags, *lasting, "pipe:1")
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error")
    taken = ("-protocol_whitelist", "pipe", "-format_whitelist", "mov", "-f", "mp4", "-c:a", "pcm_u8", "-i", "pipe:0")
    return [
        [*_streamed(binary, task, url), *_mapped(task), *_copied(task), *fragments, *_measured(task, pipe)],
        [*quiet, *taken, "-map", "0", "-fflags", "+bitexact", "-c", "copy", "-bsf:a", "mov2textsub", *_MATROSKA],
    ]


def encode_command(binary: str, task: NormaliseInput, url: str, after: tuple[int, int] | None, pipe: int) -> list[str]:
    """Encodes a picture whose key frames are too sparse again, the sound copied, in the source's own times.

    `after`: the last frame and the last sound that are saved already, ms of the lecture.
    """
    start = Fraction(task.start_seconds)
    saved, heard = (None, None) if after is None else (start + Fraction(each, 1000) for each in after)
    source = _opened(url, None if saved is None else max(Fraction(0), saved), threads=ladder.THREADS)
    return _encoding(binary, task, source, saved, heard, pipe)


def encode_stream_command(binary: str, task: NormaliseInput, after: tuple[int, int] | None, pipe: int) -> list[str]:
    """The same of what a copy gives: Matroska on standard input, its times the lecture's."""
    sound = None if task.audio_stream_index is None else 1
    copied = task.model_copy(update={"video_stream_index": 0, "audio_stream_index": sound, "sound_codec": "copy"})
    saved, heard = (None, None) if after is None else (Fraction(each, 1000) for each in after)
    taken = {"protocol_whitelist": "pipe", "format_whitelist": "matroska", "format": "matroska"}
    source = graph.input("pipe:0", **taken, max_pixels=ladder.MAX_PIXELS, threads=ladder.THREADS, copyts=None)
    return _encoding(binary, copied, source, saved, heard, pipe)


def _encoding(  # noqa: PLR0913, PLR0917 - each is one fact of the run
    binary: str, task: NormaliseInput, source: Any, saved: Fraction | None, heard: Fraction | None, pipe: int
) -> list[str]:
    """`saved`, `heard`: the last frame and the last sound that are not wanted again, in the source's times."""
    picture = source[str(task.video_stream_index)]
    if task.picture.interlaced:
        picture = _deinterlaced(picture)
    if (held := Fraction(task.held_seconds)) > 0:
        # MPEG-1 and MPEG-2 give the first picture its own time.
        picture = picture.filter("setpts", f"max(PTS-round({held}/TB),round({task.start_seconds}/TB))")
    if saved is not None:
        picture = picture.filter("select", f"gt(t,{seconds(saved + _HALF_MS)})")
    # RGB gets the matrix that the plan will take an intermediate of this size for; YUV keeps its own.
    matrix = "bt2020" if task.picture.hdr else task.picture.matrix
    picture = picture.filter("scale", in_color_matrix=matrix, out_color_matrix=matrix)
    picture = picture.filter("format", "yuv420p10le" if task.picture.hdr else "yuv420p")
    words: dict[str, Any] = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": ladder.INTERMEDIATE_CRF,
        "maxrate": task.max_rate,
        "bufsize": max(ladder.INTERMEDIATE_BUFFER_SECONDS * task.max_rate, ladder.INTERMEDIATE_BUFFER_BITS),
        "g": 9999,
        "force_key_frames": f"expr:gte(t,n_forced*{ladder.INTERMEDIATE_KEY_SECONDS})",
        "threads": ladder.THREADS,
        "fps_mode": "passthrough",
        "enc_time_base:v": "1:1000",  # every picture at its time, not at the next of a constant rate
        "c:a": task.sound_codec,
        "output_ts_offset": ENCODE_BASE_SECONDS,
        # Sound waits for the first picture.
        "max_muxing_queue_size": _QUEUE_PACKETS,
        "write_crc32": 0,
        "flags:v": "+bitexact",
        "format": "matroska",
        **_STREAM,
        # Packets of AAC keep the description that each of them carries.
        "fflags": "+bitexact-autobsf",
    }
    streams = [picture] if task.audio_stream_index is None else [picture, source[str(task.audio_stream_index)]]
    if heard is not None and task.audio_stream_index is not None:
        # Hours of it may lie between the key frame before and the first picture that is new.
        words["bsf:a"] = f"noise=drop=lt(pts*tb\\,{seconds(heard - _SOUND_MARGIN_SECONDS)})"
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1")
    return [*quiet, *graph.output(*streams, "pipe:1", **words).get_args(), *_measured(task, pipe)]


def poster_command(binary: str, frame: int, size: tuple[int, int]) -> list[str]:
    """One frame, counted from the start of the init and segment on standard input, as JPEG on standard output."""
    words: Sequence[str] = (
        *("-hide_banner", "-nostdin", "-v", "error", "-protocol_whitelist", "pipe", "-format_whitelist", "mov"),
        *("-f", "mp4", "-i", "pipe:0", "-filter_complex"),
        f"[0:v]trim=start_frame={frame},scale={size[0]}:{size[1]}",
        *("-frames:v", "1", "-q:v", "3", "-fflags", "+bitexact", "-flags:v", "+bitexact"),
        *("-c:v", "mjpeg", "-f", "image2pipe", "pipe:1"),
    )
    return [binary, *words]
