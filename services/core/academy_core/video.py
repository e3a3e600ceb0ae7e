"""The video kinds: what API (playlists), ledger and video worker agree on about a lecture.

Flow: video.plan -> children video.chunk x n -> then video.publish. A source that cannot be read in pieces goes
video.plan -> video.normalise -> ... -> video.normalise -> video.plan first. Everything is integer frames on an absolute
grid: `fps = fps_num/fps_den`, `gop` frames a segment, timescale and tick with tick/timescale = 1/fps.
File names are relative to the job's output prefix `{R2_PREFIX}/{lecture}/{publication}/` and carry the start
of their content's hash, so a zombie attempt changes no published byte.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from academy_core.kinds import Payload, Queue, TaskKind, Urgency

REFUSED = "source-"
"""How the code of every reason begins that lies in the file itself: trying that file again cannot help."""

INTERMEDIATE = "intermediate/"
"""Where the normalised source lies, below the output prefix: needed while chunks are made, and a while after."""

BASE_SECONDS = 10
"""Time of frame 0 in every rendition: more than B-frames and the encoder's delay reach back, so no time is negative."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$", max_length=200)]


class PlanInput(Payload):
    """The source that was uploaded."""

    source_key: str
    """Key of the source in the video bucket."""
    source_bytes: int
    source_etag: str
    language: str = "ko"
    """Of the sound: of several tracks the one in this language is published (ISO 639-1)."""
    intermediate: Name | None = None
    """Index of the normalised source, once there is one."""
    claimed_seconds: float | None = None
    """How long the source says it is, where the normalised one no longer does."""
    lost_sound: bool = False
    """See PlanResult; of the source, where the normalised one no longer says it."""


class Rung(Payload):
    """One rendition of the ladder. `name` is its folder, e.g. `1080p`. Rates are bit/s."""

    name: Name
    width: int
    height: int
    crf: int
    max_rate: int
    buffer_size: int


class Audio(Payload):
    """The one audio rendition: AAC-LC 48 kHz stereo."""

    name: Name = "audio"
    stream_index: int
    source_rate: int = 48_000
    """Sample rate of the source: chunks start on a sample that both rates share."""
    source_grid: int = 1
    """Samples a source packet holds where its container rounds times (Matroska: 1 ms); 1 where they are exact."""
    bit_rate: int = 128_000
    sample_rate: Literal[48_000] = 48_000
    gain_db: float = 0.0
    mixed_down: bool = False
    """More channels than two, now or later, are mixed: together they may be louder than full scale."""


class Picture(Payload):
    """What has to be done to the decoded picture before it is scaled."""

    turn: Literal[0, 90, 180, 270] = 0
    """Clockwise, where the container does not say so any more; ffmpeg itself follows those that do."""
    mirrored: bool = False
    """Likewise: left and right are exchanged before it is turned."""
    interlaced: bool = False
    hdr: Literal["", "smpte2084", "arib-std-b67"] = ""
    """Transfer of an HDR source, which is tone-mapped."""
    matrix: str = "bt709"
    """Colour matrix of an SDR source, as ffmpeg's scale filter names it."""
    scaler: Literal["swscale", "zimg"] = "swscale"
    """What scales it. Fixed here: one lecture has one, whatever version of the worker goes on with it."""


class Tiles(Payload):
    """Small pictures of one chunk, side by side in one image."""

    name: Name
    frames: tuple[int, ...]
    """Of the lecture: which each picture shows."""
    lights: tuple[int, ...]
    """How bright each one's brightest parts are, 0 to 255."""
    width: int
    height: int
    """Of each."""


class Quality(Payload):
    """How close a published sample is to the source."""

    first_frame: int
    frames: int
    rung: Name
    ssim: float
    """Structural similarity of the luma, mean over the sample's frames; 1 is equal."""
    least: float
    """Of its worst frame."""


class Encoding(Payload):
    """What every chunk of one publication shares; decided once, in the plan."""

    source_key: str
    source_bytes: int
    source_etag: str
    intermediate: Name | None = None
    """Index of the normalised source; None when chunks read the source itself."""
    container: str
    """ffprobe's format_name."""
    video_stream_index: int
    picture: Picture = Picture()
    start_seconds: str
    """Absolute source time of frame 0, a decimal or a fraction, exact."""
    fps_num: int
    fps_den: int
    timescale: int
    tick: int
    gop: int
    """Frames a segment."""
    total_frames: int
    samples: tuple[int, ...] = ()
    """First frames of the stretches whose quality is measured once they are encoded, each within one segment."""
    title: str = ""
    """What kind of picture the plan takes it for; see the ladder."""
    pad_frames: int
    """How many of the last frames may be clones of the last picture (sound that outlives it; rounding)."""
    rungs: tuple[Rung, ...]
    audio: Audio | None
    threads: int
    seek_margin_seconds: float


