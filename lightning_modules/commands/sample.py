"""What a sample looks like: for each leaf whether it is a picture, cells, text, a wave or numbers."""

import string
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from dm_env import specs as dm_specs

from aexp_torch import EnvSpec, Modality, TimeStep
from aexp_torch.specs.tree import flatten, path_name

__all__ = ["Leaf", "as_text", "leaves_of", "picture_of"]

Kind = Literal["picture", "cells", "text", "wave", "numbers", "absent"]
CELLS, LAYERS = 40, 4  # the longest side of a grid of symbols that is written out, and the symbols of a cell


@dataclass(frozen=True)
class Leaf:
    """Holds one value of an observation, of one row.

    Args:
      name: where it is.
      spec: what was promised.
      modality: what kind of thing it is.
      value: array of the spec's shape; None where it is absent.
    """

    name: str
    spec: dm_specs.Array
    modality: Modality
    value: np.ndarray | None

    @property
    def kind(self) -> Kind:
        """How to show it."""
        if self.value is None:
            return "absent"
        structure, representation = self.modality.structure, self.modality.representation
        if structure == "grid" and self.value.ndim in (2, 3, 4) and min(self.value.shape[:2]) > 0:
            if representation in ("categorical", "binary") and _is_board(self.value):
                return "cells" if representation == "categorical" or not _is_picture(self.value) else "picture"
            return "picture" if _is_picture(self.value) else "numbers"
        if structure == "sequence" and self.value.dtype == np.uint8 and self.value.ndim == 1:
            return "text"
        if structure == "sequence" and representation == "real" and self.value.ndim in (1, 2) and len(self.value) > 1:
            return "wave"
        return "picture" if structure == "sequence" and _is_picture(self.value) else "numbers"


def leaves_of(spec: EnvSpec, timestep: TimeStep, row: int = 0) -> list[Leaf]:
    """Returns the leaves of one row of an observation, in the order of the spec."""
    values = dict(flatten(timestep.observation))
    kinds = dict(flatten(spec.modalities["observation"]))
    leaves = []
    for path, leaf_spec in flatten(spec.observation):
        value = values.get(path)
        shown = None if value is None else np.asarray(value[row].cpu())
        leaves.append(Leaf(path_name(path), leaf_spec, kinds[path], shown))
    return leaves


def as_text(value: np.ndarray) -> str:
    """Returns zero-padded UTF-8 as a string; what a terminal would take for a command is escaped."""
    text = bytes(value).rstrip(b"\0").decode("utf-8", errors="replace")
    return "".join(
        letter if letter in string.whitespace or letter.isprintable() else repr(letter)[1:-1] for letter in text
    )


def picture_of(leaf: Leaf) -> np.ndarray:
    """Returns a picture, float [H, W] or [H, W, 3] in [0, 1]: of a stack of frames the last, of a film the middle one."""
    value = np.asarray(leaf.value)
    if value.ndim == 4:
        value = value[len(value) // 2]
    if value.ndim == 3 and value.shape[-1] not in (1, 3, 4):
        value = value.transpose(1, 2, 0)
        value = value if value.shape[-1] in (1, 3) else value[..., -1:]
    if value.ndim == 3:
        value = value[..., 0] if value.shape[-1] == 1 else value[..., :3]
    low, high = _limits(leaf, value)
    return ((value.astype(np.float64) - low) / max(high - low, 1e-9)).clip(0, 1)


def _limits(leaf: Leaf, value: np.ndarray) -> tuple[float, float]:
    """Returns the bounds of the spec, or of the values where it has none."""
    if isinstance(leaf.spec, dm_specs.BoundedArray):
        low, high = float(np.min(leaf.spec.minimum)), float(np.max(leaf.spec.maximum))
        if np.isfinite(high - low):
            return low, high
    return float(value.min()), float(value.max())


def _is_board(value: Any) -> bool:
    layers = value.shape[2] if value.ndim == 3 else 1
    return value.ndim <= 3 and max(value.shape[:2]) <= CELLS and layers <= LAYERS


def _is_picture(value: Any) -> bool:
    if value.ndim == 2:
        return min(value.shape) > 1
    if value.ndim == 3 and value.shape[-1] in (1, 3, 4):
        return min(value.shape[:2]) > 4
    if value.ndim == 3:  # channels or frames first: fewer than there are pixels
        first, side = value.shape[0], min(value.shape[1:])
        return side > 4 and (first in (1, 3) or 2 * first <= side)
    return value.ndim == 4 and value.shape[-1] in (1, 3)
