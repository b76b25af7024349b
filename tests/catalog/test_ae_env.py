"""AEEnv: whose turn it is, filters while it runs, what is left out, and states at any step."""

import copy
import io
import itertools
import pickle
import warnings

import gymnasium
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.catalog import registry
from aexp_torch.catalog.entry import Entry
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import answer_to, next_timestep, rollout, streams_differ
from aexp_torch.testing.rollout import snapshot as kept

pytestmark = pytest.mark.timeout(60)


def counters(*names: str, lengths=(3,), **options) -> dict[str, CountingEnv]:
    return {name: CountingEnv(len(lengths), lengths, **options) for name in names}


def tagged(env: ae.Env, *tags: str, version: int = 0, instruction: str = "") -> ae.Env:
    env.tags, env.version, env.instruction = tags, version, instruction
    return env


def letters(timestep: ae.TimeStep) -> str:
    truncated = timestep.truncated()
    shown = ["FML"[kind] + "t" * bool(cut) for kind, cut in zip(timestep.step_type, truncated, strict=True)]
    return f"{timestep.source} {''.join(shown)}"


def follow(env: ae.Env, num_steps: int) -> list[str]:
    """Returns source and step types, with t where a lane is truncated."""
    found = []
    for _, timestep in zip(range(num_steps), env):
        found.append(letters(timestep))
        if env.specs[timestep.source].action:
            timestep.reply(answer_to(env, timestep))
    return found


def factory(name: str = "", error: BaseException | None = None, **options) -> ae.Env:
    if error is not None:
        raise error
    return CountingEnv(1, [3], name=name, **options)


def entry(name: str, *tags: str, **options) -> Entry:
    fields = {key: options.pop(key) for key in ("version", "extra", "modules", "download") if key in options}
    return Entry(name, tags, factory, options, **fields)


@pytest.fixture
def catalogue(monkeypatch):
    """Makes entries the whole catalogue."""
    found: dict[str, Entry] = {}
    monkeypatch.setattr(registry, "BUILT_IN", ())
    monkeypatch.setattr(registry, "_installed", lambda path: ({}, {}))
    monkeypatch.setattr(registry, "_ADDED", found)
    return lambda *added: registry.register(*added)


# Whose turn it is.


def test_visits_end_with_the_episode_or_after_steps_whichever_is_first():
    env = ae.AEEnv({**counters("a"), **counters("b", lengths=(9, 9))}, next_env_fn="in_turn", steps=5)
    expected = ["a F", "a M", "a M", "a L", "b FF", "b MM", "b MM", "b MM", "b LtLt", "a F"]
    assert follow(env, 10) == expected


def test_a_visit_ends_when_each_lane_has_ended_an_episode_and_the_next_goes_on_properly():
    env = ae.AEEnv({**counters("a", lengths=(2, 3)), **counters("b")}, next_env_fn="in_turn")
    expected = ["a FF", "a MM", "a LM", "a FLt"]  # lane 0 has just begun: it ends at the next visit
    expected += ["b F", "b M", "b M", "b L", "a LtF", "a FM", "a LM", "a FLt"]
    assert follow(env, 12) == expected


def test_data_goes_on_where_it_was_left_and_starts_over_at_its_end():
    data = ae.DatasetEnv({"x": torch.arange(5.0)}, batch_size=1, epochs=1, episode=None, name="data")
    env = ae.AEEnv({"data": data, **counters("a")}, next_env_fn="in_turn", steps=2)
    seen = []
    for timestep in rollout(env, 14):
        seen.append(timestep.observation["x"].item() if timestep.source == "data" else letters(timestep))
    assert seen == [0, 1, "a F", "a Lt", 2, 3, "a F", "a Lt", 4, 0, "a F", "a Lt", 1, 2]


def test_an_answer_that_data_got_is_paid_at_its_next_visit():
    x, y = torch.arange(4.0), torch.arange(4)
    asked = ae.DatasetEnv({"x": x, "y": y}, batch_size=1, mode="delayed", loss="correct")
    env = ae.AEEnv({"asked": asked, **counters("a")}, next_env_fn="in_turn", steps=2)
    rewards = []
    timestep = env.reset()
    for _ in range(8):
        rewards.append((timestep.source, timestep.reward.item()))
        right = {"predict:y": timestep.observation["x"].long()} if timestep.source == "asked" else None
        timestep = env.step(right or {"action": torch.tensor([2])})
    assert rewards == [("asked", 0), ("asked", 1), ("a", 0), ("a", 2), ("asked", 1), ("asked", 1), ("a", 0), ("a", 2)]


