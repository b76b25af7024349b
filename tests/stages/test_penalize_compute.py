"""PenalizeCompute: what each meter counts, and who pays when."""

import gc

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.testing import CountingEnv


class Clock:
    """Goes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def answers(*values):
    return torch.tensor(values)


def test_agent_steps_cost_the_same_each_and_first_nothing():
    env = CountingEnv(2, lengths=[2, 3]).pipe(ae.PenalizeCompute, coef=0.25)
    seen = [env.reset().reward.tolist()] + [env.step(answers(1, 2)).reward.tolist() for _ in range(4)]
    assert seen == [[0, 0], [0.75, 1.75], [0.75, 1.75], [0, 1.75], [0.75, 0]]


def test_above_a_time_scale_each_step_of_thought_costs_and_below_it_each_of_the_environment():
    above = CountingEnv(1, lengths=[9]).pipe(ae.StaticTimescaled, ratio=2).pipe(ae.PenalizeCompute, coef=1)
    below = CountingEnv(1, lengths=[9]).pipe(ae.PenalizeCompute, coef=1).pipe(ae.StaticTimescaled, ratio=2)
    for env in (above, below):
        env.reset()
    assert [above.step(answers(4)).reward.item() for _ in range(4)] == [-1, 3, -1, 3]
    assert [below.step(answers(4)).reward.item() for _ in range(4)] == [0, 3, 0, 3]


def test_seconds_go_from_the_timestep_to_its_answer_on_the_clock_that_is_given():
    clock = Clock()
    env = CountingEnv(2, lengths=[9, 1]).pipe(ae.PenalizeCompute, coef=0.5, meter="seconds", clock=clock, observe=True)
    timestep, seen = env.reset(), []
    for seconds in (2, 0, 1, 3):
        clock.now += seconds
        timestep = env.step(answers(4, 4))
        seen.append((timestep.reward.tolist(), timestep.observation["compute:last"].tolist()))
    assert seen == [([3, 3], [2, 2]), ([4, 0], [0, 0]), ([3.5, 3.5], [1, 1]), ([2.5, 0], [3, 0])]


class Slow(ae.Stage):
    """Takes a second on the clock for each step."""

    def __init__(self, env, clock):
        super().__init__(env)
        self.clock = clock

    def on_timestep(self, timestep):
        self.clock.now += 1
        return timestep


def test_what_the_environment_needs_is_not_counted():
    clock = Clock()
    env = CountingEnv(1, lengths=[9]).pipe(Slow, clock=clock).pipe(ae.PenalizeCompute, coef=1, meter=clock)
    env.reset()
    clock.now += 2
    assert env.step(answers(4)).reward.item() == 2
    assert env.step(answers(4)).reward.item() == 4


def test_the_clock_goes_on_after_a_restore():
    clock = Clock()
    make = CountingEnv(1, lengths=[9]).pipe(ae.PenalizeCompute, coef=1, meter="seconds", clock=clock)
    env, other = make.pipe(ae.ObserveReward), make.pipe(ae.ObserveReward)
    env.reset()
    clock.now += 1
    state = env.state_dict()
    clock.now += 100
    other.load_state_dict(state)
    clock.now += 1
    assert other.step(answers(4)).reward.item() == 2


def test_the_default_clock_counts_seconds():
    env = CountingEnv(1).pipe(ae.PenalizeCompute, meter="seconds", observe=True)
    env.reset()
    torch.ones(100).sum()
    assert 0 < env.step(answers(4)).observation["compute:last"].item() < 60


def test_flops_of_the_answer_are_counted():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.PenalizeCompute, coef=2.0**-10, meter="flops", observe=True)
    one, two = torch.nn.Linear(8, 4), torch.nn.Linear(4, 4)
    env.reset()
    one(torch.zeros(2, 8))  # 2 * 2 * 8 * 4 = 128
    timestep = env.step(answers(4, 4))
    assert timestep.observation["compute:last"].tolist() == [128, 128]
    assert timestep.reward.tolist() == [4 - 0.125] * 2
    loss = two(one(torch.zeros(2, 8))).sum()  # 128 + 64
    loss.backward()  # the weights of both, 192, and what lies between, 64
    assert env.step(answers(4, 4)).observation["compute:last"].tolist() == [448, 448]
    assert env.step(answers(4, 4)).observation["compute:last"].tolist() == [0, 0]
    env.close()


def test_flops_of_several_streams_are_counted_apart_and_nothing_is_left_behind():
    from torch.utils._python_dispatch import _get_current_dispatch_mode

    assert _get_current_dispatch_mode() is None
    env, other = (CountingEnv(1, lengths=[9]).pipe(ae.PenalizeCompute, coef=1, meter="flops") for _ in range(2))
    layer = torch.nn.Linear(3, 2)  # 12 for one row
    env.reset()
    layer(torch.zeros(1, 3))
    other.reset()
    layer(torch.zeros(1, 3))
    assert env.step(answers(4)).reward.item() == 4 - 24
    assert other.step(answers(4)).reward.item() == 4 - 12
    assert _get_current_dispatch_mode() is not None
    env.close()
    del env, other  # one is closed, one is forgotten
    gc.collect()
    assert _get_current_dispatch_mode() is None


def test_the_agents_own_figure_is_paid_lane_by_lane():
    env = CountingEnv(2, lengths=[1, 9]).pipe(ae.PenalizeCompute, coef=0.5, meter="action", observe=True)
    assert env.action_spec()["compute"] == specs.BoundedArray((), np.float32, 0.0, np.inf, "compute")
    env.reset()
    timestep = env.step({"action": answers(4, 4), "compute": answers(1.0, 3.0)})
    assert timestep.reward.tolist() == [3.5, 2.5] and timestep.last().tolist() == [True, False]
    timestep = env.step({"action": answers(4, 4), "compute": answers(5.0, 2.0)})
    assert timestep.reward.tolist() == [0, 3] and timestep.observation["compute:last"].tolist() == [0, 2]
    with pytest.raises(ActionError, match="expected 'compute'"):
        timestep.reply({"action": answers(4, 4), "compute": answers(-1.0, 2.0)})
    with pytest.raises(ActionError, match=r"expected a finite 'compute' in the answer to step 2, got \[0.0, inf\]"):
        env.step({"action": answers(4, 4), "compute": answers(0.0, float("inf"))})


def test_held_lanes_do_not_pay():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.PenalizeCompute, coef=1)
    env.reset()
    assert env.step(answers(4, 4), torch.tensor([True, False])).reward.tolist() == [3, 0]
    assert env.step(answers(4, 4)).reward.tolist() == [3, 3]


def test_each_source_above_an_interleave_pays_for_its_own_answers():
    clock = Clock()
    env = ae.Interleave({"a": CountingEnv(1, lengths=[9]), "b": CountingEnv(2, lengths=[2, 9])})
    env = env.pipe(ae.PenalizeCompute, coef=1, meter="seconds", clock=clock)
    timestep, seen = env.reset(), {"a": [], "b": []}
    for _ in range(8):
        seen[timestep.source].append(timestep.reward.tolist())
        clock.now += 1 if timestep.source == "a" else 3
        timestep = env.step(torch.full_like(timestep.step_type, 4).long())
    assert seen == {"a": [[0], [3], [3], [3]], "b": [[0, 0], [1, 1], [1, 1], [0, 1]]}


def test_on_the_trainers_side_the_answer_alone_is_counted():
    clock = Clock()
    env = CountingEnv(1, lengths=[9]).pipe(ae.TrainerSide)
    env = env.pipe(ae.PenalizeCompute, coef=1, meter="seconds", clock=clock)
    loader = ae.Loader(env, num_workers=1, in_flight=2, steps_per_epoch=8)
    rewards = []
    try:
        for step, timestep in enumerate(loader):
            rewards.append(timestep.reward.item())
            clock.now += 1 + step % 2  # slot 0 thinks for a second, slot 1 for two
            timestep.reply(answers(4))
            clock.now += 10  # learning
    finally:
        loader.close()
    assert rewards == [0, 0, 3, 2, 3, 2, 3, 2]


def test_specs():
    spec = CountingEnv().pipe(ae.PenalizeCompute, meter="action", observe=True).specs["CountingEnv"]
    assert spec.observation["compute:last"] == specs.Array((), np.float32, "compute:last")
    assert spec.modalities["observation"]["compute:last"] == ae.Modality("flat", "real", "compute")
    assert spec.modalities["action"]["compute"] == ae.Modality("flat", "real", "compute")
    assert CountingEnv().pipe(ae.PenalizeCompute).specs == CountingEnv().specs


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"meter": "watts"}, "expected meter to be one of .*'watts'"),
        ({"clock": Clock()}, "expected clock= to be a function, with meter='seconds'"),
        ({"clock": 3, "meter": "seconds"}, "expected clock= to be a function"),
        ({"coef": float("nan")}, "expected a finite coef"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        CountingEnv().pipe(ae.PenalizeCompute, **options)


def test_a_key_that_is_taken_is_refused():
    twice = CountingEnv().pipe(ae.PenalizeCompute, observe=True).pipe(ae.PenalizeCompute, observe=True)
    with pytest.raises(SpecError, match=r"expected free keys, \['compute:last'\] is in the observation already"):
        twice.observation_spec()
