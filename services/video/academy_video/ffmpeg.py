"""ffmpeg's command lines, pure: what a chunk and a poster are made with.

ffmpeg-python builds the graph of a chunk (one decode, split to the rungs, sound beside it). Cuts are frame and sample
numbers on the absolute grid, never seconds: `-copyts` keeps the source's own times, `-noaccurate_seek` only decides
where reading starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from math import gcd
from typing import Any

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
    "rw_timeout": 60_000_000,
    "max_pixels": ladder.MAX_PIXELS,
}
_FRAGMENTS = "+frag_keyframe+empty_moov+default_base_moof+skip_trailer+frag_discont"


def source_options(url: str) -> list[str]:
    """Input options for ffmpeg and ffprobe. ValueError unless the source is on loopback (`reader.serving`)."""
    return [word for name, value in _source_options(url).items() for word in (f"-{name}", str(value))]


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


def seek_seconds(chunk: ChunkInput, margin: float | None) -> Fraction | None:
    """Absolute source time to read from; None is the source's start."""
    if margin is None or chunk.first_frame == 0:
        return None
    start = Fraction(chunk.encoding.start_seconds)
    target = start + chunk.first_frame / rate(chunk.encoding) - Fraction(margin)
    return target if target > max(start, Fraction(0)) else None


def chunk_command(  # noqa: PLR0913 - each is one fact of the run
    binary: str, chunk: ChunkInput, url: str, *, outputs: Mapping[str, int], progress: int, margin: float | None
) -> list[str]:
    """The command line of one chunk. `outputs`: rendition name -> file descriptor of the pipe it is written to.

    `margin` is how many seconds before the chunk reading starts; None reads the source from its start.
    """
    encoding = chunk.encoding
    options: dict[str, Any] = {**_source_options(url), "threads": encoding.threads, "copyts": None}
    seek = seek_seconds(chunk, margin)
    if seek is not None:
        options |= {"noaccurate_seek": None, "seek_timestamp": 1, "ss": seconds(seek)}
    source = graph.input(url, **options)
    rungs = _picture(source[str(encoding.video_stream_index)], chunk).filter_multi_output("split", len(encoding.rungs))
    made = [
        _rung(rungs[number], rung, encoding, f"pipe:{outputs[rung.name]}") for number, rung in enumerate(encoding.rungs)
    ]
    if encoding.audio is not None:
        made.append(_sound(source, encoding.audio, chunk, f"pipe:{outputs[encoding.audio.name]}"))
    return [
        *(binary, "-hide_banner", "-nostdin", "-v", "warning", "-nostats", "-stats_period", "1"),
        *("-progress", f"pipe:{progress}", "-filter_complex_threads", "1"),
        *graph.merge_outputs(*made).get_args(),
    ]


def _picture(stream: Any, chunk: ChunkInput) -> Any:
    """Frames [first, end) of the grid, numbered from 0, at most as many of them cloned as the plan foresaw."""
    encoding = chunk.encoding
    if encoding.picture.interlaced:
        stream = _deinterlaced(stream)
    clones = max(0, chunk.end_frame - (encoding.total_frames - encoding.pad_frames))
    fps: dict[str, Any] = {"fps": f"{encoding.fps_num}/{encoding.fps_den}"}
    if chunk.first_frame == 0:
        fps["start_time"] = 0  # a picture that comes late is cloned back to frame 0
    stream = stream.filter("setpts", f"round(PTS-({encoding.start_seconds})/TB)").filter("fps", **fps)
    if clones:
        stream = stream.filter("tpad", stop=clones, stop_mode="clone")
    stream = stream.filter("trim", start_pts=chunk.first_frame, end_pts=chunk.end_frame)
    return _plain(stream.filter("setpts", f"PTS-{chunk.first_frame}"), encoding.picture, encoding.rungs[0])


def _deinterlaced(stream: Any) -> Any:
    """One frame from each two fields; frames that say they are progressive are left alone."""
    return stream.filter("bwdif", mode="send_frame", deint="interlaced")


