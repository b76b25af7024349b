"""Grayscale: colour images become grey."""

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, describe
from aexp_torch.specs.modality import is_image
from aexp_torch.stages.augment import Augment, Keys

__all__ = ["Grayscale"]

WEIGHTS = (0.2125, 0.7154, 0.0721)


class Grayscale(Augment):
    """Turns red, green and blue into brightness: 0.2125 R + 0.7154 G + 0.0721 B, in integers rounded down.

    So does Gymnasium, which is 1 lower for 63 of the 16.7 million colours: those whose brightness is a whole number that
    its floats miss.

    Observation: chosen images [B, ..., H, W, 3] (or [B, ..., 3, H, W]) lose their channels, or keep one; same dtype and
    bounds.  Action: unchanged.

    Args:
      env: the environment below.
      keep_dim: keeps an axis of one channel where the three were.
      keys: a glob over the names of leaves (`a/b` for nested ones), or a predicate of their `Modality`; by default all
        grids of numbers.

    Raises:
      SpecError: a chosen value has no three channels, last or in front of height and width.

    >>> import aexp_torch as ae, torch
    >>> video = {"x": torch.zeros(5, 8, 8, 3, dtype=torch.uint8)}
    >>> ae.DatasetEnv(video, batch_size=5).pipe(ae.Grayscale).reset().observation["x"].shape
    torch.Size([5, 8, 8])

    Source: `GrayscaleObservation` of Gymnasium; the weights of ITU-R BT.709.
    """

    def __init__(self, env: Env, keep_dim: bool = False, keys: Keys = is_image):
        super().__init__(env, keys)
        self.keep_dim = keep_dim

    def augment(self, value: Tensor, spec: specs.Array, modality: Modality, generator: np.random.Generator) -> Tensor:
        """Weighs the channels."""
        axis = _channel_axis(spec)
        dtype = torch.float64 if spec.dtype == np.float64 else torch.float32
        grey = value.to(dtype).movedim(axis, -1) @ torch.tensor(WEIGHTS, dtype=dtype)
        if not value.is_floating_point():
            grey += 5e-5  # whole numbers stay whole: the weights have four decimals
        grey = grey.to(value.dtype)
        return grey.unsqueeze(axis) if self.keep_dim else grey

    def augment_spec(self, spec: specs.Array, modality: Modality) -> tuple[specs.Array, Modality]:
        """Takes the channels away."""
        axis = _channel_axis(spec) + len(spec.shape)
        shape = (*spec.shape[:axis], *((1,) if self.keep_dim else ()), *spec.shape[axis + 1 :])
        if not isinstance(spec, specs.BoundedArray):
            return specs.Array(shape, spec.dtype, spec.name), modality
        return specs.BoundedArray(shape, spec.dtype, spec.minimum.min(), spec.maximum.max(), spec.name), modality


def _channel_axis(spec: specs.Array) -> int:
    if len(spec.shape) >= 3 and 3 in (spec.shape[-1], spec.shape[-3]):
        return -1 if spec.shape[-1] == 3 else -3
    raise SpecError(f"expected an image with 3 channels, last or in front of height and width, got {describe(spec)}.")
