"""How well and how fast `exam.segment` finds the questions of made exam pages: seeded, JSON out.

python tests/bench/exam.py [--seeds 10] [--first 1000] [--out exam.json]

Needs Debian's fonts-nanum and fonts-noto-cjk. Two of the five fonts of the pages
(NanumBarunGothic, the regular faces of Noto) are not among those that digits are compared with.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import exam_made  # the bench runs as a script; tests/ is no package

from academy_ai import circled, paper
from academy_ai.kinds.exam_segment import parts
from academy_ai.kinds.exam_segment.run import segmented

OVERLAP = 0.8
"""Intersection over union from which on a box counts as found."""


def overlap(one: exam_made.Box, other: exam_made.Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / max(1, sum(areas) - common)


def _scaled(box: exam_made.Box, made: exam_made.Picture, flat: exam_made.Picture) -> exam_made.Box:
    across, down = flat.shape[1] / made.shape[1], flat.shape[0] / made.shape[0]
    return round(box[0] * across), round(box[1] * down), round(box[2] * across), round(box[3] * down)


def segment(made: exam_made.Page, picture: exam_made.Picture) -> Counter[str]:
    """Counts of one page: questions, found (number right and box right), false, passages, choices."""
    start = time.process_time()
    flat = paper.flat(picture)
    layouts, found = segmented([flat])
    rings = [circled.circled(flat, layouts[0].em)]
    got = {one.start.number: one for one in found if one.start.question}
    shared = [(one.start.number, one.start.last) for one in found if not one.start.question]
    seen = Counter(pages=1, questions=len(made.questions), false=len(set(got) - {q.number for q in made.questions}))
    for question in made.questions:
        one = got.get(question.number)
        if one is None:
            continue
        area = next(parts.areas(one, layouts))
        here = overlap(_scaled(question.boxes[0], made.picture, flat), (area.x0, area.y0, area.x1, area.y1))
        seen.update(numbers=1, found=here >= OVERLAP)
        boxes = parts.choices(one, layouts, rings)
        for label, box in question.choices.items():
            it = boxes.get(label)
            near = it is not None and overlap(_scaled(box, made.picture, flat), (it.x0, it.y0, it.x1, it.y1)) >= 0.5
            seen.update(chosen=near)
    seen.update(
        choices=sum(len(question.choices) for question in made.questions),
        passages=len(made.passages),
        shared=sum((one.first, one.last) in shared for one in made.passages),
        false_passages=sum(one not in [(p.first, p.last) for p in made.passages] for one in shared),
        milliseconds=round(1000 * (time.process_time() - start)),
    )
    return seen


def _summary(seen: Counter[str]) -> dict[str, float]:
    def share(part: str, whole: str) -> float:
        return round(100 * seen[part] / max(1, seen[whole]), 2)

    return {
        "pages": seen["pages"],
        "questions_found_%": share("found", "questions"),
        "numbers_right_%": share("numbers", "questions"),
        "questions_false": seen["false"],
        "choices_found_%": share("chosen", "choices"),
        "passages_found_%": share("shared", "passages"),
        "passages_false": seen["false_passages"],
        "ms_a_page": round(seen["milliseconds"] / max(1, seen["pages"])),
    }


def bench(seeds: range) -> dict[str, dict[str, float]]:
    """Degradation -> summary."""
    tallies: dict[str, Counter[str]] = {name: Counter() for name in exam_made.DEGRADATIONS}
    for seed in seeds:
        made = exam_made.page(seed)
        for name, degrade in exam_made.DEGRADATIONS.items():
            tallies[name] += segment(made, degrade(made.picture, np.random.default_rng([seed, len(name)])))
    return {name: _summary(tally) for name, tally in tallies.items()}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    result = {"exam.segment": bench(range(given.first, given.first + given.seeds))}
    text = json.dumps(result, indent=2)
    if given.out is not None:
        given.out.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
