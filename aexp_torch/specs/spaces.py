"""The border between `gymnasium.spaces` and trees of `dm_env.specs`: descriptions first, then the data, both ways.

| space | leaf for one lane |
|---|---|
| `Box` | `BoundedArray` of its dtype; plain `Array` where no element has a bound, and for bool |
| `Discrete` | `DiscreteArray` int64; with a `start`: `BoundedArray` int64 scalar |
| `MultiDiscrete` | `BoundedArray` int64 |
| `MultiBinary` | `BoundedArray` int8 in 0..1 |
| `Text` | `BoundedArray` uint8 `[L]`: UTF-8, zero-padded; L = max_length * bytes of the longest character in its charset |
| `Dict`, `Tuple` | a nested dict; the members of a Tuple are `"0"`, `"1"`, ... |

A space without names is `{key: leaf}`. `spec_to_space` turns this around. What cannot be told apart comes back as its
first reading: int8 in 0..1 of rank >= 1 is MultiBinary; an int64 scalar that starts elsewhere than at 0 is Discrete; an
int64 vector of at most 65536 choices each is MultiDiscrete, every other integer a Box; a Tuple is a Dict, a Text the Box of
its bytes, a Dict of one leaf that is called `key` the leaf alone. Unsigned integers without bounds become a Box, which has some.

The data functions are compilers: called once with a space, they return the function that is called at every step.

This module imports Gymnasium: import it where a space is at hand, not from the package.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from dm_env import specs
from gymnasium import spaces

from aexp_torch.errors import SpecError
from aexp_torch.specs.modality import Modality, guess_modality
from aexp_torch.specs.tree import flatten, map_tree, path_name, unflatten

__all__ = [
    "action_lane_writer",
    "action_writer",
    "batch_reader",
    "lane_stacker",
    "space_modalities",
    "space_to_spec",
    "spec_to_space",
    "stack_lanes",
]

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
    """Describes a tree of specs as the space of one lane; the inverse of `space_to_spec` (see the module for its limits).

    Args:
      tree: nested dict of `dm_env.specs`. `{key: leaf}` gives the space of the leaf, everything else a `Dict`.
      key: the name that `space_to_spec` gives to a space without names.
    """
    if tree.keys() == {key} and not isinstance(tree[key], dict):
        return _leaf_space(tree[key], (key,))
    return _dict_space(tree, ())


def batch_reader(space: spaces.Space, key: str) -> Callable[[Any], dict[str, Any]]:
    """Compiles the way from what a vector environment returns to a tree of tensors `[B, ...]` with the spec's dtypes.

    Args:
      space: the space of *one* lane.
      key: the name of the leaf where the space has no names.

    Returns:
      `read(batch) -> tree`. A batch is an array, or a dict or tuple of batches; Text is a tuple of str. A contiguous,
      writeable array of the right dtype is *not* copied: copy the batch where the environment fills the same again.

    Raises:
      SpecError: from `read`, where a text is longer than its space allows.
    """
    if _members(space) is None and not isinstance(space, spaces.Text):
        return _plain_reader(space, key)
    return _map_batch(_leaf_reader, space, key)


def lane_stacker(space: spaces.Space, key: str) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Compiles the way from a list of single observations, one per lane, to a tree of tensors `[B, ...]` in fresh memory.

    Raises:
      SpecError: from the compiled function, where the shape of an observation is not the space's.
    """
    stack = _stacker(space, (key,))
    return stack if _members(space) is not None else lambda lanes: {key: stack(lanes)}


def stack_lanes(space: spaces.Space, lanes: Sequence[Any], key: str) -> dict[str, Any]:
    """Stacks single observations, one per lane, once; see `lane_stacker`."""
    return lane_stacker(space, key)(lanes)


def action_writer(space: spaces.Space, key: str) -> Callable[[Any], Any]:
    """Compiles the way from an answer to what the `step` of a vector environment expects.

    Args:
      space: the action space of *one* lane.
      key: the name of the leaf where the space has no names.

    Returns:
      `write(action) -> batch`. The action is a tree of tensors `[B, ...]`, or the bare tensor where the tree has one
      leaf. Arrays have the space's dtype and share the memory of the tensors where that is theirs as well (on the CPU);
      Tuple gives a tuple, Dict a dict, Text a tuple of str.

    Raises:
      SpecError: from `write`, where the bytes of a text are not UTF-8.
    """
    return _accept_bare(_writer(space, (key,)), space, key)


def action_lane_writer(space: spaces.Space, key: str) -> Callable[[Any, int], Any]:
    """Compiles the way from an answer and a lane number to what the `step` of a single environment expects.

    Returns:
      `write(action, lane)`: a numpy scalar for Discrete, an array in fresh memory for Box, MultiDiscrete and
      MultiBinary, a str for Text, dicts and tuples of these; of the space's dtype. The action is as in `action_writer`.
    """
    return _accept_bare(_lane_writer(space, (key,)), space, key)


def _members(space: spaces.Space) -> list[tuple[str, Any, spaces.Space]] | None:
    """Lists `(name in the tree, key in the data, space)`, or gives None for a leaf."""
    if isinstance(space, spaces.Dict):
        return [(str(key), key, member) for key, member in space.spaces.items()]
    if isinstance(space, spaces.Tuple):
        return [(str(index), index, member) for index, member in enumerate(space.spaces)]
    return None


def _map_space(function: Callable, space: spaces.Space, *path: str, top: bool = True) -> Any:
    members = _members(space)
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
        start, count = space.start.astype(np.int64), space.nvec.astype(np.int64)
        return specs.BoundedArray(space.shape, np.int64, start, start + (count - 1), name)
    if isinstance(space, spaces.MultiBinary):
        return specs.BoundedArray(space.shape, np.int8, 0, 1, name)
    if isinstance(space, spaces.Text):
        return specs.BoundedArray((_text_length(space),), np.uint8, 0, 255, name)
    known = "Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict or Tuple"
    raise SpecError(
        f"space_to_spec: expected {known} at {name!r}, got {space!r}. Its samples have no fixed shape, or the space is "
        "unknown: wrap the environment so that it gives padded arrays in a Box (gymnasium.wrappers.TransformObservation)."
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
        return spaces.Discrete(spec.num_values, dtype=spec.dtype)
    if not isinstance(spec, specs.BoundedArray):
        bounds = {"u": (0, np.iinfo(spec.dtype).max if spec.dtype.kind == "u" else 0), "b": (0, 1)}
        low, high = bounds.get(spec.dtype.kind, (-np.inf, np.inf))
        return spaces.Box(low, high, spec.shape, spec.dtype)
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


def _plain_reader(space: spaces.Space, key: str) -> Callable[[Any], dict[str, torch.Tensor]]:
    """Is the fast path for the commonest spaces: one function, no calls but torch's."""
    dtype, from_numpy = _leaf_spec(space, (key,)).dtype, torch.from_numpy

    def read(batch):
        if batch.__class__ is np.ndarray and batch.dtype is dtype and batch.flags.carray:
            return {key: from_numpy(batch)}
        return {key: from_numpy(np.require(batch, dtype, "CAW"))}

    return read
