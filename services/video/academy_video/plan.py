"""From a probed source to the plan: a pure function of what ffprobe said. The first half of `video.plan`.

Everything a chunk must not decide for itself is decided here, once: the frame grid, the ladder, where chunks and
segments lie. Seconds end here; behind the plan there are only integer frames on the absolute grid.
"""

import dataclasses
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from academy_core import containers
from academy_core.errors import Permanent, Reason
from academy_core.video import (
    Audio,
    ChunkInput,
    Encoding,
    NormaliseInput,
    Picture,
    PlanInput,
    PlanResult,
    Rung,
    SoundCodec,
)
from academy_video import keyframes, ladder
from academy_video.probe import WITHOUT_DECODER, AudioStream, Source, Tail, VideoStream

_CONTAINERS = frozenset({"mov", "matroska", "avi", "mpegts", "mpeg", "flv"})
_CODECS = frozenset(
    {"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video", "mjpeg", "prores", "flv1"}
    | {"dvvideo", "h263", "msmpeg4v3", "dnxhd", "qtrle", "png"}
)
_LANGUAGES = {"ko": {"ko", "kor"}, "en": {"en", "eng"}, "ja": {"ja", "jpn"}, "zh": {"zh", "zho", "chi"}}
"""ISO 639-1 -> what containers call it."""
_MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}
"""ffprobe's name of a colour matrix -> the scale filter's."""
_HD_SIDE = 720
"""Pictures with a shorter short side that do not say otherwise have the colours of standard definition."""
_ODD_ASPECT = 4
"""A pixel this much wider than high, or higher than wide, is an error in the file: taken as square."""
_LONGEST_SHAPE = 6
"""Long side over short side."""
_STEREO = 2
_CHANGING = frozenset({"ac3", "eac3", "dts"})
"""Sound of broadcasts, which may begin as stereo and go on with more channels; so may AAC that describes itself."""
_GRID_OF = {"aac": 1024}
_COPIED = frozenset(
    {"aac", "ac3", "alac", "dts", "eac3", "flac", "mlp", "mp2", "mp3", "opus", "speex", "truehd", "tta", "vorbis"}
    | {"wavpack", "wmav1", "wmav2", "adpcm_ima_wav", "adpcm_ms", "pcm_alaw", "pcm_mulaw", "pcm_u8"}
    | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f64le"}
)
"""Sound that Matroska takes as it is and gives back as the same."""
_DECODED: Mapping[str, SoundCodec] = {"s32": "pcm_s24le", "flt": "pcm_f32le", "dbl": "pcm_f32le"}
"""Samples of a decoder, where they are more than 16 bit -> what holds them."""
_CLAIMING = frozenset({"matroska", "flv"})
"""Containers that are copied whose header says how long they are; of the others ffprobe estimates it."""
_ROUNDING = Fraction(1, 100)
_STREAMS_APART = Fraction(1, 2)
_TRUNCATED = 2
_MIN_TIMESCALE = 10_000
_MIN_SIDE = 16
_LEAST_RATE = 300_000
"""Cap of an intermediate's picture, bit/s, where the source claims next to nothing."""
_LEAST_SEGMENT = Fraction(1, 4)
_AUDIO_PACKET = Fraction(1024, 48_000)
"""A sound segment is at most this much longer than its picture's."""

_FORMATS_KO = "MP4, MOV 또는 MKV 파일(H.264 또는 HEVC)로 저장해서 다시 올려 주세요."
_FORMATS_EN = "Please save it as an MP4, MOV or MKV file (H.264 or HEVC) and upload it again."

