"""Env: a recipe until it is opened, an environment to step and a stream to iterate; Stage; seeds."""

import copy
import multiprocessing
import os
import pickle
import zlib

import gymnasium
import numpy as np
import pytest
import torch
from dm_env import specs
from torch.utils.data import DataLoader, IterableDataset

import aexp_torch as ae
from aexp_torch.errors import EndOfStream, FeedbackError, SpecError
from aexp_torch.testing import CountingEnv

pytestmark = pytest.mark.timeout(60)
ONES = torch.ones(2, dtype=torch.int64)


class Opened(CountingEnv):
    """Tells in which processes it was opened."""

    opened: list[int] = []

    def on_open(self):
        super().on_open()
        self.opened.append(os.getpid())


@pytest.fixture(autouse=True)
def _nothing_opened_yet():
    Opened.opened.clear()


# Recipes


def test_building_copying_and_pickling_start_nothing():
    env = Opened().pipe(ae.ObserveReward)
    both = ae.Interleave([env, copy.deepcopy(env)])
    loader = ae.Loader(both, steps_per_epoch=3)
    pickle.loads(pickle.dumps(both))
    iter(env)
    iter(loader)
    assert isinstance(env, IterableDataset) and Opened.opened == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda env: env.specs,
        lambda env: env.observation_spec(),
        lambda env: env.reset(),
        lambda env: env.step(ONES),
        lambda env: next(iter(env)),
        lambda env: env.state_dict(),
    ],
)
def test_it_opens_once_when_it_is_first_asked(ask):
    env = Opened().pipe(ae.ObserveReward)
    ask(env)
    ask(env)
    assert len(Opened.opened) == 1
    copied = pickle.loads(pickle.dumps(env))
    assert len(Opened.opened) == 1
    copied.reset()
    assert len(Opened.opened) == 2


def test_what_on_open_fails_at_leaves_a_recipe():
    class Fails(CountingEnv):
        def on_open(self):
            super().on_open()
            raise RuntimeError("no simulator here")

    env = Fails()
    before = dict(vars(env))
    with pytest.raises(RuntimeError, match="no simulator here"):
        env.reset()
    assert vars(env) == before
    env.close()


def test_a_copy_of_a_pipeline_shares_no_part():
    env = ae.Interleave([CountingEnv(), CountingEnv()]).pipe(ae.ObserveReward)
    env.reset()
    other = copy.copy(env)
    for one, two in zip(parts(env), parts(other), strict=True):
        assert one is not two
    assert other.reset().ticket.step == 0
    env.step(ONES)


def parts(env):
    yield env
    for child in env.children:
        yield from parts(child)


def test_a_fork_finds_a_recipe_and_leaves_the_parents_alone():
    env = Opened(name="counter").pipe(ae.ObserveReward)
    env.reset()
    timestep = env.step(ONES)
    reader, writer = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=in_the_child, args=(env, timestep, writer))
    child.start()
    assert reader.poll(20)
    step, refused, opened_here = reader.recv()
    child.join(10)
    assert child.exitcode == 0
    assert step == 0 and "it was closed before the answer to step 1 came" in refused and opened_here
    timestep.reply(ONES)
    assert next(iter(env)).ticket.step == 2
    assert Opened.opened == [os.getpid()]


def in_the_child(env, timestep, writer):
    try:
        timestep.reply(ONES)
        refused = ""
    except FeedbackError as error:
        refused = str(error)
    step = env.reset().ticket.step
    writer.send((step, refused, Opened.opened[-1] == os.getpid()))


def test_close_takes_running_state_away_and_keeps_options():
    env = CountingEnv(name="counter", seed=4)
    env.place(seed=4, slot=1, num_slots=2, seed_prefix="val/")
    before = dict(vars(env))
    env.reset()
    env.close()
    assert vars(env) == before
    assert env.reset().ticket.slot == 1


def test_a_name_makes_it_a_recipe_again():
    env = CountingEnv(name="one")
    timestep = env.reset()
    env.name = "two"
    assert list(env.specs) == ["two"]
    assert env.reset().source == "two"
    with pytest.raises(FeedbackError, match="closed"):
        timestep.reply(ONES)


