"""HLS playlists of one publication, as pure functions of the plan and the chunks that have come so far.

Called by the relay's duty (`publishing`), the only writer of playlists. All files lie side by side under the
publication's prefix: `master.m3u8`, one `<rendition>.m3u8` each, and what the chunks' results name.

A longer prefix of chunks gives a playlist that begins with the shorter one's text, so a player that reloads an EVENT
playlist only ever sees segments added (RFC 8216, 6.2.1).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from academy_core.video import Bandwidth, ChunkResult, PlanResult, PublishResult, Rendition, Rung

SUFFIX = ".m3u8"
MASTER = f"master{SUFFIX}"
CONTENT_TYPE = "application/vnd.apple.mpegurl"
GROWING = "public, max-age=1"
ENDED = "public, max-age=300"
"""Cache-Control while chunks are coming, and afterwards."""
_URI = re.compile(r'URI="([^"]+)"')
ENDLIST = "#EXT-X-ENDLIST\n"
FROM_THE_START = "#EXT-X-START:TIME-OFFSET=0"
"""Players take a playlist without ENDLIST for a live event and would begin near its end. In media playlists alone:
ffmpeg takes a master with this line for one that has an empty rendition, and warns."""
AUDIO_GROUP = "audio"


def file_name(rendition: str) -> str:
    """The media playlist of a rendition, relative to the publication's prefix like the segments in it."""
    return f"{rendition}{SUFFIX}"


def contiguous(chunks: Mapping[int, ChunkResult]) -> list[ChunkResult]:
    """Chunks 0, 1, 2 ... up to the first that is missing: what may be played."""
    prefix: list[ChunkResult] = []
    while (chunk := chunks.get(len(prefix))) is not None:
        prefix.append(chunk)
    return prefix


def playable_seconds(plan: PlanResult, chunks: Sequence[ChunkResult]) -> float:
    """How much of the lecture these first chunks hold, in seconds."""
    frames = sum(chunk.frames for chunk in chunks)
    return float(Fraction(frames * plan.encoding.fps_den, plan.encoding.fps_num))


def rendition_names(plan: PlanResult) -> list[str]:
    """Every rendition of the publication: the rungs in the plan's order, then the audio."""
    audio = plan.encoding.audio
    return [rung.name for rung in plan.encoding.rungs] + ([audio.name] if audio is not None else [])


def media_playlists(plan: PlanResult, chunks: Sequence[ChunkResult], *, ended: bool) -> dict[str, str]:
    """Text of every media playlist by file name. ValueError when a chunk lacks a rendition of the plan."""
    names = rendition_names(plan)
    parts = [_by_name(chunk, names) for chunk in chunks]
    breaks = [index for index in range(1, len(parts)) if _inits(parts[index]) != _inits(parts[index - 1])]
    return {
        file_name(name): "".join(_media_lines(plan, [part[name] for part in parts], frozenset(breaks), ended=ended))
        for name in names
    }


def _by_name(chunk: ChunkResult, names: Sequence[str]) -> dict[str, Rendition]:
    found = {rendition.name: rendition for rendition in chunk.renditions}
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"chunk {chunk.index} lacks {', '.join(missing)}")
    return found


def _inits(part: Mapping[str, Rendition]) -> dict[str, str]:
    return {name: rendition.init for name, rendition in part.items()}


def _media_lines(plan: PlanResult, parts: Sequence[Rendition], breaks: frozenset[int], *, ended: bool) -> Iterator[str]:
    """One rendition. A break in any rendition is one in all: their discontinuity sequences have to match."""
    yield "#EXTM3U\n#EXT-X-VERSION:7\n"
    yield f"#EXT-X-TARGETDURATION:{plan.target_duration}\n"
    yield "#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT-SEGMENTS\n"
    yield f"{FROM_THE_START}\n"
    for index, part in enumerate(parts):
        if index in breaks:
            yield "#EXT-X-DISCONTINUITY\n"
        if index == 0 or index in breaks:
            yield f'#EXT-X-MAP:URI="{part.init}"\n'
        for segment in part.segments:
            yield f"#EXTINF:{segment.duration_ticks / part.timescale:.6f},\n{segment.name}\n"
    if ended:
        yield ENDLIST


def entries(text: str) -> str:
    """A media playlist without its head: what may only grow. The head is the release's that wrote it last."""
    head, mark, rest = text.partition("#EXT-X-MAP")
    return mark + rest if mark else head


def names_in(text: str) -> set[str]:
    """Every file that a playlist of ours names, relative to it."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {*lines, *_URI.findall(text)}


def early_master(plan: PlanResult, chunks: Sequence[ChunkResult]) -> str:
    """The master while chunks are still coming: BANDWIDTH is what the encoder is capped at."""
    audio = plan.encoding.audio
    audio_rate = audio.bit_rate if audio is not None else 0
    return _master(plan, chunks, {rung.name: f"BANDWIDTH={rung.max_rate + audio_rate}" for rung in plan.encoding.rungs})


def measured_master(plan: PlanResult, chunks: Sequence[ChunkResult], published: PublishResult) -> str:
    """The master of a finished publication. ValueError when publish did not measure a rendition of the plan."""
    measured = {bandwidth.name: bandwidth for bandwidth in published.bandwidths}
    if missing := [name for name in rendition_names(plan) if name not in measured]:
        raise ValueError(f"publish did not measure {', '.join(missing)}")
    audio = plan.encoding.audio
    beside = measured[audio.name] if audio is not None else Bandwidth(name=AUDIO_GROUP, peak=0, average=0)
    return _master(
        plan,
        chunks,
        {
            rung.name: (
                f"BANDWIDTH={measured[rung.name].peak + beside.peak},"
                f"AVERAGE-BANDWIDTH={measured[rung.name].average + beside.average}"
            )
            for rung in plan.encoding.rungs
        },
    )


def _master(plan: PlanResult, chunks: Sequence[ChunkResult], rates: Mapping[str, str]) -> str:
    audio = plan.encoding.audio
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if audio is not None:
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{AUDIO_GROUP}",NAME="{audio.name}",DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="2",URI="{file_name(audio.name)}"'
        )
    for rung in plan.encoding.rungs:
        codecs = _codecs(chunks, (rung.name, *((audio.name,) if audio is not None else ())))
        lines += [_variant(plan, rung, rates[rung.name], codecs), file_name(rung.name)]
    return "\n".join(lines) + "\n"


def _variant(plan: PlanResult, rung: Rung, rate: str, codecs: Iterable[str]) -> str:
    frame_rate = plan.encoding.fps_num / plan.encoding.fps_den
    group = f',AUDIO="{AUDIO_GROUP}"' if plan.encoding.audio is not None else ""
    return (
        f'#EXT-X-STREAM-INF:{rate},CODECS="{",".join(codecs)}",RESOLUTION={rung.width}x{rung.height},'
        f"FRAME-RATE={frame_rate:.3f}{group}"
    )


def _codecs(chunks: Sequence[ChunkResult], names: Sequence[str]) -> list[str]:
    """Every codec string of these renditions, video first, each once."""
    found = {
        rendition.codec: None
        for name in names
        for chunk in chunks
        for rendition in chunk.renditions
        if rendition.name == name
    }
    return list(found)
