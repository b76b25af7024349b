"""The shipped checks fail where a promise is broken, and say which, where and what to do."""

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch import testing
from aexp_torch.testing import CountingEnv
from aexp_torch.timestep import StepType, select_lanes


class WrongDtype(CountingEnv):
    def _observation(self, moving):
        return {"observation": self._count}


class UnknownKey(CountingEnv):
    def _observation(self, moving):
        return super()._observation(moving) | {"surprise": torch.zeros(self.num_envs)}


class OutOfBounds(CountingEnv):
    def _observation(self, moving):
        observation = super()._observation(moving)
        observation["where"]["age"] -= 1
        return observation


class SometimesNone(CountingEnv):
    def _observation(self, moving):
        return {"observation": None if self._count[0] == 2 else self._count.float()}


class PaysOnFirst(CountingEnv):
    def reset(self, lanes=None):
        return super().reset()._replace(reward=torch.ones(self.num_envs))


class NeverFirstAgain(CountingEnv):
    def step(self, action, lanes=None):
        timestep = super().step(action)
        return timestep._replace(step_type=timestep.step_type.clamp(StepType.MID))


class OneBuffer(CountingEnv):
    """Fills the same tensor again."""

    def on_open(self):
        super().on_open()
        self._buffer = torch.zeros(self.num_envs)

    def _observation(self, moving):
        self._buffer.copy_(self._count)
        return {"observation": self._buffer}


class Swaps(ae.Stage):
    """Takes a step of its own, in which lanes get each other's answers."""

    def step(self, action, lanes=None):
        return self.on_timestep(self.env.step({"action": action["action"].flip(0)}))


class ChangesFromBelow(ae.Stage):
    def on_timestep(self, timestep):
        timestep.observation["observation"] += 1
        return timestep


class ChangesAnswers(ae.Stage):
    def on_action(self, action, timestep):
        action["action"] = action["action"] * 0
        return action


class GlobalGenerator(CountingEnv):
    def _observation(self, moving):
        np.random.random()
        return super()._observation(moving)


class OwnSeeds(CountingEnv):
    """Ignores the seed."""

    def on_open(self):
        super().on_open()
        self._generators = [np.random.default_rng(lane) for lane in range(self.num_envs)]


class Forgetful(CountingEnv):
    """Does not restore its generators."""

    def load_state_dict(self, state):
        fresh = self.on_open
        super().load_state_dict(state)
        age, count, shown = self._age, self._count, self._shown
        fresh()
        self._age, self._count, self._shown = age, count, shown


class ArraysInState(CountingEnv):
    def state_dict(self):
        return super().state_dict() | {"array": np.zeros(2)}


