"""How a simulator's lanes are stepped: all at once by the provider itself, or one after the other."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.specs.tree import flatten, map_tree, unflatten

if TYPE_CHECKING:
    from aexp_torch.sources.broken import Repairs

__all__ = ["Lanes", "Outcome", "Simulator", "SingleLanes", "lane_of", "stack_lanes"]


class Outcome(NamedTuple):
    """Holds what a step gave.

    Args:
      observation: nested dict of tensors [B, ...]; None, or `mask:<key>` beside it, where lanes lack a key.
      reward: float32 [B], finite.
      done: bool [B]: this is the last observation of the episode.
      discount: float32 [B] in [0, 1]; 0 at a termination, above 0 at a truncation, mostly 1 in between.
      cut: bool [B], or None for nowhere: the simulator broke, and the observation before is shown again.
      fresh: bool [B], or None for nowhere: this is the first observation of an episode, whatever the step before said.
    """

    observation: dict
    reward: np.ndarray
    done: np.ndarray
    discount: np.ndarray
    cut: np.ndarray | None = None
    fresh: np.ndarray | None = None


class Lanes(ABC):
    """Steps the lanes of one source; `SimulatorEnv` makes timesteps of what it returns."""

    single = False  # single lanes can be reset, stepped and stored

    @abstractmethod
    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Begins new episodes.

        Args:
          seeds: one for each lane, at the first call; None: the generators go on.
          active: bool [B]; None for all. The rows of the others mean nothing.

        Returns:
          The observation.
        """

    @abstractmethod
    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps lanes; those that were done before begin a new episode instead (reward 0, discount 1).

        Args:
          action: tensors [B, ...], checked.
          done: bool [B]: what the step before said.
          active: bool [B]; None for all. The rows of the others mean nothing.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the simulators."""

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return f"{type(self).__name__} gives no state"

    def state_dict(self) -> dict:
        """Returns the state of all simulators: tensors and primitives that nothing changes later."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")

    def load_state_dict(self, state: dict) -> None:
        """Restores the state of all simulators."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")

    def lane_state(self, lane: int) -> dict:
        """Returns the state of one simulator."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the state of one simulator."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")


