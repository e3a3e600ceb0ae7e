"""What two questions are compared by. Pure and light: the API indexes and searches with it, the worker compares a bank.

A question is a set of grams:

- character pairs within words: Korean endings and particles change, the pairs of a stem stay;
- numbers and Latin words whole: `12` is not half of `120`;
- a number with what it counts: `12 cm` and `12개` give `12c` and `12개`;
- unordered pairs of numbers: two questions of one pattern differ in their numbers alone, and a pair is rare where each
  of its numbers is common.

Rare grams tell questions apart, so a gram weighs the fourth power of its inverse document frequency (Robertson and
Spärck Jones' form, as in BM25). The power was chosen on `tests/bench/similar.py`: lower ones drown the numbers in the
pattern's wording.
"""

import math
import re
import unicodedata
from itertools import combinations

MAX_NUMBERS = 12
"""Numbers of a question that are paired: a table of figures would give thousands of pairs."""
SAME = 0.85
"""Questions that are alike at least so much are marked as the same. Chosen on `tests/bench/similar.py`."""

_WORD = re.compile(r"[0-9]+|[a-z]+|[가-힣ㄱ-ㆎ]+|[^\W_]")
_COUNTED = re.compile(r"([0-9]+)\s?([a-z가-힣])")
_WHOLE = re.compile(r"[0-9a-z]+")


def grams(text: str) -> frozenset[str]:
    """The question's grams; empty for a text without a letter or digit."""
    text = unicodedata.normalize("NFKC", text).lower()
    words = _WORD.findall(text)
    numbers = sorted({word for word in words if word.isdecimal()})[:MAX_NUMBERS]
    found = {f"{first}&{second}" for first, second in combinations(numbers, 2)}
    found.update(number + unit for number, unit in _COUNTED.findall(text))
    for word in words:
        if _WHOLE.fullmatch(word) or len(word) == 1:
            found.add(word)
        else:
            found.update(word[at : at + 2] for at in range(len(word) - 1))
    return frozenset(found)


def weight(holders: int, total: int) -> float:
    """What a gram that `holders` of `total` questions have is worth."""
    return math.log(1 + (total - holders + 0.5) / (holders + 0.5)) ** 4


def likeness(first: str, second: str) -> float:
    """How alike two texts are written, 0 to 1: Jaccard index of their character pairs, spaces and signs left out.

    0 where their numbers differ: the same wording with other numbers is another question.
    """
    one, other = _words(first), _words(second)
    if sorted(filter(str.isdecimal, one)) != sorted(filter(str.isdecimal, other)):
        return 0.0
    mine, theirs = _pairs("".join(one)), _pairs("".join(other))
    return len(mine & theirs) / len(mine | theirs) if mine | theirs else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def _pairs(text: str) -> frozenset[str]:
    return frozenset(text[at : at + 2] for at in range(len(text) - 1)) or frozenset({text} - {""})
