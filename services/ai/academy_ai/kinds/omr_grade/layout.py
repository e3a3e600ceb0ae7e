"""The template's bubbles as arrays, cut into the pieces, runs and areas that the search and the fit work on. Pure.

Made once a template; between `template` and everything that looks at a picture.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from academy_ai.kinds.omr_grade.template import Sheet

RUN = 3
"""Bubbles of a field that are followed together."""
JOIN = 0.3
"""Share of a row's distance by which blocks of one lattice may stand apart."""
PIECE = 8
"""Rows and columns of bubbles in one piece, at most."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some neighbouring bubbles that are searched together, page units."""

    centres: npt.NDArray[np.float64]
    beyond: npt.NDArray[np.float64]
    """Where the next bubbles would be if the lattice went on, and the template has none."""

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """Middle of the piece."""
        middle: npt.NDArray[np.float64] = self.centres.mean(axis=0)
        return middle


@dataclass(frozen=True, slots=True)
class Layout:
    """The bubbles of a sheet as arrays, made once a template."""

    sheet: Sheet
    boxes: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    """Usual width and height of a bubble, page units."""
    pieces: tuple[Piece, ...]
    starts: npt.NDArray[np.intp]
    """First bubble of each run: up to three neighbouring bubbles of one field, followed together in the fine fit."""
    places: npt.NDArray[np.float64]
    """Middle of each run, page units."""
    blocks: tuple[npt.NDArray[np.intp], ...]
    """Runs of each block."""
    grids: tuple[npt.NDArray[np.intp], ...]
    """Bubbles of each block as they lie: rows by columns."""
    areas: tuple[npt.NDArray[np.intp], ...]
    """The same, blocks that go on one another's lattice joined: an area ends where the print changes."""
    rim: "Rim"
    step: npt.NDArray[np.float64]
    """Usual distance from column to column and from row to row, page units."""

    @property
    def span(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Upper left and lower right corner of what all bubbles cover and a step around it, page units."""
        return self.boxes[:, :2].min(axis=0) - self.step, self.boxes[:, 2:].max(axis=0) + self.step


@dataclass(frozen=True, slots=True)
class Rim:
    """The places one beyond each side of the areas where no bubble may be, as continuations of the lattice.

    Place = c[edge] + (c[edge] - c[before]) + offset, c being the bubbles' centres wherever they lie by now.
    """

    edge: npt.NDArray[np.intp]
    before: npt.NDArray[np.intp]
    offset: npt.NDArray[np.float64]
    """Page units; not 0 only where an area has a single row or column and shows no distance of its own."""

    def places(self, centres: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.float64]:
        """Where they lie for such centres, `scale` units of theirs a page unit."""
        return np.asarray(2 * centres[self.edge] - centres[self.before] + self.offset * scale)


def layout(sheet: Sheet) -> Layout:
    """Cut the template into pieces for the search."""
    boxes = np.array([(b.x, b.y, b.x + b.width, b.y + b.height) for f in sheet.fields for b in f.bubbles], np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    near = 0.8 * float(np.median(boxes[:, 2:] - boxes[:, :2]))
    counts = [len(one.bubbles) for one in sheet.fields]
    starts = np.cumsum([0, *counts])[:-1]
    blocks: dict[str, list[int]] = {}
    for number, one in enumerate(sheet.fields):
        blocks.setdefault(one.block, []).append(number)
    pieces: list[Piece] = []
    laid: list[npt.NDArray[np.intp]] = []
    for members in blocks.values():
        rows = starts[members][:, None] + np.arange(counts[members[0]])
        first = sheet.fields[members[0]].bubbles
        laid.append(rows if first[0].y == first[-1].y and first[0].x <= first[-1].x else rows.T)
        pieces.extend(
            Piece(centres[part.ravel()], _beyond(centres[part], centres, near))
            for part in np.array_split(rows, -(-len(rows) // PIECE))
        )
    grids = tuple(laid)
    areas = _areas(_areas(grids, centres), centres, across=True)
    step = np.array([_step(centres, grids, size, axis) for axis in (0, 1)])
    runs, owners = _runs(counts, [number for number, members in enumerate(blocks.values()) for _ in members])
    lengths = np.diff(np.append(runs, len(boxes)))
    return Layout(
        sheet,
        boxes,
        size,
        tuple(pieces),
        runs,
        np.stack([np.add.reduceat(centres[:, axis], runs) / lengths for axis in (0, 1)], axis=1),
        tuple(np.flatnonzero(owners == number) for number in range(len(blocks))),
        grids,
        areas,
        _rim(areas, centres, step, near),
        step,
    )


def _areas(
    grids: tuple[npt.NDArray[np.intp], ...], centres: npt.NDArray[np.float64], *, across: bool = False
) -> tuple[npt.NDArray[np.intp], ...]:
    """Lattices (rows by columns) joined where one goes on below another, or, `across`, to the right of it."""
    if across:
        return tuple(area.T for area in _areas(tuple(grid.T for grid in grids), centres))
    joined: list[npt.NDArray[np.intp]] = []
    for grid in sorted(grids, key=lambda grid: tuple(centres[grid[0, 0]][::-1])):
        for place, area in enumerate(joined):
            if _goes_on(centres, area, grid):
                joined[place] = np.concatenate([area, grid])
                break
        else:
            joined.append(grid)
    return tuple(joined)


def _goes_on(centres: npt.NDArray[np.float64], area: npt.NDArray[np.intp], grid: npt.NDArray[np.intp]) -> bool:
    """Whether `grid` begins where the next row of `area` would be."""
    if area.shape[1] != grid.shape[1] or len(area) < 2:  # noqa: PLR2004 - one row tells no distance
        return False
    step = centres[area[-1]] - centres[area[-2]]
    away = centres[grid[0]] - centres[area[-1]] - step
    return bool(np.abs(away).max() <= JOIN * np.linalg.norm(step[0]))


def _rim(
    areas: tuple[npt.NDArray[np.intp], ...],
    centres: npt.NDArray[np.float64],
    step: npt.NDArray[np.float64],
    near: float,
) -> Rim:
    """The rim of these areas, but for places where another area's bubble is (within `near`)."""
    edges, befores, offsets = [], [], []
    for area in areas:
        for axis, lattice in ((1, area), (0, area.T)):
            for edge, before, sign in (
                (lattice[0], lattice[min(1, len(lattice) - 1)], -1),
                (lattice[-1], lattice[max(-2, -len(lattice))], 1),
            ):
                edges.append(edge)
                befores.append(before)
                alone = np.zeros(2)
                alone[axis] = sign * step[axis] if len(lattice) == 1 else 0.0
                offsets.append(np.tile(alone, (len(edge), 1)))
    rim = Rim(np.concatenate(edges), np.concatenate(befores), np.concatenate(offsets))
    free = np.abs(rim.places(centres, 1.0)[:, None] - centres[None]).max(axis=2).min(axis=1) > near
    return Rim(rim.edge[free], rim.before[free], rim.offset[free])


def _runs(counts: list[int], blocks: list[int]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """First bubbles of the runs of fields with these numbers of bubbles, and the block of each run."""
    starts: list[int] = []
    owners: list[int] = []
    first = 0
    for count, block in zip(counts, blocks, strict=True):
        parts = [len(part) for part in np.array_split(np.arange(count), -(-count // RUN))]
        starts += [first + sum(parts[:place]) for place in range(len(parts))]
        owners += [block] * len(parts)
        first += count
    return np.array(starts, np.intp), np.array(owners, np.intp)


def _step(
    centres: npt.NDArray[np.float64], grids: tuple[npt.NDArray[np.intp], ...], size: npt.NDArray[np.float64], axis: int
) -> float:
    """Usual distance between neighbours along an axis; two bubbles where none has a neighbour."""
    gaps = [np.diff(centres[grid][..., axis], axis=1 - axis).ravel() for grid in grids]
    every = np.concatenate(gaps)
    return float(np.median(every)) if len(every) else 2 * float(size[axis])


def _beyond(
    lattice: npt.NDArray[np.float64], everything: npt.NDArray[np.float64], near: float
) -> npt.NDArray[np.float64]:
    """One step beyond each side of a lattice (fields x bubbles x 2), but where another bubble is."""
    sides = []
    for grid in (lattice, lattice.swapaxes(0, 1)):
        if len(grid) > 1:
            sides += [2 * grid[0] - grid[1], 2 * grid[-1] - grid[-2]]
    if not sides:
        return np.empty((0, 2))
    places = np.concatenate(sides)
    gap = np.abs(places[:, None, :] - everything[None, :, :]).max(axis=2).min(axis=1)
    return np.asarray(places[gap > near])
