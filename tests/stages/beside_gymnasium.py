"""Runs one of Gymnasium's own wrappers beside a stage: the same environment, seed and actions."""

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("Box2D")  # which cannot be imported where warnings are errors, except so


def pairs(theirs, env, actions, key="observation"):
    """Yields (observation, reward, terminated, truncated) of each: `theirs` a gymnasium.Env, `env` with one lane."""
    source = env
    while source.children:
        source = source.children[0]
    seed = int(source.seeds(0).generate_state(1)[0])
    timestep = env.reset()
    observation, _ = theirs.reset(seed=seed)
    outcome, reset = (observation, 0.0, False, False), False
    for action in actions:
        yield outcome, ours(timestep, key)
        timestep = env.step(torch.as_tensor(np.array(action))[None])
        if reset:
            observation, _ = theirs.reset()
            outcome = (observation, 0.0, False, False)
        else:
            outcome = theirs.step(action)[:4]
        reset = outcome[2] or outcome[3]
    theirs.close()
    env.close()


def ours(timestep, key):
    observation = timestep.observation[key][0].numpy()
    return observation, timestep.reward.item(), timestep.terminated().item(), timestep.truncated().item()


def assert_same(theirs, env, actions, **tolerance):
    """Requires equal observations, rewards and ends, within the tolerance of numpy.testing.assert_allclose."""
    ended = 0
    for one, other in pairs(theirs, env, actions):
        for mine, yours in zip(other, one):
            np.testing.assert_allclose(mine, yours, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})
        assert other[0].shape == np.shape(one[0])
        ended += one[2] or one[3]
    return ended


def same_space(theirs, env):
    """Requires that the observation spec says what Gymnasium's space does."""
    spec, space = env.observation_spec()["observation"], theirs.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    assert spec.shape == space.shape and spec.dtype == space.dtype
    np.testing.assert_array_equal(np.broadcast_to(getattr(spec, "minimum", -np.inf), spec.shape), space.low)
    np.testing.assert_array_equal(np.broadcast_to(getattr(spec, "maximum", np.inf), spec.shape), space.high)
