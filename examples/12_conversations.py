"""One agent, one loader: it learns a game of symbols by reward, in conversation, and what comes next by reading English."""

import argparse
import math

import lightning
import torch

import aexp_torch as ae
from aexp_torch.catalog import find
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import RecurrentPPO
from lightning_modules.callbacks import TaskStatistics

GAME = "Micro4Task"  # of the General AI Challenge: say what you hear, at once


def bits_per_byte(agent: RecurrentPPO, text: torch.Tensor) -> float:
    """Returns how many bits the agent needs for a byte of texts, uint8 [B, L]; who knows nothing needs 8."""
    symbol = text.long()
    silence = torch.zeros_like(symbol)
    with torch.no_grad():
        heard, _ = agent.net(symbol, silence.float(), silence, agent.net.begin(len(symbol)))
        nats = torch.nn.functional.cross_entropy(heard.following[:, :-1].flatten(0, 1), symbol[:, 1:].flatten())
    return float(nats) / math.log(2)


def main(steps: int = 200, seed: int = 0) -> dict[str, float]:
    """Trains, and returns the share of instances that were solved and the bits per byte, before and after."""
    torch.set_num_threads(1)
    data = ExperienceDataModule(
        train={
            "game": ae.CommAIEnv(GAME, num_envs=32),  # 32 conversations, a symbol of each a step
            "text": find("next_byte").make(batch_size=32),  # pieces of Python's reference
        },
        test={"game": ae.CommAIEnv(GAME, num_envs=20, max_episode_steps=150)},
        weights={"game": 3, "text": 1},
        num_steps=32,  # a training step gets 32 symbols of each conversation, or one minibatch of text
        steps_per_epoch=steps,
        seed=seed,
    )
    agent = RecurrentPPO(data.specs, seed=seed)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[TaskStatistics()],
    )
    unread = find("next_byte").make(split="test", batch_size=200).reset().observation["x"]
    told = {}
    for when in ("before", "after"):
        if when == "after":
            trainer.fit(agent, datamodule=data)
        (scores,) = trainer.test(agent, datamodule=data, verbose=False)
        told[f"solved {when}"] = scores["test/game/solved"]
        told[f"bits per byte {when}"] = bits_per_byte(agent, unread)
    for name, value in told.items():
        print(f"{name}: {value:.3f}")

    show = ae.CommAIEnv(GAME, render_mode="ansi", name="game", seed=seed + 1)
    agent.forget_evaluation()
    timestep = show.reset()
    for _ in range(99):
        timestep = show.step(agent.greedy(timestep))
    print(show.render())  # E: what the environment says, L: what the agent says, R: rewards for that
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
