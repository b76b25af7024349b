"""What does `for timestep in env` cost over stepping Gymnasium's own vector environment?

Both step CartPole-v1 with 64 lanes and the same actions, in turns, in one process; the figures are medians over the
turns, in microseconds a step. Run `python -m benchmarks.stream_overhead`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from statistics import median

import gymnasium
import numpy as np
import torch

import aexp_torch as ae

NUM_ENVS = 64


def gymnasium_steps(actions: list[torch.Tensor]) -> Iterator[None]:
    """Steps Gymnasium's own vector environment, once per `next`."""
    envs = gymnasium.make_vec("CartPole-v1", NUM_ENVS, vectorization_mode="vector_entry_point")
    envs.reset(seed=0)
    arrays = [action.numpy() for action in actions]
    while True:
        for action in arrays:
            envs.step(action)
            yield


def stream_steps(actions: list[torch.Tensor]) -> Iterator[None]:
    """Iterates the stream and answers every timestep, once per `next`."""
    stream = iter(ae.GymnasiumEnv("CartPole-v1", num_envs=NUM_ENVS))
    while True:
        for action in actions:
            next(stream).reply(action)
            yield


def seconds(steps: Iterator[None], num_steps: int) -> float:
    """Times `num_steps` steps."""
    start = time.perf_counter()
    for _ in range(num_steps):
        next(steps)
    return time.perf_counter() - start


def measure(turns: int, num_steps: int) -> dict[str, float]:
    """Runs both in turns and returns medians in microseconds a step, and the median of their differences."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    actions = [torch.from_numpy(generator.integers(0, 2, NUM_ENVS)) for _ in range(97)]
    contestants: dict[str, Callable] = {"gymnasium": gymnasium_steps, "stream": stream_steps}
    running = {name: make(actions) for name, make in contestants.items()}
    times: dict[str, list[float]] = {name: [] for name in running}
    for turn in range(turns + 1):
        for name, steps in running.items():
            elapsed = seconds(steps, num_steps) / num_steps * 1e6
            if turn:  # the first turn warms up
                times[name].append(elapsed)
    overhead = [stream - bare for stream, bare in zip(times["stream"], times["gymnasium"], strict=True)]
    return {
        "gymnasium_us_per_step": round(median(times["gymnasium"]), 2),
        "stream_us_per_step": round(median(times["stream"]), 2),
        "overhead_us_per_step": round(median(overhead), 2),
        "ratio": round(median(times["stream"]) / median(times["gymnasium"]), 3),
    }


def main() -> None:
    """Prints the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=31)
    parser.add_argument("--num_steps", type=int, default=1000, help="steps a turn")
    options = parser.parse_args()
    result = measure(options.turns, options.num_steps)
    print(
        json.dumps({"num_envs": NUM_ENVS, "turns": options.turns, "num_steps": options.num_steps, **result}, indent=2)
    )


if __name__ == "__main__":
    main()
