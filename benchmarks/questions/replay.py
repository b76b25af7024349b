"""How many stored transitions a second are sampled, and stored?

A transition is an observation, an action, a reward, a discount and the next observation; 256 of them are drawn uniformly
and handed out as tensors or arrays. aexp_torch stores every observation once, the others store observation and next
observation. Its batches are safe to keep: memory is used again once the last tensor on it has gone. The limit is NumPy
alone: `take(out=)`, which writes over what it gave before, and fancy indexing, which does not.
"""

import itertools
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure, Quote
from benchmarks.payloads import PayloadEnv
from benchmarks.turns import Turns

HERE = __name__
BATCH_SIZE = 256
NUM_LANES = 64
SHAPES: dict[str, tuple[Any, tuple[int, ...], int]] = {  # dtype, shape, transitions that are stored
    "image": (np.uint8, (84, 84), 10_048),
    "vector": (np.float32, (4,), 100_032),
}
TITLES = {"image": "84x84 uint8 images, 256 of 10,000", "vector": "float32 [4] vectors, 256 of 100,000"}
QUOTED = "measured with these shapes on two half idle cores (torchrl 0.14.1, cpprb 11.0.0, stable-baselines3 2.9.2)"
RATES = {  # a second, where take(out=) drew 721,000 images and 20,700,000 vectors
    "TorchRL, LazyMemmapStorage": {"image": 99_000 / 721_000, "vector": 2_300_000 / 20_700_000},
    "cpprb": {"image": 164_000 / 721_000, "vector": 12_000_000 / 20_700_000},
}
TAKE, FANCY = "NumPy take(out=)", "NumPy fancy indexing"


def contests() -> list[Contest]:
    """Returns contests over sampling, and one over storing."""
    return [*(sampling(kind) for kind in SHAPES), storing()]


def sampling(kind: str) -> Contest:
    """Returns the contest over sampling from one kind of observation."""
    ours = {"in memory": {}, "on disk": {"disk": True}, "by priority": {"prioritized": True}}
    contestants = [
        *(
            Contestant(f"aexp_torch, {name}", f"{HERE}:sample_ours", {"kind": kind, **options}, "ours")
            for name, options in ours.items()
        ),
        *(entry(name, "sample", kind) for name in PEERS),
        *(
            Contestant(name, f"{HERE}:sample_numpy", {"kind": kind, "out": name == TAKE}, "limit")
            for name in (TAKE, FANCY)
        ),
    ]
    bound = kind == "image"
    figures = [
        figure
        for name, cpprb in (("in memory", "cpprb"), ("on disk", "cpprb, memory-mapped"))
        for figure in (
            Figure(
                f"replay, {kind}, {name}: over TorchRL's LazyMemmapStorage",
                f"aexp_torch, {name}",
                "TorchRL, LazyMemmapStorage",
                at_least=4.0 if bound else None,
            ),
            Figure(
                f"replay, {kind}, {name}: over the better of NumPy's ways",
                f"aexp_torch, {name}",
                (TAKE, FANCY),
                at_least=0.8 if bound else None,
            ),
            Figure(
                f"replay, {kind}, {name}: over {cpprb}",
                f"aexp_torch, {name}",
                cpprb,
                at_least=1.0 if bound else None,
            ),
        )
    ]
    return Contest(f"Sampling {TITLES[kind]}", "transitions/s", contestants, figures)


def storing() -> Contest:
    """Returns the contest over storing steps of 64 lanes."""
    contestants = [
        Contestant(f"aexp_torch, {name}", f"{HERE}:store_ours", options, "ours")
        for name, options in {"in memory": {}, "on disk": {"disk": True}}.items()
    ]
    contestants += [entry(name, "store", "vector") for name in PEERS]
    return Contest("Storing steps of 64 lanes, float32 [4] vectors", "transitions/s", contestants)


def entry(name: str, what: str, kind: str) -> Contestant:
    """Returns a peer."""
    package, function, arguments = PEERS[name]
    quote = Quote(round(RATES[name][kind], 4), TAKE, QUOTED) if what == "sample" and name in RATES else None
    return Contestant(name, f"{HERE}:{what}_{function}", {"kind": kind, **arguments}, needs=(package,), quote=quote)


PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "TorchRL, LazyMemmapStorage": ("torchrl", "torchrl", {"memmap": True}),
    "TorchRL, LazyTensorStorage": ("torchrl", "torchrl", {"memmap": False}),
    "cpprb": ("cpprb", "cpprb", {"memmap": False}),
    "cpprb, memory-mapped": ("cpprb", "cpprb", {"memmap": True}),
    "Stable-Baselines3": ("stable_baselines3", "sb3", {}),
}


