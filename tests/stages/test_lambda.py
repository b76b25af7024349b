"""Lambda: functions on what passes by, and the specs that follow from them."""

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs.infer import with_sides
from aexp_torch.testing import CountingEnv


def test_observations_and_rewards_change_on_the_way_down():
    env = CountingEnv().pipe(ae.Lambda, obs=lambda o: {"ten": o["observation"] * 10}, reward=lambda r: 100 - r)
    first, second = env.reset(), env.step(torch.tensor([3, 4]))
    assert first.reward.tolist() == [0, 0]
    assert second.observation["ten"].tolist() == [10, 10] and list(second.observation) == ["ten"]
    assert second.reward.tolist() == [97, 96]
    assert env.specs["CountingEnv"].observation == {"ten": specs.Array((), np.float32)}


def test_rewards_of_another_dtype_become_float32_and_of_another_shape_are_refused():
    env = CountingEnv().pipe(ae.Lambda, reward=lambda r: r > 3)
    env.reset()
    reward = env.step(torch.tensor([3, 4])).reward
    assert reward.dtype is torch.float32 and reward.tolist() == [0, 1]
    with pytest.raises(SpecError, match=r"expected reward= to return float32 \[2\], got \[\] for 'CountingEnv'"):
        CountingEnv().pipe(ae.Lambda, reward=torch.sum).reset()


def test_actions_change_on_the_way_up():
    env = CountingEnv().pipe(ae.Lambda, action=lambda a: {"action": 4 - a["action"]})
    timestep = env.reset()
    timestep.reply(torch.tensor([0, 3]))
    assert next(iter(env)).reward.tolist() == [4, 1]


def split_in_two(spec):
    return with_sides(spec, action={"high": specs.DiscreteArray(2, np.int64), "low": specs.DiscreteArray(2, np.int64)})


def test_spec_fn_says_what_the_agent_answers():
    env = CountingEnv(num_actions=4).pipe(
        ae.Lambda, action=lambda a: {"action": a["high"] * 2 + a["low"]}, spec_fn=split_in_two
    )
    assert list(env.action_spec()) == ["high", "low"]
    timestep = env.reset()
    with pytest.raises(ActionError, match=r"expected a dict \{high: .*, low: .*\}"):
        timestep.reply(torch.tensor([1, 2]))
    timestep.reply({"high": torch.tensor([1, 0]), "low": torch.tensor([1, 1])})
    assert next(iter(env)).reward.tolist() == [3, 1]


def test_an_action_function_that_the_environment_cannot_take_is_refused_with_the_specs():
    env = CountingEnv().pipe(ae.Lambda, action=lambda a: {"move": a["action"]})
    with pytest.raises(SpecError, match=r"missing \['action'\], unknown \['move'\].*Give spec_fn="):
        env.action_spec()


def test_an_action_that_leaves_the_bounds_is_refused_when_it_is_given():
    env = CountingEnv().pipe(ae.Lambda, action=lambda a: {"action": a["action"] * 2})
    env.reset()
    with pytest.raises(ActionError, match=r"'CountingEnv' \(slot 0\): the answer to step 0 .*got 8 in lane 0"):
        env.step(torch.tensor([4, 0]))


def test_what_is_untouched_keeps_bounds_and_modality():
    env = CountingEnv(nested=True).pipe(ae.Lambda, obs=lambda o: {"lane": o["where"]["lane"], "where": o["where"]})
    spec = env.specs["CountingEnv"]
    assert spec.observation["where"]["age"].maximum == 4
    assert spec.observation["lane"] == specs.DiscreteArray(2, np.int64)
    assert spec.modalities["observation"]["where"]["age"] == ae.Modality("flat", "categorical")


@pytest.mark.parametrize(
    ("obs", "match"),
    [
        (lambda o: o["observation"], "expected a dict of tensors from the function, got Tensor"),
        (lambda o: {"sum": o["observation"].sum()}, r"expected 'sum' as a tensor \[2, ...\], got a tensor \[\]"),
        (lambda o: {"list": o["observation"].tolist()}, r"expected 'list' as a tensor \[2, ...\], got list"),
    ],
)
def test_observations_without_a_batch_axis_are_refused(obs, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.Lambda, obs=obs).observation_spec()


def test_a_function_that_fails_on_zeros_says_when():
    with pytest.raises(KeyError) as caught:
        CountingEnv().pipe(ae.Lambda, obs=lambda o: {"x": o["missing"]}).observation_spec()
    assert "give spec_fn=" in caught.value.__notes__[0]


def test_what_is_no_function_is_refused():
    with pytest.raises(SpecError, match="expected obs= to be a function, got 3"):
        CountingEnv().pipe(ae.Lambda, obs=3)
