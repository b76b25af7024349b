"""StaticTimescaled: how often each observation is shown, and what reaches the environment, lane by lane."""

import copy
from math import inf

import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.testing import CountingEnv

STEP = "FML"


def one(length=4, **options):
    return CountingEnv(1, lengths=[length], **options)


def follow(env, num_steps, answer=lambda step: step % 5):
    """Answers step t with `answer(t)`, and returns what lane 0 shows: (step type, observation, reward, discount)."""
    timestep, seen = env.reset(), []
    for step in range(num_steps):
        observation = timestep.observation["observation"]
        shown = None if observation is None else int(observation[0])
        kind, reward, discount = (field[0].item() for field in timestep[:3])
        seen.append((STEP[kind], shown, reward, discount))
        timestep = env.step(torch.full((len(timestep.reward),), answer(step)))
    return seen


def received(env):
    while env.children:
        (env,) = env.children
    return [None if action is None else action.tolist() for action in env.received]


def test_ratio_1_changes_nothing():
    assert follow(one().pipe(ae.StaticTimescaled), 12) == follow(one(), 12)
    env = ae.GymnasiumEnv("CartPole-v1", 2, "sync")
    scaled = copy.copy(env).pipe(ae.StaticTimescaled, ratio=1)
    ours, theirs = scaled.reset(), env.reset()
    for _ in range(60):
        for mine, its in zip(ours[:3], theirs[:3]):
            assert torch.equal(mine, its)
        assert torch.equal(ours.observation["observation"], theirs.observation["observation"])
        ours, theirs = scaled.step(torch.tensor([0, 1])), env.step(torch.tensor([0, 1]))


def test_ratio_4_shows_each_observation_four_times_and_sends_the_last_answer():
    env = one(2).pipe(ae.StaticTimescaled, ratio=4)
    assert follow(env, 14) == [
        ("F", 0, 0, 1), ("M", 0, 0, 1), ("M", 0, 0, 1), ("M", 0, 0, 1),
        ("M", 1, 3, 1), ("M", 1, 0, 1), ("M", 1, 0, 1), ("M", 1, 0, 1),
        ("L", 2, 2, 0),
        ("F", 3, 0, 1), ("M", 3, 0, 1), ("M", 3, 0, 1), ("M", 3, 0, 1),
        ("M", 4, 2, 1),
    ]  # fmt: skip
    assert received(env) == [None, [3], [2], [3], [2]]  # the third is the ignored answer to LAST


def test_ratio_one_and_a_half_shows_observations_once_and_twice_in_turn():
    env = one(6).pipe(ae.StaticTimescaled, ratio=1.5)
    assert [(kind, shown) for kind, shown, _, _ in follow(env, 12)] == [
        ("F", 0), ("M", 1), ("M", 1), ("M", 2), ("M", 3), ("M", 3), ("M", 4), ("M", 5), ("M", 5),
        ("L", 6), ("F", 7), ("M", 8),
    ]  # fmt: skip
    assert received(env)[:7] == [None, [0], [2], [3], [0], [1], [3]]


def test_ratio_one_half_steps_twice_with_one_answer():
    env = one(4).pipe(ae.StaticTimescaled, ratio=0.5)
    assert follow(env, 6, lambda step: step % 5) == [
        ("F", 0, 0, 1), ("M", 2, 0, 1), ("L", 4, 2, 0), ("F", 5, 0, 1), ("M", 7, 6, 1), ("L", 9, 8, 0),
    ]  # fmt: skip
    assert received(env) == [None, [0], [0], [1], [1], [2], [3], [3], [4], [4], [0]]


def test_a_skip_ends_with_the_episode():
    env = one(5).pipe(ae.StaticTimescaled, ratio=0.25)
    assert follow(env, 5, lambda step: 1) == [
        ("F", 0, 0, 1), ("M", 4, 4, 1), ("L", 5, 1, 0), ("F", 6, 0, 1), ("M", 10, 4, 1),
    ]  # fmt: skip


