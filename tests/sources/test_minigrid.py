"""MiniGrid and BabyAI: missions as text, symbols within bounds, and episodes that go on anywhere bit for bit."""

import sys

import gymnasium
import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import check_lane_control, check_restore, check_seeds
from aexp_torch.testing.check_timesteps import validate
from aexp_torch.testing.rollout import rollout

minigrid = pytest.importorskip("minigrid")

from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper, RGBImgPartialObsWrapper  # noqa: E402

LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, DONE = range(7)


def sentence(timestep, lane=0):
    return bytes(timestep.observation["text:instruction"][lane].tolist()).rstrip(b"\0").decode()


def act(*actions):
    return torch.tensor(actions)


def test_what_it_shows_is_what_minigrid_shows():
    env = ae.MiniGridEnv("MiniGrid-Fetch-5x5-N2-v0", 3, seed=4)
    timestep = env.reset()
    theirs = [gymnasium.make("MiniGrid-Fetch-5x5-N2-v0") for _ in range(3)]
    for lane, their in enumerate(theirs):
        their.reset(seed=int(env.seeds(lane).generate_state(1)[0]))
    for step in range(4):
        for lane, their in enumerate(theirs):
            expected = their.unwrapped.gen_obs()
            assert sentence(timestep, lane) == expected["mission"]
            assert timestep.observation["image"][lane].tolist() == expected["image"].tolist()
            assert timestep.observation["direction"][lane] == expected["direction"]
        actions = [(LEFT, RIGHT, FORWARD)[(step + lane) % 3] for lane in range(3)]
        timestep = env.step(act(*actions))
        for their, action in zip(theirs, actions):
            their.step(action)
    assert len({sentence(timestep, lane) for lane in range(3)}) > 1


def test_the_goal_ends_an_episode_and_the_limit_cuts_it_off():
    env = ae.MiniGridEnv("MiniGrid-Empty-5x5-v0")
    timestep = env.reset()
    for action in (FORWARD, FORWARD, RIGHT, FORWARD):
        timestep = env.step(act(action))
        assert timestep.mid().all() and timestep.reward == 0
    before = timestep.observation["image"]
    timestep = env.step(act(FORWARD))
    assert timestep.terminated().all() and timestep.discount == 0
    assert timestep.reward == pytest.approx(1 - 0.9 * 5 / 100)
    assert not timestep.observation["image"].equal(before)  # the final observation, not the next episode's first
    assert env.step(act(FORWARD)).first().all()

    env = ae.MiniGridEnv("MiniGrid-Empty-5x5-v0", max_steps=3)
    assert env.max_episode_steps == 3
    timesteps = [env.reset(), *(env.step(act(DONE)) for _ in range(3))]
    assert timesteps[-1].truncated().all() and timesteps[-1].discount == 1


def test_specs_know_symbols_and_text():
    spec = ae.MiniGridEnv("BabyAI-GoToObj-v0", 2).specs["BabyAI-GoToObj-v0"]
    assert spec.observation["image"].maximum[0, 0].tolist() == [10, 5, 3]
    assert spec.modalities["observation"]["image"] == ae.Modality("grid", "categorical", "computer")
    assert spec.modalities["observation"]["direction"] == ae.Modality("flat", "categorical")
    assert spec.modalities["observation"]["text:instruction"] == ae.Modality("sequence", "categorical", "text:en")
    assert spec.action["action"].num_values == 7


def test_texts_are_as_long_as_the_longest_mission():
    env = ae.MiniGridEnv("MiniGrid-Fetch-5x5-N2-v0")
    length = env.specs[env.name].observation["text:instruction"].shape[0]
    assert length == len("you must fetch a yellow ball") == len("you must fetch a purple ball")
    env = ae.MiniGridEnv("BabyAI-BossLevel-v0")
    assert env.specs[env.name].observation["text:instruction"].shape == (321,)
    with pytest.raises(ae.SpecError, match="expected text of at most 5 bytes at 'text:instruction', got 'go to"):
        ae.MiniGridEnv("BabyAI-GoToObj-v0", max_instruction=5).reset()


def test_the_longest_sentence_of_babyai():
    from minigrid.envs.babyai.core.verifier import AfterInstr, AndInstr, ObjDesc, PutNextInstr

    from aexp_torch.sources.minigrid_mission import LONGEST_SENTENCE

    env = gymnasium.make("BabyAI-BossLevel-v0")
    env.reset(seed=0)

    class Thing(ObjDesc):
        def find_matching_objs(self, env, use_location=True):
            self.obj_set, self.obj_poss = [1], [(0, 0)]

    put = PutNextInstr(Thing("ball", "yellow", "front"), Thing("door", "purple", "front"))
    both = AndInstr(put, put)
    assert len(AfterInstr(both, both).surface(env)) == LONGEST_SENTENCE


