"""Latin letters and numbers among Hangul, by the shapes of their ink. Used by `passes`; pure.

Tesseract's Korean model reads `RNA를` as `뜨티스를`, sure of itself at times. Letters are one piece of ink each, stand
on one line and are lower than the upright strokes of syllables; the pieces of a syllable are seldom all of that.
"""

from collections.abc import Iterator

from academy_ai.columns import Layout, Line, Piece

FOOT = 0.075
"""Line heights by which the feet of letters of one word differ at most."""
LOW, HIGH, WIDE = 0.38, 0.86, 1.0
"""Line heights: the lowest and the highest letter, the widest."""
DESCENT = (0.1, 0.34)
"""Line heights by which g, j, p, q and y reach below the others' foot."""
APART = 0.28
"""Line heights of blank that end a word."""
BROKEN = 0.12
"""Line heights within which a scrap of ink belongs to the letter before it: thin strokes break."""
DOT = 0.24
"""Line heights: the largest dot of an i."""
OVER = 0.3
"""Share of the narrower piece's width from which on pieces stand one above the other."""
LEAST = 2

Run = tuple[Piece, ...]
"""What may be the letters and digits of one word, from left to right."""


def runs(seen: Layout) -> list[Run]:
    """Where words of at least two letters or digits may stand, line by line."""
    lines = (line for column in seen.columns for line in column.lines)
    return [tuple(word) for line in lines for word in _words(line, seen.em) if len(word) >= LEAST]


def _words(line: Line, em: float) -> Iterator[list[Piece]]:
    """Stretches of cells that are letters by shape, share a foot and stand close together."""
    word: list[Piece] = []
    for cell in _cells(line):
        letter = _letter(cell, em)
        if letter is None and word and _scrap(cell, word[-1], em):
            word[-1] = _around([word[-1], *cell])
            continue
        if word and (letter is None or letter.x0 - word[-1].x1 > APART * em or not _level(word, letter, em)):
            yield word
            word = []
        if letter is not None:
            word.append(letter)
    if word:
        yield word


def _cells(line: Line) -> list[list[Piece]]:
    """Pieces of ink, those one above the other together."""
    out: list[list[Piece]] = []
    for piece in line.pieces:
        right = max((one.x1 for one in out[-1]), default=0) if out else 0
        narrow = min(piece.width, *(one.width for one in out[-1])) if out else 0
        if out and right - piece.x0 > OVER * narrow:
            out[-1].append(piece)
        else:
            out.append([piece])
    return out


def _around(pieces: list[Piece]) -> Piece:
    return Piece(
        min(p.x0 for p in pieces), min(p.y0 for p in pieces), max(p.x1 for p in pieces), max(p.y1 for p in pieces)
    )


def _letter(cell: list[Piece], em: float) -> Piece | None:
    """The cell as one piece where it can be a letter: one piece, or one with a dot above."""
    body = max(cell, key=lambda piece: piece.height)
    dots = [piece for piece in cell if piece is not body]
    if len(dots) > 1 or any(dot.height > DOT * em or dot.y1 > body.y0 for dot in dots):
        return None
    if not LOW * em <= body.height <= HIGH * em or body.width > WIDE * em:
        return None
    return _around(cell)


def _scrap(cell: list[Piece], last: Piece, em: float) -> bool:
    """Whether the cell is a piece that broke off the last letter, or a stop behind it."""
    box = _around(cell)
    return box.height < LOW * em and box.width < LOW * em and box.x0 - last.x1 <= BROKEN * em


def _level(word: list[Piece], letter: Piece, em: float) -> bool:
    """Whether it stands on the word's foot, or one of the two reaches below it as a `g` does."""
    below = letter.y1 - min(one.y1 for one in word)
    deepest = max(one.y1 for one in word) - min(one.y1 for one in word)
    first = len(word) == 1 and -DESCENT[1] * em <= below <= -DESCENT[0] * em
    return abs(below) <= FOOT * em or DESCENT[0] * em <= below <= DESCENT[1] * em or first or below == deepest
