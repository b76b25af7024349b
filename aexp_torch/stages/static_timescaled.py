"""StaticTimescaled: the agent takes r steps for each step of the environment."""

from typing import Literal

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.stages.pooling import Pool
from aexp_torch.stages.timescaled import Timescaled

__all__ = ["StaticTimescaled"]


class StaticTimescaled(Timescaled):
    """Runs the agent at a fixed ratio to the environment: agent steps per environment step, in every lane for itself.

    | ratio | what happens |
    |---|---|
    | 4 | every observation is shown four times; what was answered the last time goes to the environment |
    | 1.5 | observations are shown once, twice, once, twice, ... |
    | 1 | nothing changes |
    | 0.5 | one answer serves two environment steps; what the second one shows is shown to the agent |
    | 0 | the agent sees FIRST and LAST |
    | inf | the agent sees FIRST, and then the same observation for ever |

    An observation that is shown again is MID with reward 0 and discount 1. Of several environment steps, rewards are
    summed up, weighted by the discounts before them, and discounts are multiplied. FIRST and LAST are shown once, when they
    come: a lane whose episode ends while others go on waits for them. What a stream shows that ends without LAST, in the
    middle of such a stretch, is not seen.

    Observation: same specs; gains `timescale:phase`, int64 [B], if asked for: how often it was shown before.
    Action: same spec; the source receives what is pooled, and what is held.

    Args:
      env: the environment below, with lane control.
      ratio: agent steps per environment step, in [0, inf].
      hold: below ratio 1, what the environment gets after the first of several steps: the answer again ("repeat") or the
        action 0 ("noop"; the smallest one where 0 is out of bounds).
      input: above ratio 1, whether an observation is shown again ("repeat") or is absent ("drop"): None where no lane
        has something new, 0 with `mask:<key>` False where some have not.
      pool_observation: makes one observation of those of several environment steps: "last", "mean", "max", "min",
        "random" (one time per lane), or a function of values [T, B, ...] and valid (bool [T, B]) that returns [B, ...].
        Categorical values are the last ones under mean, max and min; means of integers are rounded.
      pool_action: the same for what was answered to one observation.
      observe_phase: adds `timescale:phase`.

    Raises:
      SpecError: wrong options; an environment without lane control, or with several sources (put the stage around each
        of them); ratio 0 where episodes do not end.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2, vectorization="sync").pipe(ae.StaticTimescaled, ratio=0.25)
    >>> timestep = env.reset()
    >>> env.step(timestep.step_type.long()).reward  # of four steps of the environment
    tensor([4., 4.])

    Source: `StaticTimescaled` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        ratio: float = 1.0,
        hold: Literal["repeat", "noop"] = "repeat",
        input: Literal["repeat", "drop"] = "repeat",
        pool_observation: Pool = "last",
        pool_action: Pool = "last",
        observe_phase: bool = False,
    ):
        super().__init__(env, hold, input, pool_observation, pool_action, observe_phase)
        if not isinstance(ratio, int | float) or not ratio >= 0:
            raise SpecError(f"StaticTimescaled: expected a ratio in [0, inf], got {ratio!r}.")
        if ratio == 0 and not env.episodic:
            raise SpecError(
                f"StaticTimescaled: expected episodes that end with ratio=0, {env.name!r} never shows LAST. Use a higher"
                " ratio, or a time limit below (episode='batch' or epochs=1 for a dataset)."
            )
        self.ratio = float(ratio)

    def first_ratio(self) -> float:
        """Returns the ratio."""
        return self.ratio
