"""Losses of reinforcement learning, as pure functions of tensors."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["clipped_policy_loss", "masked_mean", "q_loss"]


def clipped_policy_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Returns -mean(min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A)), ratio = exp(log_prob - old_log_prob).

    Args:
      log_prob: of the actions under the policy that learns, float32 [N].
      old_log_prob: under the policy that acted, float32 [N].
      advantage: float32 [N].
      clip: how far the ratio may move an action's probability.

    Source: Schulman et al. 2017, eq. 7.
    """
    ratio = (log_prob - old_log_prob).exp()
    return -torch.min(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage).mean()


def q_loss(q: Tensor, action: Tensor, target: Tensor) -> Tensor:
    """Returns the mean Huber loss of the values [N, A] of the actions taken (int64 [N]) against targets [N]."""
    return functional.smooth_l1_loss(q.gather(-1, action[:, None]).squeeze(-1), target)


def masked_mean(value: Tensor, rows: Tensor | None) -> Tensor:
    """Returns the mean of `value` [N] over rows (bool [N], None for all); 0 where there is none."""
    if rows is None:
        return value.mean()
    return torch.where(rows, value, 0.0).sum() / rows.sum().clamp(min=1)
