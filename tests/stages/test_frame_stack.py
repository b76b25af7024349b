"""FrameStack: the last values, never those of another episode; beside Gymnasium's own."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FrameStackObservation

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from tests.stages.beside_gymnasium import assert_same, same_space


def stacks(env, num_steps):
    timesteps = [env.reset()]
    for _ in range(num_steps):
        timesteps.append(env.step(torch.zeros(len(timesteps[0].reward), dtype=torch.int64)))
    return [timestep.observation["observation"].int().tolist() for timestep in timesteps]


@pytest.mark.parametrize(("padding_type", "pad"), [("reset", None), ("zero", 0)])
def test_each_lane_begins_anew_at_its_own_first(padding_type, pad):
    seen = stacks(CountingEnv(2, lengths=[2, 3]).pipe(ae.FrameStack, stack_size=3, padding_type=padding_type), 5)

    def padded(value):
        return [value if pad is None else pad] * 2 + [value]

    assert seen[0] == [padded(0)] * 2
    assert seen[2] == [[0, 1, 2], [0, 1, 2]]
    assert seen[3] == [padded(3), [1, 2, 3]]
    assert seen[4] == [[padded(3)[1], 3, 4], padded(4)]
    assert seen[5] == [[3, 4, 5], [padded(4)[1], 4, 5]]


@pytest.mark.parametrize("padding_type", ["reset", "zero"])
@pytest.mark.parametrize(
    ("env_id", "actions"), [("CartPole-v1", [1, 0, 1, 1] * 30), ("CarRacing-v3", [[0.0, 1, 0]] * 6)]
)
def test_beside_gymnasium(env_id, actions, padding_type):
    theirs = FrameStackObservation(gymnasium.make(env_id), 3, padding_type=padding_type)
    env = ae.GymnasiumEnv(env_id).pipe(ae.FrameStack, stack_size=3, padding_type=padding_type)
    same_space(theirs, env)
    actions = [np.float32(action) if isinstance(action, list) else action for action in actions]
    ended = assert_same(theirs, env, actions)
    assert ended or env_id != "CartPole-v1"


def test_specs():
    env = ae.GymnasiumEnv("FrozenLake-v1").pipe(ae.FrameStack, stack_size=2)
    spec, kinds = env.observation_spec()["observation"], env.specs["FrozenLake-v1"].modalities["observation"]
    assert spec.shape == (2,) and spec.dtype == np.int64 and spec.maximum.tolist() == [15, 15]
    assert kinds["observation"] == ae.Modality("sequence", "categorical")
    images = ae.DatasetEnv({"x": torch.zeros(4, 8, 8, 3, dtype=torch.uint8)}, batch_size=2).pipe(ae.FrameStack)
    assert next(iter(images.specs.values())).modalities["observation"]["x"].structure == "grid"


def test_what_a_lane_lacks_is_not_added():
    env = CountingEnv(2, lengths=[99] * 2).pipe(ae.DropKeyValue, p=0.5).pipe(ae.FrameStack, stack_size=2)
    below = CountingEnv(2, lengths=[99] * 2).pipe(ae.DropKeyValue, p=0.5)
    kept = [[], []]
    timestep, plain = env.reset(), below.reset()
    zeros = torch.zeros(2, dtype=torch.int64)
    for _ in range(30):
        value, mask = plain.observation["observation"], plain.observation.get("mask:observation")
        for lane in range(2):
            if value is not None and (mask is None or mask[lane]):
                kept[lane].append(value[lane].item())
                expected = ([kept[lane][0], *kept[lane]])[-2:]
                assert timestep.observation["observation"][lane].tolist() == expected
            elif value is not None:
                assert timestep.observation["observation"][lane].tolist() == [0, 0]
        timestep, plain = env.step(zeros), below.step(zeros)
    assert all(5 < len(lane) < 25 for lane in kept)


def test_a_key_that_is_absent_at_first_begins_anew_when_it_comes():
    data = {"x": torch.arange(6.0), "y": torch.arange(6.0) + 10}
    env = ae.DatasetEnv(data, batch_size=1, mode="split", episode="batch").pipe(ae.FrameStack, stack_size=2, keys="y")
    timesteps = [env.reset()] + [env.step(torch.zeros(1)) for _ in range(5)]
    shown = [t.observation["y"] for t in timesteps]
    assert [None if y is None else y.tolist() for y in shown] == [None, [[10, 10]], None, [[11, 11]], None, [[12, 12]]]


def test_options_are_checked():
    with pytest.raises(ae.SpecError, match="expected stack_size of at least 1, got 0"):
        CountingEnv().pipe(ae.FrameStack, stack_size=0)
    with pytest.raises(ae.SpecError, match="expected padding_type 'reset' or 'zero', got 'last'"):
        CountingEnv().pipe(ae.FrameStack, padding_type="last")
