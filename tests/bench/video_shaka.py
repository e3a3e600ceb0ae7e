"""Beside shaka-streamer (PyPI, with its binaries): CPU, wall, and bytes at equal SSIM on one source and ladder.

    python tests/bench/video_shaka.py

shaka-streamer encodes to a bitrate (x264 `slow`), we to a quality (`veryfast`, CRF under a cap). So it runs at two
bitrates, each a share of what ours came to, and its bytes at our SSIM are read off the line through both points
(logarithm of bytes against SSIM in decibels). Ours is one worker's handlers over a store in memory.
"""

import argparse
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import m3u8

sys.path.insert(0, str(Path(__file__).parents[1]))
import media  # the bench runs as a script; tests/ is no package
from machine import describe
from video import draw_lecture

from academy_video import ladder, plan

SHARES = (0.6, 1.1)
"""Of our average bitrate: what shaka-streamer is asked for."""
_SSIM = re.compile(r"All:([0-9.]+)")


def cpu() -> float:
    """CPU seconds of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def ssim(picture: bytes, source: Path, height: int) -> float:
    """Of a rung to the source at that size, all frames."""
    graph = f"[1:v]scale=-2:{height}:flags=bicubic,setpts=PTS-STARTPTS[b];[0:v]setpts=PTS-STARTPTS[a];[a][b]ssim"
    command = [media.FFMPEG, "-hide_banner", "-i", "pipe:0", "-i", str(source), "-lavfi", graph, "-f", "null", "-"]
    done = subprocess.run(command, input=picture, capture_output=True, check=True)
    found = _SSIM.search(done.stderr.decode())
    if found is None:
        raise RuntimeError("ffmpeg printed no SSIM")
    return float(found[1])


def decibels(value: float) -> float:
    """SSIM as ffmpeg prints it in dB: -10 log10(1 - ssim)."""
    return -10 * math.log10(1 - value)


def ours(source: Path) -> dict[str, Any]:
    """The worker's handlers: plan, chunks, publish."""
    folder = Path(tempfile.mkdtemp(prefix="academy-bench-"))
    before, began = cpu(), time.monotonic()
    try:
        store = media.WatchedStore()
        made = media.publish(media.Worker(store, folder, plan.Rules(6, 3)), media.upload_source(store, source))
        spent = {"cpu": round(cpu() - before, 1), "wall": round(time.monotonic() - began, 1)}
    finally:
        shutil.rmtree(folder)
    rungs = {step.short_side: made.joined(f"{step.short_side}p") for step in ladder.LADDER}
    return {**spent, "rungs": {height: measure(data, source, height) for height, data in rungs.items()}}


def measure(picture: bytes, source: Path, height: int) -> dict[str, float]:
    """Bytes and SSIM of one rung."""
    return {"bytes": len(picture), "ssim": round(ssim(picture, source, height), 5)}


def theirs(source: Path, rates: Mapping[int, int]) -> dict[str, Any]:
    """One run of shaka-streamer; `rates`: height -> bit/s."""
    folder = Path(tempfile.mkdtemp(prefix="academy-bench-"))
    try:
        configs = {
            "input": {"inputs": [{"name": str(source), "media_type": each} for each in ("video", "audio")]},
            "pipeline": {
                "streaming_mode": "vod",
                "resolutions": [f"{height}p" for height in rates],
                "audio_codecs": ["aac"],
                "video_codecs": ["h264"],
                "manifest_format": ["hls"],
                "segment_size": 6,
                "quiet": True,
            },
            "bitrate": {
                "audio_channel_layouts": {"stereo": {"max_channels": 2, "bitrates": {"aac": "128k"}}},
                "video_resolutions": {
                    f"{height}p": {
                        "max_width": -(-16 * height // 9),
                        "max_height": height,
                        "bitrates": {"h264": f"{rate // 1000}k"},
                    }
                    for height, rate in rates.items()
                },
            },
        }
        words = []
        for name, config in configs.items():
            path = folder / f"{name}.json"  # JSON is YAML
            path.write_text(json.dumps(config))
            words += [f"--{name}-config", str(path)]
        before, began = cpu(), time.monotonic()
        binary = str(Path(sys.executable).with_name("shaka-streamer"))
        subprocess.run([sys.executable, binary, *words, "--output", str(folder / "out")], check=True, stdout=sys.stderr)
        spent = {"cpu": round(cpu() - before, 1), "wall": round(time.monotonic() - began, 1)}
        rungs = {height: measure(data, source, height) for height, data in pictures(folder / "out").items()}
    finally:
        shutil.rmtree(folder)
    return {**spent, "rungs": rungs}


def pictures(folder: Path) -> dict[int, bytes]:
    """Height -> init and segments of that variant, one after the other."""
    found = {}
    for variant in m3u8.loads((folder / "hls.m3u8").read_text()).playlists:
        playlist = folder / variant.uri
        read = m3u8.loads(playlist.read_text())
        names = [read.segments[0].init_section.uri, *(segment.uri for segment in read.segments)]
        found[variant.stream_info.resolution[1]] = b"".join((playlist.parent / name).read_bytes() for name in names)
    return found


def bytes_at(wanted: float, low: Mapping[str, float], high: Mapping[str, float]) -> float:
    """Bytes of a rung at an SSIM, by the line through two measured points."""
    x0, x1 = decibels(low["ssim"]), decibels(high["ssim"])
    y0, y1 = math.log(low["bytes"]), math.log(high["bytes"])
    return math.exp(y0 + (decibels(wanted) - x0) * (y1 - y0) / (x1 - x0))


def main() -> None:
    """Draw half a minute, encode so much of it three times, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=30)
    wanted, load = str(parser.parse_args().seconds), os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix="academy-bench-"))
    try:
        source = folder / "source.mp4"
        piece = draw_lecture(folder / "piece.mp4")
        media.ffmpeg("-t", wanted, "-i", piece, "-c", "copy", source, level="error")
        mine = ours(source)
        seconds = float(
            subprocess.run(
                [media.FFPROBE, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(source)],
                capture_output=True,
                check=True,
            ).stdout
        )
        average = {height: 8 * rung["bytes"] / seconds for height, rung in mine["rungs"].items()}
        runs = [theirs(source, {height: round(share * rate) for height, rate in average.items()}) for share in SHARES]
    finally:
        shutil.rmtree(folder)
    equal = {
        height: round(rung["bytes"] / bytes_at(rung["ssim"], runs[0]["rungs"][height], runs[1]["rungs"][height]), 3)
        for height, rung in mine["rungs"].items()
    }
    result = {
        "machine": describe(),
        "load_before": round(load, 1),
        "media_seconds": seconds,
        "ours": mine,
        "shaka": dict(zip(map(str, SHARES), runs, strict=True)),
        "cpu_ours_over_shaka": round(mine["cpu"] / min(run["cpu"] for run in runs), 3),
        "wall_ours_over_shaka": round(mine["wall"] / min(run["wall"] for run in runs), 3),
        "bytes_ours_over_shaka_at_equal_ssim": equal,
    }
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