def full(kind: str) -> int:
    """Returns how many steps fill a buffer."""
    return SHAPES[kind][2] // NUM_LANES


def make_steps(kind: str) -> list[dict[str, np.ndarray]]:
    """Returns a few steps, [64, ...] each."""
    dtype, shape, _ = SHAPES[kind]
    generator = np.random.default_rng(0)
    steps = []
    for _ in range(9):
        observations = [generator.integers(0, 255, (NUM_LANES, *shape)).astype(dtype) for _ in range(2)]
        step = {
            "obs": observations[0],
            "next_obs": observations[1],
            "act": generator.integers(0, 4, NUM_LANES),
            "rew": generator.random(NUM_LANES, np.float32),
            "done": np.zeros(NUM_LANES, np.float32),
        }
        steps.append(step)
    return steps


# aexp_torch.


def store(buffer: ae.ReplayBuffer) -> Iterator[None]:
    """Has the stage store steps of a stream without end."""
    timestep = buffer.reset()
    timesteps = [buffer.env.step(torch.zeros(NUM_LANES, dtype=torch.int64)) for _ in range(2)]
    answers = [{"action": torch.from_numpy(step["act"])} for step in make_steps("vector")]
    for number in itertools.count():
        buffer.on_action(answers[number % len(answers)], timestep)
        timestep = buffer.on_timestep(timesteps[number % 2])
        yield


def make_ours(kind: str, folder: str | None, sampler: Any = None) -> ae.ReplayBuffer:
    """Returns the stage around a source that has its timesteps ready."""
    capacity = SHAPES[kind][2] + NUM_LANES
    return PayloadEnv({"image": "frames"}.get(kind, kind)).pipe(
        ae.ReplayBuffer, capacity=capacity, path=folder, sampler=sampler
    )


def sample_ours(turns: Turns, kind: str, disk: bool = False, prioritized: bool = False) -> None:
    """Samples, and with priorities gives them anew."""
    with tempfile.TemporaryDirectory() as folder:
        sampler = ae.PrioritizedSampler() if prioritized else ae.UniformSampler()
        buffer = make_ours(kind, folder if disk else None, sampler)
        for _ in zip(range(full(kind)), store(buffer)):
            pass
        turns.note("priorities are updated, too" if prioritized else "")
        while True:
            batch = buffer.sample(BATCH_SIZE)
            if prioritized:
                buffer.update_priorities(batch.rows, batch.reward.abs())
            turns(BATCH_SIZE)


def store_ours(turns: Turns, disk: bool = False) -> None:
    """Stores; on disk, beginning anew now and then."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            for _ in zip(range(100_000), store(make_ours("vector", folder if disk else None))):
                turns(NUM_LANES)


# The limit.


def sample_numpy(turns: Turns, kind: str, out: bool) -> None:
    """Gathers from arrays that are full of transitions."""
    count = SHAPES[kind][2]
    arrays = [
        np.concatenate([step[key] for step in itertools.islice(itertools.cycle(make_steps(kind)), full(kind))])
        for key in make_steps(kind)[0]
    ]
    generator = np.random.default_rng(0)
    targets = [np.empty((BATCH_SIZE, *array.shape[1:]), array.dtype) for array in arrays]
    turns.note("the next batch overwrites the last" if out else "")
    while True:
        places = generator.integers(0, count, BATCH_SIZE)
        if out:
            for array, target in zip(arrays, targets):
                np.take(array, places, axis=0, out=target, mode="clip")
        else:
            batch = [array[places] for array in arrays]  # noqa: F841 (held, as a consumer holds it)
        turns(BATCH_SIZE)


# Peers.


def torchrl_buffer(kind: str, memmap: bool, folder: str) -> tuple[Any, list[Any]]:
    """Returns TorchRL's buffer, and what goes into it."""
    from tensordict import TensorDict
    from torchrl.data import LazyMemmapStorage, LazyTensorStorage, TensorDictReplayBuffer

    size = SHAPES[kind][2]
    storage = LazyMemmapStorage(size, scratch_dir=folder) if memmap else LazyTensorStorage(size)
    buffer = TensorDictReplayBuffer(storage=storage, batch_size=BATCH_SIZE)

    def pack(step: dict[str, np.ndarray]) -> Any:
        new = {"observation": step["next_obs"], "reward": step["rew"][:, None], "done": step["done"][:, None] > 0}
        tensors = {key: torch.from_numpy(value) for key, value in new.items()}
        old = {"observation": torch.from_numpy(step["obs"]), "action": torch.from_numpy(step["act"])}
        return TensorDict({**old, "next": tensors}, batch_size=[NUM_LANES])

    return buffer, [(pack, step) for step in make_steps(kind)]


