"""Checks that an answer fits its action spec: keys, shape, dtype, bounds.

`action_checker` looks at the spec once and returns a function that is cheap enough for every step.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.errors import ActionError
from aexp_torch.specs.env_spec import describe
from aexp_torch.specs.sample import zeros
from aexp_torch.specs.tree import flatten, path_name, unflatten

__all__ = ["Check", "Ended", "action_checker", "torch_dtype", "union_checker"]

BoundsCheck = Callable[[np.ndarray], bool]
Ended = Callable[[], Tensor]  # where lanes are LAST, bool [B]: if all of them are, values do not matter
Check = Callable[[Any, Ended], dict]
LeafCheck = Callable[[Any, Ended], Tensor]


def torch_dtype(spec: specs.Array) -> torch.dtype:
    """Returns the torch dtype of a spec's leaf."""
    return torch.from_numpy(np.empty(0, spec.dtype)).dtype


def action_checker(spec: dict, num_envs: int, device: str = "cpu") -> Check:
    """Builds the check of one action spec.

    Args:
      spec: of one lane.
      num_envs: B.
      device: where answers are wanted. Their values are checked on the CPU alone: elsewhere that would wait for the
        device at every step.

    Returns:
      `check(action, ended) -> dict`: takes a dict or, where the spec has a single leaf, a bare tensor; returns a dict of
      tensors [B, ...] on the device, in memory of their own. `ended()`, where lanes are LAST, is asked only when a value
      is out of bounds: it does not matter if all of them are. Raises ActionError.
    """
    leaves = list(flatten(spec))
    make = _leaf_check if device == "cpu" else partial(_device_check, device=device)
    checks = [(path, make(path, leaf, num_envs)) for path, leaf in leaves]
    if not leaves:
        return _check_nothing
    if len(leaves) == 1 and len(leaves[0][0]) == 1:
        return _single_leaf(spec, *leaves[0][0], checks[0][1])

    top = {path[0]: leaf_check for path, leaf_check in checks} if all(len(path) == 1 for path, _ in leaves) else {}

    def check(action: Any, ended: Ended) -> dict:
        if top and isinstance(action, dict) and action.keys() == top.keys():  # nothing is nested: the common case
            return {key: leaf_check(action[key], ended) for key, leaf_check in top.items()}
        if not isinstance(action, dict):
            if len(leaves) > 1:
                raise ActionError(f"expected a dict {describe(spec)}, got {_name(action)}.")
            action = unflatten([(leaves[0][0], action)])
        given = dict(flatten(action))
        _check_keys(spec, given)
        return unflatten([(path, leaf_check(given[path], ended)) for path, leaf_check in checks])

    return check


def union_checker(check: Check, spec: dict, source: str, union: Callable[[], dict]) -> Check:
    """Lets a check take an answer by the action spec of several sources, too: the part of one of them is checked.

    Args:
      check: of the source's own action.
      spec: of the source's own action.
      source: its name.
      union: returns the action spec of all (`union_of`); asked when an answer has keys of others.
    """
    own = [path for path, _ in flatten(spec)]
    top = {path[0] for path in own}
    known: set[tuple] = set()

    def check_part(action: Any, ended: Ended) -> dict:
        if not isinstance(action, dict) or (action.keys() == top and all(len(path) == 1 for path in own)):
            return check(action, ended)
        given = dict(flatten(action))
        if given.keys() == set(own):
            return check(action, ended)
        if not known.issuperset(given):
            known.update(path for path, _ in flatten(union()))
        places = {path: (*path[:-1], f"{path[-1]}@{source}") for path in own}
        found = [(path, given.get(place, given.get(path))) for path, place in places.items()]
        found = [(path, value) for path, value in found if value is not None]
        others = [(path, value) for path, value in given.items() if path not in known]
        return check(unflatten([*found, *others]) or {}, ended)

    return check_part


def _single_leaf(spec: dict, key: str, leaf_check: LeafCheck) -> Check:
    def check(action: Any, ended: Ended) -> dict:
        if isinstance(action, dict):
            if len(action) != 1 or key not in action:
                _check_keys(spec, dict(flatten(action)))
            action = action[key]
        return {key: leaf_check(action, ended)}

    return check


