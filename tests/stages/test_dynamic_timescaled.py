"""DynamicTimescaled: the ratio that is seen holds for the answer, the one that is answered from the next timestep on."""

from math import inf

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.testing import CountingEnv

STEP = "FML"


def one(length=99, **options):
    return CountingEnv(1, lengths=[length], **options)


def follow(env, ratios):
    """Answers 1 and each of the ratios; returns (step type, observation, reward, ratio) of lane 0."""
    timestep, seen = env.reset(), []
    for ratio in ratios:
        shown = timestep.observation
        kind = STEP[timestep.step_type[0]]
        seen.append((kind, int(shown["observation"][0]), timestep.reward[0].item(), shown["ratio"][0].item()))
        rows = len(timestep.reward)
        timestep = env.step({"action": torch.ones(rows, dtype=torch.int64), "ratio": torch.full((rows,), ratio)})
    return seen


def test_a_new_ratio_holds_after_the_step_on_which_it_is_answered():
    assert follow(one().pipe(ae.DynamicTimescaled), [0.25, 0.25, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]) == [
        ("F", 0, 0, 1.0),
        ("M", 1, 1, 0.25),  # one step, as ratio 1 said
        ("M", 5, 4, 0.25),  # four steps
        ("M", 9, 4, 2.0),  # four steps once more
        ("M", 9, 0, 2.0),  # shown twice
        ("M", 10, 1, 2.0),
        ("M", 10, 0, 1.0),
        ("M", 11, 1, 1.0),
    ]


def test_lowering_the_ratio_sends_the_answer_at_once():
    assert [shown for _, shown, _, _ in follow(one().pipe(ae.DynamicTimescaled, ratio=8.0), [8.0, 8.0, 1.0, 1.0, 1.0])] == [
        0, 0, 0, 0, 1,
    ]  # fmt: skip
    forever = one().pipe(ae.DynamicTimescaled, max_ratio=inf)
    assert [shown for _, shown, _, _ in follow(forever, [inf, inf, inf, 1.0, 1.0, 1.0, 1.0])] == [0, 1, 1, 1, 1, 2, 3]
    assert not forever.episodic


def test_ratios_are_clipped_and_a_skip_is_limited():
    env = one().pipe(ae.DynamicTimescaled, min_ratio=0.5, max_ratio=2.0)
    assert [ratio for _, _, _, ratio in follow(env, [0.0, inf, 100.0, 0.1, 0.1])] == [1.0, 0.5, 2.0, 2.0, 0.5]
    env = one().pipe(ae.DynamicTimescaled, min_ratio=0.0, max_skip=3)
    assert [shown for _, shown, _, _ in follow(env, [0.0, 0.0, 0.0, 1.0, 1.0])] == [0, 1, 4, 7, 10]


def test_each_episode_starts_with_the_given_ratio():
    seen = follow(one(3).pipe(ae.DynamicTimescaled, ratio=0.5), [1.0] * 6)
    assert [(kind, shown, ratio) for kind, shown, _, ratio in seen] == [
        ("F", 0, 0.5), ("M", 2, 1.0), ("L", 3, 1.0), ("F", 4, 0.5), ("M", 6, 1.0), ("L", 7, 1.0),
    ]  # fmt: skip


def test_each_lane_sets_its_own_ratio_and_ends_on_its_own():
    env = CountingEnv(3, lengths=[5, 3, 9]).pipe(ae.DynamicTimescaled)
    timestep, seen = env.reset(), []
    for _ in range(6):
        shown = timestep.observation
        kinds = "".join(STEP[kind] for kind in timestep.step_type)
        seen.append((kinds, shown["observation"].tolist(), timestep.reward.tolist(), shown["ratio"].tolist()))
        timestep = env.step({"action": torch.tensor([1, 2, 3]), "ratio": torch.tensor([0.5, 1.0, 2.0])})
    assert seen == [
        ("FFF", [0, 0, 0], [0, 0, 0], [1, 1, 1]),
        ("MMM", [1, 1, 1], [1, 2, 3], [0.5, 1, 2]),
        ("MMM", [3, 2, 1], [2, 2, 0], [0.5, 1, 2]),
        ("LLM", [5, 3, 2], [2, 2, 3], [0.5, 1, 2]),
        ("FFM", [6, 4, 2], [0, 0, 0], [1, 1, 2]),
        ("MMM", [7, 5, 3], [1, 2, 3], [0.5, 1, 2]),
    ]


