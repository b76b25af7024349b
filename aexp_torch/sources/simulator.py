"""SimulatorEnv: the base of sources that step somebody's simulator."""

import os
from abc import abstractmethod
from math import isfinite
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.errors import AexpError, SpecError
from aexp_torch.sources.broken import Repairs, WholeBatch, check_broken_options
from aexp_torch.sources.lanes import Lanes, Outcome, Simulator, SingleLanes
from aexp_torch.sources.restorable import Restorable, show_restored
from aexp_torch.timestep import StepType, TimeStep, restart, select_lanes

__all__ = ["SimulatorEnv"]


class SimulatorEnv(Restorable):
    """Makes timesteps of what `Lanes` return: episodes per lane, seeds, held lanes, snapshots and state.

    A subclass implements `open_lanes` and `make_specs`, and sets `vectorization="own"` where the provider steps all lanes
    at once. It gives a live object to `keep_live`.

    Args:
      num_envs: number of lanes B.
      name: names the source.
      on_broken: what becomes of a simulator that raises while it runs, or rewards with NaN or infinity: an error
        ("raise"), or its episode ends as at a time limit ("restart": LAST with the last observation repeated, reward 0,
        discount 1) and another one, made anew with a seed of its own, goes on with FIRST. Where it raises as an episode
        begins, that of the other one is shown in its place. A provider that steps all lanes at once is opened again for
        all of them.
      max_broken: with "restart": how many simulators may break in a slot; more are an error, and so are three in a row
        that do not begin a single episode. None: any number. `broken` counts them.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.
    """

    vectorization: str = "sync"
    live: Any = None  # an environment that somebody made: it cannot be rebuilt
    _home: int | None = None
    _repairs: Repairs | None = None

    def __init__(
        self,
        num_envs: int,
        name: str | None = None,
        *,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **options: Any,
    ):
        super().__init__(name, **options)
        check_broken_options(on_broken, max_broken, type(self).__name__)
        self.on_broken, self.max_broken = on_broken, max_broken
        if not isinstance(num_envs, int) or num_envs < 1:
            raise SpecError(f"{type(self).__name__}: expected num_envs of at least 1, got {num_envs!r}.")
        self.num_envs = num_envs

    @abstractmethod
    def open_lanes(self) -> Lanes:
        """Makes the simulators: the place to import the provider, by `provider(...)`."""

    def lane_seeds(self) -> list[int]:
        """Returns a seed for each lane, in 0..2**32-1."""
        return [int(self.seeds(lane).generate_state(1)[0]) for lane in range(self.num_envs)]

    def keep_live(self, env: Any, num_envs: int = 1) -> None:
        """Takes an environment (of so many lanes) that cannot be rebuilt: in this process only, left open by `close`."""
        if self.num_envs != num_envs:
            raise SpecError(
                f"{type(self).__name__}: expected num_envs={num_envs} with a live environment, got {self.num_envs}."
                " Give its id or a function that makes one."
            )
        self.live, self._home = env, os.getpid()

    @property
    def lane_control(self) -> bool:
        """Whether single lanes can be reset and stepped: with one lane, or one after the other."""
        return self.num_envs == 1 or self._one_by_one

    @property
    def snapshots(self) -> bool:
        """Whether single lanes can be stored: the only one, or one after the other."""
        return self.num_envs == 1 or self._one_by_one

    @property
    def _one_by_one(self) -> bool:
        return self.vectorization == "sync" and (self._recipe is None or self._lanes.single)

    @property
    def resumable(self) -> bool:
        """Whether the simulator gives its state."""
        self.open()
        return self._lanes.why_not_resumable() is None

    def __getstate__(self) -> dict:
        if self.live is not None:
            raise self._cannot_travel()
        return super().__getstate__()

    def _cannot_travel(self) -> SpecError:
        return SpecError(
            f"{type(self).__name__}: {self.name!r} is a live environment, which cannot be copied, pickled or sent to a"
            " worker. Give its id or a function that makes one."
        )

    def on_open(self) -> None:
        """Makes the simulators."""
        if self._home not in (None, os.getpid()):
            raise self._cannot_travel()
        self._lanes = self.open_lanes() if self.on_broken == "raise" else self._open_repaired()
        self._done = np.zeros(self.num_envs, bool)  # the next timestep of these lanes is FIRST
        self._seeded = False
        self._one = np.ones((), np.int8)

    def _open_repaired(self) -> Lanes:
        if self.live is not None:
            raise SpecError(
                f"{type(self).__name__}: expected a simulator that can be made anew for on_broken='restart', {self.name!r}"
                " is a live environment. Give its id or a function that makes one."
            )
        who = f"{self.name!r} (slot {self.slot})"
        self._repairs = Repairs(who, self.max_broken, self.seeds, self.num_envs)
        lanes = self.open_lanes()
        if not isinstance(lanes, SingleLanes):
            return WholeBatch(lanes, self.open_lanes, self._repairs)
        lanes.repairs, lanes.make = self._repairs, lanes.make or self._open_lane
        return lanes

    def _open_lane(self, lane: int) -> Simulator:
        """Makes the simulator of one lane, for sources that do not say how."""
        lanes = self.open_lanes()
        assert isinstance(lanes, SingleLanes)
        return lanes.only(lane)

    @property
    def broken(self) -> dict[str, int]:
        """How many simulators broke and were made anew in this slot, by source."""
        return {self.name: 0 if self._repairs is None else sum(self._repairs.counts)}

    def on_close(self) -> None:
        """Ends the simulators; a live one stays open."""
        if self.live is None:
            self._lanes.close()

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts new episodes; the first reset seeds the lanes."""
        seeds = None if self._seeded else self.lane_seeds()
        self._seeded = True
        moving = torch.ones(self.num_envs, dtype=torch.bool) if lanes is None else lanes
        rows, fresh = self.begin_episodes(moving)
        timestep = self._outstanding
        if fresh.any():
            timestep = restart(self._lanes.reset(seeds, fresh.numpy()), self.num_envs)
        self._done = self._done & ~moving.numpy()
        timestep = show_restored(timestep, rows)
        return timestep if lanes is None else select_lanes(lanes, timestep, self._outstanding)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Steps every lane; those that ended before start a new episode instead."""
        if lanes is None and not self.detours:
            return self._timestep(self._lanes.step(action, self._done, None))
        active, done = np.ones(self.num_envs, bool) if lanes is None else lanes.numpy(), self._done
        rows, fresh = self.begin_episodes(from_numpy(active & done))
        moving, timestep = (active & ~done) | fresh.numpy(), self._outstanding
        if moving.any():
            timestep = self._timestep(self._lanes.step(action, done, moving))
        self._done = np.where(moving, self._done, done & ~active)
        timestep = show_restored(timestep, rows)
        return timestep if lanes is None else select_lanes(lanes, timestep, self._outstanding)

    def _timestep(self, outcome: Outcome) -> TimeStep:
        observation, reward, done, discount, cut, fresh = outcome
        if not isfinite(np.add.reduce(reward)):  # one number tells of NaN and infinity anywhere
            self._refuse_reward(reward)
        before, self._done = self._done, done
        step_type = np.subtract(done.view(np.int8), before.view(np.int8))
        np.add(step_type, self._one, out=step_type)
        if cut is not None:
            before_it, after_it = (
                restart(tree, self.num_envs) for tree in (self._outstanding.observation, observation)
            )
            observation = select_lanes(from_numpy(cut), before_it, after_it).observation
        if fresh is not None:
            step_type[fresh] = StepType.FIRST
        signals = from_numpy(step_type), from_numpy(reward), from_numpy(discount)
        return tuple.__new__(TimeStep, (*signals, observation, None))  # half the time of TimeStep(...)

    def _refuse_reward(self, reward: np.ndarray) -> None:
        wrong = np.flatnonzero(~np.isfinite(reward))
        if len(wrong):
            raise SpecError(
                f"{self.name!r} (slot {self.slot}): expected finite rewards, got {reward[wrong[0]]} in lane {wrong[0]}"
                f" after step {self._outstanding.ticket.step}. Mend the environment, or clean its reward before it gets"
                " here (gymnasium.wrappers.TransformReward)."
            )

    def lane_state(self, lane: int) -> dict:
        """Returns the simulator of one lane."""
        return self._lanes.lane_state(lane)

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the simulator of one lane."""
        self._lanes.load_lane_state(lane, state)

    def state_dict(self) -> dict:
        """Adds the simulators' state, or refuses with the reason."""
        self.open()
        try:
            lanes = self._lanes.state_dict()
        except AexpError as error:
            error.add_note(f"while taking the state of {self.name!r}")
            raise
        done = torch.as_tensor(self._done).clone()
        repairs = None if self._repairs is None else self._repairs.state_dict()
        return super().state_dict() | {"lanes": lanes, "done": done, "seeded": self._seeded, "repairs": repairs}

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulators."""
        super().load_state_dict(state)
        self._lanes.load_state_dict(state["lanes"])
        self._done, self._seeded = state["done"].numpy(force=True).copy(), state["seeded"]
        if self._repairs is not None and state["repairs"] is not None:
            self._repairs.load_state_dict(state["repairs"])
