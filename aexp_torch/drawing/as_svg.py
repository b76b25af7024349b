"""A pipeline as SVG: sources at the left, the agent at the right, answers dashed on their way back."""

from collections.abc import Sequence
from html import escape

from aexp_torch.drawing.as_text import shorten
from aexp_torch.drawing.graph import Edge, Leaf, Node
from aexp_torch.drawing.layout import Canvas, Chain, Join, Line, Part
from aexp_torch.drawing.words import columns

__all__ = ["as_svg"]

CHAR, BOLD_CHAR, LINE = 7.4, 8.1, 16  # of monospaced letters, a little more than they take
FROM_MIDDLE = 5.0  # of the lines of timesteps and answers, from the middle
MOST_ARGUMENTS = 8
MARGIN, LEGEND = 16, 34
LONGEST_CHAIN = 1180  # then it goes on in the next row

STYLE = """\
.aexp-drawing text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1b2733}
.aexp-drawing .title{font-size:13px;font-weight:bold}
.aexp-drawing .head,.aexp-drawing .spec{fill:#5b6b7b}
.aexp-drawing .new{font-weight:bold}
.aexp-drawing .page{fill:#fff}
.aexp-drawing .box{stroke:#30475e;stroke-width:1.2}
.aexp-drawing .source{fill:#e8f1fb}
.aexp-drawing .stage{fill:#eef7ea}
.aexp-drawing .composition,.aexp-drawing .loader{fill:#fdf5e3}
.aexp-drawing .agent{fill:#f3ecf8}
.aexp-drawing .down,.aexp-drawing .up{fill:none;stroke:#1f5fa8;stroke-width:1.8}
.aexp-drawing .up{stroke:#c2541b;stroke-dasharray:5 4}
.aexp-drawing .down-head{fill:#1f5fa8}
.aexp-drawing .up-head{fill:#c2541b}
@media (prefers-color-scheme:dark){
.aexp-drawing text{fill:#e6edf3}
.aexp-drawing .head,.aexp-drawing .spec{fill:#9fb0c0}
.aexp-drawing .page{fill:#0f1720}
.aexp-drawing .box{stroke:#8fa6bd}
.aexp-drawing .source{fill:#1b2c40}
.aexp-drawing .stage{fill:#1f3325}
.aexp-drawing .composition,.aexp-drawing .loader{fill:#3a3117}
.aexp-drawing .agent{fill:#33274a}
.aexp-drawing .down{stroke:#6cb0ff}
.aexp-drawing .up{stroke:#ff9a5c}
.aexp-drawing .down-head{fill:#6cb0ff}
.aexp-drawing .up-head{fill:#ff9a5c}
}"""


def as_svg(graph: Node, max_keys: int) -> str:
    """Draws a graph as an SVG document."""
    picture = Chain(_groups(graph, max_keys), LONGEST_CHAIN)
    canvas = Canvas()
    picture.draw(canvas, MARGIN, MARGIN + picture.up)
    bottom = MARGIN + picture.up + picture.down + LEGEND
    _draw_legend(canvas, bottom - 8)
    width, height = max(picture.width, 420) + 2 * MARGIN, bottom + MARGIN - 8
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="aexp-drawing" {size}>',
            "<title>Timesteps flow from the sources to the agent, answers flow back the same way</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
            *canvas.lines,
            *canvas.boxes,
            *canvas.texts,
            "</svg>",
        ]
    )


def _groups(node: Node, max_keys: int) -> list[list[Part]]:
    """Returns the way to a box, and the box, in groups of what stays together in a row."""
    box = Box(node)
    if not node.edges:
        return [[box]]
    if len(node.edges) == 1:
        (edge,) = node.edges
        return [*_groups(edge.node, max_keys), [Wire(edge, max_keys), box]]
    inputs: list[list[list[Part]]] = [[*_groups(edge.node, max_keys), [Wire(edge, max_keys)]] for edge in node.edges]
    return [[Join([Chain(groups, LONGEST_CHAIN) for groups in inputs]), box]]


