"""Curves: how the instances of each task went in the course of a session, as CSV and as a picture."""

import csv
import json
import operator
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from aexp_torch.errors import SpecError

if TYPE_CHECKING:
    from aexp_torch.commai.results import Results

__all__ = ["Bin", "Curve", "write_curves"]

MOST_BINS = 256
BLUE, GREY = "#1f6feb", "#8b949e"
TALLEST = 24  # rows of panels; more tasks go side by side
ROW, COLUMN, MARGIN = 1.25, 3.1, 0.42  # inches


class Bin(NamedTuple):
    """Is some finished instances of a task, one after the other.

    Args:
      time: steps of the session (of one lane; bits in bit mode) when the last of them ended.
      instances: their number.
      solved: of them.
      reward: of all.
      steps: of all.
      solved_steps: of those that were solved.
      questions: that were answered in all.
    """

    time: int
    instances: int
    solved: int
    reward: float
    steps: int
    solved_steps: int
    questions: int

    def joined(self, later: "Bin") -> "Bin":
        """Returns both as one."""
        return Bin(later.time, *map(operator.add, self[1:], later[1:]))


@dataclass
class Curve:
    """Keeps what became of the finished instances of one task, of all lanes, in at most 256 bins.

    Each instance is a bin of its own until there are 256. Then neighbours are joined, two by two, and from then on a bin
    takes twice as many instances. So the curve holds the whole session, is as fine everywhere, and never takes more than
    some 60 kB.

    Args:
      width: instances that a bin takes, a power of two; only the last bin may have fewer.
      bins: in the order in which instances ended.
    """

    width: int = 1
    bins: list[Bin] = field(default_factory=list)

    def add(self, time: int, solved: bool, reward: float, steps: int, questions: int = 0) -> None:
        """Counts an instance that is over."""
        one = Bin(time, 1, int(solved), reward, steps, steps * solved, questions)
        bins = self.bins
        if bins and bins[-1].instances < self.width:
            bins[-1] = bins[-1].joined(one)
            return
        if len(bins) == MOST_BINS:
            bins[:] = [early.joined(late) for early, late in zip(bins[::2], bins[1::2])]
            self.width *= 2
        bins.append(one)

    def state_dict(self) -> dict:
        """Returns the bins as float64 [bins, 7], in which whole numbers up to 2^53 are exact."""
        return {"width": self.width, "bins": torch.tensor(self.bins, dtype=torch.float64).reshape(-1, len(Bin._fields))}

    def load_state_dict(self, state: dict) -> None:
        """Restores it."""
        kinds = [float if name == "reward" else int for name in Bin._fields]
        self.width = state["width"]
        self.bins = [Bin._make(kind(value) for kind, value in zip(kinds, row)) for row in state["bins"].tolist()]


def write_curves(results: "Results", folder: str | Path) -> None:
    """Writes how a session went, by task, into a folder: `curves.csv`, `curves.png` and `gradual.json`.

    A row of the CSV is a task's name and a `Bin`: one finished instance, or several where there were many. The picture has a
    row of panels for each task: share of the instances that were solved, reward per instance, and steps that the solved
    ones took (bits in bit mode), over the steps of the session. The JSON is `results.gradual_score()`.

    Args:
      results: of `run`, or of `CommAIEnv.results`.
      folder: is made where it is not there.

    Raises:
      SpecError: no instance has ended yet; or the folder cannot be written.
    """
    curves = {name: task.curve for name, task in results.tasks.items() if task.curve.bins}
    if not curves:
        raise SpecError("write_curves: expected at least one finished instance, there is none. Run more steps.")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "curves.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["task", *Bin._fields])
            rows.writerows([name, *one] for name, curve in curves.items() for one in curve.bins)
        (folder / "gradual.json").write_text(json.dumps(asdict(results.gradual_score()), indent=1) + "\n")
        _draw(folder / "curves.png", curves)
    except OSError as error:
        raise SpecError(f"write_curves: expected a folder to write to, {error}.") from error


def _draw(path: Path, curves: Mapping[str, Curve]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side_by_side = -(-len(curves) // TALLEST)
    rows = -(-len(curves) // side_by_side)
    width, height = 3 * COLUMN * side_by_side, ROW * rows + MARGIN
    figure = Figure(figsize=(width, height), dpi=90)
    FigureCanvasAgg(figure)
    end = max(curve.bins[-1].time for curve in curves.values())
    for place, (name, curve) in enumerate(curves.items()):
        block, row = divmod(place, rows)
        bottom = height - (row + 1) * ROW + 0.3 * MARGIN
        boxes = [
            ((3 * block + column) * COLUMN + MARGIN, bottom, COLUMN - 1.3 * MARGIN, ROW - MARGIN) for column in range(3)
        ]
        panels = [figure.add_axes((x / width, y / height, w / width, h / height)) for x, y, w, h in boxes]
        _draw_task(panels, name, curve, end)
        if row == rows - 1 or place == len(curves) - 1:
            for panel in panels:
                panel.set_xlabel("steps of the session", fontsize=8)
    figure.savefig(path)


def _draw_task(panels: Any, name: str, curve: Curve, end: int) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    solved, reward, steps = panels
    times = [one.time for one in curve.bins]
    _line(solved, times, [one.solved / one.instances for one in curve.bins])
    _line(reward, times, [one.reward / one.instances for one in curve.bins])
    won = [one for one in curve.bins if one.solved]
    _line(steps, [one.time for one in won], [one.solved_steps / one.solved for one in won])
    instances = sum(one.instances for one in curve.bins)
    solved.set_title(f"{name}: {sum(one.solved for one in won):,} of {instances:,} solved", loc="left", fontsize=8)
    reward.set_title("reward of an instance", loc="left", fontsize=8, color=GREY)
    steps.set_title("steps to solve one" if won else "steps to solve one: none was", loc="left", fontsize=8, color=GREY)
    solved.set_ylim(-0.06, 1.06)
    steps.set_ylim(bottom=0)
    for panel in panels:
        panel.set_xlim(0, end)
        panel.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5]))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=7)
        panel.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    if not won:
        steps.set_yticks([])
    else:
        steps.yaxis.set_major_formatter(EngFormatter(sep=""))


def _line(panel: Any, times: list[int], values: list[float]) -> None:
    """Draws single bins as dots, and their mean over the tenth before each as a line."""
    panel.plot(times, values, ".", color=BLUE, alpha=0.4, markersize=4, markeredgewidth=0)
    span = max(1, len(values) // 10)
    means = [sum(values[max(0, end - span) : end]) / min(end, span) for end in range(1, len(values) + 1)]
    panel.plot(times, means, color=BLUE, linewidth=1.4)
