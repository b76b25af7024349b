"""DynamicTimescaled: the agent sees and sets how many steps it takes for each step of the environment."""

from typing import Literal

import numpy as np
from dm_env import specs
from torch import from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.specs.infer import with_sides
from aexp_torch.stages.pooling import Pool
from aexp_torch.stages.timescaled import PHASE, Timescaled
from aexp_torch.timestep import TimeStep

__all__ = ["DynamicTimescaled"]

RATIO = "ratio"


class DynamicTimescaled(Timescaled):
    """Lets the agent see and set its ratio, agent steps per environment step, in every lane for itself.

    What `StaticTimescaled` says of a ratio holds here for the ratio that is seen: it is in effect for the answer to this
    timestep. A ratio that is answered is seen in the next timestep and in effect from its answer on; answering the one that
    is seen keeps it. Each episode starts with `ratio`. Above ratio 1 an observation is shown until the agent has had as many
    steps as the ratio says, so that lowering it sends the answer at once.

    Observation: gains `ratio`, float32 [B] in [min_ratio, max_ratio]; and `timescale:phase`, int64 [B], if asked for.
    Action: gains `ratio`, float32 [B], at least 0; what is out of [min_ratio, max_ratio] is clipped. The source receives
    what is pooled, and what is held.

    Args:
      env: the environment below, with lane control.
      ratio: at the start of every episode, in [min_ratio, max_ratio].
      min_ratio: the lowest; above 0 unless `max_skip` is given, else an agent could give up control for ever.
      max_ratio: the highest; inf allows the agent to stop the environment for as long as it likes.
      max_skip: the most environment steps after one answer; None: as many as the ratio says.
      hold: as for `StaticTimescaled`.
      input: as for `StaticTimescaled`; `ratio` is always there.
      pool_observation: as for `StaticTimescaled`.
      pool_action: as for `StaticTimescaled`; `ratio` itself is never pooled.
      observe_phase: adds `timescale:phase`.

    Raises:
      SpecError: as for `StaticTimescaled`; `ratio` is a key already; limits that do not fit together.

    >>> import torch, aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1").pipe(ae.DynamicTimescaled, min_ratio=0.1)
    >>> timestep = env.reset()
    >>> timestep = env.step({"action": torch.tensor([0]), "ratio": torch.tensor([0.25])})
    >>> timestep.reward, timestep.observation["ratio"]
    (tensor([1.]), tensor([0.2500]))
    >>> env.step({"action": torch.tensor([1]), "ratio": torch.tensor([1.0])}).reward
    tensor([4.])

    Source: `DynamicTimescaled` of the artificial-experience project.
    """

    own_keys = (PHASE, RATIO)

    def __init__(
        self,
        env: Env,
        ratio: float = 1.0,
        min_ratio: float = 1 / 16,
        max_ratio: float = 16.0,
        max_skip: int | None = None,
        hold: Literal["repeat", "noop"] = "repeat",
        input: Literal["repeat", "drop"] = "repeat",
        pool_observation: Pool = "last",
        pool_action: Pool = "last",
        observe_phase: bool = False,
    ):
        super().__init__(env, hold, input, pool_observation, pool_action, observe_phase, max_skip)
        if not 0 <= min_ratio <= ratio <= max_ratio or not np.isfinite(ratio):
            raise SpecError(
                "DynamicTimescaled: expected 0 <= min_ratio <= ratio <= max_ratio and a finite ratio, got"
                f" {min_ratio!r}, {ratio!r}, {max_ratio!r}."
            )
        if max_skip is not None and (not isinstance(max_skip, int) or max_skip < 1):
            raise SpecError(f"DynamicTimescaled: expected max_skip of at least 1, or None, got {max_skip!r}.")
        if min_ratio == 0 and max_skip is None:
            raise SpecError(
                "DynamicTimescaled: expected min_ratio above 0 or a max_skip: with ratio 0 the agent would have no say"
                " until the episode ends."
            )
        self.ratio, self.min_ratio, self.max_ratio = float(ratio), float(min_ratio), float(max_ratio)

    def first_ratio(self) -> float:
        """Returns the ratio at the start of an episode."""
        return self.ratio

    def longest(self) -> float:
        """Returns the highest ratio."""
        return self.max_ratio

    def split_answer(self, action: dict) -> tuple[dict, np.ndarray | None]:
        """Takes the ratio off the answer."""
        wanted = np.clip(action[RATIO].numpy().astype(np.float64), self.min_ratio, self.max_ratio)
        return {key: value for key, value in action.items() if key != RATIO}, wanted

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds `ratio` on both sides."""
        spec = super().on_spec(spec)
        self.refuse_taken(RATIO, spec.observation, "observation")
        self.refuse_taken(RATIO, spec.action, "action")
        seen = specs.BoundedArray((), np.float32, np.float32(self.min_ratio), np.float32(self.max_ratio), RATIO)
        set_to = specs.BoundedArray((), np.float32, 0.0, np.inf, RATIO)
        new = with_sides(spec, observation={**spec.observation, RATIO: seen}, action={**spec.action, RATIO: set_to})
        for side in ("observation", "action"):
            new.modalities[side][RATIO] = Modality("flat", "real", "time")
        return new

    def _show(self, timestep: TimeStep) -> TimeStep:
        timestep = super()._show(timestep)
        return timestep._replace(
            observation={**timestep.observation, RATIO: from_numpy(self._ratio.astype(np.float32))}
        )
