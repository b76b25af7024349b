"""Where boxes and lines go: parts beside each other in rows, inputs of a box below each other."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["Canvas", "Chain", "Join", "Line", "Part"]

Point = tuple[float, float]

PORTS_APART = 26.0
LINES_APART = 18.0  # of the vertical lines to ports
INPUTS_APART = 26.0  # more than nothing between what stands below each other
ROWS_APART = 40.0
INDENT, TURN = 30.0, 16.0  # of rows that go on from the one above, and of the way to them
HEAD, CORNER = 8.0, 7.0
OVERHANG = 0.3  # of its length, by which a row may be longer for the last part


class Canvas:
    """Collects SVG elements: lines lie below boxes, boxes below words."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.boxes: list[str] = []
        self.texts: list[str] = []

    def way(self, points: Sequence[Point], aside: float, kind: str) -> None:
        """Draws a line along points, with an arrow head.

        Args:
          points: with horizontal and vertical ways between them in turn, horizontal at both ends.
          aside: how far beside them, to the right-hand side of the way.
          kind: "down" goes to the last point, "up" comes from there.
        """
        points = _beside(_corners(points), aside)
        (x, y), ahead = (points[-1], 1.0) if kind == "down" else (points[0], -1.0)
        blunt = (x - ahead * (HEAD - 1), y)
        points = [*points[:-1], blunt] if kind == "down" else [blunt, *points[1:]]
        self.lines.append(f'<path class="{kind}" d="{_rounded(points)}"/>')
        back = x - ahead * HEAD
        self.lines.append(
            f'<path class="{kind}-head" d="M{x:.1f} {y:.1f}L{back:.1f} {y - HEAD / 2:.1f}V{y + HEAD / 2:.1f}z"/>'
        )


def _corners(points: Sequence[Point]) -> list[Point]:
    """Leaves out points between which there is no way, and those at which it does not turn."""
    kept: list[Point] = []
    for point in points:
        if kept and abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) < 0.5:
            continue
        if len(kept) > 1 and any(
            abs(kept[-2][axis] - point[axis]) < 0.5 > abs(kept[-1][axis] - point[axis]) for axis in (0, 1)
        ):
            kept.pop()
        kept.append(point)
    return kept


def _beside(points: list[Point], aside: float) -> list[Point]:
    """Returns a way that runs beside another, to the right-hand side of it."""
    normals = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = abs(x1 - x0) + abs(y1 - y0)
        normals.append((-(y1 - y0) / length, (x1 - x0) / length))
    moved = []
    for place, (x, y) in enumerate(points):
        near = {normals[max(0, place - 1)], normals[min(place, len(normals) - 1)]}
        moved.append((x + aside * sum(n[0] for n in near), y + aside * sum(n[1] for n in near)))
    return moved


def _rounded(points: list[Point]) -> str:
    path = "M{:.1f} {:.1f}".format(*points[0])
    for before, corner, after in zip(points, points[1:], points[2:]):
        radius = min(CORNER, _distance(before, corner) / 2, _distance(corner, after) / 2)
        path += "L{:.1f} {:.1f}Q{:.1f} {:.1f} {:.1f} {:.1f}".format(
            *_towards(corner, before, radius), *corner, *_towards(corner, after, radius)
        )
    return path + "L{:.1f} {:.1f}".format(*points[-1])


def _distance(one: Point, other: Point) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(start: Point, end: Point, length: float) -> Point:
    share = length / max(_distance(start, end), 1e-9)
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])


