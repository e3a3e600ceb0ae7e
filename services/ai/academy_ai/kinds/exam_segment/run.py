"""exam.segment at work: pages in; questions, choices and passages as boxes and cut-out pictures out.

Called by the worker (in a child without credentials) and by the command line; reads and writes local files only.
"""

from collections.abc import Mapping
from pathlib import Path

import cv2

from academy_ai import circled, columns, paper, pictures
from academy_ai.columns import Layout
from academy_ai.kind import KindInput, Report
from academy_ai.kinds.exam_segment import parts, starts
from academy_ai.kinds.exam_segment.parts import Area, Found
from academy_ai.kinds.exam_segment.spec import (
    Box,
    Choice,
    ExamLayout,
    ExamSegmentInput,
    ExamSegmentResult,
    PageSeen,
    Passage,
    Question,
)
from academy_ai.paper import Gray
from academy_core.errors import Permanent, Reason

ENOUGH = 2400
"""Long side in pixels that a photo is decoded to at least: about 200 dpi of A4."""
MAX_PAGES = 40

TOO_MANY = Reason(
    "exam-too-many-pages",
    f"한 번에 {MAX_PAGES}쪽까지 처리할 수 있습니다. 나누어 올려 주세요.",
    f"Up to {MAX_PAGES} pages can be read at once. Split them and upload the parts.",
)


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> ExamSegmentResult:
    """Find the questions of all pages. A page that cannot be opened is refused on its own."""
    assert isinstance(task, ExamSegmentInput)  # noqa: S101 - the caller picks run by the input's kind
    cv2.setNumThreads(1)
    seen: list[PageSeen] = []
    flat: list[Gray] = []
    for number, source in enumerate(task.pages):
        for page in _of_file(source, files[source], len(seen)):
            if isinstance(page, PageSeen):
                seen.append(page)
                continue
            seen.append(PageSeen(source=source, page=page[0], picture=f"page-{len(seen) + 1:03}.png"))
            flat.append(page[1])
        report(0.5 * (number + 1) / len(task.pages))
    return _written(seen, flat, out, report)


def _of_file(source: str, path: Path, before: int) -> list[PageSeen | tuple[int, Gray]]:
    """The pages of one picture or PDF, flat; what cannot be opened is one refused page."""
    done: list[PageSeen | tuple[int, Gray]] = []
    try:
        for page, gray in enumerate(pictures.pages(path, ENOUGH), start=1):
            if before + len(done) >= MAX_PAGES:
                return [*done, _refused(source, page, TOO_MANY)]
            done.append((page, paper.flat(gray)))
    except Permanent as error:
        done.append(_refused(source, len(done) + 1, error.reason))
    return done


def _refused(source: str, page: int, reason: Reason) -> PageSeen:
    return PageSeen(source=source, page=page, refused=reason.code, reason_ko=reason.ko, reason_en=reason.en)


def _written(seen: list[PageSeen], flat: list[Gray], out: Path, report: Report) -> ExamSegmentResult:
    layouts, found = segmented(flat)
    rings = [circled.circled(page, layout.em) for page, layout in zip(flat, layouts, strict=True)]
    places = [number for number, page in enumerate(seen) if page.picture is not None]
    for number, page, layout in zip(places, flat, layouts, strict=True):
        seen[number] = seen[number].model_copy(update={"columns": len(layout.columns)})
        cv2.imwrite(str(out / f"page-{number + 1:03}.png"), page)
    report(0.8)

    def box(area: Area) -> Box:
        return Box(page=places[area.page], x=area.x0, y=area.y0, width=area.x1 - area.x0, height=area.y1 - area.y0)

    def cut(name: str, areas: list[Area]) -> tuple[str, ...]:
        names = tuple(f"{name}{'' if place == 0 else f'-{place + 1}'}.png" for place in range(len(areas)))
        for file, area in zip(names, areas, strict=True):
            cv2.imwrite(str(out / file), flat[area.page][area.y0 : area.y1, area.x0 : area.x1])
        return names

    passages: list[Passage] = []
    questions: list[Question] = []
    for one in found:
        areas = list(parts.areas(one, layouts))
        boxes = tuple(box(area) for area in areas)
        assert one.start.number is not None  # noqa: S101 - only numbered starts are kept; narrows the type
        if one.start.last is not None:
            names = cut(f"passage-{len(passages) + 1:02}", areas)
            passages.append(Passage(boxes=boxes, pictures=names, first=one.start.number, last=one.start.last))
            continue
        names = cut(f"question-{len(questions) + 1:03}", areas)
        chosen = parts.choices(one, layouts, rings)
        labels = tuple(Choice(label=label, box=box(area)) for label, area in chosen.items())
        shared = [place for place, passage in enumerate(passages) if passage.first <= one.start.number <= passage.last]
        questions.append(
            Question(
                boxes=boxes,
                pictures=names,
                number=one.start.number,
                choices=labels,
                passage=shared[-1] if shared else None,
            )
        )
    layout_ = ExamLayout(pages=tuple(seen), passages=tuple(passages), questions=tuple(questions))
    (out / "layout.json").write_text(layout_.model_dump_json(), "utf-8")
    report(1.0)
    pieces = (name for part in (*passages, *questions) for name in part.pictures)
    return ExamSegmentResult(
        pages=len(seen),
        refused=sum(page.refused is not None for page in seen),
        questions=len(questions),
        passages=len(passages),
        pictures=(*(page.picture for page in seen if page.picture is not None), *pieces),
    )


def segmented(flat: list[Gray]) -> tuple[list[Layout], list[Found]]:
    """The layouts of flat pages, and what was found on them in reading order."""
    layouts = [columns.layout(page) for page in flat]
    numbers = [
        one
        for number, (page, layout) in enumerate(zip(flat, layouts, strict=True))
        for one in starts.found(page, number, layout)
    ]
    sizes = [(page.shape[1], page.shape[0]) for page in flat]
    return layouts, [one for one in parts.gathered(layouts, sizes, starts.consecutive(numbers)) if one.stretches]
