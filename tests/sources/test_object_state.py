"""Restore at every step: a new and a used simulator go on bit for bit like the one that was never stopped."""

import io
import multiprocessing
import random
import re
import sys
import types
from collections import OrderedDict, deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
import pytest
import torch

from aexp_torch.errors import SpecError

pytest.importorskip("gymnasium")

import gymnasium
from gymnasium import wrappers
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import vector as vector_wrappers

from aexp_torch.sources.object_state import restore, snapshot, why_not_resumable

CLASSIC = ["Acrobot-v1", "CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1"]
TOY = ["Blackjack-v1", "CliffWalking-v1", "CliffWalkingSlippery-v1", "FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v4"]
MUJOCO = ["Ant", "HalfCheetah", "Hopper", "Humanoid", "HumanoidStandup", "InvertedDoublePendulum", "InvertedPendulum"]
MUJOCO += ["Pusher", "Reacher", "Swimmer", "Walker2d"]


class Phase(Enum):
    """Is something that an environment may keep."""

    DAY = 1
    NIGHT = 2


class Keeper(gymnasium.Env):
    """Keeps one value in an attribute."""

    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, value=None):
        self.value = value


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, tuple | list | deque):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    equal = np.array_equal(left, right, equal_nan=getattr(left, "dtype", None) == np.float64)
    return type(left) is type(right) and equal and getattr(left, "dtype", 0) == getattr(right, "dtype", 0)


def advance(env, action, done):
    """Makes one step (a reset after the end of an episode, unless lanes reset themselves) and says what came."""
    if done:
        return (env.reset()[0],), False
    *came, _ = env.step(action)
    return tuple(came), isinstance(env, gymnasium.Env) and (came[2] or came[3])


def check_every_step(make, num_steps=40, more=20, every=1):
    """Compares, from every step on, a new and a used environment with one that was never stopped."""
    env, used = make(), make()
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(num_steps + more)]
    env.reset(seed=3)
    used.reset(seed=4)
    used.step(actions[0])
    states, stream, done = [], [], False
    for number, action in enumerate(actions):
        if number < num_steps and number % every == 0:
            assert why_not_resumable(env) is None
            states.append((number, done, through_a_file(snapshot(env))))
        came, done = advance(env, action, done)
        stream.append(came)
    for number, done_then, state in states:
        for other in (make(), used):
            restore(other, state)
            done = done_then
            for step in range(number, min(number + more, len(actions))):
                came, done = advance(other, actions[step], done)
                assert same(came, stream[step]), f"restored at {number}, differs at {step}"
    assert any(len(came) == 1 for came in stream) or not isinstance(env, gymnasium.Env)


@pytest.mark.parametrize("name", CLASSIC + TOY)
def test_classic_control_and_toy_text(name):
    check_every_step(lambda: gymnasium.make(name, max_episode_steps=17), every=8 if name == "Taxi-v4" else 1)


def test_the_list_of_environments_is_complete():
    modules = ("gymnasium.envs.classic_control", "gymnasium.envs.toy_text")
    newest = {
        spec.name: spec.id
        for spec in sorted(gymnasium.registry.values(), key=lambda spec: spec.version or 0)
        if str(spec.entry_point).startswith(modules)
    }
    assert set(newest.values()) <= {*CLASSIC, *TOY}


def test_a_frozen_lake_with_a_map_of_its_own():
    check_every_step(lambda: gymnasium.make("FrozenLake-v1", desc=None, max_episode_steps=9))


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
def test_vector_environments(mode):
    options = {"num_envs": 3, "vectorization_mode": mode, "max_episode_steps": 15}
    check_every_step(lambda: gymnasium.make_vec("CartPole-v1", **options))


