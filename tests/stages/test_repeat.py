"""Repeat: how long a value stays, in each lane on its own, and that no episode sees another's."""

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv


def seen(env, num_steps, lanes=None):
    timesteps = [env.reset()]
    for _ in range(num_steps):
        timesteps.append(env.step(torch.zeros(len(timesteps[0].reward), dtype=torch.int64)))
    return torch.stack([timestep.observation["observation"] for timestep in timesteps])


def test_a_value_stays_for_n_further_steps_and_goes_with_its_episode():
    env = CountingEnv(2, lengths=[4, 6]).pipe(ae.Repeat, p=1.0, n=2)
    golden = [[0, 0], [0, 0], [0, 0], [3, 3], [3, 3], [5, 3], [5, 6], [5, 7], [8, 7], [8, 7], [10, 10]]
    assert seen(env, 10).tolist() == golden  # lane 0 starts anew at 5 and 10, lane 1 at 7


def test_it_begins_with_probability_p():
    env = CountingEnv(500, lengths=[999] * 500).pipe(ae.Repeat, p=0.25, n=1)
    stays = (seen(env, 200).diff(dim=0) == 0).float().mean()
    assert stays == pytest.approx(0.25 / 1.25, abs=0.01)  # of 1 + p steps, p are repeated


def test_lengths_are_drawn_from_a_function():
    def two_or_five(generator, count):
        return generator.choice([2, 5], count)

    values = seen(CountingEnv(50, lengths=[999] * 50).pipe(ae.Repeat, p=0.2, n=two_or_five), 300).T
    lengths = [np.unique(lane, return_counts=True)[1][:-1].tolist() for lane in values]
    assert {length for lane in lengths for length in lane} == {1, 3, 6}


def test_sticky_actions_are_those_of_the_arcade_learning_environment():
    env = CountingEnv(2000, lengths=[999] * 2000).pipe(ae.Repeat, p=0.25, n="geometric", side="action")
    generator, executed, sent = torch.Generator().manual_seed(0), [], []
    env.reset()
    for _ in range(60):
        action = torch.randint(0, 5, (2000,), generator=generator)
        sent.append(action)
        executed.append(env.step(action).reward.long())
    sent, executed = torch.stack(sent), torch.stack(executed)
    assert torch.equal(executed[0], sent[0])  # the first action of an episode always passes
    stuck = executed[1:] != sent[1:]
    assert torch.equal(executed[1:][stuck], executed[:-1][stuck])
    assert stuck.float().mean() == pytest.approx(0.25 * 0.8, abs=0.005)  # a fifth of the repeated are equal by chance
    again = stuck[1:] & stuck[:-1]
    assert again.sum() / stuck[:-1].sum() == pytest.approx(0.25 * 0.8, abs=0.02)  # whatever went before


def test_held_lanes_do_not_count():
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.Repeat, p=1.0, n=2)
    env.reset()
    zeros, lanes = torch.zeros(2, dtype=torch.int64), torch.tensor([True, False])
    moved = [env.step(zeros, lanes).observation["observation"].tolist() for _ in range(4)]
    assert moved == [[0, 0], [0, 0], [3, 0], [3, 0]]
    moved = [env.step(zeros).observation["observation"].tolist() for _ in range(3)]
    assert moved == [[3, 0], [6, 0], [6, 3]]


def test_held_lanes_do_not_count_on_the_action_side():
    env = CountingEnv(2, lengths=[99, 99]).pipe(ae.Repeat, p=1.0, n=2, side="action")
    env.reset()
    lanes = torch.tensor([True, False])
    for step in range(3):
        env.step(torch.full((2,), step), lanes)
    rewards = [env.step(torch.full((2,), step)).reward.tolist() for step in (3, 4)]
    assert rewards == [[3, 3], [3, 3]]


def test_absent_values_stay_absent_and_time_stands_still_for_them():
    env = ae.DatasetEnv({"x": torch.arange(8.0), "y": torch.arange(8.0)}, batch_size=1, mode="split", episode=None)
    env = env.pipe(ae.Repeat, p=1.0, n=1, keys="x")
    timesteps = [env.reset()] + [env.step(torch.zeros(1)) for _ in range(7)]
    shown = [None if t.observation["x"] is None else t.observation["x"].item() for t in timesteps]
    assert shown[::2] == [0, 0, 2, 2] and shown[1::2] == [None] * 4


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, "expected n as an int of at least 1, 'geometric', or a function, got 0"),
        ({"n": "poisson"}, "'geometric', or a function, got 'poisson'"),
        ({"n": "geometric", "p": 1.0}, "expected p < 1 with n='geometric'"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(ae.SpecError, match=match):
        CountingEnv().pipe(ae.Repeat, **options)


def test_a_function_that_gives_no_lengths_is_refused():
    env = CountingEnv().pipe(ae.Repeat, p=1.0, n=lambda generator, count: np.zeros(count, int))
    with pytest.raises(ae.SpecError, match="expected n= to return 2 integers of at least 1"):
        env.reset()
