"""Learns what a function does to a spec by calling it once on zeros."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.specs.env_spec import EnvSpec
from aexp_torch.specs.sample import zeros
from aexp_torch.specs.tree import flatten, path_name, unflatten

__all__ = ["infer_spec", "with_sides"]


def infer_spec(function: Callable[[dict], Any], spec: dict, num_envs: int, who: str) -> dict:
    """Returns the spec tree of `function(tree of tensors)`.

    A leaf that comes back untouched keeps its spec, bounds included; any other is an unbounded array of the shape and
    dtype that came back, since one call cannot show its bounds.

    Args:
      function: takes a dict of tensors [B, ...] and returns one.
      spec: the spec tree of its input.
      num_envs: B.
      who: the stage, for messages.
    """
    given = zeros(spec, num_envs)
    try:
        result = function(given)
    except Exception as error:
        error.add_note(f"while {who} was called on zeros to learn its specs; give spec_fn= if it cannot take zeros")
        raise
    known = {id(leaf): leaf_spec for (_, leaf), (_, leaf_spec) in zip(flatten(given), flatten(spec), strict=True)}
    if not isinstance(result, dict):
        raise SpecError(f"{who}: expected a dict of tensors from the function, got {type(result).__name__}.")
    return unflatten([(path, _leaf(path, leaf, known, num_envs, who)) for path, leaf in flatten(result)]) or {}


def _leaf(path: tuple, leaf: Any, known: dict[int, specs.Array], num_envs: int, who: str) -> specs.Array:
    if not isinstance(leaf, Tensor) or leaf.dim() < 1 or leaf.shape[0] != num_envs:
        came = f"a tensor {list(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
        raise SpecError(f"{who}: expected {path_name(path)!r} as a tensor [{num_envs}, ...], got {came}.")
    if id(leaf) in known:
        return known[id(leaf)]
    return specs.Array(tuple(leaf.shape[1:]), torch.empty(0, dtype=leaf.dtype).numpy().dtype)


def with_sides(spec: EnvSpec, observation: dict | None = None, action: dict | None = None) -> EnvSpec:
    """Replaces a side of a spec; leaves that keep their spec keep their modality, new ones are guessed."""
    sides = {"observation": observation, "action": action}
    changed: dict[str, Any] = {side: tree for side, tree in sides.items() if tree is not None}
    modalities = {}
    for side in sides:
        old = dict(flatten(getattr(spec, side)))
        new = dict(flatten(changed.get(side, getattr(spec, side))))
        known = dict(flatten(spec.modalities[side]))
        modalities[side] = unflatten(
            [(path, known[path]) for path, leaf in new.items() if path in old and _similar(leaf, old[path])]
        )
    return replace(spec, **changed, modalities={side: tree or {} for side, tree in modalities.items()})


def _similar(one: specs.Array, other: specs.Array) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype
