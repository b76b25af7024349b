"""PettingZoo: agents as keys, at once and in turn; who is absent is masked, and every game goes on where it was."""

import importlib
import sys
import warnings

import numpy as np
import pytest
import torch
from gymnasium import spaces

import aexp_torch as ae
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import check_env, check_seeds
from aexp_torch.testing.check_timesteps import validate
from aexp_torch.testing.rollout import rollout

pettingzoo = pytest.importorskip("pettingzoo")

from pettingzoo.utils.env_logger import EnvLogger  # noqa: E402

pytestmark = pytest.mark.timeout(120)


def moves(*lanes, agents=("player_1", "player_2")):
    """Returns an answer: a move for each lane, given to all agents; only the one at turn makes it."""
    return {agent: torch.tensor(lanes) for agent in agents}


def play(env, *game):
    """Plays one lane, and returns all timesteps."""
    return [env.reset(), *(env.step(moves(move)) for move in game)]


def test_a_game_of_tic_tac_toe():
    env = ae.PettingZooEnv("classic/tictactoe-v3")
    timesteps = play(env, 0, 3, 1, 4, 2)  # X takes the first column
    assert env.name == "tictactoe-v3"
    assert [timestep.observation["turn"].item() for timestep in timesteps] == [0, 1, 0, 1, 0, 1]
    for number, timestep in enumerate(timesteps[:-1]):
        present, absent = ("player_1", "player_2") if number % 2 == 0 else ("player_2", "player_1")
        assert timestep.observation[absent] == {"observation": None, "action_mask": None}
        assert timestep.observation[present]["action_mask"].sum() == 9 - number
        assert timestep.reward == 0 and timestep.discount == 1
    last = timesteps[-1]
    assert last.terminated().all() and last.reward == 0  # what one wins, the other loses
    assert last.observation["reward:player_1"] == 1 and last.observation["reward:player_2"] == -1
    assert last.observation["discount:player_1"] == last.observation["discount:player_2"] == 0
    mine, theirs = (last.observation[agent]["observation"][0] for agent in ("player_1", "player_2"))
    assert mine[0, :, 0].all() and theirs[0, :, 1].all()
    assert env.step(moves(0)).first().all()


def test_the_reward_of_one_agent():
    env = ae.PettingZooEnv("tictactoe_v3", reward="player_2")
    assert play(env, 0, 3, 1, 4, 2)[-1].reward == -1
    with pytest.raises(
        ae.SpecError, match=r"expected reward='sum' or an agent of \['player_1', 'player_2'\], got 'me'"
    ):
        ae.PettingZooEnv("tictactoe_v3", reward="me").reset()


def test_lanes_at_different_turns_are_masked():
    env = ae.PettingZooEnv("tictactoe_v3", 2)
    env.reset()
    env.step(moves(0, 0))
    timestep = env.step(moves(3, 0))  # the second lane's move is illegal and ends its game
    assert timestep.last().tolist() == [False, True]
    timestep = env.step(moves(1, 0))
    assert timestep.observation["turn"].tolist() == [1, 0]
    assert timestep.first().tolist() == [False, True]
    first, second = timestep.observation["player_1"], timestep.observation["player_2"]
    for observation, there in ((first, [False, True]), (second, [True, False])):
        assert observation["mask:observation"].tolist() == observation["mask:action_mask"].tolist() == there
    assert not first["observation"][0].any() and first["action_mask"][1].all()


def test_parallel_rock_paper_scissors_is_cut_off_by_its_limit():
    env = ae.PettingZooEnv("pettingzoo.classic.rps_v2", 2, max_cycles=3)
    timesteps = [env.reset()]
    rock, paper = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    timesteps += [env.step({"player_0": rock, "player_1": paper}) for _ in range(3)]
    assert "turn" not in env.observation_spec()
    assert timesteps[-1].truncated().all() and (timesteps[-1].discount == 1).all()
    assert timesteps[1].observation["player_0"].tolist() == [1, 1]  # what the other played
    assert timesteps[1].observation["reward:player_1"].tolist() == [1, 1]
    assert timesteps[-1].observation["discount:player_0"].tolist() == [1, 1]
    turns = ae.PettingZooEnv("rps_v2", api="aec", max_cycles=3)
    assert "turn" in turns.observation_spec()


