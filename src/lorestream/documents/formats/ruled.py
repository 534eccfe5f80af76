"""Tables with ruled lines on a page of paper: found by their lines, filled with the words between them."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# In points: as far from a line as another may end and still meet it; as thick as a line may be.
REACH, THICKNESS = 3.0, 3.0
MAX_BOXES, MAX_LINES = 4000, 400
MAX_COLUMNS, MAX_ROWS = 40, 200
# A frame, a form or a figure is no table: so much of its cells is filled, none with more than a paragraph.
LEAST_FILLED, MAX_CELL_WORDS = 0.4, 150

Cells = list[list[list[int]]]


class Place(NamedTuple):
    """Where something stands, in points from the top left corner of the page as it is shown."""

    x0: float
    y0: float
    x1: float
    y1: float


class Line(NamedTuple):
    """A line across or down the page: at ``at``, from ``start`` to ``end`` along the other axis."""

    at: float
    start: float
    end: float

    def reaches(self, place: float) -> bool:
        """Whether it is there at a place along it."""
        return self.start - REACH <= place <= self.end + REACH


@dataclass(frozen=True, slots=True)
class Grid:
    """Lines that meet, and the edges of the columns and rows that they make."""

    across: list[Line]
    down: list[Line]

    def edges(self) -> tuple[list[float], list[float]]:
        """Of columns and of rows; a table may be open at its sides."""
        columns = [line.at for line in self.down] + [place for line in self.across for place in line[1:]]
        rows = [line.at for line in self.across] + [place for line in self.down for place in line[1:]]
        return _apart(columns), _apart(rows)


def tables(boxes: Iterable[Place], words: Callable[[], Sequence[Place]]) -> Iterator[Cells]:
    """Each table of a page: rows of cells of indexes into its words; ``boxes`` are of what else is drawn on it.

    Cells that no line divides are one, in its first row and column. What does not look like a table is none.
    """
    grids = list(_grids(*_lines(boxes)))
    places = words() if grids else ()
    for grid in grids:
        cells = _filled(grid, places)
        if _is_table(cells):
            yield cells


def _lines(boxes: Iterable[Place]) -> tuple[list[Line], list[Line]]:
    """What is thin as a line, and of other boxes the edges."""
    across: list[Line] = []
    down: list[Line] = []
    for box in itertools.islice(boxes, MAX_BOXES):
        is_flat, is_narrow = box.y1 - box.y0 <= THICKNESS, box.x1 - box.x0 <= THICKNESS
        if not is_flat:
            down += (Line(place, box.y0, box.y1) for place in ([box.x0] if is_narrow else [box.x0, box.x1]))
        if not is_narrow:
            across += (Line(place, box.x0, box.x1) for place in ([box.y0] if is_flat else [box.y0, box.y1]))
    return _joined(across), _joined(down)


def _joined(lines: list[Line]) -> list[Line]:
    """Lines that go on in each other as one."""
    level = _apart(line.at for line in lines)
    levels: dict[int, list[Line]] = {}
    for line in lines:
        levels.setdefault(bisect_right(level, line.at) - 1, []).append(line)
    joined: list[Line] = []
    for index, members in levels.items():
        following = None
        for line in sorted(members, key=lambda line: line.start):
            if following and line.start <= following.end + REACH:
                following = Line(level[index], following.start, max(following.end, line.end))
                joined[-1] = following
            else:
                following = Line(level[index], line.start, line.end)
                joined.append(following)
    return joined


def _grids(across: list[Line], down: list[Line]) -> Iterator[Grid]:
    """Lines that meet, directly or through others."""
    if max(len(across), len(down)) > MAX_LINES:
        return
    left_across, left_down = set(across), set(down)
    while left_across:
        grid = Grid([left_across.pop()], [])
        fresh: list[tuple[Line, bool]] = [(grid.across[0], True)]
        while fresh:
            line, is_across = fresh.pop()
            others = left_down if is_across else left_across
            start, end = line.start - REACH, line.end + REACH
            met = {other for other in others if start <= other.at <= end and other.reaches(line.at)}
            others -= met
            (grid.down if is_across else grid.across).extend(met)
            fresh += ((other, not is_across) for other in met)
        if len(grid.across) >= 2 and len(grid.down) >= 2:
            yield grid


def _filled(grid: Grid, words: Sequence[Place]) -> Cells:
    columns, rows = grid.edges()
    if len(columns) > MAX_COLUMNS or len(rows) > MAX_ROWS:
        return []
    cells: Cells = [[[] for _ in columns[1:]] for _ in rows[1:]]
    down, across = _at(columns, grid.down), _at(rows, grid.across)
    place_of: dict[tuple[int, int], tuple[int, int]] = {}
    for index, word in enumerate(words):
        column = bisect_right(columns, (word.x0 + word.x1) / 2) - 1
        row = bisect_right(rows, (word.y0 + word.y1) / 2) - 1
        if 0 <= column < len(columns) - 1 and 0 <= row < len(rows) - 1:
            if (row, column) not in place_of:
                place_of[row, column] = _first(columns, down, rows, across, (row, column))
            row, column = place_of[row, column]
            cells[row][column].append(index)
    cells = [row for row in cells if any(row)]
    used = [any(row[column] for row in cells) for column in range(len(columns) - 1)]
    return [list(itertools.compress(row, used)) for row in cells]


def _at(edges: list[float], lines: list[Line]) -> list[list[Line]]:
    """The lines at each edge."""
    return [[line for line in lines if edge - REACH <= line.at <= edge + REACH] for edge in edges]


def _first(
    columns: list[float], down: list[list[Line]], rows: list[float], across: list[list[Line]], cell: tuple[int, int]
) -> tuple[int, int]:
    """The first row and column of the cell that this is a part of: to its left and above as far as no line is."""
    row, column = cell
    middle = (rows[row] + rows[row + 1]) / 2
    while column > 0 and not any(line.reaches(middle) for line in down[column]):
        column -= 1
    middle = (columns[column] + columns[column + 1]) / 2
    while row > 0 and not any(line.reaches(middle) for line in across[row]):
        row -= 1
    return row, column


def _is_table(cells: Cells) -> bool:
    """At least two columns of two cells each, most of them filled."""
    if len(cells) < 2 or len(cells[0]) < 2:
        return False
    filled = [sum(bool(row[column]) for row in cells) for column in range(len(cells[0]))]
    longest = max(len(cell) for row in cells for cell in row)
    enough = sum(filled) >= LEAST_FILLED * len(cells) * len(filled)
    return enough and longest <= MAX_CELL_WORDS and sum(count >= 2 for count in filled) >= 2


def _apart(places: Iterable[float]) -> list[float]:
    """Places in order, those within reach of each other as the first of them."""
    apart: list[float] = []
    for place in sorted(places):
        if not apart or place - apart[-1] > REACH:
            apart.append(place)
    return apart