def test_ratio_two_fifths_skips_three_and_two_steps_in_turn():
    seen = follow(one(99).pipe(ae.StaticTimescaled, ratio=0.4), 7, lambda step: 1)
    assert [shown for _, shown, _, _ in seen] == [0, 3, 5, 8, 10, 13, 15]
    assert [reward for _, _, reward, _ in seen] == [0, 3, 2, 3, 2, 3, 2]


@pytest.mark.parametrize("ratio", [0.1, 0.3, 1 / 3, 0.7, 1.1, 2.9])
def test_any_ratio_is_kept_over_many_steps(ratio):
    env = one(10**6).pipe(ae.StaticTimescaled, ratio=ratio)
    timestep = env.reset()
    for _ in range(500):
        timestep = env.step(torch.tensor([1]))
    assert abs(int(timestep.observation["observation"]) - 500 / ratio) <= 1 / ratio + 1


def test_ratio_0_shows_first_and_last():
    env = one(4).pipe(ae.StaticTimescaled, ratio=0)
    assert follow(env, 4, lambda step: 2) == [("F", 0, 0, 1), ("L", 4, 8, 0), ("F", 5, 0, 1), ("L", 9, 8, 0)]


def test_ratio_inf_never_steps_the_environment():
    env = one(4).pipe(ae.StaticTimescaled, ratio=inf, pool_action="mean")
    assert follow(env, 5) == [("F", 0, 0, 1)] + [("M", 0, 0, 1)] * 4
    assert received(env) == [None] and not env.episodic and env.max_episode_steps is None
    assert env.state_dict()["answers"] == []


def test_noop_ignores_the_answer_after_the_first_step():
    env = one(6).pipe(ae.StaticTimescaled, ratio=1 / 3, hold="noop")
    assert follow(env, 3, lambda step: 4) == [("F", 0, 0, 1), ("M", 3, 4, 1), ("L", 6, 4, 0)]
    assert received(env)[:7] == [None, [4], [0], [0], [4], [0], [0]]


def test_input_drop_shows_an_observation_once():
    env = CountingEnv(2, lengths=[1, 2]).pipe(ae.StaticTimescaled, ratio=2, input="drop")
    timestep, seen = env.reset(), []
    for _ in range(7):
        shown = timestep.observation
        kinds = "".join(STEP[kind] for kind in timestep.step_type)
        value, mask = shown["observation"], shown.get("mask:observation")
        seen.append((kinds, None if value is None else value.tolist(), None if mask is None else mask.tolist()))
        timestep = env.step(torch.tensor([1, 1]))
    assert seen == [
        ("FF", [0, 0], None),
        ("MM", None, None),
        ("LM", [1, 1], None),
        ("FM", [2, 0], [True, False]),
        ("ML", [0, 2], [False, True]),
        ("LF", [3, 3], None),
        ("FM", [4, 0], [True, False]),
    ]


def test_the_phase_of_a_time_scale_below_is_dropped_like_any_other_key():
    env = CountingEnv(1, lengths=[9]).pipe(ae.StaticTimescaled, ratio=2, observe_phase=True)
    env = env.pipe(ae.StaticTimescaled, ratio=2, input="drop")
    timesteps = [env.reset()] + [env.step(torch.tensor([1])) for _ in range(3)]
    phases = [timestep.observation["timescale:phase"] for timestep in timesteps]
    assert phases == [torch.tensor([0]), None, torch.tensor([1]), None]


def test_lanes_end_on_their_own_inside_a_skip():
    env = CountingEnv(2, lengths=[3, 5]).pipe(ae.StaticTimescaled, ratio=0.5)
    timestep, seen = env.reset(), []
    for step in range(7):
        kinds = "".join(STEP[kind] for kind in timestep.step_type)
        seen.append((kinds, timestep.observation["observation"].tolist(), timestep.reward.tolist()))
        assert timestep.ticket.step == step
        timestep = env.step(torch.tensor([1, 2]))
    assert seen == [
        ("FF", [0, 0], [0, 0]),
        ("MM", [2, 2], [2, 4]),
        ("LM", [3, 4], [1, 4]),  # lane 0 ends after one of two steps
        ("FL", [4, 5], [0, 2]),
        ("MF", [6, 6], [2, 0]),  # lane 1 begins, lane 0 takes two steps
        ("LM", [7, 8], [1, 4]),
        ("FM", [8, 10], [0, 4]),
    ]


