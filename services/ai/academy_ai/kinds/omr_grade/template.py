"""The answer-sheet template: OMRChecker's `template.json`, read into bubbles at page coordinates.

Teachers already have templates in this form, so it is the one form we accept. First step of `run`: text in,
`Sheet` out, no image. Source of the format: OMRChecker's documentation of `template.json`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from academy_core.errors import Permanent, Reason

Size = Annotated[float, Field(gt=0, le=20_000)]
Label = Annotated[str, Field(min_length=1, max_length=64)]
MAX_BUBBLES = 5_000
MAX_BLOCKS = 200
MAX_RANGE = 2_000
_RANGE = re.compile(r"^(?P<stem>\D*?)(?P<first>\d+)\.{2,3}(?P<last>\d+)$")

_DIGITS = tuple("0123456789")
FIELD_TYPES: dict[str, tuple[tuple[str, ...], str]] = {
    "QTYPE_MED": (("E", "H"), "vertical"),
    "QTYPE_INT": (_DIGITS, "vertical"),
    "QTYPE_INT_FROM_1": ((*_DIGITS[1:], "0"), "vertical"),
    "QTYPE_MCQ4": (("A", "B", "C", "D"), "horizontal"),
    "QTYPE_MCQ5": (("A", "B", "C", "D", "E"), "horizontal"),
}
"""OMRChecker's built-in bubble types: values and the direction in which they run."""


class _Open(BaseModel):
    """Unknown entries are left alone: templates in the wild carry notes and options of other versions."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Block(_Open):
    """A rectangle of bubbles: `fieldLabels` one way, their values the other."""

    origin: tuple[float, float]
    field_labels: tuple[Label, ...] = Field(alias="fieldLabels", min_length=1)
    bubbles_gap: float = Field(0.0, alias="bubblesGap", ge=0, le=20_000)
    labels_gap: float = Field(0.0, alias="labelsGap", ge=0, le=20_000)
    field_type: str | None = Field(None, alias="fieldType")
    bubble_values: tuple[Label, ...] | None = Field(None, alias="bubbleValues")
    direction: Literal["horizontal", "vertical"] | None = None
    bubble_size: tuple[Size, Size] | None = Field(None, alias="bubbleDimensions")
    empty_value: str | None = Field(None, alias="emptyValue")


class PreProcessor(_Open):
    """One of OMRChecker's image steps. Only those that say where the page lies mean something to us."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Template(_Open):
    """`template.json` as written."""

    page: tuple[Size, Size] = Field(alias="pageDimensions")
    bubble_size: tuple[Size, Size] = Field(alias="bubbleDimensions")
    blocks: dict[str, Block] = Field(alias="fieldBlocks", min_length=1)
    custom_labels: dict[Label, tuple[Label, ...]] = Field(default_factory=dict, alias="customLabels")
    output_columns: tuple[Label, ...] = Field((), alias="outputColumns")
    empty_value: str = Field("", alias="emptyValue")
    pre_processors: tuple[PreProcessor, ...] = Field((), alias="preProcessors")


