"""Draws samples in a terminal: pictures as cells of two pixels, waves as lines, text and numbers as they are."""

from collections.abc import Callable

import numpy as np
from rich.color import Color
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

from lightning_modules.commands.sample import Leaf, as_text, picture_of

__all__ = ["draw_leaf"]

WIDTH, HEIGHT = 72, 40  # cells and pixels at most
SHADES = " .:-=+*#%@"
NUMBERS = 64  # that are written out


def draw_leaf(leaf: Leaf, console: Console) -> RenderableType:
    """Returns what to print of a value, under its name."""
    draw = DRAW.get(leaf.kind)
    body = Text("absent in this timestep", "dim") if draw is None else draw(leaf, console)
    return Group(Text(leaf.name, "bold"), Padding(body, (0, 0, 1, 2), expand=False))


def _picture(leaf: Leaf, console: Console) -> Text:
    """Two pixels, one above the other, are one cell; without colours a shade of grey stands for them."""
    pixels = _fitted(picture_of(leaf), min(WIDTH, console.width - 4))
    if len(pixels) % 2:
        pixels = np.concatenate([pixels, np.zeros_like(pixels[:1])])
    top, bottom = pixels[::2], pixels[1::2]
    text = Text()
    if console.color_system is None:
        grey = (top + bottom).reshape(*top.shape[:2], -1).mean(-1) / 2
        shades = (grey * (len(SHADES) - 1)).round().astype(int)
        return Text("\n".join("".join(SHADES[shade] for shade in row).rstrip() for row in shades))
    for above, below in zip(top, bottom):
        for upper, lower in zip(above, below):
            text.append("▀", Style(color=_color(upper), bgcolor=_color(lower)))
        text.append("\n")
    text.rstrip()
    return text


def _color(pixel: np.ndarray) -> Color:
    red, green, blue = (round(255 * float(part)) for part in np.broadcast_to(pixel, 3))
    return Color.from_rgb(red, green, blue)


def _fitted(pixels: np.ndarray, width: int) -> np.ndarray:
    """Makes a small picture larger and a large one smaller, by whole pixels, so that it fits."""
    height = pixels.shape[0]
    larger = min(width // pixels.shape[1], HEIGHT // height, 3)
    if larger > 1:
        return pixels.repeat(larger, 0).repeat(larger, 1)
    scale = min(width / pixels.shape[1], HEIGHT / height, 1.0)
    shape = max(1, round(height * scale)), max(1, round(pixels.shape[1] * scale))
    rows, columns = (np.linspace(0, old, new + 1).astype(int) for old, new in zip(pixels.shape, shape))
    means = [
        [pixels[up : max(down, up + 1), left : max(right, left + 1)].mean((0, 1)) for left, right in _pairs(columns)]
        for up, down in _pairs(rows)
    ]
    return np.array(means)


def _pairs(edges: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(edges[:-1].tolist(), edges[1:].tolist()))


def _cells(leaf: Leaf, console: Console) -> Text:
    """Symbols, one beside the other; what a cell has more of than one symbol follows to the right."""
    layers = np.atleast_3d(np.asarray(leaf.value))
    width = len(str(int(layers.max())))
    lines = []
    for row in layers:
        parts = [" ".join(f"{int(symbol):{width}d}" if symbol else "." * width for symbol in part) for part in row.T]
        lines.append("    ".join(parts))
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _text(leaf: Leaf, console: Console) -> Text:
    return Text(as_text(np.asarray(leaf.value)) or "(empty)")


def _wave(leaf: Leaf, console: Console) -> Group:
    """The lowest and the highest value of each stretch, channel below channel; of a long wave the beginning."""
    channels = np.asarray(leaf.value, np.float64).reshape(len(leaf.value), -1).T
    width, height = min(WIDTH, console.width - 4), 8 if len(channels) == 1 else 5
    length, shown = channels.shape[1], 2 * width
    drawn = [_line(channel[:shown], width, height) for channel in channels[:4]]
    return Group(*drawn, *([Text(f"the first {shown:,} of {length:,}", "dim")] if length > shown else []))


def _line(values: np.ndarray, width: int, height: int) -> Text:
    edges = np.linspace(0, len(values), min(width, len(values)) + 1).astype(int)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, 1e-9) * (height - 1)
    grid = np.full((height, len(edges) - 1), " ")
    for column, (left, right) in enumerate(_pairs(edges)):
        stretch = scaled[max(left - 1, 0) : right]  # from the value before, so that the line has no gap
        bottom, top = round(float(stretch.min())), round(float(stretch.max()))
        grid[height - 1 - top : height - bottom, column] = "*"
    lines = ["".join(row).rstrip() for row in grid]
    return Text("\n".join([f"{high:.4g}", *lines, f"{low:.4g}"]), no_wrap=True)


def _numbers(leaf: Leaf, console: Console) -> Text:
    value = np.asarray(leaf.value)
    if value.ndim == 0:
        return Text(_number(value.item()))
    flat = value.ravel()
    shown = " ".join(_number(number.item()) for number in flat[:NUMBERS])
    if len(flat) > NUMBERS:
        shown += f" ... ({len(flat):,} numbers, mean {flat.mean():.4g}, from {flat.min():.4g} to {flat.max():.4g})"
    return Text(shown)


def _number(number: float) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


DRAW: dict[str, Callable[[Leaf, Console], Text | Group]] = {
    "picture": _picture,
    "cells": _cells,
    "text": _text,
    "wave": _wave,
    "numbers": _numbers,
}
