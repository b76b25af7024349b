"""A pipeline in plain characters: sources on top, the agent at the bottom."""

from collections.abc import Sequence

from aexp_torch.drawing.graph import Edge, Flow, Leaf, Node
from aexp_torch.drawing.words import columns

__all__ = ["as_text", "shorten"]


def as_text(graph: Node, max_keys: int) -> str:
    """Draws a graph, a line for each box and for each key.

    What has several inputs stands below all of them, joined by a line at the left.
    """
    return "\n".join(line.rstrip() for line in _lines(graph, max_keys))


def _lines(node: Node, max_keys: int) -> list[str]:
    lines = []
    for place, edge in enumerate(node.edges):
        above, words = _lines(edge.node, max_keys), _words(edge, max_keys)
        if len(node.edges) == 1:
            lines += above + [f"│  {word}" for word in words]
        else:
            rail, corner = ("│", "├") if place else (" ", "┌")
            lines += [f"{rail}  {line}" for line in above]
            lines += [f"{corner}──┘  {words[0]}", *(f"│     {word}" for word in words[1:])]
    arguments = f"({', '.join(node.arguments)})" if node.arguments else ""
    return [*lines, node.title + arguments]


def _words(edge: Edge, max_keys: int) -> list[str]:
    words = [edge.note] if edge.note else []
    flows, more = shorten(edge.flows, max_keys)
    for flow in flows:
        words += [flow.head, *_keys(flow, max_keys)]
    return words + ([f"… {more} more sources"] if more else [])


def _keys(flow: Flow, max_keys: int) -> list[str]:
    lines: list[tuple[str, Leaf]] = []
    for arrow, leaves in (("↓", flow.observation), ("↑", flow.action)):
        few, more = shorten(leaves, max_keys)
        lines += [(arrow, leaf) for leaf in few] + [(arrow, Leaf(f"… {more} more", ""))] * (more > 0)
    width = max((columns(leaf.key) for _, leaf in lines), default=0)
    silent = [] if flow.action else ["↑ no answer is due"]
    return [
        f"{arrow} {leaf.key}{' ' * (width - columns(leaf.key))}  {leaf.text}".rstrip() for arrow, leaf in lines
    ] + silent


def shorten(items: Sequence, most: int) -> tuple[Sequence, int]:
    """Returns the first ones, and how many are left out: none, or at least two."""
    return (items, 0) if len(items) <= most + 1 else (items[:most], len(items) - most)