def test_constant_ratios_are_static_ones():
    for ratio in (0.25, 0.5, 1.0, 1.5, 4.0):
        dynamic = follow(one(7).pipe(ae.DynamicTimescaled, ratio=ratio), [ratio] * 40)
        static = one(7).pipe(ae.StaticTimescaled, ratio=ratio)
        timestep = static.reset()
        for kind, shown, reward, seen in dynamic:
            here = STEP[timestep.step_type[0]], int(timestep.observation["observation"][0]), timestep.reward.item()
            assert (kind, shown, reward, seen) == (*here, ratio)
            timestep = static.step(torch.tensor([1]))


def test_a_pooled_observation_is_shown_again_as_it_was():
    env = one().pipe(ae.DynamicTimescaled, pool_observation="mean")
    shown = [shown for _, shown, _, _ in follow(env, [0.25, 4.0, 4.0, 4.0, 4.0])]
    assert shown == [0, 1, 3, 3, 3]  # 2, 3, 4 and 5 are 3.5, as an integer


def test_ratio_and_phase_are_always_there():
    env = CountingEnv(2, lengths=[1, 9]).pipe(ae.DynamicTimescaled, ratio=2.0, input="drop", observe_phase=True)
    env.reset()
    answer = {"action": torch.tensor([1, 1]), "ratio": torch.tensor([2.0, 2.0])}
    for value, mask, phase in ((None, None, [1, 1]), ([1, 1], None, [0, 0]), ([2, 0], [True, False], [0, 1])):
        seen = env.step(answer).observation
        assert seen["ratio"].tolist() == [2, 2] and seen["timescale:phase"].tolist() == phase
        assert (None if value is None else seen["observation"].tolist()) == value
        assert {key for key in seen if key.startswith("mask:")} == ({"mask:observation"} if mask else set())


def test_ratio_is_never_pooled():
    env = one().pipe(ae.DynamicTimescaled, ratio=2.0, pool_action="max")
    env.reset()
    for action, ratio in ((3, 1.5), (1, 1.25)):
        timestep = env.step({"action": torch.tensor([action]), "ratio": torch.tensor([ratio])})
    assert timestep.reward.item() == 1 and timestep.observation["ratio"].item() == 1.25


def test_specs():
    spec = one().pipe(ae.DynamicTimescaled, min_ratio=0.5, max_ratio=4.0).specs["CountingEnv"]
    assert spec.observation["ratio"] == specs.BoundedArray((), np.float32, 0.5, 4.0, "ratio")
    assert spec.action["ratio"] == specs.BoundedArray((), np.float32, 0.0, np.inf, "ratio")
    assert spec.action["action"] == specs.DiscreteArray(5, np.int64)
    for side in ("observation", "action"):
        assert spec.modalities[side]["ratio"] == ae.Modality("flat", "real", "time")


def test_a_ratio_below_0_or_not_a_number_is_refused():
    env = one().pipe(ae.DynamicTimescaled)
    timestep = env.reset()
    for ratio in (-0.5, float("nan")):
        with pytest.raises(ActionError, match="expected 'ratio'"):
            timestep.reply({"action": torch.tensor([0]), "ratio": torch.tensor([ratio])})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"min_ratio": 0.0}, "expected min_ratio above 0 or a max_skip"),
        ({"min_ratio": 2.0}, "expected 0 <= min_ratio <= ratio <= max_ratio"),
        ({"ratio": inf, "max_ratio": inf}, "a finite ratio"),
        ({"max_skip": 0}, "expected max_skip of at least 1"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        one().pipe(ae.DynamicTimescaled, **options)


def test_what_cannot_work_is_refused():
    with pytest.raises(SpecError, match="DynamicTimescaled: expected an environment that steps single lanes"):
        ae.GymnasiumEnv("CartPole-v1", 2).pipe(ae.DynamicTimescaled)
    twice = one().pipe(ae.DynamicTimescaled).pipe(ae.DynamicTimescaled)
    with pytest.raises(SpecError, match="expected a free key, 'ratio' is in the observation already"):
        twice.observation_spec()
