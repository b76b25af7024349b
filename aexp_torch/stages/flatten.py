"""Flatten: one vector of everything."""

from dataclasses import replace

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, path_name, unflatten
from aexp_torch.specs.modality import is_choice
from aexp_torch.stages.augment import Augment, Keys, Leaf, both, by_row, lookup
from aexp_torch.stages.one_hot import choices_of, num_choices, one_hot
from aexp_torch.timestep import TimeStep

__all__ = ["Flatten"]


class Flatten(Augment):
    """Joins values into one vector, in the order of their keys; choices become one-hot vectors.

    Where one of them is absent, the vector is absent: None, or masked in the lanes that lack it.

    Observation: chosen values make place for `key`, float32 [B, N], with their bounds.  Action: unchanged.

    Args:
      env: the environment below.
      key: of the vector.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.

    Raises:
      SpecError: another value has this key, or a choice whose number is not known.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("Blackjack-v1", num_envs=2).pipe(ae.Flatten)  # a tuple of 32, 11 and 2 choices
    >>> env.reset().observation["observation"].shape
    torch.Size([2, 45])

    Source: `FlattenObservation` of Gymnasium.
    """

    def __init__(self, env: Env, key: str = "observation", keys: Keys = "*"):
        super().__init__(env, keys)
        self.key = key

    def on_open(self) -> None:
        """Finds the choices."""
        super().on_open()
        choices = [leaf for leaf in self.leaves() if is_choice(leaf.modality)]
        self._choices = {leaf.name: (*choices_of(leaf.spec), _in_use(leaf)) for leaf in choices}

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Joins."""
        leaves = self._leaves[timestep.source]["observation"]
        if not leaves:
            return timestep
        paths = {leaf.path for leaf in leaves}
        paths |= {(*path[:-1], f"mask:{path[-1]}") for path in paths}
        rest = unflatten([(path, leaf) for path, leaf in flatten(timestep.observation) if path not in paths]) or {}
        found = [lookup(timestep.observation, leaf.path) for leaf in leaves]
        if any(value is None for value, _ in found):
            return timestep._replace(observation={**rest, self.key: None})
        present = None
        for _, rows in found:
            present = both(present, rows)
        vector = torch.cat([self._vector(value, leaf) for (value, _), leaf in zip(found, leaves, strict=True)], 1)
        if present is not None:
            vector = torch.where(by_row(present, vector), vector, 0)
            rest = {**rest, f"mask:{self.key}": present}
        return timestep._replace(observation={**rest, self.key: vector})

    def _vector(self, value: Tensor, leaf: Leaf) -> Tensor:
        if leaf.name not in self._choices:
            return value.reshape(leaf.num_envs, -1).float()
        smallest, places, in_use = self._choices[leaf.name]
        return one_hot(value, smallest, places).view(leaf.num_envs, -1)[:, in_use]

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Joins the specs."""
        leaves = list(self.chosen(spec))
        if not leaves:
            return spec
        chosen = {leaf.path for leaf in leaves}
        rest = [(path, leaf) for path, leaf in flatten(spec.observation) if path not in chosen]
        if self.key in (path[0] for path, _ in rest):
            raise SpecError(
                f"Flatten: expected a free key, {self.key!r} is in {describe(unflatten(rest))}. Give another one with"
                " key=, or choose it, too, with keys=."
            )
        bounds = [_bounds(leaf) for leaf in leaves]
        low, high = (np.concatenate(part).astype(np.float32) for part in zip(*bounds, strict=True))
        vector = specs.BoundedArray(low.shape, np.float32, low, high, self.key)
        if np.isinf(low).all() and np.isinf(high).all():
            vector = specs.Array(low.shape, np.float32, self.key)
        modalities = dict(flatten(spec.modalities["observation"]))
        kept = [(path, modalities[path]) for path, _ in rest] + [((self.key,), Modality("flat", "real"))]
        return replace(
            spec,
            observation=unflatten([*rest, ((self.key,), vector)]),
            modalities={**spec.modalities, "observation": unflatten(kept)},
        )


def _in_use(leaf: Leaf) -> Tensor:
    """Returns the places of a one-hot value that some choice has, where elements have unequal numbers."""
    number = num_choices(leaf.spec)
    return torch.from_numpy((np.arange(number.max()) < number[..., None]).reshape(-1).nonzero()[0])


def _bounds(leaf: Leaf) -> tuple[np.ndarray, np.ndarray]:
    spec = leaf.spec
    if is_choice(leaf.modality):
        try:
            size = int(num_choices(spec).sum())
        except SpecError as error:
            raise SpecError(f"Flatten: {path_name(leaf.path)!r}: {error} keys= chooses others.") from error
        return np.zeros(size), np.ones(size)
    own = (getattr(spec, "minimum", -np.inf), getattr(spec, "maximum", np.inf))
    low, high = (
        np.broadcast_to(bound, spec.shape).reshape(-1) for bound in ((0, 1) if spec.dtype.kind == "b" else own)
    )
    return low, high
