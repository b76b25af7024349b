"""FrameSkip: sums, maxima, and lanes that end on the way; beside Gymnasium's own."""

import time

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import MaxAndSkipObservation
from torch.utils.data import DataLoader

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from tests.stages.beside_gymnasium import assert_same


def answers(*values):
    return torch.tensor(values)


def test_a_lane_that_ends_on_the_way_waits_for_the_others():
    env = CountingEnv(2, lengths=[3, 6]).pipe(ae.FrameSkip, skip=2)
    seen = [env.reset()] + [env.step(answers(k, 4)) for k in (1, 2, 3, 4)]
    assert [t.step_type.tolist() for t in seen] == [[0, 0], [1, 1], [2, 1], [0, 2], [1, 0]]
    assert [t.reward.tolist() for t in seen] == [[0, 0], [2, 8], [2, 8], [0, 8], [8, 0]]
    assert [t.observation["observation"].tolist() for t in seen] == [[0, 0], [2, 2], [3, 4], [4, 6], [6, 7]]
    assert seen[2].discount.tolist() == [0, 1] and seen[3].discount.tolist() == [1, 1]


def test_rewards_are_weighed_by_running_discounts():
    def halve(timestep):
        mid = torch.where(timestep.mid(), 0.5, timestep.discount)
        return timestep._replace(discount=mid)

    env = CountingEnv(1, lengths=[99]).pipe(halve).pipe(ae.FrameSkip, skip=3)
    env.reset()
    timestep = env.step(answers(4))
    assert timestep.reward.tolist() == [4 + 2 + 1] and timestep.discount.tolist() == [0.125]


@pytest.mark.parametrize(
    ("env_id", "actions"),
    [("Pendulum-v1", [np.float32([k % 3 - 1]) for k in range(45)]), ("CarRacing-v3", [np.float32([0, 1, 0])] * 5)],
)
def test_beside_gymnasium(env_id, actions):
    theirs = MaxAndSkipObservation(gymnasium.make(env_id), 4)
    env = ae.GymnasiumEnv(env_id).pipe(ae.FrameSkip, skip=4, keys="*")
    assert_same(theirs, env, actions)


def test_a_lane_that_ends_at_once_shows_no_older_frames():
    env = CountingEnv(1, lengths=[5]).pipe(ae.Lambda, obs=lambda o: {"minus": -o["observation"]})
    env = env.pipe(ae.FrameSkip, skip=4, keys="*")
    seen = [env.reset()] + [env.step(answers(0)) for _ in range(2)]
    assert [t.observation["minus"].item() for t in seen] == [0, -3, -5]


def test_held_lanes_stay():
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.FrameSkip, skip=3)
    env.reset()
    before = env.step(answers(1, 2))
    after = env.step(answers(1, 2), torch.tensor([True, False]))
    assert before.observation["observation"].tolist() == [3, 3] and before.reward.tolist() == [3, 6]
    assert after.observation["observation"].tolist() == [6, 3] and after.reward.tolist() == [3, 6]


def test_the_same_answer_again_is_accepted_by_a_worker_that_has_taken_several_steps():
    loader = DataLoader(CountingEnv(2, lengths=[9, 9]).pipe(ae.FrameSkip, skip=3), batch_size=None, num_workers=1)
    rewards = []
    for timestep in loader:
        timestep.reply(answers(1, 2))
        time.sleep(0.05)  # the worker goes on
        timestep.reply(answers(1, 2))
        with pytest.raises(ae.FeedbackError, match="with other values"):
            timestep.reply(answers(2, 2))
        rewards.append(timestep.reward.tolist())
        if len(rewards) == 3:
            break
    assert rewards == [[0, 0], [3, 6], [3, 6]]


def test_it_says_how_long_episodes_are():
    assert ae.GymnasiumEnv("MountainCar-v0").pipe(ae.FrameSkip, skip=3).max_episode_steps == 67
    assert CountingEnv(stream_length=7).pipe(ae.FrameSkip).stream_length is None


def test_what_cannot_work_is_refused():
    with pytest.raises(
        ae.SpecError, match="FrameSkip: expected an environment that can hold single lanes, 'CartPole-v1'"
    ):
        ae.GymnasiumEnv("CartPole-v1", 4).pipe(ae.FrameSkip)
    with pytest.raises(ae.SpecError, match="expected skip of at least 1, got 0"):
        CountingEnv().pipe(ae.FrameSkip, skip=0)
