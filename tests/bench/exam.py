"""How well and how fast exams are cut (`exam.segment`) and read (`exam.ocr`), on made pages: seeded, JSON out.

python tests/bench/exam.py [--what segment ocr] [--ways clean scan photo] [--seeds 10] [--first 1000]
                           [--english] [--errors]

What decides was chosen on seeds 1 to 8; those from 1000 on are held out. `ocr` reads the questions that are cut out of
the page, as the platform does, but for those with a figure or table, whose words are not known; `--errors` shows each
difference, `--english` makes pages of an English exam (sentences in English, asked in Korean). Hangul: Levenshtein
distance over the syllables alone; latin: over A to Z; all: over every sign but spaces and formulae.

Needs Debian's fonts-nanum and fonts-noto-cjk. Two of the five fonts of the pages
(NanumBarunGothic, the regular faces of Noto) are not among those that digits are compared with.
"""

import argparse
import functools
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import describe

sys.path.insert(0, str(Path(__file__).parents[1]))
import exam_made  # the bench runs as a script; tests/ is no package

from academy_ai import circled, paper
from academy_ai.kinds.exam_ocr.passes import Tesseract
from academy_ai.kinds.exam_ocr.read import read
from academy_ai.kinds.exam_ocr.run import lines_of, whitened
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


def distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Levenshtein's."""
    before = list(range(len(other) + 1))
    for row, mine in enumerate(one, start=1):
        now = [row]
        for column, theirs in enumerate(other, start=1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (mine != theirs)))
        before = now
    return before[-1]


def ocr(made: exam_made.Page, picture: exam_made.Picture, *, errors: bool) -> Counter[str]:
    """Counts of one page: signs there are, and how many were read otherwise."""
    flat = paper.flat(picture)
    layouts, found = segmented([flat])
    got = {one.start.number: one for one in found if one.start.question}
    seen = Counter(pages=1)
    for question in made.questions:
        if question.drawn or question.number not in got:
            continue
        start = time.monotonic()
        reads = [
            read(whitened(flat[area.y0 : area.y1, area.x0 : area.x1]), Tesseract())
            for area in parts.areas(got[question.number], layouts)
        ]
        seen.update(questions=1, milliseconds=round(1000 * (time.monotonic() - start)))
        true = " ".join(question.lines)
        text = _FORMULA.sub("", " ".join(line.text for one in reads for line in lines_of(one)))
        for name, keep in _SIGNS.items():
            pair = ["".join(keep.findall(each)) for each in (true, text)]
            seen.update({name: len(pair[0]), f"{name}_wrong": distance(*pair)})
        formulae = sum(len(one.formulae) for one in reads)
        seen.update(formulae=len(question.formulae), formulae_wrong=abs(len(question.formulae) - formulae))
        if errors:
            sys.stderr.write("".join(_differences(true, text)))
    return seen


_FORMULA = re.compile(r"⟦\d+⟧ ?")
_SIGNS = {
    "hangul": re.compile("[가-힣]"),
    "latin": re.compile("[A-Za-z]"),
    "all": re.compile(r"\S"),
    "spaced": re.compile("."),
    "circled": re.compile("[①-⑤]"),
}


def _differences(true: str, text: str) -> Iterator[str]:
    for what, at, end, other, last in SequenceMatcher(None, true, text, autojunk=False).get_opcodes():
        if what != "equal":
            yield f"{true[max(0, at - 5) : end + 5]!r} read as {text[max(0, other - 5) : last + 5]!r}\n"


def _ocr_summary(seen: Counter[str]) -> dict[str, float]:
    rates = {f"{name}_error": round(seen[f"{name}_wrong"] / max(1, seen[name]), 4) for name in (*_SIGNS, "formulae")}
    return {
        "pages": seen["pages"],
        "questions": seen["questions"],
        "hangul": seen["hangul"],
        "latin": seen["latin"],
        **rates,
        "ms_a_question": round(seen["milliseconds"] / max(1, seen["questions"])),
    }


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


Measured = Callable[[exam_made.Page, exam_made.Picture], Counter[str]]


def bench(seeds: range, ways: Sequence[str], sentences: tuple[str, ...], measured: Measured) -> dict[str, Counter[str]]:
    """Way -> counts over all seeds."""
    tallies: dict[str, Counter[str]] = {name: Counter() for name in ways}
    for seed in seeds:
        made = exam_made.page(seed, sentences=sentences)
        for name in ways:
            random = np.random.default_rng([seed, len(name)])
            tallies[name] += measured(made, exam_made.DEGRADATIONS[name](made.picture, random))
    return tallies


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", choices=("segment", "ocr"), default=("segment", "ocr"))
    parser.add_argument(
        "--ways", nargs="+", choices=tuple(exam_made.DEGRADATIONS), default=tuple(exam_made.DEGRADATIONS)
    )
    parser.add_argument("--seeds", type=int, default=10, help="pages a way (default: %(default)s)")
    parser.add_argument("--first", type=int, default=1000, help="the first page's seed (default: %(default)s)")
    parser.add_argument("--english", action="store_true", help="pages of an English exam")
    parser.add_argument("--errors", action="store_true", help="show what exam.ocr read otherwise, on stderr")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    seeds = range(given.first, given.first + given.seeds)
    measure = functools.partial(bench, seeds, given.ways, exam_made.ENGLISH if given.english else exam_made.SENTENCES)
    result: dict[str, Any] = {"machine": describe(), "seeds": [seeds.start, seeds.stop - 1]}
    if "segment" in given.what:
        result["exam.segment"] = {name: _summary(seen) for name, seen in measure(segment).items()}
    if "ocr" in given.what:
        seen = measure(functools.partial(ocr, errors=given.errors))
        result["exam.ocr"] = {name: _ocr_summary(counts) for name, counts in seen.items()}
    text = json.dumps(result, indent=2)
    if given.out is not None:
        given.out.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
