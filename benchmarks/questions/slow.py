"""How close to k times as fast are k workers, where a step is real computation?

Steps of 1 ms and 10 ms of NumPy. The limit is bare processes that compute and hand out nothing.
"""

import multiprocessing
import time
from statistics import median

import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS, Minibatches, PayloadEnv, burn
from benchmarks.turns import Turns

HERE = __name__
OURS = {0: "aexp_torch, in process", 1: "aexp_torch, 1 worker", 2: "aexp_torch, 2 workers"}
BARE = {1: "1 bare process", 2: "2 bare processes"}


def contests() -> list[Contest]:
    """Returns a contest for 1 ms and one for 10 ms."""
    loops = loops_per_millisecond()
    return [contest(1, loops), contest(10, 10 * loops)]


def loops_per_millisecond() -> int:
    """Returns how much is computed in a millisecond, here and now; everybody computes that much."""
    times = []
    for _ in range(21):
        start = time.perf_counter()
        burn(100)
        times.append(time.perf_counter() - start)
    return max(1, round(0.1 / median(times)))


def contest(milliseconds: int, loops: int) -> Contest:
    """Returns the contest for one length of a step."""
    contestants = [
        *(
            Contestant(name, f"{HERE}:loader", {"num_workers": count, "loops": loops}, "ours")
            for count, name in OURS.items()
        ),
        *(
            Contestant(
                f"DataLoader, {count} worker{'s' * (count > 1)}",
                f"{HERE}:dataloader",
                {"num_workers": count, "loops": loops},
            )
            for count in (1, 2)
        ),
        *(
            Contestant(name, f"{HERE}:bare", {"num_processes": count, "loops": loops}, "limit")
            for count, name in BARE.items()
        ),
    ]
    head = f"{milliseconds} ms"
    figures = [
        Figure(f"{head}: 2 workers over 1", OURS[2], OURS[1], at_least=1.9 if milliseconds == 10 else None),
        Figure(
            f"{head}: 2 workers over 2 bare processes", OURS[2], BARE[2], at_least=0.95 if milliseconds == 1 else None
        ),
        Figure(f"{head}: 2 bare processes over 1", BARE[2], BARE[1]),
    ]
    return Contest(f"Steps of {milliseconds} ms", "steps/s", contestants, figures, longer=4.0)


def loader(turns: Turns, num_workers: int, loops: int) -> None:
    """Answers every timestep at once."""
    env = PayloadEnv("vector", loops)
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    streams = ae.Loader(env, num_workers=num_workers, steps_per_epoch=NUM_STEPS)
    try:
        for timestep in streams:
            timestep.reply(action)
            turns()
    finally:
        streams.close()


def dataloader(turns: Turns, num_workers: int, loops: int) -> None:
    """Takes minibatches from torch's DataLoader; no answers go back."""
    for _ in torch.utils.data.DataLoader(Minibatches("vector", loops=loops), batch_size=None, num_workers=num_workers):
        turns()


def bare(turns: Turns, num_processes: int, loops: int) -> None:
    """Counts what processes compute."""
    context = multiprocessing.get_context("fork")
    done = context.Semaphore(0)

    def work() -> None:
        while True:
            burn(loops)
            done.release()

    for _ in range(num_processes):
        context.Process(target=work, daemon=True).start()
    while True:
        done.acquire(timeout=60)
        turns()
