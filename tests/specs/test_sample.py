"""Data that fits a spec: random answers, and zeros."""

import numpy as np
import pytest
import torch
from dm_env import specs

from aexp_torch.specs.check import action_checker
from aexp_torch.specs.sample import sample_action, zeros

LEAVES = [
    specs.DiscreteArray(5, np.int64),
    specs.BoundedArray((), np.int64, -3, -1),
    specs.BoundedArray((2,), np.int64, [0, 5], [1, 9]),
    specs.BoundedArray((), np.int64, -(2**63), 2**63 - 1),
    specs.BoundedArray((3, 2), np.uint8, 0, 255),
    specs.BoundedArray((4,), np.int8, 0, 1),
    specs.Array((), np.int32),
    specs.Array((2,), bool),
    specs.Array((2, 2), np.float32),
    specs.BoundedArray((2,), np.float32, [-1, 0], [1, 0.5]),
    specs.BoundedArray((3,), np.float64, [-np.inf, 2, -np.inf], [np.inf, np.inf, -2]),
    specs.BoundedArray((), np.float32, -3.4e38, 3.4e38),
]


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_samples_and_zeros_fit(leaf, num_envs):
    check = action_checker({"a": {"b": leaf}}, num_envs)
    rng = np.random.default_rng(0)
    for given in [sample_action({"a": {"b": leaf}}, num_envs, rng) for _ in range(50)] + [
        zeros({"a": {"b": leaf}}, num_envs)
    ]:
        checked = check(given, lambda: torch.tensor(False))["a"]["b"]
        assert torch.equal(checked, given["a"]["b"]) and checked.isfinite().all()


def test_both_ends_are_drawn():
    drawn = sample_action({"a": specs.BoundedArray((), np.int64, -1, 2)}, 400, np.random.default_rng(0))["a"]
    assert sorted(drawn.unique().tolist()) == [-1, 0, 1, 2]


def test_zeros_are_the_nearest_value_within_bounds():
    spec = {
        "up": specs.BoundedArray((2,), np.float32, [1, -1], [2, 1]),
        "down": specs.BoundedArray((), np.int64, -9, -4),
    }
    assert {key: value.tolist() for key, value in zeros(spec, 2).items()} == {"up": [[1, 0], [1, 0]], "down": [-4, -4]}
