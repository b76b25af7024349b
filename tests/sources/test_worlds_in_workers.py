"""Simulators of several providers give the same stream in worker processes, and go on from a state taken there."""

import io

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import FakeDmEnv

pytestmark = pytest.mark.timeout(120)

for provider in ("pettingzoo", "minigrid", "dm_control"):
    pytest.importorskip(provider)


def make_loader(num_workers: int) -> ae.Loader:
    envs = {
        "dm_env": ae.DmEnv(FakeDmEnv, 2),
        "dm_control": ae.DmEnv("cartpole/swingup", 2, time_limit=0.08),
        "turns": ae.PettingZooEnv("classic/connect_four-v3", 2),
        "cards": ae.PettingZooEnv("classic/leduc_holdem-v4", 2),
        "parallel": ae.PettingZooEnv("classic/rps-v2", 2, max_cycles=5),
        "grid": ae.MiniGridEnv("BabyAI-GoToSeq-v0", 2, max_steps=9),
    }
    return ae.Loader(envs, num_workers=num_workers, in_flight=1, steps_per_epoch=90, seed=5)


def run(loader: ae.Loader, num_steps: int) -> list[tuple]:
    seen = []
    for timestep in loader:
        leaves = [(path, None if leaf is None else leaf.tolist()) for path, leaf in flatten(timestep.observation)]
        ticket, spec = timestep.ticket, loader.specs[timestep.source]
        seen.append((ticket.source, ticket.step, *[field.tolist() for field in timestep[:3]], sorted(leaves)))
        timestep.reply(sample_action(spec.action, spec.num_envs, np.random.default_rng([ticket.slot, ticket.step])))
        if len(seen) == num_steps:
            break
    return seen


def test_workers_and_states_change_nothing():
    expected = run(make_loader(0), 90)
    assert len({source for source, *_ in expected}) == 6
    loader = make_loader(1)
    assert run(loader, 50) == expected[:50]
    buffer = io.BytesIO()
    torch.save(loader.state_dict(), buffer)
    loader.close()
    other = make_loader(0)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert run(other, 40) == expected[50:]
    other.close()


class Fragile(FakeDmEnv):
    """Breaks in the third step of every second life."""

    made = 0

    def __init__(self, seed=None):
        super().__init__(seed, length=5)
        Fragile.made += 1
        self.breaks = Fragile.made % 2 == 1
        self.seed = seed

    def step(self, action):
        if self.breaks and self.count == 2:
            raise RuntimeError("broken")
        return super().step(action)


def test_an_environment_that_breaks_is_made_anew_with_another_seed():
    env = ae.DmEnv(Fragile, on_broken="restart")
    env.reset()
    first = env._lanes._simulators[0].env.seed
    answer = sample_action(env.action_spec(), 1, np.random.default_rng(0))
    for _ in range(2):
        assert env.step(answer).mid().all()
    with pytest.warns(UserWarning, match="lane 0 raised RuntimeError: broken"):
        timestep = env.step(answer)
    assert timestep.truncated().all() and env.broken == {"Fragile": 1}
    assert env._lanes._simulators[0].env.seed != first
    assert env.step(answer).first().all()


def test_an_illegal_move_breaks_nothing():
    env = ae.PettingZooEnv("classic/tictactoe-v3", illegal="error", on_broken="restart")
    env.reset()
    env.step({"player_1": torch.tensor([4]), "player_2": torch.tensor([4])})
    with pytest.raises(ae.ActionError, match="expected a legal move of 'player_2'"):
        env.step({"player_1": torch.tensor([4]), "player_2": torch.tensor([4])})
    assert env.broken == {"tictactoe-v3": 0}
    assert ae.MiniGridEnv("MiniGrid-Empty-5x5-v0", on_broken="restart", max_broken=2).max_broken == 2