WRAPPERS = {
    "Autoreset": wrappers.Autoreset,
    "ClipReward": lambda env: wrappers.ClipReward(env, 0, 0.5),
    "DelayObservation": lambda env: wrappers.DelayObservation(env, 2),
    "FlattenObservation": wrappers.FlattenObservation,
    "FrameStackObservation": lambda env: wrappers.FrameStackObservation(env, 3),
    "FrameStackObservation-zero": lambda env: wrappers.FrameStackObservation(env, 3, padding_type="zero"),
    "MaxAndSkipObservation": lambda env: wrappers.MaxAndSkipObservation(env, 2),
    "NormalizeObservation": wrappers.NormalizeObservation,
    "NormalizeReward": wrappers.NormalizeReward,
    "RecordEpisodeStatistics": wrappers.RecordEpisodeStatistics,
    "RepeatAction": lambda env: wrappers.RepeatAction(env, 2),
    "RescaleObservation": lambda env: wrappers.TransformObservation(env, lambda seen: seen * 2, None),
    "StickyAction": lambda env: wrappers.StickyAction(env, 0.5, (1, 3)),
    "TimeAwareObservation": wrappers.TimeAwareObservation,
    "TimeAwareObservation-dict": lambda env: wrappers.TimeAwareObservation(env, flatten=False, normalize_time=True),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_wrappers(wrap):
    check_every_step(lambda: wrap(gymnasium.make("CartPole-v1", max_episode_steps=15)))


@pytest.mark.parametrize(
    "wrap",
    [
        vector_wrappers.NormalizeObservation,
        vector_wrappers.NormalizeReward,
        vector_wrappers.RecordEpisodeStatistics,
        vector_wrappers.FlattenObservation,
        lambda env: vector_wrappers.RescaleObservation(vector_wrappers.ClipReward(env, 0, 1), 0, 1),
    ],
)
def test_vector_wrappers(wrap):
    def make():
        low, high = np.full(4, -5, np.float32), np.full(4, 5, np.float32)
        env = gymnasium.make_vec(
            "CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point", max_episode_steps=15
        )
        env.single_observation_space = gymnasium.spaces.Box(low, high)
        env.observation_space = gymnasium.spaces.Box(np.tile(low, (2, 1)), np.tile(high, (2, 1)))
        return wrap(env)

    check_every_step(make, num_steps=25)


VALUES = {
    "numbers": [1, True, 1.5, 1 + 2j, None, "é", b"\0", 2**100, float("inf")],
    "scalars": (
        np.int64(1),
        np.float32(0.1),
        np.float64(0.1),
        np.bool_(True),
        np.str_("D"),
        np.str_(""),
        np.bytes_(b"x"),
        np.float16(2),
        np.uint8(3),
        np.datetime64("2020-01-01"),
    ),
    "arrays": [
        np.zeros((2, 0)),
        np.array(3.5),
        np.array([[b"S", b"F"]]),
        np.array(["ab", "c"]),
        np.eye(2) > 0,
        np.arange(4, dtype=">i2"),
        np.longdouble(1) / np.arange(1, 3, dtype=np.longdouble),
    ],
    "containers": {
        "a": deque([1, (2, [3])], maxlen=4),
        5: {1, 2},
        (1, 2): frozenset({3}),
        np.int64(3): OrderedDict(b=1, a=2),
    },
    "tagged": {"__kind__": "keep", "x": 1},
    "enum": [Phase.NIGHT],
    "tensor": torch.arange(3.0),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_come_back_with_their_types(value):
    env = Keeper()
    restore(env, through_a_file(snapshot(Keeper(value))))
    assert type(env.value) is type(value)
    assert repr(env.value) == repr(value)
    if isinstance(value, list | tuple):
        for left, right in zip(env.value, value, strict=True):
            assert same(left, right)


def test_memory_order_and_shared_memory_come_back():
    block = np.arange(6.0)
    shared = [1]
    value = {"fortran": np.asfortranarray(np.ones((2, 3))), "all": block, "even": block[::2], "x": shared, "y": shared}
    value["me"] = value
    env = Keeper()
    restore(env, through_a_file(snapshot(Keeper(value))))
    assert env.value["fortran"].flags.f_contiguous
    env.value["all"][:] = 7
    env.value["x"].append(2)
    assert env.value["even"].tolist() == [7, 7, 7]
    assert env.value["y"] == [1, 2]
    assert env.value["me"] is env.value
    assert block[0] == 0


@pytest.mark.parametrize("algorithm", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_generators_go_on_in_place(algorithm):
    first = np.random.Generator(getattr(np.random, algorithm)(1))
    first.random(3, dtype=np.float32)  # leaves half a word behind
    env = Keeper((first, random.Random(5), np.random.RandomState(6)))
    state = through_a_file(snapshot(env))
    expected = [first.random(dtype=np.float32), env.value[1].random(), env.value[2].normal()]
    other = Keeper((existing := np.random.Generator(getattr(np.random, algorithm)(9)), random.Random(), None))
    restore(other, state)
    assert other.value[0] is existing
    assert [other.value[0].random(dtype=np.float32), other.value[1].random(), other.value[2].normal()] == expected
    restore(nothing := Keeper(), state)
    assert nothing.value[0].random(dtype=np.float32) == expected[0]


def test_two_generators_stay_two_where_there_was_one():
    state = snapshot(Keeper([np.random.default_rng(1), np.random.default_rng(2)]))
    one = np.random.default_rng(3)
    restore(env := Keeper([one, one]), state)
    assert [generator.random() for generator in env.value] == [np.random.default_rng(seed).random() for seed in (1, 2)]


def test_attributes_that_appeared_later_go_and_constants_stay():
    env = Keeper(1)
    state = snapshot(env)
    env.later, env.value, env.function, env.viewer = 5, 2, len, object()
    restore(env, state)
    assert vars(env).keys() == {"value", "function", "viewer"}
    assert env.value == 1
    restore(env := Keeper([len, 4]), snapshot(Keeper([len, 3])))
    assert env.value == [len, 3]


def test_a_window_stays_and_a_clock_that_counts_is_state():
    env, other = Keeper(), Keeper()
    env.clock, env.window, env.viewer = 3, None, Simulator()
    other.clock, other.window, other.viewer = Simulator(), (window := Simulator()), None
    restore(other, snapshot(env))
    assert (other.clock, other.window, other.viewer) == (3, window, None)


def test_a_snapshot_is_not_changed_by_the_environment():
    env = Keeper(np.zeros(2))
    state = snapshot(env)
    env.value += 1
    restore(env, state)
    env.value += 1
    restore(env, state)
    assert env.value.tolist() == [0, 0]


class Simulator(io.BytesIO):
    """Keeps its state where no attribute shows it."""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Simulator(), r"Keeper\.value holds a .*Simulator, which has no form"),
        ([{"deep": (Simulator(),)}], r"Keeper\.value holds a .*Simulator"),
        (iter([1]), r"Keeper\.value holds a builtins\.list_iterator"),
        (deque([1]).append, r"Keeper\.value holds a builtins"),
        (np.array([None]), r"Keeper\.value holds an array of dtype object"),
        (types.SimpleNamespace(x=1), r"Keeper\.value holds a types\.SimpleNamespace"),
        ({len: 1}, r"Keeper\.value holds a builtins\.builtin_function"),
    ],
)
def test_unknown_state_is_refused_by_name(value, reason):
    env = wrappers.OrderEnforcing(Keeper(value))
    assert re.search(reason, why_not_resumable(env))
    with pytest.raises(SpecError, match="snapshot: .*" + reason):
        snapshot(env)


