"""What stages that hold single lanes ask of the environment below."""

from aexp_torch.env import Env
from aexp_torch.errors import SpecError

__all__ = ["require_lane_control"]


def require_lane_control(env: Env, who: str) -> None:
    """Raises a SpecError where an environment cannot reset and step single lanes."""
    if not env.lane_control:
        raise SpecError(
            f"{who}: expected an environment that can hold single lanes, {env.name!r} ({type(env).__name__}) steps all at"
            " once. Use num_envs=1, or vectorization='sync' for a Gymnasium environment; put this stage below a"
            " composition, around each of its members."
        )
