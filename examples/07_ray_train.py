"""One agent on ranks that Ray Train places over a cluster: python examples/07_ray_train.py --num_ranks=2

Needs `pip install "aexp-torch[ray]"`. Starts Ray on this machine where no cluster is given (`--address=auto`). A rank that
dies, or its node, makes Ray Train start all ranks again, and these go on from the last epoch's checkpoint: the same
minibatches and weights as if nothing had happened.
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import lightning
import ray
import ray.train.lightning as ray_lightning
import torch
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import Generalist
from lightning_modules.callbacks import EpisodeStatistics


def train(config: dict[str, int]) -> None:
    """Runs on every rank: Lightning takes rank and world size from Ray Train, and the DataModule from Lightning."""
    torch.set_num_threads(1)
    data = ExperienceDataModule(
        train={"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8), "digits": ae.digits(batch_size=64)},
        weights={"cartpole": 1, "digits": 3},
        num_steps=32,
        num_workers=config["num_workers"],
        steps_per_epoch=config["steps_per_epoch"],
    )
    trainer = ray_lightning.prepare_trainer(
        lightning.Trainer(
            max_epochs=config["epochs"],
            accelerator="cpu",
            devices="auto",
            strategy=ray_lightning.RayDDPStrategy(),
            plugins=[ray_lightning.RayLightningEnvironment()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            # Each epoch's metrics and checkpoint, with the streams of all ranks, go to Ray Train.
            callbacks=[EpisodeStatistics(), ray_lightning.RayTrainReportCallback()],
        )
    )
    checkpoint = ray.train.get_checkpoint()
    with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
        path = folder and Path(folder, ray_lightning.RayTrainReportCallback.CHECKPOINT_NAME)
        trainer.fit(Generalist(data.specs), datamodule=data, ckpt_path=path)


def main(
    folder: str = "runs/ray_train",
    num_ranks: int = 2,
    num_workers: int = 0,
    epochs: int = 4,
    steps_per_epoch: int = 400,
    address: str | None = None,
) -> dict[str, float]:
    """Trains and returns the last epoch's metrics.

    Args:
      folder: of checkpoints; one that all nodes see.
      num_ranks: trainer processes on the cluster.
      num_workers: worker processes of each rank.
      epochs: each ends with a checkpoint.
      steps_per_epoch: training steps of each rank.
      address: of a running cluster; by default one of this machine's is started.
    """
    if not ray.is_initialized():
        ray.init(address=address)
    config = {"num_workers": num_workers, "epochs": epochs, "steps_per_epoch": steps_per_epoch}
    scaling = ScalingConfig(num_workers=num_ranks, resources_per_worker={"CPU": 1 + num_workers})
    run = RunConfig(
        name="generalist",
        storage_path=str(Path(folder).resolve()),
        failure_config=FailureConfig(max_failures=3),
        checkpoint_config=CheckpointConfig(num_to_keep=1),
    )
    result = TorchTrainer(train, train_loop_config=config, scaling_config=scaling, run_config=run).fit()
    print(result.metrics)
    return result.metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="runs/ray_train")
    parser.add_argument("--num_ranks", type=int, default=2)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--steps_per_epoch", type=int, default=400)
    parser.add_argument("--address")
    main(**vars(parser.parse_args()))
