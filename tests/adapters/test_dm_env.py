"""to_dm_env: passes dm_env's own mixin, and loses nothing."""

import dm_env
import numpy as np
import pytest
import tree
from absl.testing import absltest
from dm_env import specs, test_utils

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from tests.adapters.pipelines import PIPELINES, interleaved, limited, squares

FIRST, MID, LAST = dm_env.StepType


def draw(spec, generator):
    """Draws an action, so that episodes reach their end."""

    def leaf(one):
        if isinstance(one, specs.BoundedArray) and one.dtype.kind in "iu":
            return generator.integers(one.minimum, one.maximum, one.shape, endpoint=True).astype(one.dtype)[()]
        return one.generate_value()

    return tree.map_structure(leaf, spec)


def mixin(make):
    """Builds dm_env's conformance test for one pipeline; its class is local, so that pytest does not collect it."""

    class Conforms(test_utils.EnvironmentTestMixin, absltest.TestCase):
        def make_object_under_test(self):
            return ae.to_dm_env(make())

        def make_action_sequence(self):
            generator = np.random.default_rng(0)
            for _ in range(60):
                yield draw(self.environment.action_spec(), generator)

    return Conforms


NAMES = [name for name in vars(test_utils.EnvironmentTestMixin) if name.startswith("test_")]


@pytest.mark.parametrize("test", NAMES)
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_passes_the_mixin_of_dm_env(pipeline, test):
    result = absltest.unittest.TestResult()
    mixin(PIPELINES[pipeline])(test).run(result)
    assert not result.errors + result.failures and result.testsRun == 1


def test_truncation_is_last_with_a_discount_and_termination_is_without():
    env = ae.to_dm_env(ae.GymnasiumEnv(limited, length=3))
    timesteps = [env.reset()] + [env.step(action) for action in (0, 1, 0, 1, 1)]
    assert [t.step_type for t in timesteps] == [FIRST, MID, MID, LAST, FIRST, MID]
    assert [t.reward for t in timesteps] == [None, 1, 1, 1, None, 1]
    assert [t.discount for t in timesteps] == [None, 1, 1, 1, None, 1]

    env = ae.to_dm_env(CountingEnv(num_envs=1, lengths=[1]))
    assert (env.step(0).step_type, env.step(2)) == (FIRST, (LAST, 2.0, 0.0, {"observation": 1.0}))


def test_gives_the_numbers_of_the_pipeline():
    recipe = ae.GymnasiumEnv("CartPole-v1").pipe(ae.Noisy, std=0.1)
    view, env = ae.to_dm_env(recipe), ae.GymnasiumEnv("CartPole-v1").pipe(ae.Noisy, std=0.1)
    mine, theirs = view.reset(), env.reset()
    for _ in range(100):
        np.testing.assert_array_equal(mine.observation["observation"], theirs.observation["observation"][0])
        assert mine.step_type == theirs.step_type
        action = env.sample_action(env.name)
        mine, theirs = view.step(action["action"][0].item()), env.step(action)


def test_absent_keys_are_zero_and_their_mask_says_so():
    env = ae.to_dm_env(ae.DatasetEnv(squares(), batch_size=1, epochs=1, mode="delayed", loss="mse"))
    assert set(env.observation_spec()) == {"x", "y", "mask:x", "mask:y"}
    timesteps = [env.reset()] + [env.step(np.float32(i)) for i in range(6)]
    rows = [tuple(t.observation[key].item() for key in ("mask:x", "x", "mask:y", "y")) for t in timesteps]
    assert rows[:2] == [(True, 0, False, 0), (True, 1, True, 0)]
    assert rows[5] == (False, 0, True, 16)
    assert [t.step_type for t in timesteps] == [FIRST, MID, MID, MID, MID, LAST, FIRST]
    assert timesteps[3].reward == -((2.0**2 - 2) ** 2)


def test_after_last_reset_goes_on_with_the_data():
    env = ae.to_dm_env(ae.DatasetEnv(squares(), batch_size=1, mode="split", episode="batch", loss="mse"))
    shown = []
    for _ in range(7):
        shown.append(env.reset().observation["x"].item())
        assert env.step(np.float32(0)).last()
    assert shown == [0, 1, 2, 3, 4, 0, 1]


def test_a_stream_that_ends_amid_an_episode_is_truncated():
    env = ae.to_dm_env(CountingEnv(num_envs=1, lengths=[100], stream_length=3))
    timesteps = [env.step(4) for _ in range(5)]
    assert [t.step_type for t in timesteps] == [FIRST, MID, MID, LAST, FIRST]
    assert timesteps[3] == (LAST, 0.0, 1.0, timesteps[2].observation)


