"""Dropout: what stands in a value's place, how often, and what that does to bounds."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv


def wide(**options):
    return CountingEnv(4000, lengths=[99] * 4000, nested=True, random=True).pipe(ae.Dropout, **options)


def test_rows_are_replaced_with_probability_p():
    random = wide(p=0.25, value=0.5, granularity="row", keys="random").reset().observation["random"]
    assert (random == 0.5).float().mean() == pytest.approx(0.25, abs=0.03)


def test_a_key_is_replaced_in_all_lanes_at_once():
    env = CountingEnv(3, lengths=[99] * 3).pipe(ae.Dropout, p=0.5, value=-1)
    env.reset()
    seen = [env.step(torch.zeros(3, dtype=torch.int64)).observation["observation"].tolist() for _ in range(50)]
    hits = sum(values == [-1, -1, -1] for values in seen)
    assert all(values == [-1] * 3 or values == [step + 1] * 3 for step, values in enumerate(seen))
    assert 15 < hits < 35


def test_elements_are_replaced_on_their_own():
    env = ae.GymnasiumEnv("CartPole-v1", 1000).pipe(ae.Dropout, p=0.5, value=9, granularity="element")
    hits = (env.reset().observation["observation"] == 9).sum(1)
    assert set(hits.tolist()) == {0, 1, 2, 3, 4}


def test_bounds_are_widened():
    spec = wide(value=200).specs["CountingEnv"]
    assert spec.observation["random"].maximum == 200 and spec.observation["random"].minimum == 0
    assert spec.observation["where"]["age"].maximum == 200
    assert spec.observation["where"]["lane"].num_values == 4000
    assert wide(value=-1).observation_spec()["where"]["lane"].minimum == -1
    assert spec.modalities["observation"]["where"]["age"].representation == "categorical"


def test_actions_are_replaced():
    env = CountingEnv(2).pipe(ae.Dropout, p=1.0, value=2, side="action")
    env.reset()
    assert env.step(torch.tensor([4, 0])).reward.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"value": 0.5}, "observation 'where/lane': expected value= as int64, got 0.5. keys= chooses others"),
        ({"value": float("nan"), "keys": "random"}, "expected value= as float32, got nan"),
        ({"value": 5, "side": "action"}, r"expected value= that the environment takes as 'action', int64 \[\] in 0..4"),
    ],
)
def test_values_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ae.SpecError, match=match):
        wide(**options).observation_spec()
