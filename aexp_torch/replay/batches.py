"""What sampling gives: transitions of one or more steps, or sequences, copied into lent memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from aexp_torch.replay.schema import DISCOUNT, PRESENT, REWARD, STEP_TYPE
from aexp_torch.replay.shelf import Shelf
from aexp_torch.replay.table import Table
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["INDEX_BITS", "Sequences", "Transitions", "gather_sequences", "gather_transitions", "split"]

INDEX_BITS = 44  # of an index say which row, those above which table


class Transitions(NamedTuple):
    """Holds N transitions of one source, of n steps or as many as their episode has left.

    The target of a value is `reward + discount * value(next_observation)`: where an episode terminated, discount is 0;
    where it was truncated, next_observation is its final one and counts.

    Args:
      observation: [N, ...] tree; a key that only some rows have is 0 elsewhere, and `mask:<key>` (bool [N]) says where.
      action: [N, ...] tree: the answer to `observation`.
      reward: float32 [N]: the sum over the steps, each discounted by those before.
      discount: float32 [N]: the product over the steps of gamma and the environment's discount.
      next_observation: [N, ...] tree, after the last step.
      num_steps: int64 [N]: how many there were.
      rows: int64 [N]: where they are, for `update_priorities`.
      weight: float32 [N]: 1, or what makes up for unequal probabilities.
      source: name of the source.
    """

    observation: dict[str, Any]
    action: dict[str, Any]
    reward: Tensor
    discount: Tensor
    next_observation: dict[str, Any]
    num_steps: Tensor
    rows: Tensor
    weight: Tensor
    source: str


class Sequences(NamedTuple):
    """Holds N stretches of T steps, each within one episode of one source, time first like a `Trajectory`.

    Args:
      timesteps: TimeStep of [T + 1, N, ...], without a ticket. Behind the end of an episode its last observation is
        repeated, with step type LAST, reward 0 and discount 0.
      action: [T, N, ...] tree: `action[t]` answers `timesteps[t]`.
      mask: bool [T, N]: whether the step from t to t + 1 is there; False where the sequence is padded.
      rows: int64 [N]: where they begin, for `update_priorities`.
      weight: float32 [N]: as of Transitions.
      source: name of the source.
    """

    timesteps: TimeStep
    action: dict[str, Any]
    mask: Tensor
    rows: Tensor
    weight: Tensor
    source: str


def split(tables: Sequence[Table], index: np.ndarray) -> Iterator[tuple[Table, np.ndarray, slice]]:
    """Yields each table with its rows, and where they stand in `index`, which is in the order of tables."""
    if len(tables) == 1:
        yield tables[0], index, slice(0, len(index))
        return
    numbers = index >> INDEX_BITS
    ends = np.searchsorted(numbers, np.arange(len(tables)), "right").tolist()
    for table, begin, end in zip(tables, [0, *ends], ends):
        if end > begin:
            yield table, index[begin:end] & ((1 << INDEX_BITS) - 1), slice(begin, end)


def gather_transitions(
    tables: Sequence[Table], index: np.ndarray, weight: np.ndarray, n_step: int, gamma: float, shelf: Shelf
) -> Transitions:
    """Copies transitions.

    Args:
      tables: of one source.
      index: int64 [N], in the order of tables.
      weight: float32 [N].
      n_step: steps of a transition, at most.
      gamma: of each step.
      shelf: lends memory.
    """
    schema, count = tables[0].schema, len(index)
    columns = [*schema.observation, *schema.observation, *schema.action]
    lent = shelf.lend((schema.source, count, 0), lambda: [schema.of_shape(column, count) for column in columns])
    leaves = len(schema.observation)
    before, after, action = lent[:leaves], lent[leaves : 2 * leaves], lent[2 * leaves :]
    reward, discount = np.empty(count, np.float32), np.empty(count, np.float32)
    num_steps = np.empty(count, np.int64)
    plain = all(table.plain for table in tables)
    ends = None if plain else np.empty(count, np.int64)
    for table, ids, part in split(tables, index):
        rows = table.links.follow(ids, n_step)
        if ends is not None:
            ends[part] = rows[-1]
        places = table.places(rows)
        reward[part], discount[part], num_steps[part] = returns(table, rows, places, gamma)
        for column, old, new in zip(schema.observation, before, after):
            table.copy(column, places[0], old[part])
            table.copy(column, places[-1], new[part])
        for column, out in zip(schema.action, action):
            table.copy(column, places[1], out[part])
    return Transitions(
        schema.put_together(before, None if plain else presence(tables, index, index)),
        schema.actions(action),
        from_numpy(reward),
        from_numpy(discount),
        schema.put_together(after, None if plain else presence(tables, index, ends)),
        from_numpy(num_steps),
        from_numpy(index),
        from_numpy(weight),
        schema.source,
    )


def returns(table: Table, rows: np.ndarray, places: np.ndarray, gamma: float) -> tuple[Any, Any, Any]:
    """Returns discounted sums of rewards, what the value behind them counts, and numbers of steps, [N] each.

    Args:
      table: where the rows are.
      rows: int64 [n + 1, N]: those of a transition, its last again where an episode ends.
      places: where they stand.
      gamma: of each step.
    """
    if len(rows) == 2:
        discount = table.copy(DISCOUNT, places[1])
        return table.copy(REWARD, places[1]), discount if gamma == 1 else discount * np.float32(gamma), 1
    rewards, discounts = table.copy(REWARD, places[1:]), table.copy(DISCOUNT, places[1:])
    there = rows[1:] > rows[:-1]
    factors = np.where(there, discounts * np.float32(gamma), np.float32(1))
    before = np.cumprod(np.concatenate([np.ones_like(factors[:1]), factors[:-1]]), axis=0)
    return (before * rewards * there).sum(0), factors.prod(0), there.sum(0)


def gather_sequences(
    tables: Sequence[Table], index: np.ndarray, weight: np.ndarray, num_steps: int, shelf: Shelf
) -> Sequences:
    """Copies sequences of `num_steps` steps; the rest as for `gather_transitions`."""
    schema, count = tables[0].schema, len(index)
    columns = [(column, num_steps + 1, count) for column in schema.observation]
    columns += [(column, num_steps, count) for column in schema.action]
    lent = shelf.lend((schema.source, count, num_steps), lambda: [schema.of_shape(*column) for column in columns])
    observation, action = lent[: len(schema.observation)], lent[len(schema.observation) :]
    rows = np.empty((num_steps + 1, count), np.int64)
    step_type = np.empty(rows.shape, np.int8)
    reward, discount = np.empty(rows.shape, np.float32), np.empty(rows.shape, np.float32)
    for table, ids, part in split(tables, index):
        rows[:, part] = chain = table.links.follow(ids, num_steps)
        places = table.places(chain)
        for column, out in ((STEP_TYPE, step_type), (REWARD, reward), (DISCOUNT, discount)):
            out[:, part] = table.copy(column, places)
        for column, out in zip(schema.observation, observation):
            table.copy(column, places, out[:, part])
        for column, out in zip(schema.action, action):
            table.copy(column, places[1:], out[:, part])
    mask = rows[1:] > rows[:-1]
    step_type[1:][~mask], reward[1:][~mask], discount[1:][~mask] = StepType.LAST, 0, 0
    plain = all(table.plain for table in tables)
    tree = schema.put_together(observation, None if plain else presence(tables, index, rows))
    signals = (from_numpy(step_type), from_numpy(reward), from_numpy(discount))
    return Sequences(
        TimeStep(*signals, tree),
        schema.actions(action),
        from_numpy(mask),
        from_numpy(index),
        from_numpy(weight),
        schema.source,
    )


def presence(tables: Sequence[Table], index: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns what is there in rows [*N] that belong to `index` [..., N]."""
    bits = rows & ((1 << INDEX_BITS) - 1)
    parts = [table.take(PRESENT, bits[..., part]) for table, _, part in split(tables, index)]
    return np.concatenate(parts, axis=-2)
