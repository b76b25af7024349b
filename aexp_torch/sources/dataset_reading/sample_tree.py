"""What people give as a sample (or as a collated batch) becomes a nested dict of arrays, tensors and text."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.text import is_text

__all__ = ["sample_tree"]

_DTYPES = {np.dtype(name) for name in ("bool", "float16", "float32", "float64", "complex64", "complex128")} | {
    np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_NATIVE = {dtype for dtype in _DTYPES if dtype.isnative}
# Unions that are made anew at every call would cost more than the tests.
_TEXTS, _NUMBERS, _FLOATS = (str, bytes), (bool, int), (list, float)
_LEAVES = (np.ndarray, torch.Tensor, int, float, str, bytes)
_SCALARS = (bool, int, float, str, bytes)
_KNOWN = (np.ndarray, np.generic, list, tuple, float, complex)
Transform = Mapping[str, Callable[[Any], Any]]


def sample_tree(sample: Any, batched: bool = False, transform: Transform | None = None) -> dict[str, Any]:
    """Returns a nested dict whose leaves are numpy arrays, tensors or text.

    | sample | keys |
    |---|---|
    | mapping | its own, without those that begin with `__` (WebDataset's `__key__`, `__url__`) |
    | two members | `x`, `y` |
    | another number of members, and tuples further inside | `0`, `1`, ... (a NamedTuple's own field names) |
    | one value | `x` |

    Python bools, ints and floats, and lists of them, become bool, int64 and float32; a PIL image becomes its array; an
    open `soundfile.SoundFile` is read, float32 [T, C].

    Args:
      sample: one sample, or a batch of a DataLoader.
      batched: a tuple of texts is one per row (so it is collated) and no group of keys.
      transform: by key (`a/b` below others), a function that a value goes through first.

    Raises:
      SpecError: naming the key of a value that is no number, text, array or tensor. Its text begins with "expected".
    """
    members = _members(sample, batched)
    transform = transform or {}
    if members is None:
        return {"x": _tree(sample, "x", batched, transform)}
    if isinstance(sample, Mapping):
        members = {key: value for key, value in members.items() if not key.startswith("__")}
    elif len(members) == 2 and not hasattr(sample, "_fields"):
        members = dict(zip("xy", members.values()))
    if not members:
        raise SpecError(f"expected a sample with at least one value, got {sample!r}")
    return {key: _tree(value, key, batched, transform) for key, value in members.items()}


def _tree(value: Any, key: str, batched: bool, transform: Transform) -> Any:
    if key in transform:
        value = transform[key](value)
    members = _members(value, batched)
    if members is None:
        return _leaf(value, key)
    return {name: _tree(member, f"{key}/{name}", batched, transform) for name, member in members.items()}


def _members(value: Any, batched: bool) -> dict[str, Any] | None:
    if isinstance(value, _LEAVES):  # most values, cheaply
        return None
    if batched and isinstance(value, tuple) and all(isinstance(item, _TEXTS) for item in value):
        return None
    if isinstance(value, Mapping):
        return {str(key): member for key, member in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value))
    if isinstance(value, tuple) or (isinstance(value, list) and not _is_array_like(value)):
        return {str(index): member for index, member in enumerate(value)}
    return None


def _is_array_like(value: list) -> bool:
    return all(_is_array_like(item) if isinstance(item, list) else isinstance(item, _SCALARS) for item in value)


def _leaf(value: Any, key: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, _TEXTS):
        return value
    array = _to_array(value, key)
    if array.dtype in _NATIVE:
        return array
    if is_text(array):
        return array
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype not in _DTYPES:
        raise SpecError(
            f"expected numbers, bools or text under {key!r}, got {type(value).__name__} of dtype {array.dtype}. "
            "Convert it in the dataset, or leave the key out"
        )
    return array


def _to_array(value: Any, key: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if type(value).__module__ == "soundfile":
        value.seek(0)
        return value.read(dtype="float32", always_2d=True)
    try:
        if isinstance(value, _NUMBERS) and not isinstance(value, np.generic):
            return np.asarray(value, np.bool_ if isinstance(value, bool) else np.int64)
        array = np.asarray(value) if _is_known(value) else np.asarray(None)
    except (ValueError, OverflowError) as error:
        raise SpecError(f"expected values of one shape under {key!r}, got {type(value).__name__}: {error}") from error
    python_floats = isinstance(value, _FLOATS) and not isinstance(value, np.generic)
    return array.astype(np.float32) if python_floats and array.dtype == np.float64 else array


def _is_known(value: Any) -> bool:
    kind = type(value)  # which is asked, because what a PIL image has there are its pixels, copied
    return isinstance(value, _KNOWN) or hasattr(kind, "__array__") or hasattr(kind, "__array_interface__")