def test_a_wrapper_is_named_too():
    env = wrappers.OrderEnforcing(Keeper())
    env.socket = Simulator()
    assert "gymnasium.wrappers.common.OrderEnforcing.socket holds a" in why_not_resumable(env)


def test_the_pipes_of_worker_processes_are_refused():
    here, there = multiprocessing.Pipe()
    with here, there:
        assert "Keeper.value holds a multiprocessing.connection.Connection" in why_not_resumable(Keeper((here, there)))


def test_box2d_is_refused():
    pytest.importorskip("Box2D")
    env = gymnasium.make("LunarLander-v3")
    env.reset(seed=0)
    assert "LunarLander." in why_not_resumable(env)


class Slotted(Keeper):
    """Keeps something where `vars` does not show it."""

    __slots__ = ("__private", "empty", "hidden")

    def __init__(self, hidden=None, private=None):
        super().__init__()
        self.hidden, self.__private = hidden, private

    def private(self):
        return self.__private


def test_slots_are_state():
    restore(env := Slotted(), through_a_file(snapshot(Slotted([1, np.float32(2)], {3}))))
    assert env.hidden == [1, 2]
    assert env.private() == {3}
    assert not hasattr(env, "empty")


class Box:
    """Is a plain object of an environment's own package, which counts how often its code runs."""

    calls = 0

    def __init__(self, inside=None):
        self.inside = inside
        Box.calls += 1

    def open(self):
        return self.inside