def test_random_is_uniform_and_follows_from_the_seed():
    def visited(seed: int) -> list[str]:
        env = ae.AEEnv(counters("a", "b", "c"), steps=2)
        env.place(seed=seed)
        return [timestep.source for timestep in rollout(env, 600)][::2]

    counts = {name: visited(0).count(name) for name in "abc"}
    assert min(counts.values()) > 80 and sum(counts.values()) == 300
    assert visited(0) == visited(0) != visited(1)


def test_nothing_is_drawn_from_a_global_generator():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    rollout(ae.AEEnv(counters("a", "b"), steps=(1, 4)), 30)
    assert torch.equal(before[0], torch.random.get_rng_state()) and (before[1] == np.random.get_state()[1]).all()


def test_steps_as_a_range_and_as_a_function():
    lone = {"a": CountingEnv(num_actions=0, lengths=[99, 99]), "b": CountingEnv(num_actions=0, lengths=[99, 99])}
    drawn = follow(ae.AEEnv(lone, steps=(2, 4), next_env_fn="in_turn"), 400)
    ends = [place for place, seen in enumerate(drawn) if "Lt" in seen]
    assert {after - before for before, after in itertools.pairwise(ends)} == {2, 3, 4}
    by_place = follow(ae.AEEnv(lone, steps=lambda place: 2 + place, next_env_fn="in_turn"), 5)
    assert by_place == ["a FF", "a LtLt", "b FF", "b MM", "b LtLt"]
    with pytest.raises(SpecError, match=r"expected steps as a number"):
        ae.AEEnv(lone, steps=0)


def test_a_function_chooses():
    asked = []

    def choose(step: int, current: int, available: torch.Tensor) -> int:
        asked.append((step, current, available.tolist()))
        return {0: 2, 4: -1, 8: 0}.get(step, 9)

    env = ae.AEEnv(counters("a", "b", "c"), next_env_fn=choose)
    assert follow(env, 12)[::4] == ["c F", "c F", "a F"]
    assert asked == [(0, -1, [0, 1, 2]), (4, 2, [0, 1, 2]), (8, 2, [0, 1, 2])]
    with pytest.raises(SpecError, match=r"expected a number in -1\.\.2 from next_env_fn, got 9"):
        follow(env, 2)
    env.next_env_fn = "in_turn"  # the stream is usable
    assert follow(env, 1) == ["b F"]


def test_transitions_are_told():
    told = []
    env = ae.AEEnv(counters("a", "b"), next_env_fn="in_turn", env_transition_fn=lambda *change: told.append(change))
    rollout(env, 9)
    assert told == [(-1, 0), (0, 1), (1, 0)]
    env.env_transition_fn = None
    rollout(env, 9)
    assert len(told) == 3


def test_the_agent_chooses():
    env = ae.AEEnv({**counters("a", lengths=(9, 9)), **counters("b"), **counters("c")}, next_env_fn="agent")
    env.exclude = [lambda member: member.name == "c"]

    def step(timestep: ae.TimeStep, *wanted: int) -> ae.TimeStep:
        lanes = len(timestep.step_type)
        return env.step({"action": torch.zeros(lanes, dtype=torch.int64), "next_environments": torch.tensor(wanted)})

    timestep = env.reset()
    assert timestep.observation["all_environments"].tolist() == [[0, 1, -1]] * 2
    seen = [letters(timestep)]
    for wanted in ((-1, -1), (2, 0), (-1, 1), (-1, -1)):  # 2 is not offered, 0 is where it is
        timestep = step(timestep, *wanted)
        seen.append(letters(timestep))
    assert seen == ["a FF", "a MM", "a MM", "a LtLt", "b F"]
    assert timestep.observation["current_environments"].tolist() == [1]
    for wanted in (-1, -1, -1, -1, -1):  # whoever stays sees the next episode
        timestep = step(timestep, wanted)
        seen.append(letters(timestep))
    assert seen[5:] == ["b M", "b M", "b L", "b F", "b M"]
    assert letters(step(step(timestep, 0), -1)) == "a FF"
    with pytest.raises(SpecError, match=r"from the start"):
        ae.AEEnv(counters("a")).next_env_fn = "agent"


