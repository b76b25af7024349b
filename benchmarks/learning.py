"""Do the agents learn what they should, how fast, and with which seeds?

Each figure is one run of Trainer.fit from an ExperienceDataModule, then the greedy policy on episodes or samples that it
has not seen. Scores are mean returns for CartPole-v1 and accuracies for digits; seconds are those of the fit and the
evaluation. Run `python -m benchmarks.learning ppo --seeds 5`.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import DQN, PPO, Classifier, Generalist

__all__ = ["RUNS", "TARGETS", "run"]

CART = "CartPole-v1"
Scores = dict[str, float]

TARGETS: dict[str, Scores] = {
    "ppo": {CART: 475},
    "dqn": {CART: 475},
    "classifier": {"digits": 0.975},
    "dqn_digits": {"digits": 0.98},
    "ppo_digits": {"digits": 0.97},
    "generalist": {CART: 400, "digits": 0.95},
}


def wrong(prediction: Tensor, y: Tensor) -> Tensor:
    """Returns 1 for a wrong answer, 0 for a right one, float32 [B]."""
    return (prediction != y).float()


def ppo(seed: int) -> Scores:
    """100,000 steps of CartPole-v1 (99,840 in trajectories of 32)."""
    data = ExperienceDataModule(ae.GymnasiumEnv(CART, num_envs=8), num_steps=32, steps_per_epoch=390, seed=seed)
    agent = PPO(data.specs, seed=seed)
    fit(agent, data)
    return cartpole(agent, 100, seed)


def dqn(seed: int) -> Scores:
    """50,000 steps of CartPole-v1; the best of 25 checkpoints by 50 other episodes each."""
    train, val = ae.GymnasiumEnv(CART, num_envs=16), ae.GymnasiumEnv(CART, num_envs=50)
    data = ExperienceDataModule(train, val, steps_per_epoch=125, episodes=50, seed=seed)
    agent = DQN(data.specs, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor=f"val/{CART}/return", mode="max")
        fit(agent, data, epochs=25, callbacks=[best])
        agent = DQN.load_from_checkpoint(best.best_model_path, specs=data.specs, weights_only=True)
    return cartpole(agent, 100, seed)


def classifier(seed: int) -> Scores:
    """1,000 minibatches of digits with their answers."""
    data = digits_module(seed, 1000, "joint", None)
    return digits(Classifier(data.specs, seed=seed), data)


def dqn_digits(seed: int) -> Scores:
    """2,000 minibatches of digits, by reward: 1 for a right answer."""
    data = digits_module(seed, 2000, "delayed", "correct")
    options: dict[str, Any] = {"bandit": True, "num_layers": 1, "head_gain": 0.1, "real_scale": None, "updates": 2}
    explore: dict[str, Any] = {
        "exploration_steps": 38_400,
        "epsilon": 0.1,
        "replay_size": 20_000,
        "warmup": 128,
        "reward_scale": 1.0,
    }
    return digits(DQN(data.specs, **options, **explore, seed=seed), data)


def ppo_digits(seed: int) -> Scores:
    """8,000 minibatches of digits, by reward: -1 for a wrong answer."""
    data = digits_module(seed, 8000, "delayed", wrong, num_steps=1)
    network: dict[str, Any] = {"hidden": 128, "num_layers": 1, "activation": "relu", "share_body": True}
    learn: dict[str, Any] = {
        "epochs": 1,
        "minibatches": 1,
        "normalize_advantages": False,
        "entropy_weight": 0.05,
        "max_grad_norm": 1.0,
    }
    return digits(PPO(data.specs, gamma=0.0, reward_scale=1.0, **learn, **network, seed=seed), data)


def generalist(seed: int) -> Scores:
    """One loader: 390 trajectories (about 100,000 steps) of CartPole-v1 among 1,170 minibatches of digits."""
    data = ExperienceDataModule(
        {CART: ae.GymnasiumEnv(CART, num_envs=8), "digits": ae.digits()},
        test={"digits": ae.digits("test", epochs=1)},
        num_steps=32,
        weights={CART: 1, "digits": 3},
        steps_per_epoch=1560,
        seed=seed,
    )
    agent = Generalist(data.specs, seed=seed)
    return digits(agent, data) | cartpole(agent, 20, seed)


RUNS: dict[str, Callable[[int], Scores]] = {
    function.__name__: function for function in (ppo, dqn, classifier, dqn_digits, ppo_digits, generalist)
}


def fit(agent: LightningModule, data: ExperienceDataModule, epochs: int = 1, callbacks: Any = None) -> Trainer:
    """Trains on the CPU, in silence."""
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=callbacks is not None,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(agent, data)
    return trainer


def digits_module(seed: int, steps: int, mode: Any, loss: Any, num_steps: int | None = None) -> ExperienceDataModule:
    """Returns 1,437 digits for training in minibatches of 64, and 360 for testing."""
    train = ae.digits(mode=mode, loss=loss)
    test = ae.digits("test", epochs=1, mode=mode, loss=loss)
    return ExperienceDataModule(train, test=test, num_steps=num_steps, steps_per_epoch=steps, seed=seed)


def digits(agent: LightningModule, data: ExperienceDataModule) -> Scores:
    """Trains, and returns the accuracy on the test split."""
    trainer = fit(agent, data)
    (metrics,) = trainer.test(agent, data, verbose=False)
    return {"digits": metrics["test/digits/accuracy"]}


def cartpole(agent: Any, episodes: int, seed: int) -> Scores:
    """Returns the mean return of the greedy policy over episodes that no training has seen."""
    result = ae.evaluate(agent.greedy, ae.GymnasiumEnv(CART, num_envs=episodes), episodes, seed=10_000 + seed)
    return {CART: float(result[CART]["return"].mean())}


def run(name: str, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Yields one result per seed: scores, seconds on the clock and of this process, and whether the target was met."""
    for seed in seeds:
        clock, process = time.perf_counter(), time.process_time()
        scores = RUNS[name](seed)
        yield {
            "run": name,
            "seed": seed,
            "scores": {key: round(value, 4) for key, value in scores.items()},
            "met": all(scores[key] >= target for key, target in TARGETS[name].items()),
            "seconds": round(time.perf_counter() - clock, 1),
            "cpu_seconds": round(time.process_time() - process, 1),
        }


def main() -> None:
    """Prints a line of JSON per run and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", choices=[*RUNS, "all"])
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, from --first")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    for name in RUNS if "all" in options.runs else options.runs:
        for result in run(name, list(range(options.first, options.first + options.seeds))):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
