"""What does a worker process cost: timesteps through `Loader(num_workers=1)` beside torch's own DataLoader.

Both hand out the same timesteps of the same environments, with an answer to each, in turns in one run; the figures are
medians over the turns. Run `python -m benchmarks.worker_transport`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch.utils.data import DataLoader

import aexp_torch as ae
from aexp_torch.testing import CountingEnv


def in_process(env: ae.Env) -> Iterator[ae.TimeStep]:
    """Iterates the environment here."""
    return iter(env)


def loader_worker(env: ae.Env) -> Iterator[ae.TimeStep]:
    """Iterates two slots in one worker of the Loader."""
    return iter(ae.Loader(env, num_workers=1, in_flight=2, steps_per_epoch=2**31))


def dataloader_worker(env: ae.Env) -> Iterator[ae.TimeStep]:
    """Iterates the environment in one worker of torch's DataLoader."""
    return iter(DataLoader(env, batch_size=None, num_workers=1))


CONTESTANTS: dict[str, Callable[[ae.Env], Iterator[ae.TimeStep]]] = {
    "in_process": in_process,
    "loader_1_worker": loader_worker,
    "dataloader_1_worker": dataloader_worker,
}
ENVIRONMENTS: dict[str, Callable[[], ae.Env]] = {
    "cartpole_64_lanes": lambda: ae.GymnasiumEnv("CartPole-v1", num_envs=64),
    "counting_4_lanes": lambda: CountingEnv(num_envs=4, num_actions=2),
}


def steps_per_second(stream: Iterator[ae.TimeStep], action: torch.Tensor, num_steps: int) -> float:
    """Takes and answers `num_steps` timesteps."""
    start = time.perf_counter()
    for _ in range(num_steps):
        next(stream).reply(action)
    return num_steps / (time.perf_counter() - start)


def measure(environment: str, turns: int, num_steps: int) -> dict[str, float]:
    """Returns timesteps per second for each contestant, and how many times DataLoader the Loader does."""
    make = ENVIRONMENTS[environment]
    (spec,) = make().specs.values()
    action = torch.zeros(spec.num_envs, dtype=torch.int64)
    streams = {name: start(make()) for name, start in CONTESTANTS.items()}
    rates: dict[str, list[float]] = {name: [] for name in streams}
    for turn in range(turns + 1):
        for name, stream in streams.items():
            rate = steps_per_second(stream, action, num_steps)
            if turn:  # the first turn starts the workers
                rates[name].append(rate)
    result = {name: round(median(values), 1) for name, values in rates.items()}
    return {**result, "loader_over_dataloader": round(result["loader_1_worker"] / result["dataloader_1_worker"], 2)}


def main() -> None:
    """Prints the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--num_steps", type=int, default=500, help="timesteps a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = {name: measure(name, options.turns, options.num_steps) for name in ENVIRONMENTS}
    print(json.dumps({"unit": "timesteps per second", **result}, indent=2))


if __name__ == "__main__":
    main()