class Part(ABC):
    """Is something to be drawn: `width`, and how far it reaches `up` and `down` from the line in its middle."""

    width: float
    up: float
    down: float

    @abstractmethod
    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draws it with its left end at x and its middle at y."""


class Line(Part):
    """Is an edge: what is written on it is drawn as a part of a row, its lines along any way."""

    @abstractmethod
    def draw_lines(self, canvas: Canvas, points: Sequence[Point]) -> None:
        """Draws the lines; the points are as in `Canvas.way`."""


class Chain(Part):
    """Puts groups of parts beside each other, and goes on in another row where there is no more room.

    Its middle is that of the last row.

    Args:
      groups: of parts that stay together. A `Line` leads from what is before it to what comes after it, and where it is
        the last of all, to wherever `draw` is told.
      longest: of rows, unless a single group is longer; somewhat more where only one group is left.
    """

    def __init__(self, groups: Sequence[Sequence[Part]], longest: float):
        rows: list[list[Part]] = []
        room = 0.0
        for group in groups:
            width = sum(part.width for part in group)
            spare = OVERHANG * longest if group is groups[-1] else 0.0  # rather than alone in a row
            if not rows or width > room + spare:
                rows.append([])
                room = longest - INDENT * (len(rows) > 1)
            rows[-1] += group
            room -= width
        self.rows = rows
        lengths = [sum(part.width for part in row) for row in rows]
        self.width = max([lengths[0], *(INDENT + length for length in lengths[1:])]) + (TURN + 8) * (len(rows) > 1)
        self.up = sum(_height(row) + ROWS_APART for row in rows[:-1]) + max(part.up for part in rows[-1])
        self.down = max(part.down for part in rows[-1])

    def draw(self, canvas: Canvas, x: float, y: float, onwards: Sequence[Point] = ()) -> None:
        """Draws the rows.

        Args:
          canvas: what is drawn on.
          x: of the left end.
          y: of the middle of the last row.
          onwards: where a `Line` at the end leads to.
        """
        top, way = y - self.up, [(x, y)]
        for number, row in enumerate(self.rows):
            middle, right = top + max(part.up for part in row), x + INDENT * (number > 0)
            if number:
                between, ((end, above),) = top - ROWS_APART / 2, way
                way = [
                    (end, above),
                    (end + TURN, above),
                    (end + TURN, between),
                    (x + TURN, between),
                    (x + TURN, middle),
                ]
            for place, part in enumerate(row):
                part.draw(canvas, right, middle)
                right += part.width
                if isinstance(part, Line):
                    last = number == len(self.rows) - 1 and place == len(row) - 1
                    part.draw_lines(canvas, [*way, *(onwards if last else [(right, middle)])])
                way = [(right, middle)]
            top += _height(row) + ROWS_APART


def _height(row: list[Part]) -> float:
    return max(part.up for part in row) + max(part.down for part in row)


class Join(Part):
    """Is what leads to a box with several inputs: they stand below each other, and lines lead to the box's ports.

    Args:
      inputs: each ends with a `Line`.
    """

    def __init__(self, inputs: Sequence[Chain]):
        self.inputs = inputs
        middles = [0.0]
        for above, below in pairwise(inputs):
            middles.append(middles[-1] + above.down + INPUTS_APART + below.up)
        middle = middles[-1] / 2
        self.middles = [each - middle for each in middles]
        self.up = inputs[0].up - self.middles[0]
        self.down = self.middles[-1] + inputs[-1].down
        first_port = -PORTS_APART * (len(inputs) - 1) / 2
        self.ports = [first_port + PORTS_APART * place for place in range(len(inputs))]
        # Who comes from above turns the further right the higher, so that no line crosses another.
        higher = [place for place in range(len(inputs)) if self.middles[place] < self.ports[place]]
        lower = [place for place in range(len(inputs)) if self.middles[place] >= self.ports[place]]
        turns = [*enumerate(reversed(higher)), *enumerate(lower)]
        self.turns = {place: LINES_APART * (turn + 1) for turn, place in turns}
        self.reach = max(part.width for part in inputs)
        self.width = self.reach + LINES_APART * (max(len(higher), len(lower)) + 2)

    @staticmethod
    def height_of_ports(count: int) -> float:
        """Returns how high a box with so many inputs is at least."""
        return PORTS_APART * count

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draws the inputs, and their lines to the ports."""
        for place, part in enumerate(self.inputs):
            start, port, turn = y + self.middles[place], y + self.ports[place], x + self.reach + self.turns[place]
            part.draw(canvas, x, start, [(turn, start), (turn, port), (x + self.width, port)])
