"""How long does an answer take to the environment in another process, and the next timestep back?

One slot, one worker: the median time of answering a timestep and receiving the next. The environment's own time, which
is what the same steps take without another process, is measured beside it and subtracted. What queues and pipes of
Python and torch need for the same arrays is measured too.
"""

import multiprocessing
from typing import Any

import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS, PayloadEnv, make_arrays
from benchmarks.turns import Turns

HERE = __name__
TITLES = {"vector": "One observation (float32 [64, 4])", "small": "A dict of 8 small tensors (float32 [32, 4])"}
OURS, ALONE, STREAM = "aexp_torch, 1 worker", "the environment alone", "aexp_torch, in process"
PIPE, QUEUE = "Pipe of arrays", "torch Queue of tensors"


def contests() -> list[Contest]:
    """Returns one contest per payload."""
    return [contest(payload, title) for payload, title in TITLES.items()]


def contest(payload: str, title: str) -> Contest:
    """Returns the contest for one payload."""
    rows: list[tuple[str, str, Any, Any]] = [
        (OURS, "loader", "ours", {"num_workers": 1}),
        (STREAM, "loader", "ours", {"num_workers": 0}),
        ("aexp_torch in DataLoader, 1 worker", "dataloader", "ours", {}),
        ("Pipe of integers", "pipe", "peer", {"arrays": False}),
        (PIPE, "pipe", "peer", {"arrays": True}),
        ("Queue of arrays", "queue", "peer", {"tensors": False}),
        (QUEUE, "queue", "peer", {"tensors": True}),
        (ALONE, "alone", "limit", {}),
    ]
    contestants = [
        Contestant(name, f"{HERE}:{function}", {**arguments, "payload": payload}, kind)
        for name, function, kind, arguments in rows
    ]
    bound = 15.0 if payload == "vector" else None
    figures = [
        Figure(f"{payload}: round trip over the environment's own time", OURS, minus=ALONE, unit="µs", at_most=bound),
        Figure(f"{payload}: torch's queue over the round trip", QUEUE, OURS),
    ]
    return Contest(title, "µs", contestants, figures, better="lower")


def loader(turns: Turns, payload: str, num_workers: int) -> None:
    """Answers and waits for the next timestep."""
    env = PayloadEnv(payload)
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    streams = ae.Loader(env, num_workers=num_workers, in_flight=1, steps_per_epoch=NUM_STEPS)
    try:
        for timestep in streams:
            turns.lap()
            timestep.reply(action)
    finally:
        streams.close()


def dataloader(turns: Turns, payload: str) -> None:
    """Answers into a worker of torch's DataLoader."""
    env = PayloadEnv(payload)
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    for timestep in torch.utils.data.DataLoader(env, batch_size=None, num_workers=1):
        turns.lap()
        timestep.reply(action)


def alone(turns: Turns, payload: str) -> None:
    """Steps the environment."""
    env = PayloadEnv(payload)
    action = torch.zeros(env.num_envs, dtype=torch.int64)
    env.reset()
    while True:
        env.step(action)
        turns.lap()


def pipe(turns: Turns, payload: str, arrays: bool) -> None:
    """Sends through `multiprocessing.Pipe`."""
    here, there = multiprocessing.Pipe()
    answer, batch = (make_arrays("vector"), make_arrays(payload)) if arrays else (1, 2)
    echo(there.recv, there.send, batch)
    while True:
        here.send(answer)
        here.recv()
        turns.lap()


def queue(turns: Turns, payload: str, tensors: bool) -> None:
    """Sends through `multiprocessing.Queue`, torch's own where tensors are sent."""
    module: Any = torch.multiprocessing if tensors else multiprocessing
    answers, batches = module.Queue(), module.Queue()
    answer, ready = make_arrays("vector"), make_arrays(payload)
    if tensors:
        answer, ready = ({key: torch.from_numpy(value) for key, value in tree.items()} for tree in (answer, ready))
    echo(answers.get, batches.put, ready)
    while True:
        answers.put({key: value.clone() for key, value in answer.items()} if tensors else answer)
        batches.get()
        turns.lap()


def echo(receive: Any, send: Any, batch: Any) -> None:
    """Starts a process that sends a fresh minibatch for everything that it receives."""

    def work() -> None:
        while True:
            receive()
            fresh = isinstance(batch, dict) and isinstance(next(iter(batch.values())), torch.Tensor)
            send({key: value.clone() for key, value in batch.items()} if fresh else batch)

    multiprocessing.get_context("fork").Process(target=work, daemon=True).start()
