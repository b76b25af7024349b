"""How many minibatches a second come out of a worker process?

The source has them ready, and every loader hands them to a consumer that drops each as it takes the next. Through
aexp_torch an answer goes back to every one of them; nothing is copied or released by hand. The limit is `memcpy`: the
bytes copied from memory to memory in one process.

PufferLib takes part twice: with an environment per lane, as elsewhere, and with all lanes as agents of one environment,
which then copies a whole minibatch at once. Its workers spin, and the next step overwrites what it has handed out.
"""

import dataclasses
import itertools
import mmap
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure, Quote
from benchmarks.payloads import NUM_STEPS, Minibatches, PayloadEnv, clone, make_arrays
from benchmarks.peers import pufferlib
from benchmarks.turns import Turns

HERE = __name__
TITLES = {
    "small": "A dict of 8 small tensors (float32 [32, 4])",
    "image": "Images (uint8 [32, 84, 84, 4], 903,168 bytes)",
    "large": "Large images (uint8 [32, 512, 512], 8 MiB)",
}
MEMCPY = "memcpy"
PUFFER_RATES = {1: 12_800, 2: 145}  # images a second, where memcpy made 36,900
PUFFER_PLACE = "measured with images on two idle cores (PufferLib 3.0.0)"


def contests() -> list[Contest]:
    """Returns one contest per payload."""
    return [contest(payload, title) for payload, title in TITLES.items()]


def contest(payload: str, title: str) -> Contest:
    """Returns the contest for one payload."""
    ours = [
        Contestant(
            our_name(num_workers, in_flight),
            f"{HERE}:loader",
            {"num_workers": num_workers, "in_flight": in_flight},
            "ours",
        )
        for num_workers, in_flight in ((0, 1), (1, 2), (1, 4), (2, 2), (2, 4))
    ]
    peers = [
        *(dataloader("DataLoader", "torch", count) for count in (1, 2)),
        Contestant("DataLoader of arrays, 1 worker", f"{HERE}:dataloader_loop", {"num_workers": 1, "arrays": True}),
        *(dataloader("StatefulDataLoader", "torchdata", count) for count in (1, 2)),
        *(node(method, count) for method in ("thread", "process") for count in (1, 2)),
        *(puffer(count, payload, joint) for joint in (False, True) for count in (1, 2)),
    ]
    ours = [with_payload(entry, payload) for entry in ours]
    peers = [with_payload(entry, payload) for entry in peers]
    limit = with_payload(Contestant(MEMCPY, f"{HERE}:memcpy", kind="limit"), payload)
    return Contest(title, "minibatches/s", [*ours, *peers, limit], figures(payload, [entry.name for entry in peers]))


def figures(payload: str, peers: list[str]) -> list[Figure]:
    """Says what is made of the medians."""
    agents = [puffer_name(count, joint=True) for count in (1, 2)]
    peers = [name for name in peers if name not in agents]
    one, two = (our_name(1, 2), our_name(1, 4)), (our_name(2, 2), our_name(2, 4))
    torch_least = {"small": 60.0, "image": 15.0}.get(payload)
    best_least = None if payload == "large" else 1.0
    rows = [
        Figure(f"{payload}: 1 worker over DataLoader with 1 worker", one, "DataLoader, 1 worker", at_least=torch_least),
        Figure(f"{payload}: 1 worker over the best peer", one, peers, at_least=best_least),
        Figure(f"{payload}: 2 workers over the best peer", two, peers, at_least=best_least),
    ]
    rows.append(Figure(f"{payload}: over PufferLib with all lanes in one environment", (*one, *two), agents))
    if payload != "small":
        rows.append(
            Figure(f"{payload}: over memcpy", (*one, *two), MEMCPY, at_least=0.5 if payload == "image" else None)
        )
    return rows


def our_name(num_workers: int, in_flight: int) -> str:
    """Names one of ours."""
    workers = {0: "in process", 1: "1 worker"}.get(num_workers, f"{num_workers} workers")
    return f"aexp_torch, {workers}, {in_flight} in flight" if num_workers else f"aexp_torch, {workers}"


