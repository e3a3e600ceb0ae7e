"""exam.ocr at work: pictures of questions in, their text, and their formulae and figures as pictures out.

Called by the worker (in a child without credentials) and by the command line; reads and writes local files only.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import cv2
import numpy as np

from academy_ai import paper, pictures
from academy_ai.kind import KindInput, Report
from academy_ai.kinds.exam_ocr.formulae import Region
from academy_ai.kinds.exam_ocr.passes import Tesseract
from academy_ai.kinds.exam_ocr.read import Read, read
from academy_ai.kinds.exam_ocr.spec import Cut, ExamOcrInput, ExamOcrResult, Figure, Formula, LineRead, PictureRead
from academy_ai.paper import Gray
from academy_ai.text import Reader
from academy_core.errors import Permanent, Reason

C = TypeVar("C", bound=Cut)

ENOUGH = 2400
"""Long side in pixels that a photo is decoded to at least: about 200 dpi of A4."""
MAX_READ = 120

TOO_MANY = Reason(
    "ocr-too-many-pictures",
    f"한 번에 {MAX_READ}장까지 읽을 수 있습니다. 나누어 올려 주세요.",
    f"Up to {MAX_READ} pictures can be read at once. Split them and upload the parts.",
)


_reader: list[Reader] = [Tesseract()]


def use(reader: Reader) -> None:
    """Read with this one from now on; Tesseract reads where none was given."""
    _reader[:] = [reader]


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> ExamOcrResult:
    """Read every picture. What cannot be opened is refused on its own; Raises Retryable when the reader does."""
    assert isinstance(task, ExamOcrInput)  # noqa: S101 - the caller picks run by the input's kind
    cv2.setNumThreads(1)
    done: list[PictureRead] = []
    given = (*task.pictures, *task.cut)
    for number, source in enumerate(given):
        try:
            for page, gray in enumerate(pictures.pages(files[source], ENOUGH), start=1):
                if len(done) >= MAX_READ:
                    done.append(_refused(source, page, TOO_MANY))
                    break
                straight = whitened(gray) if task.straight else paper.flat(gray)
                done.append(_written(source, page, straight, out, f"{task.part}{len(done) + 1:03}"))
        except Permanent as error:
            done.append(_refused(source, 1, error.reason))
        report((number + 1) / len(given))
    details = f"{task.part}text.json"
    (out / details).write_text(json.dumps([one.model_dump() for one in done], ensure_ascii=False), "utf-8")
    shown = (one.straightened for one in done if one.straightened is not None)
    return ExamOcrResult(
        pictures=len(done),
        refused=sum(one.refused is not None for one in done),
        confidence=round(fmean([one.confidence for one in done if one.refused is None] or [0.0]), 3),
        artefacts=(*shown, *(piece.picture for one in done for piece in (*one.formulae, *one.figures))),
        details=details,
    )


def _refused(source: str, page: int, reason: Reason) -> PictureRead:
    return PictureRead(source=source, page=page, refused=reason.code, reason_ko=reason.ko, reason_en=reason.en)


def whitened(gray: Gray) -> Gray:
    """A straight picture on even white paper."""
    return np.asarray(cv2.bitwise_not(paper.ink(gray, paper.TEXT_RADIUS)), np.uint8)


def _written(source: str, page: int, straight: Gray, out: Path, number: str) -> PictureRead:
    reader = _reader[0]
    seen = read(straight, reader)
    name = f"read-{number}.png"
    cv2.imwrite(str(out / name), straight)

    def cut(what: type[C], regions: Sequence[Region]) -> tuple[C, ...]:
        cuts = []
        for place, region in enumerate(regions, start=1):
            file = f"{what.__name__.lower()}-{number}-{place}.png"
            cv2.imwrite(str(out / file), straight[region.y0 : region.y1, region.x0 : region.x1])
            width, height = region.x1 - region.x0, region.y1 - region.y0
            cuts.append(what(picture=file, x=region.x0, y=region.y0, width=width, height=height))
        return tuple(cuts)

    lines = tuple(lines_of(seen))
    return PictureRead(
        source=source,
        page=page,
        text="\n".join(line.text for line in lines),
        confidence=round(confidence(seen), 3),
        lines=lines,
        formulae=cut(Formula, seen.formulae),
        figures=cut(Figure, seen.figures),
        engine=reader.name,
        straightened=name,
    )


def lines_of(seen: Read) -> list[LineRead]:
    """The lines as they are reported."""
    out = []
    for line in seen.lines:
        x0, y0 = min(one.x0 for one in line), min(one.y0 for one in line)
        out.append(
            LineRead(
                text=" ".join(one.text for one in line),
                confidence=round(min(one.confidence for one in line), 3),
                x=x0,
                y=y0,
                width=max(one.x1 for one in line) - x0,
                height=max(one.y1 for one in line) - y0,
            )
        )
    return out


def confidence(seen: Read) -> float:
    """Mean over the signs read."""
    pairs = [(one.confidence, len(one.text)) for line in seen.lines for one in line]
    return sum(sure * count for sure, count in pairs) / max(1, sum(count for _, count in pairs))
