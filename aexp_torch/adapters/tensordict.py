"""timestep_to_tensordict: a timestep under TorchRL's key names."""

from typing import TYPE_CHECKING, Any

from aexp_torch.errors import MissingDependencyError
from aexp_torch.specs import flatten, unflatten
from aexp_torch.timestep import TimeStep

if TYPE_CHECKING:
    from tensordict import TensorDict

__all__ = ["timestep_to_tensordict"]


def timestep_to_tensordict(timestep: TimeStep) -> "TensorDict":
    """Converts a timestep to a TensorDict of batch size [B]; `TimeStep.to_tensordict` calls it.

    The leaves of the observation stay where they are, without those that are absent. Beside them: `reward` float32,
    `terminated`, `truncated`, `done` and `is_init` bool, [B, 1] each as TorchRL has them; `step_type` int8 and
    `discount` float32, [B]. A key of the observation that has one of these names becomes `observation:<key>`. Tensors
    are shared, not copied. The ticket stays with the timestep: `timestep.reply(tensordict["action"])` answers.

    Raises:
      MissingDependencyError: tensordict is not installed.
    """
    try:
        from tensordict import TensorDict
    except ImportError as error:
        raise MissingDependencyError(
            "TimeStep.to_tensordict: expected the package tensordict, it is not installed. Install it:"
            ' pip install "aexp-torch[tensordict]"'
        ) from error

    terminated, truncated = timestep.terminated()[:, None], timestep.truncated()[:, None]
    signals = {
        "reward": timestep.reward[:, None],  # [B, 1]
        "terminated": terminated,
        "truncated": truncated,
        "done": terminated | truncated,
        "is_init": timestep.first()[:, None],
        "step_type": timestep.step_type,
        "discount": timestep.discount,
    }
    observation = _present(timestep.observation)
    renamed = {f"observation:{key}" if key in signals else key: value for key, value in observation.items()}
    return TensorDict({**renamed, **signals}, batch_size=timestep.step_type.shape)


def _present(observation: dict[str, Any]) -> dict[str, Any]:
    return unflatten([(path, leaf) for path, leaf in flatten(observation) if leaf is not None]) or {}
