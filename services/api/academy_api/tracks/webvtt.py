"""WebVTT as people upload and edit it (https://www.w3.org/TR/webvtt1/): read strictly, written plainly. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_CUES = 20_000
MAX_CUE_TEXT = 2_000
_TIME = r"(?:(\d{2,4}):)?([0-5]\d):([0-5]\d)\.(\d{3})"
_TIMES = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t]+(.*))?")
_NOT_CUES = ("NOTE", "STYLE", "REGION")


class Malformed(ValueError):
    """`line` counts from 1."""

    def __init__(self, line: int, ko: str, en: str) -> None:
        self.line, self.ko, self.en = line, ko, en
        super().__init__(f"line {line}: {en}")


@dataclass(frozen=True, slots=True)
class Cue:
    """One cue: milliseconds, and its text with its markup, lines separated by newlines."""

    start: int
    end: int
    text: str


def parse(text: str) -> list[Cue]:
    """The cues in their order. Raises Malformed; comments, styles, regions, names and settings of cues are dropped."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd").split("\n")
    if not re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]):
        raise Malformed(1, "첫 줄은 WEBVTT여야 합니다.", "The first line has to be WEBVTT.")
    cues: list[Cue] = []
    blocks = _blocks(lines)
    if next(iter(lines[1:]), ""):  # headers directly below the first line
        next(blocks, None)
    for at, block in blocks:
        cue = _cue(at, block)
        if cue is None:
            continue
        if cues and cue.start < cues[-1].start:
            raise Malformed(at, "자막은 시작 시간 순서여야 합니다.", "Cues have to be in the order of their start.")
        cues.append(cue)
        if len(cues) > MAX_CUES:
            raise Malformed(at, f"자막은 {MAX_CUES:,}개까지입니다.", f"There may be at most {MAX_CUES:,} cues.")
    return cues


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of lines between empty ones, each with the number of its first line."""
    block: list[str] = []
    for number, line in enumerate([*lines[1:], ""], start=2):
        if line:
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _cue(at: int, block: list[str]) -> Cue | None:
    if block[0].split(" ")[0].split("\t")[0] in _NOT_CUES and "-->" not in block[0]:
        return None
    named = "-->" not in block[0]
    times = _TIMES.fullmatch(block[1] if named and len(block) > 1 else block[0])
    if times is None:
        raise Malformed(
            at,
            "시간을 읽을 수 없습니다. 00:01:02.000 --> 00:01:04.000처럼 적어 주세요.",
            "The times cannot be read. Write them like 00:01:02.000 --> 00:01:04.000.",
        )
    start, end = _milliseconds(*times.groups()[:4]), _milliseconds(*times.groups()[4:8])
    if end <= start:
        raise Malformed(at, "끝 시간이 시작 시간보다 늦어야 합니다.", "A cue has to end after it starts.")
    text = "\n".join(block[1 + named :])
    if "-->" in text or len(text) > MAX_CUE_TEXT:
        raise Malformed(
            at,
            f"자막 사이에 빈 줄이 있어야 하고, 하나에 {MAX_CUE_TEXT:,}자까지 적을 수 있습니다.",
            f"Cues need an empty line between them, and at most {MAX_CUE_TEXT:,} characters each.",
        )
    return Cue(start, end, text)


def _milliseconds(hours: str | None, minutes: str, seconds: str, thousandths: str) -> int:
    return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(thousandths)


def render(cues: Iterable[Cue], *, header: str = "") -> str:
    """The file. `header`: a line below the first, such as X-TIMESTAMP-MAP."""
    head = "WEBVTT" + (f"\n{header}" if header else "")
    return "\n\n".join([head, *(_shown(cue) for cue in cues)]) + "\n"


def _shown(cue: Cue) -> str:
    times = f"{_clock(cue.start)} --> {_clock(cue.end)}"
    return f"{times}\n{cue.text}" if cue.text else times


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:03}"