@pytest.mark.parametrize("ratio", [0, 0.4, 0.5, 1, 1.5, 4, inf])
@pytest.mark.parametrize("options", [{}, {"hold": "noop", "pool_observation": "mean", "pool_action": "max"}])
def test_each_lane_goes_as_if_it_were_alone(ratio, options):
    lengths = [3, 4, 7]
    together = CountingEnv(3, lengths=lengths).pipe(ae.StaticTimescaled, ratio=ratio, **options)
    alone = [CountingEnv(1, lengths=[n]).pipe(ae.StaticTimescaled, ratio=ratio, **options) for n in lengths]
    ours, theirs = together.reset(), [env.reset() for env in alone]
    for step in range(40):
        for lane, its in enumerate(theirs):
            shown = (ours.step_type, ours.reward, ours.observation["observation"])
            assert [value[lane].item() for value in shown] == [
                its.step_type.item(), its.reward.item(), its.observation["observation"].item(),
            ]  # fmt: skip
            if lane != 0:  # CountingEnv ends even lanes for good, and a lane that is alone is lane 0
                continue
            assert ours.discount[0] == its.discount[0]
        answers = torch.tensor([(step * 3 + lane) % 5 for lane in range(3)])
        ours = together.step(answers)
        theirs = [env.step(answers[lane : lane + 1]) for lane, env in enumerate(alone)]


class Pays(ae.Env):
    """Shows values, pays rewards and discounts from a list; takes real actions. One lane."""

    def __init__(self, rewards, discounts, **options):
        super().__init__(**options)
        self.rewards, self.discounts = rewards, discounts

    lane_control = True

    def on_open(self):
        self.at, self.received = 0, []

    def make_specs(self):
        real, few = specs.Array((2,), np.float32), specs.DiscreteArray(9, np.int64)
        whole, yes = specs.BoundedArray((2, 2), np.uint8, 0, 255), specs.Array((1,), bool)
        sides = {"real": real, "few": few, "whole": whole, "yes": yes}
        kinds = {
            "observation": {"whole": Modality("grid", "integer")},
            "action": {"whole": Modality("grid", "integer")},
        }
        return {self.name: EnvSpec(sides, sides, modalities=kinds)}

    def _values(self):
        at = self.at
        return {
            "real": torch.tensor([[at, -at]], dtype=torch.float32),
            "few": torch.tensor([at % 9]),
            "whole": torch.full((1, 2, 2), at**2 % 256, dtype=torch.uint8),
            "yes": torch.tensor([[at % 2 == 1]]),
        }

    def reset(self, lanes=None):
        self.at = 0
        return ae.restart(self._values(), 1)

    def step(self, action, lanes=None):
        self.received.append(action)
        if self._outstanding.last().all():
            return self.reset()
        self.at += 1
        ends = self.at == len(self.rewards)
        reward, discount = (torch.tensor([given[self.at - 1]]) for given in (self.rewards, self.discounts))
        return ae.TimeStep(torch.tensor([1 + ends], dtype=torch.int8), reward, discount, self._values())

    def answer(self, number):
        self_at, self.at = self.at, number
        try:
            return self._values()
        finally:
            self.at = self_at


def test_rewards_are_weighted_by_the_discounts_before_them():
    env = Pays([1.0, 2.0, 4.0, 8.0, 16.0], [0.5, 0.5, 1.0, 0.25, 0.0]).pipe(ae.StaticTimescaled, ratio=1 / 3)
    env.reset()
    timestep = env.step(env.env.answer(1))
    assert timestep.reward.item() == 1 + 0.5 * 2 + 0.25 * 4
    assert timestep.discount.item() == 0.25 and timestep.mid().all()
    timestep = env.step(env.env.answer(1))
    assert timestep.reward.item() == 8 + 0.25 * 16
    assert timestep.terminated().all()


