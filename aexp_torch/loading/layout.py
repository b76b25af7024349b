"""Layout: where the fields of a timestep, and of its answer, lie in the shared memory of one slot.

The memory is a head (control words, error text, the answer) and blocks, one timestep each. What does not change from
step to step, arrays over the memory above all, is made once.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, flatten, path_name, unflatten
from aexp_torch.timestep import Ticket, TimeStep

__all__ = ["ERROR_BYTES", "ERROR_START", "Layout"]

ALIGNMENT = 64
ERROR_START = 64  # behind the control words: what went wrong, as JSON of 8,000 characters, up to 6 bytes each
ERROR_BYTES = 65536
NUMPY_FROM = 16384  # elements of a field: it copies large ones faster, torch several small ones
ABSENT, NONE, PRESENT = 0, 1, 2  # a key may be missing, be there with None, or have a value

_new_tuple = tuple.__new__  # half the time of TimeStep(...)


class Field(NamedTuple):
    """One array in a block, or in the head."""

    path: tuple[str, ...]
    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the block, or of the memory
    number: int

    def array(self, memory: np.ndarray, start: int = 0) -> np.ndarray:
        """Returns the array in memory (uint8) whose block begins at `start`."""
        return np.ndarray(self.shape, self.dtype, memory, start + self.offset)


class Layout:
    """Lays out the timesteps and answers of some sources, one at a time, from their specs.

    A block begins with one byte per field of the observation, which tells whether it is there. A leaf may have a mask
    (bool [B]) beside it.

    Args:
      specs: of the sources that share the slot.
      num_blocks: how many timesteps there is room for.
    """

    def __init__(self, specs: dict[str, EnvSpec], num_blocks: int):
        elsewhere = {name: spec.device for name, spec in specs.items() if spec.device != "cpu"}
        if elsewhere:
            raise SpecError(
                f"Loader: expected sources on the CPU, whose timesteps workers can put in shared memory, got {elsewhere}."
                " Use num_workers=0, which leaves them on their device."
            )
        self.sources = list(specs)
        self.num_blocks = num_blocks
        self._signals = [_signals(spec) for spec in specs.values()]
        self._fields = [_observation(spec, signals[-1]) for spec, signals in zip(specs.values(), self._signals)]
        answers = [_place(list(_action_leaves(spec)), ERROR_START + ERROR_BYTES) for spec in specs.values()]
        self._answers = answers
        self._head = max([ERROR_START + ERROR_BYTES, *(_end(fields) for fields in answers if fields)])
        self._block_size = max(_end([*signals, *fields]) for signals, fields in zip(self._signals, self._fields))
        self.size = self._head + num_blocks * self._block_size
        self._starts = [self._head + block * self._block_size for block in range(num_blocks)]
        self._plans: list[dict[bytes, Any]] = [{} for _ in self.sources]

    def span(self, block: int) -> slice:
        """Returns where in the memory a block lies."""
        return slice(self._starts[block], self._starts[block] + self._block_size)

    @property
    def answers(self) -> slice:
        """Where in the memory an answer lies."""
        return slice(ERROR_START + ERROR_BYTES, self._head)

    def over(self, memory: np.ndarray) -> "Views":
        """Returns the arrays of every field over one slot's memory (uint8 [size])."""
        return Views(self, memory)

    def read(self, lease: np.ndarray, source: int, ticket: Ticket) -> TimeStep:
        """Returns the timestep in a block; its tensors are views of it.

        Args:
          lease: uint8, the block; every tensor keeps it alive.
          source: the place of the source among `sources`.
          ticket: for the timestep.
        """
        count = len(self._fields[source])
        there = lease[:count].tobytes()
        plan = self._plans[source].get(there)
        if plan is None:
            states = zip(self._fields[source], there)
            known = [(field.path, field if state == PRESENT else None) for field, state in states if state != ABSENT]
            plan = self._plans[source][there] = unflatten(known) or {}
        step_type, reward, discount = self._signals[source]
        return _new_tuple(
            TimeStep,
            (
                from_numpy(np.ndarray(step_type.shape, step_type.dtype, lease, step_type.offset)),
                from_numpy(np.ndarray(reward.shape, reward.dtype, lease, reward.offset)),
                from_numpy(np.ndarray(discount.shape, discount.dtype, lease, discount.offset)),
                _build(plan, lease),
                ticket,
            ),
        )


