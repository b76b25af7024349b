"""How many steps a second does CartPole-v1 take, with 64 lanes and an answer to every timestep?

Everybody steps with the same random actions. The limit for a vectoriser in Python is Gymnasium's own vectorised CartPole
in one process. EnvPool's environments are written in C++; PufferLib runs in a Python environment of its own.
"""

import numpy as np
import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure, Quote
from benchmarks.payloads import NUM_STEPS
from benchmarks.peers import pufferlib
from benchmarks.turns import Turns

HERE = __name__
CART, LANES = "CartPole-v1", 64
OWN = "Gymnasium, own vector form"
ONE, TWO = "aexp_torch, 1 worker, 2 slots", "aexp_torch, 2 workers, 4 slots"
ASYNC, SUBPROC = "Gymnasium AsyncVectorEnv, 64 processes", "Stable-Baselines3 SubprocVecEnv, 64 processes"
PARALLEL, COLLECTOR = "TorchRL ParallelEnv, 2 processes", "TorchRL Collector, 2 processes"
PUFFERS = {1: "PufferLib, 1 worker", 2: "PufferLib, 2 workers"}
RATES = {1: 151_000, 2: 10_000, OWN: 1_670_000, ASYNC: 18_500, SUBPROC: 18_800, PARALLEL: 6_600, COLLECTOR: 6_500}
PLACE = "measured on two idle cores"
ENVPOOL = {"EnvPool, 1 thread": (64, 1), "EnvPool, 2 threads": (64, 2), "EnvPool, asynchronous, 32 of 64": (32, 2)}
ENVPOOL_RATES = dict(zip(ENVPOOL, (367_000, 361_000, 433_000)))


def contests() -> list[Contest]:
    """Returns the contest."""
    return [Contest("CartPole-v1, 64 lanes", "env steps/s", [*ours(), *peers(), limit()], figures())]


def ours() -> list[Contestant]:
    """Returns what is ours."""
    return [
        Contestant("aexp_torch, in process", f"{HERE}:loader", {"num_workers": 0, "in_flight": 1}, "ours"),
        Contestant(ONE, f"{HERE}:loader", {"num_workers": 1, "in_flight": 2}, "ours"),
        Contestant(TWO, f"{HERE}:loader", {"num_workers": 2, "in_flight": 4}, "ours"),
    ]


def peers() -> list[Contestant]:
    """Returns the others."""
    return [
        Contestant("Gymnasium SyncVectorEnv", f"{HERE}:gymnasium_loop", {"form": "sync"}),
        Contestant(ASYNC, f"{HERE}:gymnasium_loop", {"form": "async"}),
        *(envpool(name, *arguments) for name, arguments in ENVPOOL.items()),
        Contestant(SUBPROC, f"{HERE}:subproc_loop", needs=("stable_baselines3",), quote=quote(RATES[SUBPROC])),
        Contestant(PARALLEL, f"{HERE}:parallel_loop", needs=("torchrl",), quote=quote(RATES[PARALLEL])),
        Contestant(COLLECTOR, f"{HERE}:collector_loop", needs=("torchrl",), quote=quote(RATES[COLLECTOR])),
        *(
            Contestant(
                name,
                "benchmarks.peers.pufferlib:cartpole",
                {"num_workers": count, "num_envs": LANES},
                python=pufferlib.PYTHON,
                quote=quote(RATES[count]),
            )
            for count, name in PUFFERS.items()
        ),
    ]


def limit() -> Contestant:
    """Returns what all are measured by."""
    return Contestant(OWN, f"{HERE}:gymnasium_loop", {"form": "vector_entry_point"}, "limit")


def figures() -> list[Figure]:
    """Says what is made of the medians."""
    processes = [ASYNC, SUBPROC, PARALLEL, COLLECTOR, *PUFFERS.values()]
    return [
        Figure("CartPole: 1 worker with 2 slots over Gymnasium's own vector form", ONE, OWN, at_least=0.75),
        Figure("CartPole: 1 worker over the best peer with several processes", ONE, processes, at_least=8.0),
        Figure("CartPole: 1 worker over Gymnasium's AsyncVectorEnv", ONE, ASYNC, at_least=50.0),
        Figure("CartPole: 1 worker over TorchRL", ONE, (PARALLEL, COLLECTOR), at_least=50.0),
        Figure("CartPole: 1 worker over EnvPool", ONE, list(ENVPOOL)),
        Figure("CartPole: in process over Gymnasium's own vector form", "aexp_torch, in process", OWN),
        Figure("CartPole: 2 workers over 1", TWO, ONE),
    ]


