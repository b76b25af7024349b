"""How the lanes of a GymnasiumEnv are stepped: all at once by the environment itself, or one after the other."""

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from aexp_torch.errors import SpecError
from aexp_torch.sources.lanes import Lanes, Outcome, Simulator, SingleLanes
from aexp_torch.sources.object_state import restore, snapshot, why_not_resumable
from aexp_torch.sources.recognize import comes_from
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs.space_data import action_lane_writer, action_writer, batch_reader, lane_stacker

if TYPE_CHECKING:
    from aexp_torch.sources.gymnasium import GymnasiumEnv

__all__ = ["AtariLanes", "OwnVector", "open_lanes"]

FLOAT32 = np.dtype(np.float32)


class OwnVector(Lanes):
    """Steps all lanes in one call of the environment's own vectorised form."""

    def __init__(self, source: SimulatorEnv, vector: VectorEnv):
        mode = vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode != AutoresetMode.NEXT_STEP or vector.num_envs != source.num_envs:
            raise SpecError(
                f"{type(source).__name__}: expected a vector environment of {source.num_envs} lanes with autoreset_mode"
                f" NEXT_STEP, {source.name!r} has {vector.num_envs} lanes and {mode}. Make it that way, or use"
                " vectorization='sync'."
            )
        self._vector = vector
        self._read = batch_reader(vector.single_observation_space, "observation")
        self._write = action_writer(vector.single_action_space, "action")
        self._step = vector.step

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets all lanes; the provider takes one seed for the whole batch, lane 0's."""
        observation, _ = self._vector.reset(seed=None if seeds is None else seeds[0])
        return self._read(observation)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps all lanes."""
        observation, reward, terminated, truncated, _ = self._step(self._write(action))
        if reward.dtype is not FLOAT32:
            reward = reward.astype(np.float32)
        return Outcome(self._read(observation), reward, terminated | truncated, (~terminated).astype(FLOAT32))

    def close(self) -> None:
        """Closes the environment."""
        self._vector.close()


class StoredVector(OwnVector):
    """Stores the environment's own vectorised form, too: what Python can see of it."""

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return why_not_resumable(self._vector)

    def state_dict(self) -> dict:
        """Returns the simulator's state."""
        return snapshot(self._vector)

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator's state."""
        restore(self._vector, state)

    def lane_state(self, lane: int) -> dict:
        """Returns the simulator's state, which is that of the only lane."""
        return snapshot(self._vector)

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the simulator's state."""
        restore(self._vector, state)


class AtariLanes(OwnVector):
    """Steps the lanes of ALE's own vector environment, which takes a seed for each."""

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets all lanes; seeds of ALE have 31 bits."""
        given: Any = None if seeds is None else np.array(seeds) % 2**31
        observation, _ = self._vector.reset(seed=given)
        return self._read(observation)

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state."""
        return (
            "ale_py's vector environment keeps its games in C++ and gives no state of them. Use"
            " GymnasiumEnv('ALE/Pong-v5', num_envs, vectorization='sync', repeat_action_probability=0), which is resumable,"
            " with the stages FrameSkip, Grayscale, Resize and FrameStack"
        )


class GymnasiumSimulator(Simulator):
    """Is one `gymnasium.Env`."""

    def __init__(self, env: gymnasium.Env):
        self.env = env

    def reset(self, seed: int | None) -> Any:
        """Begins an episode."""
        return self.env.reset(seed=seed)[0]

    def step(self, action: Any) -> tuple[Any, float, bool, float]:
        """Steps it: terminated is discount 0, truncated 1."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        return observation, float(reward), terminated or truncated, float(not terminated)

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return why_not_resumable(self.env)

    def state_dict(self) -> dict:
        """Returns the simulator's state."""
        return snapshot(self.env)

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator's state."""
        restore(self.env, state)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def open_lanes(source: "GymnasiumEnv") -> tuple[Lanes, dict[str, gymnasium.Space]]:
    """Makes the environments of a source, in the form that its `vectorization` names or its factory returns.

    Returns:
      The lanes, and the spaces of one: `observation` and `action`.
    """
    if source.vectorization == "vector_entry_point":
        options: dict[str, Any] = {"num_envs": source.num_envs, "vectorization_mode": "vector_entry_point"}
        vector = gymnasium.make_vec(str(source.id_or_factory), **options, **source.kwargs)
        # Answers were checked where they were given; to do it again would be a seventh of CartPole's step.
        vector.unwrapped.action_space.contains = _was_checked  # type: ignore[method-assign, assignment]
        return _own_vector(source, vector)
    first = _make(source)
    if isinstance(first, VectorEnv):
        return _own_vector(source, first)
    envs = [first, *(_make(source) for _ in range(source.num_envs - 1))]
    write = action_lane_writer(first.action_space, "action")
    stack = lane_stacker(first.observation_space, "observation")
    lanes = SingleLanes([*map(GymnasiumSimulator, envs)], write, stack, lambda lane: GymnasiumSimulator(_make(source)))
    return lanes, {"observation": first.observation_space, "action": first.action_space}


def _own_vector(source: "GymnasiumEnv", vector: VectorEnv) -> tuple[Lanes, dict[str, gymnasium.Space]]:
    spaces = {"observation": vector.single_observation_space, "action": vector.single_action_space}
    if comes_from("envpool")(vector.unwrapped):
        from aexp_torch.sources.envpool_lanes import EnvPoolLanes

        return EnvPoolLanes(vector.unwrapped), spaces
    kind = AtariLanes if comes_from("ale_py")(vector.unwrapped) else StoredVector
    return kind(source, vector), spaces


def _was_checked(action: Any) -> bool:
    return True


def _make(source: "GymnasiumEnv") -> Any:
    if isinstance(source.id_or_factory, str):
        return source.prepare(gymnasium.make(source.id_or_factory, **source.kwargs))
    if callable(source.id_or_factory) and not isinstance(source.id_or_factory, gymnasium.Env):
        return source.prepare(source.id_or_factory(**source.kwargs))
    return source.prepare(source.id_or_factory)
