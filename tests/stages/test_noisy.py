"""Noisy: how much, where, and from which generator."""

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv

WIDE = 4000


def wide(**options):
    return CountingEnv(WIDE, lengths=[99] * WIDE, nested=True, random=True, **options)


def noise(key, **options):
    """Returns how much each lane of one key was disturbed in one timestep."""
    plain, noisy = wide().reset(), wide().pipe(ae.Noisy, **options).reset()
    one, other = plain.observation, noisy.observation
    for part in key.split("/"):
        one, other = one[part], other[part]
    assert one.dtype is other.dtype
    return (other - one).double()


@pytest.mark.parametrize("dist", ["normal", "uniform"])
def test_real_values_without_bounds_get_noise_of_std(dist):
    values = noise("count", std=0.5, dist=dist)
    assert abs(values.mean()) < 0.05
    np.testing.assert_allclose(values.std(), 0.5, rtol=0.05)
    assert (values.abs().max() <= 0.5 * 3**0.5 + 1e-6) == (dist == "uniform")


def test_bounded_values_get_noise_in_units_of_their_range_and_stay_within():
    plain = wide().reset().observation["random"]
    noisy = wide().pipe(ae.Noisy, std=0.5).reset().observation["random"]
    assert noisy.min() >= 0 and noisy.max() <= 1 and (noisy == 0).any() and (noisy == 1).any()
    free = wide().pipe(ae.Noisy, std=0.5, clip=False)
    np.testing.assert_allclose((free.reset().observation["random"] - plain).std(), 0.5, rtol=0.05)
    assert type(free.observation_spec()["random"]).__name__ == "Array"


def test_categorical_values_are_drawn_anew():
    values = wide().pipe(ae.Noisy, std=0).reset().observation["where"]["age"]
    assert sorted(values.unique().tolist()) == list(range(100))
    assert values.float().mean() == pytest.approx(49.5, abs=3)


def test_p_is_the_share_of_lanes_that_are_disturbed():
    share = (noise("count", std=1, p=0.25) != 0).double().mean()
    assert share == pytest.approx(0.25, abs=0.03)
    assert not noise("count", std=1, p=0).any()


def test_keys_choose_leaves():
    assert noise("random", keys="r*", std=0.1).any()
    assert not noise("count", keys="r*").any()
    assert not noise("where/age", keys="count").any()
    assert noise("where/age", keys="where/*").any()


def test_actions_arrive_disturbed_and_observations_do_not():
    env = wide(num_actions=5).pipe(ae.Noisy, side="action")
    first = env.reset()
    assert first.observation["count"].tolist() == [0] * WIDE
    timestep = env.step(torch.zeros(WIDE, dtype=torch.int64))
    assert sorted(timestep.reward.unique().tolist()) == [0, 1, 2, 3, 4]


def test_one_key_draws_the_same_whatever_the_others_are():
    alone = wide().pipe(ae.Noisy, keys="count").reset()
    among = wide().pipe(ae.Noisy).reset()
    assert torch.equal(alone.observation["count"], among.observation["count"])


def test_two_stages_draw_differently_and_the_upper_changes_nothing_below():
    once = wide().pipe(ae.Noisy, std=1).reset().observation["count"]
    twice = wide().pipe(ae.Noisy, std=1).pipe(ae.Noisy, std=1).reset().observation["count"]
    assert not torch.allclose(twice - once, once)
    np.testing.assert_allclose((twice - once).std(), 1, rtol=0.05)
    assert abs(np.corrcoef(twice - once, once)[0, 1]) < 0.05


def test_masks_and_absent_keys_are_left_alone():
    env = ae.DatasetEnv((torch.zeros(3), torch.zeros(3)), batch_size=2, mode="delayed", epochs=1).pipe(ae.Noisy, std=1)
    first = env.reset()
    assert first.observation["y"] is None and first.observation["x"].all()
    second = env.step(torch.zeros(2))
    assert second.observation["mask:x"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"std": -1}, "expected std >= 0"),
        ({"std": float("nan")}, "expected std >= 0"),
        ({"p": 1.5}, r"p in \[0, 1\]"),
        ({"dist": "cauchy"}, "got 'cauchy'"),
        ({"side": "reward"}, "'reward'"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.Noisy, **options)