class PlanResult(Payload):
    """What the API needs to write playlists; the chunks carry their own copy of `encoding`."""

    encoding: Encoding
    duration_seconds: float
    lost_seconds: float = 0.0
    """What the source claims and does not hold: its end is cut off."""
    lost_sound: bool = False
    """The source lists sound, or what may be sound, of which nothing could be found or decoded."""
    target_duration: int
    chunk_frames: tuple[int, ...]
    """Frames of each chunk, in order; their sum is total_frames."""
    notes: tuple[str, ...] = ()


class PlanAnswer(Payload):
    """What `video.plan` returns: the plan, or nothing yet, because the source is normalised first."""

    plan: PlanResult | None = None


SoundCodec = Literal["copy", "pcm_s16le", "pcm_s24le", "pcm_f32le"]


class NormaliseInput(Payload):
    """One more stretch of a source that cannot be read in pieces. See `academy_video.normalise`."""

    source: PlanInput
    """`source.intermediate` is what is normalised when it is set: a copy whose key frames are too sparse."""
    container: str
    mode: Literal["copy", "encode", "encode-stream"]
    """`encode` seeks by time in what has an index; `encode-stream` takes what a copy of the source gives."""
    video_stream_index: int
    audio_stream_index: int | None
    packed_sound: bool = False
    """The sound's packets carry their own description (ADTS)."""
    sound_codec: SoundCodec = "copy"
    """What the intermediate's sound is made with: what Matroska cannot hold becomes its PCM."""
    far: bool = False
    """What its streams are shows late: one that is declared in front begins far behind."""
    rotation: int = 0
    """The display matrix's, degrees: a copy loses it."""
    mirrored: bool = False
    """Likewise: left and right are exchanged before it is turned."""
    picture: Picture = Picture()
    start_seconds: str = "0"
    """Where the source's time begins."""
    held_seconds: str = "0"
    """How much later than it is shown a picture comes out of the decoder."""
    max_rate: int = 0
    """Cap of an encoded picture, bit/s."""
    index: Name | None = None
    """Index of what has been saved so far; None at the start."""


class NormaliseResult(Payload):
    """How far it is."""

    index: Name
    seconds: float
    """Seconds of the lecture that are saved."""
    ended: bool


class ChunkInput(Payload):
    """Frames [first_frame, end_frame) of the absolute grid."""

    encoding: Encoding
    index: int
    first_frame: int
    end_frame: int


class Segment(Payload):
    """One media segment, one object in R2."""

    name: Name
    number: int
    """Absolute segment number in its rendition, from 0."""
    duration_ticks: int
    bytes: int


class Rendition(Payload):
    """One chunk's part of one rendition (a rung's video, or the audio)."""

    name: Name
    """Rung.name or Audio.name."""
    init: Name
    timescale: int
    codec: str
    """RFC 6381, e.g. avc1.640028 or mp4a.40.2."""
    segments: tuple[Segment, ...]


class ChunkResult(Payload):
    """Everything one chunk made, listed when it completes."""

    index: int
    first_frame: int
    frames: int
    renditions: tuple[Rendition, ...]
    tiles: Tiles | None = None
    qualities: tuple[Quality, ...] = ()
    patched: bool = False
    """Not all of it could be read from the source: pictures that are missing are the last one before them."""

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        for rendition in self.renditions:
            yield rendition.init
            yield from (segment.name for segment in rendition.segments)
        if self.tiles is not None:
            yield self.tiles.name


class PublishInput(Payload):
    """What publish has to check."""

    encoding: Encoding
    duration_seconds: float
    lost_seconds: float = 0.0
    lost_sound: bool = False


class Bandwidth(Payload):
    """Measured over one rendition's segments, bit/s."""

    name: Name
    peak: int
    average: int


class PublishResult(Payload):
    """The finished publication, measured."""

    duration_seconds: float
    segments: int
    """Segments a rendition; every one was found in R2 with its size."""
    bandwidths: tuple[Bandwidth, ...]
    poster: Name | None
    bytes: int
    """Sum of all published media files."""
    thumbnails: Name | None = None
    """WebVTT that says which part of which image stands for which seconds."""
    qualities: tuple[Quality, ...] = ()
    """Of samples spread over the lecture."""
    lost_seconds: float = 0.0
    """What the source claims and does not hold: its end is cut off."""
    lost_sound: bool = False
    """See PlanResult."""
    patched_seconds: float = 0.0
    """Length of the chunks of which not all could be read."""

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        yield from (name for name in (self.poster, self.thumbnails) if name is not None)


PLAN = TaskKind("video.plan", 1, Queue.VIDEO, Urgency.SHORT, PlanInput, PlanAnswer, max_seconds=300)
NORMALISE = TaskKind("video.normalise", 1, Queue.VIDEO, Urgency.BULK, NormaliseInput, NormaliseResult, max_seconds=900)
CHUNK = TaskKind("video.chunk", 1, Queue.VIDEO, Urgency.BULK, ChunkInput, ChunkResult, max_seconds=900)
PUBLISH = TaskKind("video.publish", 1, Queue.VIDEO, Urgency.SHORT, PublishInput, PublishResult, max_seconds=300)
KINDS: tuple[TaskKind, ...] = (PLAN, NORMALISE, CHUNK, PUBLISH)
