"""dm_env and dm_control: specs and signals as they are, a seed for each lane, physics that goes on bit for bit."""

import sys

import dm_env
import gymnasium
import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import FakeDmEnv, check_env, check_restore, check_seeds
from aexp_torch.testing.check_timesteps import validate
from aexp_torch.testing.rollout import rollout

pytestmark = pytest.mark.timeout(120)


def answer(move=0.5, choice=2, num_envs=1):
    return {"0": torch.full((num_envs, 2), move), "1": {"choice": torch.full((num_envs,), choice, dtype=torch.int32)}}


def test_specs_pass_as_they_are():
    env = ae.DmEnv(FakeDmEnv, text_length=8)
    spec = env.specs["FakeDmEnv"]
    seen = spec.observation
    assert seen["position"].dtype == np.float64 and seen["parts"]["0"] == specs.DiscreteArray(5, np.int32, "parts/0")
    assert seen["position"].minimum.tolist() == [0, -np.inf] and seen["position"].maximum.tolist() == [9, np.inf]
    assert seen["parts"]["1"]["0"] == specs.Array((), np.float32, "parts/1/0")
    assert (seen["says"].shape, seen["says"].dtype) == ((8,), np.uint8)
    assert spec.modalities["observation"]["says"] == ae.Modality("sequence", "categorical", "text")
    assert spec.modalities["observation"]["seen"]["deep"] == ae.Modality("flat", "binary")
    assert spec.action["0"].minimum.tolist() == [-1, -np.inf] and spec.action["0"].maximum == 1
    assert (env.reward_spec().minimum, env.reward_spec().maximum, env.reward_spec().dtype) == (-3, 10, np.float32)
    assert env.discount_spec().maximum == 0.75


def test_timesteps_pass_as_they_are():
    env = ae.DmEnv(FakeDmEnv, final=0.25)
    timesteps = [env.reset(), *(env.step(answer()) for _ in range(4))]
    assert [t.observation["position"][0, 0].item() for t in timesteps] == [0, 1, 2, 3, 4]
    assert [t.observation["parts"]["0"].item() for t in timesteps] == [0, 1, 2, 3, 4]
    assert [t.reward.item() for t in timesteps] == [0, 0, 1.5, 2.5, 3.5]
    assert [t.discount.item() for t in timesteps] == [1, 0.75, 0.75, 0.75, 0.25]
    assert bytes(timesteps[2].observation["says"][0].tolist()).rstrip(b"\0").decode() == "éé"
    assert timesteps[-1].truncated().all()
    move, choice = env._lanes._simulators[0].env.received[0]
    assert move.dtype == np.float32 and move.tolist() == [0.5, 0.5] and choice == {"choice": 2}
    assert env.step(answer()).first().all()
    ended = ae.DmEnv(FakeDmEnv, length=1)
    ended.reset()
    assert ended.step(answer()).terminated().all()


@pytest.mark.parametrize("name", ["seed", "random", "random_state"])
def test_each_lane_has_a_seed_of_its_own(name):
    make = {
        "seed": lambda seed, length=4: make_with(seed, length),
        "random": lambda random, length=4: make_with(random, length),
        "random_state": lambda random_state, length=4: make_with(random_state, length),
    }[name]
    seeds = []

    def make_with(seed, length):
        seeds.append(seed)
        return FakeDmEnv(seed, length)

    env = ae.DmEnv(make, 3, length=5)
    env.reset()
    assert seeds == [int(env.seeds(lane).generate_state(1)[0]) for lane in range(3)]
    check_seeds(lambda: ae.DmEnv(FakeDmEnv, 2), random=True)


def test_a_function_without_a_seed_is_told_of():
    env = ae.DmEnv(lambda: FakeDmEnv(3), name="same")
    with pytest.warns(UserWarning, match="'same' takes none of seed, random, random_state"):
        env.reset()
    ae.DmEnv(lambda: FakeDmEnv(3), seed_argument=None).reset()
    ae.DmEnv(FakeDmEnv, seed=3, seed_argument="length", final=1.0).reset()
    given = ae.DmEnv(lambda **options: FakeDmEnv(options["number"]), seed_argument="number")
    given.reset()