def test_instructions_come_before_the_first_timestep():
    envs = {"a": tagged(CountingEnv(1, [2]), instruction="Zähle!"), "b": tagged(CountingEnv(1, [2]))}
    env = ae.AEEnv(envs, next_env_fn="in_turn", instruction_steps=2)
    seen = []
    for timestep in rollout(env, 10):
        text = timestep.observation["text:instruction"]
        told = None if text is None else bytes(text[0].tolist()).rstrip(b"\0").decode()
        seen.append((letters(timestep), told, timestep.observation["observation"] is None))
    asks, shows = ("Zähle!", True), (None, False)
    expected = [("a F", *asks), ("a M", *asks), ("a M", *shows), ("a M", *shows), ("a L", *shows)]
    assert seen[:5] == expected and seen[5:8] == [("b F", *shows), ("b M", *shows), ("b L", *shows)]
    assert env.specs["a"].observation["text:instruction"].shape == (7,)


# Answers.


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_answer_by_the_union_is_taken_apart(wrapped):
    envs = {"a": CountingEnv(1, [3]), "b": CountingEnv(2, [3, 3], num_actions=2), "c": CountingEnv(1, num_actions=0)}
    env = ae.AEEnv(envs, next_env_fn="in_turn")
    env = env.pipe(ae.ObserveReward) if wrapped else env
    union, generator = env.action_spec(), np.random.default_rng(0)
    assert set(union) == {"action@a", "action@b"}
    timestep = env.reset()
    for _ in range(20):
        action = sample_action(union, len(timestep.step_type), generator)
        before, timestep = timestep, env.step(action)
        if before.source == timestep.source and timestep.source != "c" and not timestep.first().any():
            assert torch.equal(timestep.reward, action[f"action@{timestep.source}"].float())
    while timestep.source != "a":
        timestep = env.step(sample_action(union, len(timestep.step_type), generator))
    with pytest.raises(ActionError, match=r"unknown \['other'\]"):
        env.step({**sample_action(union, 1, generator), "other": torch.zeros(1)})


def test_only_the_environment_that_showed_something_is_answered():
    env = ae.AEEnv(counters("a", "b", lengths=(9, 9)), next_env_fn="in_turn", steps=3)
    env.reset()
    for step in range(11):
        env.step(torch.full((2,), step % 5))
    received = [[None if got is None else got.tolist() for got in member.received] for member in env.environments]
    assert received == [[None, [0, 0], [1, 1], None, [1, 1], [2, 2]], [None, [3, 3], [4, 4], None, [4, 4], [0, 0]]]


# What is opened, and what is left out.


def test_nothing_is_opened_before_its_turn():
    env = ae.AEEnv(counters("a", "b", "c"), next_env_fn="in_turn")
    for timestep in env.pipe(ae.ObserveReward).pipe(ae.Noisy, side="both"):
        timestep.reply(torch.zeros(1, dtype=torch.int64))
        if timestep.ticket.step == 2:
            break
    assert [member._recipe is not None for member in env.environments] == [True, False, False]
    assert env.reward_spec().dtype == np.float32 and env.discount_spec().maximum == 1
    assert list(env.specs) == ["a", "b", "c"]
    assert [member._recipe is not None for member in env.environments] == [True, False, False]


