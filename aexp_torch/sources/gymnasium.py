"""GymnasiumEnv: any Gymnasium environment, vectorised its own way where it has one."""

import os
from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.errors import AexpError, SpecError
from aexp_torch.sources.restorable import Restorable, show_restored
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import TimeStep, restart, select_lanes

if TYPE_CHECKING:
    import gymnasium

__all__ = ["GymnasiumEnv"]


class GymnasiumEnv(Restorable):
    """Runs `num_envs` lanes of a Gymnasium environment.

    Observation: the environment's spaces as a nested dict; a space without names is `observation`.
    Action: likewise; a space without names is `action`.
    A lane that ends shows its final observation on LAST; its next timestep is FIRST. Terminated is discount 0,
    truncated discount 1.

    Args:
      id_or_factory: a registered id (`"CartPole-v1"`, `"package:Name-v0"`), a function that makes one `gymnasium.Env`
        (or a `gymnasium.vector.VectorEnv` of `num_envs` lanes), or a live environment (num_envs=1, this process only).
      num_envs: number of lanes B.
      vectorization: `"vector_entry_point"` is the environment's own vectorised form, seeded for all lanes at once;
        `"sync"` steps lane after lane, each with a seed of its own, and can reset and step single lanes; `"auto"` takes
        the first where the environment has one.
      name: names the source; the default is the environment's id.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      kwargs: for `gymnasium.make` or the factory.

    Raises:
      SpecError: unknown id, a space that has no spec, or (while stepping) a reward that is not finite.

    >>> env = GymnasiumEnv("CartPole-v1", num_envs=16)
    >>> env.reset().observation["observation"].shape
    torch.Size([16, 4])
    """

    def __init__(
        self,
        id_or_factory: "str | Callable[..., Any] | gymnasium.Env",
        num_envs: int = 1,
        vectorization: Literal["auto", "vector_entry_point", "sync"] = "auto",
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        **kwargs: Any,
    ):
        super().__init__(name, seed=seed, on_missing=on_missing, feedback_timeout=feedback_timeout)
        if vectorization not in ("auto", "vector_entry_point", "sync"):
            raise SpecError(
                f"GymnasiumEnv: expected vectorization 'auto', 'vector_entry_point' or 'sync', got {vectorization!r}."
            )
        if not isinstance(num_envs, int) or num_envs < 1:
            raise SpecError(f"GymnasiumEnv: expected num_envs of at least 1, got {num_envs!r}.")
        self.id_or_factory, self.num_envs, self.kwargs = id_or_factory, num_envs, kwargs
        self.given_vectorization, self.vectorization = vectorization, self._choose(vectorization)
        self._home = os.getpid() if _is_live(id_or_factory) else None

    def _choose(self, vectorization: str) -> str:
        """Checks what can be known before anything runs, and turns "auto" into a choice."""
        if isinstance(self.id_or_factory, str):
            own = _registered(self.id_or_factory).vector_entry_point is not None
        elif callable(self.id_or_factory):
            own = False
        elif _is_live(self.id_or_factory):
            if self.num_envs != 1:
                raise SpecError(
                    f"GymnasiumEnv: expected num_envs=1 with a live environment, got {self.num_envs}."
                    " Give its id or a function that makes one."
                )
            own = False
        else:
            raise SpecError(f"GymnasiumEnv: expected an id, a function or a gymnasium.Env, got {self.id_or_factory!r}.")
        if vectorization == "vector_entry_point" and not own:
            raise SpecError(
                f"GymnasiumEnv: expected an id whose environment has a vectorised form of its own, {self.name!r} has"
                " none. Use vectorization='auto' or 'sync'."
            )
        return ("vector_entry_point" if own else "sync") if vectorization == "auto" else vectorization

    @property
    def name(self) -> str:
        """The given name, or the environment's id."""
        if self._name is not None:
            return self._name
        if isinstance(self.id_or_factory, str):
            return self.id_or_factory.rpartition(":")[2]
        spec = getattr(self.id_or_factory, "spec", None)
        return getattr(spec, "id", None) or getattr(self.id_or_factory, "__name__", type(self.id_or_factory).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    @property
    def lane_control(self) -> bool:
        """Whether single lanes can be reset and stepped: with one lane, or one after the other."""
        return self.num_envs == 1 or self.vectorization == "sync"

    @property
    def snapshots(self) -> bool:
        """Whether single lanes can be stored: the only one, or one after the other."""
        single = self.vectorization == "sync" and (self._recipe is None or self._lanes.single)
        return single or self.num_envs == 1

    @property
    def max_episode_steps(self) -> int | None:
        """The time limit that the environment is registered with."""
        if isinstance(self.id_or_factory, str):
            return self.kwargs.get("max_episode_steps") or _registered(self.id_or_factory).max_episode_steps
        return None

    @property
    def resumable(self) -> bool:
        """Whether the simulator gives its state."""
        self.open()
        return self._lanes.why_not_resumable() is None

    def __getstate__(self) -> dict:
        if _is_live(self.id_or_factory):
            raise self._cannot_travel()
        return super().__getstate__()

    def _cannot_travel(self) -> SpecError:
        return SpecError(
            f"GymnasiumEnv: {self.name!r} is a live environment, which cannot be copied, pickled or sent to a worker."
            " Give its id or a function that makes one."
        )

    def on_open(self) -> None:
        """Makes the environments."""
        from aexp_torch.sources.gymnasium_lanes import open_lanes

        if self._home not in (None, os.getpid()):
            raise self._cannot_travel()
        self._lanes = open_lanes(self)
        self._done = np.zeros(self.num_envs, bool)  # the next timestep of these lanes is FIRST
        self._seeded = False
        self._one = np.ones((), np.int8)

    def on_close(self) -> None:
        """Closes the environments; a live one stays open."""
        if not _is_live(self.id_or_factory):
            self._lanes.close()

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the spaces."""
        from aexp_torch.specs.spaces import space_modalities, space_to_spec

        sides = {"observation": self._lanes.observation_space, "action": self._lanes.action_space}
        spec = {side: space_to_spec(space, side) for side, space in sides.items()}
        modalities = {side: space_modalities(space, side) for side, space in sides.items()}
        return {self.name: EnvSpec(**spec, modalities=modalities, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts new episodes; the first reset seeds the lanes."""
        seeds = None
        if not self._seeded:
            seeds = [int(self.seeds(lane).generate_state(1)[0]) for lane in range(self.num_envs)]
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
            return self._timestep(*self._lanes.step(action, self._done, None))
        active, done = np.ones(self.num_envs, bool) if lanes is None else lanes.numpy(), self._done
        rows, fresh = self.begin_episodes(from_numpy(active & done))
        moving, timestep = (active & ~done) | fresh.numpy(), self._outstanding
        if moving.any():
            timestep = self._timestep(*self._lanes.step(action, done, moving))
        self._done = np.where(moving, self._done, done & ~active)
        timestep = show_restored(timestep, rows)
        return timestep if lanes is None else select_lanes(lanes, timestep, self._outstanding)

    def _timestep(self, observation: dict, reward: np.ndarray, terminated: np.ndarray, truncated: np.ndarray):
        if not isfinite(np.add.reduce(reward)):  # one number tells of NaN and infinity anywhere
            self._refuse_reward(reward)
        before, done = self._done, terminated | truncated
        self._done = done
        step_type = np.subtract(done.view(np.int8), before.view(np.int8))
        np.add(step_type, self._one, out=step_type)
        discount = (~terminated).astype(np.float32)
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
        """Returns the simulator of one lane; see `gymnasium_state`."""
        return self._lanes.lane_state(lane)

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the simulator of one lane."""
        self._lanes.load_lane_state(lane, state)

    def state_dict(self) -> dict:
        """Adds the simulator's state (classic control, toy text, MuJoCo, Atari; refused with the reason elsewhere)."""
        self.open()
        try:
            lanes = self._lanes.state_dict()
        except AexpError as error:
            error.add_note(f"while taking the state of {self.name!r}")
            raise
        done = from_numpy(self._done.copy())
        return super().state_dict() | {"lanes": lanes, "done": done, "seeded": self._seeded}

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator."""
        super().load_state_dict(state)
        self._lanes.load_state_dict(state["lanes"])
        self._done, self._seeded = state["done"].numpy().copy(), state["seeded"]


def _registered(env_id: str) -> "gymnasium.envs.registration.EnvSpec":
    import gymnasium

    try:
        module, _, name = env_id.rpartition(":")
        if module:
            __import__(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise SpecError(
            f"GymnasiumEnv: expected the id of a registered environment, got {env_id!r}: {error}. Environments of other"
            " packages are registered when those are imported: 'package:Name-v0' does it."
        ) from error


def _is_live(thing: Any) -> bool:
    import gymnasium

    return isinstance(thing, gymnasium.Env | gymnasium.vector.VectorEnv)