def sample_torchrl(turns: Turns, kind: str, memmap: bool) -> None:
    """Samples from TorchRL's buffer."""
    with tempfile.TemporaryDirectory() as folder:
        buffer, steps = torchrl_buffer(kind, memmap, folder)
        for _, (pack, step) in zip(range(full(kind)), itertools.cycle(steps)):
            buffer.extend(pack(step))
        while True:
            batch = buffer.sample()  # noqa: F841
            turns(BATCH_SIZE)


def store_torchrl(turns: Turns, kind: str, memmap: bool) -> None:
    """Stores in TorchRL's buffer, TensorDicts made of arrays."""
    with tempfile.TemporaryDirectory() as folder:
        buffer, steps = torchrl_buffer(kind, memmap, folder)
        for pack, step in itertools.cycle(steps):
            buffer.extend(pack(step))
            turns(NUM_LANES)


def cpprb_buffer(kind: str, folder: str | None) -> Any:
    """Returns cpprb's buffer."""
    from cpprb import ReplayBuffer

    dtype, shape, size = SHAPES[kind]
    observation = {"shape": shape, "dtype": dtype}
    fields = {"obs": observation, "next_obs": observation, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
    return ReplayBuffer(size, fields, **({"mmap_prefix": f"{folder}/"} if folder else {}))


def sample_cpprb(turns: Turns, kind: str, memmap: bool) -> None:
    """Samples from cpprb's buffer."""
    with tempfile.TemporaryDirectory() as folder:
        buffer = cpprb_buffer(kind, folder if memmap else None)
        for _, step in zip(range(full(kind)), itertools.cycle(make_steps(kind))):
            buffer.add(**step)
        while True:
            batch = buffer.sample(BATCH_SIZE)  # noqa: F841
            turns(BATCH_SIZE)


def store_cpprb(turns: Turns, kind: str, memmap: bool) -> None:
    """Stores in cpprb's buffer."""
    with tempfile.TemporaryDirectory() as folder:
        buffer = cpprb_buffer(kind, folder if memmap else None)
        for step in itertools.cycle(make_steps(kind)):
            buffer.add(**step)
            turns(NUM_LANES)


def sb3_buffer(kind: str) -> tuple[Any, list[dict[str, Any]]]:
    """Returns Stable-Baselines3's buffer, and the arguments of `add`."""
    from gymnasium import spaces
    from stable_baselines3.common.buffers import ReplayBuffer

    dtype, shape, size = SHAPES[kind]
    low, high = (0, 255) if kind == "image" else (-np.inf, np.inf)
    space = spaces.Box(low, high, shape, dtype)
    buffer = ReplayBuffer(size, space, spaces.Discrete(4), device="cpu", n_envs=NUM_LANES)
    names = {"reward": "rew", "action": "act", "next_obs": "next_obs", "obs": "obs", "done": "done"}
    steps = [{name: step[key] for name, key in names.items()} for step in make_steps(kind)]
    return buffer, [{**step, "infos": [{}] * NUM_LANES} for step in steps]


def sample_sb3(turns: Turns, kind: str) -> None:
    """Samples from Stable-Baselines3's buffer."""
    buffer, steps = sb3_buffer(kind)
    for _, step in zip(range(full(kind)), itertools.cycle(steps)):
        buffer.add(**step)
    while True:
        batch = buffer.sample(BATCH_SIZE)  # noqa: F841
        turns(BATCH_SIZE)


def store_sb3(turns: Turns, kind: str) -> None:
    """Stores in Stable-Baselines3's buffer."""
    buffer, steps = sb3_buffer(kind)
    for step in itertools.cycle(steps):
        buffer.add(**step)
        turns(NUM_LANES)


PEERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "TorchRL, LazyMemmapStorage": ("torchrl", "torchrl", {"memmap": True}),
    "TorchRL, LazyTensorStorage": ("torchrl", "torchrl", {"memmap": False}),
    "cpprb": ("cpprb", "cpprb", {"memmap": False}),
    "cpprb, memory-mapped": ("cpprb", "cpprb", {"memmap": True}),
    "Stable-Baselines3": ("stable_baselines3", "sb3", {}),
}
