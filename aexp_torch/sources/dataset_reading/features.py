"""Hugging Face streams: what their features say, and audio files, decoded by soundfile (extra `audio`)."""

import io
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.dataset_reading.declared import Declared

__all__ = ["as_featured", "decode_audio"]


def as_featured(data: Any, given: Mapping[str, Any], who: str) -> tuple[Any, Declared]:
    """Returns a stream whose audio files are left as they are, and what decodes them, and what varies in length.

    Args:
      data: a `datasets.IterableDataset`.
      given: names of columns that the user transforms: they are left alone.
      who: the source, for messages.
    """
    varying, transform = set(), {}
    for name, feature in dict(data.features or {}).items():
        if type(feature).__name__ == "Audio" and feature.decode and name not in given:
            data = data.cast_column(name, type(feature)(sampling_rate=feature.sampling_rate, decode=False))
            transform[name] = partial(decode_audio, sampling_rate=feature.sampling_rate, name=name, who=who)
            varying.add((name,))
        elif getattr(feature, "length", None) == -1:
            varying.add((name,))
            if (
                dtype := _number(feature.feature)
            ) is not None and name not in given:  # an empty list says nothing of it
                transform[name] = partial(np.asarray, dtype=dtype)
    return data, Declared(varying, transform)


def _number(feature: Any) -> np.dtype | None:
    """Returns the dtype of a feature that is a number."""
    try:
        dtype = np.dtype(getattr(feature, "dtype", None) or "O")
    except TypeError:  # "string"
        return None
    return dtype if dtype.kind in "biuf" else None


def decode_audio(value: Mapping, sampling_rate: int | None, name: str, who: str) -> np.ndarray:
    """Returns float32 [T, C]."""
    soundfile = import_provider("soundfile", "audio", who)
    with soundfile.SoundFile(io.BytesIO(value["bytes"]) if value["bytes"] is not None else value["path"]) as file:
        if sampling_rate is not None and file.samplerate != sampling_rate:
            raise SpecError(
                f"{who}: expected {sampling_rate} Hz under {name!r}, as the dataset says, got {file.samplerate} Hz. Cast"
                f" the column to Audio(decode=False), and decode and resample with transform={{{name!r}: function}}"
            )
        return file.read(dtype="float32", always_2d=True)