@dataclass(frozen=True)
class Place:
    """Is a plain object that says what it is with slots and without setters."""

    __slots__ = ("x", "y")
    x: int
    y: float


class Pair(NamedTuple):
    """Is a tuple with names."""

    left: object
    right: object


def test_plain_objects_come_back_as_they_were_linked():
    box = Box([Place(1, 2.5), Pair(3, [4])])
    box.me = box
    state = through_a_file(snapshot(env := Keeper({"box": box, "same": box, "open": box.open, "first": box.inside})))
    box.inside.append(5)
    calls = Box.calls
    for other in (Keeper(), Keeper({"box": Box(1), "same": Box(2)}), env):
        restore(other, state)
        new = other.value["box"]
        assert type(new) is Box and new.me is new is other.value["same"] is other.value["open"].__self__
        assert new.inside == [Place(1, 2.5), Pair(3, [4])] and type(new.inside[1]) is Pair
        assert other.value["open"]() is new.inside is other.value["first"]
    assert Box.calls == calls + 2


def test_an_object_that_stands_in_the_place_of_another_is_left_alone():
    levels = [Box(1), Box(2)]
    state = snapshot(Keeper(levels[1]))
    restore(env := Keeper(levels[0]), state)
    assert (env.value.inside, levels[0].inside) == (2, 1)


def test_places_on_a_screen_are_state_and_pictures_are_not():
    pygame = pytest.importorskip("pygame")
    env = Keeper(
        [pygame.Rect(1, 2, 3, 4), pygame.FRect(0.5, 2, 3, 4), pygame.Vector2(0.1, 0.2), pygame.Surface((2, 2))]
    )
    surface = pygame.Surface((2, 2))
    restore(other := Keeper([None, None, None, surface]), through_a_file(snapshot(env)))
    assert other.value[:3] == env.value[:3] and other.value[0] is not env.value[0]
    assert [type(value) for value in other.value] == [type(value) for value in env.value]
    assert other.value[3] is surface
    assert "Keeper.value holds a pygame.sprite.Group" in why_not_resumable(Keeper(pygame.sprite.Group()))


def test_an_object_points_back_at_its_environment():
    env, other = Keeper(Box()), Keeper()
    env.value.env = env
    restore(other, through_a_file(snapshot(env)))
    assert other.value.env is other


def test_objects_of_other_packages_are_refused_unless_they_are_named():
    from aexp_torch.recipe import Recipe

    env = Keeper(Recipe())
    assert "Keeper.value holds a aexp_torch.recipe.Recipe, which has no form" in why_not_resumable(env)
    state = snapshot(env, ["aexp_torch"])
    restore(other := Keeper(), state, ["aexp_torch"])
    assert type(other.value) is Recipe
    with pytest.raises(
        SpecError, match=r"restore: expected a class written in Python of .*, got aexp_torch\.recipe:Rec"
    ):
        restore(Keeper(), state)


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:nothing", "numpy:ndarray", "nowhere:Class"])
def test_a_state_cannot_make_objects_of_any_class(name):
    state = snapshot(Keeper(Box()))
    state["env"]["attributes"]["value"]["class"] = name
    with pytest.raises(SpecError, match=f"restore: expected a class written in Python .*got {name}"):
        restore(Keeper(), state)


def test_other_layers_are_refused():
    state = snapshot(gymnasium.make("CartPole-v1"))
    with pytest.raises(SpecError, match=r"restore: expected the layers .*CartPoleEnv'\], got .*PendulumEnv'\]"):
        restore(gymnasium.make("Pendulum-v1"), state)
    with pytest.raises(SpecError, match="constants in the environment, one is missing"):
        restore(Keeper(), snapshot(Keeper([len])))


