"""Training runs on one or several ranks, which write down what every rank got.

Also a script, for torchrun: `runs.py '{"kind": "mixed", "folder": "...", "strategy": "ddp", "devices": 2}'`.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import dm_env
import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import multiprocessing

import aexp_torch as ae
from aexp_torch.specs import flatten
from lightning_modules import ExperienceDataModule, ranks
from lightning_modules.agents import DQN, PPO, Classifier, Generalist, WorldModel
from lightning_modules.callbacks import EpisodeStatistics, Throughput

SMALL = {"x": torch.linspace(-1, 1, 52).view(26, 2), "y": torch.arange(26) % 3}
STEPS = 6  # per epoch
EPOCHS = 2


class Lines(torch.utils.data.IterableDataset):
    """An iterable dataset without a state of its own."""

    def __iter__(self):
        for x, y in zip(SMALL["x"], SMALL["y"], strict=True):
            yield {"x": x, "y": y}


def cart(num_envs=2):
    return ae.GymnasiumEnv("CartPole-v1", num_envs=num_envs).pipe(ae.Noisy, std=0.01)


def asked(env):
    return env.pipe(ae.PredictInputs, signals=True, weight=0)


def lines():
    specs = {"y": dm_env.specs.DiscreteArray(3, np.int64)}
    return ae.DatasetEnv(Lines(), batch_size=3, shuffle=True, shuffle_buffer=5, specs=specs, name="lines")


def data(**options):
    return ae.DatasetEnv(SMALL, batch_size=3, name="data", **options)


def build(kind, workers=0, in_flight=4, validates=True, annealing_steps=None, **options):
    """Returns an agent and streams of a kind.

    dqn and ppo (RL), classifier (datasets), passes (a finite one), mixed, known and growing (mixed, and nothing known
    before), and world (predictions of what comes next).
    """
    val_data = data(epochs=1)
    agent, train, val, own = {
        "dqn": (DQN, {"cart": cart()}, {"cart": cart(1)}, {}),
        "ppo": (PPO, {"cart": cart(), "pole": cart(3)}, {"cart": cart(1)}, {"num_steps": 4}),
        "classifier": (Classifier, {"lines": lines(), "data": data(shuffle=True)}, {"data": val_data}, {}),
        "passes": (Classifier, data(shuffle=True, epochs=1), val_data, {"steps_per_epoch": None, "uneven": "pad"}),
        "mixed": (
            Generalist,
            {"cart": cart(), "lines": lines(), "data": data(shuffle=True)},
            {"cart": cart(1), "data": val_data},
            {"num_steps": 4},
        ),
        **dict.fromkeys(
            ("known", "growing"),
            (Generalist, {"cart": cart(), "data": data(shuffle=True)}, {"data": val_data}, {"num_steps": 4}),
        ),
        "world": (WorldModel, {"cart": asked(cart())}, {"cart": asked(cart(1))}, {}),
    }[kind]
    small = {
        DQN: {"warmup": 2, "batch_size": 4, "updates": 2, "replay_size": 20},
        PPO: {"epochs": 2, "minibatches": 3},
        Generalist: {"epochs": 2, "minibatches": 3},
        Classifier: {},
        WorldModel: {"warmup": 2, "batch_size": 4, "updates": 2, "replay_size": 20},
    }[agent]
    module = ExperienceDataModule(
        train,
        val if validates else None,
        **{"num_workers": workers, "in_flight": in_flight, "steps_per_epoch": STEPS, "episodes": 3, **own, **options},
    )
    specs = {} if kind == "growing" else module.specs  # what it does not know, it learns of as it comes
    return agent(specs, hidden=8, annealing_steps=annealing_steps, **small), module


def digest(batch):
    """Returns a hash of everything in a timestep or a trajectory."""
    slot = batch.slot if isinstance(batch, ae.Trajectory) else (batch.ticket.slot, batch.ticket.step)
    found = hashlib.sha1(repr((batch.source, slot)).encode())
    parts = (batch.timesteps, batch.action, batch.extras) if isinstance(batch, ae.Trajectory) else (batch, {}, {})
    for leaf in (*parts[0][:3], *(leaf for tree in (parts[0].observation, *parts[1:]) for _, leaf in flatten(tree))):
        found.update(b"None" if leaf is None else repr((leaf.dtype, leaf.shape)).encode() + leaf.numpy().tobytes())
    return found.hexdigest()


class Record(Callback):
    """Writes down what this rank got.

    Saves after training steps, as `<number>.ckpt`; raises at the "start" or the "end" of one, on some ranks.
    """

    def __init__(self, folder, save_after=(), fail_at=None, fail_in="start", fail_on=(0, 1)):
        self.folder, self.save_after = Path(folder), save_after
        self.fail_at, self.fail_in, self.fail_on = fail_at, fail_in, fail_on
        self.trained, self.validated, self.metrics, self.rows = [], [], [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self._fail(trainer, "start")
        slot = batch.slot if isinstance(batch, ae.Trajectory) else batch.ticket.slot
        self.trained.append((batch.source, slot, digest(batch)))
        if isinstance(batch, ae.TimeStep) and "x" in batch.observation:
            x = batch.observation["x"][:, 0]
            self.rows += x[batch.observation.get("mask:x", torch.ones(len(x), dtype=torch.bool))].tolist()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if done in self.save_after:
            trainer.save_checkpoint(self.folder / f"{done}.ckpt")
        self._fail(trainer, "end")

    def _fail(self, trainer, where):
        place = (trainer.fit_loop.epoch_loop.total_batch_idx, where)
        if place == (self.fail_at, self.fail_in) and trainer.global_rank in self.fail_on:
            raise RuntimeError(f"boom on rank {trainer.global_rank}")

    def on_validation_batch_start(self, trainer, module, batch, batch_idx, dataloader_idx=0):
        self.validated.append((batch.source, batch.ticket.slot, digest(batch)))

    def on_validation_end(self, trainer, module):
        self.metrics.append({name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name})

    def on_train_end(self, trainer, module):
        result = {
            "trained": self.trained,
            "validated": self.validated,
            "metrics": self.metrics,
            "rows": self.rows,
            "logged": {
                name: float(value) for name, value in trainer.callback_metrics.items() if not name.endswith("_per_s")
            },
            "weights": {name: value.clone() for name, value in module.state_dict().items()},
            "threads": torch.get_num_threads(),
        }
        torch.save(result, self.folder / f"rank{trainer.global_rank}.pt")


def train(kind, folder, strategy="auto", devices=1, num_nodes=1, ckpt_path=None, saves=False, flags=None, **options):
    """Runs a fit; each rank writes `<folder>/rank<n>.pt`. With `saves`, there is a checkpoint of epochs and exceptions."""
    record = {name: options.pop(name) for name in ("save_after", "fail_at", "fail_in", "fail_on") if name in options}
    ranks.SECONDS = options.pop("patience", ranks.SECONDS)
    saver = ModelCheckpoint(
        folder, filename="{epoch}", every_n_epochs=1, save_top_k=-1, save_on_exception=True, save_last=True
    )
    agent, module = build(kind, **options)
    trainer = Trainer(
        accelerator="cpu",
        strategy=strategy,
        devices=devices,
        num_nodes=num_nodes,
        **{"max_epochs": EPOCHS, "num_sanity_val_steps": 0, **(flags or {})},
        callbacks=[
            EpisodeStatistics(every_n_steps=2),
            Throughput(every_n_steps=2),
            Record(folder, **record),
            *([saver] if saves else []),
        ],
        logger=False,
        enable_checkpointing=saves,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():  # a resumed run need not write checkpoints itself
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
        trainer.fit(agent, module, ckpt_path=ckpt_path)


def results(folder, world_size=2):
    """Returns what every rank wrote."""
    return [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]


def _as_torchrun_would(rank, world_size, port, folder, function, arguments):
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
    }
    torch.set_num_threads(1)
    try:
        function(**arguments)
    except BaseException:
        Path(folder, f"error{rank}").write_text(traceback.format_exc())
        sys.exit(1)


def on_ranks(function, world_size=2, seconds=60, **arguments):
    """Runs a function in forked processes that find what torchrun sets; returns the error of each, "" where none."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("fork")
        processes = [
            context.Process(target=_as_torchrun_would, args=(rank, world_size, port, folder, function, arguments))
            for rank in range(world_size)
        ]
        for process in processes:
            process.start()
        try:
            deadline = time.monotonic() + seconds
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
            late = [rank for rank, process in enumerate(processes) if process.is_alive()]
        finally:
            for process in processes:
                process.kill()
                process.join()
        assert not late, f"ranks {late} had not ended after {seconds} s"
        paths = [Path(folder) / f"error{rank}" for rank in range(world_size)]
        return [path.read_text() if path.exists() else "" for path in paths]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(arguments, script, *options):
    """Starts torchrun, whose output goes to a file; to be waited for with `finish`."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "torch.distributed.run", *arguments, str(script), *options]
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115  (`finish` closes it)
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=root, start_new_session=True
    )
    process.output = output
    return process


def finish(*processes, seconds=100):
    """Waits for processes of `torchrun`, ends what takes too long, and returns their exit codes and outputs."""
    deadline = time.monotonic() + seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    ended = []
    for process in processes:
        with process.output as output:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            ended.append((process.returncode, output.read()))
    return ended


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    train(**json.loads(sys.argv[1]))
