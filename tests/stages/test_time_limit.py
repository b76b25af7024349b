"""TimeLimit: truncates, resets single lanes, and does what Gymnasium's does."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import values_differ


def test_lanes_are_cut_off_and_begin_again_on_their_own():
    env = CountingEnv(3, lengths=[9, 2, 3]).pipe(ae.TimeLimit, max_episode_steps=3)
    seen = [env.reset()] + [env.step(torch.tensor([1, 2, 3])) for _ in range(5)]
    assert [t.step_type.tolist() for t in seen] == [
        [0, 0, 0], [1, 1, 1], [1, 2, 1], [2, 0, 2], [0, 1, 0], [1, 2, 1],
    ]  # fmt: skip
    assert [t.reward.tolist() for t in seen][3:5] == [[1, 0, 3], [0, 2, 0]]
    assert seen[3].truncated().tolist() == [True, False, False] and seen[3].terminated().tolist() == [
        False,
        False,
        True,
    ]
    assert seen[2].truncated().tolist() == [False, True, False]
    assert [t.observation["observation"].tolist() for t in seen] == [[k] * 3 for k in range(6)]


@pytest.mark.parametrize(("num_envs", "limit"), [(3, 9), (1, 7)])
def test_it_does_what_gymnasiums_does(num_envs, limit):
    theirs = ae.GymnasiumEnv("CartPole-v1", num_envs, "sync", max_episode_steps=limit)
    env = ae.GymnasiumEnv("CartPole-v1", num_envs, "sync").pipe(ae.TimeLimit, max_episode_steps=limit)
    one, other = theirs.reset(), env.reset()
    ends = {"terminated": 0, "truncated": 0}
    for step in range(100):
        for kind in ends:
            ends[kind] += int(getattr(one, kind)().sum())
        assert values_differ(one._asdict() | {"ticket": None}, other._asdict() | {"ticket": None}) is None
        action = torch.full((num_envs,), int(step % 12 > 0))
        one, other = theirs.step(action), env.step(action)
    assert ends["truncated"] and (ends["terminated"] or num_envs == 1)
    assert env.max_episode_steps == limit


def test_held_lanes_do_not_age():
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.TimeLimit, max_episode_steps=2)
    env.reset()
    zeros, lanes = torch.zeros(2, dtype=torch.int64), torch.tensor([True, False])
    assert [env.step(zeros, lanes).step_type.tolist() for _ in range(3)] == [[1, 0], [2, 0], [0, 0]]
    assert [env.step(zeros, ~lanes).step_type.tolist() for _ in range(4)] == [[0, 1], [0, 2], [0, 0], [0, 1]]
    assert env.step(zeros).step_type.tolist() == [1, 2]
    assert env.step(zeros, lanes).step_type.tolist() == [2, 2]
    assert env.reset(~lanes).step_type.tolist() == [2, 0]


def test_streams_without_ends_get_some():
    env = ae.GymnasiumEnv("Pendulum-v1", 2, max_episode_steps=-1).pipe(ae.TimeLimit, max_episode_steps=3)
    assert env.episodic
    returns = ae.evaluate(lambda timestep: torch.zeros(2, 1), env, episodes=4, seed=0)
    assert returns["Pendulum-v1"]["length"].tolist() == [3, 3, 3, 3]


def test_what_cannot_work_is_refused():
    with pytest.raises(ae.SpecError, match="TimeLimit: expected an environment that can hold single lanes.*sync"):
        ae.GymnasiumEnv("CartPole-v1", 4).pipe(ae.TimeLimit, max_episode_steps=3)
    with pytest.raises(ae.SpecError, match="expected max_episode_steps of at least 1, got 0"):
        CountingEnv().pipe(ae.TimeLimit, max_episode_steps=0)
