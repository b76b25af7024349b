"""Augment: the base of stages that change chosen values, on the way down, on the way up, or both."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, flatten, path_name, unflatten
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Augment", "Keys", "Leaf", "both", "by_row", "lookup", "matches"]

Keys = str | Callable[[Modality], bool]
FIRST = np.int8(StepType.FIRST)
Granularity = Literal["key", "row", "element"]


@dataclass(slots=True)
class Leaf:
    """Is one chosen value of one source.

    Args:
      side: `"observation"` or `"action"`.
      path: the keys that lead to it.
      spec: as the environment below has it, for one lane.
      modality: likewise.
      num_envs: number of lanes B.
      name: names what is kept for it in a state: `source:side:a/b`.
      generator: its own.
      memory: tensors and numbers that are kept from step to step; replace them, never change them in place.
    """

    side: str
    path: tuple[str, ...]
    spec: specs.Array
    modality: Modality
    num_envs: int
    name: str = ""
    generator: np.random.Generator = field(default=None)  # type: ignore[assignment]
    memory: dict[str, Any] = field(default_factory=dict)


class Augment(Stage):
    """Changes chosen values with the hook `augment`; each key of each source draws from a generator of its own.

    A subclass says what becomes of a value (`augment`) and of its spec (`augment_spec`). One that keeps something from
    step to step overrides `change`, `lose` and `begin` instead, and puts it into `leaf.memory`, which is part of the state.
    Masks (`mask:*`) are never chosen; a value that is absent, in all lanes or in some, stays absent.

    Observation: as `augment_spec` says; unchanged by default.  Action: likewise.

    Args:
      env: the environment below.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`.
      side: which way is changed.
      p: probability that a value is changed at all, in [0, 1].
      granularity: what that is drawn for, at each step: the whole `"key"`, each `"row"` (lane), or each `"element"`.

    Raises:
      SpecError: nothing is chosen, in no source; or a value is chosen for which the stage has no meaning.

    >>> import aexp_torch as ae
    >>> class Negate(ae.Augment):
    ...     def augment(self, value, spec, modality, generator):
    ...         return -value
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(Negate, keys="obs*", p=0.5)
    >>> env.reset().observation["observation"].shape
    torch.Size([2, 4])

    Source: `Augment` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        keys: Keys = "*",
        side: Literal["observation", "action", "both"] = "observation",
        p: float = 1.0,
        granularity: Granularity = "row",
    ):
        super().__init__(env)
        who = type(self).__name__
        if not (isinstance(keys, str) or callable(keys)):
            raise SpecError(f"{who}: expected keys= as a glob or a function of a Modality, got {keys!r}.")
        if side not in ("observation", "action", "both"):
            raise SpecError(f"{who}: expected side 'observation', 'action' or 'both', got {side!r}.")
        if not 0 <= p <= 1:
            raise SpecError(f"{who}: expected p in [0, 1], got {p!r}.")
        if granularity not in ("key", "row", "element"):
            raise SpecError(f"{who}: expected granularity 'key', 'row' or 'element', got {granularity!r}.")
        self.keys, self.side, self.p, self.granularity = keys, side, p, granularity

    # The hooks.

    def augment(self, value: Tensor, spec: specs.Array, modality: Modality, generator: np.random.Generator) -> Tensor:
        """Returns what becomes of a value; must not change what it is given.

        Args:
          value: [B, ...]; an observation from below, or the agent's answer.
          spec: of one lane, as the environment below has it.
          modality: likewise.
          generator: of this key of this source. Draw everything from it.
        """
        return value

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Returns spec and modality above this stage, from those below.

        Raises:
          SpecError: what was expected, what came, and a remedy; key and stage are put in front of it.
        """
        return spec, modality

    def change(self, value: Tensor, leaf: Leaf, rows: Tensor | None) -> Tensor:
        """Calls `augment`, where `p` says so.

        Args:
          value: [B, ...].
          leaf: which value it is.
          rows: bool [B], the lanes that move and have this key; None where all do. What is kept must stand still in
            the others; what is returned for them does not matter.
        """
        if self.p == 1.0:
            return self.augment_leaf(value, leaf)
        hit = self._draw(value, leaf.generator)
        if not hit.any():
            return value
        lanes = torch.from_numpy(hit)
        where = lanes if self.granularity == "element" else by_row(lanes, value)
        return torch.where(where, self.augment_leaf(value, leaf), value)

    def augment_leaf(self, value: Tensor, leaf: Leaf) -> Tensor:
        """Calls `augment`; what a stage has found out about a value in `on_open` is used here."""
        return self.augment(value, leaf.spec, leaf.modality, leaf.generator)

    def lose(self, leaf: Leaf, rows: Tensor | None) -> Tensor | None:
        """Returns the lanes in which the key goes missing, bool [B], or None for none of them.

        Called after `change`, with its `rows`.
        """
        return None

    def begin(self, leaf: Leaf, lanes: Tensor) -> None:
        """Clears what is kept for an episode in `lanes` (bool [B]), which are at FIRST. Called before `change`."""

    # What the hooks are called by.

    def on_open(self) -> None:
        """Finds the chosen values and makes their generators."""
        self._leaves: dict[str, dict[str, list[Leaf]]] = {}
        self._has_begin = type(self).begin is not Augment.begin
        for source, spec in self.env.specs.items():
            self.on_spec(spec)  # refuses what cannot work
            sides: dict[str, list[Leaf]] = {"observation": [], "action": []}
            for leaf in self.chosen(spec):
                key = f"{leaf.side}:{path_name(leaf.path)}"
                leaf.name = f"{source}:{key}"
                use = (zlib.crc32(type(self).__name__.encode()), self._depth(source), zlib.crc32(key.encode()))
                leaf.generator = np.random.default_rng(self.seeds(*use, source=source))
                sides[leaf.side].append(leaf)
            self._leaves[source] = sides
        if self.keys != "*" and not any(self.leaves()):
            known = {source: [path_name(p) for p in _sides(spec, self.side)] for source, spec in self.env.specs.items()}
            raise SpecError(
                f"{type(self).__name__}: expected keys={self.keys!r} to choose something, there is (by source) {known}."
                " Give a glob over these names, or a function that is True for one of their modalities."
            )

    def leaves(self) -> Iterator[Leaf]:
        """Yields the chosen values of all sources, with what is kept for them."""
        return (leaf for sides in self._leaves.values() for leaves in sides.values() for leaf in leaves)

    def chosen(self, spec: EnvSpec) -> Iterator[Leaf]:
        """Yields the chosen values of one source."""
        for side in ("observation", "action") if self.side == "both" else (self.side,):
            modalities = dict(flatten(spec.modalities[side]))
            for path, leaf in flatten(getattr(spec, side)):
                modality = modalities[path]
                if matches(self.keys, path, modality):
                    yield Leaf(side, path, leaf, modality, spec.num_envs)

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Asks `augment_spec` about every chosen value."""
        trees = {side: dict(flatten(getattr(spec, side))) for side in ("observation", "action")}
        modalities = {side: dict(flatten(spec.modalities[side])) for side in trees}
        for leaf in self.chosen(spec):
            try:
                new = self.augment_spec(leaf.spec, leaf.modality)
            except SpecError as error:
                where = f"{leaf.side} {path_name(leaf.path)!r}"
                raise SpecError(f"{type(self).__name__}: {where}: {error} keys= chooses others.") from error
            trees[leaf.side][leaf.path], modalities[leaf.side][leaf.path] = new
        observation, action = (unflatten(list(tree.items())) or {} for tree in trees.values())
        given = {side: unflatten(list(tree.items())) or {} for side, tree in modalities.items()}
        return replace(spec, observation=observation, action=action, modalities=given)

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Changes the observation."""
        sides = self._leaves[timestep.source]
        if self._has_begin:
            self._begin(timestep, sides)
        leaves = sides["observation"]
        return timestep._replace(observation=self._changed(timestep.observation, leaves)) if leaves else timestep

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Changes the answer."""
        leaves = self._leaves[timestep.source]["action"]
        return self._changed(action, leaves) if leaves else action

    def _begin(self, timestep: TimeStep, sides: dict[str, list[Leaf]]) -> None:
        first = timestep.step_type.numpy() == FIRST
        if self.held is not None:
            first &= ~self.held.numpy()
        if first.any():
            lanes = torch.from_numpy(first)
            for leaves in sides.values():
                for leaf in leaves:
                    self.begin(leaf, lanes)

    def _changed(self, tree: dict, leaves: list[Leaf]) -> dict:
        tree = dict(tree)
        for leaf in leaves:
            value, present = lookup(tree, leaf.path)
            if value is None:
                continue
            node, key = tree, leaf.path[-1]
            for inner in leaf.path[:-1]:
                node[inner] = dict(node[inner])
                node = node[inner]
            rows = present if self.held is None else both(present, ~self.held)
            value, lost = self.change(value, leaf, rows), self.lose(leaf, rows)
            if lost is not None:
                kept = ~lost
                present = both(present, kept)
                if not present.any():
                    node[key] = None
                    node.pop(f"mask:{key}", None)
                    continue
                node[f"mask:{key}"] = both(node.get(f"mask:{key}"), kept)
            node[key] = value if present is None else value.masked_fill(by_row(~present, value), 0)
        return tree

    def _draw(self, value: Tensor, generator: np.random.Generator) -> np.ndarray:
        """Draws where a value is changed: bool, [1], [B] or [B, ...], as `granularity` says."""
        if self.granularity == "element":
            return generator.random(tuple(value.shape)) < self.p
        return generator.random(1 if self.granularity == "key" else len(value)) < self.p

    def _depth(self, source: str) -> int:
        """Counts the stages of this class below, so that two draw differently and one more above changes neither."""
        return self.classes_below(source).count(type(self))

    def state_dict(self) -> dict:
        """Adds generator and memory of every chosen value."""
        self.open()
        kept = {
            leaf.name: {"generator": pack_generator(leaf.generator), "memory": dict(leaf.memory)}
            for leaf in self.leaves()
        }
        return super().state_dict() | {"leaves": kept}

    def load_state_dict(self, state: dict) -> None:
        """Restores generators and memories."""
        super().load_state_dict(state)
        for leaf in self.leaves():
            kept = state["leaves"][leaf.name]
            leaf.generator, leaf.memory = unpack_generator(kept["generator"]), dict(kept["memory"])


def matches(keys: Keys, path: tuple[str, ...], modality: Modality) -> bool:
    """Tells whether `keys` choose a leaf; a mask is never chosen."""
    fits = fnmatch(path_name(path), keys) if isinstance(keys, str) else keys(modality)
    return bool(fits) and not path[-1].startswith("mask:")


def lookup(tree: dict, path: tuple[str, ...]) -> tuple[Tensor | None, Tensor | None]:
    """Returns the value at a path, and which rows have it (bool [B]; None for all)."""
    present = None
    for key in path[:-1]:
        present, tree = both(present, tree.get(f"mask:{key}")), tree[key]
    return tree[path[-1]], both(present, tree.get(f"mask:{path[-1]}"))


def both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Returns where two masks hold, bool [B]; None holds everywhere."""
    if one is None or other is None:
        return one if other is None else other
    return one & other


def by_row(rows: Tensor, value: Tensor) -> Tensor:
    """Returns [B] in a shape that broadcasts with a value [B, ...]."""
    return rows if value.dim() == 1 else rows.view(-1, *[1] * (value.dim() - 1))


def _sides(spec: EnvSpec, side: str) -> list[Any]:
    trees = [spec.observation, spec.action] if side == "both" else [getattr(spec, side)]
    return [path for tree in trees for path, _ in flatten(tree)]
