"""How well and how fast `lecture.slides` finds slide changes, beside PySceneDetect on the same videos: JSON out.

python tests/bench/slides.py [--seeds 1 2 3] [--slides 24] [--large]

Made lectures (`tests/lecture_made.py`): 23 changes among cuts and fades, with pointer, pen strokes and a webcam inset.
× realtime: seconds of video over seconds of all processors, and over the wall's. Thumbnails are not counted. `--large`:
each lecture at 1080 lines and 30 frames a second, instead of 480 and 10.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import contender
import lecture_made  # the bench runs as a script; tests/ is no package
from machine import report

from academy_ai.kinds.lecture_slides.changes import changes
from academy_ai.kinds.lecture_slides.run import frames

THRESHOLDS = (27, 1.5)
"""Of PySceneDetect's content detector: its default, and the best of those tried on seed 1 (1 to 27)."""
TOLERANCE = 1.5
"""Seconds by which a change may be off."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "lecture.mp4"
        for seed in given.seeds:
            made = lecture_made.lecture(seed, given.slides)
            lecture_made.film(made, video)
            if given.large:
                enlarge(video)
            found.setdefault("lecture.slides", []).append(held(ours(video), made))
            for threshold in THRESHOLDS:
                name = f"PySceneDetect, threshold {threshold:g}"
                found.setdefault(name, []).append(held(theirs(video, threshold), made))
    report(seeds=given.seeds, large=given.large, figures={name: summary(runs) for name, runs in found.items()})


def enlarge(video: Path) -> None:
    """The same lecture at 1080 lines and 30 frames a second, in its place."""
    large = video.with_name("large.mp4")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(video), "-vf", "scale=1920:1080,fps=30"]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", str(large)], check=True, timeout=1800)
    large.replace(video)


def processor() -> float:
    """Processor seconds of this process and the ones it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ours(video: Path) -> dict[str, Any]:
    """What `lecture.slides` does before it takes thumbnails."""
    wall, began = time.monotonic(), processor()
    found = list(changes(frames(video)))
    return {"changes": found, "wall": time.monotonic() - wall, "processor": processor() - began}


def theirs(video: Path, threshold: float) -> dict[str, Any]:
    """The same by PySceneDetect, in its own environment and process; its start is not counted."""
    command = contender.command("scene_detector.py", str(video), str(threshold))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=1800)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def held(seen: dict[str, Any], made: lecture_made.Lecture) -> dict[str, float]:
    """What was found, held to the truth."""
    right = matched(made.starts, seen["changes"])
    return {
        "changes": len(made.starts),
        "found": right,
        "false": len(seen["changes"]) - right,
        "seconds": made.seconds,
        "wall": seen["wall"],
        "processor": seen["processor"],
    }


def matched(truth: Sequence[float], found: Sequence[float]) -> int:
    """How many true changes have one found within the tolerance, each used once."""
    left = list(found)
    count = 0
    for start in truth:
        near = [one for one in left if abs(one - start) <= TOLERANCE]
        if near:
            left.remove(min(near, key=lambda one: abs(one - start)))
            count += 1
    return count


def summary(runs: list[dict[str, float]]) -> dict[str, float]:
    """All lectures together."""
    total = {name: sum(run[name] for run in runs) for name in runs[0]}
    return {
        "changes": total["changes"],
        "found": total["found"],
        "false": total["false"],
        "seconds_of_video": round(total["seconds"], 1),
        "x_realtime_processor": round(total["seconds"] / total["processor"], 1),
        "x_realtime_wall": round(total["seconds"] / total["wall"], 1),
    }


if __name__ == "__main__":
    main()
