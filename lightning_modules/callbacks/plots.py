"""Plots: a learning curve per source, as PNG files in the run's folder, and all of them on a page."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from lightning_modules.callbacks.overview import Panel, draw_overview
from lightning_modules.callbacks.progress import compact
from lightning_modules.callbacks.stream_watch import StreamWatch, specs_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Plots"]

Points = list[tuple[float, ...]]
BLUE, ORANGE, GREY = "#2f6db3", "#d9661f", "#5b6570"


class Plots(Callback):
    """Draws one figure per source when training ends, also when it is interrupted.

    The episodic return over interactions: median and the band from 10 to 90 % over a running window of training
    episodes, and the mean (bars: 10 to 90 %) of the episodes of each validation. The metrics that the module logs as
    `<source>/<metric>` over samples: their running mean, and what it logs as `val/<source>/<metric>`.

    Files are `<run folder>/plots/<source>.png`, and where there are several sources `<run folder>/plots/overview.png`, a
    panel for each; nothing is written under `fast_dev_run`.

    Args:
      metrics: names of the logged metrics that are drawn.
      every_n_steps: batches between two looks at the logged metrics.
      folder: where to write; the default is `plots` in the run's folder.
    """

    def __init__(
        self, metrics: tuple[str, ...] = ("accuracy", "mae", "loss"), every_n_steps: int = 10, folder: str | None = None
    ):
        super().__init__()
        self.metrics, self.every_n_steps, self.folder = tuple(metrics), every_n_steps, folder
        self._watch, self._evaluation = StreamWatch(), StreamWatch()
        self._batches = 0
        self._returns: dict[str, Points] = {}  # (env_steps, return) of every training episode
        self._greedy: dict[str, Points] = {}  # (env_steps, mean, 10 %, 90 %) of every validation
        self._logged: dict[str, Points] = {}  # "<source>/<metric>" and "val/<source>/<metric>": (samples, value)
        self._validated: dict[str, list[float]] = {}
        self._into: Path | None = None
        self._seed = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Learns the sources and the run's folder."""
        self._watch.specs = specs_of(trainer.train_dataloader)
        run = trainer.log_dir or trainer.default_root_dir
        self._into = Path(self.folder) if self.folder else Path(run) / "plots"
        seed = os.environ.get("PL_GLOBAL_SEED")
        self._seed = f" · seed {seed}" if seed else ""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the episodes and metrics of a training batch."""
        for episode in self._watch.update(batch):
            self._returns.setdefault(episode.source, []).append((episode.env_steps, episode.episodic_return))
        self._batches += 1
        if self._batches % self.every_n_steps == 0:
            self._note(trainer, "")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts a validation's count."""
        self._evaluation, self._validated = StreamWatch(specs_of(trainer.val_dataloaders)), {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Notes the episodes of a validation batch."""
        for episode in self._evaluation.update(batch):
            self._validated.setdefault(episode.source, []).append(episode.episodic_return)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes a validation's outcome."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        for source, returns in self._validated.items():
            low, high = np.percentile(returns, [10, 90])
            point = (self._watch.env_steps.get(source, 0), float(np.mean(returns)), float(low), float(high))
            self._greedy.setdefault(source, []).append(point)
        self._note(trainer, "val/")

    def _note(self, trainer: Trainer, split: str) -> None:
        """Notes the logged metrics; in training those that are new, since Lightning keeps showing the last ones."""
        logged = trainer.callback_metrics
        for source, samples in self._watch.samples.items():
            names = [name for metric in self.metrics if (name := f"{split}{source}/{metric}") in logged]
            values = {name: float(logged[name]) for name in names}
            last = {name: self._logged[name][-1][1] for name in names if name in self._logged}
            if split or values != last:
                for name, value in values.items():
                    self._logged.setdefault(name, []).append((samples, value))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws."""
        self._draw(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draws what there is."""
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        if self._into is None or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        for source in self._watch.samples:
            self.draw(source)
        self.draw_overview()

    def draw_overview(self) -> Path | None:
        """Draws all sources on a page and returns the file; None where there are fewer than two to draw yet."""
        panels = [panel for source in sorted(self._watch.samples) if (panel := self._panel(source)) is not None]
        if len(panels) < 2 or self._into is None:
            return None
        return draw_overview(self._into / "overview.png", f"{len(panels)} sources{self._seed}", panels)

    def _panel(self, source: str) -> Panel | None:
        def points(curve: Points) -> np.ndarray:
            return np.array([point[:2] for point in curve], dtype=float).reshape(-1, 2)

        returns, greedy = self._returns.get(source, []), self._greedy.get(source, [])
        if returns or greedy:
            score = f"greedy {compact(greedy[-1][1])}" if greedy else ""
            return Panel(source, "return", points(returns), points(greedy), score)
        told = [m for m in self.metrics if m != "loss" and self._logged.get(f"val/{source}/{m}")]
        score = ", ".join(f"{m} {compact(self._logged[f'val/{source}/{m}'][-1][1])}" for m in told)
        for metric in reversed(self.metrics):
            training, validation = self._logged.get(f"{source}/{metric}"), self._logged.get(f"val/{source}/{metric}")
            if training:
                return Panel(source, metric, points(training), points(validation or []), score)
        return None

    def draw(self, source: str) -> Path | None:
        """Draws one source and returns the file; None where there is nothing to draw yet."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        episodic = bool(self._returns.get(source) or self._greedy.get(source))
        wanted = [m for m in self.metrics if m != "loss" or not episodic]  # a policy's loss says nothing
        metrics = [m for m in wanted if self._logged.get(f"{source}/{m}") or self._logged.get(f"val/{source}/{m}")]
        panels = [*(["return"] if episodic else []), *metrics]
        if not panels or self._into is None:
            return None
        heights = [1.6 if episodic and panel == "return" else 1.0 for panel in panels]
        figure = Figure(figsize=(8, 0.9 + 2.4 * sum(heights)), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for panel, ax in zip(panels, axes, strict=True):
            if panel == "return":
                self._draw_return(ax, source)
            else:
                self._draw_metric(ax, source, panel)
            _polish(ax)
        figure.suptitle(f"{source}{self._seed}", x=0.01, ha="left", fontsize=13, fontweight="bold")
        self._into.mkdir(parents=True, exist_ok=True)
        path = self._into / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', source)}.png"
        figure.savefig(path)
        return path

    def _draw_return(self, ax: "Axes", source: str) -> None:
        episodes = np.array(self._returns.get(source, []), dtype=float).reshape(-1, 2)
        if len(episodes):
            window = min(100, max(20, len(episodes) // 20))
            x, low, middle, high = _running_percentiles(episodes, window)
            ax.scatter(
                episodes[:, 0], episodes[:, 1], s=4, color=BLUE, alpha=0.15, linewidths=0, label="training episode"
            )
            ax.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0, label=f"10-90 % of {window} episodes")
            ax.plot(x, middle, color=BLUE, linewidth=1.8, label=f"median of {window} episodes")
        greedy = np.array(self._greedy.get(source, []), dtype=float).reshape(-1, 4)
        if len(greedy):
            x, mean, low, high = greedy.T
            error = np.maximum([mean - low, high - mean], 0.0)
            label = "greedy validation, mean and 10-90 %"
            ax.errorbar(x, mean, error, fmt="o", color=ORANGE, markersize=5, capsize=3, linewidth=1.2, label=label)
            _say_last(ax, x[-1], mean[-1])
        ax.set_xlabel("interactions (environment steps, all lanes)")
        ax.set_ylabel("episodic return")

    def _draw_metric(self, ax: "Axes", source: str, metric: str) -> None:
        training = np.array(self._logged.get(f"{source}/{metric}", []), dtype=float).reshape(-1, 2)
        if len(training):
            width = max(1, len(training) // 25)
            x, mean = _running_mean(training, width)
            if width > 1:
                ax.plot(*training.T, color=BLUE, alpha=0.25, linewidth=0.8, label="training minibatch")
            label = f"mean of {width} training minibatches" if width > 1 else "training minibatch"
            ax.plot(x, mean, color=BLUE, linewidth=1.8, label=label)
        validation = np.array(self._logged.get(f"val/{source}/{metric}", []), dtype=float).reshape(-1, 2)
        if len(validation):
            ax.plot(*validation.T, "o", color=ORANGE, markersize=5, label="validation")
            _say_last(ax, validation[-1, 0], validation[-1, 1], below=metric != "loss")
        ax.set_xlabel("samples seen")
        ax.set_ylabel(f"{metric} (share correct)" if metric == "accuracy" else metric)
        if metric == "accuracy":
            ax.set_ylim(bottom=min(ax.get_ylim()[0], 0.9), top=1.01)

    def state_dict(self) -> dict[str, Any]:
        """Returns what has been noted, as tensors."""
        curves = {"returns": self._returns, "greedy": self._greedy, "logged": self._logged}
        return {
            "watch": self._watch.state_dict(),
            "batches": self._batches,
            "curves": {
                kind: {name: torch.tensor(points, dtype=torch.float64) for name, points in curve.items()}
                for kind, curve in curves.items()
            },
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._watch.load_state_dict(state_dict["watch"])
        self._batches = state_dict["batches"]
        self._returns, self._greedy, self._logged = (
            {name: [tuple(point) for point in points.tolist()] for name, points in state_dict["curves"][kind].items()}
            for kind in ("returns", "greedy", "logged")
        )


def _running_percentiles(episodes: np.ndarray, window: int) -> tuple[np.ndarray, ...]:
    """Returns x and the 10, 50 and 90 % points of the `window` episodes up to there, at 200 places or fewer."""
    ends = np.unique(np.linspace(min(window, len(episodes)), len(episodes), 200).astype(int))
    spread = [np.percentile(episodes[max(0, end - window) : end, 1], [10, 50, 90]) for end in ends]
    return episodes[ends - 1, 0], *np.array(spread).T


def _running_mean(points: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    sums = np.concatenate([[0.0], np.cumsum(points[:, 1])])
    ends = np.arange(1, len(points) + 1)
    begins = np.maximum(0, ends - width)
    return points[:, 0], (sums[ends] - sums[begins]) / (ends - begins)


def _polish(ax: "Axes") -> None:
    from matplotlib.patches import Patch
    from matplotlib.ticker import EngFormatter

    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.6)
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.set_xlim(left=0)
    legend = ax.legend(frameon=False, fontsize=8, loc="best", markerscale=1.5)
    for handle in legend.legend_handles:
        handle.set_alpha(0.25 if isinstance(handle, Patch) else max(0.5, handle.get_alpha() or 1.0))


def _say_last(ax: "Axes", x: float, y: float, below: bool = True) -> None:
    """Writes the last value of a curve beside its point."""
    place: dict[str, Any] = {"xytext": (0, -15 if below else 8), "textcoords": "offset points"}
    ax.annotate(f"{y:.3g}", (x, y), color=ORANGE, ha="center", fontsize=9, **place)
