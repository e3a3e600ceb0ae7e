"""Tesseract as a reader of exams: its Korean pass and its English one, weighed word by word.

The Korean pass reads the lines; words that are no Hangul are taken from the English pass where that is surer.
"""

import re
from itertools import chain

from academy_ai import tesseract
from academy_ai.paper import Gray
from academy_ai.text import Lines, Word

UNSURE = 0.75
"""Confidence of the Korean pass under which the English one is asked even for words without Latin letters."""
SURE = 0.85
"""Confidence of the English pass that outweighs unsure Hangul."""
HANGUL = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]")
LATIN = re.compile(r"[A-Za-z]")
ENGLISH = re.compile(r"[(\"']?[A-Za-z][A-Za-z0-9'-]*[)\"',.:;?!]*")
SAME = 0.7
"""Share of a word's width that another pass's word must cover to be the same."""


class Tesseract:
    """A text.Reader in this process."""

    name = "tesseract"

    def lines(self, picture: Gray) -> Lines:
        """See text.Reader."""
        korean = tesseract.lines(picture, "kor", mode=6)
        english: list[Word] = []
        if any(LATIN.search(word.text) or word.confidence < UNSURE for word in chain.from_iterable(korean)):
            english = list(chain.from_iterable(tesseract.lines(picture, "eng", mode=6)))
        return [[chosen(word, english) for word in line] for line in korean]


def chosen(word: Word, english: list[Word]) -> Word:
    """The Korean pass's word, or the English pass's at the same place where that is surer.

    It reads Hangul as Latin letters too, so against Hangul it must be sure where the Korean pass is not.
    """
    hangul = HANGUL.search(word.text) is not None
    if hangul and word.confidence >= UNSURE:
        return word
    for other in english:
        across = min(word.x + word.width, other.x + other.width) - max(word.x, other.x)
        down = min(word.y + word.height, other.y + other.height) - max(word.y, other.y)
        same = across > SAME * max(word.width, other.width) and down > SAME * min(word.height, other.height)
        least = max(SURE, word.confidence) if hangul else word.confidence
        if same and ENGLISH.fullmatch(other.text) and other.confidence > least:
            return Word(other.text, word.x, word.y, word.width, word.height, other.confidence)
    return word