_TURNS = {90: ("clock",), 180: ("clock", "clock"), 270: ("cclock",)}
_NOMINAL_PEAK = 100
"""Brightness of SDR white in an HDR picture, cd/m²."""


def _plain(stream: Any, picture: Picture, size: Rung) -> Any:
    """Upright, and SDR when the source is HDR. `size` is the largest that is wanted of it."""
    for turn in _TURNS.get(picture.turn, ()):
        stream = stream.filter("transpose", turn)
    if not picture.hdr:
        return stream
    linear = {"tin": picture.hdr, "min": "bt2020nc", "pin": "bt2020", "rin": "tv", "t": "linear", "npl": _NOMINAL_PEAK}
    return (
        stream.filter("zscale", w=size.width, h=size.height, filter="bicubic", **linear)
        .filter("format", "gbrpf32le")
        .filter("zscale", p="bt709")
        .filter("tonemap", "mobius", desat=0)
        .filter("zscale", t="bt709", m="bt709", r="tv", p="bt709")
        .filter("format", "yuv420p")
    )


_SDR = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709", "color_range": "tv"}


def _scaled(stream: Any, rung: Rung, picture: Picture) -> Any:
    matrix = "bt709" if picture.hdr else picture.matrix
    colours = {"in_color_matrix": matrix, "out_color_matrix": "bt709", "out_range": "tv"}
    return stream.filter("scale", rung.width, rung.height, flags="bicubic", **colours).filter("setsar", 1)