class Views:
    """Holds tensors over one slot's memory, made once, for whoever writes timesteps or answers there.

    Args:
      layout: says where things lie.
      memory: uint8 [layout.size].
    """

    def __init__(self, layout: Layout, memory: np.ndarray):
        self._layout = layout
        self._memory = memory
        self._places = {source: place for place, source in enumerate(layout.sources)}
        self._blocks: dict[tuple[int, int], Block] = {}
        self._written: dict[int, int] = {}  # by block, the source whose timestep it holds
        self._answers = [[(field.path, field.array(memory)) for field in fields] for fields in layout._answers]

    def write(self, number: int, timestep: TimeStep) -> int:
        """Copies a timestep into a block and returns the place of its source among `sources`."""
        source = self._places[timestep.ticket.source]
        block = self._blocks.get((number, source))
        if block is None:
            block = self._blocks[number, source] = Block(self._layout, self._memory, number, source)
        if self._written.get(number) != source:
            block.was_overwritten()
            self._written[number] = source
        try:
            block.write(timestep)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise SpecError(
                f"Loader: expected timesteps that fit specs[{timestep.source!r}] {self._specified(source)}, one does"
                f" not: {error}. Let on_spec say what on_timestep changes."
            ) from error
        return source

    def _specified(self, source: int) -> str:
        fields = [field for field in self._layout._fields[source] if not field.path[-1].startswith("mask:")]
        leaves = [f"{path_name(field.path)}: {field.dtype.name} {list(field.shape)}" for field in fields]
        return "{" + ", ".join(leaves) + "}"

    def write_answer(self, source: str, action: dict) -> int:
        """Copies a checked answer to a timestep of `source`, and returns the place of the source."""
        place = self._places[source]
        for path, array in self._answers[place]:
            value: Any = action
            for key in path:
                value = value[key]
            array[...] = value.numpy()
        return place

    def read_answer(self, source: int) -> dict:
        """Returns a copy of the answer to the source at this place."""
        answers = self._answers[source]
        if len(answers) == 1 and len(answers[0][0]) == 1:
            (path, array), *_ = answers
            return {path[0]: from_numpy(array.copy())}
        return unflatten([(path, from_numpy(array.copy())) for path, array in self._answers[source]])


