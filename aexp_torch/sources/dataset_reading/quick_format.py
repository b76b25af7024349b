"""QuickFormat: the ordinary sample, flat and like the first one, converted without asking what each value is."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.text import encode_text

__all__ = ["QuickFormat"]

Path = tuple[str, ...]
Signature = tuple[type, Any, tuple[int, ...]]


class QuickFormat:
    """Converts samples whose values have the very types of those of the first one, as `SampleFormat` would.

    Args:
      first: the first sample, as the dataset gives it.
      expected: type, dtype and shape of its leaves.
      lengths: bytes of those leaves that are text.
      others: names of leaves that something else is done to.
    """

    def __init__(
        self,
        first: Any,
        expected: Mapping[Path, Signature],
        lengths: Mapping[Path, int | None],
        others: Collection[str],
    ):
        self._type, self._size = type(first), 0
        self._plan: list[tuple[Any, str, type, Callable[[Any], Any] | None, Any, tuple[int, ...]]] | None = []
        keys = _keys(first)
        if keys is None or others:
            self._plan = None
            return
        self._size = len(first)
        for given, name in keys:
            value, path = first[given], (name,)
            convert = _converter(value, lengths.get(path))
            if convert is _UNKNOWN or path not in expected:
                self._plan = None
                return
            _, dtype, shape = expected[path]
            self._plan.append((given, name, type(value), convert, dtype, shape))

    def convert(self, sample: Any, fresh: bool) -> dict[str, Any] | None:
        """Returns the sample as a dict of arrays and tensors, None where it is not an ordinary one.

        Args:
          sample: as the dataset gives it.
          fresh: what is returned shares no memory with it.
        """
        if self._plan is None or type(sample) is not self._type or len(sample) != self._size:
            return None
        found = {}
        try:
            for given, name, kind, convert, dtype, shape in self._plan:
                value: Any = sample[given]
                if type(value) is not kind:
                    return None
                if convert is not None:
                    value = convert(value)
                elif fresh:
                    value = _copied(value)
                if value.dtype != dtype or value.shape != shape or (kind is torch.Tensor and value.requires_grad):
                    return None
                found[name] = value
        except (KeyError, OverflowError, SpecError, ValueError):  # what it is, is found out in the slow way
            return None
        return found


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value.copy()


def _keys(first: Any) -> list[tuple[Any, str]] | None:
    """Returns how the values of a sample are asked for, and how they are called."""
    if type(first) is dict:
        plain = all(isinstance(key, str) for key in first)
        return [(key, key) for key in first if not key.startswith("__")] if plain else None
    if type(first) in (tuple, list) and len(first):
        names = "xy" if len(first) == 2 else map(str, range(len(first)))
        return list(enumerate(names))
    return None


_UNKNOWN = object()


def _converter(value: Any, length: int | None) -> Any:
    """Returns what makes an array of a value, None where it is one."""
    kind = type(value)
    if kind is np.ndarray and value.dtype.kind in "biufc":
        return None
    if kind is torch.Tensor:
        return _UNKNOWN if value.requires_grad else None
    if kind in (str, bytes):
        return _UNKNOWN if length is None else lambda text: encode_text(text, length)
    if kind in _SCALARS:
        return lambda number, dtype=_SCALARS[kind]: np.asarray(number, dtype)
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return np.asarray
    if hasattr(kind, "__array_interface__") and hasattr(kind, "convert"):  # a PIL image
        return np.asarray
    return _UNKNOWN


_SCALARS = {bool: np.bool_, int: np.int64, float: np.float32}
