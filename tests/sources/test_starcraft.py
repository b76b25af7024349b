"""StarCraft2Env over a fake that speaks PySC2's interface and refuses what PySC2 refuses."""

import sys

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import ActionError, MissingDependencyError, SpecError
from aexp_torch.testing.fake_starcraft import FakeStarCraft, fake_starcraft, install_fake_pysc2, uninstall_fake_pysc2

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def pysc2():
    """Is there for the time of a test."""
    install_fake_pysc2()
    yield
    uninstall_fake_pysc2()


def call(function, screen=(0, 0), queued=0, select_add=0):
    lanes = len(function) if isinstance(function, list) else 1
    function = function if isinstance(function, list) else [function]
    screen = screen if isinstance(screen, list) else [screen] * lanes
    return {
        "function": torch.tensor(function),
        "screen": torch.tensor(screen),
        "queued": torch.tensor([queued] * lanes),
        "select_add": torch.tensor([select_add] * lanes),
    }


def game(env, lane=0) -> FakeStarCraft:
    return env._lanes._simulators[lane].env


def test_what_is_asked_of_pysc2():
    env = ae.StarCraft2Env(
        "Simple64", 2, race="terran", opponent=("zerg", "easy"), feature_screen=9, feature_minimap=5, step_mul=4, seed=3
    )
    assert env.name == "Simple64"
    env.reset()
    from pysc2.env import sc2_env

    first = game(env)
    assert isinstance(first, sc2_env.SC2Env)
    assert (first.map_name, first.screen, first.minimap, first.step_mul) == ("Simple64", 9, 5, 4)
    assert first.players == [
        sc2_env.Agent(sc2_env.Race.terran),
        sc2_env.Bot(sc2_env.Race.zerg, sc2_env.Difficulty.easy),
    ]
    seeds = [int(env.seeds(lane).generate_state(1)[0]) for lane in range(2)]
    assert [game(env, lane).random_seed for lane in range(2)] == seeds
    env.close()
    assert first.closed


def test_specs():
    env = ae.StarCraft2Env(fake_starcraft, name="beacons")
    spec = env.specs["beacons"]
    assert {key: leaf.shape for key, leaf in spec.observation.items()} == {
        "feature_screen": (3, 8, 8),
        "feature_minimap": (2, 6, 6),
        "available_actions": (3,),
        "player": (11,),
        "score_cumulative": (13,),
    }
    assert spec.observation["feature_screen"].maximum[:, 0, 0].tolist() == [255, 1, 1961]
    assert spec.modalities["observation"]["feature_screen"] == ae.Modality("grid", "integer", "computer")
    assert spec.modalities["observation"]["available_actions"].representation == "binary"
    assert {key: leaf.shape for key, leaf in spec.action.items()} == {
        "function": (),
        "screen": (2,),
        "queued": (),
        "select_add": (),
    }
    assert spec.action["function"].num_values == 3 and spec.action["screen"].maximum.tolist() == [7, 7]
    assert spec.modalities["action"]["function"].representation == "categorical"
    env.close()


def test_calls_and_episodes():
    env = ae.StarCraft2Env(fake_starcraft)
    timestep = env.reset()
    assert timestep.discount.tolist() == [1], "PySC2's own is 0 at first"
    assert timestep.observation["available_actions"].tolist() == [[1, 1, 0]]
    timestep = env.step(call(1, select_add=1))
    assert timestep.observation["available_actions"].tolist() == [[1, 1, 1]]
    rewards = []
    while not timestep.last().all():
        (y, x), *_ = (timestep.observation["feature_screen"][0, 2] == 1961).nonzero().tolist()
        timestep = env.step(call(2, (x, y), queued=1))
        rewards.append(timestep.reward.item())
        assert timestep.observation["feature_screen"][0, 1, y, x] == 1, "points are x, y; layers are rows, columns"
        assert game(env).received[-1] == (2, [[1], [x, y]])
    assert game(env).received[0] == (1, [[1]])
    assert rewards == [1, 1, 1] and timestep.terminated().all()
    assert timestep.observation["score_cumulative"].tolist() == [[3] * 13]
    assert env.step(call(0)).first().all()
    env.close()


def test_a_limit_truncates():
    env = ae.StarCraft2Env(fake_starcraft, 2, game_steps_per_episode=16, step_mul=8)
    env.reset()
    kinds = [env.step(call([0, 0], [(0, 0)] * 2)) for _ in range(3)]
    assert [timestep.step_type.tolist() for timestep in kinds] == [[1, 1], [2, 2], [0, 0]]
    assert kinds[1].truncated().all()
    env.close()


def test_functions_that_are_not_available():
    env = ae.StarCraft2Env(fake_starcraft)
    env.reset()
    env.step(call(2, (1, 1)))
    assert game(env).received == [(0, [])]
    env.close()
    for on_broken in ("raise", "restart"):
        env = ae.StarCraft2Env(fake_starcraft, unavailable="raise", on_broken=on_broken)
        env.reset()
        with pytest.raises(ActionError, match=r"a function that is available, got 2 \(Move_screen\)"):
            env.step(call(2, (1, 1)))
        env.close()


def test_a_game_that_breaks_is_made_anew_with_another_seed():
    env = ae.StarCraft2Env(fake_starcraft_of, 2, on_broken="restart", breaks_at=3)
    env.reset()
    first = game(env)
    with pytest.warns(UserWarning, match=r"lane \d raised ConnectionError: the game has gone"):
        timesteps = [env.step(call([0, 0], [(0, 0)] * 2)) for _ in range(3)]
    assert timesteps[-1].truncated().tolist() == [True, True] and env.broken == {"fake_starcraft_of": 2}
    assert first.closed and game(env).random_seed != first.random_seed
    assert env.step(call([0, 0], [(0, 0)] * 2)).first().all()
    env.close()


def fake_starcraft_of(**kwargs):
    return fake_starcraft(**kwargs)


def test_a_live_environment():
    live = FakeStarCraft()
    env = ae.to_source(live)
    assert isinstance(env, ae.StarCraft2Env)
    assert env.reset().first().all()
    env.close()
    assert not live.closed
    with pytest.raises(SpecError, match="num_envs=1 with a live environment"):
        ae.StarCraft2Env(live, 2)


def test_what_is_refused():
    with pytest.raises(SpecError, match="expected one agent, got 2. Let the game play the others"):
        ae.StarCraft2Env(fake_starcraft, num_agents=2).reset()
    with pytest.raises(SpecError, match="available_actions among the observations.*not that of raw units"):
        ae.StarCraft2Env(fake_starcraft, raw=True).reset()
    with pytest.raises(SpecError, match="unavailable='no_op' or 'raise', got 'skip'"):
        ae.StarCraft2Env("Simple64", unavailable="skip")
    with pytest.raises(SpecError, match="a map's name, a function or a PySC2 environment, got 7"):
        ae.StarCraft2Env(7)


def test_it_says_why_it_cannot_be_resumed():
    env = ae.StarCraft2Env(fake_starcraft)
    env.reset()
    with pytest.raises(SpecError, match="a game of StarCraft II in another process, which gives no state"):
        env.state_dict()
    env.close()


def test_pysc2_is_asked_for_when_it_is_opened(monkeypatch):
    uninstall_fake_pysc2()
    env = ae.StarCraft2Env("MoveToBeacon")
    assert "pysc2" not in sys.modules
    monkeypatch.setitem(sys.modules, "pysc2", None)
    with pytest.raises(MissingDependencyError, match=r"StarCraft2Env\('MoveToBeacon'\).*aexp-torch\[starcraft\]"):
        env.reset()
