"""RowCopies: the running copies of environments that the rows of a batch are in."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.composition.joined import spec_of
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.specs.sample import zeros

__all__ = ["RowCopies"]

Key = tuple[int, int]  # the number of the environment, and the row that lane 0 of the copy serves


class RowCopies:
    """Opens a copy of an environment when a row first comes to it, and steps the lanes that rows are in.

    An environment with n lanes serves n rows. The copy of the first rows is the environment itself.

    Args:
      environments: what is copied; open.
      num_rows: B.
      place_row: tells a copy which row it begins with.
    """

    def __init__(self, environments: Sequence[Env], num_rows: int, place_row: Callable[[Env, int], None]):
        self._environments, self._num_rows, self._place_row = environments, num_rows, place_row
        self._lanes = [spec_of(env).num_envs for env in environments]
        self._running: dict[Key, Env] = {}
        self._lengths: dict[Key, int | None] = {}
        self.start_over()

    def start_over(self) -> None:
        """Has every stream start over when a row next comes to it."""
        shape = (len(self._environments), self._num_rows)
        self.done = np.zeros(shape, bool)  # by environment and row: its stream has ended there
        self._entered = np.zeros(shape, bool)
        self._base: dict[Key, int] = {}  # the step with which the stream of a copy began

    @property
    def added(self) -> tuple[Env, ...]:
        """The copies, without the environments themselves."""
        return tuple(env for (_, first), env in self._running.items() if first)

    def groups(self, rows: np.ndarray, current: np.ndarray) -> list[tuple[Key, np.ndarray]]:
        """Returns the copies that some rows (bool [B]) are in, each with its rows (int64 [M])."""
        groups: dict[Key, list[int]] = {}
        for row in np.flatnonzero(rows).tolist():
            number = int(current[row])
            groups.setdefault((number, row - row % self._lanes[number]), []).append(row)
        return [(key, np.array(members)) for key, members in groups.items()]

    def rows_of(self, key: Key) -> slice | np.ndarray:
        """Returns the rows that the lanes of a copy serve; the last one also for lanes that serve none."""
        number, first = key
        behind = first + self._lanes[number]
        if behind <= self._num_rows:
            return slice(first, behind)
        return np.minimum(np.arange(first, behind), self._num_rows - 1)

    def begin(self, key: Key, rows: np.ndarray) -> Env:
        """Has a copy show the first timestep of an episode to some of its rows (int64 [M]).

        A stream that is finite, or has no episodes, goes on where a row has left it: with the next timestep, or with the
        one that was not answered.
        """
        env, number = self._get(key), key[0]
        again = rows[self._entered[number, rows]]
        if key not in self._base:
            self._base[key] = env.reset().ticket.step
        elif len(again):
            lanes, action = self._lanes_of(key, again), spec_of(env).action
            if self._lengths[key] is None and env.episodic:
                env.reset(lanes)
            elif not action or (lanes := lanes & env._outstanding.last()).any():
                self._step(env, key, zeros(action, self._lanes[number]), lanes)
        self._entered[number, rows] = True
        return env

    def step(self, key: Key, rows: np.ndarray, answer: dict) -> Env | None:
        """Steps a copy for some of its rows (int64 [M]); returns None where its stream has nothing more."""
        env = self._get(key)
        if self.done[key[0], key[1]]:
            return None
        self._step(env, key, answer, None if len(rows) == self._lanes[key[0]] else self._lanes_of(key, rows))
        return None if env._outstanding is None else env

    def _step(self, env: Env, key: Key, answer: dict, lanes: Tensor | None) -> None:
        length = self._lengths[key]
        try:
            timestep = env.step(answer, lanes)
            over = length is not None and timestep.ticket.step - self._base[key] + 1 >= length
        except EndOfStream:
            over = True
        if over:
            self.done[key[0], key[1] : key[1] + self._lanes[key[0]]] = True

    def _lanes_of(self, key: Key, rows: np.ndarray) -> Tensor:
        lanes = torch.zeros(self._lanes[key[0]], dtype=torch.bool)
        lanes[from_numpy(rows - key[1])] = True
        return lanes

    def _get(self, key: Key) -> Env:
        running = self._running.get(key)
        if running is None:
            number, first = key
            running = self._environments[number]
            if first:
                running = _copy_of(running)
                self._place_row(running, first)
            self._running[key], self._lengths[key] = running, running.stream_length
        return running

    def close(self) -> None:
        """Closes the copies."""
        for env in self.added:
            env.close()
        self._running.clear()

    def state_dict(self) -> dict:
        """Returns which copies there are and where rows have been; the environments' states are their own."""
        return {
            "running": [list(key) for key in self._running],
            "base": [[*key, step] for key, step in self._base.items()],
            "done": from_numpy(self.done.copy()),
            "entered": from_numpy(self._entered.copy()),
        }

    def load_state_dict(self, state: dict) -> None:
        """Makes the copies that there were."""
        self.close()
        for number, first in state["running"]:
            self._get((number, first))
        self._base = {(number, first): step for number, first, step in state["base"]}
        self.done, self._entered = state["done"].numpy().copy(), state["entered"].numpy().copy()


def _copy_of(env: Env) -> Env:
    try:
        return copy.copy(env)
    except SpecError as error:
        error.add_note("while SynEnv made a copy for another row; use batch_size=1 to run it in one row only")
        raise
