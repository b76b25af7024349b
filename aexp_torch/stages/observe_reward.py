"""ObserveReward: the agent sees the reward it has just received."""

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.specs.infer import with_sides
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["ObserveReward"]

FIRST = np.int8(StepType.FIRST)


class ObserveReward(Stage):
    """Puts the reward of the transition that led here into the observation.

    Observation: gains `key`, float32 [B] (or [B, history], the newest last), in the source's reward units; 0 on FIRST
    and for steps before the episode.  Action: unchanged.

    Args:
      env: the environment below.
      key: the new key.
      history: how many rewards to show.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.ObserveReward)
    >>> env.reset().observation["reward"]
    tensor([0., 0.])

    Source: `ObserveReward` of the artificial-experience project.
    """

    def __init__(self, env: Env, key: str = "reward", history: int = 1):
        super().__init__(env)
        if history < 1:
            raise SpecError(f"ObserveReward: expected history of at least 1, got {history!r}.")
        self.key = key
        self.history = history

    def on_open(self) -> None:
        """Starts with no rewards seen."""
        self._seen: dict[str, Tensor] = {}

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Adds the key."""
        reward = timestep.reward
        if self.history > 1:
            before = self._seen.get(timestep.source)
            shown = np.zeros((len(reward), self.history), np.float32)
            if before is not None:
                shown[:, :-1] = before.numpy()[:, 1:]
                shown[timestep.step_type.numpy() == FIRST] = 0.0
            shown[:, -1] = reward.numpy()
            if self.held is not None:
                held = self.held.numpy()
                shown[held] = 0.0 if before is None else before.numpy()[held]
            reward = self._seen[timestep.source] = from_numpy(shown)
        return timestep._replace(observation={**timestep.observation, self.key: reward})

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds the key."""
        if self.key in spec.observation:
            raise SpecError(
                f"ObserveReward: expected a free key, {self.key!r} is in the observation already"
                f" ({sorted(spec.observation)}). Give another one with key=."
            )
        shape = () if self.history == 1 else (self.history,)
        leaf = specs.Array(shape, np.float32, self.key)
        new = with_sides(spec, observation={**spec.observation, self.key: leaf})
        new.modalities["observation"][self.key] = Modality("flat", "real", "reward")
        return new

    def state_dict(self) -> dict:
        """Adds the rewards seen, float32 [B, history] per source."""
        return super().state_dict() | {"seen": dict(self._seen)}

    def load_state_dict(self, state: dict) -> None:
        """Restores the rewards seen."""
        super().load_state_dict(state)
        self._seen = dict(state["seen"])
