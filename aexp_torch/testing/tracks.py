"""Tracks: what one lane shows and is told over time, in plain characters."""

from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor

from aexp_torch.specs import EnvSpec, flatten, path_name
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["IGNORED", "Cells", "Track", "drawn", "seen", "symbol_of", "told"]

Cells = dict[str, str]  # what a lane shows at one place, by row
ABSENT, IGNORED = "·", "--"
NARROWEST, LONGEST_VALUE = 5, 24
ORDER = ("source", "gets", "shows", "sees", "reward", "discount", "answers")  # first words of rows


def told(side: dict, tree: dict, lane: int, verb: str) -> Cells:
    """Returns a cell for each leaf of an answer."""
    leaves = list(flatten(tree))
    alone = len(leaves) == 1 and leaves[0][0] == ("action",)
    found = {}
    for path, _ in leaves:
        value = dict(flatten(side)).get(path)
        found[verb if alone else f"{verb} {path_name(path)}"] = _value(None if value is None else value[lane])
    return found


def seen(spec: EnvSpec, timestep: TimeStep, lane: int, verb: str, keys: str) -> Cells:
    """Returns a cell for each leaf of an observation, and the reward."""
    modalities = dict(flatten(spec.modalities["observation"]))
    cells = {}
    for path, _ in flatten(spec.observation):
        if not fnmatch(path_name(path), keys):
            continue
        value = _at(timestep.observation, path, lane)
        is_text = modalities[path].context.startswith("text") and value is not None and value.dtype is torch.uint8
        cells[f"{verb} {path_name(path)}"] = _text(value) if is_text else _value(value)
    return cells | {"reward": _value(timestep.reward[lane]), "discount": _value(timestep.discount[lane])}


def _at(tree: Any, path: tuple[str, ...], lane: int) -> Tensor | None:
    """Returns what a lane has at a path; None where it does not have it."""
    for key in path:
        mask = tree.get(f"mask:{key}")
        tree = tree.get(key)
        if tree is None or (mask is not None and not mask[lane]):
            return None
    return tree[lane]


def _text(value: Tensor) -> str:
    return bytes(value.tolist()).rstrip(b"\0").decode() or "''"


def _value(value: Tensor | None) -> str:
    if value is None:
        return ABSENT
    return _number(value.item()) if value.dim() == 0 else _shortened(value)


def _shortened(value: Tensor) -> str:
    def nested(value: Any) -> str:
        return "[" + " ".join(map(nested, value)) + "]" if isinstance(value, list) else _number(value)

    text = nested(value.tolist()) if value.numel() <= LONGEST_VALUE else ""
    return text if 0 < len(text) <= LONGEST_VALUE else f"{value.numel()} values"


def _number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e6 else f"{value:.3g}"


def symbol_of(timestep: TimeStep, lane: int) -> str:
    """Returns F, M, L or Lt."""
    kind = StepType(int(timestep.step_type[lane]))
    return "Lt" if kind is StepType.LAST and timestep.discount[lane] != 0 else kind.name[0]


@dataclass
class Track:
    """Is a lane over time: step types and cells, by place; the step types are joined by lines if it is one stream."""

    heading: str
    num_places: int
    is_joined: bool = True
    symbols: dict[int, str] = field(default_factory=dict)
    rows: dict[str, dict[int, str]] = field(default_factory=dict)

    def put(self, place: int, symbol: str, cells: Cells) -> None:
        """Draws at a place."""
        self.symbols[place] = symbol
        for row, text in cells.items():
            self.rows.setdefault(row, {})[place] = text

    def tidy(self) -> None:
        """Leaves discounts out that the step types tell, and puts rows in order, answers last."""
        discounts = self.rows.get("discount", {})
        if all(text == ("0" if self.symbols[place] == "L" else "1") for place, text in discounts.items()):
            self.rows.pop("discount", None)
        self.rows = dict(sorted(self.rows.items(), key=lambda row: ORDER.index(row[0].split(" ")[0])))

    def lines(self, label: int, width: int) -> list[str]:
        """Returns the lines of text: first the track itself.

        Args:
          label: width of the names in front.
          width: of a place.
        """
        track, places = "", sorted(self.symbols)
        for place, after in zip(places, [*places[1:], None]):
            track = track.ljust(place * width) + self.symbols[place]
            if after is not None and self.is_joined and self.symbols[place][0] != "L":
                track = track.ljust(after * width, "─")
        lines = [self.heading.ljust(label) + track]
        for name, cells in self.rows.items():
            line = "".join(cells.get(place, "").ljust(width) for place in range(self.num_places))
            lines.append(f"  {name}".ljust(label) + line)
        return lines


def drawn(tracks: list[Track]) -> list[str]:
    """Returns the lines of text for several tracks, places below each other."""
    for track in tracks:
        track.tidy()
    label = max(max(len(track.heading), *(len(name) + 2 for name in track.rows)) for track in tracks) + 2
    longest = max(
        len(text) for track in tracks for row in (track.symbols, *track.rows.values()) for text in row.values()
    )
    return [line for track in tracks for line in track.lines(label, max(NARROWEST, longest + 2))]
