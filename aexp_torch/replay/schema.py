"""Schema: the columns that one source's timesteps are stored in, one row per lane and timestep.

A row holds the timestep and the answer that led to it, so it is complete as soon as the timestep is there. Row j that
follows row i in the same episode and lane gives the transition (observation i, action j, reward j, discount j,
observation j): every observation is stored once.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, flatten, path_name, unflatten
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["DISCOUNT", "LANE", "PRESENT", "REWARD", "STEP_TYPE", "Column", "Schema"]

STEP_TYPE, REWARD, DISCOUNT, LANE, PRESENT, OBSERVATION = range(6)  # numbers of columns; then the leaves begin
FIRST = int(StepType.FIRST)  # an attribute of an Enum takes a microsecond
ABSENT, NONE, THERE = 0, 1, 2  # of a leaf: the key may be missing, be there with None, or have a value
FALSE, TRUE = 1, 2  # of a mask, which may be absent, too


class Column(NamedTuple):
    """One array over all rows: [rows, *shape]."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    row_bytes: int


class Schema:
    """Says which columns the timesteps of a source need, and takes timesteps apart into them.

    Besides the leaves there is one byte for each that tells whether it is there, and one for each mask (`mask:<key>`)
    that may stand beside a leaf or a whole tree.

    Args:
      source: its name.
      spec: its spec.
    """

    def __init__(self, source: str, spec: EnvSpec):
        self.source, self.spec, self.num_envs = source, spec, spec.num_envs
        leaves, self.answers = list(flatten(spec.observation)), list(flatten(spec.action))
        self.leaves = [path for path, _ in leaves]
        covered = dict.fromkeys(self.leaves + [path[:1] for path in self.leaves])
        self._covers = {_mask_of(path): path for path in covered if not path[-1].startswith("mask:")}
        self.masks = [mask for mask in self._covers if mask not in self.leaves]
        signals: list[tuple] = [((), np.int8), ((), np.float32), ((), np.float32), ((), np.int32)]
        signals.append(((len(self.leaves) + len(self.masks),), np.uint8))
        names = ["step_type", "reward", "discount", "lane", "present"]
        self.columns = [column(name, dtype, shape) for name, (shape, dtype) in zip(names, signals)]
        for side, tree in (("observation", leaves), ("action", self.answers)):
            for path, leaf in tree:
                self.columns.append(column(f"{side}/{path_name(path)}", leaf.dtype, tuple(leaf.shape)))
        self.observation = range(OBSERVATION, OBSERVATION + len(self.leaves))
        self.action = range(self.observation.stop, len(self.columns))
        self.plain = np.array([THERE] * len(self.leaves) + [ABSENT] * len(self.masks), np.uint8)
        self._lanes: dict[int, np.ndarray] = {}

    def take_apart(
        self, timestep: TimeStep, action: dict | None, slot: int, moving: np.ndarray | None
    ) -> list[np.ndarray]:
        """Returns a value for every column, [n, ...] or to be broadcast to it.

        Args:
          timestep: of this source.
          action: the answer that led here; None where there was none.
          slot: of the stream; every slot has lanes of its own.
          moving: bool [B], the lanes that are stored; None for all.
        """
        if len(timestep.step_type) != self.num_envs:
            raise SpecError(
                f"ReplayBuffer: expected timesteps of {self.source!r} with {self.num_envs} lanes, got one with"
                f" {len(timestep.step_type)}. Use a buffer of its own for another number of lanes."
            )
        present, values = self._presence(timestep.observation)
        step_type = timestep.step_type.numpy()
        answer = self._answer(action, step_type)
        rows = [step_type, timestep.reward.numpy(), timestep.discount.numpy(), self._lanes_of(slot), present]
        rows += [*values, *answer]
        if moving is None:
            return rows
        return [row[moving] if row.ndim > len(column.shape) else row for row, column in zip(rows, self.columns)]

    def _lanes_of(self, slot: int) -> np.ndarray:
        lanes = self._lanes.get(slot)
        if lanes is None:
            lanes = self._lanes[slot] = np.arange(self.num_envs, dtype=np.int32) + slot * self.num_envs
        return lanes

    def _answer(self, action: dict | None, step_type: np.ndarray) -> list[np.ndarray]:
        """Returns the leaves of an answer; 0 on FIRST, where nothing led to."""
        if not self.answers:
            return []
        if action is None:
            return [np.zeros((), leaf.dtype) for _, leaf in self.answers]
        leaves = [_at(action, path) for path, _ in self.answers]
        arrays = [leaf.numpy() if isinstance(leaf, Tensor) else np.asarray(leaf) for leaf in leaves]
        first = step_type == FIRST
        if first.any():
            arrays = [
                np.where(first.reshape(-1, *[1] * (array.ndim - 1)), array.dtype.type(0), array) for array in arrays
            ]
        return arrays

    def _presence(self, observation: dict) -> tuple[np.ndarray, list[np.ndarray]]:
        """Returns the bytes that tell what is there, and the leaves (0 where there is none)."""
        if len(observation) == len(self.leaves):
            found = [observation.get(path[0]) if len(path) == 1 else _at(observation, path) for path in self.leaves]
            if all(isinstance(leaf, Tensor) for leaf in found):
                return self.plain, [self._value(*pair) for pair in enumerate(found)]
        given = dict(flatten(observation))
        unknown = [path_name(path) for path in given if path not in self.leaves and path not in self._covers]
        if unknown:
            known = [path_name(path) for path in self.leaves]
            raise SpecError(f"ReplayBuffer: expected the keys {known} of {self.source!r}, got {unknown} besides.")
        present = np.empty((self.num_envs, len(self.plain)), np.uint8)
        values = []
        for number, path in enumerate(self.leaves):
            leaf = given.get(path)
            present[:, number] = THERE if leaf is not None else NONE if path in given else ABSENT
            blank = np.zeros((), self.columns[OBSERVATION + number].dtype)
            values.append(blank if leaf is None else self._value(number, leaf))
        for number, path in enumerate(self.masks, len(self.leaves)):
            mask = given.get(path)
            present[:, number] = ABSENT if mask is None else np.where(mask.numpy(), TRUE, FALSE)
        return present, values

    def _value(self, number: int, leaf: Tensor) -> np.ndarray:
        """Returns the values of a leaf, which fit its column."""
        column, array = self.columns[OBSERVATION + number], leaf.numpy()
        if array.dtype != column.dtype or array.shape[1:] != column.shape:
            raise SpecError(
                f"ReplayBuffer: expected {column.name!r} of {self.source!r} as {column.dtype} [B, *{list(column.shape)}],"
                f" got {array.dtype} {list(array.shape)}. Let on_spec say what on_timestep changes."
            )
        return array

    def of_shape(self, column: int, *shape: int) -> tuple[tuple[int, ...], np.dtype]:
        """Returns shape and dtype of an array [*shape, ...] of rows of a column."""
        return (*shape, *self.columns[column].shape), self.columns[column].dtype

    def is_plain(self, present: np.ndarray) -> bool:
        """Whether all leaves are there in all rows, and no mask is."""
        return present is self.plain or bool((present == self.plain).all())

    def put_together(self, values: Sequence[np.ndarray], present: np.ndarray | None) -> dict:
        """Rebuilds an observation: [*N, ...] tensors, None and masks, as they were taken apart.

        Rows need not be of one timestep: where only some have a key, `mask:<key>` says which.

        Args:
          values: the leaves, [*N, ...] each.
          present: uint8 [*N, leaves + masks]; None where all rows are plain.
        """
        if present is None:
            return as_tree(self.leaves, values)
        items: list[tuple[tuple, Any]] = []
        needed: dict[tuple, np.ndarray] = {}
        for number, (path, value) in enumerate(zip(self.leaves, values)):
            code = present[..., number]
            if (code == ABSENT).all():
                continue
            there = code == THERE
            items.append((path, from_numpy(value) if there.any() else None))
            if there.any() and not there.all():
                needed[_mask_of(path)] = there
        for number, path in enumerate(self.masks, len(self.leaves)):
            code = present[..., number]
            mask = needed.get(path)
            if (code != ABSENT).any():
                mask = (code != FALSE) if mask is None else (code != FALSE) & mask
            if mask is not None:
                items.append((path, from_numpy(mask)))
        return unflatten(items) or {}

    def actions(self, values: Sequence[np.ndarray]) -> dict:
        """Rebuilds an answer from its leaves."""
        return as_tree([path for path, _ in self.answers], values)


def as_tree(paths: Sequence[tuple], values: Sequence[np.ndarray]) -> dict:
    """Returns a tree of tensors over the values."""
    if len(paths) == 1 and len(paths[0]) == 1:
        return {paths[0][0]: from_numpy(values[0])}
    return unflatten([(path, from_numpy(value)) for path, value in zip(paths, values)]) or {}


def column(name: str, dtype: Any, shape: tuple[int, ...]) -> Column:
    """Returns a column of this dtype and shape of a row."""
    dtype = np.dtype(dtype)
    return Column(name, dtype, shape, math.prod(shape) * dtype.itemsize)


def _at(tree: Any, path: tuple) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _mask_of(path: tuple) -> tuple:
    return (*path[:-1], f"mask:{path[-1]}")
