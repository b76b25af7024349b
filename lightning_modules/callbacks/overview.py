"""Overview: the learning curves of many sources on one page, as small multiples."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Panel", "draw_overview"]

BLUE, ORANGE, GREY = "#2f6db3", "#d9661f", "#5b6570"
COLUMNS = 5


class Panel(NamedTuple):
    """Holds what one source has shown.

    Args:
      source: its name.
      metric: what the curves are of.
      training: points (samples or interactions, value).
      validation: likewise.
      score: what validation gave last, in words.
    """

    source: str
    metric: str
    training: np.ndarray
    validation: np.ndarray
    score: str = ""


def draw_overview(path: Path, title: str, panels: Sequence[Panel]) -> Path:
    """Draws a panel for each source, in their order, and returns the file.

    Blue is the running mean over training, orange validation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.7 * columns, 0.6 + 1.75 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, ax in zip(panels, axes, strict=False):
        if len(panel.training):
            x, y = panel.training.T
            ax.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.7)
            ax.plot(x, _smooth(y), color=BLUE, linewidth=1.6)
        if len(panel.validation):
            ax.plot(*panel.validation.T, "o", color=ORANGE, markersize=3.5)
        ax.set_title(panel.source, fontsize=8.5, loc="left", pad=13)
        ax.text(0, 1.03, panel.metric, transform=ax.transAxes, fontsize=7, color=GREY, va="bottom")
        ax.text(1, 1.03, panel.score, transform=ax.transAxes, fontsize=7, color=ORANGE, va="bottom", ha="right")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", color=GREY, alpha=0.2, linewidth=0.5)
        ax.tick_params(labelsize=6.5, length=2, colors=GREY)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.set_xlim(left=0)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    explained = (
        "blue: training, running mean · orange: validation · x: samples, or interactions where there are returns"
    )
    figure.suptitle(f"{title}\n{explained}", x=0.01, ha="left", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


def _smooth(values: np.ndarray) -> np.ndarray:
    """Returns the mean of the last tenth of the values, or of those that there are."""
    width = max(1, len(values) // 10)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - width)
    return (sums[ends] - sums[begins]) / (ends - begins)
