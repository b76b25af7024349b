"""Photographs: tasks on tiles of the two pictures that come with scikit-learn, a temple in China and a flower."""

from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, shipped
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["photo_colors", "photo_inpainting", "photo_rotation", "photo_super_resolution", "photos"]

SIZE = 16  # pixels of a side of a tile


def photos(split: Split = "train", name: str = "photos", **options: Any) -> DatasetEnv:
    """Streams 2,080 tiles of two photographs: x uint8 [16, 16, 3], y int64, 0 the temple, 1 the flower.

    The tiles do not overlap.

    Args:
      split: four fifths for training, one for testing, stratified by class; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: photographs by danielbuechele and vultilion, CC BY 2.0, as they come with scikit-learn.
    """
    return prepared(_photos, split, name, classes=2, **options)


def photo_rotation(split: Split = "train", name: str = "photo_rotation", **options: Any) -> DatasetEnv:
    """Streams tiles of photographs that were turned: x uint8 [32, 32, 3], y int64, quarter turns counter-clockwise.

    Args:
      split: as for `photos`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: S. Gidaris, P. Singh, N. Komodakis (2018), Unsupervised representation learning by predicting image
    rotations. Photographs as for `photos`.
    """
    return prepared(_turned, split, name, classes=4, **options)


def photo_colors(split: Split = "train", name: str = "photo_colors", **options: Any) -> DatasetEnv:
    """Streams tiles of photographs in grey and in colour: x uint8 [16, 16], y uint8 [16, 16, 3].

    Grey is the luma of ITU-R BT.601.

    Args:
      split: as for `photos`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: R. Zhang, P. Isola, A. Efros (2016), Colorful image colorization. Photographs as for `photos`.
    """
    return prepared(_grey, split, name, **options)


def photo_inpainting(split: Split = "train", name: str = "photo_inpainting", **options: Any) -> DatasetEnv:
    """Streams tiles of photographs with a hole: x uint8 [16, 16, 3], black in the middle [6, 6]; y is what was there.

    Args:
      split: as for `photos`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: D. Pathak et al. (2016), Context encoders. Photographs as for `photos`.
    """
    return prepared(partial(_holed, 5), split, name, **options)


def photo_super_resolution(split: Split = "train", name: str = "photo_super_resolution", **options: Any) -> DatasetEnv:
    """Streams tiles of photographs, small and large: x uint8 [8, 8, 3], means of 2 x 2 pixels of y uint8 [16, 16, 3].

    Args:
      split: as for `photos`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: C. Dong et al. (2014), Learning a deep convolutional network for image super-resolution. Photographs as for
    `photos`.
    """
    return prepared(_small, split, name, **options)


def _tiles(size: int = SIZE) -> Columns:
    """Returns all tiles [N, size, size, 3], and of which photograph each is [N]."""
    from PIL import Image

    tiles = []
    for photograph in ("china.jpg", "flower.jpg"):
        with Image.open(shipped("sklearn", f"datasets/images/{photograph}")) as image:
            pixels = np.asarray(image)
        down, across = pixels.shape[0] // size, pixels.shape[1] // size
        grid = pixels[: down * size, : across * size].reshape(down, size, across, size, 3)
        tiles.append(grid.swapaxes(1, 2).reshape(-1, size, size, 3))
    labels = np.repeat(np.arange(2), [len(part) for part in tiles])
    return {"x": np.concatenate(tiles), "y": labels.astype(np.int64)}


def _photos(split: str) -> Columns:
    return part_of(_tiles(), split)


def _turned(split: str) -> Columns:
    tiles = _tiles(32)["x"]
    turns = np.random.default_rng(0).integers(0, 4, len(tiles))
    x = np.stack([np.rot90(tile, turn) for tile, turn in zip(tiles, turns)])
    return part_of({"x": x, "y": turns.astype(np.int64)}, split)


def _grey(split: str) -> Columns:
    colored = part_of(_tiles(), split)["x"]
    return {"x": (colored @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8), "y": colored}


def _holed(border: int, split: str) -> Columns:
    x = part_of(_tiles(), split)["x"]
    inside = slice(border, SIZE - border)
    y = x[:, inside, inside].copy()
    x[:, inside, inside] = 0
    return {"x": x, "y": y}


def _small(split: str) -> Columns:
    large = part_of(_tiles(), split)["x"]
    blocks = large.reshape(-1, SIZE // 2, 2, SIZE // 2, 2, 3)
    return {"x": blocks.mean((2, 4)).round().astype(np.uint8), "y": large}
