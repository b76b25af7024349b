"""Draws samples into a file, with Matplotlib."""

import math
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lightning_modules.commands.sample import Leaf, as_text, picture_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_figure"]

COLUMNS = 4
DRAWN = 400  # values of a wave
BLUE = "#2f6db3"


def save_figure(rows: list[list[Leaf]], title: str, path: Path) -> None:
    """Writes a picture of some rows of a minibatch.

    Args:
      rows: the leaves of each row.
      title: above all.
      path: of the file; its ending says the format.

    Raises:
      OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    num_columns = max(1, min(COLUMNS, len(rows[0]))) if len(rows) == 1 else len(rows[0])
    cells = [leaf for leaves in rows for leaf in leaves]
    num_rows = math.ceil(len(cells) / num_columns)
    tall = any(leaf.kind in ("picture", "cells", "wave") or _is_bars(leaf) for leaf in cells)
    figure = Figure(figsize=(3.2 * num_columns, (2.6 if tall else 1.2) * num_rows + 0.5), dpi=110, layout="constrained")
    figure.suptitle(textwrap.fill(title, 28 * num_columns), fontsize=12)
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for panel, leaf in zip(panels, cells):
        _draw(panel, leaf)
    for panel in panels[len(cells) :]:
        panel.set_axis_off()
    figure.savefig(path)


def _draw(panel: "Axes", leaf: Leaf) -> None:
    panel.set_title(leaf.name, fontsize=9, loc="left")
    value = leaf.value
    if value is None:
        _write(panel, "absent in this timestep")
    elif leaf.kind == "picture":
        _frame(panel)
        panel.imshow(picture_of(leaf), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    elif leaf.kind == "cells":
        _frame(panel)
        layers = np.pad(np.atleast_3d(value).astype(float), ((0, 0), (0, 1), (0, 0)), constant_values=np.nan)  # a gap
        beside = np.concatenate(list(np.moveaxis(layers, 2, 0)), axis=1)[:, :-1]
        panel.imshow(beside, cmap="tab20", interpolation="nearest")
    elif leaf.kind == "text":
        text = as_text(value) or "(empty)"
        if len(text) <= 16:
            _write(panel, text, size=14)
        else:
            _write(panel, "\n".join(textwrap.wrap(text, 34)[:12]))
    elif leaf.kind == "wave":
        panel.plot(value[:DRAWN], linewidth=0.8)
        if len(value) > DRAWN:
            panel.set_title(f"{leaf.name}: the first {DRAWN} of {len(value):,}", fontsize=9, loc="left")
        panel.tick_params(labelsize=7)
    elif value.size == 1:
        _write(panel, f"{value.ravel()[0]:.5g}", size=16)
    elif _is_bars(leaf):
        panel.bar(np.arange(value.size), value.ravel(), color=BLUE)
        panel.tick_params(labelsize=7)
    else:
        _write(panel, f"{list(value.shape)}: from {value.min():.4g} to {value.max():.4g}")


def _is_bars(leaf: Leaf) -> bool:
    value = leaf.value
    return leaf.kind == "numbers" and 1 < value.size <= 512 and bool(np.isfinite(value).all())


def _frame(panel: "Axes") -> None:
    panel.set_xticks([])
    panel.set_yticks([])


def _write(panel: "Axes", text: str, size: int = 8) -> None:
    panel.set_axis_off()
    panel.text(
        0, 0.97, text.replace("$", r"\$"), fontsize=size, va="top", family="monospace", transform=panel.transAxes
    )