# Stepping and iterating are the same


def test_step_on_a_fresh_env_resets():
    timestep = CountingEnv().step(None)
    assert timestep.first().all() and timestep.ticket.step == 0


def test_iter_never_resets_an_open_env():
    env = CountingEnv(lengths=[99, 99])
    first = env.reset()
    for _ in range(3):
        again = next(iter(env))
        assert again.ticket is first.ticket
    again.reply(ONES)
    stream = iter(env)
    second = next(stream)
    assert second.ticket.step == 1 and second.mid().all()
    third = env.step(ONES * 2)
    assert third.reward.tolist() == [2, 2]
    assert next(iter(env)).ticket.step == 2
    assert env.received[0] is None and len(env.received) == 3


def test_two_iterators_share_the_stream():
    env = CountingEnv(lengths=[99, 99])
    one, two = iter(env), iter(env)
    next(one).reply(ONES)
    timestep = next(two)
    assert timestep.ticket.step == 1
    timestep.reply(ONES)
    assert next(one).ticket.step == 2


def test_without_answers_due_iter_goes_on():
    env = CountingEnv(num_actions=0)
    assert [timestep.ticket.step for _, timestep in zip(range(3), env)] == [0, 1, 2]
    assert next(iter(env)).ticket.step == 3


def test_step_accepts_what_was_replied_and_nothing_else():
    env = CountingEnv()
    env.reset().reply(ONES)
    assert env.step(ONES).ticket.step == 1
    env._outstanding.reply(ONES)
    with pytest.raises(FeedbackError, match="other values"):
        env.step(ONES * 2)
    assert env.step({"action": ONES}).ticket.step == 2


def test_reset_drops_the_outstanding_and_its_answer():
    env = CountingEnv()
    timestep = env.reset()
    timestep.reply(ONES * 4)
    assert env.reset().first().all()
    with pytest.raises(FeedbackError, match="which the stream has left behind"):
        timestep.reply(ONES * 4)
    assert env.step(ONES).reward.tolist() == [1, 1]
    assert [None if action is None else action.tolist() for action in env.received] == [None, None, [1, 1]]


def test_the_end_of_a_finite_stream():
    env = CountingEnv(stream_length=3)
    timestep = env.reset()
    for _ in range(2):
        timestep = env.step(ONES)
    with pytest.raises(EndOfStream):
        env.step(ONES)
    assert env.step(ONES).first().all()
    with pytest.raises(FeedbackError):
        timestep.reply(ONES)
    env.close()
    for _ in range(2):
        steps = 0
        for timestep in env:
            timestep.reply(ONES)
            steps += 1
        assert steps == 3


def test_the_end_of_a_finite_stream_through_stages_and_compositions():
    env = CountingEnv(stream_length=3).pipe(ae.ObserveReward).pipe(ae.Noisy, side="action")
    for _ in range(2):
        steps = []
        for timestep in env:
            steps.append(timestep.first().all().item())
            timestep.reply(ONES)
        assert steps == [True, False, False]


@pytest.mark.parametrize("answered", [True, False])
def test_a_loop_ends_where_the_environment_is_closed_in_it(answered):
    env, steps = Opened(), []
    for timestep in env:
        steps.append(timestep.ticket.step)
        if answered or timestep.ticket.step < 2:
            timestep.reply(ONES)
        if timestep.ticket.step == 2:
            env.close()
    assert steps == [0, 1, 2] and len(Opened.opened) == 1


def test_a_loop_goes_on_from_a_state_that_is_loaded_in_it():
    env = CountingEnv(lengths=[99, 99])
    stream = iter(env)
    next(stream).reply(ONES)
    state = env.state_dict()
    for _ in range(2):
        next(stream).reply(ONES * 2)
    env.load_state_dict(state)
    timestep = next(stream)
    assert timestep.ticket.step == 1 and timestep.reward.tolist() == [1, 1]


# Lanes


