"""Pipelines of one lane that every border has to carry: spaces of all kinds, datasets in all modes, compositions."""

import gymnasium
import torch

import aexp_torch as ae
from aexp_torch.testing import CountingEnv, FakeGymEnv


def squares() -> dict[str, torch.Tensor]:
    x = torch.arange(5.0)
    return {"x": x[:, None], "y": x**2}


def limited(length: int) -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", max_episode_steps=length)


def dataset(**options) -> ae.DatasetEnv:
    return ae.DatasetEnv(squares(), batch_size=1, name="squares", **options)


def interleaved() -> ae.Interleave:
    cart, fake = ae.GymnasiumEnv("CartPole-v1"), ae.GymnasiumEnv(FakeGymEnv, name="fake")
    return ae.Interleave([cart, fake, dataset(mode="delayed", loss="mse")], pattern=[0, 1, 2, 2])


def experience() -> ae.AEEnv:
    members = [
        ae.GymnasiumEnv("CartPole-v1"),
        ae.GymnasiumEnv(FakeGymEnv, name="fake"),
        dataset(epochs=1),
        "FrozenLake-v1",
    ]
    return ae.AEEnv(members, steps=4)


SOURCES = {
    "cartpole": lambda: ae.GymnasiumEnv("CartPole-v1"),
    "truncated": lambda: ae.GymnasiumEnv(limited, length=4, name="limited"),
    "frozenlake": lambda: ae.GymnasiumEnv("FrozenLake-v1"),
    "blackjack": lambda: ae.GymnasiumEnv("Blackjack-v1"),
    "all spaces": lambda: ae.GymnasiumEnv(FakeGymEnv, name="fake"),
    "counting": lambda: CountingEnv(num_envs=1, nested=True),
    "bits": lambda: ae.CommAIEnv("commai"),
    "bytes": lambda: ae.CommAIEnv("mini", max_episode_steps=12, instructions=True),
    "no answer": lambda: CountingEnv(num_envs=1, num_actions=0),
    "finite, no end": lambda: CountingEnv(num_envs=1, lengths=[100], stream_length=7),
    "stages": lambda: ae.GymnasiumEnv("CartPole-v1").pipe(ae.ObserveReward).pipe(ae.Noisy, std=0.1),
    "interleave": interleaved,
    "experience": experience,
    "twins": lambda: ae.Interleave([CountingEnv(num_envs=1), CountingEnv(num_envs=1, lengths=[2])]),
}
DATASETS = {
    f"{mode} {epochs} {episode}": lambda mode=mode, epochs=epochs, episode=episode: dataset(
        mode=mode, epochs=epochs, episode=episode, loss=None if mode == "joint" else "mse"
    )
    for mode in ("joint", "delayed", "split")
    for epochs in (1, None)
    for episode in ("pass", "batch", None)
    if (mode, episode) != ("joint", "batch")
}
PIPELINES = SOURCES | DATASETS
