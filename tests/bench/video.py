"""Benchmarks of the video pipeline: ratios within one run, JSON out. Run alone on the machine; each takes minutes.

    python tests/bench/video.py prepare            draws the sources (once)
    python tests/bench/video.py cost               CPU and wall of the platform with 2 workers beside a bare ffmpeg
    python tests/bench/video.py kill               what a SIGKILL at 50 % costs, and each task's time with 1 worker
    python tests/bench/video.py first              upload done -> first segments of every rung, 10 min and 2 hours
    python tests/bench/video.py last               last encode -> complete playlist
    python tests/bench/video.py scale KILL.json    simulated: 1 to 50 workers, from the task times of a `kill` run

All run the embedded platform (API, relay, workers, Postgres, emulators) as it is; figures come from its database.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import m3u8
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
import media  # the bench runs as a script; tests/ is no package
from machine import describe
from platform_support import Platform, Source, running
from simulation import Measured, simulate

from academy_core.video import Encoding, PlanAnswer
from academy_local import roles
from academy_video import ladder

SOURCES = Path(tempfile.gettempdir()) / "academy-video-bench"
SECONDS = 120
PIECE_SECONDS = 30
LECTURE = SOURCES / "lecture.mp4"
LENGTHS = {"ten-minutes": 600, "two-hours": 7200}
SMALL_SECONDS = 12
PLAYABLE_SECONDS = 120.0
READY_SECONDS = 1800.0
SCALE, ZIMG = "scale={}:{}:flags=bicubic", "zscale={}:{}:filter=bicubic:param_a=0:param_b=0.6"
"""ffmpeg's own scaler, which a bare ffmpeg uses unless told, and the one that the chunks use (ADR 0057)."""
LIMIT = 0.75
"""Of a bare ffmpeg's limiter, as in `academy_video.ffmpeg`."""
QUIET_LOOKS = 4
"""A worker without a child in so many looks, half a second apart, is idle."""


