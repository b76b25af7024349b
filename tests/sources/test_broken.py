"""Simulators that raise while they run: cut off like at a time limit, made anew, counted, within a budget."""

import re
import warnings
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
import torch
from dm_env import specs
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.sources.lanes import Simulator, SingleLanes
from aexp_torch.testing import check_lane_control, check_restore, check_seeds
from aexp_torch.testing.rollout import rollout, streams_differ

pytestmark = pytest.mark.timeout(60)
SPACES = spaces.Box(0, 1000, (2,), np.float64), spaces.Discrete(3)


class Fragile(gymnasium.Env):
    """Counts its steps, ends after 6, and raises in about one step, and one reset, in some.

    Args:
      steps: one step in so many raises; a reward of NaN, if it is negative.
      resets: one reset in so many raises.
    """

    observation_space, action_space = SPACES

    def __init__(self, steps: int = 5, resets: int = 1000):
        self.steps, self.resets, self.closed = steps, resets, False

    def _breaks(self, rate: int) -> bool:
        return bool(self.np_random.integers(abs(rate)) == 0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count, self.tag = 0, float(self.np_random.integers(1000))
        if self._breaks(self.resets):
            raise OSError("no episode today")
        return np.array([0.0, self.tag]), {}

    def step(self, action):
        if self._breaks(self.steps):
            if self.steps > 0:
                raise RuntimeError(f"broke after {self.count} steps")
            return np.array([self.count, self.tag]), float("nan"), False, False, {}
        self.count += 1
        return np.array([self.count, self.tag]), 1.0 + int(action), self.count == 6, False, {}


class LeaningCart(CartPoleEnv):
    """Breaks whenever the pole leans far to the left."""

    def step(self, action):
        result = super().step(action)
        if result[0][2] < -0.1:
            raise FloatingPointError("it leans")
        return result


class FragileVector(VectorEnv):
    """Is three `Fragile` ones that end after 3, 4 and 5 steps, stepped at once: if one raises, all is over."""

    def __init__(self, steps: int = 12):
        self.num_envs, self.metadata = 3, {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self.single_action_space = SPACES
        self.observation_space, self.action_space = (batch_space(space, 3) for space in SPACES)
        self.steps = steps

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self._np_random, _ = gymnasium.utils.seeding.np_random(seed)
        self.count, self.done = np.zeros(3), np.zeros(3, bool)
        return self._rows(), {}

    def _rows(self):
        return np.stack([self.count, self._np_random.integers(0, 1000, 3).astype(float)], 1)

    def step(self, action):
        if self._np_random.integers(self.steps) == 0:
            raise RuntimeError("the batch broke")
        self.count = np.where(self.done, 0, self.count + 1)
        reward = np.where(self.done, 0.0, 1.0 + action)
        self.done = self.count == np.array([3, 4, 5])
        return self._rows(), reward, self.done, np.zeros(3, bool), {}


def fragile(num_envs: int = 3, on_broken: str = "restart", max_broken: int | None = None, **options) -> ae.Env:
    broken = {"on_broken": on_broken, "max_broken": max_broken}
    return ae.GymnasiumEnv(Fragile, num_envs, name="fragile", **broken, **options)


def vector(**options) -> ae.Env:
    return ae.GymnasiumEnv(FragileVector, 3, name="batch", on_broken="restart", max_broken=None, **options)


def leaning() -> ae.Env:
    return ae.GymnasiumEnv(LeaningCart, 3, "sync", name="leaning", on_broken="restart", max_broken=None)


def quiet_run(env: ae.Env, num_steps: int) -> tuple[list[ae.TimeStep], list[str]]:
    """Returns timesteps, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        timesteps = rollout(env, num_steps)
    return timesteps, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("make", [fragile, vector, lambda: fragile(1), lambda: fragile(steps=-5)])
def test_broken_episodes_are_cut_and_others_follow(make):
    env = make()
    timesteps, warned = quiet_run(env, 120)
    cut = 0
    for before, timestep in pairwise(timesteps):
        assert torch.equal(timestep.first(), before.last()), "FIRST follows LAST, and nothing else"
        broke = timestep.truncated()
        cut += bool(broke.any())
        assert (timestep.reward[broke] == 0).all() and (timestep.discount[broke] == 1).all()
        shown, again = before.observation["observation"], timestep.observation["observation"]
        assert torch.equal(again[broke], shown[broke]), "the last observation is repeated"
        first, mid = timestep.first(), timestep.mid()
        assert (timestep.reward[first] == 0).all() and (timestep.discount[first] == 1).all()
        assert torch.equal(again[mid][:, 0], shown[mid][:, 0] + 1), "the others go on"
    (name,) = env.specs
    assert cut >= 4 and env.broken == {name: len(warned)} and len(warned) >= cut
    pattern = (
        rf"'{name}' \(slot 0\): lane \d raised .*(broke|finite).* \(.*:\d+\)\. Its simulator is made anew, for the 1\."
    )
    assert re.match(pattern, warned[0]), warned[0]
    env.close()


@pytest.mark.filterwarnings("ignore:.*is made anew")
def test_a_lane_breaks_without_the_others():
    check_lane_control(lambda: fragile(4, steps=3), num_steps=24)


def test_an_episode_that_does_not_begin_is_replaced_by_another():
    env = fragile(2, steps=10**9, resets=4)
    timesteps, warned = quiet_run(env, 100)
    assert not any(timestep.truncated().any() for timestep in timesteps)
    assert all("no episode today" in text for text in warned) and len(warned) == env.broken["fragile"] > 3
    for before, timestep in pairwise(timesteps):
        assert torch.equal(timestep.first(), before.last())
    env.close()


class Bare(Simulator):
    """Counts to 4, and raises at one step in three."""

    open_ones: set["Bare"] = set()

    def __init__(self):
        self.open_ones.add(self)

    def reset(self, seed):
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.count = 0
        return {"count": np.int64(0)}

    def step(self, action):
        if self.generator.integers(3) == 0:
            raise RuntimeError("broke")
        self.count += 1
        return {"count": np.int64(self.count)}, 1.0, self.count == 4, 0.0

    def close(self):
        self.open_ones.remove(self)


class BareEnv(ae.SimulatorEnv):
    """Does not say how one lane is made: all are, and one is kept."""

    def open_lanes(self):
        return SingleLanes([Bare() for _ in range(self.num_envs)])

    def make_specs(self):
        return {self.name: ae.EnvSpec({"count": specs.Array((), np.int64)}, {}, num_envs=self.num_envs)}


@pytest.mark.filterwarnings("ignore:.*is made anew")
def test_a_source_that_does_not_say_how_one_lane_is_made():
    env = BareEnv(3, on_broken="restart", max_broken=None)
    timesteps = rollout(env, 40)
    assert sum(timestep.truncated().any().item() for timestep in timesteps) > 5
    assert any(0 < timestep.truncated().sum() < 3 for timestep in timesteps), "lane by lane"
    for before, timestep in pairwise(timesteps):
        assert torch.equal(timestep.first(), before.last())
    assert len(Bare.open_ones) == 3
    env.close()
    assert not Bare.open_ones


def test_by_default_it_is_an_error():
    env = fragile(3, "raise")
    with pytest.raises(RuntimeError, match="broke after"):
        rollout(env, 100)
    assert env.broken == {"fragile": 0}


@pytest.mark.parametrize("make", [fragile, vector])
def test_too_many_are_an_error_with_the_first_as_its_cause(make):
    env = make()
    env.max_broken = 2
    with (
        warnings.catch_warnings(record=True) as caught,
        pytest.raises(SpecError, match="at most max_broken=2") as error,
    ):
        warnings.simplefilter("always")
        rollout(env, 1000)
    assert len(caught) == 2 and "number 3" in str(error.value)
    assert str(error.value.__cause__) in str(caught[0].message)
    assert error.value.__cause__.__traceback__ is not None


def test_one_that_never_begins_is_an_error_whatever_the_budget():
    env = fragile(1, steps=10**9, resets=1)
    with (
        pytest.warns(UserWarning, match="made anew"),
        pytest.raises(SpecError, match="3 of them in a row raised") as error,
    ):
        env.reset()
    assert isinstance(error.value.__cause__, OSError)


@pytest.mark.parametrize("make", [fragile, vector])
@pytest.mark.filterwarnings("ignore:.*is made anew")
def test_seeds(make):
    check_seeds(make, num_steps=40, random=True)


@pytest.mark.filterwarnings("ignore:.*is made anew", "ignore:.*calling 'step")
@pytest.mark.parametrize("make", [leaning, vector])
def test_it_is_restored_at_every_step(make):
    env = make()
    assert len([t for t in rollout(env, 60) if t.truncated().any()]) > 2
    (count,) = env.broken.values()
    again = make()
    again.load_state_dict(env.state_dict())
    assert again.broken == env.broken and count > 2
    check_restore(make, num_steps=40)
    env.close()


@pytest.mark.filterwarnings("ignore:.*is made anew", "ignore:.*calling 'step")
def test_under_a_teacher_that_goes_back():
    def make():
        return leaning().pipe(ae.Teacher, p_revert=0.7, when="step")

    env = make()
    timesteps = rollout(env, 150)
    assert env.broken["leaning"] > 5
    for before, timestep in pairwise(timesteps):
        assert (timestep.first() | ~before.last()).all()
    check_restore(make, num_steps=30)
    env.close()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*is made anew")
def test_in_a_loader(num_workers):
    """The same stream in workers, where it is no worker that is lost."""
    alone, other = fragile(2), fragile(2)
    other.place(seed=4, slot=1, num_slots=2)
    alone.place(seed=4, slot=0, num_slots=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = ae.Loader(
            fragile(2, "raise"),
            num_workers=num_workers,
            in_flight=2,
            steps_per_epoch=60,
            seed=4,
            on_broken="restart",
            max_broken=100,
        )
        envs = [alone, other]
        for step, timestep in enumerate(loader):
            env = envs[step % 2]
            expected = env.reset() if step < 2 else env.step(torch.tensor([1, 2]))
            assert streams_differ([expected], [timestep]) is None
            timestep.reply(torch.tensor([1, 2]))
    counted = {"fragile": alone.broken["fragile"] + other.broken["fragile"]}
    assert loader.restarts == 0 and counted["fragile"] > 5
    assert loader.broken["fragile"] >= counted["fragile"], "slots in workers are a step ahead"
    loader.close()


def test_options_are_checked():
    with pytest.raises(SpecError, match="on_broken='raise' or 'restart', got 'mend'"):
        fragile(on_broken="mend")
    with pytest.raises(SpecError, match="max_broken of at least 0, or None, got -1"):
        fragile(max_broken=-1)
    with pytest.raises(SpecError, match="a simulator among \\['data'\\]"):
        data = ae.DatasetEnv({"x": torch.zeros(4)}, name="data", batch_size=2)
        ae.Loader(data, steps_per_epoch=2, on_broken="restart")
    live = ae.GymnasiumEnv(Fragile(), on_broken="restart")
    with pytest.raises(SpecError, match="is a live environment"):
        live.reset()
