"""How many env steps a second does Trainer.fit take, with `drive` and without?

CartPole-v1 with 64 lanes and a small policy that learns from every step. Without `drive` Lightning's own cost is paid for
every timestep; with `num_steps=32` once for 32. The limit is the same work in a loop without a trainer.
"""

from typing import Any

import torch
from lightning import LightningModule, Trainer
from torch import Tensor, nn

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS
from benchmarks.turns import Turns
from lightning_modules import ExperienceDataModule

HERE = __name__
LANES, STEPS = 64, 32
NAMES = {None: "single timesteps", STEPS: f"drive, trajectories of {STEPS}"}


def contests() -> list[Contest]:
    """Returns the contest."""
    contestants = [
        Contestant(
            name(how, num_workers, num_steps),
            f"{HERE}:{how}",
            {"num_workers": num_workers, "num_steps": num_steps},
            "ours" if how == "fit" else "limit",
        )
        for how in ("fit", "loop")
        for num_workers in (0, 1)
        for num_steps in NAMES
    ]
    figures = [
        Figure(
            f"Trainer.fit, {'1 worker' if count else 'in process'}: with drive over without",
            name("fit", count, STEPS),
            name("fit", count, None),
        )
        for count in (0, 1)
    ]
    figures.append(
        Figure("Trainer.fit with drive over a loop without a trainer", name("fit", 0, STEPS), name("loop", 0, STEPS))
    )
    return [Contest("Trainer.fit on CartPole-v1, 64 lanes", "env steps/s", contestants, figures)]


def name(how: str, num_workers: int, num_steps: int | None) -> str:
    """Names a contestant."""
    place = "1 worker" if num_workers else "in process"
    return f"{'Trainer.fit' if how == 'fit' else 'loop without a trainer'}, {place}, {NAMES[num_steps]}"


class Learner(LightningModule):
    """Acts greedily, and learns to predict the reward of what it does.

    Args:
      turns: told of every training step.
    """

    def __init__(self, turns: Turns):
        super().__init__()
        self.turns = turns
        self.values = nn.Linear(4, 2)

    def act(self, timestep: ae.TimeStep) -> Tensor:
        """Returns actions, int64 [B]."""
        with torch.no_grad():
            return self.values(timestep.observation["observation"]).argmax(1)

    def training_step(self, batch: Any, batch_idx: int = 0) -> Tensor:
        """Answers a timestep, or takes a trajectory that has been answered."""
        timesteps, reward = (
            (batch.timesteps, batch.timesteps.reward) if isinstance(batch, ae.Trajectory) else (batch, batch.reward)
        )
        values = self.values(timesteps.observation["observation"])
        if isinstance(batch, ae.TimeStep):
            batch.reply(values.argmax(1).detach())
        return (values.amax(-1) - reward).square().mean()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Counts env steps."""
        self.turns(env_steps(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def env_steps(batch: Any) -> int:
    """Returns how many steps of the environment are in a batch."""
    return batch.action.numel() if isinstance(batch, ae.Trajectory) else len(batch.reward)


def fit(turns: Turns, num_workers: int, num_steps: int | None) -> None:
    """Trains through Trainer.fit."""
    data = ExperienceDataModule(
        ae.GymnasiumEnv("CartPole-v1", num_envs=LANES),
        num_steps=num_steps,
        num_workers=num_workers,
        steps_per_epoch=NUM_STEPS,
    )
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Learner(turns), data)


def loop(turns: Turns, num_workers: int, num_steps: int | None) -> None:
    """Trains in a loop."""
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=LANES)
    loader = ae.Loader(env, num_workers=num_workers, steps_per_epoch=NUM_STEPS)
    learner = Learner(turns)
    optimizer = learner.configure_optimizers()
    try:
        for batch in loader if num_steps is None else loader.drive(learner.act, num_steps):
            optimizer.zero_grad()
            learner.training_step(batch).backward()
            optimizer.step()
            turns(env_steps(batch))
    finally:
        loader.close()