class Aliased(CountingEnv):
    """Keeps count in its constructor's list, which copies share."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.counted = []

    def _show(self, moving, begin, reward):
        self.counted.append(1)
        timestep = super()._show(moving, begin, reward)
        return timestep._replace(observation={"observation": timestep.observation["observation"] + len(self.counted)})


class HeldMoves(CountingEnv):
    """Moves all lanes, and shows only some."""

    def step(self, action, lanes=None):
        before = self._outstanding
        timestep = super().step(action)
        return timestep if lanes is None else select_lanes(lanes, timestep, before)


class HeldShows(CountingEnv):
    def step(self, action, lanes=None):
        return super().step(action)


class WrongChild(ae.Interleave):
    """Gives every answer to the first environment as well."""

    def step(self, action, lanes=None):
        timestep = super().step(action)
        self.environments[0].step({"action": torch.zeros(2, dtype=torch.int64)})
        return timestep


@pytest.mark.parametrize(
    ("check", "env", "match"),
    [
        (
            testing.check_data,
            WrongDtype(),
            r"WrongDtype\('WrongDtype'\): expected 'observation' as torch.float32 \[2\]",
        ),
        (testing.check_data, UnknownKey(), "got surprise. Declare it in the spec"),
        (testing.check_data, OutOfBounds(nested=True), r"expected 'where/age' within int64 \[\] in \[0, 4\]"),
        (testing.check_data, SometimesNone(), r"expected a value for 'observation', whose modality is not optional"),
        (testing.check_signals, PaysOnFirst(), "expected reward 0 on FIRST at step 0"),
        (testing.check_episodes, NeverFirstAgain(), r"expected FIRST in lanes \[0\] at step 4"),
        (testing.check_nothing_mutated, OneBuffer(), "OneBuffer unchanged after later steps"),
        (
            testing.check_nothing_mutated,
            ChangesFromBelow(CountingEnv()),
            "expected a timestep of CountingEnv unchanged",
        ),
        (
            testing.check_nothing_mutated,
            ChangesAnswers(CountingEnv()),
            "expected an answer to ChangesAnswers unchanged",
        ),
        (testing.check_no_global_generator, GlobalGenerator(), "numpy's global generator unchanged"),
        (testing.check_restore, Forgetful(random=True), "the rest of the stream, bit for bit after a restore"),
        (testing.check_restore, ArraysInState(), "expected tensors and primitives in state_dict()"),
        (testing.check_recipe, Aliased(), "expected the stream from the beginning in a copy"),
        (testing.check_close, Aliased(), "the same stream again after close"),
        (testing.check_lane_control, HeldMoves(), "Held lanes do not move"),
        (testing.check_lane_control, HeldShows(), "expected its last timestep in held lane"),
        (testing.check_answers, WrongChild([CountingEnv(), CountingEnv()]), "expected no other source to be answered"),
        (testing.check_answers, Swaps(CountingEnv()).pipe(ae.ObserveActions), "expected the values that were given"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ae.Env) else None,
)
def test_a_broken_promise_is_named(check, env, match):
    with pytest.raises(AssertionError, match=match):
        check(env)


def test_ignored_seeds_are_found():
    with pytest.raises(AssertionError, match="expected another stream under seed 8, slot 0"):
        testing.check_seeds(OwnSeeds(random=True), random=True)


def test_partial_ends_have_to_show():
    with pytest.raises(AssertionError, match="a timestep where only some lanes end"):
        testing.check_episodes(CountingEnv(2, lengths=[3, 3]), partial_ends=True)


def test_counting_env_counts_per_lane():
    env = CountingEnv(2, lengths=[2, 3])
    timestep = env.reset()
    seen = [timestep]
    for answer in ([1, 2], [3, 4], [0, 1], [2, 2]):
        seen.append(env.step(torch.tensor(answer)))
    assert torch.stack([timestep.step_type for timestep in seen]).T.tolist() == [[0, 1, 2, 0, 1], [0, 1, 1, 2, 0]]
    assert torch.stack([timestep.reward for timestep in seen]).T.tolist() == [[0, 1, 3, 0, 2], [0, 2, 4, 1, 0]]
    assert torch.stack([timestep.discount for timestep in seen]).T.tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]
    assert seen[2].terminated().tolist() == [True, False]
    assert seen[3].truncated().tolist() == [False, True]
    assert [timestep.observation["observation"].tolist() for timestep in seen] == [[k, k] for k in range(5)]
    assert [None if action is None else action.tolist() for action in env.received] == [
        None,
        [1, 2],
        [3, 4],
        [0, 1],
        [2, 2],
    ]


def test_counting_env_lacks_a_key_now_and_then():
    env = CountingEnv(2, lengths=[2, 3], optional=True)
    lanes = torch.tensor([True, False])
    seen = [env.reset().observation, env.step(torch.tensor([1, 1]), lanes).observation]
    seen.append(env.step(torch.tensor([1, 1])).observation)
    assert [observation["sometimes"] is None for observation in seen] == [True, False, False]
    assert seen[1]["sometimes"].tolist() == [1, 0] and seen[1]["mask:sometimes"].tolist() == [True, False]
    assert seen[2]["sometimes"].tolist() == [0, 1] and seen[2]["mask:sometimes"].tolist() == [False, True]


def test_counting_env_restores_a_lane_when_its_stream_starts_over():
    env = CountingEnv(2, stream_length=3)
    env.reset()
    place = env.snapshot(lane=1)
    env.restore(place, lane=1)
    push = torch.tensor([1, 1])
    for _ in range(2):
        env.step(push)
    with pytest.raises(ae.EndOfStream):
        env.step(push)
    timestep = env.reset()
    assert timestep.first().all() and timestep.observation["observation"].tolist() == [3, 0]


def test_check_env_runs_them_all():
    testing.check_env(CountingEnv(3, random=True), random=True, partial_ends=True)


def test_all_names_what_can_be_imported():
    assert sorted(testing.__all__) == testing.__all__
    assert all(hasattr(testing, name) for name in testing.__all__)
