"""FitImage: images of all sizes and modes as RGB of one size."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from aexp_torch.errors import SpecError

__all__ = ["FitImage"]

_MODES = {1: "L", 3: "RGB"}


class FitImage:
    """Makes any image uint8 [height, width, channels], for `DatasetEnv(..., transform={"image": FitImage(64, 64)})`.

    The whole image is kept and scaled, not cropped, so that its proportions may change; averaging where it shrinks.
    Grey images get three equal channels, transparency is dropped, palettes are looked up.

    Args:
      height: of the result, in pixels.
      width: likewise.
      channels: 3 (RGB) or 1 (grey).

    >>> import numpy as np
    >>> FitImage(2, 3)(np.full((8, 9), 7, np.uint8)).shape
    (2, 3, 3)
    """

    def __init__(self, height: int, width: int, channels: int = 3):
        if height < 1 or width < 1 or channels not in _MODES:
            raise SpecError(
                f"FitImage: expected height and width from 1 on and channels 1 or 3, got {(height, width, channels)}."
            )
        self.height, self.width, self.channels = height, width, channels

    def __call__(self, image: Any) -> np.ndarray:
        """Returns the image.

        Args:
          image: a PIL image, or a uint8 array or tensor [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels.
        """
        if hasattr(image, "convert") and hasattr(image, "resize"):
            fitted = image.convert(_MODES[self.channels]).resize(
                (self.width, self.height), resample=2, reducing_gap=2.0
            )
            return np.array(fitted).reshape(self.height, self.width, self.channels)
        pixels = torch.as_tensor(image.copy() if isinstance(image, np.ndarray) else image)  # which may be read-only
        if pixels.dtype != torch.uint8 or pixels.dim() not in (2, 3):
            raise SpecError(
                f"FitImage: expected a PIL image or uint8 [H, W], [H, W, C] or [C, H, W], got {pixels.dtype}"
                f" {list(pixels.shape)}"
            )
        if pixels.dim() == 2:
            pixels = pixels[None]
        elif pixels.shape[-1] in (1, 3, 4):
            pixels = pixels.movedim(-1, 0)  # [C, H, W]
        pixels = pixels[:3] if len(pixels) > 3 else pixels
        scaled = functional.interpolate(
            pixels[None].float(), (self.height, self.width), mode="bilinear", antialias=True
        )
        scaled = scaled[0].round().clamp(0, 255).to(torch.uint8)
        if len(scaled) != self.channels:
            grey = scaled.float().mean(0, keepdim=True).to(torch.uint8)
            scaled = grey.expand(self.channels, -1, -1)
        return np.ascontiguousarray(scaled.movedim(0, -1).numpy())

    def __repr__(self) -> str:
        return f"FitImage({self.height}, {self.width}, channels={self.channels})"
