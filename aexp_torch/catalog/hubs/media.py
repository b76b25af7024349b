"""Pictures, sounds and videos, in the forms in which hubs give them, as arrays of one shape."""

import io
import os
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from aexp_torch.provider import import_provider

__all__ = ["read_audio", "read_image", "read_video"]


def read_image(value: Any, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Returns an image as uint8 [height, width, channels], resized (bilinear, not cropped) where it is not of that size.

    Args:
      value: a PIL image, uint8 [H, W] or [H, W, C], the bytes of a file, its name, or `{"bytes", "path"}`.
      height: pixels.
      width: pixels.
      channels: 1 for grey, 3 for colours.

    Raises:
      ValueError: it is nothing of that.
    """
    from PIL import Image

    value = _content(value)
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8:
            raise ValueError(f"expected uint8, got {value.dtype}")
        image = Image.fromarray(value[..., 0] if value.ndim == 3 and value.shape[-1] == 1 else value)
    elif isinstance(value, bytes | str):
        image = Image.open(io.BytesIO(value) if isinstance(value, bytes) else value)
    elif isinstance(value, Image.Image):
        image = value
    else:
        raise ValueError("expected an image")
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(height, width, channels).copy()


def read_audio(value: Any, length: int, rate: int) -> np.ndarray:
    """Returns a sound as float32 [length, 1] in [-1, 1]: one channel, resampled, cut or followed by silence.

    Args:
      value: the bytes of a file, its name, `{"bytes", "path"}`, or `{"array", "sampling_rate"}`.
      length: samples.
      rate: samples a second.

    Raises:
      MissingDependencyError: a file, and soundfile is not installed.
    """
    if isinstance(value, Mapping) and value.get("array") is not None:
        samples, own_rate = np.asarray(value["array"], np.float32), int(value["sampling_rate"])
    else:
        soundfile = import_provider("soundfile", "audio", "audio")
        content = _content(value)
        samples, own_rate = soundfile.read(
            io.BytesIO(content) if isinstance(content, bytes) else content, dtype="float32", always_2d=True
        )
    samples = np.asarray(samples, np.float32)
    samples = samples.mean(1) if samples.ndim == 2 else samples
    if own_rate != rate:
        from scipy.signal import resample_poly

        ratio = Fraction(rate, own_rate)
        needed = int(length / ratio) + 64  # what comes later is cut anyway
        samples = resample_poly(samples[:needed], ratio.numerator, ratio.denominator)
    result = np.zeros((length, 1), np.float32)
    samples = samples[:length]
    result[: len(samples), 0] = samples.clip(-1, 1)
    return result


def read_video(value: Any, num_frames: int, height: int, width: int) -> np.ndarray:
    """Returns frames that are evenly spread over a video, as uint8 [num_frames, height, width, 3], resized.

    A video that is shorter shows frames twice.

    Args:
      value: uint8 [T, H, W] or [T, H, W, C], the bytes of a file, its name, or `{"bytes", "path"}`.
      num_frames: how many.
      height: pixels.
      width: pixels.

    Raises:
      MissingDependencyError: a file, and PyAV is not installed.
    """
    value = _content(value)
    if not isinstance(value, np.ndarray):
        value = _decoded(value, num_frames)
    chosen = np.linspace(0, len(value) - 1, num_frames).round().astype(int)
    return np.stack([read_image(np.asarray(value[index]), height, width, 3) for index in chosen])


def _decoded(value: Any, num_frames: int) -> list[np.ndarray]:
    """Decodes the frames that are wanted, one after the other, keeping no others."""
    av = import_provider("av", "video", "video")
    source = io.BytesIO(value) if isinstance(value, bytes) else value
    with av.open(source, mode="r") as container:
        stream = container.streams.video[0]
        total = stream.frames or sum(1 for _ in container.decode(video=0))
        container.seek(0)
        wanted = set(np.linspace(0, max(total - 1, 0), num_frames).round().astype(int).tolist())
        frames = []
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if index >= total - 1:
                break
    if not frames:
        raise ValueError("expected frames")
    return frames


def _content(value: Any) -> Any:
    """Returns the bytes, the file name or the value itself, whatever a hub has put around it."""
    if isinstance(value, Mapping):
        value = value["bytes"] if value.get("bytes") is not None else value["path"]
    if isinstance(value, list):
        value = np.asarray(value, np.uint8)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "numpy"):
        return value.numpy()
    return value
