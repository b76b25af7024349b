"""How the lanes of a GymnasiumEnv are stepped: all at once by the environment itself, or one after the other."""

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from aexp_torch.errors import SpecError
from aexp_torch.sources.gymnasium_state import restore, snapshot, why_not_resumable
from aexp_torch.specs.space_data import action_lane_writer, action_writer, batch_reader, lane_stacker

if TYPE_CHECKING:
    from aexp_torch.sources.gymnasium import GymnasiumEnv

__all__ = ["OwnVector", "SingleLanes", "open_lanes"]

FLOAT32 = np.dtype(np.float32)
Outcome = tuple[dict, np.ndarray, np.ndarray, np.ndarray]  # observation, float32 reward, terminated, truncated; [B]


class OwnVector:
    """Steps all lanes in one call of the environment's own vectorised form."""

    single = False  # no lane can be stored alone, unless there is no other

    def __init__(self, source: "GymnasiumEnv", vector: VectorEnv):
        mode = vector.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        if mode != AutoresetMode.NEXT_STEP or vector.num_envs != source.num_envs:
            raise SpecError(
                f"GymnasiumEnv: expected a vector environment of {source.num_envs} lanes with autoreset_mode NEXT_STEP,"
                f" {source.name!r} has {vector.num_envs} lanes and {mode}. Make it that way, or use vectorization='sync'."
            )
        self._vector = vector
        self.observation_space, self.action_space = vector.single_observation_space, vector.single_action_space
        self._read = batch_reader(self.observation_space, "observation")
        self._write = action_writer(self.action_space, "action")
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
        return self._read(observation), reward, terminated, truncated

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return why_not_resumable(self._vector)

    def state_dict(self) -> dict:
        """Returns the simulator's state."""
        return snapshot(self._vector)

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator's state."""
        restore(self._vector, state)

    def close(self) -> None:
        """Closes the environment."""
        self._vector.close()

    def lane_state(self, lane: int) -> dict:
        """Returns the simulator's state, which is that of the only lane."""
        return snapshot(self._vector)

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the simulator's state."""
        restore(self._vector, state)


class SingleLanes:
    """Steps one environment per lane, one after the other."""

    single = True

    def __init__(self, source: "GymnasiumEnv", first: gymnasium.Env):
        self._envs = [first, *(_make(source) for _ in range(source.num_envs - 1))]
        self.observation_space, self.action_space = first.observation_space, first.action_space
        self._write = action_lane_writer(self.action_space, "action")
        self._stack = lane_stacker(self.observation_space, "observation")

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets the active lanes (all where None); the rows of the others mean nothing."""
        chosen = range(len(self._envs)) if active is None else np.flatnonzero(active).tolist()
        observations = {lane: self._envs[lane].reset(seed=None if seeds is None else seeds[lane])[0] for lane in chosen}
        return self._rows(observations)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps the active lanes (all where None), resets those that are done; other rows mean nothing."""
        num_envs = len(self._envs)
        reward = np.zeros(num_envs, np.float32)
        terminated, truncated = np.zeros(num_envs, bool), np.zeros(num_envs, bool)
        observations = {}
        for lane in range(num_envs) if active is None else np.flatnonzero(active).tolist():
            env = self._envs[lane]
            if done[lane]:
                observations[lane], _ = env.reset()
            else:
                outcome = env.step(self._write(action, lane))
                observations[lane], reward[lane], terminated[lane], truncated[lane], _ = outcome
        return self._rows(observations), reward, terminated, truncated

    def _rows(self, observations: dict[int, Any]) -> dict:
        anything = next(iter(observations.values()))
        return self._stack([observations.get(lane, anything) for lane in range(len(self._envs))])

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return why_not_resumable(self._envs[0])

    def state_dict(self) -> dict:
        """Returns the state of every simulator."""
        return {"envs": [snapshot(env) for env in self._envs]}

    def load_state_dict(self, state: dict) -> None:
        """Restores the state of every simulator."""
        for env, env_state in zip(self._envs, state["envs"], strict=True):
            restore(env, env_state)

    def lane_state(self, lane: int) -> dict:
        """Returns the state of one simulator."""
        return snapshot(self._envs[lane])

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the state of one simulator."""
        restore(self._envs[lane], state)

    def close(self) -> None:
        """Closes the environments."""
        for env in self._envs:
            env.close()


def open_lanes(source: "GymnasiumEnv") -> OwnVector | SingleLanes:
    """Makes the environments of a source, in the form that its `vectorization` names or its factory returns."""
    if source.vectorization == "vector_entry_point":
        options: dict[str, Any] = {"num_envs": source.num_envs, "vectorization_mode": "vector_entry_point"}
        vector = gymnasium.make_vec(str(source.id_or_factory), **options, **source.kwargs)
        # Answers were checked where they were given; to do it again would be a seventh of CartPole's step.
        vector.unwrapped.action_space.contains = _was_checked  # type: ignore[method-assign, assignment]
        return OwnVector(source, vector)
    first = _make(source)
    return OwnVector(source, first) if isinstance(first, VectorEnv) else SingleLanes(source, first)


def _was_checked(action: Any) -> bool:
    return True


def _make(source: "GymnasiumEnv") -> Any:
    if isinstance(source.id_or_factory, str):
        return gymnasium.make(source.id_or_factory, **source.kwargs)
    if callable(source.id_or_factory) and not isinstance(source.id_or_factory, gymnasium.Env):
        return source.id_or_factory(**source.kwargs)
    return source.id_or_factory