def test_lanes_are_checked():
    env = CountingEnv(2, name="counter")
    env.reset()
    for lanes in (torch.tensor([1, 0]), torch.tensor([True]), np.array([True, False]), [True, False]):
        with pytest.raises(SpecError, match=r"counter: expected lanes as a bool tensor \[2\], got "):
            env.reset(lanes)
    single = ae.GymnasiumEnv("CartPole-v1", 2, "vector_entry_point")
    timestep = single.reset()
    with pytest.raises(SpecError, match=r"expected lane control for lanes=.*vectorization='sync'"):
        single.step(ONES, torch.tensor([True, False]))
    single.step(ONES, torch.tensor([True, True]))
    assert single.step(ONES).ticket.step == timestep.ticket.step + 2


def test_holding_every_lane_asks_anew():
    env = CountingEnv(2)
    first = env.reset()
    held = env.step(ONES, torch.tensor([False, False]))
    assert held.ticket.step == 1 and held.first().all()
    with pytest.raises(FeedbackError):
        first.reply(ONES)
    held.reply(ONES)
    assert next(iter(env)).observation["observation"].tolist() == [1, 1]


# Stages


def test_pipe_takes_a_stage_or_a_function():
    env = CountingEnv().pipe(ae.ObserveReward, key="earned")
    assert isinstance(env, ae.ObserveReward) and "earned" in env.observation_spec()

    def scaled(timestep, by):
        return timestep._replace(observation={"observation": timestep.observation["observation"] * by})

    env = CountingEnv().pipe(scaled, by=10)
    env.reset()
    timestep = env.step(ONES)
    assert timestep.observation["observation"].tolist() == [10, 10]
    timestep.reply(ONES * 3)
    assert next(iter(env)).reward.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ae.Noisy("CartPole-v1"), r"Noisy: expected an Env as its first argument, got str 'CartPole-v1'"),
        (lambda: CountingEnv().pipe(3), "expected a Stage class or a function of a TimeStep, got 3"),
        (lambda: CountingEnv().pipe(lambda timestep: None).specs, "to return a TimeStep, got NoneType"),
    ],
)
def test_what_is_no_stage_is_refused(make, match):
    with pytest.raises(SpecError, match=match):
        make()


class Recorder(ae.Stage):
    """Keeps which step each answer was said to be for, and shows negative values."""

    def on_open(self):
        self.pairs = []

    def on_timestep(self, timestep):
        return timestep._replace(observation={"observation": -timestep.observation["observation"]})

    def on_action(self, action, timestep):
        self.pairs.append(
            (timestep.ticket.step, timestep.observation["observation"].tolist(), action["action"].tolist())
        )
        return {"action": 4 - action["action"]}


def test_on_action_gets_the_timestep_that_is_answered_as_the_stage_showed_it():
    env = CountingEnv().pipe(Recorder)
    env.reset()
    env.step(torch.tensor([1, 2]))
    timestep = env.step(torch.tensor([3, 4]))
    assert env.pairs == [(0, [0, 0], [1, 2]), (1, [-1, -1], [3, 4])]
    assert timestep.reward.tolist() == [1, 0]
    assert [action.tolist() for action in env.env.received[1:]] == [[3, 2], [1, 0]]


def test_answers_pass_the_stages_from_the_last_to_the_first():
    env = CountingEnv()
    env = env.pipe(ae.Lambda, action=lambda action: {"action": (action["action"] * 2) % 5})
    env = env.pipe(ae.Lambda, action=lambda action: {"action": (action["action"] + 1) % 5})
    env.reset()
    assert env.step(torch.tensor([1, 3])).reward.tolist() == [4, 3]


def test_a_loader_may_answer_wherever_the_pipeline_was_built():
    env = CountingEnv().pipe(Recorder)
    for _, timestep in zip(range(3), DataLoader(env, batch_size=None)):
        timestep.reply(torch.tensor([1, 2]))
    assert [pair[0] for pair in env.pairs] == [0, 1]  # the third is taken when the next is asked for


def test_options_of_the_environment_below_hold_for_its_stages():
    env = CountingEnv(name="counter", seed=3, on_missing="repeat", feedback_timeout=5).pipe(ae.Stage)
    assert (env.name, env.seed, env.on_missing, env.feedback_timeout) == ("counter", 3, "repeat", 5)
    assert env.lane_control and env.resumable and env.episodic and env.max_episode_steps == 4


# Specs


