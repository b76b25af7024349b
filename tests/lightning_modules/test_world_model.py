"""WorldModel: what it remembers, what it learns, and what can be trained in it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from dm_env import specs
from lightning import Trainer

import aexp_torch as ae
from aexp_torch.specs import flatten
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import PPO, WorldModel
from lightning_modules.networks import Scale

sys.path.insert(0, str(Path(__file__).parent))
from streams import counting, everything


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks learn fastest on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def asked(env: ae.Env) -> ae.Env:
    return env.pipe(ae.PredictInputs, signals=True, weight=0.0)


def fit(agent, data, epochs=1) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, log_every_n_steps=1, **quiet)
    trainer.fit(agent, data)
    return trainer


def small(specs, **options) -> WorldModel:
    return WorldModel(specs, **{"warmup": 4, "batch_size": 8, "updates": 2, "hidden": 8, **options})


@pytest.mark.parametrize("num_steps", [None, 5])
def test_replay_holds_what_followed_and_nothing_across_first(num_steps):
    data = ExperienceDataModule(asked(counting()), num_steps=num_steps, steps_per_epoch=8 if num_steps else 40)
    agent = small(data.specs)
    fit(agent, data)
    replay = agent.replay["counting"]
    columns = {name: column[: len(replay)] for name, column in replay.columns.items()}
    now, following = columns["observation/observation"], columns["predict:observation"]
    assert torch.equal(following, now + 1)
    assert torch.equal(columns["predict:reward"], following.flatten())  # as Counting gives it: the number of the step
    assert (columns["predict:discount"][following.flatten() < 3] == 1).all()
    ends = columns["predict:discount"][following.flatten() == 3]
    assert set(ends.tolist()) == {0.0, 1.0}  # terminated and truncated in turns
    assert agent.env_steps["counting"] == len(now) == (60 if num_steps else 2 * (39 - 39 // 4))
    assert {0, 1, 2} == set(columns["action/action"].tolist())  # at random


def test_statistics_are_those_of_all_rows():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, 2, 3, generator=generator) * 3 + 5 for n in (4, 0, 1, 40)]
    scale, ranks = Scale((2, 3)), Scale((2, 3))
    for part in parts:
        scale.add(scale.sums(part))
    ranks.add(ranks.sums(parts[0]) + ranks.sums(parts[2]))
    ranks.add(ranks.sums(parts[1]) + ranks.sums(parts[3]))
    whole = torch.cat(parts)
    for each in (scale, ranks):
        torch.testing.assert_close(each.mean, whole.mean(0))
        torch.testing.assert_close(each.std, whole.std(0, correction=0))
        assert each.count == 45
    torch.testing.assert_close(scale.normalize(whole).mean(0), torch.zeros(2, 3), atol=1e-5, rtol=0)
    constant = Scale(())
    constant.add(constant.sums(torch.full((7,), 1.0)))
    assert constant.normalize(torch.ones(2)).tolist() == [0, 0]


class Line(ae.Env):
    """Moves on a line of 9 places, by choice and by a real push; pays the place, ends at both ends."""

    lane_control = True
    num_envs = 8

    def make_specs(self):
        observation = {
            "at": specs.DiscreteArray(9, np.int64),
            "inner": {"right": specs.Array((1,), bool), "level": specs.BoundedArray((2,), np.float32, -100, 100)},
        }
        action = {"move": specs.DiscreteArray(2, np.int64), "push": specs.BoundedArray((), np.float32, -1, 1)}
        return {self.name: ae.EnvSpec(observation, action, num_envs=self.num_envs)}

    def _show(self):
        right = (self.at > 4)[:, None]
        return {"at": self.at, "inner": {"right": right, "level": torch.stack([self.level, -self.level], 1)}}

    def reset(self, lanes=None):
        self.at, self.level = torch.full((self.num_envs,), 4), torch.full((self.num_envs,), 20.0)
        return ae.restart(self._show(), self.num_envs)

    def step(self, action, lanes=None):
        begin = self._outstanding.last()
        at = torch.where(begin, 4, self.at + 2 * action["move"] - 1)
        self.at, self.level = at, torch.where(begin, 20.0, self.level + 5 * action["push"])
        over = (at == 0) | (at == 8)
        step_type = torch.where(begin, 0, torch.where(over, 2, 1)).to(torch.int8)
        return ae.TimeStep(step_type, torch.where(begin, 0.0, at.float()), (~over).float(), self._show())


@pytest.mark.slow
def test_learns_every_kind_of_value():
    data = ExperienceDataModule(asked(Line()), num_steps=16, steps_per_epoch=150)
    agent = WorldModel(data.specs, hidden=64, batch_size=128, updates=10, seed=1)
    trainer = fit(agent, data)
    assert trainer.callback_metrics["Line/loss"] < 0.05
    at = torch.tensor([3, 4, 7, 5])
    level = torch.tensor([10.0, 20.0, 30.0, 40.0])
    observation = {"at": at, "inner": {"right": (at > 4)[:, None], "level": torch.stack([level, -level], 1)}}
    action = {"move": torch.tensor([1, 1, 1, 0]), "push": torch.tensor([0.0, 1.0, -1.0, 0.5])}
    with torch.no_grad():
        told = agent.predictor()(observation, action)
    assert told["predict:at"].argmax(-1).tolist() == [4, 5, 8, 4]
    assert (told["predict:inner"]["right"] > 0).flatten().tolist() == [False, True, True, False]
    after = level + 5 * action["push"]
    torch.testing.assert_close(told["predict:inner"]["level"], torch.stack([after, -after], 1), atol=0.5, rtol=0)
    torch.testing.assert_close(told["predict:reward"], torch.tensor([4.0, 5.0, 8.0, 4.0]), atol=0.5, rtol=0)
    assert (told["predict:discount"] > 0.5).tolist() == [True, True, False, True]

    dream = ae.Imaginary(agent, observation, horizon=30, num_envs=6)
    timestep, lengths = dream.reset(), []
    for _ in range(40):
        here = timestep.observation["at"]
        timestep = dream.step({"move": torch.ones(6, dtype=torch.int64), "push": torch.zeros(6)})
        lengths += timestep.terminated().tolist()
        moved = ~timestep.first()
        assert torch.equal(timestep.observation["at"][moved], here[moved] + 1)
    assert sum(lengths) > 6


def test_acts_by_a_given_policy():
    data = ExperienceDataModule(asked(counting()), steps_per_epoch=12)
    agent = small(data.specs, policy=lambda timestep: torch.full((2,), 2))
    fit(agent, data)
    assert set(agent.replay["counting"].columns["action/action"][: len(agent.replay["counting"])].tolist()) == {2}


def test_validation_changes_nothing_in_training():
    def weights(val):
        data = ExperienceDataModule(asked(counting()), val, steps_per_epoch=12, episodes=3)
        agent = small(data.specs)
        trainer = fit(agent, data, epochs=2)
        return torch.cat([parameter.flatten() for parameter in agent.parameters()]), trainer.callback_metrics

    without, _ = weights(None)
    validated, metrics = weights(asked(counting(3)))
    assert torch.equal(without, validated)
    assert {"val/counting/loss", "val/counting/return", "val/counting/length"} <= set(metrics)


def test_ppo_trains_in_the_imagination_of_everything():
    data = ExperienceDataModule(asked(everything()), num_steps=4, steps_per_epoch=6)
    model = small(data.specs)
    fit(model, data)
    real = everything().reset().observation
    dream = ae.Imaginary(model, real, 5, stochastic=True, name="everything")
    imagined = ExperienceDataModule(dream, everything(), num_steps=4, steps_per_epoch=3, episodes=2, num_workers=2)
    assert [path for path, _ in flatten(imagined.specs["everything"].action)] == [
        path for path, _ in flatten(everything().action_spec())
    ]
    agent = PPO(imagined.specs, epochs=2, hidden=8)
    trainer = fit(agent, imagined)
    assert "val/everything/return" in trainer.callback_metrics
