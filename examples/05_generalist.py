"""One agent, one loader, two worlds: CartPole by reinforcement and digits by labels, through Trainer.fit."""

import argparse

import lightning
import torch

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import Generalist
from lightning_modules.callbacks import EpisodeStatistics, Throughput


def main(max_steps: int = 1560, seed: int = 0) -> dict[str, float]:
    """Trains and returns CartPole's greedy return and digits' test accuracy."""
    torch.set_num_threads(1)
    data = ExperienceDataModule(
        train={"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8), "digits": ae.digits(batch_size=64)},
        test={"digits": ae.digits("test", epochs=1, batch_size=60, shuffle=False)},
        weights={"cartpole": 1, "digits": 3},
        num_steps=32,  # a training step gets 32 steps of CartPole at once, or one minibatch of digits
        steps_per_epoch=max_steps,
        seed=seed,
    )
    agent = Generalist(data.specs, seed=seed)
    trainer = lightning.Trainer(
        max_steps=-1,
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        callbacks=[EpisodeStatistics(), Throughput()],
    )
    trainer.fit(agent, datamodule=data)
    metrics = {name: float(value) for name, value in trainer.test(agent, datamodule=data)[0].items()}
    returns = ae.evaluate(agent.greedy, {"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=10)}, episodes=20, seed=1)
    metrics["cartpole/return"] = float(returns["cartpole"]["return"].mean())
    print(metrics)
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max_steps", type=int, default=1560)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
