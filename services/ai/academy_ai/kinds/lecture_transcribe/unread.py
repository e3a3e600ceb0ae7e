"""Speech that a reading passes over: found by the times of its words, to be read again. Used by `run`; pure.

Whisper skips a sentence at times, or stops before the end; mostly where much the same is said twice. The words' times
are found by what each word listened to, and one that stands before or after a hole is stretched over it.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, pairwise

from academy_ai.kinds.lecture_transcribe.speech import Seconds
from academy_ai.kinds.lecture_transcribe.words import Word

LONGEST_WORD = 2.0
"""Seconds; a word that lasts longer hides speech that was not written down. Before a pause one takes up to 1.2."""


def stretches(words: Sequence[Word], window: Sequence[Seconds], end: float) -> list[int]:
    """Places of a window's stretches that were passed over. Words and `end` (of the text) in seconds of its sound.

    Too long a word, or the blank behind the text's end, covers more than half of them, or more than LONGEST_WORD.
    """
    edges = [0.0, *accumulate(last - first for first, last in window)]
    spans = [(word.start, word.end) for word in words] + [(end, edges[-1])]
    holes = [(start, last) for start, last in spans if last - start > LONGEST_WORD]
    return [
        place
        for place, (first, last) in enumerate(pairwise(edges))
        if any(min(end, last) - max(start, first) > min(LONGEST_WORD, (last - first) / 2) for start, end in holes)
    ]


def apart(window: tuple[Seconds, ...], places: Collection[int]) -> Iterator[tuple[Seconds, ...]]:
    """Smaller windows of the stretches at `places`: those side by side together, each alone when that is all."""
    if len(places) == len(window):
        yield from ((stretch,) for stretch in window)
        return
    run: tuple[Seconds, ...] = ()
    for place, stretch in enumerate(window):
        if place in places:
            run += (stretch,)
        elif run:
            yield run
            run = ()
    if run:
        yield run
