"""Structure: one fixed tree of numpy arrays for everything that a pipeline may hand out and take back.

A timestep may lack keys, and those of a composition have the keys of their source. Other interfaces know one structure
for all steps.
"""

from typing import Any

import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor

from aexp_torch.errors import ActionError, SpecError
from aexp_torch.prediction import revealed_keys
from aexp_torch.specs import EnvSpec, describe, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.sample import zeros
from aexp_torch.specs.union import places_in, union_of
from aexp_torch.timestep import TimeStep

__all__ = ["Structure"]

Path = tuple[str, ...]


class Structure:
    """Translates timesteps and answers between a pipeline and one fixed structure.

    Equal specs of several sources share a key, unequal ones are `key@source`. What a timestep lacks is 0, and
    `mask:<key>`, a bool beside it, says whether it is there. There are masks where the specs tell that a key may be
    absent: not every source has it, its modality is optional, or its source asks questions (`predict:y` of a dataset: x
    and y take turns). Other masks, which mark the rows that fill up a short minibatch, are left out.

    Args:
      specs: `{source name: EnvSpec}` of the pipeline.
      who: the adapter, for messages.
    """

    def __init__(self, specs: dict[str, EnvSpec], who: str):
        counts = {name: spec.num_envs for name, spec in specs.items()}
        if len(set(counts.values())) > 1:
            raise SpecError(f"{who}: expected sources with one and the same num_envs, got {counts}.")
        self.who, self.num_envs = who, next(iter(counts.values()))
        observation = union_of({name: spec.observation for name, spec in specs.items()})
        self.action_spec = union_of({name: spec.action for name, spec in specs.items()})
        self._observed = {name: places_in(observation, spec.observation, name) for name, spec in specs.items()}
        self._answered = {name: places_in(self.action_spec, spec.action, name) for name, spec in specs.items()}
        self._action_leaves = dict(flatten(self.action_spec))
        self._masked = self._find_masks(specs, dict(flatten(observation)))
        masks = [(mask, dm_specs.Array((), bool, path_name(mask))) for mask in self._masked]
        self._leaves = {**dict(flatten(observation)), **dict(masks)} if observation else {}
        self.observation_spec = unflatten(list(self._leaves.items())) or {}
        self._zeros = {path: zeros(leaf, self.num_envs).numpy() for path, leaf in self._leaves.items()}

    def _find_masks(self, specs: dict[str, EnvSpec], leaves: dict[Path, Any]) -> dict[Path, Path]:
        """Returns the place of every mask, and the place that it speaks of."""
        masked = {}
        for path in leaves:
            having = [name for name, places in self._observed.items() if path in places]
            takes_turns = any(revealed_keys(specs[name]) for name in having)
            optional = any(_is_optional(specs[name], self._observed[name][path]) for name in having)
            if not _is_mask(path) and (takes_turns or optional or len(having) < len(specs) or _mask_of(path) in leaves):
                masked[_mask_of(path)] = path
        return masked

    def observation(self, timestep: TimeStep) -> dict[str, Any]:
        """Returns the observation as arrays [B, ...] in memory of their own."""
        given = {path: leaf for path, leaf in flatten(timestep.observation) if leaf is not None}
        places = self._observed[timestep.source]
        return unflatten([(path, self._value(path, places, given)) for path in self._leaves]) or {}

    def _value(self, path: Path, places: dict[Path, Path], given: dict[Path, Tensor]) -> np.ndarray:
        if path in self._masked:
            seen = places.get(self._masked[path])
            told = None if seen is None else given.get(_mask_of(seen))
            if told is None:
                return np.full(self.num_envs, seen in given)
        else:
            told = given.get(places.get(path, ()))
        return (self._zeros[path] if told is None else told.numpy(force=True)).copy()

    def answer(self, action: Any, source: str, batched: bool) -> dict[str, Any]:
        """Returns the part of an action that answers a timestep of `source`, as tensors [B, ...].

        Args:
          action: tree of arrays or numbers by `action_spec`, or the bare array where that has a single leaf. What
            belongs to other sources may be left out.
          source: the name of the source.
          batched: the arrays have the axis B; otherwise they are for the only lane.

        Raises:
          ActionError: a key is missing or unknown, or a value does not fit its dtype.
        """
        if not isinstance(action, dict):
            action = self._bare(action)
        given = dict(flatten(action))
        wanted = self._answered[source]
        missing = [path_name(path) for path in wanted if path not in given]
        unknown = [path_name(path) for path in given if path not in self._action_leaves]
        if missing or unknown:
            raise ActionError(
                f"{self.who}: expected an action {describe(self.action_spec)} for a timestep of {source!r}; missing"
                f" {missing}, unknown {unknown}."
            )
        return unflatten([(path, self._tensor(place, given[place], batched)) for place, path in wanted.items()]) or {}

    def _bare(self, action: Any) -> dict[str, Any]:
        if len(self._action_leaves) == 1:
            return unflatten([(path, action) for path in self._action_leaves])
        if action is None and not self._action_leaves:
            return {}
        raise ActionError(f"{self.who}: expected a dict {describe(self.action_spec)}, got {action!r}.")

    def _tensor(self, place: Path, value: Any, batched: bool) -> Tensor:
        spec = self._action_leaves[place]
        given = np.asarray(value)
        with np.errstate(invalid="ignore"):
            array = given.astype(spec.dtype)
        if spec.dtype.kind != "f" and not np.array_equal(array, given):
            raise ActionError(f"{self.who}: expected {path_name(place)!r} as {describe(spec)}, got {value!r}.")
        return torch.from_numpy(array if batched else array[None])

    def any_answer(self, source: str) -> dict[str, Any]:
        """Returns a valid answer to a timestep of `source`, for a step in which it is ignored."""
        leaves = {path: self._action_leaves[place] for place, path in self._answered[source].items()}
        return map_tree(lambda spec: zeros(spec, self.num_envs), unflatten(list(leaves.items())) or {})


def _is_optional(spec: EnvSpec, path: Path) -> bool:
    node: Any = spec.modalities["observation"]
    for key in path:
        node = node[key]
    return node.optional


def _mask_of(path: Path) -> Path:
    return (*path[:-1], f"mask:{path[-1]}")


def _is_mask(path: Path) -> bool:
    return path[-1].startswith("mask:")
