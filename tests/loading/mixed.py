"""A loader with a bit of everything in it, and what it hands out when it is answered by a fixed rule."""

import torch

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv

ROWS = {"x": torch.arange(10.0)[:, None], "y": torch.arange(10) % 3}


def make_loader(num_workers: int, **options) -> ae.Loader:
    envs = {
        "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=3).pipe(ae.Noisy, std=0.01),
        "counting": CountingEnv(num_envs=2, random=True, nested=True),
        "joint": ae.DatasetEnv(ROWS, batch_size=4, epochs=1, shuffle=True),
        "delayed": ae.DatasetEnv(ROWS, batch_size=4, epochs=1, mode="delayed", loss="correct"),
        "both": ae.Interleave([CountingEnv(num_envs=1, name="one"), CountingEnv(num_envs=3, name="three")]),
    }
    options = {"in_flight": 4, "steps_per_epoch": 120, "seed": 3, **options}
    return ae.Loader(envs, num_workers=num_workers, **options)


def describe(timestep: ae.TimeStep) -> tuple:
    leaves = [(path, None if leaf is None else leaf.tolist()) for path, leaf in sorted(flatten(timestep.observation))]
    signals = (timestep.step_type.tolist(), timestep.reward.tolist(), timestep.discount.tolist())
    return timestep.source, timestep.ticket.slot, timestep.ticket.step, *signals, leaves


def answer(loader: ae.Loader, timestep: ae.TimeStep) -> None:
    spec = loader.specs[timestep.source]
    if spec.action:
        (key,) = spec.action
        timestep.reply({key: torch.full((spec.num_envs,), timestep.ticket.step % 2)})


def run(loader: ae.Loader, stop: int | None = None) -> list[tuple]:
    seen = []
    for timestep in loader:
        seen.append(describe(timestep))
        answer(loader, timestep)
        if len(seen) == stop:
            break
    return seen
