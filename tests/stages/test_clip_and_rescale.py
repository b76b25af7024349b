"""ClipReward, ClipObservation, ClipAction, RescaleAction: values, bounds, beside Gymnasium's own."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import wrappers

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from tests.stages.beside_gymnasium import assert_same

WIDE = [np.float32([(k * 7 % 11 - 5) * 0.9]) for k in range(60)]
NARROW = [np.float32([k % 5 / 2 - 1]) for k in range(60)]


def pendulum():
    return ae.GymnasiumEnv("Pendulum-v1")


@pytest.mark.parametrize(
    ("theirs", "stage", "options", "actions"),
    [
        (wrappers.ClipAction, ae.ClipAction, {}, WIDE),
        (wrappers.RescaleAction, ae.RescaleAction, {"min_action": -1, "max_action": 1}, NARROW),
        (wrappers.RescaleAction, ae.RescaleAction, {"min_action": -1, "max_action": 3}, NARROW),
        (wrappers.ClipReward, ae.ClipReward, {"min_reward": -1.5}, NARROW),
        (wrappers.ClipReward, ae.ClipReward, {"min_reward": -3, "max_reward": -1}, NARROW),
    ],
)
def test_beside_gymnasium(theirs, stage, options, actions):
    assert_same(theirs(gymnasium.make("Pendulum-v1"), **options), pendulum().pipe(stage, **options), actions)


def test_rewards_have_bounds_and_first_stays_zero():
    env = CountingEnv(1, lengths=[2]).pipe(ae.ClipReward, min_reward=2, max_reward=3)
    rewards = [env.reset().reward.item()] + [env.step(torch.tensor([k])).reward.item() for k in (0, 4, 4, 3)]
    assert rewards == [0, 2, 3, 0, 3]
    assert (env.reward_spec().minimum, env.reward_spec().maximum) == (0, 3)
    assert env.pipe(ae.ClipReward, max_reward=1).reward_spec().maximum == 2 - 1


def test_observations_are_clipped_and_bounded():
    env = CountingEnv(1, lengths=[9], nested=True).pipe(ae.ClipObservation, minimum=2, maximum=3, keys="count")
    shown = [env.reset()] + [env.step(torch.tensor([0])) for _ in range(4)]
    assert [t.observation["count"].item() for t in shown] == [2, 2, 2, 3, 3]
    spec = env.observation_spec()["count"]
    assert (spec.minimum, spec.maximum) == (2, 3)
    cart = ae.GymnasiumEnv("CartPole-v1").pipe(ae.ClipObservation, maximum=1).observation_spec()["observation"]
    np.testing.assert_allclose(cart.maximum, [1, 1, 0.41887903, 1])
    np.testing.assert_allclose(cart.minimum, [-4.8, -np.inf, -0.41887903, -np.inf], rtol=1e-6)


def test_images_are_clipped_within_their_dtype():
    video = ae.DatasetEnv({"x": torch.arange(256, dtype=torch.uint8).view(4, 8, 8)}, batch_size=4)
    x = video.pipe(ae.ClipObservation, minimum=10, maximum=200).reset().observation["x"]
    assert x.dtype is torch.uint8 and (x.min(), x.max()) == (10, 200)
    with pytest.raises(ae.SpecError, match=r"expected numbers that can have the bounds \[-1\], got uint8"):
        video.pipe(ae.ClipObservation, minimum=-1).observation_spec()


def test_actions_lose_or_change_their_bounds():
    free = pendulum().pipe(ae.ClipAction).action_spec()["action"]
    assert not hasattr(free, "maximum") and free.shape == (1,)
    env = pendulum().pipe(ae.RescaleAction, min_action=0, max_action=5)
    assert (env.action_spec()["action"].minimum, env.action_spec()["action"].maximum) == (0, 5)
    env.reset()
    with pytest.raises(ae.ActionError, match=r"in \[0, 5\], got -1"):
        env.step(torch.tensor([[-1.0]]))


def test_stages_on_actions_compose_from_the_agent_to_the_source():
    env = pendulum().pipe(ae.RescaleAction, min_action=0, max_action=1).pipe(ae.ClipAction)
    plain = pendulum()
    one, other = plain.reset(), env.reset()
    for action, meant in ((9.0, 2.0), (-9.0, -2.0), (0.5, 0.0)):
        one, other = plain.step(torch.tensor([[meant]])), env.step(torch.tensor([[action]]))
        assert torch.equal(one.observation["observation"], other.observation["observation"])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: CountingEnv().pipe(ae.ClipReward), "expected min_reward, max_reward or both"),
        (
            lambda: CountingEnv().pipe(ae.ClipReward, min_reward=2, max_reward=1),
            "the first below the second, got 2 and 1",
        ),
        (lambda: CountingEnv().pipe(ae.ClipObservation), "expected minimum, maximum or both"),
        (lambda: CountingEnv().pipe(ae.ClipAction).reset(), "ClipAction: expected keys=.* to choose something"),
        (lambda: CountingEnv().pipe(ae.ClipAction, keys="*").specs, "expected numbers, got categorical"),
        (lambda: CountingEnv().pipe(ae.RescaleAction, keys="*").specs, "expected real numbers, got categorical"),
        (lambda: pendulum().pipe(ae.ClipAction).pipe(ae.ClipAction).specs, r"expected bounds, got float32 \[1\]"),
        (
            lambda: pendulum().pipe(ae.RescaleAction, min_action=1, max_action=1),
            "expected finite min_action < max_action",
        ),
    ],
)
def test_what_cannot_work_is_refused(make, match):
    with pytest.raises(ae.SpecError, match=match):
        make()