_MP4 = {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact", "format": "mp4"}


def _rung(stream: Any, rung: Rung, encoding: Encoding, pipe: str) -> Any:
    stream = _scaled(stream, rung, encoding.picture)
    options = {
        "c:v": "libx264",
        "preset": "veryfast",
        "profile:v": "high",
        "crf": rung.crf,
        "maxrate": rung.max_rate,
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
    return graph.output(stream.filter("format", "yuv420p"), pipe, **_MP4, **options)


def _sound(source: Any, audio: Audio, chunk: ChunkInput, pipe: str) -> Any:
    """The chunk's sound with its pre-roll; silence where the source has none, resampled on a grid all chunks share."""
    encoding, cut = chunk.encoding, audio_cut(chunk)
    common = gcd(audio.source_rate, audio.sample_rate)
    into, out = audio.source_rate // common, audio.sample_rate // common
    lead = max(0, cut.first_sample - _RESAMPLER_LEAD) // out
    # Matroska rounds times to 1 ms: each packet goes back on the stream's own packet grid.
    time = f"round((PTS-({encoding.start_seconds})/TB)/{audio.source_grid})*{audio.source_grid}"
    stream = source[str(audio.stream_index)].filter("asetpts", time)
    if lead:
        stream = stream.filter("atrim", start_pts=lead * into)
    # first_pts counts in samples of the input, whatever its name says of the output.
    resample = {"async": 1, "min_hard_comp": 0.1, "first_pts": lead * into}
    stream = (
        stream.filter("aresample", audio.sample_rate, **resample)
        .filter("aformat", channel_layouts="stereo", sample_fmts="fltp")
        .filter("apad")
        .filter("atrim", start_pts=cut.first_sample, end_pts=cut.end_sample)
        .filter("asetpts", f"PTS-{cut.first_sample}")
    )
    if audio.gain_db:
        stream = stream.filter("volume", f"{audio.gain_db}dB")
    options = {
        "c:a": "aac",
        "b:a": audio.bit_rate,
        "flags:a": "+bitexact",
        "frag_duration": 1_000_000,
        "movflags": "+empty_moov+default_base_moof+skip_trailer",
    }
    return graph.output(stream, pipe, **_MP4, **options)


ENCODE_BASE_SECONDS = 10
"""Added to all times of an intermediate while it is encoded, so that none is negative."""
_HALF_MS = Fraction(1, 2000)
_STREAM = {"map_metadata": -1, "map_chapters": -1, "fflags": "+bitexact"}
_MATROSKA = ("-f", "matroska", "-write_crc32", "0", "pipe:1")


def _mapped(task: NormaliseInput) -> list[str]:
    streams = [task.video_stream_index, *([] if task.audio_stream_index is None else [task.audio_stream_index])]
    words = [word for index in streams for word in ("-map", f"0:{index}")]
    return [*words, *(word for name, value in _STREAM.items() for word in (f"-{name}", str(value)))]


def _streamed(binary: str, url: str) -> list[str]:
    """Read once from front to end, times that are missing or jump put right by ffmpeg."""
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error")
    return [*quiet, *source_options(url), "-seekable", "0", "-fflags", "+genpts", "-i", url]


def copy_command(binary: str, task: NormaliseInput, url: str) -> list[str]:
    """Copies the packets of a source's picture and sound to Matroska on standard output, times from 0."""
    return [*_streamed(binary, url), *_mapped(task), "-c", "copy", *_MATROSKA]


def unpacking_commands(binary: str, task: NormaliseInput, url: str) -> list[list[str]]:
    """The same as a pipeline of two, for AAC that carries its description in every packet (ADTS).

    Matroska wants it in the header, which is written before the first packet; fragmented MP4 waits for it.
    """
    flags = "+frag_keyframe+empty_moov+delay_moov+default_base_moof"
    fragments = ("-bsf:a", "aac_adtstoasc", "-f", "mp4", "-movflags", flags, "pipe:1")
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error")
    taken = ("-protocol_whitelist", "pipe", "-format_whitelist", "mov", "-f", "mp4", "-i", "pipe:0")
    return [
        [*_streamed(binary, url), *_mapped(task), "-c", "copy", *fragments],
        [*quiet, *taken, "-map", "0", "-fflags", "+bitexact", "-c", "copy", *_MATROSKA],
    ]


def encode_command(binary: str, task: NormaliseInput, url: str, after: int | None) -> list[str]:
    """Encodes a picture whose key frames are too sparse again, the sound copied, in the source's own times.

    `after`: the last frame that is saved already, ms of the lecture.
    """
    options: dict[str, Any] = {**_source_options(url), "threads": ladder.THREADS, "copyts": None}
    saved = None if after is None else Fraction(task.start_seconds) + Fraction(after, 1000)
    if saved is not None:
        options |= {"noaccurate_seek": None, "seek_timestamp": 1, "ss": seconds(max(Fraction(0), saved))}
    source = graph.input(url, **options)
    picture = source[str(task.video_stream_index)]
    if task.picture.interlaced:
        picture = _deinterlaced(picture)
    if saved is not None:
        picture = picture.filter("select", f"gt(t,{seconds(saved + _HALF_MS)})")
    picture = picture.filter("format", "yuv420p10le" if task.picture.hdr else "yuv420p")
    words = {
        "c:v": "libx264",
        "preset": "veryfast",
        "crf": ladder.INTERMEDIATE_CRF,
        "maxrate": task.max_rate,
        "bufsize": 2 * task.max_rate,
        "g": 9999,
        "force_key_frames": f"expr:gte(t,n_forced*{ladder.INTERMEDIATE_KEY_SECONDS})",
        "threads": ladder.THREADS,
        "fps_mode": "passthrough",
        "c:a": "copy",
        "output_ts_offset": ENCODE_BASE_SECONDS,
        "write_crc32": 0,
        "flags:v": "+bitexact",
        "format": "matroska",
        **_STREAM,
    }
    streams = [picture] if task.audio_stream_index is None else [picture, source[str(task.audio_stream_index)]]
    quiet = (binary, "-hide_banner", "-nostdin", "-v", "error", "-filter_complex_threads", "1")
    return [*quiet, *graph.output(*streams, "pipe:1", **words).get_args()]


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