UNREADABLE = Reason(
    "source-unreadable",
    f"동영상 파일이 아니거나 파일이 손상되었습니다. {_FORMATS_KO}",
    f"This is not a video file, or it is damaged. {_FORMATS_EN}",
)
DAMAGED = Reason(
    "source-damaged",
    "동영상 파일이 손상되어 재생할 수 있는 부분이 없습니다. 원본 파일을 다시 올려 주세요.",
    "The video file is damaged and nothing of it can be played. Please upload the original file again.",
)
NO_VIDEO = Reason(
    "source-without-video",
    "파일에 영상이 없습니다(소리만 있습니다). 화면이 들어 있는 강의 파일을 올려 주세요.",
    "The file has no picture, only sound. Please upload a recording that has a picture.",
)
TOO_LONG = Reason(
    "source-too-long",
    "강의가 12시간보다 깁니다. 나누어서 올려 주세요.",
    "The lecture is longer than 12 hours. Please split it and upload the parts.",
)
CODEC = Reason(
    "source-codec-unsupported",
    f"지원하지 않는 영상 코덱입니다. {_FORMATS_KO}",
    f"This video codec is not supported. {_FORMATS_EN}",
)
SOUND_CODEC = Reason(
    CODEC.code,
    "지원하지 않는 소리(오디오) 코덱입니다. 소리를 AAC로 저장해서 다시 올려 주세요.",
    "The codec of the sound is not supported. Please save the video with its sound as AAC and upload it again.",
)
TOO_LARGE = Reason(
    "source-too-large",
    "영상의 화면 크기가 너무 큽니다. 4K(3840x2160) 이하로 저장해서 다시 올려 주세요.",
    "The picture is too large. Please save it as 4K (3840x2160) or smaller and upload it again.",
)
ODD_SHAPE = Reason(
    "source-odd-shape",
    "영상의 가로세로 비율이 올바르지 않습니다. 원본 파일을 확인해서 다시 올려 주세요.",
    "The picture is far too long or too narrow. Please check the original file and upload it again.",
)
TOO_SMALL = Reason(
    "source-too-small",
    "영상의 화면 크기가 너무 작습니다. 원본 파일을 올려 주세요.",
    "The picture is too small. Please upload the original file.",
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings and the ladder say."""

    segment_seconds: int
    min_segments: int
    steps: Sequence[ladder.Step] = ladder.LADDER
    chunk_seconds: Sequence[int] = ladder.CHUNK_SECONDS
    loudness: float | None = None
    """What the sound is brought to, LUFS; None leaves it as it is."""


def main_streams(source: Source, language: str) -> tuple[VideoStream, AudioStream | None]:
    """The picture and the sound that are published: of several, in the lecture's language, then by the default flag.

    Of several programs the sound is that of the picture's.

    Permanent with a reason when the source is refused.
    """
    if not source.videos:
        raise Permanent("no video stream", reason=CODEC if source.obscure else NO_VIDEO)
    if not _CONTAINERS & set(source.container.split(",")):
        raise Permanent(f"container {source.container}", reason=containers.UNSUPPORTED)
    video = max(source.videos, key=lambda stream: (stream.default, -stream.index))
    _refuse_picture(video)
    names = _LANGUAGES.get(language, {language})
    others = _other_programs(source.programs, video.index)
    own = [stream for stream in source.audios if stream.index not in others]
    decoded = [stream for stream in own if stream.codec not in WITHOUT_DECODER]
    usable = [stream for stream in decoded if stream.rate > 0 and stream.channels > 0]
    if not usable and len(decoded) < len(own):
        raise Permanent("sound without a decoder", reason=SOUND_CODEC)
    audio = max(
        usable,
        key=lambda stream: (stream.language.partition("-")[0] in names, stream.default, -stream.index),
        default=None,
    )
    return video, audio


def _other_programs(programs: Sequence[frozenset[int]], picture: int) -> frozenset[int]:
    """Indices of the streams that belong to other programs than the picture's alone; none where it has no program."""
    with_it = [program for program in programs if picture in program]
    if not with_it:
        return frozenset()
    return frozenset().union(*programs) - frozenset().union(*with_it)


def _lost_sound(task: PlanInput, source: Source, video: VideoStream, audio: AudioStream | None) -> bool:
    """Whether nothing can be heard of a source that lists sound, or what may be sound."""
    listed = source.obscure | {stream.index for stream in source.audios}
    known = task.lost_sound or source.sounds_later
    return audio is None and (known or bool(listed - _other_programs(source.programs, video.index)))


def _refuse_picture(video: VideoStream) -> None:
    if video.codec not in _CODECS:
        raise Permanent(f"codec {video.codec}", reason=CODEC)
    size = f"{video.width}x{video.height}"
    if video.width * video.height > ladder.MAX_PIXELS:
        raise Permanent(size, reason=TOO_LARGE)
    if min(video.width, video.height) < _MIN_SIDE:
        raise Permanent(size, reason=TOO_SMALL)
    width, height = displayed(video)
    if max(width, height) > _LONGEST_SHAPE * min(width, height):
        raise Permanent(size, reason=ODD_SHAPE)


def frame_rate(video: VideoStream) -> Fraction:
    """Frames a second of the output: the source's where it is constant and usual, else the next of 30, 50 and 60."""
    nominal, average = video.nominal_rate, video.average_rate
    if video.interlaced:
        nominal = average  # ffprobe may count fields there
    for rate in ladder.FRAME_RATES:
        if nominal and average and all(abs(claimed / rate - 1) < Fraction(1, 2000) for claimed in (nominal, average)):
            return rate
    for usual in (30, 50):
        if average is None or average <= usual * Fraction(101, 100):
            return Fraction(usual)
    return Fraction(60)


def rungs(video: VideoStream, steps: Sequence[ladder.Step]) -> tuple[Rung, ...]:
    """The ladder for this picture: by the short side as displayed, never above the source, sides even."""
    width, height = displayed(video)
    short = min(width, height)
    chosen = [step for step in steps if step.short_side <= short]
    if not chosen:
        last = steps[-1]
        chosen = [ladder.Step(2 * int(short / 2), last.crf, last.max_rate, last.buffer_size)]
    return tuple(
        Rung(
            name=f"{step.short_side}p",
            width=_even(width * step.short_side / short),
            height=_even(height * step.short_side / short),
            crf=step.crf,
            max_rate=step.max_rate,
            buffer_size=step.buffer_size,
        )
        for step in chosen
    )


def displayed(video: VideoStream) -> tuple[Fraction, Fraction]:
    """Width and height as a player shows them, in square pixels: no side is stretched beyond the other's samples."""
    aspect = video.sample_aspect if 1 / Fraction(_ODD_ASPECT) <= video.sample_aspect <= _ODD_ASPECT else Fraction(1)
    width, height = video.width * aspect, Fraction(video.height)
    return (height, width) if video.rotation % 180 == 90 else (width, height)  # noqa: PLR2004 - a quarter turn


def _even(side: Fraction) -> int:
    return max(2, 2 * round(side / 2))


def picture(video: VideoStream, turn: int = 0, *, mirrored: bool = False) -> Picture:
    """What has to be done to this picture before it is scaled: `mirrored` and then `turn` degrees clockwise by us."""
    usual = "bt709" if min(video.width, video.height) >= _HD_SIDE else "bt601"
    hdr = next((each for each in _HDR if each == video.transfer), "")
    return Picture(
        turn=_TURNS[turn % 360],
        mirrored=mirrored,
        interlaced=video.interlaced,
        hdr=hdr,
        matrix=_MATRICES.get(video.matrix, usual),
        scaler=_scaler(video),
    )


def _scaler(video: VideoStream) -> Literal["swscale", "zimg"]:
    """Zimg takes a third of the time, but no odd side where colours are halved, and no RGB with YUV's matrix."""
    odd = video.width % 2 or video.height % 2
    return "swscale" if odd or video.matrix == "gbr" else "zimg"


_HDR: tuple[Literal["smpte2084", "arib-std-b67"], ...] = ("smpte2084", "arib-std-b67")
_TURNS: Mapping[int, Literal[0, 90, 180, 270]] = {0: 0, 90: 90, 180: 180, 270: 270}


Way = Literal["direct", "copy", "encode"]


def way(source: Source, video: VideoStream, keys: Sequence[Fraction] | None, *, apart: bool = False) -> Way:
    """How chunks come to read the source: as it is, or after it is copied or encoded.

    `keys` and `apart` (its sound lies apart from its picture): see `keyframes`.
    """
    if apart:
        return "copy"
    if source.claimed_end is None or keys is None:
        # AVI keeps no presentation times: with B-frames only a decoder can tell them.
        return "encode" if source.container == "avi" and video.reordered else "copy"
    end = source.claimed_end - (video.start or 0)
    sparse = keyframes.longest_gap(keys, end) > ladder.MAX_KEY_GAP_SECONDS
    return "encode" if sparse else "direct"


def way_on(found: Way, *, encoded: bool) -> Way:
    """How to go on with what was normalised already (`encoded`, or else copied) and was `found` to need this.

    Damage may leave even a copy without what chunks need; another copy would be the same again, without end. An encode
    whose key frames are sparse still has all that there can be: its picture stands for so long (a slide that a screen
    recorder says nothing of until it changes). Raises Permanent when an encode has no index or no end.
    """
    if encoded and found == "copy":
        raise Permanent("encoding gave nothing that can be read in pieces", reason=UNREADABLE)
    return "direct" if encoded else found if found == "direct" else "encode"


def timing(rate: Fraction) -> tuple[int, int]:
    """(timescale, tick) with tick/timescale = 1/rate, exact, and fine enough for every player."""
    scale, tick = rate.numerator, rate.denominator
    while scale < _MIN_TIMESCALE:
        scale, tick = scale * 2, tick * 2
    return scale, tick


def segment_length(total: int, rate: Fraction, rules: Rules) -> int:
    """Frames of a segment: shorter ones where the lecture would else have too few."""
    return min(round(rules.segment_seconds * rate), max(round(rate * _LEAST_SEGMENT), total // rules.min_segments))


def target_duration(gop: int, rate: Fraction) -> int:
    """Whole seconds that no segment is longer than, rounded, of picture or sound: EXT-X-TARGETDURATION."""
    return max(1, math.floor(gop / rate + _AUDIO_PACKET + Fraction(1, 2)))


def samples(total: int, gop: int, rate: Fraction, keys: Sequence[Fraction] = ()) -> tuple[int, ...]:
    """First frames of the stretches whose quality is measured: one in each fifth (from 15 s on), within one segment.

    Each where the least is decoded before it: of the segment from its start, of the source from one of its `keys`.
    """
    length = round(ladder.QUALITY_SAMPLE_SECONDS * rate)
    key_frames = [math.ceil((float(key) + ladder.SEEK_MARGIN_SECONDS) * rate) for key in keys]
    starts: list[int] = []
    for number in range(ladder.QUALITY_SAMPLES):
        begin, end = (total * part // ladder.QUALITY_SAMPLES for part in (number, number + 1))
        middle = (begin + end) // 2
        segment = middle // gop * gop
        # Where nothing better is found: the middle, or the last place in its segment that is long enough.
        usual = min(middle, max(segment, min(segment + gop, total) - length))
        near = key_frames[bisect_left(key_frames, begin) : bisect_left(key_frames, end)]
        found = [*range(-(-begin // gop) * gop, end, gop), *near]
        fitting = [first for first in found if first + length <= min(first // gop * gop + gop, total)]
        starts.append(min([usual, *fitting], key=lambda first: (_before(first, gop, key_frames), abs(first - middle))))
    return tuple(dict.fromkeys(starts))


def _before(first: int, gop: int, key_frames: Sequence[int]) -> int:
    """Frames that are decoded in vain before this one, of the published segment and of the source."""
    at = bisect_right(key_frames, first)
    return first % gop + (first - key_frames[at - 1] if at else first if key_frames else 0)


def title_places(start: Fraction, seconds: Fraction, places: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Where the picture is sampled before anything is decided: spread evenly, each at the nearest of `places`.

    All absolute source seconds; `places` are where reading is cheap.
    """
    if seconds < ladder.TITLE_FROM_SECONDS or not places:
        return ()
    count = ladder.TITLE_SAMPLES
    wanted = (start + seconds * (2 * number + 1) / (2 * count) for number in range(count))
    return tuple(min(places, key=lambda place: abs(place - at)) for at in wanted)


def title(rates: Sequence[float], steps: Sequence[ladder.Step]) -> ladder.Title:
    """What kind of picture takes these rates (bit/s) at the last step's size and quality."""
    if not rates:
        return next(each for each in ladder.TITLES if each.crf == 0)
    share = sum(rates) / len(rates) / steps[-1].max_rate
    return next(each for each in ladder.TITLES if share < each.below)


def suited(chosen: Sequence[Rung], kind: ladder.Title) -> tuple[Rung, ...]:
    """The rungs that this kind of picture needs."""
    kept = chosen if kind.middle else [rung for rung in chosen if rung in {chosen[0], chosen[-1]}]
    return tuple(rung.model_copy(update={"crf": rung.crf + kind.crf}) for rung in kept)


def chunk_frames(
    total: int, gop: int, rate: Fraction, lengths: Sequence[int], *, keys: Sequence[Fraction] = ()
) -> tuple[int, ...]:
    """Frames of each chunk: whole segments, ramping up, at last halving what is left (guided self-scheduling).

    A chunk behind the ramp ends up to two segments earlier or later, the short ones one or none, where a key frame of
    the source (`keys`) lies closer before its end: so much less is read and decoded for the next one in vain.
    A rest of a few frames is no chunk: fewer than the encoder holds back would leave a hole in the decode times.
    """
    ramp = [max(1, round(length * rate / gop)) * gop for length in lengths]
    least = ramp[:2][-1]  # a rest of half of it joins the chunk before
    chunks: list[int] = []
    left = total
    while left > 0:
        if len(chunks) < len(ramp) - 1:
            size = ramp[len(chunks)]
            size = left if left - size < gop // 2 else size
        else:
            size = min(ramp[-1], max(least, left // 2 // gop * gop))
            size = _near_key(total - left, size, gop, rate, keys) if keys and size > least else size
            size = left if (left - size) // gop * gop <= least // 2 else size
        chunks.append(min(size, left))
        left -= chunks[-1]
    return tuple(chunks)


_MOST_SHIFT = 2
_SHIFT = 3
"""A chunk's end moves by at most two segments, and by at most one in three of its own."""


def _near_key(first: int, size: int, gop: int, rate: Fraction, keys: Sequence[Fraction]) -> int:
    """The size, of those close to `size`, that leaves the next chunk the least to read before its first frame."""
    most = min(_MOST_SHIFT, size // gop // _SHIFT)

    def lead(candidate: int) -> tuple[Fraction, int]:
        wanted = (first + candidate) / rate - Fraction(ladder.SEEK_MARGIN_SECONDS)
        at = bisect_right(keys, wanted)
        return (wanted - keys[at - 1] if at else Fraction(0)), abs(candidate - size)

    return min((size + shift * gop for shift in range(-most, most + 1)), key=lead)


def chunks(encoding: Encoding, frames: Sequence[int]) -> list[ChunkInput]:
    """The chunk tasks' inputs, in order."""
    inputs: list[ChunkInput] = []
    first = 0
    for index, count in enumerate(frames):
        inputs.append(ChunkInput(encoding=encoding, index=index, first_frame=first, end_frame=first + count))
        first += count
    return inputs


@dataclass(frozen=True, slots=True)
class _Span:
    """The grid's origin and ends, absolute source seconds."""

    start: Fraction
    last_picture: Fraction
    end: Fraction


def _span(video: VideoStream, audio: AudioStream | None, tails: Mapping[int, Tail]) -> _Span:
    picture = tails.get(video.index)
    if picture is None:
        raise Permanent("no packet of the picture was found at the source's end", reason=UNREADABLE)
    start, end = video.start or Fraction(0), picture.end
    sound = tails.get(audio.index) if audio is not None else None
    if audio is not None and audio.start is not None and audio.start < start - _STREAMS_APART:
        start = audio.start
    if sound is not None and sound.end > end + _STREAMS_APART:
        end = sound.end
    return _Span(start, picture.last, end)


def normalise(task: PlanInput, source: Source, way_: Way) -> NormaliseInput:
    """The first task of normalising this source."""
    video, audio = main_streams(source, task.language)
    starts = [stream.start for stream in (video, audio) if stream is not None and stream.start is not None]
    first = min(starts, default=Fraction(0))
    seconds = max(Fraction(1), (source.claimed_end or first) - first)
    sound = 0 if audio is None else audio.bit_rate or 0
    rate = video.bit_rate or int(8 * task.source_bytes / seconds) - sound
    claimed = task.claimed_seconds
    says = way_ == "encode" or _CLAIMING & set(source.container.split(","))
    if claimed is None and source.claimed_end is not None and says:
        claimed = float(source.claimed_end - first)
    return NormaliseInput(
        source=task.model_copy(
            update={"claimed_seconds": claimed, "lost_sound": _lost_sound(task, source, video, audio)}
        ),
        container=source.container,
        mode="encode" if way_ == "encode" else "copy",
        video_stream_index=video.index,
        audio_stream_index=None if audio is None else audio.index,
        packed_sound=audio is not None and audio.packed,
        far=source.far and audio is not None,
        sound_codec="copy" if audio is None else _sound_codec(audio),
        rotation=0 if way_ == "encode" else video.rotation,
        mirrored=way_ != "encode" and video.mirrored,
        picture=picture(video),
        start_seconds=str(first),
        held_seconds=str(_held(source, video)),
        max_rate=max(_LEAST_RATE, rate),
    )


def _held(source: Source, video: VideoStream) -> Fraction:
    """AVI has the time of a picture's decoding alone: out of the decoder it comes so much later than it is shown."""
    rate = video.nominal_rate or video.average_rate
    return Fraction(video.reordered) / rate if source.container == "avi" and rate else Fraction(0)


def _sound_codec(audio: AudioStream) -> SoundCodec:
    """LPCM of 20 and 24 bits is decoded to 32, of which the last 8 are empty."""
    return "copy" if audio.codec in _COPIED else _DECODED.get(audio.samples.removesuffix("p"), "pcm_s16le")


def plan(  # noqa: PLR0913 - each is one finding about the source
    task: PlanInput,
    source: Source,
    tails: Mapping[int, Tail],
    rules: Rules,
    *,
    keys: Sequence[Fraction] = (),
    turn: int = 0,
    mirrored: bool = False,
    gain_db: float = 0.0,
    kind: ladder.Title | None = None,
) -> PlanResult:
    """The plan. Permanent with a reason when the source is refused.

    `tails` says where the streams really end (probe.parse_tails), `keys` where its key frames are, in seconds from the
    first (keyframes), `turn` (degrees clockwise) and `mirrored` what an intermediate does not say any more, `gain_db`
    what the sound is raised by (loudness), `kind` what the picture was found to be (title).
    """
    video, audio = main_streams(source, task.language)
    if turn % 180:
        video = dataclasses.replace(video, rotation=turn)
    kind = kind or title((), rules.steps)
    span = _span(video, audio, tails)
    rate = frame_rate(video)
    total = max(1, math.ceil((span.end - span.start) * rate - _ROUNDING))
    if total > ladder.MAX_SECONDS * rate:
        raise Permanent(f"{float(total / rate):.0f} s", reason=TOO_LONG)
    pictures = max(1, math.floor((span.last_picture - span.start) * rate))
    gop = segment_length(total, rate, rules)
    scale, tick = timing(rate)
    encoding = Encoding(
        source_key=task.source_key,
        source_bytes=task.source_bytes,
        source_etag=task.source_etag,
        intermediate=task.intermediate,
        container=source.container,
        video_stream_index=video.index,
        picture=picture(video, turn, mirrored=mirrored),
        start_seconds=str(span.start),
        fps_num=rate.numerator,
        fps_den=rate.denominator,
        timescale=scale,
        tick=tick,
        gop=gop,
        total_frames=total,
        pad_frames=min(total - 1, max(0, total - pictures) + round(rate / 2)),
        rungs=suited(rungs(video, rules.steps), kind),
        samples=samples(total, gop, rate, keys),
        title=kind.name,
        audio=_audio(audio, source.container, gain_db),
        threads=ladder.THREADS,
        seek_margin_seconds=ladder.SEEK_MARGIN_SECONDS,
    )
    return PlanResult(
        encoding=encoding,
        duration_seconds=float(total / rate),
        target_duration=target_duration(gop, rate),
        chunk_frames=chunk_frames(total, gop, rate, rules.chunk_seconds, keys=keys),
        lost_seconds=_lost(task, source, span),
        lost_sound=_lost_sound(task, source, video, audio),
        notes=_notes(_lost(task, source, span)),
    )


def _audio(stream: AudioStream | None, container: str, gain_db: float) -> Audio | None:
    if stream is None:
        return None
    rounded = "matroska" in container
    return Audio(
        stream_index=stream.index,
        source_rate=stream.rate,
        source_grid=_GRID_OF.get(stream.codec, 1) if rounded else 1,
        gain_db=gain_db,
        mixed_down=stream.channels > _STEREO or stream.packed or stream.codec in _CHANGING,
    )


def _lost(task: PlanInput, source: Source, span: _Span) -> float:
    """Seconds that the source claims and does not hold; 0 where that is a matter of rounding."""
    claimed_end = source.claimed_end if task.claimed_seconds is None else span.start + Fraction(task.claimed_seconds)
    lost = (claimed_end or span.end) - span.end
    return round(float(lost), 3) if lost > _TRUNCATED else 0.0


def _notes(lost: float) -> tuple[str, ...]:
    return (f"source claims {lost:.1f} s more than it holds",) if lost else ()
