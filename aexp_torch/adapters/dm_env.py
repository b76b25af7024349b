"""to_dm_env: the unbatched view, as dm_env's agents know it."""

from typing import Any

import dm_env
from dm_env import specs

from aexp_torch.adapters.single_stream import SingleStream, Step
from aexp_torch.env import Env
from aexp_torch.specs import map_tree

__all__ = ["DmEnvView", "to_dm_env"]


def to_dm_env(env: Env) -> "DmEnvView":
    """Returns the environment as a `dm_env.Environment` without a batch axis.

    Args:
      env: any pipeline with num_envs == 1. The view steps it, so nobody else should.

    Raises:
      SpecError: num_envs is not 1.

    >>> import aexp_torch as ae
    >>> env = ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1"))
    >>> timestep = env.reset()
    >>> timestep.step_type, timestep.reward, timestep.observation["observation"].shape
    (<StepType.FIRST: 0>, None, (4,))
    >>> env.step(1).reward
    np.float32(1.0)
    """
    return DmEnvView(env)


class DmEnvView(dm_env.Environment):
    """Is a pipeline of one lane as dm_env's environment: numpy, `dm_env.StepType`, no reward and discount on FIRST.

    Observation: a nested dict of arrays that is the same at every step: what a timestep lacks is 0, and `mask:<key>`
    is False. A composition has the keys of all its sources, and an episode ends where those of all sources have ended
    (the end of one alone is MID with its discount).
    Action: a nested dict of arrays or numbers, or the bare one where the spec has a single leaf; None or {} where it is
    empty. Of a composition's action, the part for the source of the last timestep is used.
    """

    def __init__(self, env: Env):
        self._stream = SingleStream(env, "to_dm_env", unbatched=True)

    @property
    def env(self) -> Env:
        """The pipeline."""
        return self._stream.env

    def reset(self) -> dm_env.TimeStep:
        """Starts a new episode; after LAST the stream goes on, as with `step`."""
        return _timestep(self._stream.reset())

    def step(self, action: Any) -> dm_env.TimeStep:
        """Answers the last timestep and returns the next, which is FIRST after LAST (the action is ignored)."""
        return _timestep(self._stream.step(action))

    def observation_spec(self) -> dict[str, Any]:
        """Returns the observation, with a bool `mask:<key>` beside every key that may be absent."""
        return self._stream.structure.observation_spec

    def action_spec(self) -> dict[str, Any]:
        """Returns the action; unequal ones of several sources are `key@source`."""
        return self._stream.structure.action_spec

    def reward_spec(self) -> specs.Array:
        """Returns the reward: float32 scalar."""
        return self.env.reward_spec()

    def discount_spec(self) -> specs.BoundedArray:
        """Returns the discount: float32 scalar in [0, 1]."""
        return self.env.discount_spec()

    def close(self) -> None:
        """Closes the pipeline; `reset` and `step` open it again."""
        self._stream.close()


def _timestep(step: Step) -> dm_env.TimeStep:
    observation = map_tree(lambda value: value[0], step.observation)
    step_type = dm_env.StepType(step.step_type[0])
    if step_type is dm_env.StepType.FIRST:
        return dm_env.TimeStep(step_type, None, None, observation)
    return dm_env.TimeStep(step_type, step.reward[0], step.discount[0], observation)
