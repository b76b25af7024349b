"""What a prediction is worth: losses by name, and the spec of the prediction that they take."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor
from torch.nn import functional

from aexp_torch.errors import SpecError
from aexp_torch.specs import describe

__all__ = ["LOSSES", "prediction_spec_for", "reward_function"]


def _cross_entropy(prediction: Tensor, y: Tensor) -> Tensor:
    return -functional.cross_entropy(prediction, y.long(), reduction="none")


def _mse(prediction: Tensor, y: Tensor) -> Tensor:
    return -(prediction.float() - y.float()).square().flatten(1).mean(1) if y.dim() > 1 else -(prediction - y).square()


def _correct(prediction: Tensor, y: Tensor) -> Tensor:
    return (prediction == y).flatten(1).all(1) if y.dim() > 1 else prediction == y


LOSSES = {"cross_entropy": _cross_entropy, "mse": _mse, "correct": _correct}


def reward_function(loss: str | Callable[[Any, Any], Tensor] | None) -> Callable[[Any, Any], Tensor] | None:
    """Returns `reward(prediction, y) -> [B]`: minus the loss; 1 or 0 for `"correct"`."""
    if loss is None:
        return None
    if callable(loss):
        return lambda prediction, y: -loss(prediction, y)
    if loss not in LOSSES:
        raise SpecError(f"DatasetEnv: expected loss to be a function or one of {sorted(LOSSES)}, got {loss!r}.")
    return LOSSES[loss]


def prediction_spec_for(loss: Any, target: specs.Array | dict, who: str) -> Any:
    """Returns the spec of `predict:y`: y's own, or float32 [C] logits for `"cross_entropy"`."""
    if loss != "cross_entropy":
        return target
    if not isinstance(target, specs.DiscreteArray):
        raise SpecError(
            f"{who}: expected a known number of classes for loss='cross_entropy', the target is {describe(target)}."
            " Give it: specs={'y': dm_env.specs.DiscreteArray(10, np.int64)}, or prediction_spec=."
        )
    return specs.Array((target.num_values,), np.float32, "logits")


def checked(reward: Tensor, num_envs: int, who: str) -> Tensor:
    """Returns a reward as float32 [B]; anything else, or one that is not finite, is a SpecError."""
    reward = torch.as_tensor(reward).detach().to("cpu", torch.float32)
    if reward.shape != (num_envs,) or not torch.isfinite(reward).all():
        came = f"float32 {list(reward.shape)}" if reward.shape != (num_envs,) else f"{reward.tolist()[:8]} ..."
        raise SpecError(f"{who}: expected the loss to give finite float32 [{num_envs}], got {came}.")
    return reward
