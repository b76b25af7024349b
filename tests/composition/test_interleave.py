"""Interleave: whose turn it is, and each answer in its place."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.composition import unique_names
from aexp_torch.errors import FeedbackError, SpecError
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(60)


def endless(num_envs=1, **options):
    return CountingEnv(num_envs, lengths=[99] * num_envs, **options)


def follow(env, num_steps):
    """Answers each step with its number, and returns (source, step, reward of lane 0)."""
    seen = []
    for _, timestep in zip(range(num_steps), env):
        seen.append((timestep.source, timestep.ticket.step, timestep.reward[0].item()))
        timestep.reply(torch.full((len(timestep.reward),), timestep.ticket.step % 5))
    return seen


def test_rewards_come_back_on_the_source_that_was_answered():
    env = ae.Interleave({"a": endless(1), "b": endless(3)}, ["a", "b", "b"])
    assert follow(env, 9) == [
        ("a", 0, 0), ("b", 0, 0), ("b", 1, 0),
        ("a", 1, 0), ("b", 2, 1), ("b", 3, 2),
        ("a", 2, 1), ("b", 4, 3), ("b", 5, 4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (None, "abcabc"),
        ([0, 0, 2], "aacaac"),
        (["c", "a"], "cacaca"),
        ("cab", "cabcab"),
        (lambda step: (step * step) % 3, "abbabb"),
    ],
)
def test_patterns(pattern, expected):
    env = ae.Interleave({name: endless() for name in "abc"}, pattern)
    assert "".join(source for source, _, _ in follow(env, 6)) == expected


def test_a_pattern_of_environments():
    one, two = endless(name="one"), endless(name="two")
    env = ae.Interleave([one, two], [two, one, two])
    assert [source for source, _, _ in follow(env, 4)] == ["two", "one", "two", "two"]


@pytest.mark.parametrize("pattern", [[], [2], [-1], ["c"], 3, [1.0]])
def test_a_pattern_that_names_no_environment_is_refused(pattern):
    with pytest.raises(SpecError, match="Interleave: expected"):
        ae.Interleave({"a": endless(), "b": endless()}, pattern)


def test_a_function_that_names_no_environment_is_refused_when_it_does():
    env = ae.Interleave({"a": endless(), "b": endless()}, lambda step: step)
    with pytest.raises(SpecError, match=r"expected places 0\.\.1, names \['a', 'b'\].*got 2"):
        follow(env, 3)


@pytest.mark.parametrize("envs", [[], {}, [3], {"a": "CartPole-v1"}])
def test_what_is_no_environment_is_refused(envs):
    with pytest.raises(SpecError, match="Interleave: expected one or more Envs"):
        ae.Interleave(envs)


def test_an_unanswered_step_of_one_source_does_not_wait_for_the_others():
    env = ae.Interleave({"a": endless(), "b": endless()})
    stream = iter(env)
    first = next(stream)
    first.reply(torch.tensor([1]))
    second = next(stream)
    with pytest.raises(FeedbackError, match=r"'a' \(slot 0\): .*step 0"):
        first.reply(torch.tensor([2]))
    with pytest.raises(FeedbackError, match=r"'b' \(slot 0\): expected an answer to step 0"):
        next(stream)
    second.reply(torch.tensor([3]))
    assert next(iter(env)).reward.tolist() == [1]


def test_children_with_and_without_actions():
    data = ae.DatasetEnv({"x": torch.arange(4)}, batch_size=2, epochs=1, name="data")
    env = ae.Interleave([endless(name="rl"), data])
    seen = []
    for _, timestep in zip(range(8), env):
        seen.append(timestep.source)
        if env.specs[timestep.source].action:
            timestep.reply(torch.tensor([1]))
    assert seen == ["rl", "data"] * 4


def test_an_environment_whose_stream_ends_starts_over():
    env = ae.Interleave({"a": endless(), "b": endless(stream_length=2)})
    steps = follow(env, 10)
    assert [step for source, step, _ in steps if source == "b"] == [0, 1, 2, 3, 4]
    assert [reward for source, _, reward in steps if source == "b"] == [0, 0, 0, 2, 0]


def test_reset_starts_the_pattern_and_all_environments_over():
    env = ae.Interleave({"a": CountingEnv(1), "b": CountingEnv(1)})
    follow(env, 3)
    assert env.reset().source == "a"
    timestep = env.step(torch.tensor([1]))
    assert timestep.source == "b" and timestep.first().all()


def test_one_environment_twice_becomes_two():
    env = endless(name="twin")
    both = ae.Interleave([env, env])
    assert both.environments[0] is not both.environments[1]
    assert list(both.specs) == ["twin#1", "twin#2"]
    assert follow(both, 4) == [
        ("twin#1", 0, 0),
        ("twin#2", 0, 0),
        ("twin#1", 1, 0),
        ("twin#2", 1, 0),
    ]


def test_names_of_nested_compositions():
    inner = ae.Interleave({"x": endless(), "y": endless()})
    assert list(ae.Interleave({"left": inner, "right": endless()}).specs) == ["left/x", "left/y", "right"]
    envs = [endless(name="n"), endless(name="m").pipe(ae.ObserveReward), endless(name="n")]
    unique_names(envs, [None] * 3)
    assert [env.name for env in envs] == ["n#1", "m", "n#2"]
    assert list(ae.Interleave([endless(name=name) for name in ("n#1", "n", "n")]).specs) == ["n#1", "n#2", "n#3"]


def test_compositions_nest():
    inner = ae.Interleave({"x": endless(2), "y": endless()})
    env = ae.Interleave([inner, endless(name="z")]).pipe(ae.ObserveReward)
    assert [source for source, _, _ in follow(env, 8)] == ["x", "z", "y", "z", "x", "z", "y", "z"]
    assert env.slot == 0 and env.specs["x"].num_envs == 2


def test_slots_and_seeds_reach_the_sources():
    env = ae.Interleave({"a": endless(random=True), "b": endless(random=True)}).pipe(ae.ObserveReward)
    env.place(seed=3, slot=2, num_slots=4)
    timestep = env.reset()
    assert timestep.ticket.slot == 2
    alone = endless(random=True, name="a")
    alone.place(seed=3, slot=2)
    assert alone.reset().observation["random"].tolist() == timestep.observation["random"].tolist()