POOLED = {  # of the values 1, 2, 3: real, few (categorical), whole (integer: 1, 4, 9), yes (binary: yes, no, yes)
    "last": ([3, -3], 3, 9, True),
    "mean": ([2, -2], 3, 5, True),
    "max": ([3, -1], 3, 9, True),
    "min": ([1, -3], 3, 1, False),
}


def pools(pool):
    return POOLED[pool] if isinstance(pool, str) else ([6, -6], 6, 14, True)


def total(values, valid):
    summed = (values * valid.view(*valid.shape, *[1] * (values.dim() - 2))).sum(0)
    return (summed > 0) if values.dtype is torch.bool else summed.to(values.dtype)


@pytest.mark.parametrize("pool", [*POOLED, total])
def test_observations_of_several_steps_are_pooled(pool):
    env = Pays([1.0] * 9, [1.0] * 9).pipe(ae.StaticTimescaled, ratio=1 / 3, pool_observation=pool)
    env.reset()
    shown = env.step(env.env.answer(1)).observation
    real, few, whole, yes = pools(pool)
    assert shown["real"].tolist() == [real] and shown["few"].tolist() == [few]
    assert shown["whole"].unique().tolist() == [whole] and shown["whole"].dtype is torch.uint8
    assert shown["yes"].tolist() == [[yes]]


@pytest.mark.parametrize("pool", [*POOLED, total])
def test_answers_to_one_observation_are_pooled(pool):
    env = Pays([1.0] * 9, [1.0] * 9).pipe(ae.StaticTimescaled, ratio=3, pool_action=pool)
    env.reset()
    for number in (1, 2, 3):
        env.step(env.env.answer(number))
    (sent,) = env.env.received
    real, few, whole, yes = pools(pool)
    assert sent["real"].tolist() == [real] and sent["few"].tolist() == [few]
    assert sent["whole"].unique().tolist() == [whole] and sent["yes"].tolist() == [[yes]]


def test_random_pools_take_one_time_for_the_whole_tree():
    env = Pays([1.0] * 999, [1.0] * 999).pipe(ae.StaticTimescaled, ratio=1 / 3, pool_observation="random")
    timestep, places = env.reset(), []
    for step in range(300):
        timestep = env.step(env.env.answer(1))
        shown = int(timestep.observation["real"][0, 0])
        assert timestep.observation["few"].item() == shown % 9
        places.append(shown - 3 * step)
    assert set(places) == {1, 2, 3}
    assert all(60 < places.count(place) < 140 for place in (1, 2, 3))


def test_lanes_that_end_early_count_as_far_as_they_came():
    env = CountingEnv(2, lengths=[1, 9]).pipe(ae.StaticTimescaled, ratio=1 / 3, pool_observation="mean")
    env.reset()
    assert env.step(torch.tensor([0, 0])).observation["observation"].tolist() == [1, 2]  # 1; the mean of 1, 2 and 3


class DropsOdd(ae.Stage):
    """Leaves odd values out of lane 0; with one lane, the key is None then."""

    def on_timestep(self, timestep):
        value = timestep.observation["observation"]
        there = (value % 2 == 0) | (torch.arange(len(value)) > 0)
        shown = {"observation": value.masked_fill(~there, 0) if there.any() else None, "mask:observation": there}
        return timestep._replace(observation=shown)


def test_what_is_absent_is_not_pooled():
    env = CountingEnv(2, lengths=[9, 9]).pipe(DropsOdd).pipe(ae.StaticTimescaled, ratio=1 / 4, pool_observation="mean")
    env.reset()
    shown = env.step(torch.tensor([0, 0])).observation
    assert shown["observation"].tolist() == [3, 2.5] and shown["mask:observation"].tolist() == [True, True]


def test_a_time_that_is_chosen_at_random_may_have_nothing_to_show():
    env = one(999).pipe(DropsOdd).pipe(ae.StaticTimescaled, ratio=1 / 2, pool_observation="random")
    env.reset()
    seen = [env.step(torch.tensor([0])).observation["observation"] for _ in range(40)]
    assert {None if value is None else value.item() - 2 * step for step, value in enumerate(seen)} == {None, 2}