def prepare(_: argparse.Namespace) -> dict[str, Any]:
    """1080p at 30 frames a second: slides with a restless corner; the long ones repeat a minute of quieter slides."""
    SOURCES.mkdir(exist_ok=True)
    piece = draw_lecture(SOURCES / "piece.mp4")
    repeat(piece, SECONDS // PIECE_SECONDS, LECTURE)
    media.sample_lecture(SOURCES / "small.mp4", SMALL_SECONDS, size="640x360")
    minute = media.sample_lecture(SOURCES / "minute.mp4", 60, size="1920x1080")
    for name, seconds in LENGTHS.items():
        repeat(minute, seconds // 60, SOURCES / f"{name}.mp4")
    return {path.name: path.stat().st_size for path in sorted(SOURCES.glob("*.mp4"))}


def repeat(source: Path, times: int, target: Path) -> None:
    """The same so many times, without encoding anew."""
    media.ffmpeg("-stream_loop", str(times - 1), "-i", source, "-c", "copy", target, level="error")


def draw_lecture(path: Path) -> Path:
    """Slides that change every ten seconds, a noisy moving corner, a tone; key frames 8 s apart."""
    sources = (
        f"smptehdbars=s=320x180:r=30:d={PIECE_SECONDS}",
        f"testsrc2=s=480x270:r=30:d={PIECE_SECONDS}",
        f"sine=frequency=440:sample_rate=48000:duration={PIECE_SECONDS}",
    )
    graph = (
        "[0:v]hue=h=36*floor(t/10),scale=1920:1080:flags=neighbor[slides];[1:v]noise=alls=12:allf=t[corner];"
        "[slides][corner]overlay=W-w-40:H-h-40,format=yuv420p[v]"
    )
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    coding = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-g", "240", "-c:a", "aac")
    media.ffmpeg(*inputs, "-filter_complex", graph, "-map", "[v]", "-map", "2:a", *coding, path, level="error")
    return path


def lecture_of(seconds: int) -> Path:
    """The restless lecture, so long."""
    path = SOURCES / f"lecture-{seconds}.mp4"
    if not path.exists():
        endless = ("-stream_loop", "-1", "-t", str(seconds), "-i", SOURCES / "piece.mp4")
        media.ffmpeg(*endless, "-c", "copy", path, level="error")
    return path


@contextmanager
def platform(workers: int) -> Iterator[Platform]:
    """A platform with so many video workers, warm."""
    folder = Path(tempfile.mkdtemp(prefix="academy-bench-"))
    try:
        source = Source(SECONDS, "1920x1080", 30)
        with running(folder / "data", LECTURE, source, roles.Workers(video=workers, ai=0)) as started:
            lecture = started.submit("warm-up", SOURCES / "small.mp4")
            finish(started, lecture)
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def finish(started: Platform, lecture: str) -> None:
    """Wait until it is ready, however busy the machine is: by the database, for asking the API costs CPU of its own."""
    query = "SELECT state FROM lectures_publication WHERE lecture_id = %s ORDER BY created_at DESC LIMIT 1"
    deadline = time.monotonic() + READY_SECONDS
    while (state := started.rows(query, lecture)[0][0]) in {"processing", "playable"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{lecture} is {state} after {READY_SECONDS} s")
        time.sleep(0.25)
    if state != "ready":
        raise RuntimeError(f"{lecture} is {state}")


# CPU and wall beside a bare ffmpeg


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of a process, of its live children and of those it has waited for."""
    live = [process, *process.children(recursive=True)]
    times = [each.cpu_times() for each in live]
    return float(sum(each.user + each.system for each in times) + times[0].children_user + times[0].children_system)


def own_cpu(process: psutil.Process) -> float:
    """CPU seconds of the process without its children."""
    times = process.cpu_times()
    return float(times.user + times.system)


def bare_command(source: Path, encoding: Encoding, folder: Path, threads: int, scaler: str = SCALE) -> list[str]:
    """One ffmpeg that makes what the lecture's chunks do; `threads` 0 lets ffmpeg choose.

    The same rungs by the same encoder settings, the sound with its gain and limiter, the small pictures; HLS in fMP4.
    """
    rungs, audio = encoding.rungs, encoding.audio
    if audio is None:
        raise RuntimeError("the bench's lecture has sound")
    every = round(ladder.TILE_SECONDS * encoding.fps_num / encoding.fps_den)
    graph = f"[0:v]split={len(rungs) + 1}" + "".join(f"[s{at}]" for at in range(len(rungs))) + "[small]"
    graph += "".join(
        f";[s{at}]{scaler.format(rung.width, rung.height)},format=yuv420p[v{at}]" for at, rung in enumerate(rungs)
    )
    width, height = ladder.TILE_SIZE
    graph += f";[small]select=not(mod(n\\,{every})),scale={width}:{height},tile=6x1,format=yuvj420p[tiles]"
    limiter = f"aresample=192000,alimiter=limit={LIMIT}:attack=5:release=50:level=0:latency=1,aresample=48000"
    pictures = [
        word
        for at, rung in enumerate(rungs)
        for word in (
            *("-map", f"[v{at}]", f"-crf:v:{at}", str(rung.crf)),
            *(f"-maxrate:v:{at}", str(round(ladder.ENCODER_SHARE * rung.max_rate))),
            *(f"-bufsize:v:{at}", str(rung.buffer_size)),
        )
    ]
    streams = " ".join([*(f"v:{at},agroup:a" for at in range(len(rungs))), "a:0,agroup:a"])
    return [
        *(media.FFMPEG, "-hide_banner", "-nostdin", "-v", "error", "-y", "-threads", str(threads), "-i", str(source)),
        *("-filter_complex", graph, *pictures, "-map", "0:a", "-c:v", "libx264", "-preset", "veryfast"),
        *("-profile:v", "high", "-g", "180", "-keyint_min", "180", "-sc_threshold", "0", "-flags:v", "+cgop"),
        *("-threads", str(threads), "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-ar", "48000"),
        *("-af", f"volume={audio.gain_db}dB,{limiter}"),
        *("-f", "hls", "-hls_time", "6", "-hls_playlist_type", "vod", "-hls_segment_type", "fmp4"),
        *("-master_pl_name", "master.m3u8", "-var_stream_map", streams, str(folder / "%v.m3u8")),
        *("-map", "[tiles]", "-fps_mode", "passthrough", "-q:v", "5", str(folder / "tiles-%d.jpg")),
    ]


def measured_run(command: Sequence[str]) -> dict[str, float]:
    """CPU and wall seconds of a command."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu": round(cpu, 1), "wall": round(time.monotonic() - began, 1)}


def bare(source: Path, encoding: Encoding, threads: int, scaler: str = SCALE) -> dict[str, float]:
    """The bare ffmpeg's cost, poster included."""
    folder = Path(tempfile.mkdtemp(prefix="academy-bench-"))
    try:
        made = measured_run(bare_command(source, encoding, folder, threads, scaler))
        still = [*("-ss", "5", "-i", str(source), "-frames:v", "1", "-q:v", "3", str(folder / "poster.jpg"))]
        poster = measured_run([media.FFMPEG, "-v", "error", "-y", *still])
        size = sum(path.stat().st_size for path in folder.iterdir())
    finally:
        shutil.rmtree(folder)
    return {name: round(made[name] + poster[name], 1) for name in made} | {"bytes": size}


def planned(started: Platform, lecture: str) -> Encoding:
    """What the plan found the lecture to need."""
    query = "SELECT result FROM ledger_task WHERE job_id = %s AND kind = 'video.plan'"
    made = PlanAnswer.model_validate(started.rows(query, started.job(lecture))[0][0]).plan
    if made is None:
        raise RuntimeError("the bench's lecture is no direct source")
    return made.encoding


def cost(arguments: argparse.Namespace) -> dict[str, Any]:
    """The platform with two workers, then a bare ffmpeg that makes the same: threads as it likes, two, one."""
    source = lecture_of(arguments.seconds)
    with platform(2) as started:
        workers = [psutil.Process(started.parts.pid(name)) for name in ("video-1", "video-2")]
        others = [psutil.Process(started.parts.pid(name)) for name in ("api", "relay")]
        # What stands for R2, SQS and the database elsewhere has the same two cores here: it costs wall, no CPU of ours.
        emulators = [psutil.Process(started.parts.pid(name)) for name in ("s3", "sqs", "postgres")]
        before = {each: cpu_of(each) for each in (*workers, *others)}
        lecture = started.submit("cost", source)
        began = time.monotonic()
        before |= {each: cpu_of(each) for each in emulators}
        python = sum(own_cpu(each) for each in workers)
        finish(started, lecture)
        wall = time.monotonic() - began
        spent = {each: cpu_of(each) - before[each] for each in before}
        python = sum(own_cpu(each) for each in workers) - python
        encoding = planned(started, lecture)
        published = started.rows("SELECT published->>'bytes' FROM lectures_publication WHERE lecture_id = %s", lecture)
    ours = {
        "cpu_workers": round(sum(spent[each] for each in workers), 1),
        "cpu_of_that_python": round(python, 1),
        "cpu_api_and_relay": round(sum(spent[each] for each in others), 1),
        "cpu_emulators": round(sum(spent[each] for each in emulators), 1),
        "wall": round(wall, 1),
        "bytes": int(published[0][0]),
    }
    theirs = {name: bare(source, encoding, threads) for name, threads in (("auto", 0), ("two", 2), ("one", 1))}
    told = bare(source, encoding, 1, ZIMG)
    cheapest = min(each["cpu"] for each in theirs.values())
    fastest = min(each["wall"] for each in theirs.values())
    whole = ours["cpu_workers"] + ours["cpu_api_and_relay"]
    return {
        "media_seconds": arguments.seconds,
        "rungs": [f"{rung.name} crf {rung.crf}" for rung in encoding.rungs],
        "ours": ours,
        "bare": theirs,
        "bare_with_one_thread_and_zimg": told,
        "cpu_workers_over_bare": round(ours["cpu_workers"] / cheapest, 3),
        "cpu_whole_over_bare": round(whole / cheapest, 3),
        "cpu_whole_over_bare_with_one_thread_and_zimg": round(whole / told["cpu"], 3),
        "wall_over_best_bare": round(ours["wall"] / fastest, 3),
    }


# SIGKILL at 50 %


def chunk_times(started: Platform, lecture: str) -> list[dict[str, float]]:
    """Media seconds and processing seconds of each chunk, in order."""
    found = started.rows(
        "SELECT (result->>'frames')::float / 30, extract(epoch FROM finished_at - claimed_at)::float "
        "FROM ledger_task WHERE job_id = %s AND kind = 'video.chunk' AND state = 'succeeded' ORDER BY ordinal",
        started.job(lecture),
    )
    return [{"media": length, "seconds": round(seconds, 2)} for length, seconds in found]


def task_seconds(started: Platform, lecture: str, kind: str) -> float:
    """Processing time of the lecture's one task of this kind."""
    query = (
        "SELECT extract(epoch FROM finished_at - claimed_at)::float FROM ledger_task WHERE job_id = %s AND kind = %s"
    )
    return round(float(started.rows(query, started.job(lecture), kind)[0][0]), 2)


def kill(arguments: argparse.Namespace) -> dict[str, Any]:
    """One worker makes the lecture undisturbed, then again with a SIGKILL when half of it is done."""
    source = lecture_of(arguments.seconds)
    with platform(1) as started:
        lecture = started.submit("undisturbed", source)
        finish(started, lecture)
        tasks = {
            "chunks": chunk_times(started, lecture),
            "plan": task_seconds(started, lecture, "video.plan"),
            "publish": task_seconds(started, lecture, "video.publish"),
        }
        lecture = started.submit("killed", source)
        for step in started.api.watch(lecture, 600):
            done = done_seconds(started, lecture)
            if done >= arguments.seconds / 2:
                os.kill(started.parts.pid("video-1"), signal.SIGKILL)
                break
            if step.state == "ready":
                raise RuntimeError("it was ready before half of it was seen")
        finish(started, lecture)
        again = [task for task in started.tasks(lecture) if task.attempt > 1]
        lengths = {at: each["media"] for at, each in enumerate(chunk_times(started, lecture))}
    return {
        "tasks": tasks,
        "killed_at_media_seconds": round(done, 1),
        "redone_chunks": len(again),
        "redone_media_seconds": sum(lengths[task.position] for task in again),
        "media_seconds": arguments.seconds,
    }


def done_seconds(started: Platform, lecture: str) -> float:
    """Seconds of the lecture that are encoded: of done chunks all, of the others by the workers' heartbeats."""
    query = (
        "SELECT coalesce(sum(CASE state WHEN 'succeeded' THEN (result->>'frames')::float / 30 ELSE media_seconds END), "
        "0)::float FROM ledger_task WHERE job_id = %s AND kind = 'video.chunk'"
    )
    return float(started.rows(query, started.job(lecture))[0][0])


# Upload done -> first segments


def playable(started: Platform, lecture: str, began: float) -> float:
    """Seconds from `began` until the first segment of every rung, and of the sound, was fetched as a viewer does."""
    deadline = time.monotonic() + PLAYABLE_SECONDS
    while started.api.detail(lecture)["state"] not in {"playable", "ready"}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not playable after {PLAYABLE_SECONDS} s")
        time.sleep(0.1)
    url = str(started.api.playback(lecture)["url"])
    master = m3u8.loads(httpx.get(url).raise_for_status().text)
    uris = [*(each.uri for each in master.playlists), *(each.uri for each in master.media)]
    for uri in uris:
        address = urljoin(url, uri)
        segments = m3u8.loads(httpx.get(address).raise_for_status().text).segments
        httpx.get(urljoin(address, segments[0].uri)).raise_for_status()
    return round(time.monotonic() - began, 2)


def rest(started: Platform) -> None:
    """Wait until the worker, which is told of the deletion at its next heartbeat, has nothing to do."""
    deadline, quiet = time.monotonic() + PLAYABLE_SECONDS, 0
    while quiet < QUIET_LOOKS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"still at work after {PLAYABLE_SECONDS} s")
        time.sleep(0.5)
        quiet = 0 if psutil.Process(started.parts.pid("video-1")).children(recursive=True) else quiet + 1


def first(arguments: argparse.Namespace) -> dict[str, Any]:
    """Rounds of both lengths in turn on one warm worker; then once from zero: the worker starts after the upload."""
    warm: dict[str, list[float]] = {name: [] for name in LENGTHS}
    plans: dict[str, list[float]] = {name: [] for name in LENGTHS}
    with platform(1) as started:
        for _ in range(arguments.rounds):
            for name in LENGTHS:
                lecture = started.submit(name, SOURCES / f"{name}.mp4")
                began = time.monotonic()
                warm[name].append(playable(started, lecture, began))
                plans[name].append(task_seconds(started, lecture, "video.plan"))
                started.api.delete(lecture)
                rest(started)
        started.parts.take_down("video-1")
        started.forget_bells()  # a poll that outlives its worker would take the bell
        lecture = started.submit("from zero", SOURCES / "ten-minutes.mp4")
        began = time.monotonic()
        started.parts.bring_back("video-1")
        zero = playable(started, lecture, began)
    medians = {name: statistics.median(times) for name, times in warm.items()}
    short, long = medians.values()
    return {
        "warm_seconds": warm,
        "plan_seconds": plans,
        "median": medians,
        "apart": round(abs(long - short) / min(long, short), 3),
        "from_zero_seconds": zero,
    }


# Last encode -> complete playlist


def last(arguments: argparse.Namespace) -> dict[str, Any]:
    """Small lectures one after the other on one worker; times from the database."""
    with platform(1) as started:
        lectures = []
        for number in range(arguments.lectures):
            lectures.append(started.submit(f"last {number}", SOURCES / "small.mp4"))
            finish(started, lectures[-1])
        found = started.rows(
            "SELECT extract(epoch FROM p.ready_at - max(t.finished_at))::float FROM lectures_publication p "
            "JOIN ledger_task t ON t.job_id = p.job AND t.kind = 'video.chunk' "
            "WHERE p.lecture_id = ANY(%s::uuid[]) GROUP BY p.id, p.ready_at",
            lectures,
        )
        publish = [task_seconds(started, lecture, "video.publish") for lecture in lectures]
    seconds = sorted(round(each, 2) for (each,) in found)
    return {
        "seconds": seconds,
        "median": statistics.median(seconds),
        "max": max(seconds),
        "publish_task_median": statistics.median(publish),
    }


# Scaling


def scale(arguments: argparse.Namespace) -> dict[str, Any]:
    """See `simulation`: the measured task times, 1 to 50 workers, a 2-hour lecture."""
    tasks = json.loads(arguments.measured.read_text())["tasks"]
    measured = Measured.fitted(
        [(each["media"], each["seconds"]) for each in tasks["chunks"]], tasks["plan"], tasks["publish"]
    )
    curve = [simulate(measured, workers) for workers in (1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 50)]
    walls = [point["wall"] for point in curve]
    if any(later > earlier for earlier, later in pairwise(walls)):
        raise RuntimeError("more workers must not take longer")
    return {"measured": measured.as_dict(), "curve": curve}


def main() -> None:
    """One benchmark a call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    made = {}
    for run in (prepare, cost, kill, first, last, scale):
        made[run] = commands.add_parser(run.__name__, help=(run.__doc__ or "").strip())
        made[run].set_defaults(run=run)
    for run in (cost, kill):
        made[run].add_argument("--seconds", type=int, default=SECONDS, help="of the lecture")
    made[first].add_argument("--rounds", type=int, default=3)
    made[last].add_argument("--lectures", type=int, default=12)
    made[scale].add_argument("measured", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    result = arguments.run(arguments)
    sys.stdout.write(json.dumps({"machine": describe(), "load_before": round(load, 1), **result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
