"""Inputs: what a network is given of an observation, one entry per leaf, absent ones left out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aexp_torch import EnvSpec
from aexp_torch.prediction import revealed_keys
from aexp_torch.specs import flatten, map_tree, path_name, unflatten

__all__ = ["Inputs", "merge_time", "policy_inputs", "read_inputs", "select_rows"]

Path = tuple[str, ...]


class Inputs(NamedTuple):
    """Holds N rows of an observation, flat.

    Args:
      values: `{"a/b": tensor [N, ...]}`; a leaf that no row has is left out.
      masks: `{"a/b": bool [N]}` for leaves that only some rows have; the others are 0.
      num_rows: N.
    """

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    num_rows: int

    def present(self) -> Tensor | None:
        """Returns bool [N]: the rows that have something in them. None where that is all of them."""
        if any(name not in self.masks for name in self.values):
            return None
        masks = [self.masks[name] for name in self.values]
        return torch.stack(masks).any(0) if masks else torch.zeros(self.num_rows, dtype=torch.bool)


def policy_inputs(spec: EnvSpec, hidden: Sequence[str] = ()) -> tuple[dict, dict]:
    """Chooses what a policy looks at.

    A source that asks for `predict:y` reveals `y` afterwards: an answer to the question before, which says nothing
    about the next one, and is left out. Under `PredictInputs`, whose questions are about the next timestep, nothing is.

    Args:
      spec: of the source.
      hidden: other keys to leave out, such as the target of supervised learning.

    Returns:
      The observation spec and its modalities, without those keys.
    """
    left_out = revealed_keys(spec) | set(hidden)
    sides = (spec.observation, spec.modalities["observation"])
    return tuple({key: tree for key, tree in side.items() if key not in left_out} for side in sides)  # type: ignore


def read_inputs(observation: dict[str, Any], paths: Sequence[Path], num_rows: int) -> Inputs:
    """Takes the leaves at `paths` out of an observation of `num_rows` rows, with the masks that stand beside them."""
    values: dict[str, Tensor] = {}
    masks: dict[str, Tensor] = {}
    for path in paths:
        node: Any = observation
        mask = None
        for key in path:
            own = node.get(f"mask:{key}")
            if own is not None:
                mask = own if mask is None else mask & own
            node = node.get(key)
            if node is None:
                break
        if node is None:
            continue
        name = path_name(path)
        values[name] = node
        if mask is not None:
            masks[name] = mask
    return Inputs(values, masks, num_rows)


def select_rows(inputs: Inputs, rows: Tensor) -> Inputs:
    """Returns the rows at int64 `rows` [M]."""
    values = {name: value[rows] for name, value in inputs.values.items()}
    return Inputs(values, {name: mask[rows] for name, mask in inputs.masks.items()}, len(rows))


def merge_time(tree: Any) -> Any:
    """Returns a tree of [T, B, ...] as [T * B, ...]; None stays None."""
    return map_tree(lambda leaf: None if leaf is None else leaf.flatten(0, 1), tree)


def tree_of(named: dict[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """Returns `{"a/b": leaf}` as the nested dict in which each stands at its path."""
    return unflatten([(path, named[path_name(path)]) for path in paths]) or {}


def leaves_of(tree: dict[str, Any]) -> dict[str, Any]:
    """Returns a nested dict as `{"a/b": leaf}`."""
    return {path_name(path): leaf for path, leaf in flatten(tree)}