class Simulator(ABC):
    """Is one environment of a provider, for one lane."""

    @abstractmethod
    def reset(self, seed: int | None) -> Any:
        """Begins an episode and returns its first observation; a seed comes with the first call only."""

    @abstractmethod
    def step(self, action: Any) -> tuple[Any, float, bool, float]:
        """Returns the observation, the reward, whether the episode is over, and the discount."""

    @abstractmethod
    def close(self) -> None:
        """Ends the environment."""

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return f"{type(self).__name__} gives no state"

    def state_dict(self) -> dict:
        """Returns the state, bit for bit: tensors and primitives that nothing changes later."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")

    def load_state_dict(self, state: dict) -> None:
        """Restores the state; must not change it."""
        raise SpecError(f"snapshot: {self.why_not_resumable()}")


class SingleLanes(Lanes):
    """Steps one simulator per lane, one after the other.

    Args:
      simulators: one for each lane.
      write: `(action, lane) -> action` of a simulator.
      stack: `[observation of each lane] -> observation`.
      make: `lane -> simulator`, another one for a lane whose simulator broke. By default all are made, and one is kept.
      at_once: steps the lanes in threads: for simulators that mostly wait, for another process or for time to pass.
    """

    single = True
    repairs: "Repairs | None" = None  # makes broken simulators anew; None: what they raise is raised

    def __init__(
        self,
        simulators: Sequence[Simulator],
        write: Callable[[dict, int], Any] | None = None,
        stack: Callable[[list], dict] | None = None,
        make: Callable[[int], Simulator] | None = None,
        at_once: bool = False,
    ):
        self._simulators, self._write, self._stack = list(simulators), write or lane_of, stack or stack_lanes
        self.make = make
        self._threads = ThreadPoolExecutor(len(self._simulators)) if at_once and len(self._simulators) > 1 else None

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets lanes."""
        lanes = range(len(self._simulators)) if active is None else np.flatnonzero(active).tolist()

        def begin(lane: int) -> Any:
            return self._simulators[lane].reset(None if seeds is None else seeds[lane])

        observations = {}
        ahead = self._ahead(begin, lanes)
        for lane in lanes:
            try:
                observations[lane] = ahead[lane].result() if ahead else begin(lane)
            except Exception as error:
                observations[lane] = self._make_anew(lane, error)
        return self._rows(observations)

    def _ahead(self, function: Callable[[int], Any], lanes: Sequence[int]) -> dict[int, Future]:
        """Calls a function of lanes in threads, where they step at once."""
        return {lane: self._threads.submit(function, lane) for lane in lanes} if self._threads is not None else {}

    def _make_anew(self, lane: int, error: Exception) -> Any:
        """Puts another simulator in the place of one that broke, and returns its first observation."""
        if self.repairs is None:
            raise error

        def make(seeds: list[int]) -> Any:
            with suppress(Exception):  # what is broken may not close either
                self._simulators[lane].close()
            self._simulators[lane] = self.make(lane)
            return self._simulators[lane].reset(seeds[0])

        return self.repairs.make_anew([lane], error, make)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps lanes, and resets those that are done."""
        num_envs = len(self._simulators)
        reward, over, discount = np.zeros(num_envs, np.float32), np.zeros(num_envs, bool), np.ones(num_envs, np.float32)
        lanes = range(num_envs) if active is None else np.flatnonzero(active).tolist()
        observations, cut = {}, None

        def move(lane: int) -> tuple[Any, float, bool, float]:
            simulator = self._simulators[lane]
            if done[lane]:
                return simulator.reset(None), 0.0, False, 1.0
            outcome = simulator.step(self._write(action, lane))
            if self.repairs is not None and not isfinite(outcome[1]):
                raise ValueError(f"expected a finite reward, got {outcome[1]}")
            return outcome

        ahead = self._ahead(move, lanes)
        for lane in lanes:
            try:
                outcome = ahead[lane].result() if ahead else move(lane)
            except Exception as error:
                outcome = self._make_anew(lane, error), 0.0, not done[lane], 1.0
                if not done[lane]:
                    cut = np.zeros(num_envs, bool) if cut is None else cut
                    cut[lane] = True
            observations[lane], reward[lane], over[lane], discount[lane] = outcome
        return Outcome(self._rows(observations), reward, over, discount, cut)

    def _rows(self, observations: dict[int, Any]) -> dict:
        anything = next(iter(observations.values()))
        return self._stack([observations.get(lane, anything) for lane in range(len(self._simulators))])

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return self._simulators[0].why_not_resumable()

    def state_dict(self) -> dict:
        """Returns the state of every simulator."""
        return {"envs": [simulator.state_dict() for simulator in self._simulators]}

    def load_state_dict(self, state: dict) -> None:
        """Restores the state of every simulator."""
        for simulator, one in zip(self._simulators, state["envs"], strict=True):
            simulator.load_state_dict(one)

    def lane_state(self, lane: int) -> dict:
        """Returns the state of one simulator."""
        return self._simulators[lane].state_dict()

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the state of one simulator."""
        self._simulators[lane].load_state_dict(state)

    def only(self, lane: int) -> Simulator:
        """Returns the simulator of one lane, and ends the others."""
        for other, simulator in enumerate(self._simulators):
            if other != lane:
                simulator.close()
        if self._threads is not None:
            self._threads.shutdown()
        return self._simulators[lane]

    def close(self) -> None:
        """Ends the simulators."""
        if self._threads is not None:
            self._threads.shutdown()
        for simulator in self._simulators:
            simulator.close()


def lane_of(action: dict, lane: int) -> dict:
    """Returns the answer of one lane: a tree of arrays in memory of their own."""
    return map_tree(lambda leaf: np.array(leaf.numpy(force=True)[lane]), action)


def stack_lanes(rows: Sequence[dict]) -> dict:
    """Returns trees of arrays, one per lane, as one tree of tensors [B, ...] in memory of its own.

    A leaf that is None in some rows is 0 there, and False in `mask:<key>` beside it; one that is None in all is None.
    """
    leaves: list[tuple[tuple, Any]] = []
    for path, _ in flatten(rows[0]):
        values = [_at(row, path) for row in rows]
        there = [value is not None for value in values]
        if not any(there):
            leaves.append((path, None))
            continue
        example = np.asarray(values[there.index(True)])
        absent = np.zeros_like(example)
        leaves.append((path, torch.from_numpy(np.stack([absent if value is None else value for value in values]))))
        if not all(there):
            leaves.append(((*path[:-1], f"mask:{path[-1]}"), torch.tensor(there)))
    return unflatten(leaves) or {}


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