def test_environments_in_environments_are_restored_in_place():
    def make():
        return Keeper([gymnasium.make("CartPole-v1"), SyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")])])

    env, other = make(), make()
    for inner in env.value:
        inner.reset(seed=1)
    before = list(other.value)
    restore(other, through_a_file(snapshot(env)))
    assert all(now is then for now, then in zip(other.value, before, strict=True))
    assert same(other.value[0].step(1)[0], env.value[0].step(1)[0])
    assert same(other.value[1].step(np.zeros((1, 1)))[0], env.value[1].step(np.zeros((1, 1)))[0])


@pytest.fixture
def mujoco(monkeypatch):
    """Gives MuJoCo; imageio is needed by Gymnasium's renderer alone."""
    found = pytest.importorskip("mujoco")
    pytest.importorskip("glfw")
    if "imageio" not in sys.modules:
        try:
            import imageio  # noqa: F401
        except ImportError:
            monkeypatch.setitem(sys.modules, "imageio", types.ModuleType("imageio"))
    return found


@pytest.mark.parametrize("name", MUJOCO)
def test_mujoco(name, mujoco):
    check_every_step(lambda: gymnasium.make(f"{name}-v5", max_episode_steps=25), more=60, every=7)


def test_mujoco_models_that_were_changed(mujoco):
    def make():
        return gymnasium.make("Hopper-v5", max_episode_steps=25)

    env, other = make(), make()
    env.reset(seed=0)
    env.unwrapped.model.body_mass[1:] *= 1.5
    env.unwrapped.model.opt.gravity[2] = -5
    env.unwrapped.model.opt.timestep *= 0.5
    env.step(env.action_space.sample())
    restore(other, through_a_file(snapshot(env)))
    for _ in range(5):
        action = env.action_space.sample()
        assert same(env.step(action)[:4], other.step(action)[:4])


def test_views_of_a_simulator_are_refused(mujoco):
    env = gymnasium.make("Hopper-v5")
    env.unwrapped.mine = env.unwrapped.data.qpos
    assert "HopperEnv.mine holds an array that looks into the memory of a simulator" in why_not_resumable(env)


@pytest.fixture
def atari():
    """Gives ALE, with its games registered; it says what it is on stdout, which is nobody's concern."""
    found = pytest.importorskip("ale_py")
    found.ALEInterface.setLoggerMode(found.LoggerMode.Error)
    gymnasium.register_envs(found)
    return found


@pytest.mark.parametrize("game", ["Pong", "Breakout", "MontezumaRevenge"])
def test_atari(game, atari):
    options = {"repeat_action_probability": 0, "max_num_frames_per_episode": 90, "obs_type": "ram"}
    check_every_step(lambda: gymnasium.make(f"ALE/{game}-v5", **options), every=5, more=40)


def test_atari_frames_behind_a_wrapper(atari):
    options = {"repeat_action_probability": 0, "frameskip": (2, 5), "obs_type": "grayscale", "max_episode_steps": 18}
    check_every_step(lambda: wrappers.FrameStackObservation(gymnasium.make("ALE/Breakout-v5", **options), 4), every=7)


def test_what_the_state_of_an_atari_game_lacks_is_refused(atari):
    env = gymnasium.make("ALE/Pong-v5")
    assert "AtariEnv.ale holds an ALEInterface with sticky actions" in why_not_resumable(env)
    env.unwrapped.ale.setFloat("repeat_action_probability", 0.0)
    assert why_not_resumable(env) is None
    env.unwrapped.ale.setBool("color_averaging", True)
    assert "AtariEnv.ale holds an ALEInterface with color_averaging" in why_not_resumable(env)


class Nameless(type):
    """Makes classes that do not say where they come from, as SWIG's."""

    @property
    def __module__(cls):
        raise AttributeError("__module__")


def test_a_class_of_nowhere_is_refused_like_any_other():
    handle = Nameless("Handle", (), {"__slots__": ("place",)})()
    assert "Keeper.value holds a .Handle, which has no form" in why_not_resumable(Keeper(handle))