def test_an_episode_of_a_composition_ends_where_all_have_ended():
    twins = ae.Interleave([CountingEnv(num_envs=1, lengths=[1]), CountingEnv(num_envs=1, lengths=[2])])
    env = ae.to_dm_env(twins)
    timesteps = [env.step(index) for index in range(5)]
    # sources: FIRST FIRST LAST MID FIRST, but of the composition none of these ends or begins anything
    assert [t.step_type for t in timesteps] == [FIRST, MID, MID, MID, MID]
    assert [t.reward for t in timesteps] == [None, 0, 1, 2, 0]
    assert [t.discount for t in timesteps] == [None, 1, 0, 1, 1]


def test_a_composition_has_the_keys_of_all_sources():
    env = ae.to_dm_env(interleaved())
    assert {"mask:x", "mask:count", "observation", "mask:observation"} <= set(env.observation_spec())
    assert set(env.action_spec()) == {"action", "move", "aim", "say", "predict:y"} & set(env.action_spec())
    timestep = env.reset()
    assert timestep.observation["mask:observation"] and not timestep.observation["mask:count"]
    assert env.step({"action": 1}).observation["mask:count"]  # the part for the source at hand is enough


def test_specs_that_differ_have_the_name_of_their_source():
    few, many = CountingEnv(1, name="few", num_actions=2), CountingEnv(1, name="many", num_actions=9)
    env = ae.to_dm_env(ae.Interleave([few, many]))
    assert {key: spec.num_values for key, spec in env.action_spec().items()} == {"action@few": 2, "action@many": 9}
    env.reset()
    env.step({"action@few": 1, "action@many": 8})
    env.step({"action@few": 1, "action@many": 8})
    assert [child.received[-1].item() for child in env.env.environments] == [1, 8]


def test_a_leaf_and_a_tree_of_one_name_are_told_apart():
    leaf = CountingEnv(1, name="leaf")
    tree = CountingEnv(1, name="tree").pipe(ae.Lambda, obs=lambda obs: {"observation": {"inner": obs["observation"]}})
    env = ae.to_dm_env(ae.Interleave([leaf, tree]))
    assert {"observation@leaf", "observation"} <= set(env.observation_spec())
    assert env.reset().observation["mask:observation@leaf"]
    assert env.step(0).observation["observation"]["mask:inner"]


def test_no_answer_is_none_or_an_empty_dict():
    env = ae.to_dm_env(CountingEnv(num_envs=1, num_actions=0))
    assert env.action_spec() == {}
    env.reset()
    assert env.step({}).reward == 1 and env.step(None).reward == 2
    with pytest.raises(ae.ActionError, match=r"expected a dict \{\}, got 3"):
        env.step(3)


def test_observations_are_in_memory_of_their_own():
    env = ae.to_dm_env(ae.DatasetEnv({"x": (x := np.ones((2, 3), np.float32))}, batch_size=1))
    env.reset().observation["x"][:] = 7
    assert (x == 1).all()


@pytest.mark.parametrize(
    "action, text",
    [
        ({"action": 0, "turn": 1}, r"unknown \['turn'\]"),
        ({}, r"missing \['action'\]"),
        (0.5, r"expected 'action' as int64 \[\] in 0\.\.1, got 0\.5"),
        (7, "in 0..1"),
    ],
)
def test_wrong_actions_are_refused(action, text):
    env = ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1"))
    env.reset()
    with pytest.raises(ae.ActionError, match=text):
        env.step(action)


def test_more_than_one_lane_is_refused_with_the_remedy():
    with pytest.raises(ae.SpecError, match=r"num_envs == 1.*has 2\. Build it with num_envs=1"):
        ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1", num_envs=2))
    with pytest.raises(ae.SpecError, match="one and the same num_envs"):
        ae.to_dm_env(ae.Interleave([CountingEnv(1), CountingEnv(2)]))
    with pytest.raises(ae.SpecError, match="to_dm_env: expected an Env"):
        ae.to_dm_env(dm_env)


def test_opens_again_after_close():
    env = ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1"))
    first = env.reset()
    env.close()
    env.close()
    again = env.step(0)
    np.testing.assert_array_equal(first.observation["observation"], again.observation["observation"])


def test_what_is_predicted_of_the_next_timestep_is_never_absent():
    env = ae.to_dm_env(CountingEnv(1).pipe(ae.PredictInputs))
    assert set(env.action_spec()) == {"action", "predict:observation"}
    assert set(env.observation_spec()) == {"observation"}
