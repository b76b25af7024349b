"""Lambda: your own functions on what passes by."""

from collections.abc import Callable

import torch

from aexp_torch.env import Env, Stage
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs import EnvSpec
from aexp_torch.specs.check import action_checker
from aexp_torch.specs.infer import infer_spec, with_sides
from aexp_torch.specs.sample import zeros
from aexp_torch.timestep import TimeStep

__all__ = ["Lambda"]


class Lambda(Stage):
    """Applies pure functions to observations, actions and rewards as they pass.

    Observation: as `obs` returns it.  Action: unchanged, unless `spec_fn` says otherwise.

    Args:
      env: the environment below.
      obs: from an observation (dict of tensors [B, ...]) to a new one, on the way down.
      action: from the agent's answer (dict of tensors [B, ...]) to the one that the environment gets, on the way up.
      reward: from float32 [B] to float32 [B]; on FIRST the reward stays 0.
      spec_fn: from the EnvSpec below to the EnvSpec above. Without it the functions are called once on zeros: what
        `obs` returns untouched keeps its spec, anything else becomes an unbounded array.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    >>> env = env.pipe(ae.Lambda, obs=lambda obs: {"pole": obs["observation"][:, 2:]})
    >>> env.observation_spec()["pole"].shape
    (2,)

    Source: `Lambda` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        obs: Callable[[dict], dict] | None = None,
        action: Callable[[dict], dict] | None = None,
        reward: Callable[[torch.Tensor], torch.Tensor] | None = None,
        spec_fn: Callable[[EnvSpec], EnvSpec] | None = None,
    ):
        super().__init__(env)
        for name, function in (("obs", obs), ("action", action), ("reward", reward), ("spec_fn", spec_fn)):
            if function is not None and not callable(function):
                raise SpecError(f"Lambda: expected {name}= to be a function, got {function!r}.")
        self.obs, self.action, self.reward, self.spec_fn = obs, action, reward, spec_fn

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Calls `obs` and `reward`."""
        if self.obs is not None:
            timestep = timestep._replace(observation=self.obs(dict(timestep.observation)))
        if self.reward is not None:
            reward = self.reward(timestep.reward).to(torch.float32)
            if reward.shape != timestep.reward.shape:
                raise SpecError(
                    f"Lambda: expected reward= to return float32 {list(timestep.reward.shape)},"
                    f" got {list(reward.shape)} for {timestep.source!r}."
                )
            timestep = timestep._replace(reward=torch.where(timestep.first(), 0.0, reward))
        return timestep

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Calls `action`."""
        return action if self.action is None else self.action(dict(action))

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Asks `spec_fn`, or learns the specs from one call on zeros."""
        if self.spec_fn is not None:
            return self.spec_fn(spec)
        if self.action is not None:
            self._check_action(spec)
        if self.obs is None:
            return spec
        return with_sides(spec, observation=infer_spec(self.obs, spec.observation, spec.num_envs, "Lambda"))

    def _check_action(self, spec: EnvSpec) -> None:
        result = self.action(zeros(spec.action, spec.num_envs))
        try:
            action_checker(spec.action, spec.num_envs)(result, lambda: torch.tensor(False))
        except ActionError as error:
            raise SpecError(
                f"Lambda: action= does not turn the environment's own action into one that it takes: {error}"
                " Give spec_fn=, which says what the agent answers."
            ) from error