def quote(rate: float) -> Quote:
    """Returns a rate as a ratio to Gymnasium's own vector form."""
    return Quote(round(rate / RATES[OWN], 4), OWN, PLACE)


def envpool(name: str, batch_size: int, num_threads: int) -> Contestant:
    """Returns EnvPool."""
    arguments = {"batch_size": batch_size, "num_threads": num_threads}
    return Contestant(name, f"{HERE}:envpool_loop", arguments, needs=("envpool",), quote=quote(ENVPOOL_RATES[name]))


def make_actions() -> list[np.ndarray]:
    """Returns random actions, int64 [64] each."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, 2, LANES) for _ in range(97)]


def loader(turns: Turns, num_workers: int, in_flight: int, num_envs: int = LANES) -> None:
    """Answers every timestep."""
    env = ae.GymnasiumEnv(CART, num_envs=num_envs)
    generator = np.random.default_rng(0)
    actions = [torch.from_numpy(generator.integers(0, 2, num_envs)) for _ in range(97)]
    streams = ae.Loader(env, num_workers=num_workers, in_flight=in_flight, steps_per_epoch=NUM_STEPS)
    try:
        iterator = iter(streams)
        while True:
            for action in actions:
                next(iterator).reply(action)
                turns(num_envs)
    finally:
        streams.close()


def gymnasium_loop(turns: Turns, form: str, num_envs: int = LANES) -> None:
    """Steps Gymnasium's vector environments."""
    import gymnasium

    generator = np.random.default_rng(0)
    actions = [generator.integers(0, 2, num_envs) for _ in range(97)]
    envs = gymnasium.make_vec(CART, num_envs, vectorization_mode=form)
    envs.reset(seed=0)
    try:
        while True:
            for action in actions:
                envs.step(action)
                turns(num_envs)
    finally:
        envs.close()


def envpool_loop(turns: Turns, batch_size: int, num_threads: int) -> None:
    """Steps EnvPool; with a batch smaller than the lanes, whichever are ready."""
    import envpool as library

    envs = library.make_gymnasium(CART, num_envs=LANES, batch_size=batch_size, num_threads=num_threads, seed=0)
    actions = make_actions()
    if batch_size == LANES:
        envs.reset()
        while True:
            for action in actions:
                envs.step(action)
                turns(LANES)
    envs.async_reset()
    while True:
        for action in actions:
            info = envs.recv()[-1]
            envs.send(action[:batch_size], info["env_id"])
            turns(batch_size)


def subproc_loop(turns: Turns) -> None:
    """Steps Stable-Baselines3's vector environment: one process per lane."""
    import gymnasium
    from stable_baselines3.common.vec_env import SubprocVecEnv

    envs = SubprocVecEnv([lambda: gymnasium.make(CART)] * LANES, start_method="fork")
    actions = make_actions()
    envs.reset()
    try:
        while True:
            for action in actions:
                envs.step(action)
                turns(LANES)
    finally:
        envs.close()


def torchrl_env():
    """Returns 64 lanes of TorchRL in two processes."""
    from torchrl.envs import ParallelEnv, SerialEnv
    from torchrl.envs.libs.gym import GymEnv

    return ParallelEnv(2, lambda: SerialEnv(LANES // 2, lambda: GymEnv(CART, categorical_action_encoding=True)))


def parallel_loop(turns: Turns) -> None:
    """Steps TorchRL's environment, with resets where lanes end."""
    envs = torchrl_env()
    data = envs.reset()
    actions = [torch.from_numpy(action).reshape(envs.batch_size) for action in make_actions()]
    try:
        while True:
            for action in actions:
                _, data = envs.step_and_maybe_reset(data.set("action", action))
                turns(LANES)
    finally:
        envs.close()


def collector_loop(turns: Turns) -> None:
    """Takes minibatches of 64 steps from TorchRL's collector, which acts at random."""
    from torchrl.collectors import Collector

    collector = Collector(torchrl_env, None, frames_per_batch=LANES, total_frames=-1)
    try:
        for batch in collector:
            turns(batch.numel())
    finally:
        collector.shutdown()