class Mortals(pettingzoo.ParallelEnv):
    """Has agents that die after 2 and 4 steps, and one whose time is up after 5; observations count."""

    metadata = {"name": "mortals"}
    possible_agents = ["a", "b", "c"]
    render_mode = None

    def __init__(self, lives=(2, 4, 9)):
        self.lives = dict(zip(self.possible_agents, lives))

    def observation_space(self, agent):
        return spaces.Box(0, 10, (2,), np.float64)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.agents, self.count = list(self.possible_agents), 0
        return self._observe(self.agents), {agent: {} for agent in self.agents}

    def _observe(self, agents):
        return {agent: np.full(2, self.count, np.float64) for agent in agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        self.count += 1
        acting = self.agents
        terminated = {agent: self.count >= self.lives[agent] for agent in acting}
        truncated = dict.fromkeys(acting, self.count >= 5)
        self.agents = [agent for agent in acting if not (terminated[agent] or truncated[agent])]
        return (
            self._observe(acting),
            {agent: float(actions[agent]) for agent in acting},
            terminated,
            truncated,
            {agent: {} for agent in acting},
        )


def test_agents_end_on_their_own():
    env = ae.PettingZooEnv(Mortals, name="mortals")
    ones = {agent: torch.ones(1, dtype=torch.int64) for agent in "abc"}
    timesteps = [env.reset(), *(env.step(ones) for _ in range(5))]
    seen = {
        agent: [None if t.observation[agent] is None else int(t.observation[agent][0, 0]) for t in timesteps]
        for agent in "abc"
    }
    assert seen == {"a": [0, 1, 2, None, None, None], "b": [0, 1, 2, 3, 4, None], "c": [0, 1, 2, 3, 4, 5]}
    discounts = {agent: [int(t.observation[f"discount:{agent}"]) for t in timesteps] for agent in "abc"}
    assert discounts == {"a": [1, 1, 0, 0, 0, 0], "b": [1, 1, 1, 1, 0, 0], "c": [1, 1, 1, 1, 1, 1]}
    assert [int(t.reward) for t in timesteps] == [0, 3, 3, 2, 2, 1]
    assert timesteps[-1].truncated().all()
    assert ae.PettingZooEnv(Mortals, lives=(1, 1, 1)).reset().first().all()
    check_env(env)


def test_agents_end_on_their_own_in_turn():
    from pettingzoo.utils.conversions import parallel_to_aec

    def make():
        return parallel_to_aec(Mortals())

    env = ae.PettingZooEnv(make, name="turns")
    ones = {agent: torch.ones(1, dtype=torch.int64) for agent in "abc"}
    timesteps = [env.reset()]
    while not timesteps[-1].last().any():
        timesteps.append(env.step(ones))
    turns = "".join("abc"[t.observation["turn"]] for t in timesteps[:-1])
    assert turns == "abcabc" + "bcbc" + "c"
    shown = ["".join(agent for agent in "abc" if t.observation[agent] is not None) for t in timesteps]
    assert shown[6] == "ab" and shown[10] == "bc" and shown[-1] == "c"  # who has just ended, and who is at turn
    assert timesteps[6].observation["discount:a"] == 0 and timesteps[5].observation["discount:a"] == 1
    assert sum(float(t.reward) for t in timesteps) == 2 + 4 + 5
    assert timesteps[-1].truncated().all()


def test_an_illegal_move_loses_and_says_nothing(capfd):
    env = ae.PettingZooEnv("connect_four_v3")
    agents = ("player_0", "player_1")
    timestep = env.reset()
    for _ in range(7):  # the seventh stone does not fit into its column
        assert not timestep.last().any()
        timestep = env.step(moves(3, agents=agents))
    assert timestep.terminated().all()
    assert timestep.observation["reward:player_0"] == -1 and timestep.observation["reward:player_1"] == 0
    assert capfd.readouterr() == ("", "")
    assert not EnvLogger.mqueue
    assert env.step(moves(3, agents=agents)).first().all()


def test_an_illegal_move_is_an_error_on_demand_and_where_nobody_would_see_to_it():
    env = ae.PettingZooEnv("tictactoe_v3", illegal="error")
    play(env, 4)
    with pytest.raises(
        ae.SpecError, match=r"'tictactoe_v3': expected a legal move of 'player_2', one of \[0, 1, .*got 4"
    ):
        env.step(moves(4))
    from pettingzoo.classic.tictactoe.tictactoe import raw_env

    env = ae.PettingZooEnv(raw_env)
    play(env, 4)
    with pytest.raises(ae.SpecError, match="wrap it in TerminateIllegalWrapper"):
        env.step(moves(4))


NAMES = {
    "classic/tictactoe-v3": "tictactoe-v3",
    "classic/tictactoe_v3": "tictactoe_v3",
    "classic.tictactoe_v3": "tictactoe_v3",
    "pettingzoo.classic.tictactoe_v3": "tictactoe_v3",
    "tictactoe-v3": "tictactoe-v3",
    "tests.sources.tic_tac_toe_module": "tic_tac_toe_module",
}


@pytest.mark.parametrize("given", NAMES)
def test_ways_to_name_an_environment(given):
    env = ae.PettingZooEnv(given)
    assert env.name == NAMES[given]
    assert list(env.reset().observation)[:2] == ["player_1", "player_2"]


def test_modules_live_environments_and_ids_are_recognised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PettingZoo prefers make() by now
        module = importlib.import_module("pettingzoo.classic.tictactoe_v3")
    env = ae.to_source(module)
    assert type(env) is ae.PettingZooEnv and env.name == "tictactoe_v3"
    live = module.env()
    env = ae.to_source(live)
    assert type(env) is ae.PettingZooEnv and env.name == "tictactoe_v3"
    assert play(env, 0, 3)[-1].observation["player_1"]["observation"][0, 0, 0, 0] == 1
    env.close()
    assert live.agents  # somebody else's
    with pytest.raises(ae.SpecError, match="live environment, which cannot be copied"):
        env.__getstate__()
    assert type(ae.to_source(pettingzoo.make("parallel", "classic/rps-v2"))) is ae.PettingZooEnv
    assert type(ae.to_source("atari.mario_bros_v3")) is ae.PettingZooEnv


def test_what_cannot_be_made_is_named(monkeypatch):
    for given, match in (
        ("classic/tictacto-v3", "PettingZooEnv: expected the id .* got 'classic/tictacto-v3'"),
        ("checkers_v9", "expected the id .* got 'checkers_v9'.*Known: "),
    ):
        with pytest.raises(ae.SpecError, match=match):
            ae.PettingZooEnv(given).reset()
    with pytest.raises(ae.SpecError, match="of the parallel API, it is turn-based"):
        ae.PettingZooEnv("tictactoe_v3", api="parallel").reset()
    with pytest.raises(ae.SpecError, match="expected an environment of the aec API, got a Mortals of the other"):
        ae.PettingZooEnv(Mortals, api="aec").reset()
    with pytest.raises(ae.SpecError, match="expected api to be one of"):
        ae.PettingZooEnv("tictactoe_v3", api="both")
    with pytest.raises(ae.SpecError, match="expected an id, a function or an environment of PettingZoo"):
        ae.PettingZooEnv(3)
    monkeypatch.setitem(sys.modules, "chess", None)
    monkeypatch.delitem(sys.modules, "pettingzoo.classic.chess.chess", raising=False)
    pettingzoo.env_registry.spec._load_env_creator.cache_clear()
    with pytest.raises(ae.MissingDependencyError, match=r'pip install "pettingzoo\[classic\]"'):
        ae.PettingZooEnv("chess_v6").reset()
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(ae.MissingDependencyError, match=r'pip install "aexp-torch\[pettingzoo\]"'):
        ae.PettingZooEnv("tictactoe_v3").reset()


# Turn-based and parallel, with cards, with several planes, with engines of their own.
GAMES = {
    "tictactoe_v3": {},
    "connect_four_v3": {},
    "chess_v6": {},
    "go_v5": {"board_size": 5},
    "leduc_holdem_v4": {"random": True},
    "texas_holdem_v4": {"random": True},
    "rps_v2": {"max_cycles": 4},
    "mpe.simple_spread_v3": {"max_cycles": 4, "random": True},
}
SLOW_GAMES = {
    "pursuit_v5": {"max_cycles": 5, "random": True},
    "cooperative_pong_v6": {"max_cycles": 6, "random": True, "render_mode": "rgb_array"},
    "texas_holdem_no_limit_v6": {"random": True},
}


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")
@pytest.mark.parametrize("name", [*GAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_GAMES)])
def test_every_promise(name):
    options = {**GAMES, **SLOW_GAMES}[name].copy()
    random = options.pop("random", False)
    check_env(lambda: ae.PettingZooEnv(name, 2, **options), random=random, restore_steps=7)


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
@pytest.mark.parametrize(
    "name, holds",
    [
        ("hanabi_v5", "holds a pyspiel.Game"),
        ("knights_archers_zombies_v11", "holds a pygame.sprite.Group"),
        ("multiwalker_v9", "holds a Box2D.Box2D.b2World"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(name, holds):
    try:
        env = ae.PettingZooEnv(name)
        env.open()
    except ae.MissingDependencyError as error:
        pytest.skip(str(error))
    assert not env.resumable
    env.reset()
    with pytest.raises(ae.SpecError, match=f"snapshot: .* {holds}"):
        env.state_dict()
    check_seeds(lambda: ae.PettingZooEnv(name), random=name != "knights_archers_zombies_v11")


@pytest.fixture
def atari():
    """Gives the emulator for several players and the games."""
    pytest.importorskip("ale_py")
    return pytest.importorskip("multi_agent_ale_py")


def mario(**options):
    return ae.PettingZooEnv("atari.mario_bros_v3", **{"max_cycles": 6, **options})


def test_mario_bros_shows_what_pettingzoo_shows(atari):
    env = mario(seed=2)
    from aexp_torch.sources.pettingzoo_lanes import _roms

    their = pettingzoo.make("parallel", "atari/mario_bros-v3", max_cycles=6, auto_rom_install_path=_roms("mario"))
    seen, _ = their.reset(seed=int(env.seeds(0).generate_state(1)[0]) % 2**31)
    timestep = env.reset()
    for step in range(6):
        for agent in ("first_0", "second_0"):
            assert timestep.observation[agent][0].tolist() == seen[agent].tolist()
        assert not timestep.last().any()
        if step == 3:  # away, and back again
            state = env.state_dict()
            env.step({"first_0": torch.tensor([1]), "second_0": torch.tensor([9])})
            env.load_state_dict(state)
        timestep = env.step({"first_0": torch.tensor([5]), "second_0": torch.tensor([3])})
        seen = their.step({"first_0": 5, "second_0": 3})[0]
    assert timestep.truncated().all()
    assert timestep.observation["first_0"][0].tolist() == seen["first_0"].tolist()
    spec = env.specs["mario_bros_v3"]
    assert spec.modalities["observation"]["first_0"] == ae.Modality("grid", "integer", "natural", optional=True)


@pytest.mark.slow
@pytest.mark.parametrize("api", ["parallel", "aec"])
def test_every_promise_of_mario_bros(atari, api):
    check_env(lambda: mario(api=api, num_envs=2), restore_steps=5)


def every_id():
    return sorted({*pettingzoo.aec_registry, *pettingzoo.parallel_registry})


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")
@pytest.mark.filterwarnings("ignore:.*calling render method without:UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("api", ["aec", "parallel"])
def test_every_environment_of_pettingzoo(api):
    generator = np.random.default_rng(0)
    registry = {"aec": pettingzoo.aec_registry, "parallel": pettingzoo.parallel_registry}[api]
    missing = []
    for env_id in sorted(registry):
        env = ae.PettingZooEnv(env_id, api=api)
        try:
            timesteps = rollout(env, 1)
        except ae.MissingDependencyError as error:
            missing.append((env_id, str(error)))
            continue
        spec = env.specs[env.name]
        state, resumable = None, env.resumable
        for step in range(4):
            validate(timesteps[-1], spec, env)
            if step == 2 and resumable:
                state = env.state_dict()
            timesteps.append(env.step(sample_action(spec.action, 1, generator)))
        env.close()
        if state is not None:
            env.load_state_dict(state)
            assert next(iter(env)).ticket.step == 2
            env.close()
    assert not [env_id for env_id, _ in missing if env_id.startswith(("classic", "atari"))], missing
