"""One agent on several ranks, resumed where it was stopped: torchrun --standalone --nproc_per_node=2 examples/06_ranks.py

Lightning takes ranks from torchrun or SLURM, or starts them itself (`python examples/06_ranks.py --devices=2`). Two nodes:
`torchrun --nnodes=2 --nproc_per_node=1 --rdzv_backend=c10d --rdzv_endpoint=HOST:29500 examples/06_ranks.py --num_nodes=2`
on both. For SLURM: 06_ranks.sbatch. Run the same command again, and training goes on from the last checkpoint.
"""

import argparse
import os

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import Generalist
from lightning_modules.callbacks import EpisodeStatistics, Throughput


def main(
    folder: str = "runs/ranks",
    max_steps: int = 1560,
    devices: int = int(os.environ.get("LOCAL_WORLD_SIZE", 1)),
    num_nodes: int = 1,
    num_workers: int = 0,
    max_time: str | None = None,
) -> dict[str, float]:
    """Trains and returns scores over the episodes and digits of all ranks.

    Args:
      folder: of checkpoints; one that all nodes see.
      max_steps: training steps of each rank.
      devices: ranks on each node.
      num_nodes: nodes.
      num_workers: worker processes of each rank.
      max_time: DD:HH:MM:SS after which training stops, on all ranks at the same step.
    """
    torch.set_num_threads(1)
    data = ExperienceDataModule(
        # Every rank has its own slots of CartPole and its own share of each pass over the digits.
        train={"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8), "digits": ae.digits(batch_size=64)},
        test={
            "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=10),
            "digits": ae.digits("test", epochs=1, batch_size=60, shuffle=False),
        },
        weights={"cartpole": 1, "digits": 3},  # all ranks learn from the same source at every step
        num_steps=32,
        num_workers=num_workers,
        steps_per_epoch=max_steps,
    )
    agent = Generalist(data.specs)
    # A checkpoint has the streams of all ranks: what is lost at a stop are the steps since the last one, nothing else.
    # An exception on all ranks, such as a signal to end, saves one, too.
    saved = ModelCheckpoint(folder, save_last=True, every_n_train_steps=1000, save_on_exception=True)
    trainer = lightning.Trainer(
        max_epochs=1,
        max_time=max_time,
        accelerator="cpu",
        strategy="ddp" if devices * num_nodes > 1 else "auto",
        devices=devices,
        num_nodes=num_nodes,
        logger=False,
        callbacks=[EpisodeStatistics(), Throughput(), saved],
    )
    trainer.fit(agent, datamodule=data, ckpt_path="last")
    metrics = {name: float(value) for name, value in trainer.test(agent, datamodule=data, verbose=False)[0].items()}
    if trainer.is_global_zero:
        print(metrics)
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="runs/ranks")
    parser.add_argument("--max_steps", type=int, default=1560)
    parser.add_argument("--devices", type=int, default=int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    parser.add_argument("--num_nodes", type=int, default=1)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--max_time")
    main(**vars(parser.parse_args()))
