"""Layout: where the fields of a timestep, or of an answer, lie in a block of shared memory."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, flatten, path_name, unflatten
from aexp_torch.timestep import TimeStep

__all__ = ["Layout"]

ALIGNMENT = 64
ABSENT, NONE, PRESENT = 0, 1, 2  # a key may be missing, be there with None, or have a value


class Field(NamedTuple):
    """One array in a block."""

    path: tuple[str, ...]
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


class Layout:
    """Lays out the timesteps of some sources, one at a time, from their specs.

    A block begins with two int64, the source's place and the ticket's step, and one byte per field that tells whether
    it is there. A leaf may have a mask (bool [B]) beside it.

    Args:
      specs: of the sources whose timesteps share the block.
    """

    def __init__(self, specs: dict[str, EnvSpec]):
        self.sources = list(specs)
        self.fields = [_fields(spec) for spec in specs.values()]
        self.size = max(_end(fields) for fields in self.fields)

    def write(self, block: np.ndarray, timestep: TimeStep) -> None:
        """Copies a timestep into a block (uint8 [size])."""
        place = self.sources.index(timestep.source)
        fields = self.fields[place]
        block[:16].view(np.int64)[:] = place, timestep.ticket.step
        leaves = dict(flatten(timestep.observation))
        values = [timestep.step_type, timestep.reward, timestep.discount]
        for number, field in enumerate(fields):
            value = values[number] if number < 3 else leaves.pop(field.path, _MISSING)
            block[16 + number] = ABSENT if value is _MISSING else NONE if value is None else PRESENT
            if isinstance(value, Tensor):
                _array(block, field)[...] = value.numpy()
        if leaves:
            raise SpecError(
                f"Loader: expected the keys of specs[{timestep.source!r}] in its timesteps, got"
                f" {sorted(map(path_name, leaves))} besides. Let on_spec say what on_timestep adds."
            )

    def read(self, block: np.ndarray, ticket: Any) -> TimeStep:
        """Returns a timestep whose tensors are views of the block.

        Args:
          block: uint8 [size]; every tensor keeps it alive.
          ticket: from (source, step) to the ticket.
        """
        place, step = block[:16].view(np.int64).tolist()
        fields = self.fields[place]
        there = block[16 : 16 + len(fields)].tolist()
        signals = [torch.from_numpy(_array(block, field)) for field in fields[:3]]
        leaves = [
            (field.path, torch.from_numpy(_array(block, field)) if state == PRESENT else None)
            for field, state in zip(fields[3:], there[3:], strict=True)
            if state != ABSENT
        ]
        observation = unflatten(leaves) or {}
        return TimeStep(signals[0], signals[1], signals[2], observation, ticket(self.sources[place], step))


_MISSING = object()


def _array(block: np.ndarray, field: Field) -> np.ndarray:
    return np.ndarray(field.shape, field.dtype, block, field.offset)


def _fields(spec: EnvSpec) -> list[Field]:
    num_envs = (spec.num_envs,)
    wanted: list[tuple[tuple[str, ...], Any, tuple[int, ...]]] = [
        ((), np.int8, num_envs),
        ((), np.float32, num_envs),
        ((), np.float32, num_envs),
    ]
    leaves = list(flatten(spec.observation))
    wanted += [(path, leaf.dtype, (*num_envs, *leaf.shape)) for path, leaf in leaves]
    masked = dict.fromkeys([path for path, _ in leaves] + [path[:1] for path, _ in leaves])
    known = {path for path, _ in leaves}
    masks = [(*path[:-1], f"mask:{path[-1]}") for path in masked if not path[-1].startswith("mask:")]
    wanted += [(mask, np.bool_, num_envs) for mask in masks if mask not in known]
    fields, offset = [], _align(16 + len(wanted))
    for path, dtype, shape in wanted:
        fields.append(Field(path, np.dtype(dtype), shape, offset))
        offset = _align(offset + int(np.prod(shape)) * np.dtype(dtype).itemsize)
    return fields


def _end(fields: list[Field]) -> int:
    last = fields[-1]
    return _align(last.offset + int(np.prod(last.shape)) * last.dtype.itemsize)


def _align(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