class Block:
    """Is where timesteps of one source go in one block.

    Args:
      layout: says where things lie.
      memory: uint8 [layout.size].
      number: of the block.
      source: its place among the layout's.
    """

    def __init__(self, layout: Layout, memory: np.ndarray, number: int, source: int):
        start, fields = layout._starts[number], layout._fields[source]
        self._source = layout.sources[source]
        self._header = memory[start : start + len(fields)]
        self._signals = [from_numpy(field.array(memory, start)) for field in layout._signals[source]]
        leaves = [(field.path, (from_numpy(field.array(memory, start)), field.number)) for field in fields]
        self._observation = unflatten(leaves) or {}
        self._small = all(np.prod(field.shape) <= NUMPY_FROM for field in fields)
        self._there: bytearray | None = None  # what the header says now, where that is known
        self._plans: dict[tuple, tuple] = {}  # by the keys of a flat observation: where its values go

    def was_overwritten(self) -> None:
        """Says that another source's timestep was here in the meantime, so that the header is written anew."""
        self._there = None

    def write(self, timestep: TimeStep) -> None:
        """Copies a timestep; raises TypeError where it does not fit."""
        step_type, reward, discount, observation, _ = timestep
        values = [step_type, reward, discount, *observation.values()]
        plan = self._plans.get(tuple(observation))
        if plan is None or not _fit(values, plan[1]):
            plan, values = self._plan(timestep)
        targets, _, there = plan
        if self._small:
            torch._foreach_copy_(targets, values)
        else:
            for target, value in zip(targets, values):
                target.numpy()[...] = value.numpy()
        if there != self._there:
            self._header[:] = np.frombuffer(there, np.uint8)
            self._there = there

    def _plan(self, timestep: TimeStep) -> tuple[tuple, list]:
        """Says where the values of a timestep go; kept for the next one where none is nested or absent."""
        targets, values = self._signals.copy(), list(timestep[:3])
        there = bytearray(len(self._header))
        self._match(self._observation, timestep.observation, targets, values, there)
        for target, value in zip(targets, values):
            if value.dtype is not target.dtype or value.shape != target.shape:
                raise TypeError(f"{value.dtype} {list(value.shape)} for {target.dtype} {list(target.shape)}")
        plan = targets, [(target.dtype, target.shape) for target in targets], there
        if all(isinstance(value, Tensor) for value in timestep.observation.values()):
            self._plans[tuple(timestep.observation)] = plan
        return plan, values

    def _match(self, places: dict, tree: dict, targets: list, values: list, there: bytearray) -> None:
        """Pairs the leaves of an observation with their tensors."""
        for key, value in tree.items():
            place = places.get(key)
            if type(place) is tuple:
                target, number = place
                there[number] = NONE if value is None else PRESENT
                if value is not None:
                    targets.append(target)
                    values.append(value)
            elif isinstance(place, dict) and isinstance(value, dict):
                self._match(place, value, targets, values, there)
            elif not (isinstance(value, dict) and not value):
                raise SpecError(
                    f"Loader: expected the keys of specs[{self._source!r}] in its timesteps, got {key!r} besides. Let"
                    " on_spec say what on_timestep adds."
                )


def _fit(values: list, kinds: list) -> bool:
    for value, (dtype, shape) in zip(values, kinds):
        if value is None or value.dtype is not dtype or value.shape != shape:
            return False
    return True


def _build(plan: dict, lease: np.ndarray) -> dict:
    tree: dict[str, Tensor | dict | None] = {}
    for key, field in plan.items():
        if field is None:
            tree[key] = None
        elif type(field) is dict:
            tree[key] = _build(field, lease)
        else:
            tree[key] = from_numpy(np.ndarray(field.shape, field.dtype, lease, field.offset))
    return tree


def _signals(spec: EnvSpec) -> list[Field]:
    lanes = (spec.num_envs,)
    wanted = [((), np.int8, lanes), ((), np.float32, lanes), ((), np.float32, lanes)]
    return _place(wanted, 3 * len(list(flatten(spec.observation))))  # behind a byte per leaf and mask


def _observation(spec: EnvSpec, before: Field) -> list[Field]:
    """Places the leaves, then the masks that they may have."""
    lanes = (spec.num_envs,)
    leaves = list(flatten(spec.observation))
    wanted: list[tuple] = [(path, leaf.dtype, (*lanes, *leaf.shape)) for path, leaf in leaves]
    known = {path for path, _ in leaves}
    masked = dict.fromkeys([path for path, _ in leaves] + [path[:1] for path, _ in leaves])
    masks = [(*path[:-1], f"mask:{path[-1]}") for path in masked if not path[-1].startswith("mask:")]
    wanted += [(mask, np.bool_, lanes) for mask in masks if mask not in known]
    return _place(wanted, _end([before]))


def _action_leaves(spec: EnvSpec) -> list[tuple]:
    return [(path, leaf.dtype, (spec.num_envs, *leaf.shape)) for path, leaf in flatten(spec.action)]


def _place(wanted: list[tuple], offset: int) -> list[Field]:
    fields: list[Field] = []
    for path, dtype, shape in wanted:
        fields.append(Field(path, np.dtype(dtype), shape, _align(offset), len(fields)))
        offset = _end(fields)
    return fields


def _end(fields: list[Field]) -> int:
    last = fields[-1]
    return _align(last.offset + int(np.prod(last.shape)) * last.dtype.itemsize)


def _align(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