def test_what_cannot_be_opened_is_left_out(catalogue):
    catalogue(
        entry("fine", "grid"),
        entry("needs-atari", "game.atari", extra="atari", modules=("no_such_module",)),
        entry("needs-atari-too", "game.atari", extra="atari", modules=("no_such_module.below",)),
        entry("far", "text", download=True),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is known beforehand is no reason to warn
        env = ae.AEEnv()
        assert list(env.specs) == ["fine"]
    assert set(env.left_out) == {"needs-atari", "needs-atari-too", "far"}
    assert env.summary().splitlines() == [
        "AEEnv: 1 of 4 environments take part.",
        '  2 need pip install "aexp-torch[atari]": needs-atari, needs-atari-too',
        "  1 need a download (download=True): far",
    ]
    assert set(ae.AEEnv(download=True).left_out) == {"needs-atari", "needs-atari-too"}
    with pytest.raises(SpecError, match=r"none is left|aexp-torch\[atari\]"):
        ae.AEEnv(["needs-atari"])
    with pytest.raises(SpecError, match=r"leave something that can be opened(.|\n)*2 need pip install"):
        ae.AEEnv(include=["game"])


@pytest.mark.parametrize("error", [ImportError("no"), RuntimeError("boom"), SystemExit(3), KeyError("x")])
def test_what_should_have_worked_is_left_out_with_one_warning(catalogue, error):
    catalogue(entry("fine"), entry("one", error=error), entry("two", error=error))
    env = ae.AEEnv(next_env_fn="in_turn")
    with pytest.warns(UserWarning, match=rf"'one' could not be opened(.|\n)*raised {type(error).__name__}") as warned:
        assert follow(env, 9)[::4] == ["fine F", "fine F", "fine F"]
    assert len(warned) == 1 and set(env.left_out) == {"one", "two"}
    fresh = copy.copy(env)
    with pytest.warns(UserWarning, match="could not be opened"):
        assert list(fresh.specs) == ["fine"]


def test_nothing_left_is_an_error_that_tells_why(catalogue):
    catalogue(entry("one", error=RuntimeError("boom")))
    env = ae.AEEnv()
    with pytest.warns(UserWarning, match="boom"), pytest.raises(SpecError, match=r"none is left(.|\n)*boom"):
        env.reset()


def test_what_is_drawn_does_not_depend_on_what_was_tried_before(catalogue):
    failing = [entry(name, error=RuntimeError("boom")) for name in "xyz"]
    catalogue(entry("a"), entry("b"), *failing, entry("c"))

    def sources(asked: bool) -> list[str]:
        env = ae.AEEnv(steps=2)
        if asked:
            assert list(env.specs) == ["a", "b", "c"]
        return [timestep.source for timestep in rollout(env, 60)]

    with pytest.warns(UserWarning, match="boom"):
        assert sources(asked=True) == sources(asked=False)


def test_ctrl_c_is_no_failure(catalogue):
    catalogue(entry("fine"), entry("one", error=KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        ae.AEEnv().specs["one"]


def test_names_ids_and_live_things(catalogue):
    catalogue(entry("fine"))
    live = gymnasium.make("MountainCar-v0")
    with pytest.warns(UserWarning, match=r"CartPol-v1"):
        env = ae.AEEnv(
            ["fine", "CartPole-v1", live, {"x": torch.zeros(4, 2)}, "CartPol-v1"], next_env_fn="in_turn", steps=2
        )
    assert list(env.specs) == ["fine", "CartPole-v1", "MountainCar-v0", "dict"]
    assert [timestep.source for timestep in rollout(env, 9)][::2] == ["fine", *list(env.specs)[1:], "fine"]
    for wrong in ("CartPole-v1", CountingEnv(1), 7):
        with pytest.raises(SpecError, match="expected a list of environments"):
            ae.AEEnv(wrong)
    with pytest.raises(SpecError, match="to_source: expected"):
        ae.AEEnv([CountingEnv(1), 7])


class Breaking(CountingEnv):
    """Raises at its `at`th step."""

    def __init__(self, *args, at: int = 3, **options):
        super().__init__(*args, **options)
        self.at = at

    def step(self, action, lanes=None):
        if int(self._count[0]) + 1 >= self.at:
            raise RuntimeError("simulator crashed")
        return super().step(action, lanes)


def test_what_breaks_while_it_runs_ends_its_episode_and_is_left_out():
    env = ae.AEEnv({"bad": Breaking(2, [9, 9]), **counters("a", "b")}, next_env_fn="in_turn", max_broken=1)
    with pytest.warns(UserWarning, match=r"'bad' raised RuntimeError: simulator crashed.* number 1 of max_broken=1"):
        timesteps = rollout(env, 9)
    expected = ["bad FF", "bad MM", "bad MM", "bad LtLt", "a F", "a M", "a M", "a L", "b F"]
    assert [letters(timestep) for timestep in timesteps] == expected
    assert torch.equal(timesteps[3].observation["observation"], timesteps[2].observation["observation"])
    assert timesteps[3].reward.tolist() == [0, 0] and env.left_out == {"bad": "raised RuntimeError: simulator crashed"}
    env = ae.AEEnv({"bad": Breaking(2, [9, 9]), **counters("a")}, next_env_fn="in_turn", max_broken=0)
    with pytest.raises(RuntimeError, match="simulator crashed") as raised:
        rollout(env, 9)
    assert "max_broken=0" in raised.value.__notes__[0]


# Filters.


def kinds() -> list[ae.Env]:
    return [
        tagged(CountingEnv(1, [3], name="old"), "grid.small", version=1),
        tagged(CountingEnv(1, [3], name="new"), "grid.large", version=2),
        tagged(CountingEnv(1, [3], name="poem"), "text.poetry", "language:en", version=3),
        tagged(ae.DatasetEnv({"x": torch.arange(9.0)}, batch_size=1, name="data"), "tabular"),
    ]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (None, None, ["old", "new", "poem", "data"]),
        ([ae.domains.grid], None, ["old", "new"]),
        (["domains.grid", "tabular"], ["grid/large"], ["old", "data"]),
        (["language:en"], None, ["poem"]),
        (None, [lambda env: isinstance(env, ae.Env) and env.version < 2], ["new", "poem"]),
        ("text_poetry", (), ["poem"]),
    ],
)
def test_filters(include, exclude, expected):
    env = ae.AEEnv(kinds(), include, exclude, steps=5)
    assert list(env.specs) == expected
    assert {timestep.source for timestep in rollout(env, 200)} == set(expected)


def test_filters_that_fit_nothing_say_what_looks_alike():
    with pytest.raises(SpecError, match=r"include: 'text.poetri' fits nothing. Did you mean 'text.poetry'"):
        ae.AEEnv(kinds(), ["text.poetri"])
    with pytest.warns(UserWarning, match=r"exclude: domains.gridd.small fits nothing. Did you mean 'grid.small'"):
        ae.AEEnv(kinds(), exclude=[ae.domains.gridd.small])
    with pytest.raises(SpecError, match=r"expected filters that leave something"):
        ae.AEEnv(kinds(), ["grid"], ["grid"])


@pytest.mark.parametrize("on_excluded", ["finish", "switch"])
def test_filters_change_between_steps(on_excluded):
    env = ae.AEEnv(kinds(), ["grid"], next_env_fn="in_turn", on_excluded=on_excluded)
    assert follow(env, 2) == ["old F", "old M"]
    env.exclude = [ae.domains.grid.small]
    env.include = None
    rest = {"finish": ["old M", "old L"], "switch": ["old Lt"]}[on_excluded]
    assert follow(env, 7 - (on_excluded == "switch")) == [*rest, "new F", "new M", "new M", "new L", "poem F"]
    assert env.exclude == (ae.domains.grid.small,) and env.include is None
    with pytest.raises(SpecError):
        env.include = ["grid.small"]  # which is excluded
    assert env.include is None and follow(env, 1) == ["poem M"]
    env.set_filters(["tabular"], None)
    while (timestep := next_timestep(env, env._outstanding)).source != "data":
        assert timestep.source == "poem"
    assert follow(env, 3) == ["data M"] * 3
    env.set_filters(["text"], None)  # data without episodes leaves at once
    assert follow(env, 2) == ["poem F", "poem M"]


def test_excluded_at_last_it_is_not_entered_again():
    env = ae.AEEnv(kinds(), ["grid"], next_env_fn=lambda step, current, available: -1)
    follow(env, 4)
    env.set_filters(["grid.large"], None)
    assert follow(env, 3) == ["new F", "new M", "new M"]


def test_filters_travel_with_copies_and_pickles():
    env = ae.AEEnv(kinds())
    rollout(env, 3)
    env.include = ["text"]
    assert list(copy.copy(env).specs) == ["poem"]
    assert list(pickle.loads(pickle.dumps(env)).specs) == ["poem"]
    env.close()
    assert list(env.specs) == ["poem"]


# States.


def through_torch(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_filters_are_in_the_state_where_they_are_strings():
    env = ae.AEEnv(kinds())
    rollout(env, 3)
    env.set_filters([ae.domains.grid, "text"], ["grid.small"])
    state = through_torch(env.state_dict())
    fresh = ae.AEEnv(kinds())
    fresh.load_state_dict(state)
    assert fresh.include == ("domains.grid", "text") and list(fresh.specs) == ["new", "poem"]
    assert streams_differ(rollout(env, 30, env._outstanding), rollout(fresh, 30, fresh._outstanding)) is None


class Stateless(CountingEnv):
    """Gives no state."""

    resumable = False

    def state_dict(self):
        raise SpecError("no state")


def mixed() -> ae.AEEnv:
    dataset = ae.DatasetEnv({"x": torch.arange(7.0)}, batch_size=2, name="data")
    stateless = {"none": Stateless(2, [3, 5], random=True), "neither": Stateless(1, [4], random=True)}
    return ae.AEEnv({**counters("a", random=True), **stateless, "data": dataset}, steps=(3, 6))


def test_each_visit_to_what_gives_no_state_has_seeds_of_its_own():
    first = [timestep for timestep in rollout(mixed(), 150) if timestep.source == "none"]
    draws = [timestep.observation["random"][0].item() for timestep in first if timestep.first().all()]
    assert len(draws) > 5 and len(set(draws)) == len(draws)
    assert [timestep.ticket.step for timestep in first] == list(range(len(first)))


def test_an_experience_is_resumed_whatever_its_members_give():
    env = mixed()
    timesteps = [env.reset()]
    states = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(80):
            states.append(through_torch(env.state_dict()))
            timesteps.append(next_timestep(env, timesteps[-1]))
    amid = 0
    for step in range(0, 60):
        fresh = mixed()
        fresh.load_state_dict(states[step])
        last = fresh._outstanding
        assert streams_differ([timesteps[step]], [last]) is None
        if timesteps[step].source in ("none", "neither") and not timesteps[step].last().all():
            amid += 1
            end = next_timestep(fresh, last)
            assert end.last().all() and end.truncated().all() and end.reward.sum() == 0
            assert end.source == last.source and end.ticket.step == last.ticket.step + 1
            after = next_timestep(fresh, end)
            assert after.first().any() or after.source == "data"
        else:
            rest = rollout(fresh, 20, last)
            assert streams_differ(timesteps[step + 1 : step + 21], rest) is None
    assert amid > 5 and sum("amid a visit to" in str(each.message) for each in warned) >= amid


def test_environments_may_come_and_go_between_a_state_and_its_use(catalogue):
    catalogue(entry("a"), entry("b"), entry("c"))
    env = ae.AEEnv(next_env_fn="in_turn")
    rollout(env, 6)
    state = env.state_dict()
    catalogue(entry("d"))
    del registry._ADDED["a"]
    fresh = ae.AEEnv(next_env_fn="in_turn")
    with pytest.warns(UserWarning, match=r"\['a'\] are in the state, but not here"):
        fresh.load_state_dict(state)
    assert [letters(timestep) for timestep in rollout(fresh, 7, fresh._outstanding)][::2] == [
        "b M",
        "c F",
        "c M",
        "d F",
    ]


def test_few_remain_open():
    env, other = (ae.AEEnv(counters(*"abcdef", random=True), steps=2, max_open=limit) for limit in (2, None))
    for ours, theirs in zip(rollout(env, 100), rollout(other, 100)):
        assert streams_differ([ours], [theirs]) is None
    assert sum(member._recipe is not None for member in env.environments) == 2


# In pipelines and loaders.


def kept_stream(loader: ae.Loader, num_steps: int) -> list[ae.TimeStep]:
    timesteps = []
    for _, timestep in zip(range(num_steps), loader):
        timesteps.append(kept(timestep))
        if loader.specs[timestep.source].action:
            timestep.reply(answer_to(loader, timestep))
    return timesteps


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_in_a_loader(num_workers):
    env = ae.AEEnv({**counters("a", lengths=(3, 5)), **counters("b", nested=True)}, steps=6).pipe(ae.ObserveReward)
    options = {"in_flight": 4, "steps_per_epoch": 90, "seed": 3}
    expected = kept_stream(ae.Loader(env, **options), 90)
    loader = ae.Loader(env, num_workers=num_workers, **options)
    found = kept_stream(loader, 40)
    state = through_torch(loader.state_dict())
    loader.close()
    assert streams_differ(expected[:40], found) is None
    resumed = ae.Loader(env, num_workers=num_workers, **options)
    resumed.load_state_dict(state)
    assert streams_differ(expected[40:], kept_stream(resumed, 50)) is None
    resumed.close()
    assert {timestep.source for timestep in expected} == {"a", "b"}


def test_trajectories_are_of_one_source_each():
    env = ae.AEEnv({**counters("a", lengths=(3, 5)), **counters("b", nested=True)}, steps=6)
    loader = ae.Loader(env, in_flight=2, steps_per_epoch=30, seed=1)
    last: dict = {}
    for trajectory in loader.drive(lambda timestep: answer_to(loader, timestep), num_steps=4):
        assert trajectory.timesteps.reward.shape[0] == 5
        place = trajectory.source, trajectory.slot
        key = "count" if trajectory.source == "b" else "observation"
        shown = trajectory.timesteps.observation[key]
        if place in last:
            assert torch.equal(shown[0], last[place])
        last[place] = shown[-1]
    assert {source for source, _ in last} == {"a", "b"} and len(last) == 4


def test_episodes_of_several_sources_are_no_tasks_of_one():
    with pytest.raises(SpecError, match="one source each"):
        ae.Multitasking([ae.AEEnv(counters("a", "b")), CountingEnv(1)])


def test_members_of_equal_names_are_told_apart():
    pairs = [ae.Interleave(counters("a", "b")), ae.Interleave(counters("c", "d"))]
    env = ae.AEEnv(pairs, next_env_fn="in_turn", steps=3)
    timesteps = rollout(env, 10)
    assert "".join(timestep.source for timestep in timesteps) == "abacdcbabd"
    assert env.visits == {"Interleave#1": 2, "Interleave#2": 2}
    fresh = ae.AEEnv([ae.Interleave(counters(*names)) for names in ("ab", "cd")], next_env_fn="in_turn", steps=3)
    fresh.load_state_dict(env.state_dict())
    assert streams_differ(rollout(env, 9, env._outstanding), rollout(fresh, 9, fresh._outstanding)) is None


def test_what_reaches_environments_is_watched_only_where_they_are_open():
    with pytest.raises(SpecError, match="open from the start for which='executed'"):
        ae.AEEnv(counters("a")).pipe(ae.ObserveActions, which="executed").reset()


def test_a_lost_worker_loses_no_data():
    env = ae.AEEnv({"data": ae.DatasetEnv({"x": torch.arange(9.0)}, batch_size=1), **counters("a")}, steps=2)
    env.place(seed=0, restarts=1)
    env.go_on_after({"data": 3})
    seen = [timestep.observation["x"].item() for timestep in rollout(env, 40) if timestep.source == "data"]
    assert seen[:4] == [4, 5, 6, 7]


# As the project's idea was written down.


def agent_by_union(env: ae.Env):
    generator = np.random.default_rng(0)
    return lambda timestep: sample_action(env.action_spec(), len(timestep.step_type), generator)


def agent_by_source(env: ae.Env):
    return lambda timestep: answer_to(env, timestep)


@pytest.mark.parametrize("agent_of", [agent_by_source, agent_by_union])
def test_the_loop(agent_of):
    env = ae.AEEnv(
        envs=[
            ae.DatasetEnv({"x": torch.rand(8, 4), "y": torch.arange(8)}),
            ae.DatasetEnv({"text": ["one", "two", "three"]}, epochs=4, batch_size=2, name="text"),
            gymnasium.make("CartPole-v1"),
            ae.GymnasiumEnv("Pendulum-v1", 2),
            gymnasium.make("FrozenLake-v1"),
        ],
        steps=7,
    )
    forward = agent_of(env)
    timestep = env.reset()
    visited = set()
    for _ in range(150):
        visited.add(timestep.source)
        action = forward(timestep)
        timestep = env.step(action)
    assert len(visited) == 5
    env.close()


def test_the_catalogue_is_chosen_by_tags(catalogue):
    catalogue(
        entry("copa", "text.commonsense", version=2),
        entry("mnist", "image.classification", version=3),
        entry("old-photos", "image.photo", version=1),
        entry("chess", "multiagent.board", version=6),
        entry("mario", "multiagent.atari", version=3),
        entry("wine", "tabular", version=2),
    )
    env = ae.AEEnv(
        include=[ae.domains.text_commonsense, "domains.image", "domains.multiagent"],
        exclude=[lambda x: isinstance(x, ae.Env) and x.version < 2, ae.domains.multiagent.atari],
    )
    assert list(env.specs) == ["copa", "mnist", "chess"]
    assert len(ae.AEEnv().specs) == 6