def wrong(**methods):
    return type("Wrong", (FakeDmEnv,), {name: lambda self, value=value: value for name, value in methods.items()})


WRONG = {
    "two rewards": (wrong(reward_spec=specs.Array((2,), float)), "expected one number at 'reward' of 'Wrong'"),
    "objects": (wrong(observation_spec=specs.Array((), object)), "expected a dtype that torch has at 'observation'"),
    "no spec": (wrong(action_spec={"a": 3}), "expected a tree of dm_env.specs, got 3 at 'a'"),
    "strings": (wrong(observation_spec=specs.StringArray((2,))), "expected a single string at 'observation'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_has_no_tensor_is_refused(kind):
    make, message = WRONG[kind]
    with pytest.raises(ae.SpecError, match=message):
        ae.DmEnv(make).open()
        _ = ae.DmEnv(make).specs


SHAPE = {"position": np.zeros(3), "parts": (1, (0.0,)), "says": "", "seen": {"deep": [True] * 3}}
STEPS = {
    "first": ({"step_type": dm_env.StepType.FIRST}, "expected MID or LAST with a discount from step.., got FIRST"),
    "no discount": ({"discount": None}, "got no discount after a step"),
    "discount": ({"discount": 1.5}, r"expected a discount in \[0, 1\], got 1.5"),
    "keys": (
        {"observation": {"position": np.zeros(2)}},
        r"expected an observation with \['position', 'parts/0', .* got {'position'",
    ),
    "shape": (
        {"observation": SHAPE},
        r"expected shape \(2,\) at 'position' of 'FakeDmEnv', got \(3,\)",
    ),
}


@pytest.mark.parametrize("kind", STEPS)
def test_steps_that_break_the_rules_are_refused(kind):
    changes, message = STEPS[kind]
    env = ae.DmEnv(FakeDmEnv, **changes)
    env.reset()
    with pytest.raises(ae.SpecError, match=message):
        env.step(answer())


def test_texts_that_are_too_long_are_refused():
    env = ae.DmEnv(FakeDmEnv, text_length=3)
    env.reset()
    env.step(answer())
    with pytest.raises(ae.SpecError, match="expected at most 3 bytes of text at 'says' of 'FakeDmEnv', got 'éé'"):
        env.step(answer())


def test_live_environments_and_names_are_recognised():
    env = ae.to_source(FakeDmEnv(1))
    assert type(env) is ae.DmEnv and env.name == "FakeDmEnv"
    assert env.reset().first().all()
    with pytest.raises(ae.SpecError, match="live environment, which cannot be copied"):
        env.__getstate__()
    assert type(ae.to_source(ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1")))) is ae.DmEnv
    assert type(ae.to_source("dm_control/cartpole/swingup", num_envs=2)) is ae.DmEnv
    own = ae.GymnasiumEnv("CartPole-v1")
    assert ae.to_source(own) is own
    with pytest.raises(ae.SpecError, match="DmEnv: expected 'domain/task' of dm_control, a function or"):
        ae.DmEnv(own)


def test_every_promise():
    check_env(lambda: ae.DmEnv(FakeDmEnv, 2), random=True)


def test_whether_it_can_be_stored_is_known_before_it_is_reset():
    env = ae.DmEnv(lambda: ae.to_dm_env(ae.GymnasiumEnv("CartPole-v1")), name="pole", seed_argument=None)
    assert not env.resumable
    assert "Mailbox._lock holds a _thread.lock" in env._lanes.why_not_resumable()


# dm_control


@pytest.fixture(scope="module")
def suite():
    """Gives dm_control's suite, imported as the source does."""
    pytest.importorskip("dm_control")
    ae.DmEnv("cartpole/balance").open()
    return sys.modules["dm_control.suite"]


def test_what_it_shows_is_what_dm_control_shows(suite):
    env = ae.DmEnv("cartpole/swingup", 2, seed=3, time_limit=0.05)
    theirs = [
        suite.load("cartpole", "swingup", {"random": int(env.seeds(lane).generate_state(1)[0]), "time_limit": 0.05})
        for lane in range(2)
    ]
    shown = [their.reset() for their in theirs]
    timestep = env.reset()
    for step in range(6):
        for lane, their in enumerate(shown):
            assert timestep.step_type[lane] == their.step_type
            assert timestep.reward[lane] == np.float32(their.reward or 0)
            for key, value in their.observation.items():
                assert timestep.observation[key].dtype is torch.float64
                assert timestep.observation[key][lane].tolist() == value.tolist()
        action = np.array([[0.5 - lane] for lane in range(2)])
        timestep = env.step(torch.from_numpy(action))
        shown = [their.step(row) for their, row in zip(theirs, action)]
        assert timestep.last().all() == (step == 4)
        assert (timestep.discount == 1).all()  # time was up: a truncation


def test_actuators_without_a_limit_have_no_bounds(suite):
    assert type(ae.DmEnv("lqr/lqr_2_1").action_spec()["action"]) is specs.Array
    assert isinstance(ae.DmEnv("walker/run").action_spec()["action"], specs.BoundedArray)


def test_unknown_tasks_are_named(suite):
    with pytest.raises(ae.SpecError, match="got 'cartpole/swing'. Known: cartpole/balance, "):
        ae.DmEnv("cartpole/swing").reset()
    with pytest.raises(ae.SpecError, match="got 'table/set'. Known: "):
        ae.DmEnv("table/set").reset()


def test_without_dm_control_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control", None)
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    with pytest.raises(ae.MissingDependencyError, match=r'pip install "aexp-torch\[dm_control\]"'):
        ae.DmEnv("cartpole/swingup").reset()


# A swing, gains that are drawn for each episode, contacts.
TASKS = ["cartpole/swingup", "point_mass/hard", "hopper/hop"]


@pytest.mark.parametrize("name", TASKS)
def test_physics_goes_on_from_any_step(suite, name):
    check_restore(lambda: ae.DmEnv(name, time_limit=0.06), 5)


def test_a_lane_goes_back_to_a_place_in_the_air(suite):
    env = ae.DmEnv("hopper/hop", 2, seed=1)
    generator = np.random.default_rng(0)
    actions = [sample_action(env.action_spec(), 2, generator) for _ in range(30)]
    env.reset()
    for action in actions[:10]:
        env.step(action)
    place = env.snapshot(1)
    first = [env.step(action) for action in actions[10:20]]
    env.restore(place, 1)
    timestep = env.reset(torch.tensor([False, True]))
    assert timestep.first().tolist() == [False, True]
    again = [env.step(action) for action in actions[10:20]]
    for one, other in zip(first, again):
        assert one.reward[1] == other.reward[1]
        for key, value in one.observation.items():
            assert value[1].equal(other.observation[key][1])


def test_composer_is_refused_by_name(suite):
    env = ae.DmEnv("manipulation/reach_site_features", seed=2)
    timestep = env.reset()
    assert timestep.first().all() and not env.resumable
    assert env.step(sample_action(env.action_spec(), 1, np.random.default_rng(0))).mid().all()
    with pytest.raises(ae.SpecError, match=r"snapshot: dm_control\..* holds an MJCF model"):
        env.state_dict()


@pytest.fixture
def egl(suite):
    """Says whether anything can be drawn here."""
    try:
        suite.load("cartpole", "balance").physics.render(8, 8)
    except Exception as error:
        pytest.skip(f"dm_control cannot draw here: {error!r}")


def test_pixels(egl):
    env = ae.DmEnv("cartpole/swingup", 2, pixels={"height": 24, "width": 32, "camera_id": 0}, time_limit=0.03)
    spec = env.specs["cartpole/swingup"]
    assert spec.observation["pixels"] == specs.BoundedArray((24, 32, 3), np.uint8, 0, 255, "pixels")
    timesteps = [env.reset(), *(env.step(torch.ones(2, 1, dtype=torch.float64)) for _ in range(2))]
    state = env.state_dict()
    timesteps.append(env.step(torch.ones(2, 1, dtype=torch.float64)))
    for timestep in timesteps:
        validate(timestep, spec, env)
    assert timesteps[-1].last().all()
    assert not timesteps[0].observation["pixels"].equal(timesteps[3].observation["pixels"])
    env.load_state_dict(state)
    assert (
        env.step(torch.ones(2, 1, dtype=torch.float64)).observation["pixels"].equal(timesteps[3].observation["pixels"])
    )


def drawn(make, **options):
    """Returns the pictures that come from a loader."""
    loader, pictures = ae.Loader(make, in_flight=1, steps_per_epoch=4, **options), []
    try:
        for timestep in loader:
            pictures.append(next(value.clone() for value in timestep.observation.values() if value.dim() == 4))
            timestep.reply(sample_action(loader.specs[timestep.source].action, 1, np.random.default_rng(0)))
    finally:
        loader.close()
    return pictures


@pytest.mark.slow
def test_workers_draw_or_say_why_not(egl):
    from dm_control.locomotion.examples.basic_rodent_2020 import rodent_escape_bowl

    env = ae.DmEnv("cartpole/swingup", pixels={"height": 8, "width": 8, "camera_id": 0}, time_limit=0.02)
    here, there = drawn(env), drawn(env, num_workers=1, context="spawn")
    assert all(one.equal(other) for one, other in zip(here, there, strict=True))
    for draws in (env, ae.DmEnv(rodent_escape_bowl)):  # by request, and on its own
        with pytest.raises(ae.SpecError, match="not forked where dm_control draws, .* context='spawn'"):
            drawn(draws, num_workers=1, context="fork")


def test_pixels_of_what_cannot_be_drawn_are_refused():
    with pytest.raises(ae.SpecError, match="expected an environment with a physics that draws for pixels="):
        ae.DmEnv(FakeDmEnv, pixels={"height": 8, "width": 8}).open()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_ground_of_its_own_comes_back_with_its_picture(egl):
    options = {"pixels": {"height": 24, "width": 24, "camera_id": 0}, "time_limit": 0.2}
    check_restore(lambda: ae.DmEnv("quadruped/escape", **options), 3)


@pytest.mark.slow
def test_every_promise_of_dm_control(suite):
    check_env(lambda: ae.DmEnv("cartpole/swingup", 2, time_limit=0.06), random=True, spawn=True)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_task_of_the_suite(suite):
    generator = np.random.default_rng(0)
    assert len(suite.ALL_TASKS) > 40
    for domain, task in suite.ALL_TASKS:
        env = ae.DmEnv(f"{domain}/{task}", 1)
        timesteps = rollout(env, 1)
        spec = env.specs[env.name]
        actions = [sample_action(spec.action, 1, generator) for _ in range(3)]
        state = env.state_dict()
        for action in actions:
            timesteps.append(env.step(action))
            validate(timesteps[-1], spec, env)
        other = ae.DmEnv(f"{domain}/{task}", 1, seed=9)
        other.load_state_dict(state)
        for action, expected in zip(actions, timesteps[1:]):
            came = other.step(action)
            assert came.reward.equal(expected.reward), env.name
            for key, value in expected.observation.items():
                assert came.observation[key].equal(value), (env.name, key)
        env.close()
        other.close()


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_locomotion_and_manipulation(suite):
    from dm_control import manipulation
    from dm_control.locomotion.examples import basic_cmu_2019, basic_rodent_2020

    tasks = [f"manipulation/{name}" for name in manipulation.ALL if name.endswith("features")][:4]
    for given in (*tasks, basic_cmu_2019.cmu_humanoid_run_walls, basic_rodent_2020.rodent_escape_bowl):
        env = ae.DmEnv(given)
        spec = env.specs[env.name]
        for timestep in rollout(env, 3):
            validate(timestep, spec, env)
        env.close()


def test_gymnasium_environments_stay_theirs():
    assert type(ae.to_source(gymnasium.make("CartPole-v1"))) is ae.GymnasiumEnv
