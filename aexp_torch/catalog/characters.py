"""Characters: letters, digits and words, drawn with the fonts that come with Matplotlib."""

import keyword
import string
from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, shipped, text_column
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["CHARACTERS", "FAMILIES", "characters", "fonts", "printed_words"]

CHARACTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
FAMILIES = {
    "DejaVu Sans": ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    "DejaVu Sans Mono": (
        "DejaVuSansMono",
        "DejaVuSansMono-Bold",
        "DejaVuSansMono-Oblique",
        "DejaVuSansMono-BoldOblique",
    ),
    "DejaVu Serif": ("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    "STIX": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
}
SIZES = (12, 14, 16)  # points at 72 dots per inch, which is pixels
SIDE = 24


def characters(split: Split = "train", name: str = "characters", **options: Any) -> DatasetEnv:
    """Streams 2,976 printed characters: x uint8 [24, 24], y int64 in 0..61: `0` to `9`, `A` to `Z`, `a` to `z`.

    Each is drawn white on black in 16 fonts and 3 sizes, in the middle, give or take two pixels (from a fixed seed).

    Args:
      split: four fifths for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: the task is that of T. de Campos, B. Babu, M. Varma (2009), Character recognition in natural images; the
    fonts are DejaVu and STIX, as they come with Matplotlib.
    """
    return prepared(partial(_drawn, "character"), split, name, classes=len(CHARACTERS), **options)


def fonts(split: Split = "train", name: str = "fonts", **options: Any) -> DatasetEnv:
    """Streams the pictures of `characters`, with the family of the font: x uint8 [24, 24], y int64 in 0..3.

    y is DejaVu Sans, DejaVu Sans Mono, DejaVu Serif or STIX.

    Args:
      split: as for `characters`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: G. Chen et al. (2014), Large-scale visual font recognition, for the task.
    """
    return prepared(partial(_drawn, "family"), split, name, classes=len(FAMILIES), **options)


def printed_words(split: Split = "train", name: str = "printed_words", **options: Any) -> DatasetEnv:
    """Streams printed words, the keywords of Python: x uint8 [20, 88], y uint8 [8], the word in zero-padded UTF-8.

    Args:
      split: four fifths for training, one for testing (the same words in other fonts and sizes), or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: M. Jaderberg et al. (2014), Synthetic data and artificial neural networks for natural scene text recognition,
    for the task.
    """
    return prepared(_words, split, name, **options)


def _drawn(what: str, split: str) -> Columns:
    rng, images, labels = np.random.default_rng(0), [], []
    for family, styles in enumerate(FAMILIES.values()):
        for style in styles:
            pen = _pen(style)
            for size in SIZES:
                for index, character in enumerate(CHARACTERS):
                    images.append(_placed(_draw(pen, character, size), (SIDE, SIDE), rng))
                    labels.append((index, family))
    y = np.array(labels, np.int64)
    rows = {"x": np.stack(images), "y": y[:, 0], "family": y[:, 1]}
    part = part_of(rows, split)
    return {"x": part["x"], "y": part["y" if what == "character" else "family"]}


def _words(split: str) -> Columns:
    rng, images, words = np.random.default_rng(0), [], []
    for styles in FAMILIES.values():
        for style in styles:
            pen = _pen(style)
            for size in SIZES:
                for word in keyword.kwlist:
                    images.append(_placed(_draw(pen, word, size), (20, 88), rng))
                    words.append(word)
    return part_of({"x": np.stack(images), "y": text_column(words, 8)}, split)


def _pen(style: str) -> Any:
    from matplotlib.ft2font import FT2Font

    return FT2Font(str(shipped("matplotlib", f"mpl-data/fonts/ttf/{style}.ttf")))


def _draw(pen: Any, text: str, size: int) -> np.ndarray:
    """Returns the ink of a text, uint8 [height, width]."""
    pen.clear()
    pen.set_size(size, 72)
    pen.set_text(text)
    pen.draw_glyphs_to_bitmap(antialiased=True)
    image = np.asarray(pen.get_image())
    down, across = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    return image[down[0] : down[-1] + 1, across[0] : across[-1] + 1]


def _placed(ink: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Returns a black picture with the ink in the middle, give or take two pixels; what is too large is cut."""
    ink = ink[: shape[0], : shape[1]]
    room = [whole - part for whole, part in zip(shape, ink.shape)]
    top, left = (min(max(free // 2 + int(rng.integers(-2, 3)), 0), free) for free in room)
    picture = np.zeros(shape, np.uint8)
    picture[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return picture
