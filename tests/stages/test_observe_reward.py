"""ObserveReward: the reward of the transition that led here, per lane and per source."""

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv


def answers(*values):
    return torch.tensor(values)


def test_the_reward_is_in_the_observation():
    env = CountingEnv().pipe(ae.ObserveReward, key="paid")
    assert env.reset().observation["paid"].tolist() == [0, 0]
    timestep = env.step(answers(3, 4))
    assert timestep.observation["paid"].tolist() == timestep.reward.tolist() == [3, 4]
    spec = env.specs["CountingEnv"]
    assert spec.observation["paid"] == specs.Array((), np.float32, "paid")
    assert spec.modalities["observation"]["paid"] == ae.Modality("flat", "real", "reward")


def test_a_history_begins_anew_with_each_episode_of_each_lane():
    env = CountingEnv(2, lengths=[2, 3]).pipe(ae.ObserveReward, history=3)
    seen = [env.reset()] + [env.step(answers(k, 4)) for k in (1, 2, 3, 4)]
    assert [timestep.observation["reward"].tolist() for timestep in seen] == [
        [[0, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 4]],
        [[0, 1, 2], [0, 4, 4]],
        [[0, 0, 0], [4, 4, 4]],
        [[0, 0, 4], [0, 0, 0]],
    ]


def test_held_lanes_see_no_reward_twice():
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.ObserveReward, history=2)
    env.reset()
    env.step(answers(1, 1))
    held = env.step(answers(2, 2), torch.tensor([True, False]))
    assert held.observation["reward"].tolist() == [[1, 2], [0, 1]]
    assert env.step(answers(3, 3)).observation["reward"].tolist() == [[2, 3], [1, 3]]


def test_each_source_has_its_own_history():
    env = ae.Interleave({"a": CountingEnv(1, lengths=[99]), "b": CountingEnv(1, lengths=[99])})
    env = env.pipe(ae.ObserveReward, history=2)
    timestep = env.reset()
    seen = {"a": [], "b": []}
    for _ in range(6):
        seen[timestep.source].append(timestep.observation["reward"].tolist())
        timestep = env.step(answers({"a": 1, "b": 4}[timestep.source]))
    assert seen == {"a": [[[0, 0]], [[0, 1]], [[1, 1]]], "b": [[[0, 0]], [[0, 4]], [[4, 4]]]}


def test_a_key_that_is_taken_is_refused():
    with pytest.raises(SpecError, match=r"expected a free key, 'observation' is in the observation already"):
        CountingEnv().pipe(ae.ObserveReward, key="observation").observation_spec()
    with pytest.raises(SpecError, match="expected history of at least 1, got 0"):
        CountingEnv().pipe(ae.ObserveReward, history=0)
