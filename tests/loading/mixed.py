"""A loader with a bit of everything in it, and what loaders hand out when they are answered by a fixed rule."""

import io
from collections.abc import Callable

import torch

import aexp_torch as ae
from aexp_torch.specs import flatten
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import answer_to, snapshot

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


def snapshots(loader: ae.Loader, num_steps: int = 10**6) -> list[ae.TimeStep]:
    """Answers by place in the stream, for an epoch or less, and returns what came, copied."""
    timesteps = []
    for timestep in loader:
        timesteps.append(snapshot(timestep))
        if loader.specs[timestep.source].action:
            timestep.reply(answer_to(loader, timestep))
        if len(timesteps) == num_steps:
            break
    return timesteps


def through_disk(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def trajectories(loader: ae.Loader) -> list[tuple]:
    def actor(timestep):
        spec = loader.specs[timestep.source]
        return {next(iter(spec.action)): torch.full((spec.num_envs,), timestep.ticket.step % 2)}

    seen = []
    for item in loader.drive(actor, num_steps=3):
        timestep = item.timesteps if isinstance(item, ae.Trajectory) else item
        seen.append((item.source, timestep.reward.tolist(), timestep.step_type.tolist()))
    loader.close()
    return seen


def episodes(**options) -> list[tuple]:
    loader = ae.Loader(ae.GymnasiumEnv("CartPole-v1", num_envs=3), in_flight=2, episodes=10, **options)
    seen = []
    for _ in range(2):
        for timestep in loader:
            seen.append((timestep.ticket.slot, timestep.step_type.tolist(), timestep.reward.tolist()))
            timestep.reply(torch.ones(3, dtype=torch.int64))
    loader.close()
    return seen


def rewards_with_few_answers(env: ae.Env, **options) -> list:
    """Answers every third timestep only; the environment has two lanes and actions 0 and 1."""
    loader = ae.Loader(env, in_flight=2, steps_per_epoch=20, **options)
    seen = []
    for number, timestep in enumerate(loader):
        seen.append(timestep.reward.tolist())
        if number % 3 == 0:
            timestep.reply(torch.tensor([1, 0]))
    loader.close()
    return seen


def slot_by_slot(kill: Callable[[ae.Loader], None] | None = None, **options) -> dict[int, list]:
    """Runs two workers with a slot each; `kill` ends the first one after ten steps."""
    loader = ae.Loader(CountingEnv(random=True), num_workers=2, in_flight=2, steps_per_epoch=40, **options)
    seen: dict[int, list] = {0: [], 1: []}
    for number, timestep in enumerate(loader):
        seen[timestep.ticket.slot].append(timestep.observation["observation"].tolist())
        if kill is not None and number == 10:
            kill(loader)
        timestep.reply(torch.tensor([1, 2]))
    loader.close()
    return seen
