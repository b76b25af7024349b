"""to_gymnasium and to_gymnasium_vector: pass Gymnasium's own checks, and give Gymnasium's own numbers."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import AddRenderObservation

import aexp_torch as ae
from aexp_torch.testing import CountingEnv, FakeGymEnv
from tests.adapters.pipelines import PIPELINES, SOURCES, interleaved, limited, squares

TASTE = (  # what the checker says of infinite bounds and of bounds beyond [-1, 1], which are the environments' own
    "A Box (observation|action) space (minimum|maximum) value is -?infinity",
    "For Box action spaces, we recommend using a symmetric and normalized space",
)


# The checker takes the end of an episode after one step for a fault, but that is what a question and its answer are.
@pytest.mark.parametrize("pipeline", [name for name in PIPELINES if not name.endswith("batch")])
def test_passes_the_checker_of_gymnasium(pipeline):
    env = ae.to_gymnasium(PIPELINES[pipeline]())
    with warnings.catch_warnings():
        for text in TASTE:
            warnings.filterwarnings("ignore", f".*{text}")
        check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_every_observation_is_in_its_space(pipeline):
    env = ae.to_gymnasium(PIPELINES[pipeline]())
    env.action_space.seed(0)
    env.reset(seed=3)
    for _ in range(30):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        if terminated or truncated:
            assert env.reset()[0] in env.observation_space


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "MountainCarContinuous-v0"])
def test_there_and_back_gives_the_numbers_of_gymnasium(env_id):
    theirs = gymnasium.make(env_id, max_episode_steps=30)
    env = ae.GymnasiumEnv(env_id, vectorization="sync", max_episode_steps=30)
    mine = ae.to_gymnasium(env)
    theirs.action_space.seed(1)
    assert (mine.observation_space, mine.action_space) == (theirs.observation_space, theirs.action_space)

    def equal(one, other):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:-1] == pytest.approx(other[1:-1])

    equal(mine.reset(seed=5), theirs.reset(seed=int(env.seeds(0).generate_state(1)[0])))
    endings = []
    for _ in range(100):
        action = theirs.action_space.sample()
        outcome = mine.step(action)
        equal(outcome, theirs.step(action))
        if outcome[2] or outcome[3]:
            endings.append(outcome[2:4])
            equal(mine.reset(), theirs.reset())
    assert endings


def test_back_and_there_gives_the_numbers_of_the_pipeline():
    """A view is a Gymnasium environment, and so the source of another pipeline: truncation comes back as truncation."""
    recipe = ae.GymnasiumEnv(limited, length=5, name="limited")
    there = ae.GymnasiumEnv(lambda: ae.to_gymnasium(ae.GymnasiumEnv(limited, length=5, name="limited")), name="view")
    seed = int(there.seeds(0).generate_state(1)[0])
    recipe.place(seed=seed)
    one, other = recipe.reset(), there.reset()
    for _ in range(12):
        for mine, yours in zip(one[:3], other[:3]):
            assert torch.equal(mine, yours)
        assert torch.equal(one.observation["observation"], other.observation["observation"])
        action = torch.tensor([1])
        one, other = recipe.step(action), there.step(action)


def test_a_seed_starts_over_and_no_seed_goes_on():
    env = ae.to_gymnasium(ae.GymnasiumEnv("CartPole-v1"))
    first, second = env.reset(seed=7)[0], env.reset()[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.reset(seed=7)[0], first)
    np.testing.assert_array_equal(env.reset()[0], second)


def test_ends_are_told_apart():
    env = ae.to_gymnasium(ae.GymnasiumEnv(limited, length=2, name="limited"))
    env.reset()
    assert [env.step(1)[1:4] for _ in range(3)] == [(1, False, False), (1, False, True), (0, False, False)]
    env = ae.to_gymnasium(CountingEnv(num_envs=1, lengths=[1], num_actions=0))
    env.reset()
    assert env.action_space == spaces.Discrete(1)
    assert env.step(0)[1:] == (1.0, True, False, {"source": "CountingEnv"})


def test_after_the_end_the_data_goes_on():
    env = ae.to_gymnasium(ae.DatasetEnv(squares(), batch_size=1, mode="split", episode="batch", loss="mse"))
    shown = []
    for _ in range(4):
        shown.append(env.reset()[0]["x"].item())
        _, reward, terminated, truncated, _ = env.step({"predict:y": np.float32(0)})
        assert (terminated, truncated, reward) == (False, True, -(shown[-1] ** 4))
    assert shown == [0, 1, 2, 3]


def test_renders_the_image_that_is_observed():
    recipe = ae.GymnasiumEnv(pixels, name="pixels")
    env = ae.to_gymnasium(recipe, render_mode="rgb_array")
    assert env.render() is None
    observation, _ = env.reset(seed=1)
    assert env.render().shape == (32, 32, 3) and np.array_equal(env.render(), observation)
    assert ae.to_gymnasium(recipe).render() is None
    with pytest.raises(ae.SpecError, match="expected an image"):
        ae.to_gymnasium(ae.GymnasiumEnv("CartPole-v1"), render_mode="rgb_array")
    with pytest.raises(ae.SpecError, match="render_mode None or 'rgb_array', got 'human'"):
        ae.to_gymnasium(recipe, render_mode="human")


def pixels():
    class Noise(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 1}
        render_mode = "rgb_array"
        observation_space, action_space = spaces.Discrete(2), spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return 0, {}

        def step(self, action):
            return 0, 0.0, False, False, {}

        def render(self):
            return self.np_random.integers(0, 256, (32, 32, 3), dtype=np.uint8)

    return AddRenderObservation(Noise(), render_only=True)


@pytest.mark.parametrize("own", [True, False])
def test_vector_gives_the_numbers_of_gymnasiums_vector_environment(own):
    mode = "vector_entry_point" if own else "sync"
    env = ae.GymnasiumEnv("CartPole-v1", 4, vectorization=mode)
    mine, theirs = ae.to_gymnasium_vector(env), gymnasium.make_vec("CartPole-v1", 4, vectorization_mode=mode)
    assert mine.observation_space == theirs.observation_space and mine.action_space == theirs.action_space
    assert mine.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    env.place(seed=11)
    seeds = [int(env.seeds(lane).generate_state(1)[0]) for lane in range(4)]
    one, other = mine.reset(seed=11), theirs.reset(seed=seeds[0] if own else seeds)
    np.testing.assert_array_equal(one[0], other[0])
    theirs.action_space.seed(0)
    for _ in range(150):
        actions = theirs.action_space.sample()
        for one, other in zip(mine.step(actions)[:4], theirs.step(actions)[:4]):
            np.testing.assert_array_equal(one, other)
    mine.close()
    mine.close()
    theirs.close()


@pytest.mark.parametrize("pipeline", SOURCES)
def test_vector_views_fit_their_spaces(pipeline):
    envs = ae.to_gymnasium_vector(SOURCES[pipeline]())
    envs.action_space.seed(0)
    assert envs.reset(seed=1)[0] in envs.observation_space
    for _ in range(20):
        observation, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert observation in envs.observation_space and info == {}
        assert reward.shape == terminated.shape == truncated.shape == (1,)
        assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float32, bool, bool)


def test_vector_lanes_end_on_their_own():
    envs = ae.to_gymnasium_vector(CountingEnv(num_envs=2, lengths=[1, 2]))
    envs.reset()
    outcomes = [envs.step(np.array([1, 2])) for _ in range(4)]
    assert [rewards.tolist() for _, rewards, *_ in outcomes] == [[1, 2], [0, 2], [1, 0], [0, 2]]
    assert [terminated.tolist() for _, _, terminated, *_ in outcomes] == [[True, False], [False] * 2] * 2
    assert [truncated.tolist() for *_, truncated, _ in outcomes] == [[False] * 2, [False, True], *[[False] * 2] * 2]


def test_vector_resets_single_lanes():
    envs = ae.to_gymnasium_vector(CountingEnv(num_envs=2, lengths=[9, 9]))
    envs.reset()
    envs.step(np.array([0, 0]))
    observation, _ = envs.reset(options={"reset_mask": np.array([False, True])})
    assert observation.tolist() == [1, 2]
    with pytest.raises(ae.SpecError, match="lane control"):
        envs = ae.to_gymnasium_vector(ae.GymnasiumEnv("CartPole-v1", 2))
        envs.reset()
        envs.reset(options={"reset_mask": np.array([False, True])})


def test_vector_of_a_stream_that_ends():
    envs = ae.to_gymnasium_vector(
        ae.DatasetEnv(squares(), batch_size=2, epochs=1, episode=None, mode="delayed", loss="mse")
    )
    envs.reset()
    outcomes = [envs.step({"predict:y": np.zeros(2, np.float32)}) for _ in range(5)]
    assert [outcome[3].all() for outcome in outcomes] == [False, False, False, True, False]
    assert outcomes[4][0]["x"].ravel().tolist() == [0, 1]


def test_refusals():
    with pytest.raises(ae.SpecError, match="to_gymnasium: expected num_envs == 1"):
        ae.to_gymnasium(ae.GymnasiumEnv("CartPole-v1", 2))
    with pytest.raises(ae.SpecError, match="expected one seed"):
        ae.to_gymnasium_vector(ae.GymnasiumEnv(FakeGymEnv, 2, name="fake")).reset(seed=[1, 2])
    assert ae.to_gymnasium(interleaved()).reset()[1] == {"source": "CartPole-v1"}
