"""How well and how fast `omr.grade` reads under degradation: seeded, made and real sheets, JSON out.

python tests/bench/omr.py [--seeds 3] [--ways clean blur …] [--draw 1] [--out omr.json]

Made sheets are held to their known marks, real ones (if the reference data is there) to what a person reads on them.
Beside it on the same pictures: bubbles at fixed positions, our own version of the method that OMRChecker publishes
(`contenders/fixed_template.py`). `--draw`: what is drawn at random (angles, corners, light, noise) comes out otherwise.
`published` is OMRChecker's published share of fields on the same real sheets.
"""

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import omr_made  # the bench runs as a script; tests/ is no package
from contenders import fixed_template
from machine import describe
from omr_real import READ_BY_EYE, real_sheets

from academy_ai.kinds.omr_grade import template
from academy_ai.kinds.omr_grade.layout import layout
from academy_ai.kinds.omr_grade.run import Exam, collect, measure
from academy_ai.paper import Gray
from academy_core.errors import Permanent

PUBLISHED = {
    "rotation 1": 92.3, "rotation 2": 81.4, "rotation 5": 56.7, "rotation 180": 18.3, "perspective 2%": 85.0,
    "perspective 5%": 51.8, "shift 1%": 61.9, "blur": 82.4, "jpeg 20": 93.1, "shadow": 81.8, "noise": 94.1,
}  # fmt: skip


@dataclass
class Tally:
    """Columns seen, right and unsure; sheets and processor seconds."""

    columns: int = 0
    right: int = 0
    unsure: int = 0
    sheets: int = 0
    seconds: float = 0.0

    def add(self, other: "Tally") -> None:
        """Sum."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def summary(self) -> dict[str, float]:
        """Percentages and milliseconds."""
        share = 100 / max(1, self.columns)
        return {
            "right": round(self.right * share, 2),
            "unsure": round(self.unsure * share, 2),
            "wrong": round((self.columns - self.right - self.unsure) * share, 2),
            "ms_a_sheet": round(1000 * self.seconds / max(1, self.sheets), 1),
        }


def grey(picture: omr_made.Picture) -> Gray:
    """As the reader gets it."""
    return np.asarray(picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def answers(exam: Exam, picture: Gray) -> dict[str, str]:
    """Column -> reading; a sheet that is refused is unsure as a whole."""
    sheet = exam.plan.sheet
    try:
        _, readings = measure(exam, picture)
    except Permanent:
        return dict.fromkeys(sheet.columns, "?")
    return collect(sheet, readings, "bench", 1).answers


def sheets(seeds: int) -> Iterator[tuple[str, str, Exam, omr_made.Picture, dict[str, str]]]:
    """Group, name, exam, picture and truth."""
    for seed in range(seeds):
        flat = omr_made.sheet(seed, questions=(60, 40, 60)[seed % 3], choices=(5, 5, 4)[seed % 3])
        for name, made in (("scan", flat), ("photo", omr_made.photographed(flat, seed))):
            yield (
                "made",
                f"{name}-{seed}",
                Exam(layout(template.parse(made.template)), None, None),
                made.picture,
                made.truth,
            )
    for real in real_sheets():
        yield (
            "real",
            real.name,
            Exam(layout(template.parse(real.template)), None, real.marker),
            real.picture,
            READ_BY_EYE[real.name],
        )


def counted(read: Callable[[], dict[str, str]], truth: dict[str, str]) -> Tally:
    """One sheet read and held to the truth."""
    start = time.process_time()
    got = read()
    spent = time.process_time() - start
    unsure = sum("?" in got[column] for column in truth)
    return Tally(len(truth), sum(got[column] == value for column, value in truth.items()), unsure, 1, spent)


def bench(seeds: int, ways: Iterable[str], draw: int) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Reader -> group -> degradation -> summary."""
    tallies: dict[str, dict[str, dict[str, Tally]]] = {}
    for group, name, exam, picture, truth in sheets(seeds):
        for way in ways:
            worse = grey(
                omr_made.DEGRADATIONS[way](
                    picture, np.random.default_rng(zlib.crc32(f"{name} {way}{draw or ''}".encode()))
                )
            )
            for reader, read in (
                ("omr.grade", partial(answers, exam, worse)),
                ("fixed positions", partial(fixed_template.answers, exam.plan.sheet, worse, exam.marker)),
            ):
                tally = tallies.setdefault(reader, {}).setdefault(group, {}).setdefault(way, Tally())
                tally.add(counted(read, truth))
    return {
        reader: {group: {way: tally.summary() for way, tally in part.items()} for group, part in groups.items()}
        for reader, groups in tallies.items()
    }


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=omr_made.DEGRADATIONS, default=list(omr_made.DEGRADATIONS))
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    result = {
        "machine": describe(),
        **bench(given.seeds, given.ways, given.draw),
        "published": {"OMRChecker": PUBLISHED},
    }
    text = json.dumps(result, indent=2)
    if given.out is not None:
        given.out.write_text(text, "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
