"""Flatten: one vector of everything."""

from dataclasses import replace

import numpy as np
from dm_env import specs
from torch import from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, path_name, unflatten
from aexp_torch.specs.modality import is_choice
from aexp_torch.stages.augment import Augment, Keys, Leaf, both, lookup
from aexp_torch.stages.one_hot import choices_of, num_choices
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
        self._choices = {leaf.name: (choices_of(leaf.spec), _in_use(leaf)) for leaf in choices}
        self._sizes: dict[str, list[tuple[Leaf, int]]] = {}  # by source: how many places each value takes
        self._taken: dict[str, set[tuple[str, ...]]] = {}  # by source: the places of values and of their masks
        for source, sides in self._leaves.items():
            leaves = sides["observation"]
            self._sizes[source] = [(leaf, self._size(leaf)) for leaf in leaves]
            self._taken[source] = _with_masks({leaf.path for leaf in leaves}, self.env.specs[source].observation)

    def _size(self, leaf: Leaf) -> int:
        return len(self._choices[leaf.name][1]) if leaf.name in self._choices else int(np.prod(leaf.spec.shape))

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Joins."""
        source = timestep.source
        leaves, taken = self._sizes[source], self._taken[source]
        if not leaves:
            return timestep
        rest = unflatten([(path, leaf) for path, leaf in flatten(timestep.observation) if path not in taken]) or {}
        found = [lookup(timestep.observation, leaf.path) for leaf, _ in leaves]
        if any(value is None for value, _ in found):
            return timestep._replace(observation={**rest, self.key: None})
        present = None
        for _, rows in found:
            present = both(present, rows)
        vector = np.empty((leaves[0][0].num_envs, sum(size for _, size in leaves)), np.float32)
        begin = 0
        for (value, _), (leaf, size) in zip(found, leaves, strict=True):
            vector[:, begin : begin + size] = self._places(value.numpy(), leaf)
            begin += size
        if present is not None:
            vector[~present.numpy()] = 0.0
            rest = {**rest, f"mask:{self.key}": present}
        return timestep._replace(observation={**rest, self.key: from_numpy(vector)})

    def _places(self, value: np.ndarray, leaf: Leaf) -> np.ndarray:
        if leaf.name not in self._choices:
            return value.reshape(leaf.num_envs, -1)
        choices, in_use = self._choices[leaf.name]
        places = (value[..., None] == choices).reshape(leaf.num_envs, -1)
        return places if len(in_use) == places.shape[1] else places[:, in_use]

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
        joined = Modality("flat", "real", optional=any(leaf.modality.optional for leaf in leaves))
        kept = [(path, modalities[path]) for path, _ in rest] + [((self.key,), joined)]
        return replace(
            spec,
            observation=unflatten([*rest, ((self.key,), vector)]),
            modalities={**spec.modalities, "observation": unflatten(kept)},
        )


def _with_masks(chosen: set[tuple[str, ...]], tree: dict) -> set[tuple[str, ...]]:
    """Returns the paths, with those of their masks, and of the masks of trees of which nothing else is left."""
    left = {path[:depth] for path, _ in flatten(tree) if path not in chosen for depth in range(len(path))}
    gone = {path[:depth] for path in chosen for depth in range(1, len(path) + 1)} - left
    return chosen | {(*node[:-1], f"mask:{node[-1]}") for node in gone}


def _in_use(leaf: Leaf) -> np.ndarray:
    """Returns the places of a one-hot value that some choice has, where elements have unequal numbers."""
    number = num_choices(leaf.spec)
    return (np.arange(number.max()) < number[..., None]).reshape(-1).nonzero()[0]


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
