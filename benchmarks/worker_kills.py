"""Does training go on, and does nothing grow, while its worker processes are killed again and again?

Trains a small DQN through Trainer.fit with worker processes, sends SIGKILL to one of them every few seconds, and prints
processes, file descriptors, shared memory and the trainer's resident memory at the beginning and at the end. Run
`python -m benchmarks.worker_kills --minutes 10`.
"""

import argparse
import gc
import json
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
import warnings
from statistics import median

import lightning as L
import torch

import aexp_torch as ae
from benchmarks.questions.memory import MIB, memory_of
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import DQN

SAMPLE_SECONDS = 1.0


def footprint() -> dict[str, float]:
    """Counts what a leak would make grow."""
    return {
        "processes": len(multiprocessing.active_children()),
        "file_descriptors": len(os.listdir("/proc/self/fd")),
        "dev_shm_bytes": sum(entry.stat().st_size for entry in os.scandir("/dev/shm") if entry.is_file()),
        "memory_mib": memory_of(os.getpid(), "Rss") / MIB,
    }


class Killer(L.Callback):
    """Kills a random worker every `period` seconds, and stops training after `seconds`.

    Args:
      period: seconds between kills.
      seconds: of training.
    """

    def __init__(self, period: float, seconds: float):
        self.period, self.seconds, self.kills = period, seconds, 0
        self.samples: list[dict[str, float]] = []
        self._over = threading.Event()

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts to kill."""
        self._end = time.monotonic() + self.seconds
        self._next_sample = 0.0
        self._thread = threading.Thread(target=self._kill, daemon=True)
        self._thread.start()

    def _kill(self) -> None:
        choose = random.Random(0)
        while not self._over.wait(self.period):
            workers = [child for child in multiprocessing.active_children() if child.name.startswith("aexp-worker")]
            if workers:
                os.kill(choose.choice(workers).pid, signal.SIGKILL)
                self.kills += 1

    def on_train_batch_end(self, trainer: L.Trainer, *_) -> None:
        """Takes a sample once a second."""
        now = time.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_SECONDS
            gc.collect()
            self.samples.append(footprint())
        if now >= self._end:
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Kills no more."""
        self._over.set()
        self._thread.join()


def measure(minutes: float, period: float, num_workers: int) -> dict:
    """Trains for so long; the footprint at the beginning is that after the first tenth, when all buffers are full."""
    torch.set_num_threads(1)
    before = footprint()
    data = ExperienceDataModule(
        ae.GymnasiumEnv("CartPole-v1", num_envs=8),
        num_workers=num_workers,
        in_flight=2 * num_workers,
        steps_per_epoch=1000,
        max_restarts=None,
    )
    agent = DQN(data.specs, replay_size=10_000, warmup=500)
    killer = Killer(period, 60 * minutes)
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=-1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=directory,
            callbacks=[killer],
        )
        trainer.fit(agent, data)
        loader = data.train_dataloader().streams
        restarts = loader.restarts
        loader.close()
    tenth = max(1, len(killer.samples) // 10)
    early, late = killer.samples[tenth : 2 * tenth], killer.samples[-tenth:]
    result = {
        "minutes": minutes,
        "kills": killer.kills,
        "restarts": restarts,
        "training_steps": trainer.fit_loop.epoch_loop.total_batch_idx + 1,
        "before": before,
    }
    for key in before:
        result[f"{key}_early_late"] = [median(s[key] for s in early), median(s[key] for s in late)]
    first, last = result["memory_mib_early_late"]
    return {**result, "memory_growth_percent": round(100 * (last / first - 1), 2)}


def main() -> None:
    """Prints the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--period", type=float, default=5, help="seconds between kills")
    parser.add_argument("--num_workers", type=int, default=2)
    result = measure(**vars(parser.parse_args()))
    gc.collect()  # the loader, and with it the memory of its slots
    print(json.dumps({**result, "after": footprint()}, indent=2))


if __name__ == "__main__":
    main()
