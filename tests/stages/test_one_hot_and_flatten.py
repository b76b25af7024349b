"""OneHot and Flatten: choices as vectors, everything as one; beside gymnasium.spaces.flatten."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv, FakeGymEnv
from tests.stages.beside_gymnasium import assert_same, same_space


class Many(gymnasium.Env):
    """Shows random members of many kinds of space."""

    action_space = spaces.Discrete(2)

    def __init__(self):
        self.observation_space = spaces.Dict(
            {
                "box": spaces.Box(-1, 2, (2, 2), np.float32),
                "free": spaces.Box(-np.inf, np.inf, (1,), np.float64),
                "choice": spaces.Discrete(3, start=-1),
                "choices": spaces.MultiDiscrete([2, 4]),
                "bits": spaces.MultiBinary(3),
                "pair": spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,), np.float32)]),
            }
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 1.0, False, False, {}


def test_flatten_beside_gymnasium():
    theirs = gymnasium.wrappers.FlattenObservation(Many())
    env = ae.GymnasiumEnv(Many).pipe(ae.Flatten)
    spec = env.observation_spec()["observation"]
    assert list(env.observation_spec()) == ["observation"] and spec.shape == theirs.observation_space.shape
    np.testing.assert_allclose(spec.minimum, theirs.observation_space.low)
    np.testing.assert_allclose(spec.maximum, theirs.observation_space.high)
    assert_same(theirs, env, [0] * 20)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1", "CliffWalking-v1"])
def test_flatten_of_a_single_space_beside_gymnasium(env_id):
    theirs = gymnasium.wrappers.FlattenObservation(gymnasium.make(env_id))
    env = ae.GymnasiumEnv(env_id).pipe(ae.Flatten)
    if theirs.observation_space.dtype == np.float32:
        same_space(theirs, env)
    assert_same(theirs, env, [1, 2, 1, 0] * 10 if env_id != "CartPole-v1" else [1, 0] * 20)


def test_choices_become_vectors():
    env = ae.GymnasiumEnv(FakeGymEnv, 2).pipe(ae.OneHot)
    spec = env.specs["FakeGymEnv"]
    assert spec.observation["pair"]["0"].shape == (3,) and spec.observation["pair"]["0"].maximum.tolist() == [1, 1, 1]
    assert spec.modalities["observation"]["pair"]["0"] == ae.Modality("flat", "binary")
    assert spec.observation["word"].dtype == np.uint8  # text stays
    shown = [env.reset()]
    for _ in range(4):
        shown.append(env.step({"move": torch.zeros(2, dtype=torch.int64), "aim": torch.zeros(2, 2, dtype=torch.int64)}))
    assert [t.observation["pair"]["0"][1].argmax().item() for t in shown] == [0, 1, 2, 0, 1]
    assert all(t.observation["pair"]["0"].sum(1).tolist() == [1, 1] for t in shown)


def test_choices_that_do_not_start_at_zero_and_unequal_numbers():
    env = ae.GymnasiumEnv(Many).pipe(ae.OneHot)
    spec = env.observation_spec()
    assert spec["choice"].shape == (3,) and spec["choices"].shape == (2, 4)
    below, above = ae.GymnasiumEnv(Many).reset().observation, env.reset().observation
    assert above["choice"][0].argmax() == below["choice"][0] + 1
    assert above["choices"][0].argmax(1).tolist() == below["choices"][0].tolist()


def test_a_vector_of_some_keys_stands_beside_the_others():
    env = CountingEnv(2, nested=True, random=True).pipe(ae.Flatten, key="place", keys="where/*")
    assert set(env.observation_spec()) == {"count", "random", "place"}
    assert env.observation_spec()["place"].shape == (2 + 5,)
    env.reset()
    place = env.step(torch.tensor([0, 0])).observation["place"]
    assert place.tolist() == [[1, 0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0, 0]]


def test_a_vector_is_absent_where_a_part_is():
    def make():
        return CountingEnv(2, lengths=[99, 99], nested=True).pipe(ae.DropKeyValue, p=0.3)

    below, above, kinds = make(), make().pipe(ae.Flatten), set()
    one, other = below.reset(), above.reset()
    for _ in range(40):
        place, count = one.observation["where"], one.observation["count"]
        rows = torch.ones(2, dtype=torch.bool)
        for tree, key in ((one.observation, "count"), (place, "lane"), (place, "age")):
            rows &= tree.get(f"mask:{key}", torch.tensor(tree[key] is not None))
        vector, mask = other.observation["observation"], other.observation.get("mask:observation")
        if any(value is None for value in (count, place["lane"], place["age"])):
            assert vector is None
        else:
            assert rows.tolist() == (mask.tolist() if mask is not None else [True, True])
            assert ((vector[:, 1:3].sum(1) == 1) == rows).all() and (vector[~rows] == 0).all()
        kinds.add((vector is None, mask is None))
        assert set(other.observation) <= {"observation", "mask:observation"}
        one, other = below.step(torch.zeros(2, dtype=torch.int64)), above.step(torch.zeros(2, dtype=torch.int64))
    assert kinds == {(True, True), (False, False), (False, True)}


def test_what_cannot_work_is_refused():
    with pytest.raises(ae.SpecError, match="Flatten: expected a free key, 'count' is in"):
        CountingEnv(nested=True).pipe(ae.Flatten, key="count", keys="where/*").observation_spec()
    numbers = CountingEnv().pipe(ae.Lambda, obs=lambda o: {"x": o["observation"].long()})
    with pytest.raises(ae.SpecError, match="OneHot: observation 'x': expected integers with bounds, got int64.*Tell"):
        numbers.pipe(ae.OneHot).observation_spec()
    with pytest.raises(ae.SpecError, match="Flatten: 'x': expected integers with bounds"):
        numbers.pipe(ae.Flatten).observation_spec()


def test_no_mask_is_left_of_a_tree_that_is_joined():
    rows = {"x": {"left": torch.arange(5.0), "right": torch.arange(5.0)}, "y": torch.arange(5.0)}
    env = ae.DatasetEnv(rows, batch_size=3, epochs=1)
    joined, half = env.pipe(ae.Flatten, keys="x/*", key="all"), env.pipe(ae.Flatten, keys="x/left", key="half")
    for pipeline, left in ((joined, {"all", "mask:all", "y", "mask:y"}), (half, {"x", "mask:x", "half", "mask:half"})):
        pipeline.reset()
        last = pipeline.step(None).observation  # its third row is filled up
        assert left <= set(last) <= left | {"y", "mask:y"}
    assert last["half"].tolist() == [[3.0], [4.0], [0.0]] and last["mask:half"].tolist() == [True, True, False]


@pytest.mark.parametrize("stage", [ae.OneHot, ae.Flatten, ae.FrameStack, ae.NormalizeObservation])
def test_what_may_be_absent_stays_optional(stage):
    env = CountingEnv(2, nested=True).pipe(ae.DropKeyValue, p=1.0, n=2).pipe(stage)
    (spec,) = env.specs.values()
    kinds = [kind for _, kind in flatten(spec.modalities["observation"])]
    assert kinds and all(kind.optional for kind in kinds)
