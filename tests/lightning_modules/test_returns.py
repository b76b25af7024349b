"""Golden values and identities of the maths that agents share."""

import torch

from lightning_modules.agents.losses import clipped_policy_loss, masked_mean, q_loss
from lightning_modules.agents.returns import double_q_targets, generalized_advantages


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_advantages_golden():
    # One lane: two steps to a termination, the step from LAST to FIRST, one step to a truncation.
    r_t = column(1.0, 2.0, 0.0, 4.0)
    discount_t = column(0.5, 0.0, 0.5, 0.5)
    last_t = column(False, True, False, True)
    v = column(10.0, 20.0, 30.0, 40.0, 50.0)
    advantages = generalized_advantages(r_t, discount_t, last_t, v, lambda_=0.5).flatten().tolist()
    terminated = 2.0 - 20.0
    assert advantages[1] == terminated
    assert advantages[0] == 1.0 + 0.5 * 20.0 - 10.0 + 0.5 * 0.5 * terminated
    assert advantages[3] == 4.0 + 0.5 * 50.0 - 40.0  # bootstraps from its own final observation


def test_advantages_of_lambda_one_are_monte_carlo():
    generator = torch.Generator().manual_seed(0)
    r_t, v = torch.randn(6, 3, generator=generator), torch.randn(7, 3, generator=generator)
    last_t, discount_t = torch.zeros(6, 3, dtype=torch.bool), torch.full((6, 3), 0.9)
    targets = generalized_advantages(r_t, discount_t, last_t, v, lambda_=1.0) + v[:-1]
    expected = v[-1]
    for t in reversed(range(6)):
        expected = r_t[t] + 0.9 * expected
    torch.testing.assert_close(targets[0], expected)


def test_advantages_do_not_leak_over_the_end_of_an_episode():
    r_t, v = torch.zeros(3, 1), torch.zeros(4, 1)
    last_t = column(True, False, False).bool()
    before = generalized_advantages(r_t, torch.ones(3, 1), last_t, v, 1.0)[0]
    r_t[2] = 100.0
    assert torch.equal(generalized_advantages(r_t, torch.ones(3, 1), last_t, v, 1.0)[0], before)


def test_double_q_targets_golden():
    selector = torch.tensor([[1.0, 2.0], [5.0, 3.0]])
    value = torch.tensor([[10.0, 20.0], [30.0, 40.0]])
    targets = double_q_targets(torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0]), selector, value)
    assert targets.tolist() == [11.0, 1.0]  # the second one terminated


def test_clipped_policy_loss_golden():
    ratio, advantage = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, -1.0, 3.0])
    loss = clipped_policy_loss(ratio.log(), torch.zeros(3), advantage, clip=0.2)
    torch.testing.assert_close(loss, torch.tensor(-(1.2 - 0.8 + 3.0) / 3))


def test_q_loss_golden():
    q = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    assert q_loss(q, torch.tensor([1, 0]), torch.tensor([0.0, 0.5])).item() == (1.5 + 0.125) / 2


def test_masked_mean_leaves_rows_out():
    value = torch.tensor([1.0, float("nan"), 3.0])
    assert masked_mean(value, torch.tensor([True, False, True])).item() == 2.0
    assert masked_mean(value, torch.zeros(3, dtype=torch.bool)).item() == 0.0