@dataclass(frozen=True, slots=True)
class Bubble:
    """One place a student may mark: its box in page units."""

    value: str
    x: float
    y: float
    width: float
    height: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, page units."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class FieldOf:
    """One field (a question, one digit of a number) with its bubbles in order."""

    label: str
    block: str
    bubbles: tuple[Bubble, ...]
    empty_value: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the reader needs of a template: fields, how they join into columns, and how the page is found."""

    width: float
    height: float
    fields: tuple[FieldOf, ...]
    columns: dict[str, tuple[str, ...]]
    """Output column -> the fields whose values are joined in it, in output order."""
    crop_page: bool
    marker: str | None = None
    """File of the corner marker, relative to the template, when the page is what lies between four of them."""
    marker_ratio: float = 17.0
    """Width of the sheet over the width of a marker."""
    reference: str | None = None
    """File of a clean sheet to align features with, when the template names one."""
    pitch: float = field(default=0.0)
    """Least distance between neighbouring bubbles, page units."""


Refusal = Callable[[str], Permanent]
"""Makes the refusal of a file from what is wrong with it."""


def bad_template(detail: str) -> Permanent:
    """The template cannot be used: what is wrong, for the teacher who wrote it."""
    return Permanent(
        detail,
        reason=Reason(
            "omr-template",
            f"답안지 틀(template.json)을 읽을 수 없습니다: {detail}. 파일을 고쳐 다시 올려 주세요.",
            f"The answer-sheet template (template.json) cannot be used: {detail}. Correct it and upload it again.",
        ),
    )


def expand(labels: Iterable[str]) -> tuple[str, ...]:
    """`q1..3` -> q1, q2, q3; anything else stands for itself. Raises Permanent on a range that runs backwards."""
    out: list[str] = []
    for label in labels:
        found = _RANGE.match(label)
        if found is None:
            out.append(label)
            continue
        first, last = int(found["first"]), int(found["last"])
        if not first <= last < first + MAX_RANGE:
            raise bad_template(f"the range {label!r} does not run upwards or is too long")
        out.extend(f"{found['stem']}{number}" for number in range(first, last + 1))
    return tuple(out)


def parse(text: str) -> Sheet:
    """Read a `template.json`. Raises Permanent naming what is wrong with it."""
    try:
        template = Template.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise bad_template(f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    fields = tuple(one for name, block in template.blocks.items() for one in _fields(name, block, template))
    _check(fields, template)
    steps = {step.name: step.options for step in template.pre_processors}
    marker = steps.get("CropOnMarkers")
    align = steps.get("FeatureBasedAlignment")
    return Sheet(
        width=template.page[0],
        height=template.page[1],
        fields=fields,
        columns=_columns(fields, template),
        crop_page="CropPage" in steps,
        marker=None if marker is None else str(marker.get("relativePath", "omr_marker.jpg")),
        marker_ratio=_ratio(marker),
        reference=None if align is None else str(align.get("reference", "")) or None,
        pitch=_pitch(template),
    )


def _ratio(options: dict[str, Any] | None) -> float:
    value = (options or {}).get("sheetToMarkerWidthRatio", 17)
    if not isinstance(value, int | float) or not 2 <= value <= 100:  # noqa: PLR2004 - beyond this it is no corner marker
        raise bad_template("sheetToMarkerWidthRatio must lie between 2 and 100")
    return float(value)


def _fields(name: str, block: Block, template: Template) -> Iterable[FieldOf]:
    values, direction = block.bubble_values, block.direction
    if block.field_type is not None:
        if block.field_type not in FIELD_TYPES:
            raise bad_template(f"{name}: unknown fieldType {block.field_type!r}")
        known_values, known_direction = FIELD_TYPES[block.field_type]
        values = values or known_values
        direction = direction or ("vertical" if known_direction == "vertical" else "horizontal")
    if values is None:
        raise bad_template(f"{name}: needs fieldType or bubbleValues")
    width, height = block.bubble_size or template.bubble_size
    empty = template.empty_value if block.empty_value is None else block.empty_value
    across = direction != "vertical"
    for row, label in enumerate(expand(block.field_labels)):
        along, side = row * block.labels_gap, block.bubbles_gap
        yield FieldOf(
            label,
            name,
            tuple(
                Bubble(
                    value,
                    block.origin[0] + (column * side if across else along),
                    block.origin[1] + (along if across else column * side),
                    width,
                    height,
                )
                for column, value in enumerate(values)
            ),
            empty,
        )


def _check(fields: tuple[FieldOf, ...], template: Template) -> None:
    seen: set[str] = set()
    count = 0
    for one in fields:
        if one.label in seen:
            raise bad_template(f"the field {one.label!r} appears twice")
        seen.add(one.label)
        count += len(one.bubbles)
        for bubble in one.bubbles:
            if not (
                0 <= bubble.x <= template.page[0] - bubble.width and 0 <= bubble.y <= template.page[1] - bubble.height
            ):
                raise bad_template(f"{one.block}: a bubble of {one.label!r} lies outside pageDimensions")
    if count > MAX_BUBBLES or len(template.blocks) > MAX_BLOCKS:
        raise bad_template(f"more than {MAX_BUBBLES} bubbles or {MAX_BLOCKS} field blocks")


def _columns(fields: tuple[FieldOf, ...], template: Template) -> dict[str, tuple[str, ...]]:
    known = {one.label for one in fields}
    joined: dict[str, tuple[str, ...]] = {}
    used: set[str] = set()
    for label, parts in template.custom_labels.items():
        members = expand(parts)
        missing = [part for part in members if part not in known]
        if missing:
            raise bad_template(f"customLabels.{label} names the unknown field {missing[0]!r}")
        if used & set(members):
            raise bad_template(f"customLabels.{label} uses a field that another label has")
        used |= set(members)
        joined[label] = members
    columns = {**joined, **{one.label: (one.label,) for one in fields if one.label not in used}}
    order = expand(template.output_columns) or tuple(sorted(columns, key=_natural))
    unknown = [label for label in order if label not in columns]
    if unknown:
        raise bad_template(f"outputColumns names the unknown column {unknown[0]!r}")
    return {label: columns[label] for label in order}


def _natural(label: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts q2 before q10."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", label) if part)


def _pitch(template: Template) -> float:
    gaps = [gap for block in template.blocks.values() for gap in (block.bubbles_gap, block.labels_gap) if gap > 0]
    return max(min(gaps, default=0.0), min(template.bubble_size))
