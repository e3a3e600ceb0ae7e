"""What readers of print give: words with their boxes, line by line; and the interface that all readers share.

Two stand behind it: Tesseract in the kind's own process (`kinds.exam_ocr.passes`), and Google Vision, which the worker
asks on the kind's behalf (`vision`, `child`). One contract suite runs over both.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from academy_ai.paper import Gray  # it brings numpy, which the worker's own process has no use for

SAME_ROW = 0.5
"""Heights of a word by which its middle may be off its row's."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text, box in pixels, confidence 0 to 1."""

    text: str
    x: int
    y: int
    width: int
    height: int
    confidence: float


Lines = list[list[Word]]
"""From top to bottom, each from left to right."""


class Reader(Protocol):
    """Reads print. Raises Retryable when it cannot now, Permanent when the picture is none that it takes."""

    name: str
    """As results name it: `tesseract` or `google-vision`."""

    def lines(self, picture: "Gray") -> Lines:
        """The words of one straight column of black print on white paper, lines some 40 pixels high."""
        ...


def rows(words: Iterable[Word]) -> Lines:
    """Words as the lines of one straight column, whatever blocks they were found in."""
    out: Lines = []
    for word in sorted(words, key=lambda one: one.y + one.height / 2):
        last = out[-1][-1] if out else None
        if last is not None and abs(_middle(word) - _middle(last)) <= SAME_ROW * max(word.height, last.height):
            out[-1].append(word)
        else:
            out.append([word])
    return [sorted(line, key=lambda word: word.x) for line in out]


def _middle(word: Word) -> float:
    return word.y + word.height / 2