def test_what_no_step_of_a_skip_has_is_absent():
    def only_first(timestep):
        there = timestep.first()
        return timestep._replace(
            observation={"observation": timestep.observation["observation"] if there.any() else None}
        )

    env = one(99).pipe(only_first).pipe(ae.StaticTimescaled, ratio=1 / 2, pool_observation="max")
    assert env.reset().observation["observation"].tolist() == [0]
    assert env.step(torch.tensor([0])).observation == {"observation": None}


def test_phase_counts_how_often_an_observation_was_shown():
    env = CountingEnv(2, lengths=[1, 9]).pipe(ae.StaticTimescaled, ratio=3, observe_phase=True)
    timestep, phases = env.reset(), []
    for _ in range(6):
        phases.append(timestep.observation["timescale:phase"].tolist())
        timestep = env.step(torch.tensor([0, 0]))
    assert phases == [[0, 0], [1, 1], [2, 2], [0, 0], [0, 1], [1, 2]]
    spec = env.specs["CountingEnv"]
    assert spec.observation["timescale:phase"].maximum == 2
    assert spec.modalities["observation"]["timescale:phase"] == ae.Modality("flat", "integer", "time")


def test_held_lanes_stand_still_while_others_are_shown_an_observation_again():
    env = CountingEnv(2, lengths=[9, 9]).pipe(ae.StaticTimescaled, ratio=2)
    env.reset()
    lanes = torch.tensor([True, False])
    for shown in (0, 1, 1, 2):
        timestep = env.step(torch.tensor([1, 1]), lanes)
        assert timestep.observation["observation"].tolist() == [shown, 0]
        assert timestep.first().tolist() == [False, True]
    again = env.reset(lanes)
    assert again.first().tolist() == [True, True] and again.observation["observation"].tolist() == [3, 0]
    assert env.step(torch.tensor([1, 1])).mid().all()


@pytest.mark.parametrize(
    ("ratio", "length", "most"), [(1, 5, 5), (4, 5, 20), (1.5, 5, 7), (0.5, 5, 3), (0.5, 4, 2), (0, 5, 1)]
)
def test_the_longest_episode_is_counted_in_agent_steps(ratio, length, most):
    env = one(length).pipe(ae.StaticTimescaled, ratio=ratio)
    assert env.max_episode_steps == most
    seen = follow(env, most + 1)
    assert [kind for kind, _, _, _ in seen].index("L") == most


def test_the_end_of_a_finite_stream_is_passed_on():
    env = one(99, stream_length=6).pipe(ae.StaticTimescaled, ratio=0.5)
    assert env.stream_length is None and env.pass_length is None
    env.reset()
    env.step(torch.tensor([0]))
    env.step(torch.tensor([0]))
    with pytest.raises(EndOfStream):
        env.step(torch.tensor([0]))
    assert env.step(torch.tensor([0])).first().all()


def test_inside_an_interleave_each_environment_has_its_own_time_scale():
    slow, fast = one(2, name="slow"), one(4, name="fast")
    env = ae.Interleave([slow.pipe(ae.StaticTimescaled, ratio=2), fast.pipe(ae.StaticTimescaled, ratio=0.5)])
    env = env.pipe(ae.ObserveReward)
    timestep, seen = env.reset(), []
    for _ in range(9):
        shown = int(timestep.observation["observation"])
        seen.append((timestep.source, timestep.ticket.step, shown, timestep.reward.item()))
        timestep = env.step(torch.tensor([1 + (timestep.source == "fast")]))
    assert seen == [
        ("slow", 0, 0, 0), ("fast", 0, 0, 0),
        ("slow", 1, 0, 0), ("fast", 1, 2, 4),
        ("slow", 2, 1, 1), ("fast", 2, 4, 4),
        ("slow", 3, 1, 0), ("fast", 3, 5, 0),
        ("slow", 4, 2, 1),
    ]  # fmt: skip


def test_time_scales_multiply():
    env = one(99).pipe(ae.StaticTimescaled, ratio=0.25).pipe(ae.StaticTimescaled, ratio=2)
    assert [shown for _, shown, _, _ in follow(env, 6)] == [0, 0, 4, 4, 8, 8]


