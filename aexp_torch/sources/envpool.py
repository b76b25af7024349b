"""EnvPoolEnv: the environments of EnvPool, stepped by its threads in C++."""

import difflib
import warnings
from typing import Any, Literal

import numpy as np
from dm_env import specs

from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec, map_tree

__all__ = ["EnvPoolEnv"]

TINY = np.finfo(np.float32).tiny
OURS = {
    "num_envs": "give num_envs= as the second argument",
    "batch_size": "a pool that returns whichever lanes are ready gives another stream every time",
    "seed": "give seed=, from which each lane's follows",
    "env_seed": "give seed=, from which each lane's follows",
}


class EnvPoolEnv(SimulatorEnv):
    """Runs `num_envs` lanes of an EnvPool task in one pool of threads (extra `envpool`).

    Observation: the task's space as a nested dict; a space without names is `observation`.
    Action: likewise; a space without names is `action`.
    A lane that ends shows its final observation on LAST; its next timestep is FIRST. Terminated is discount 0, truncated
    discount 1; EnvPool calls an end at the time limit truncated, whatever else ends there.

    Every lane has a seed of its own, and single lanes can be reset and stepped. What EnvPool keeps in C++ gives no state:
    `resumable` is False. `GymnasiumEnv` of the same task is resumable where Gymnasium has it.

    Args:
      task_id: as in `envpool.list_all_envs()`: `"Pong-v5"`, `"CartPole-v1"`, `"HalfCheetah-v4"`.
      num_envs: number of lanes B.
      name: names the source; the default is the task.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of a simulator that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      options: the task's own for `envpool.make_gymnasium`: `num_threads`, `max_episode_steps`, `frame_skip`, `stack_num` ...

    Raises:
      SpecError: unknown task or option, or a task of several players, when it is opened.
      MissingDependencyError: what EnvPool, or the task, needs is not installed.

    Source: Weng et al. 2022, "EnvPool: A Highly Parallel Reinforcement Learning Environment Execution Engine".

    >>> env = EnvPoolEnv("CartPole-v1", num_envs=16)
    >>> env.reset().observation["observation"].shape
    torch.Size([16, 4])
    """

    vectorization = "own"
    lane_control = True
    resumable = False
    snapshots = False

    def __init__(
        self,
        task_id: str,
        num_envs: int = 1,
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **options: Any,
    ):
        settings: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(num_envs, name or task_id, on_broken=on_broken, max_broken=max_broken, **settings)
        for option in options.keys() & OURS.keys():
            raise SpecError(f"EnvPoolEnv: expected options of {task_id!r}, got {option!r}: {OURS[option]}.")
        self.task_id, self.options = task_id, options

    @property
    def max_episode_steps(self) -> int | None:
        """The time limit of the task."""
        self.open()
        return self._pool.config.get("max_episode_steps")

    def open_lanes(self) -> Lanes:
        """Starts the threads."""
        envpool = import_provider("envpool", "envpool", f"EnvPoolEnv({self.task_id!r})")
        from aexp_torch.sources.envpool_lanes import EnvPoolLanes

        tasks = envpool.list_all_envs()
        if self.task_id not in tasks:
            near = difflib.get_close_matches(self.task_id.rpartition("/")[2], tasks, 3, 0.5)
            raise SpecError(
                f"EnvPoolEnv: expected the id of a task of EnvPool, got {self.task_id!r}. Near it: {near}; all are in"
                " envpool.list_all_envs()."
            )
        seeds = [seed % 2**31 for seed in self.lane_seeds()]  # EnvPool's are int32
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # that bounds are cast to float32
                self._pool = self._make(envpool, seeds)
                return EnvPoolLanes(self._pool)
        except ImportError as error:
            raise MissingDependencyError(f"EnvPoolEnv({self.task_id!r}): {error}") from error

    def _make(self, envpool: Any, seeds: list[int]) -> Any:
        config = envpool.make_spec(self.task_id).config
        unknown = sorted(self.options.keys() - set(config._fields))
        if unknown:
            allowed = [name for name in config._fields if name not in OURS]
            raise SpecError(f"EnvPoolEnv: expected options of {self.task_id!r} among {allowed}, got {unknown}.")
        if config.max_num_players > 1:
            raise SpecError(
                f"EnvPoolEnv: expected a task of one player, {self.task_id!r} has {config.max_num_players} in a lane."
                " PettingZooEnv has environments of several agents."
            )
        return envpool.make_gymnasium(self.task_id, num_envs=self.num_envs, seed=seeds, **self.options)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the spaces."""
        from aexp_torch.specs.spaces import space_modalities, space_to_spec

        spaces = {"observation": self._pool.single_observation_space, "action": self._pool.single_action_space}
        spec = {side: map_tree(_mended, space_to_spec(space, side)) for side, space in spaces.items()}
        modalities = {side: space_modalities(space, side) for side, space in spaces.items()}
        return {self.name: EnvSpec(spec["observation"], spec["action"], modalities=modalities, num_envs=self.num_envs)}


def _mended(spec: specs.Array) -> specs.Array:
    """Takes bounds away that are none: EnvPool's least float is often the least above 0, C++'s `numeric_limits::min`."""
    if not isinstance(spec, specs.BoundedArray) or spec.dtype.kind != "f":
        return spec
    low = np.where((spec.minimum > 0) & (spec.minimum <= TINY), -np.inf, spec.minimum)
    high = np.where(spec.maximum >= np.finfo(spec.dtype).max, np.inf, spec.maximum)
    if np.isneginf(low).all() and np.isposinf(high).all():
        return specs.Array(spec.shape, spec.dtype, spec.name)
    return specs.BoundedArray(spec.shape, spec.dtype, low.astype(spec.dtype), high.astype(spec.dtype), spec.name)