WRAPPED = {
    "whole grid": (FullyObsWrapper, "image", (5, 5, 3), ("categorical", "computer")),
    "pixels": (RGBImgPartialObsWrapper, "image", (56, 56, 3), ("integer", "natural")),
    "image alone": (
        lambda env: ImgObsWrapper(FullyObsWrapper(env)),
        "observation",
        (5, 5, 3),
        ("categorical", "computer"),
    ),
}


@pytest.mark.parametrize("row", WRAPPED)
def test_wrappers_of_minigrid(row):
    wrap, key, shape, kind = WRAPPED[row]
    env = ae.MiniGridEnv(lambda: wrap(gymnasium.make("MiniGrid-Empty-5x5-v0")), 2, name="wrapped")
    spec = env.specs["wrapped"]
    modality = spec.modalities["observation"][key]
    assert (spec.observation[key].shape, (modality.representation, modality.context)) == (shape, kind)
    for timestep in rollout(env, 5):
        validate(timestep, spec, env)


def test_a_live_environment_and_ids_are_recognised():
    env = ae.to_source(gymnasium.make("BabyAI-GoToObj-v0"))
    assert type(env) is ae.MiniGridEnv and env.name == "BabyAI-GoToObj-v0"
    assert sentence(env.reset()).startswith("go to")
    assert type(ae.to_source("MiniGrid-Empty-5x5-v0", num_envs=2)) is ae.MiniGridEnv


def test_an_unknown_id_is_named_when_it_is_opened():
    env = ae.MiniGridEnv("MiniGrid-Nothing-v0")
    with pytest.raises(ae.SpecError, match="MiniGridEnv: expected the id .* got 'MiniGrid-Nothing-v0'"):
        env.reset()


def test_without_minigrid_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minigrid", None)
    env = ae.MiniGridEnv("MiniGrid-Empty-5x5-v0")
    with pytest.raises(ae.MissingDependencyError, match=r'pip install "aexp-torch\[minigrid\]"'):
        env.reset()


def test_babyai_does_not_talk(capfd):
    env = ae.MiniGridEnv("BabyAI-BossLevel-v0", 8, max_steps=1)
    rollout(env, 12)
    assert capfd.readouterr().out == ""


def test_what_is_carried_comes_back():
    env = ae.MiniGridEnv("MiniGrid-DoorKey-5x5-v0", seed=1)
    env.reset()
    world = env._lanes._simulators[0].env.unwrapped
    key = next(cell for cell in world.grid.grid if cell is not None and cell.type == "key")
    world.agent_pos, world.agent_dir = (key.cur_pos[0], key.cur_pos[1] + 1), 3
    if world.grid.get(*world.agent_pos) is not None:
        world.agent_pos, world.agent_dir = (key.cur_pos[0], key.cur_pos[1] - 1), 1
    env.step(act(PICK_UP))
    assert world.carrying is key
    place = env.snapshot()
    first = [env.step(act(action)) for action in (DROP, LEFT, LEFT, FORWARD)]
    assert world.carrying is None
    env.restore(place)
    env.reset()
    assert world.carrying.type == "key" and world.carrying is not key
    again = [env.step(act(action)) for action in (DROP, LEFT, LEFT, FORWARD)]
    for one, other in zip(first, again):
        assert one.observation["image"].equal(other.observation["image"])


HARD = ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-Dynamic-Obstacles-6x6-v0", "BabyAI-BossLevel-v0", "BabyAI-UnlockPickup-v0"]


@pytest.mark.parametrize("name", HARD)
def test_streams_follow_from_their_seeds_and_go_on_from_any_step(name):
    def make():
        return ae.MiniGridEnv(name, 2, max_steps=9)

    check_seeds(make, random=True)
    check_restore(make, 14)
    check_lane_control(make)


def every_id():
    return [name for name, spec in gymnasium.registry.items() if str(spec.entry_point).startswith("minigrid.")]


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
def test_every_environment_of_minigrid_and_babyai():
    generator = np.random.default_rng(0)
    without_patterns = 0
    names = every_id()
    assert len(names) > 170
    for name in names:
        env = ae.MiniGridEnv(name, 2)
        try:
            timestep = env.reset()
        except FileNotFoundError as error:  # patterns that the wheel of minigrid lacks
            without_patterns += "wfc/patterns" in str(error)
            continue
        assert env.resumable, name
        spec = env.specs[name]
        validate(timestep, spec, env)
        state = None
        for step in range(6):
            if step == 3:
                state = env.state_dict()
            timestep = env.step(sample_action(spec.action, 2, generator))
            validate(timestep, spec, env)
        env.close()
        env.load_state_dict(state)
        assert next(iter(env)).ticket.step == 3
        env.close()
    assert without_patterns < 8