@pytest.mark.parametrize(
    "make",
    [
        lambda: ae.GymnasiumEnv("CartPole-v1", 3),
        lambda: ae.DatasetEnv({"x": torch.arange(6)}, batch_size=2),
        lambda: ae.Interleave([one(), one()]),
    ],
)
def test_an_environment_without_lane_control_is_refused_with_the_remedy(make):
    remedy = r"vectorization='sync'\); put StaticTimescaled around each environment of a composition"
    with pytest.raises(SpecError, match=rf"StaticTimescaled: expected .* steps single lanes.*{remedy}"):
        make().pipe(ae.StaticTimescaled, ratio=2)


def test_one_sample_at_a_time_can_be_pondered_over():
    data = ae.DatasetEnv({"x": torch.arange(3), "y": torch.arange(3)}, batch_size=1, epochs=1, loss="correct")
    env = data.pipe(ae.StaticTimescaled, ratio=2)
    timestep, seen = env.reset(), []
    for _ in range(7):
        x = timestep.observation["x"]
        seen.append((STEP[timestep.step_type], None if x is None else x.item(), timestep.reward.item()))
        if timestep.last():
            break
        guess = 0 if x is None else x.item() + (len(seen) % 2)  # wrong at first, right on second thought
        timestep = env.step(torch.tensor([min(guess, 2)]))
    assert seen == [("F", 0, 0), ("M", 0, 0), ("M", 1, 1), ("M", 1, 0), ("M", 2, 1), ("M", 2, 0), ("L", None, 1)]


@pytest.mark.parametrize(("ratio", "steps", "x"), [(2, 5, 3), (0.5, 3, 5), (1, 4, 4)])
def test_data_goes_on_where_a_lost_process_stood(ratio, steps, x):
    data = ae.DatasetEnv({"x": torch.arange(9), "y": torch.arange(9)}, batch_size=1, mode="delayed", name="nine")
    env, fresh = (copy.copy(data).pipe(ae.StaticTimescaled, ratio=ratio) for _ in range(2))
    timestep = env.reset()
    for _ in range(steps - 1):
        timestep = env.step(torch.tensor([0]))
    fresh.go_on_after({"nine": timestep.ticket.step})
    assert fresh.reset().observation["x"].item() == timestep.observation["x"].item() + 1 == x


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ratio": -1}, r"expected a ratio in \[0, inf\], got -1"),
        ({"ratio": float("nan")}, "got nan"),
        ({"ratio": "2"}, "got '2'"),
        ({"hold": "keep"}, "expected hold 'repeat' or 'noop'.*'keep'"),
        ({"input": "skip"}, "'skip'"),
        ({"pool_observation": "median"}, "expected pool_observation to be one of .*'median'"),
        ({"pool_action": 3}, "expected pool_action"),
    ],
)
def test_options_are_checked(options, match):
    with pytest.raises(SpecError, match=match):
        one().pipe(ae.StaticTimescaled, **options)


def test_ratio_0_needs_episodes_that_end():
    data = ae.DatasetEnv({"x": torch.arange(3), "y": torch.arange(3)}, batch_size=1, mode="delayed")
    with pytest.raises(SpecError, match="expected episodes that end with ratio=0"):
        data.pipe(ae.StaticTimescaled, ratio=0)


def test_episodes_that_do_not_end_after_all_are_noticed(monkeypatch):
    monkeypatch.setattr("aexp_torch.stages.timescaled.LONGEST_SKIP", 50)
    env = one(99).pipe(ae.StaticTimescaled, ratio=0)
    env.reset()
    with pytest.raises(SpecError, match=r"expected lanes \[0\] of 'CountingEnv' to end their episodes"):
        env.step(torch.tensor([0]))


def test_a_pool_function_has_to_return_one_value_per_lane():
    env = one(9).pipe(ae.StaticTimescaled, ratio=0.5, pool_observation=lambda values, valid: values)
    env.reset()
    with pytest.raises(SpecError, match=r"expected the pool function to return torch.float32 \[1\] for 'observation'"):
        env.step(torch.tensor([0]))
