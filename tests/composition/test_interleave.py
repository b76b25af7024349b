"""Interleave: whose turn it is, and each answer in its place."""

import pytest
import torch

import aexp_torch as ae
from aexp_torch.composition import unique_names
from aexp_torch.errors import FeedbackError, SpecError
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import rollout, snapshot, streams_differ

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


def drawn(env, num_steps):
    """Answers everything with 1 and draws lane 0: source and step type."""
    drawing = []
    for _, timestep in zip(range(num_steps), env):
        drawing.append(f"{timestep.source}{'FML'[timestep.step_type[0]]}")
        timestep.reply(torch.ones(len(timestep.reward), dtype=torch.int64))
    return " ".join(drawing)


def seed_example(lengths, **options):
    """The pattern of the project's own example: [EnvA, EnvB, EnvC, EnvB, EnvC]."""
    a, b, c = (CountingEnv(1, [length], name=name) for name, length in zip("abc", lengths))
    return ae.Interleave([a, b, c], [a, b, c, b, c], **options)


def test_the_pattern_of_five():
    assert drawn(seed_example([2, 3, 4]), 12) == "aF bF cF bM cM aM bM cM bL cM aL bF"


def test_done_first_ends_the_others_as_truncations():
    env = seed_example([2, 9, 9], done="first")
    assert drawn(env, 20) == "aF bF cF bM cM aM bM cM bM cM aL bL cL aF bF cF bM cM aM bM"
    timesteps = rollout(env := seed_example([2, 9, 9], done="first"), 13)
    ends = timesteps[10:]
    assert [t.source for t in ends] == ["a", "b", "c"]
    assert [t.terminated().item() for t in ends] == [True, False, False]
    assert [t.truncated().item() for t in ends] == [False, True, True]
    assert [t.observation["observation"].item() for t in ends] == [2, 4, 4]  # what was waiting


def test_the_reward_for_the_last_action_comes_with_the_truncation():
    env = ae.Interleave({"a": CountingEnv(1, [1]), "b": CountingEnv(1, [9])}, done="first")
    env.reset()
    env.step(torch.tensor([1]))  # a's first action, b's FIRST
    assert env.step(torch.tensor([3])).reward.item() == 1  # b's first action, a's LAST
    last = env.step(torch.tensor([0]))
    assert last.source == "b" and last.truncated().all() and last.reward.item() == 3


def test_done_all_skips_those_that_are_done():
    assert drawn(seed_example([1, 2, 3], done="all"), 19) == (
        "aF bF cF bM cM aL bL cM cL aF bF cF bM cM aL bL cM cL aF"
    )


def test_done_all_and_freeze_repeats_last():
    env = seed_example([1, 2, 4], done="all", after_done="freeze")
    assert drawn(env, 15) == "aF bF cF bM cM aL bL cM bL cM aL bL cL aF bF"
    frozen = [t for t in rollout(seed_example([1, 2, 4], done="all", after_done="freeze"), 13) if t.source == "a"]
    assert [t.observation["observation"].item() for t in frozen] == [0, 1, 1]
    assert frozen[-1].reward.item() == 0


def test_done_all_and_reset_lets_them_start_over():
    env = seed_example([1, 2, 4], done="all", after_done="reset")
    assert drawn(env, 17) == "aF bF cF bM cM aL bL cM bF cM aF bM cL aL bL aF bF"


def test_done_with_lanes_that_end_on_their_own():
    env = ae.Interleave({"a": CountingEnv(2, [1, 2]), "b": CountingEnv(1, [9])}, done="first")
    types = {"a": [], "b": []}
    for timestep in rollout(env, 14):
        types[timestep.source].append(timestep.step_type.tolist())
    # Lane 0 starts over before lane 1 has ended; it has no transition yet when the episode ends, so it ends one later.
    assert types["a"] == [[0, 0], [2, 1], [0, 2], [2, 0], [0, 1], [2, 2], [0, 0]]
    assert types["b"] == [[0], [1], [2], [0], [1], [2], [0]]


def test_streams_that_end_are_done():
    env = ae.Interleave({"a": endless(stream_length=2), "b": endless()}, done="first")
    assert drawn(env, 10) == "aF bF aM aL bL aF bF aM aL bL"
    data = ae.DatasetEnv({"x": torch.arange(3)}, batch_size=1, epochs=1, name="data")
    env = ae.Interleave([data, CountingEnv(1, [4], name="rl")], done="all")
    seen = []
    for _, timestep in zip(range(14), env):
        seen.append(f"{timestep.source[0]}{'FML'[timestep.step_type[0]]}")
        if env.specs[timestep.source].action:
            timestep.reply(torch.tensor([1]))
    assert " ".join(seen) == "dF rF dM rM dL rM rM rL dF rF dM rM dL rM"


def test_a_pattern_that_leaves_some_out():
    env = ae.Interleave([CountingEnv(1, [1], name=name) for name in "abc"], [0, 2], done="all")
    assert drawn(env, 6) == "aF cF aL cL aF cF"
    env = ae.Interleave([CountingEnv(1, [1], name=name) for name in "ab"], lambda step: 0, done="all")
    with pytest.raises(SpecError, match="comes to every environment, 10000 turns in a row"):
        drawn(env, 5)


def test_done_options_that_do_not_fit_are_refused():
    vector = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    with pytest.raises(SpecError, match=r"lane control for after_done='freeze'.*\['CartPole-v1'\].*after_done='skip'"):
        ae.Interleave([vector, endless()], done="all", after_done="freeze")
    with pytest.raises(SpecError, match="one source each, Interleave has"):
        ae.Interleave([ae.Interleave([endless(), endless()]), endless()], done="first")
    with pytest.raises(SpecError, match="without an episode of the composition"):
        ae.Interleave([endless()], after_done="skip")


@pytest.mark.parametrize("options", [{"done": "first"}, {"done": "all"}, {"done": "all", "after_done": "freeze"}])
def test_a_loader_gives_the_same_with_and_without_workers(options):
    def steps(num_workers):
        env = ae.Interleave({"a": CountingEnv(2, random=True), "b": CountingEnv(1, [2])}, ["a", "b", "b"], **options)
        loader = ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=40)
        seen = []
        for timestep in loader:
            seen.append(snapshot(timestep))
            timestep.reply(torch.ones(len(timestep.reward), dtype=torch.int64))
        loader.close()
        return seen

    assert streams_differ(steps(0), steps(2)) is None


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
