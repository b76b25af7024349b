"""The border between `gymnasium.spaces` and trees of `dm_env.specs`: the descriptions, both ways.

| space | leaf for one lane |
|---|---|
| `Box` | `BoundedArray` of its dtype; plain `Array` where no element has a bound, and for bool |
| `Discrete` | `DiscreteArray` int64; with a `start`: `BoundedArray` int64 scalar |
| `MultiDiscrete` | `BoundedArray` int64 |
| `MultiBinary` | `BoundedArray` int8 in 0..1 |
| `Text` | `BoundedArray` uint8 `[L]`: zero-padded UTF-8; L = max_length * bytes of the charset's longest character |
| `Dict`, `Tuple` | a nested dict; the members of a Tuple are `"0"`, `"1"`, ... |

A space without names is `{key: leaf}`. `spec_to_space` turns this around. What cannot be told apart takes its first
reading: int8 in 0..1 of rank 1 and more is MultiBinary; an int64 scalar that does not start at 0 is Discrete; an int64
vector of at most 65536 choices each is MultiDiscrete, every other integer a Box; a Tuple is a Dict; a Text the Box of
its bytes; a Dict of one leaf that is called `key` is the leaf alone; unsigned integers have the bounds of their dtype; a
Discrete is int64, whatever dtype the leaf has.

The data that a space describes is converted by `aexp_torch.specs.space_data`. Both modules import Gymnasium: import
them where a space is at hand, not from the package.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from dm_env import specs
from gymnasium import spaces

from aexp_torch.errors import SpecError
from aexp_torch.specs.modality import Modality, guess_modality
from aexp_torch.specs.tree import path_name

__all__ = ["space_members", "space_modalities", "space_to_spec", "spec_to_space"]

TEXT = Modality("sequence", "categorical", "text")
MOST_CHOICES = 2**16


def space_to_spec(space: spaces.Space, key: str) -> dict[str, Any]:
    """Describes one lane of a space as a tree of specs, by the table above.

    Args:
      space: any nesting of the spaces in the table, for one lane (`single_observation_space` of a vector environment).
      key: the name of the leaf where the space has no names: `"observation"` or `"action"`.

    Raises:
      SpecError: for Graph, Sequence, OneOf and unknown spaces, and for a Box dtype that torch does not have.
    """
    return _map_space(_leaf_spec, space, key)


def space_modalities(space: spaces.Space, key: str) -> dict[str, Any]:
    """Says for every leaf what kind of thing it is, where the space knows more than `guess_modality` can.

    Text is a sequence with context `"text"`. The elements of a MultiDiscrete are choices of their own: flat and
    categorical, unless all of them are yes or no (binary).
    """
    return _map_space(_leaf_modality, space, key)


def spec_to_space(tree: dict[str, Any], key: str) -> spaces.Space:
    """Describes a tree of specs as the space of one lane: the inverse of `space_to_spec`, with the limits above.

    Args:
      tree: nested dict of `dm_env.specs`. `{key: leaf}` gives the space of the leaf, everything else a `Dict`.
      key: the name that `space_to_spec` gives to a space without names.
    """
    if tree.keys() == {key} and not isinstance(tree[key], dict):
        return _leaf_space(tree[key], (key,))
    return _dict_space(tree, ())


def space_members(space: spaces.Space) -> list[tuple[str, Any, spaces.Space]] | None:
    """Lists the members of a Dict or Tuple as `(name in the tree, key in the data, space)`; None for a leaf."""
    if isinstance(space, spaces.Dict):
        return [(str(key), key, member) for key, member in space.spaces.items()]
    if isinstance(space, spaces.Tuple):
        return [(str(index), index, member) for index, member in enumerate(space.spaces)]
    return None


def _map_space(function: Callable, space: spaces.Space, *path: str, top: bool = True) -> Any:
    members = space_members(space)
    if members is None:
        return {path[0]: function(space, path)} if top else function(space, path)
    prefix = () if top else path
    return {name: _map_space(function, member, *prefix, name, top=False) for name, _, member in members}


def _leaf_spec(space: spaces.Space, path: tuple[str, ...]) -> specs.Array:
    name = path_name(path)
    if isinstance(space, spaces.Box):
        return _box_spec(space, name)
    if isinstance(space, spaces.Discrete):
        count, start = int(space.n), int(space.start)
        if start == 0:
            return specs.DiscreteArray(count, np.int64, name)
        return specs.BoundedArray((), np.int64, start, start + count - 1, name)
    if isinstance(space, spaces.MultiDiscrete):
        starts, counts = space.start.astype(np.int64), space.nvec.astype(np.int64)
        return specs.BoundedArray(space.shape, np.int64, starts, starts + (counts - 1), name)
    if isinstance(space, spaces.MultiBinary):
        return specs.BoundedArray(space.shape, np.int8, 0, 1, name)
    if isinstance(space, spaces.Text):
        return specs.BoundedArray((_text_length(space),), np.uint8, 0, 255, name)
    known = "Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict or Tuple"
    raise SpecError(
        f"space_to_spec: expected {known} at {name!r}, got {space!r}. Its samples have no fixed shape, or the space "
        "is unknown: wrap the environment to give padded arrays in a Box (gymnasium.wrappers.TransformObservation)."
    )


def _box_spec(space: spaces.Box, name: str) -> specs.Array:
    try:
        torch.from_numpy(np.empty(0, space.dtype))
    except TypeError as error:
        message = f"space_to_spec: expected a dtype that torch has at {name!r}, got {space.dtype.name}. Use float64."
        raise SpecError(message) from error
    nothing_excluded = not (space.bounded_below.any() or space.bounded_above.any())
    if nothing_excluded or (space.dtype.kind == "b" and not space.low.any() and space.high.all()):
        return specs.Array(space.shape, space.dtype, name)
    return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, name)


def _text_length(space: spaces.Text) -> int:
    return space.max_length * max((len(character.encode()) for character in space.character_set), default=0)


def _leaf_modality(space: spaces.Space, path: tuple[str, ...]) -> Modality:
    guess = guess_modality(_leaf_spec(space, path))
    if isinstance(space, spaces.Text):
        return TEXT
    if isinstance(space, spaces.MultiDiscrete) and guess.representation != "binary":
        return Modality("flat", "categorical")
    return guess


def _dict_space(tree: dict[str, Any], path: tuple[str, ...]) -> spaces.Dict:
    members = [(key, (*path, key), node) for key, node in tree.items()]
    # An OrderedDict keeps its order, a plain dict is sorted by its keys.
    return spaces.Dict(
        OrderedDict((k, _dict_space(n, p) if isinstance(n, dict) else _leaf_space(n, p)) for k, p, n in members)
    )


def _leaf_space(spec: specs.Array, path: tuple[str, ...]) -> spaces.Space:
    if spec.dtype.kind not in "biuf":
        raise SpecError(
            f"spec_to_space: expected numbers at {path_name(path)!r}, got {spec!r}. Encode them as uint8 or int64."
        )
    if isinstance(spec, specs.DiscreteArray):
        return spaces.Discrete(spec.num_values)  # Gymnasium's checker takes no other dtype than int64
    if not isinstance(spec, specs.BoundedArray):
        bottom, top = (-np.inf, np.inf) if spec.dtype.kind in "if" else (0, 1)
        top = np.iinfo(spec.dtype).max if spec.dtype.kind == "u" else top
        return spaces.Box(bottom, top, spec.shape, spec.dtype)
    low, high = (np.broadcast_to(bound, spec.shape).copy() for bound in (spec.minimum, spec.maximum))
    return _choice_space(spec, low, high) or spaces.Box(low, high, spec.shape, spec.dtype)


def _choice_space(spec: specs.BoundedArray, low: np.ndarray, high: np.ndarray) -> spaces.Space | None:
    if 0 in spec.shape:
        return None
    if spec.dtype == np.int8 and spec.shape and not low.any() and (high == 1).all():
        return spaces.MultiBinary(spec.shape[0] if len(spec.shape) == 1 else spec.shape)
    most = max(int(b) - int(a) for a, b in zip(low.flat, high.flat, strict=True)) + 1 if spec.dtype == np.int64 else 0
    if most and not spec.shape and low != 0 and most < 2**63:
        return spaces.Discrete(most, start=int(low))
    if most and len(spec.shape) == 1 and most <= MOST_CHOICES:
        return spaces.MultiDiscrete(high - low + 1, start=low)
    return None
