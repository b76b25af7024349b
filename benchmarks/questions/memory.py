"""How much memory does a worker take, and a slot?

The trainer and all its processes while CartPole-v1 steps with 64 lanes: the proportional set size (PSS), in which a page
that n processes share counts 1/n in each, and beside it the writable shared memory. A peer's process per lane is shown as
it comes; what a worker or a slot adds is a difference between two contestants.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS, Minibatches, PayloadEnv
from benchmarks.turns import Turns

HERE = __name__
MIB = 2**20


def contests() -> list[Contest]:
    """Returns a contest over PSS and one over shared memory."""
    return [pss(), shared()]


def pss() -> Contest:
    """Returns the contest over all memory."""
    ours = {
        "aexp_torch, in process, 1 slot": {"num_workers": 0, "in_flight": 1},
        "aexp_torch, 1 worker, 2 slots": {"num_workers": 1, "in_flight": 2},
        "aexp_torch, 1 worker, 4 slots": {"num_workers": 1, "in_flight": 4},
        "aexp_torch, 2 workers, 4 slots": {"num_workers": 2, "in_flight": 4},
        "aexp_torch, 1 spawned worker, 2 slots": {"num_workers": 1, "in_flight": 2, "context": "spawn"},
    }
    contestants = [
        *(Contestant(name, f"{HERE}:loader", arguments, "ours") for name, arguments in ours.items()),
        *(
            Contestant(f"DataLoader, {count} worker{'s' * (count > 1)}", f"{HERE}:dataloader", {"num_workers": count})
            for count in (1, 2)
        ),
        Contestant("Gymnasium AsyncVectorEnv, 64 processes", f"{HERE}:gymnasium_async"),
    ]
    figures = [
        Figure(
            "memory: a forked worker",
            "aexp_torch, 2 workers, 4 slots",
            minus="aexp_torch, 1 worker, 4 slots",
            unit="MiB",
        ),
        Figure(
            "memory: a slot of CartPole-v1 with 64 lanes",
            "aexp_torch, 1 worker, 4 slots",
            minus="aexp_torch, 1 worker, 2 slots",
            per=2,
            unit="MiB",
        ),
        Figure(
            "memory: a spawned worker instead of a forked one, in addition",
            "aexp_torch, 1 spawned worker, 2 slots",
            minus="aexp_torch, 1 worker, 2 slots",
            unit="MiB",
        ),
        Figure("memory: a worker of DataLoader", "DataLoader, 2 workers", minus="DataLoader, 1 worker", unit="MiB"),
    ]
    return Contest("Memory of the trainer and its workers", "MiB", contestants, figures, better="lower")


def shared() -> Contest:
    """Returns the contest over shared memory."""
    contestants = [
        Contestant(
            f"{title}, {in_flight} slots",
            f"{HERE}:loader",
            {"num_workers": 1, "in_flight": in_flight, "payload": payload, "only_shared": True},
            "ours",
        )
        for title, payload in (("CartPole-v1, 64 lanes", None), ("images, 903,168 bytes", "image"))
        for in_flight in (2, 4)
    ]
    figures = [
        Figure(f"shared memory: a slot of {title}", f"{title}, 4 slots", minus=f"{title}, 2 slots", per=2, unit="MiB")
        for title in ("CartPole-v1, 64 lanes", "images, 903,168 bytes")
    ]
    return Contest("Shared memory", "MiB", contestants, figures, better="lower")


def loader(
    turns: Turns,
    num_workers: int,
    in_flight: int,
    context: str = "fork",
    payload: str | None = None,
    only_shared: bool = False,
) -> None:
    """Answers timesteps, and looks at memory."""
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=64) if payload is None else PayloadEnv(payload)
    (spec,) = env.specs.values()
    env.close()
    action = torch.zeros(spec.num_envs, dtype=torch.int64)
    streams = ae.Loader(env, num_workers=num_workers, in_flight=in_flight, context=context, steps_per_epoch=NUM_STEPS)
    try:
        for number, timestep in enumerate(streams):
            timestep.reply(action)
            if number % 1000 == 999:
                turns.show(shared_memory() if only_shared else memory(turns))
    finally:
        streams.close()


def dataloader(turns: Turns, num_workers: int) -> None:
    """Takes what CartPole would give from torch's DataLoader, and looks at memory."""
    loader = torch.utils.data.DataLoader(Minibatches("vector"), batch_size=None, num_workers=num_workers)
    for number, _ in enumerate(loader):
        if number % 1000 == 999:
            turns.show(memory(turns))


def gymnasium_async(turns: Turns) -> None:
    """Steps Gymnasium's AsyncVectorEnv, and looks at memory."""
    import gymnasium
    import numpy as np

    envs = gymnasium.make_vec("CartPole-v1", 64, vectorization_mode="async")
    envs.reset(seed=0)
    try:
        while True:
            for _ in range(100):
                envs.step(np.zeros(64, np.int64))
            turns.show(memory(turns))
    finally:
        envs.close()


def memory(turns: Turns) -> float:
    """Returns the PSS of this process and of those that it has started, in MiB."""
    count = len(list(family()))
    turns.note(f"{count} process{'es' * (count > 1)}, {shared_memory():.2f} MiB shared")
    return sum(memory_of(process, "Pss") for process in family()) / MIB


def family(process: int | None = None) -> Iterator[int]:
    """Yields this process and all that descend from it."""
    process = process or os.getpid()
    yield process
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def memory_of(process: int, kind: str) -> int:
    """Returns the memory of a process in bytes: "Rss", all that is resident, or "Pss", shared pages in proportion."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return 1024 * int(line.split()[1])
    return 0


def shared_memory() -> float:
    """Returns the size of this process's writable shared mappings, in MiB."""
    sizes = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, access, offset, device, inode, *_ = line.split()
        if access.startswith("rw") and access.endswith("s"):
            begin, end = (int(number, 16) for number in span.split("-"))
            sizes[device, inode, offset] = end - begin
    return sum(sizes.values()) / MIB
