"""What kind of thing a tensor is, so that an agent can choose an encoder before it has seen any data."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from dm_env import specs

from aexp_torch.errors import SpecError

__all__ = ["Modality", "guess_modality", "is_choice", "is_image", "is_number", "is_real"]

Structure = Literal["flat", "set", "sequence", "grid", "graph"]
Representation = Literal["binary", "categorical", "integer", "real"]


@dataclass(frozen=True)
class Modality:
    """Describes one leaf of an observation or an action.

    Args:
      structure: how the elements relate. `flat`: each index has its own meaning; `set`: none has; `sequence`: indices
        have an order; `grid`: indices are locations; `graph`: nodes and edges.
      representation: what one element is.
      context: a free tag for where it comes from: `"natural"`, `"computer"`, `"text:en"`.
      optional: lanes may lack it: the value is None, or `mask:<key>` says which have it.

    Source: the modalities of the artificial-experience project.
    """

    structure: Structure
    representation: Representation
    context: str = ""
    optional: bool = False

    def __post_init__(self):
        for field, choices in (("structure", get_args(Structure)), ("representation", get_args(Representation))):
            if getattr(self, field) not in choices:
                raise SpecError(f"Modality: expected {field} to be one of {choices}, got {getattr(self, field)!r}.")


def guess_modality(spec: specs.Array) -> Modality:
    """Guesses the modality of a leaf from its dtype, bounds and rank.

    | leaf | structure | representation |
    |---|---|---|
    | `DiscreteArray`, or an integer scalar | flat | categorical |
    | bool, or integers within [0, 1] | by rank | binary |
    | uint8 `[H, W]` or with 1, 3 or 4 channels first or last | grid | integer (context `natural`) |
    | uint8 `[T, H, W, C]` or `[T, C, H, W]` with 1, 3 or 4 channels | sequence | integer (context `natural`) |
    | uint8 or integers `[L]` without small bounds | sequence | categorical |
    | floats `[N]` or a scalar | flat | real |
    | floats of rank 2 and more | grid | real |

    "By rank" is flat up to `[N]` and grid from rank 2 on.
    """
    dtype, shape = np.dtype(spec.dtype), spec.shape
    by_rank: Structure = "flat" if len(shape) < 2 else "grid"
    if isinstance(spec, specs.DiscreteArray):
        return Modality("flat", "categorical")
    if dtype == np.bool_ or _within_zero_one(spec):
        return Modality(by_rank, "binary")
    if dtype.kind == "f":
        return Modality(by_rank, "real")
    if dtype == np.uint8 and (len(shape) == 2 or (len(shape) == 3 and {shape[0], shape[-1]} & {1, 3, 4})):
        return Modality("grid", "integer", "natural")
    if dtype == np.uint8 and len(shape) == 4 and {shape[1], shape[-1]} & {1, 3, 4}:
        return Modality("sequence", "integer", "natural")
    if not shape:
        return Modality("flat", "categorical")
    if len(shape) == 1:
        few_choices = isinstance(spec, specs.BoundedArray) and np.max(spec.maximum) < 255
        return Modality("flat" if few_choices else "sequence", "categorical")
    return Modality("grid", "integer")


def _within_zero_one(spec: specs.Array) -> bool:
    if not isinstance(spec, specs.BoundedArray) or np.dtype(spec.dtype).kind not in "iu" or not spec.shape:
        return False
    return bool(np.all(spec.minimum >= 0) and np.all(spec.maximum <= 1))


def is_real(modality: Modality) -> bool:
    """Tells whether elements are real numbers."""
    return modality.representation == "real"


def is_number(modality: Modality) -> bool:
    """Tells whether elements are real numbers or integers, so that their size means something."""
    return modality.representation in ("real", "integer")


def is_choice(modality: Modality) -> bool:
    """Tells whether elements are choices, each with a meaning of its own place; text is not."""
    return modality.structure == "flat" and modality.representation == "categorical"


def is_image(modality: Modality) -> bool:
    """Tells whether it is a grid of numbers, or a video: a sequence of them."""
    video = modality.structure == "sequence" and modality.context == "natural"
    return (modality.structure == "grid" or video) and is_number(modality)
