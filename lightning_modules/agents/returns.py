"""Targets of reinforcement learning, as pure functions of tensors."""

import torch
from torch import Tensor

__all__ = ["double_q_targets", "generalized_advantages"]


def generalized_advantages(r_t: Tensor, discount_t: Tensor, last_t: Tensor, v: Tensor, lambda_: float) -> Tensor:
    """Estimates how much better each action was than the policy's average.

    delta_t = r_t + discount_t * v_{t+1} - v_t and A_t = delta_t + discount_t * lambda_ * A_{t+1}, run backwards, with
    A_{t+1} = 0 where the episode ends. A truncated episode bootstraps from the value of its own final observation, a
    terminated one (discount 0) from nothing. The rows of transitions from LAST to the next FIRST mean nothing: leave
    them out of every loss.

    Args:
      r_t: rewards after each action, float32 [T, B].
      discount_t: the environment's discount after each action times the agent's gamma, float32 [T, B] in [0, 1].
      last_t: whether the action led to LAST, bool [T, B].
      v: value estimates of all T + 1 observations, float32 [T + 1, B], in the units of the rewards.
      lambda_: 0 is one-step TD, 1 is Monte Carlo.

    Returns:
      Advantages, float32 [T, B]; plus `v[:-1]` they are targets for the values.

    Source: Schulman et al. 2016, eq. 16; golden values in tests/lightning_modules/test_returns.py.
    """
    delta = r_t + discount_t * v[1:] - v[:-1]
    keep = discount_t * lambda_ * ~last_t
    advantages = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        following = advantages[t] = delta[t] + keep[t] * following
    return advantages


def double_q_targets(r_t: Tensor, discount_t: Tensor, q_t_selector: Tensor, q_t_value: Tensor) -> Tensor:
    """Returns r_t + discount_t * q_t_value[argmax q_t_selector].

    Args:
      r_t: rewards after each action, float32 [N].
      discount_t: the environment's discount times the agent's gamma, float32 [N]; 0 where the episode terminated.
      q_t_selector: action values of the next observation by the network that learns, float32 [N, A].
      q_t_value: the same by the target network.

    Returns:
      Targets, float32 [N].

    Source: van Hasselt et al. 2016; golden values in tests/lightning_modules/test_returns.py.
    """
    best = q_t_selector.argmax(-1, keepdim=True)
    return r_t + discount_t * q_t_value.gather(-1, best).squeeze(-1)