def test_specs_of_a_composition_share_equal_keys_and_name_unequal_ones():
    env = ae.Interleave({"a": CountingEnv(2), "b": CountingEnv(3), "c": CountingEnv(2, num_actions=3)})
    assert list(env.specs) == ["a", "b", "c"]
    assert [spec.num_envs for spec in env.specs.values()] == [2, 3, 2]
    assert list(env.observation_spec()) == ["observation"]
    assert list(env.action_spec()) == ["action@a", "action@b", "action@c"]
    assert env.action_spec()["action@c"] == specs.DiscreteArray(3, np.int64)
    assert env.reward_spec().dtype == np.float32
    assert (env.discount_spec().minimum, env.discount_spec().maximum) == (0, 1)


# Seeds


@pytest.mark.parametrize(("slot", "prefix"), [(0, ""), (3, ""), (1, "val/")])
def test_lanes_are_seeded_as_the_contract_says(slot, prefix):
    env = ae.GymnasiumEnv("CartPole-v1", 3, "sync", name="cart", seed=11)
    env.place(seed=11, slot=slot, num_slots=4, seed_prefix=prefix)
    timestep = env.reset()
    for lane in range(3):
        key = (zlib.crc32((prefix + "cart").encode()), slot, lane)
        seed = int(np.random.SeedSequence(11, spawn_key=key).generate_state(1)[0])
        bare = gymnasium.make("CartPole-v1")
        expected, _ = bare.reset(seed=seed)
        assert timestep.observation["observation"][lane].tolist() == expected.tolist()
        assert env.seeds(lane).spawn_key == key
        bare.close()


def test_one_seed_for_a_batch_is_that_of_lane_0():
    env = ae.GymnasiumEnv("CartPole-v1", 3, "vector_entry_point", seed=5)
    seed = int(np.random.SeedSequence(5, spawn_key=(zlib.crc32(b"CartPole-v1"), 0, 0)).generate_state(1)[0])
    bare = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")
    expected, _ = bare.reset(seed=seed)
    assert env.reset().observation["observation"].tolist() == expected.tolist()
    bare.close()


def test_only_the_first_reset_seeds():
    env = ae.GymnasiumEnv("CartPole-v1")
    assert env.reset().observation["observation"].tolist() != env.reset().observation["observation"].tolist()


# State


@pytest.mark.parametrize(
    ("make", "other", "match"),
    [
        (lambda: CountingEnv(name="a"), lambda: CountingEnv(name="b"), r"expected the state of .*'b'.*got .*'a'"),
        (lambda: CountingEnv(), lambda: CountingEnv().pipe(ae.Stage), "Build the same pipeline"),
        (lambda: ae.Interleave([CountingEnv()]), lambda: ae.Interleave([CountingEnv(), CountingEnv()]), "children"),
    ],
)
def test_a_state_of_another_pipeline_is_refused(make, other, match):
    state = make().state_dict()
    with pytest.raises(SpecError, match=match):
        other().load_state_dict(state)


def test_a_state_keeps_what_on_missing_would_repeat_and_sample():
    env = CountingEnv(on_missing="sample", lengths=[99, 99])
    list(zip(range(3), env))
    state = env.state_dict()
    expected = [timestep.reward.tolist() for _, timestep in zip(range(5), env)]
    other = CountingEnv(on_missing="sample", lengths=[99, 99])
    other.load_state_dict(state)
    assert [timestep.reward.tolist() for _, timestep in zip(range(5), other)] == expected


class Holds(ae.Stage):
    """Keeps what it is told about held lanes."""

    def on_open(self):
        self.seen = []

    def on_timestep(self, timestep):
        self.seen.append(None if self.held is None else self.held.tolist())
        return timestep

    on_action = lambda self, action, timestep: self.on_timestep(action)  # noqa: E731


def test_both_hooks_of_a_stage_know_which_lanes_are_held():
    env = CountingEnv(2).pipe(Holds)
    env.reset()
    env.step(torch.tensor([0, 0]), torch.tensor([True, False]))
    env.reset(torch.tensor([False, True]))
    env.step(torch.tensor([0, 0]))
    assert env.seen == [None, [False, True], [False, True], [True, False], None, None]
