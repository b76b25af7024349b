"""Learn in imagination: a world model watches random play of CartPole, PPO practises in the model, then plays for real.

`PredictInputs` asks the world model what comes next; `Imaginary` makes an environment of its answers. PPO learns from no
step of the real CartPole, which only measures how far it has come.
"""

import argparse
from pathlib import Path

import lightning
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import PPO, WorldModel

NAME = (
    "CartPole-v1"  # of the real environment, and of the imagined one: an agent knows its networks by the source's name
)


class Measure(lightning.Callback):
    """Notes the real returns of each validation, over the imagined steps so far."""

    def __init__(self):
        self.curve = []

    def on_validation_end(self, trainer: lightning.Trainer, agent: PPO) -> None:
        self.curve.append((agent.env_steps, float(trainer.callback_metrics[f"val/{NAME}/return"])))


def fit(
    agent: lightning.LightningModule, data: ExperienceDataModule, epochs: int, *callbacks: lightning.Callback
) -> None:
    """Trains without writing files."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    lightning.Trainer(max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks), **quiet).fit(agent, data)


def mean_return(policy, episodes: int, seed: int) -> float:
    """Returns the mean return in the real environment."""
    return float(ae.evaluate(policy, ae.GymnasiumEnv(NAME, num_envs=20), episodes, seed)[NAME]["return"].mean())


def draw(curve: list[tuple[int, float]], at_random: float, path: Path) -> None:
    """Draws real returns over imagined steps."""
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    ax.plot(*zip(*curve, strict=True), "o-", color="#d9661f", label="PPO, trained in imagination only")
    ax.axhline(at_random, color="#5b6570", linestyle="--", label=f"random play ({at_random:.0f})")
    ax.set(xlabel="imagined steps", ylabel="return in the real CartPole-v1, mean of 20", xlim=(0, None), ylim=(0, 520))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="center right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main(real_steps: int = 10_000, epochs: int = 8, seed: int = 0, folder: str = "runs/imaginary") -> dict[str, float]:
    """Trains the model on random play and PPO in the model; returns real returns, of PPO and of random play.

    Args:
      real_steps: random steps of the real environment, from which the world model learns.
      epochs: of PPO, 10,000 imagined steps each.
      seed: of everything.
      folder: where the plot goes.
    """
    torch.set_num_threads(1)
    # What comes next is asked for, reward and end included. Weight 0: right answers earn nothing extra.
    watched = ae.GymnasiumEnv(NAME, num_envs=32).pipe(ae.PredictInputs, signals=True, weight=0.0)
    data = ExperienceDataModule(watched, steps_per_epoch=real_steps // 32, seed=seed)
    model = WorldModel(data.specs, seed=seed)  # acts at random
    fit(model, data, 1)

    dream = ae.Imaginary(model, start=model.starts(), horizon=50, num_envs=32, name=NAME)
    real = ae.GymnasiumEnv(NAME, num_envs=20)  # measures; PPO does not learn from it
    imagined = ExperienceDataModule(dream, val=real, num_steps=32, steps_per_epoch=10, episodes=20, seed=seed)
    agent, measure = PPO(imagined.specs, seed=seed), Measure()
    measure.curve.append((0, mean_return(agent.greedy, 20, seed)))
    fit(agent, imagined, epochs, measure)

    generator = torch.Generator().manual_seed(seed)
    at_random = mean_return(lambda timestep: torch.randint(2, (20,), generator=generator), 100, seed)
    metrics = {"return": mean_return(agent.greedy, 100, seed + 1), "random": at_random}
    draw(measure.curve, at_random, Path(folder) / "imaginary.png")
    print(metrics)
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real_steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="runs/imaginary")
    main(**vars(parser.parse_args()))
