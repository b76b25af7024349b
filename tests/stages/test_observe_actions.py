"""ObserveActions: what was sent, what reached the source, and nothing that was not done."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv

SYNC = torch.tensor([True, False])


def shown(timestep, key="action:action"):
    """Returns values and mask as lists."""
    value, mask = timestep.observation[key], timestep.observation.get(f"mask:{key}")
    return None if value is None else value.tolist(), None if mask is None else mask.tolist()


def plus_one(action):
    return {"action": (action["action"] + 1) % 5}


def test_the_last_answer_is_seen_and_a_lane_at_first_has_none():
    env = CountingEnv(2, lengths=[2, 3]).pipe(ae.ObserveActions)
    seen = [shown(env.reset())] + [shown(env.step(torch.tensor([n, 4]))) for n in (1, 2, 3, 3, 1)]
    assert seen == [
        (None, None),
        ([1, 4], None),
        ([2, 4], None),  # lane 0 is LAST
        ([0, 4], [False, True]),  # FIRST, lane 1 is LAST
        ([3, 0], [True, False]),
        ([1, 4], None),
    ]


def test_a_history_goes_back_to_the_start_of_the_episode():
    env = CountingEnv(2, lengths=[2, 9]).pipe(ae.ObserveActions, history=3)
    seen = [shown(env.reset())] + [shown(env.step(torch.tensor([n, 4]))) for n in (1, 2, 3, 1)]
    assert seen == [
        (None, None),
        ([[0, 0, 1], [0, 0, 4]], None),
        ([[0, 1, 2], [0, 4, 4]], None),
        ([[0, 0, 0], [4, 4, 4]], [False, True]),
        ([[0, 0, 1], [4, 4, 4]], None),
    ]


def test_sent_and_executed_differ_above_a_stage_that_changes_answers():
    env = CountingEnv(1, lengths=[9]).pipe(ae.ObserveActions, prefix="low:").pipe(ae.Lambda, action=plus_one)
    env = env.pipe(ae.ObserveActions, prefix="sent:").pipe(ae.ObserveActions, which="executed", prefix="done:")
    env.reset()
    timestep = env.step(torch.tensor([3]))
    assert [timestep.observation[f"{prefix}:action"].item() for prefix in ("low", "sent", "done")] == [4, 3, 4]
    assert timestep.reward.item() == 4


def test_executed_is_what_the_environment_got_last_below_a_time_scale():
    env = CountingEnv(2, lengths=[3, 9]).pipe(ae.StaticTimescaled, ratio=0.5, hold="noop")
    env = env.pipe(ae.ObserveActions, which="executed")
    seen = [shown(env.reset())[0]] + [shown(env.step(torch.tensor([n, n])))[0] for n in (1, 2, 3, 4)]
    # lane 0 ends after one of two steps: the 2 reached it, not the 0 that followed in lane 1; then it is FIRST
    assert seen == [None, [0, 0], [2, 0], [0, 0], [0, 0]]


def test_nothing_is_executed_while_an_observation_is_shown_again():
    env = CountingEnv(1, lengths=[9]).pipe(ae.StaticTimescaled, ratio=2, pool_action="max")
    env = env.pipe(ae.ObserveActions, prefix="sent:").pipe(ae.ObserveActions, which="executed")
    timestep, seen = env.reset(), []
    for n in (3, 1, 2, 4, 0):
        seen.append((shown(timestep, "sent:action")[0], shown(timestep)[0]))
        timestep = env.step(torch.tensor([n]))
    assert seen == [(None, None), ([3], None), ([1], [1]), ([2], [1]), ([4], [4])]


def test_executed_comes_back_after_a_restore_while_lanes_are_held():
    def make():
        env = CountingEnv(2, lengths=[9, 9]).pipe(ae.Lambda, action=plus_one)
        return env.pipe(ae.ObserveActions, which="executed")

    env = make()
    env.reset()
    env.step(torch.tensor([1, 2]))
    other = make()
    other.load_state_dict(env.state_dict())
    for one in (env, other):
        assert shown(one.step(torch.tensor([3, 3]), SYNC)) == ([4, 3], None)
        assert shown(one.step(torch.tensor([0, 0]), ~SYNC)) == ([4, 1], None)


def test_held_lanes_repeat_what_they_show():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.ObserveActions, history=2)
    env.reset()
    env.step(torch.tensor([1, 1]))
    assert shown(env.step(torch.tensor([2, 2]), SYNC))[0] == [[1, 2], [0, 1]]
    assert shown(env.step(torch.tensor([3, 3])))[0] == [[2, 3], [1, 3]]
    assert shown(env.reset(SYNC)) == ([[0, 0], [1, 3]], [False, True])


@pytest.mark.parametrize("which", ["sent", "executed"])
def test_each_source_above_an_interleave_sees_its_own(which):
    short, wide = CountingEnv(1, lengths=[2]), CountingEnv(2, lengths=[9, 9], nested=True)
    env = ae.Interleave({"a": short, "b": wide}).pipe(ae.ObserveActions, which=which)
    timestep, seen = env.reset(), {"a": [], "b": []}
    for step in range(10):
        seen[timestep.source].append(shown(timestep)[0])
        timestep = env.step(torch.full_like(timestep.step_type, step % 5).long())
    assert seen == {
        "a": [None, [0], [2], None, [1]],
        "b": [None, [1, 1], [3, 3], [0, 0], [2, 2]],
    }


class Pushes(ae.Stage):
    """Has nested, real and bounded actions, of which the environment gets one part."""

    def on_spec(self, spec):
        push = specs.BoundedArray((2,), np.float32, [1.0, -1.0], [2.0, 1.0])
        return ae.EnvSpec(spec.observation, {**spec.action, "body": {"push": push}}, num_envs=spec.num_envs)

    def on_action(self, action, timestep):
        return {"action": action["action"]}


def test_specs_and_modalities_are_copies():
    env = CountingEnv(2, lengths=[1, 9]).pipe(Pushes).pipe(ae.ObserveActions, history=2)
    spec = env.specs["CountingEnv"]
    assert spec.observation["action:action"] == specs.BoundedArray((2,), np.int64, 0, 4)
    assert spec.observation["action:body"]["push"].shape == (2, 2)
    pushed = spec.modalities["action"]["body"]["push"]
    assert spec.modalities["observation"]["action:body"]["push"] == replace(pushed, optional=True)
    env.reset()
    body = {"push": torch.tensor([[1.5, 0.5], [2.0, -1.0]])}
    timestep = env.step({"action": torch.tensor([1, 1]), "body": body})
    assert timestep.observation["action:body"]["push"].tolist() == [[[1, 0], [1.5, 0.5]], [[1, 0], [2, -1]]]
    timestep = env.step({"action": torch.tensor([1, 1]), "body": body})
    assert timestep.observation["action:body"]["mask:push"].tolist() == [False, True]
    below = CountingEnv().pipe(Pushes).pipe(ae.ObserveActions, which="executed")
    assert set(below.observation_spec()) == {"observation", "action:action"}
    alone = CountingEnv().pipe(ae.ObserveActions).specs["CountingEnv"]
    assert alone.observation["action:action"] == specs.DiscreteArray(5, np.int64)
    assert alone.modalities["observation"]["action:action"] == ae.Modality("flat", "categorical", optional=True)


def test_where_no_answer_is_due_nothing_is_added():
    env = ae.DatasetEnv({"x": torch.arange(4)}, batch_size=2).pipe(ae.ObserveActions)
    assert set(env.observation_spec()) == set(env.reset().observation) == {"x"}
    assert set(env.step(None).observation) == {"x"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"which": "done"}, "expected which 'sent' or 'executed'.*'done'"),
        ({"history": 0}, "history of at least 1"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.ObserveActions, **options)


def test_a_key_that_is_taken_is_refused():
    with pytest.raises(SpecError, match=r"expected free keys, \['action:action'\] are in the observation already"):
        CountingEnv().pipe(ae.ObserveActions).pipe(ae.ObserveActions).observation_spec()


def test_executed_needs_the_source_in_its_process():
    env = CountingEnv(2).pipe(ae.TrainerSide).pipe(ae.ObserveActions, which="executed")
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=4)
    try:
        with pytest.raises(SpecError, match=r"expected to see what reaches 'CountingEnv'.*below TrainerSide"):
            for timestep in loader:
                timestep.reply(torch.zeros(2, dtype=torch.int64))
    finally:
        loader.close()