def _check_nothing(action: Any, ended: Ended) -> dict:
    if action is None or (isinstance(action, dict) and not action):
        return {}
    raise ActionError(f"expected no answer (the action spec is empty), got {_name(action)}. Reply None, or nothing.")


def _check_keys(spec: dict, given: dict) -> None:
    expected = [path for path, _ in flatten(spec)]
    missing = [path_name(path) for path in expected if path not in given]
    unknown = [path_name(path) for path in given if path not in expected]
    if missing or unknown:
        keys = [path_name(path) for path in expected]
        raise ActionError(f"expected keys {keys}; missing {missing}, unknown {unknown}.")


def _leaf_check(path: tuple, spec: specs.Array, num_envs: int) -> LeafCheck:
    shape = (num_envs, *spec.shape)
    dtype, numpy_dtype = torch_dtype(spec), torch.empty(0, dtype=torch_dtype(spec)).numpy().dtype
    within = _bounds_check(spec)

    def check(value: Any, ended: Ended) -> Tensor:
        try:
            array = value.numpy().copy()
        except (AttributeError, TypeError, RuntimeError):  # no tensor, or one on a device or with a gradient
            array = _to_array(value, path, shape, dtype)
        if array.dtype is not numpy_dtype or array.shape != shape:
            raise _misfit(path, dtype, shape, value)
        if within is not None and not within(array):
            if not ended().all():
                raise ActionError(f"expected {path_name(path)!r} as {describe(spec)}, got {_offender(array, spec)}.")
            return zeros({"": spec}, num_envs)[""]  # ignored by the source, but still a valid action
        return from_numpy(array)

    return check


def _device_check(path: tuple, spec: specs.Array, num_envs: int, device: str) -> LeafCheck:
    shape, dtype = (num_envs, *spec.shape), torch_dtype(spec)

    def check(value: Any, ended: Ended) -> Tensor:
        if not isinstance(value, Tensor):
            value = from_numpy(_to_array(value, path, shape, dtype))
        if value.dtype is not dtype or value.shape != shape:
            raise _misfit(path, dtype, shape, value)
        return value.detach().to(device, copy=True)

    return check


def _misfit(path: tuple, dtype: torch.dtype, shape: tuple, value: Any) -> ActionError:
    return ActionError(f"expected {path_name(path)!r} as {dtype} {list(shape)}, got {_name(torch.as_tensor(value))}.")


def _to_array(value: Any, path: tuple, shape: tuple, dtype: torch.dtype) -> np.ndarray:
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy().copy()
    if isinstance(value, np.ndarray | np.generic):
        return np.array(value)
    raise ActionError(f"expected a tensor {dtype} {list(shape)} for {path_name(path)!r}, got {_name(value)}.")


def _bounds_check(spec: specs.Array) -> BoundsCheck | None:
    """Returns a test that all values are within bounds (NaN is not), or None where every value is."""
    if not isinstance(spec, specs.BoundedArray) or np.dtype(spec.dtype).kind == "b":
        return None
    low, high = spec.minimum, spec.maximum
    if np.dtype(spec.dtype).kind in "iu":
        limits = np.iinfo(spec.dtype)
        if np.all(low == limits.min) and np.all(high == limits.max):
            return None
        if not spec.shape and np.all(low == 0):
            # No element is larger than all of them or-ed together, which is negative if one of them is: one cheap pass
            # that is sure when it says yes.
            top, all_bits = int(high), np.bitwise_or.reduce
            return lambda value: 0 <= all_bits(value) <= top or bool(((value >= 0) & (value <= top)).all())
    return lambda value: bool(((value >= low) & (value <= high)).all())


def _offender(array: np.ndarray, spec: specs.BoundedArray) -> str:
    wrong = np.argwhere(~((array >= spec.minimum) & (array <= spec.maximum)))[0]
    return f"{array[tuple(wrong)]} in lane {wrong[0]}"


def _name(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict with keys {[path_name(path) for path, _ in flatten(value)]}"
    if isinstance(value, Tensor):
        return f"{value.dtype} {list(value.shape)}"
    return f"{type(value).__name__} {value!r}"[:120]
