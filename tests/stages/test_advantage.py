"""Advantage: how much better than usual, per order, lane and source."""

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv


def rows(env, *answers):
    """Returns what the agent sees after a reset and after each answer."""
    return [env.reset().observation["advantage"]] + [
        env.step(torch.tensor(answer)).observation["advantage"] for answer in answers
    ]


def test_a_moving_average_is_subtracted_once_for_each_order():
    env = CountingEnv(1, lengths=[9]).pipe(ae.Advantage, order=2, beta=0.5)
    seen = [row[0].tolist() for row in rows(env, [4], [2], [4], [0])]
    # rewards   4      2           4            0
    # baseline  0      2           2            3          of the reward
    # A^1       4      0           2           -3
    # baseline  0      2           1            1.5        of A^1
    # A^2       4     -2           1           -4.5
    assert seen == [[0, 0], [4, 4], [0, -2], [2, 1], [-3, -4.5]]


def test_differences_of_any_order():
    env = CountingEnv(1, lengths=[9]).pipe(ae.Advantage, order=3, baseline="difference")
    seen = [row[0].tolist() for row in rows(env, [1], [3], [2], [2])]
    assert seen == [[0, 0, 0], [1, 1, 1], [2, 1, 0], [-1, -3, -4], [0, 1, 4]]


def test_a_function_is_the_baseline():
    asked = []

    def half_of_the_state(values, timestep):
        asked.append(values.tolist())
        return timestep.observation["observation"] / 2

    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.Advantage, order=2, baseline=half_of_the_state)
    assert [row.tolist() for row in rows(env, [3, 4], [3, 4])] == [
        [[0, 0], [0, 0]],
        [[2.5, 2], [3.5, 3]],
        [[2, 1], [3, 2]],
    ]
    assert asked == [[0, 0], [0, 0], [3, 4], [2.5, 3.5], [3, 4], [2, 3]]


def test_a_critic_learns_nothing_from_it():
    weight = torch.ones(1, requires_grad=True)
    env = CountingEnv(1).pipe(ae.Advantage, baseline=lambda values, timestep: values * weight / 2)
    env.reset()
    assert not env.step(torch.tensor([4])).observation["advantage"].requires_grad


@pytest.mark.parametrize("reset", [False, True])
def test_lanes_begin_episodes_on_their_own_and_keep_their_baselines_or_not(reset):
    env = CountingEnv(2, lengths=[2, 3]).pipe(ae.Advantage, beta=0.5, reset=reset)
    seen = [row[:, 0].tolist() for row in rows(env, [4, 4], [4, 0], [4, 4], [4, 4], [4, 4])]
    # lane 0: 4 4 FIRST 4 4; lane 1: 4 0 4 FIRST 4
    kept = [[0, 0], [4, 4], [2, -2], [0, 3], [1, 0], [0.5, 1.5]]
    fresh = [[0, 0], [4, 4], [2, -2], [0, 3], [4, 0], [2, 4]]
    assert seen == (fresh if reset else kept)


def test_held_lanes_keep_their_baselines():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.Advantage, beta=0.5)
    env.reset()
    env.step(torch.tensor([4, 4]))
    held = env.step(torch.tensor([4, 4]), torch.tensor([True, False]))
    assert held.observation["advantage"].tolist() == [[2], [4]]
    assert env.step(torch.tensor([4, 4])).observation["advantage"].tolist() == [[1], [2]]


def test_each_source_above_an_interleave_has_its_own_baselines():
    env = ae.Interleave({"a": CountingEnv(1, lengths=[9]), "b": CountingEnv(3, lengths=[9] * 3)})
    env = env.pipe(ae.Advantage, beta=0.5)
    timestep, seen = env.reset(), {"a": [], "b": []}
    for _ in range(6):
        seen[timestep.source].append(timestep.observation["advantage"].flatten().tolist())
        timestep = env.step(torch.full_like(timestep.step_type, 4 if timestep.source == "a" else 2).long())
    assert seen == {"a": [[0], [4], [2]], "b": [[0] * 3, [2] * 3, [1] * 3]}


def test_specs():
    spec = CountingEnv().pipe(ae.Advantage, order=3, key="better").specs["CountingEnv"]
    assert spec.observation["better"] == specs.Array((3,), np.float32, "better")
    assert spec.modalities["observation"]["better"] == ae.Modality("flat", "real", "reward")
    last = CountingEnv(1).pipe(ae.Advantage, order=2, baseline="difference", last_only=True)
    assert last.specs["CountingEnv"].observation["advantage"].shape == ()
    assert [row.tolist() for row in rows(last, [1], [3])] == [[0], [1], [1]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": 0}, "expected order >= 1"),
        ({"order": 1.5}, "order=1.5"),
        ({"beta": 1.0}, r"beta in \[0, 1\)"),
        ({"baseline": "median"}, "expected baseline 'ema', 'difference' or a function.*'median'"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.Advantage, **options)


def test_a_key_that_is_taken_and_a_baseline_that_does_not_fit_are_refused():
    with pytest.raises(SpecError, match="expected a free key, 'observation'"):
        CountingEnv().pipe(ae.Advantage, key="observation").observation_spec()
    with pytest.raises(SpecError, match=r"expected baseline= to return float32 \[2\] for 'CountingEnv', got .*\[\]"):
        CountingEnv().pipe(ae.Advantage, baseline=lambda values, timestep: values.mean()).reset()
