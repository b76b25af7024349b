"""States of other people's objects and arrays, as tensors and primitives that `torch.load(weights_only=True)` reads."""

from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError

__all__ = ["from_plain", "to_plain"]

_ARRAY = "__numpy__"
_PRIMITIVES = (type(None), bool, int, float, str, bytes)


def to_plain(value: Any, who: str, path: str = "state") -> Any:
    """Returns a snapshot of `value` that shares no memory with it; numpy arrays become marked tensors.

    Raises:
      SpecError: naming the place of anything else than containers, arrays, tensors and primitives.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
        return {_ARRAY: torch.from_numpy(np.array(value)), "scalar": isinstance(value, np.generic)}
    if isinstance(value, dict) and all(type(key) in _PRIMITIVES for key in value):
        return {key: to_plain(item, who, f"{path}/{key}") for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(to_plain(item, who, f"{path}/{index}") for index, item in enumerate(value))
    if type(value) in _PRIMITIVES:
        return value
    raise SpecError(
        f"{who}: expected the dataset's state_dict() to hold tensors, arrays and primitives, got "
        f"{type(value).__name__} at {path}. Convert it there and back in load_state_dict()."
    )


def from_plain(value: Any) -> Any:
    """Returns, in fresh memory, what `to_plain` was given."""
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        if _ARRAY in value:
            array = value[_ARRAY].numpy().copy()
            return array[()] if value["scalar"] else array
        return {key: from_plain(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(map(from_plain, value))
    return value
