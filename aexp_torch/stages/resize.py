"""Resize: images of another size."""

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_image
from aexp_torch.stages.augment import Augment, Keys

__all__ = ["Resize"]

CHANNELS = (1, 3, 4)


class Resize(Augment):
    """Makes images larger or smaller: each new pixel is the mean of the area that it covers (OpenCV's INTER_AREA).

    The last axis is channels if it has 1, 3 or 4 of them and there are at least three; axes in front of height and width
    (channels, a stack of frames) are several images.

    Observation: chosen images [B, ..., H, W] or [B, ..., H, W, C] get height and width `shape`; same dtype (integers are
    rounded) and bounds.  Action: unchanged.

    Args:
      env: the environment below.
      shape: height and width.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        grids of numbers.

    >>> import aexp_torch as ae, torch
    >>> video = {"x": torch.zeros(5, 96, 96, 3, dtype=torch.uint8)}
    >>> ae.DatasetEnv(video, batch_size=5).pipe(ae.Resize, shape=(84, 84)).reset().observation["x"].shape
    torch.Size([5, 84, 84, 3])

    Source: `ResizeObservation` of Gymnasium.
    """

    def __init__(self, env: Env, shape: tuple[int, int] = (84, 84), keys: Keys = is_image):
        super().__init__(env, keys)
        shape = tuple(shape)  # type: ignore[assignment]
        if len(shape) != 2 or not all(isinstance(size, int) and size > 0 for size in shape):
            raise SpecError(f"Resize: expected shape as height and width of at least 1, got {shape!r}.")
        self.shape = shape

    def on_open(self) -> None:
        """Starts without weights, which are made when a size is first seen."""
        super().on_open()
        self._weights: dict[tuple[int, int], Tensor] = {}

    def augment(self, value: Tensor, spec: specs.Array, modality: Modality, generator: np.random.Generator) -> Tensor:
        """Averages over height, then over width."""
        height_axis, _ = _axes(spec)
        height, width, *channels = value.shape[height_axis:]
        (new_height, new_width), num_channels = self.shape, channels[0] if channels else 1
        pixels = value.reshape(-1, height, width * num_channels).float()  # [N, H, W * C]
        rows = self._mean(height, new_height) @ pixels  # [N, h, W * C]
        columns = rows.view(-1, new_height, width, num_channels).transpose(2, 3)  # [N, h, C, W]
        small = (columns @ self._mean(width, new_width).T).transpose(2, 3)  # [N, h, w, C]
        if not value.is_floating_point():
            small = small.round()
        return small.to(value.dtype).reshape(*value.shape[:height_axis], new_height, new_width, *channels)

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Replaces height and width."""
        height, width = _axes(spec)
        shape = (*spec.shape[:height], *self.shape, *(spec.shape[-1:] if width == -2 else ()))
        if not isinstance(spec, specs.BoundedArray):
            return specs.Array(shape, spec.dtype, spec.name), modality
        return specs.BoundedArray(shape, spec.dtype, spec.minimum.min(), spec.maximum.max(), spec.name), modality

    def _mean(self, before: int, after: int) -> Tensor:
        """Returns the share that each of `before` pixels has in each of `after`: float32 [after, before]."""
        if (before, after) not in self._weights:
            edges = np.linspace(0, before, after + 1)[:, None]
            pixel = np.arange(before)
            covered = np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel)
            share = covered.clip(0) * (after / before)
            self._weights[before, after] = torch.from_numpy(share.astype(np.float32))
        return self._weights[before, after]


def _axes(spec: specs.Array) -> tuple[int, int]:
    """Returns the axes of height and width, counted from the end."""
    rank = len(spec.shape)
    if rank < 2 or spec.dtype.kind == "b":
        raise SpecError(f"expected an image of numbers, with height and width, got {describe(spec)}.")
    return (-3, -2) if rank > 2 and spec.shape[-1] in CHANNELS else (-2, -1)
