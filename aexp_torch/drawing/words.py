"""Short words for specs and arguments: what fits into a box or onto an edge."""

import functools
import inspect
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from dm_env import specs
from torch import Tensor

from aexp_torch.env import Env, Stage

__all__ = ["arguments_of", "brief", "columns", "printable"]

LONGEST = 40
UNSHOWN = ("name", "seed", "feedback_timeout")  # the name stands on the edge


def brief(spec: specs.Array) -> str:
    """Describes a leaf: `float32 [4]`, `int64 [] 0..1`, `uint8 [84, 84, 3] 0..255`, `float32 [] >= 0`."""
    dtype = np.dtype(spec.dtype)
    text = f"{dtype.name} {list(spec.shape)}"
    if not isinstance(spec, specs.BoundedArray) or np.size(spec.minimum) * np.size(spec.maximum) == 0:
        return text
    low, high = np.min(spec.minimum), np.max(spec.maximum)
    wide = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype if dtype.itemsize > 2 else np.int64)
    below, above = low <= wide.min, high >= wide.max  # no bound at all
    if below and above:
        return text
    if below or above:
        return f"{text} <= {_number(high)}" if below else f"{text} >= {_number(low)}"
    return f"{text} {_number(low)}..{_number(high)}"


def _number(value: Any) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e6 else f"{float(value):.4g}"


def arguments_of(env: Env) -> list[str]:
    """Returns the arguments that an environment was built with, if they are not the default: `'CartPole-v1'`, `std=0.1`.

    An argument is found where the recipe keeps it under its own name, or with `given_` or `_` in front.
    """
    kept = env.__getstate__()
    found = []
    for place, parameter in enumerate(_parameters(env, kept)):
        name = parameter.name
        if name in UNSHOWN or not (keys := [key for key in (f"given_{name}", name, f"_{name}") if key in kept]):
            continue
        value = kept[keys[0]]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found += [f"{key}={shown(item)}" for key, item in value.items()]
        elif not isinstance(value, Env) and not _equal(value, parameter.default):
            is_plain = place == 0 and parameter.default is inspect.Parameter.empty  # as `GymnasiumEnv("CartPole-v1")`
            found.append(shown(value) if is_plain else f"{name}={shown(value)}")
    return found


def _parameters(env: Env, kept: dict) -> list[inspect.Parameter]:
    """Returns the constructor's parameters, with those of every Env where a source or composition hands options on."""
    own = list(inspect.signature(type(env)).parameters.values())
    if isinstance(env, Stage) or not any(
        each.kind is inspect.Parameter.VAR_KEYWORD and each.name not in kept for each in own
    ):
        return own
    known = {each.name for each in own}
    return own + [each for each in inspect.signature(Env).parameters.values() if each.name not in known]


def _equal(value: Any, default: Any) -> bool:
    if value is default or (default is None and isinstance(value, Collection) and not len(value)):
        return True
    try:
        return bool(value == default)
    except (TypeError, ValueError, RuntimeError):  # arrays
        return False


def shown(value: Any) -> str:
    """Writes a value so that it fits: data by its dtype and shape, functions and objects by their names."""
    if isinstance(value, str):
        return _cut(repr(value))
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, PurePath):
        return _cut(repr(str(value)))
    if isinstance(value, Mapping):
        return _joined("{", (f"{printable(str(key))}: {shown(item)}" for key, item in value.items()), "}")
    if isinstance(value, list | tuple | range):
        start, end = "()" if isinstance(value, tuple) else "[]"
        return _joined(start, map(shown, value), "," * (isinstance(value, tuple) and len(value) == 1) + end)
    if isinstance(value, functools.partial):
        return shown(value.func)
    return printable(str(getattr(value, "__name__", type(value).__name__))).strip("<>")


def _joined(start: str, items: Iterable[str], end: str) -> str:
    """Joins as many items as fit, the first one in any case."""
    text = ""
    for item in items:
        longer = f"{text}, {item}" if text else item
        if text and len(longer) > LONGEST:
            return f"{start}{text}, …{end}"
        text = longer
    return start + text + end


def _cut(text: str) -> str:
    text = printable(text)
    half = (LONGEST - 1) // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"


def printable(text: str) -> str:
    """Replaces characters that no terminal and no XML shows."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def columns(text: str) -> int:
    """Counts the places that a text takes in a monospaced font; some letters take two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)
