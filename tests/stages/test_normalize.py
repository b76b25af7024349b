"""NormalizeObservation and NormalizeReward: beside Gymnasium's own, per source, frozen, over absent values."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import NormalizeReward
from gymnasium.wrappers.vector import NormalizeObservation
from gymnasium.wrappers.vector import NormalizeReward as NormalizeRewards

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from tests.stages.beside_gymnasium import assert_same

TURN = [np.float32([k % 5 - 2]) for k in range(150)]


def zeros(num_envs):
    return torch.zeros(num_envs, dtype=torch.int64)


def test_observations_beside_gymnasium_with_lanes_that_end():
    env = ae.GymnasiumEnv("CartPole-v1", 3)
    seed = int(env.seeds(0).generate_state(1)[0])
    theirs = NormalizeObservation(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"))
    env = env.pipe(ae.NormalizeObservation)
    one, timestep, ends = theirs.reset(seed=seed)[0], env.reset(), 0
    for step in range(80):
        np.testing.assert_allclose(timestep.observation["observation"], one, rtol=1e-3, atol=1e-4)  # theirs is float32
        ends += int(timestep.last().sum())
        action = np.full(3, step // 4 % 2)
        one, timestep = theirs.step(action)[0], env.step(torch.from_numpy(action))
    assert ends > 3
    (moments,) = env.statistics.values()
    np.testing.assert_allclose(moments["variance"], theirs.obs_rms.var, rtol=1e-3)
    theirs.close()


def test_the_moments_are_those_of_all_that_was_shown():
    env = CountingEnv(3, lengths=[4, 5, 6]).pipe(ae.NormalizeObservation)
    env.reset()
    for _ in range(9):
        env.step(zeros(3))
    moments = env.statistics["CountingEnv:observation:observation"]
    values = np.repeat(np.arange(10.0), 3)
    np.testing.assert_allclose(moments["mean"], values.mean(), rtol=1e-4)
    np.testing.assert_allclose(moments["variance"], values.var(), rtol=1e-4)
    assert moments["count"] == pytest.approx(30, rel=1e-4)


def test_absent_and_held_values_are_not_counted():
    below = CountingEnv(2, lengths=[99, 99]).pipe(ae.DropKeyValue, p=0.5)
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.DropKeyValue, p=0.5).pipe(ae.NormalizeObservation)
    plain, timestep, moved, values = below.reset(), env.reset(), torch.tensor([True, True]), []
    for step in range(40):
        value, mask = plain.observation["observation"], plain.observation.get("mask:observation")
        if value is not None:
            values += value[moved if mask is None else mask & moved].tolist()
            assert mask is None or (timestep.observation["observation"][~mask] == 0).all()
        moments = env.statistics["CountingEnv:observation:observation"]
        assert moments["count"] == pytest.approx(len(values), abs=0.01)
        moved = torch.tensor([True, step % 3 != 1])
        plain, timestep = below.step(zeros(2), moved), env.step(zeros(2), moved)
    assert 20 < len(values) < 60
    np.testing.assert_allclose(moments["mean"], np.mean(values), rtol=1e-4)


def test_each_source_has_its_own_and_frozen_ones_stay():
    def make(**options):
        envs = {"a": CountingEnv(1, lengths=[99]), "b": CountingEnv(2, lengths=[99, 99])}
        return ae.Interleave(envs, ["a", "a", "b"]).pipe(ae.NormalizeObservation, **options)

    env = make()
    timestep = env.reset()
    for _ in range(11):
        timestep = env.step(zeros(len(timestep.reward)))
    learned = env.statistics
    assert learned["a:observation:observation"]["mean"].item() == pytest.approx(3.5, rel=1e-3)
    assert learned["b:observation:observation"]["mean"].item() == pytest.approx(1.5, rel=1e-3)
    test = make(frozen=True, statistics=learned)
    scale = learned["a:observation:observation"]["variance"].sqrt()
    assert test.reset().observation["observation"].item() == pytest.approx(-3.5 / scale.item(), rel=1e-3)
    test.step(zeros(1))
    assert test.statistics == learned
    assert make(statistics=learned).statistics == learned


def test_specs():
    env = ae.GymnasiumEnv("MountainCar-v0").pipe(ae.NormalizeObservation)
    spec = env.observation_spec()["observation"]
    assert not hasattr(spec, "minimum") and spec.dtype == np.float32
    with pytest.raises(ae.SpecError, match="expected numbers, got categorical int64.*Put OneHot before it. keys="):
        ae.GymnasiumEnv("FrozenLake-v1").pipe(ae.NormalizeObservation, keys="*").observation_spec()


def test_rewards_beside_gymnasium():
    theirs = NormalizeReward(gymnasium.make("Pendulum-v1"), gamma=0.9)
    assert_same(theirs, ae.GymnasiumEnv("Pendulum-v1").pipe(ae.NormalizeReward, gamma=0.9), TURN, rtol=1e-4)


def test_rewards_of_several_lanes_beside_gymnasium():
    env = ae.GymnasiumEnv("MountainCar-v0", 3, "sync")
    theirs = NormalizeRewards(gymnasium.make_vec("MountainCar-v0", 3, vectorization_mode="sync"))
    theirs.reset(seed=[int(env.seeds(lane).generate_state(1)[0]) for lane in range(3)])
    env = env.pipe(ae.NormalizeReward)
    env.reset()
    for _ in range(100):
        rewards = theirs.step(np.full(3, 2))[1]
        np.testing.assert_allclose(env.step(torch.full((3,), 2)).reward, rewards, rtol=1e-4)
    theirs.close()


def test_returns_begin_anew_with_each_episode_of_each_lane():
    env = CountingEnv(2, lengths=[2, 3]).pipe(ae.NormalizeReward, gamma=0.5, epsilon=1e-6)
    env.reset()
    returns, kept = [], np.zeros(2)
    for step in range(8):
        timestep = env.step(torch.tensor([step % 5, 4]))
        first = timestep.first().numpy()
        kept = np.where(first, 0, kept * 0.5 + [step % 5, 4])
        returns += kept[~first].tolist()
        scale = np.sqrt(env.statistics["CountingEnv"]["variance"].item() + 1e-6)
        np.testing.assert_allclose(timestep.reward, np.where(first, 0, [step % 5, 4]) / scale, rtol=1e-5)
    np.testing.assert_allclose(env.statistics["CountingEnv"]["variance"], np.var(returns), rtol=1e-3)
    frozen = CountingEnv(2).pipe(ae.NormalizeReward, frozen=True, statistics=env.statistics)
    frozen.reset()
    frozen.step(torch.tensor([4, 4]))
    assert frozen.statistics == env.statistics


@pytest.mark.parametrize("stage", [ae.NormalizeObservation, ae.NormalizeReward])
def test_options_are_checked(stage):
    with pytest.raises(ae.SpecError, match="epsilon > 0"):
        CountingEnv().pipe(stage, epsilon=0)
    with pytest.raises(ae.SpecError, match="expected statistics= with frozen=True"):
        CountingEnv().pipe(stage, frozen=True)
    with pytest.raises(ae.SpecError, match="expected statistics of .*'?CountingEnv.* got .*Give the"):
        CountingEnv().pipe(stage, statistics={}).reset()
    with pytest.raises(ae.SpecError, match=r"expected gamma in \[0, 1\]"):
        CountingEnv().pipe(ae.NormalizeReward, gamma=2)