class Box(Part):
    """Is a class and its arguments."""

    def __init__(self, node: Node):
        self.node = node
        few, more = shorten(node.arguments, MOST_ARGUMENTS)
        self.words = [*few, *([f"… {more} more"] if more else [])]
        self.width = max([columns(node.title) * BOLD_CHAR, *(columns(word) * CHAR for word in self.words)]) + 22
        height = max(LINE * (1 + len(self.words)) + 14, Join.height_of_ports(len(node.edges)) + 14)
        self.up = self.down = height / 2

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Draws a rectangle and the words in it."""
        canvas.boxes.append(
            f'<rect class="box {self.node.kind}" x="{x:.1f}" y="{y - self.up:.1f}" width="{self.width:.1f}"'
            f' height="{2 * self.up:.1f}" rx="7"/>'
        )
        top = y - LINE * len(self.words) / 2
        for place, (word, kind) in enumerate(
            [(self.node.title, "title"), *((word, "argument") for word in self.words)]
        ):
            middle = x + self.width / 2
            canvas.texts.append(
                f'<text class="{kind}" x="{middle:.1f}" y="{top + place * LINE + 4.5:.1f}" text-anchor="middle">'
                f"{escape(word)}</text>"
            )


class Wire(Line):
    """Is an edge: timesteps above, answers below."""

    def __init__(self, edge: Edge, max_keys: int):
        self.answered = any(flow.action for flow in edge.flows)
        self.above, self.below = [], []
        if edge.note:
            self.above.append(_head(edge.note))
        flows, more = shorten(edge.flows, max_keys)
        for flow in flows:
            self.above += [_head(flow.head), *_words(flow.observation, max_keys)]
            if flow.action:
                self.below += ([_head(flow.source)] if len(edge.flows) > 1 else []) + _words(flow.action, max_keys)
        if more:
            self.above.append(_head(f"… {more} more sources"))
        self.width = max(length for length, _ in self.above + self.below) * CHAR + 30
        self.up = FROM_MIDDLE + LINE * len(self.above) + 5
        self.down = FROM_MIDDLE + LINE * len(self.below) + 8

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        """Writes what passes on the lines."""
        for side, first in (
            (self.above, y - FROM_MIDDLE - LINE * len(self.above) + 9),
            (self.below, y + FROM_MIDDLE + 15),
        ):
            for place, (_, text) in enumerate(side):
                canvas.texts.append(f'<text x="{x + 12:.1f}" y="{first + place * LINE:.1f}">{text}</text>')

    def draw_lines(self, canvas: Canvas, points: Sequence[tuple[float, float]]) -> None:
        """Draws both ways along some points, arrow heads at the ends."""
        canvas.way(points, -FROM_MIDDLE if self.answered else 0.0, "down")
        if self.answered:
            canvas.way(points, FROM_MIDDLE, "up")


def _head(words: str) -> tuple[int, str]:
    return columns(words), f'<tspan class="head">{escape(words)}</tspan>'


def _words(leaves: Sequence[Leaf], max_keys: int) -> list[tuple[int, str]]:
    """Returns the lines for some keys, each with the number of its letters."""
    few, more = shorten(leaves, max_keys)
    lines = []
    for leaf in few:
        spec = f' <tspan class="spec">{escape(leaf.text)}</tspan>'
        key = f'<tspan class="{"key new" if leaf.new else "key"}">{escape(leaf.key)}</tspan>'
        lines.append((columns(leaf.key) + 1 + columns(leaf.text), key + spec))
    return lines + ([_head(f"… {more} more")] if more else [])


def _draw_legend(canvas: Canvas, y: float) -> None:
    for x, kind, words in ((MARGIN, "down", "timesteps"), (MARGIN + 150, "up", "answers, to where they belong")):
        canvas.way([(x, y), (x + 44, y)], 0.0, kind)
        canvas.texts.append(f'<text x="{x + 54:.1f}" y="{y + 4:.1f}">{words}</text>')