def with_payload(entry: Contestant, payload: str) -> Contestant:
    """Returns the contestant, for this payload."""
    return dataclasses.replace(entry, arguments={**entry.arguments, "payload": payload})


def dataloader(name: str, package: str, num_workers: int) -> Contestant:
    """Returns a contestant around a loader with DataLoader's interface."""
    stateful = package == "torchdata"
    return Contestant(
        f"{name}, {num_workers} worker{'s' * (num_workers > 1)}",
        f"{HERE}:dataloader_loop",
        {"num_workers": num_workers, "stateful": stateful},
        needs=(package,),
    )


def node(method: str, num_workers: int) -> Contestant:
    """Returns a contestant around torchdata's nodes."""
    kind = f"{num_workers} {method}" + ("es" if method == "process" else "s") * (num_workers > 1)
    return Contestant(
        f"torchdata nodes, {kind}",
        f"{HERE}:node_loop",
        {"method": method, "num_workers": num_workers},
        needs=("torchdata",),
    )


def puffer(num_workers: int, payload: str, joint: bool) -> Contestant:
    """Returns PufferLib, with an environment per lane or with all lanes in one (its agents)."""
    quote = Quote(round(PUFFER_RATES[num_workers] / 36_900, 4), MEMCPY, PUFFER_PLACE)
    return Contestant(
        puffer_name(num_workers, joint),
        "benchmarks.peers.pufferlib:transport",
        {"num_workers": num_workers, "joint": joint},
        python=pufferlib.PYTHON,
        quote=quote if payload == "image" and not joint else None,
    )


def puffer_name(num_workers: int, joint: bool) -> str:
    """Names a form of PufferLib."""
    return f"PufferLib, {num_workers} worker{'s' * (num_workers > 1)}" + ", lanes as agents" * joint


def loader(turns: Turns, payload: str, num_workers: int, in_flight: int) -> None:
    """Takes timesteps and answers each."""
    env = PayloadEnv(payload)
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    streams = ae.Loader(env, num_workers=num_workers, in_flight=in_flight, steps_per_epoch=NUM_STEPS)
    turns.note("" if num_workers else "the source's own tensors, nothing is copied")
    try:
        for timestep in streams:
            timestep.reply(action)
            turns()
    finally:
        streams.close()


def dataloader_loop(turns: Turns, payload: str, num_workers: int, stateful: bool = False, arrays: bool = False) -> None:
    """Takes minibatches from torch's DataLoader, or from torchdata's."""
    kind: Any = DataLoader
    if stateful:
        from torchdata.stateful_dataloader import StatefulDataLoader as kind
    options = {"collate_fn": identity} if arrays else {}
    for _ in kind(Minibatches(payload, arrays), batch_size=None, num_workers=num_workers, **options):
        turns()


def identity(batch: Any) -> Any:
    """Keeps NumPy arrays as they are."""
    return batch


def node_loop(turns: Turns, payload: str, method: Any, num_workers: int) -> None:
    """Takes minibatches from torchdata's nodes, whose workers make them."""
    from torchdata import nodes

    tensors = {key: torch.from_numpy(value) for key, value in make_arrays(payload).items()}
    source = nodes.IterableWrapper(itertools.repeat(tensors))
    context = "spawn" if method == "process" else None  # forked from among its threads, it hangs now and then
    mapped = nodes.ParallelMapper(
        source, clone, num_workers=num_workers, method=method, multiprocessing_context=context
    )
    mapped.reset()
    for _ in mapped:
        turns()


def memcpy(turns: Turns, payload: str) -> None:
    """Copies the bytes into memory that two processes could share, two blocks in turn."""
    arrays = list(make_arrays(payload).values())
    blocks = [
        [np.frombuffer(mmap.mmap(-1, array.nbytes), array.dtype).reshape(array.shape) for array in arrays]
        for _ in range(2)
    ]
    while True:
        for block in blocks:
            for target, array in zip(block, arrays, strict=True):
                np.copyto(target, array)
            turns()
