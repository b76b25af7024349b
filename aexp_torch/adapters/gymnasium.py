"""to_gymnasium, to_gymnasium_vector: the same stream for whoever speaks Gymnasium, one lane or many."""

from typing import TYPE_CHECKING, Literal

from aexp_torch.env import Env

if TYPE_CHECKING:
    from aexp_torch.adapters.gymnasium_views import GymnasiumVectorView, GymnasiumView

__all__ = ["to_gymnasium", "to_gymnasium_vector"]


def to_gymnasium(env: Env, render_mode: Literal["rgb_array"] | None = None) -> "GymnasiumView":
    """Returns the environment as a `gymnasium.Env`.

    `reset(seed=S)` starts the stream over as it is under that seed; without a seed the stream goes on. A LAST with
    discount 0 is terminated, any other truncated. Keys that a timestep may lack are 0, with `mask:<key>` beside them.
    Where no answer is due, the action space is `Discrete(1)`.
    A composition's episode ends where those of all sources have ended; `info["source"]` names the one at hand.

    Args:
      env: any pipeline with num_envs == 1. The view steps it, so nobody else should.
      render_mode: `"rgb_array"` renders the first image in the observation (uint8 [H, W, 3] or [3, H, W]).

    Raises:
      SpecError: num_envs is not 1, or there is no image to render.

    >>> import aexp_torch as ae
    >>> env = ae.to_gymnasium(ae.GymnasiumEnv("FrozenLake-v1").pipe(ae.ObserveReward))
    >>> env.action_space
    Discrete(4)
    >>> observation, info = env.reset(seed=1)
    >>> observation["observation"]
    np.int64(0)
    """
    from aexp_torch.adapters.gymnasium_views import GymnasiumView

    return GymnasiumView(env, render_mode)


def to_gymnasium_vector(env: Env) -> "GymnasiumVectorView":
    """Returns the environment as a `gymnasium.vector.VectorEnv` with autoreset on the next step.

    As `to_gymnasium`, for all lanes. `reset(options={"reset_mask": mask})` resets single lanes of an environment with
    lane control. Masks of rows that fill up a short minibatch are not in the space: give such a dataset
    `drop_last=True`.

    Args:
      env: any pipeline whose sources have the same num_envs. The view steps it, so nobody else should.

    Raises:
      SpecError: the sources of a composition have different numbers of lanes.

    >>> import aexp_torch as ae
    >>> envs = ae.to_gymnasium_vector(ae.GymnasiumEnv("CartPole-v1", num_envs=3))
    >>> observation, info = envs.reset(seed=1)
    >>> observation.shape, envs.action_space
    ((3, 4), MultiDiscrete([2 2 2]))
    """
    from aexp_torch.adapters.gymnasium_views import GymnasiumVectorView

    return GymnasiumVectorView(env)
