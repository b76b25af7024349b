"""A Gymnasium environment mid-episode, as tensors and primitives: `snapshot` and `restore`, bit for bit.

Stored are the attributes of every wrapper and of the environment within: numbers, arrays, numpy generators, containers
of these, MuJoCo physics, Atari games, environments inside of environments. Left where they are: the links between the
layers, spaces (and their own generators: `space.sample()` is no part of a stream), specs and metadata, functions, classes
and modules, windows and renderers. Whatever else an attribute holds makes the environment non-resumable, and is named.

Out of sight, and so out of the snapshot: module globals and class attributes that an environment changes, numpy's and
Python's global generators, variables of a function's closure, the children that a generator has spawned.
"""

import functools
import logging
import pathlib
import re
import types
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.wrappers import PassiveEnvChecker
from gymnasium.wrappers.utils import RunningMeanStd

from aexp_torch.errors import SpecError
from aexp_torch.sources.ale_state import is_ale, read_ale, write_ale
from aexp_torch.sources.mujoco_state import is_mujoco, read_mujoco, write_mujoco
from aexp_torch.sources.plain_state import KEEP, TAG, Decoder, Encoder, Unstorable

__all__ = ["restore", "snapshot", "why_not_resumable"]

Layer = gymnasium.Env | VectorEnv
WRAPPERS = (gymnasium.Wrapper, VectorWrapper)
# Plain objects of Gymnasium that are nothing but their attributes.
RECORDS = (RunningMeanStd,)
CONSTANT_TYPES = (
    *(gymnasium.Space, EnvSpec, WrapperSpec, logging.Logger, pathlib.PurePath, re.Pattern),
    *(type, types.ModuleType, types.FunctionType, functools.partial, np.ufunc),
    *(np.dtype, torch.dtype, torch.device),
)
# What the constructor was called with, and what describes the environment.
CONSTANT_NAMES = frozenset(
    ("spec", "_cached_spec", "metadata", "_metadata", "_saved_kwargs", "_ezpickle_args", "_ezpickle_kwargs", "env_fns")
    + ("render_mode", "isopen", "screens", "clocks")
)
# What only draws it, where it is an object: a `clock` that is a number is state.
DRAWING_NAMES = frozenset(
    ("screen", "clock", "surf", "window", "window_surface", "viewer", "renderer", "mujoco_renderer")
)
DRAWING_MODULES = ("pygame", "glfw", "OpenGL", "matplotlib", "PIL")
VALUES = (bool, int, float, complex, str, bytes, tuple, list, dict, set, deque, np.ndarray, np.generic, torch.Tensor)
# Its checks are not made twice: they compare with what the environment returned before.
CHECKED = {
    "checked_reset": True,
    "checked_step": True,
    "checked_render": True,
    "checked_data_reuse": True,
    "_previous_data": None,
}


def why_not_resumable(env: Layer) -> str | None:
    """Says why `snapshot` cannot store an environment, naming class and attribute; None where it can.

    It judges by what the environment holds now: ask after the first reset, when simulators have been built.
    """
    try:
        _encode(env)
    except _Refused as refusal:
        return str(refusal)
    return None


def snapshot(env: Layer) -> dict[str, Any]:
    """Stores an environment, with its wrappers, as it is between two steps.

    Args:
      env: a `gymnasium.Env`, or a `VectorEnv` that steps its lanes itself or holds them in this process.

    Returns:
      `{"layers": [...]}`, from the outermost wrapper inwards; nothing in it shares memory with the environment.

    Raises:
      SpecError: where `why_not_resumable` gives a reason.
    """
    try:
        return _encode(env)
    except _Refused as refusal:
        raise SpecError(f"snapshot: {refusal}") from refusal


def restore(env: Layer, state: dict[str, Any]) -> None:
    """Puts an environment where the one was that `snapshot` stored.

    Args:
      env: made with the same arguments and wrappers; new (it needs no reset) or in use.
      state: from `snapshot`, also after a round trip through `torch.save`.

    Raises:
      SpecError: where the layers are others than those that were stored.
    """
    _Reader().layers(env, state["layers"])


class _Refused(Exception):
    """Carries the sentence that names what cannot be stored."""


class _Writer:
    """Encodes layers; knows them all, so that links between them are told from environments inside of others."""

    def __init__(self):
        self._known: set[int] = set()
        self.encode = Encoder(self._other)

    def layers(self, env: Layer) -> list[dict[str, Any]]:
        layers = _layers(env)
        self._known.update(map(id, layers))
        return [{"class": _class_name(layer), "attributes": self._attributes(layer)} for layer in layers]

    def _attributes(self, layer: Any) -> dict[str, Any]:
        if slots := _slots(layer):
            raise _Refused(
                f"{_class_name(layer)} keeps {', '.join(slots)} in __slots__, where no attribute can be read back"
            )
        values = vars(layer) | (CHECKED if type(layer) is PassiveEnvChecker else {})
        return {
            name: self._attribute(layer, name, values[name]) for name in values if not _constant(name, values[name])
        }

    def _attribute(self, layer: Any, name: str, value: Any) -> Any:
        try:
            return self.encode(value)
        except Unstorable as error:
            raise _Refused(f"{_class_name(layer)}.{name} holds {error.reason}") from error

    def _other(self, value: Any) -> dict[str, Any]:
        if id(value) in self._known or _constant("", value) or id(getattr(value, "__self__", None)) in self._known:
            return {TAG: KEEP}
        if isinstance(value, Layer):
            return {TAG: "env", "layers": self.layers(value)}
        if type(value) in RECORDS:
            return {TAG: "record", "class": _class_name(value), "attributes": self._attributes(value)}
        if is_mujoco(value):
            return write_mujoco(value)
        if is_ale(value):
            return write_ale(value)
        raise Unstorable(value)


class _Reader:
    """Decodes layers into an environment that is made of the same."""

    def __init__(self):
        self._decode = Decoder(self._other)

    def layers(self, env: Layer, stored: list[dict[str, Any]]) -> None:
        layers = _layers(env)
        came, expected = [_class_name(layer) for layer in layers], [layer["class"] for layer in stored]
        if came != expected:
            raise SpecError(
                f"restore: expected the layers {expected}, got {came}. Make the environment as it was made then."
            )
        for layer, one in zip(layers, stored, strict=True):
            self._attributes(layer, one["attributes"])

    def _attributes(self, layer: Any, stored: dict[str, Any]) -> None:
        attributes = vars(layer)
        later = [name for name in attributes if name not in stored and name not in DRAWING_NAMES]
        for name in later:
            if not (_constant(name, attributes[name]) or isinstance(attributes[name], Layer)):
                del attributes[name]
        for name, encoded in stored.items():
            existing = attributes.get(name)
            if encoded is not None or not _constant(name, existing):  # an open window stays where none was then
                attributes[name] = self._decode(encoded, existing)

    def _other(self, encoded: dict[str, Any], existing: Any) -> Any:
        kind = encoded[TAG]
        if kind == "env" and isinstance(existing, Layer):
            self.layers(existing, encoded["layers"])
        elif kind == "record" and _class_name(existing) == encoded["class"]:
            self._attributes(existing, encoded["attributes"])
        elif kind == type(existing).__name__ and is_mujoco(existing):
            read_mujoco(encoded, existing)
        elif kind == type(existing).__name__ and is_ale(existing):
            read_ale(encoded, existing)
        else:
            wanted = encoded.get("class", kind)
            raise SpecError(
                f"restore: expected a {wanted}, got {existing!r}. Make the environment as it was made then."
            )
        return existing


def _layers(env: Layer) -> list[Layer]:
    layers = [env]
    while isinstance(layers[-1], WRAPPERS):
        layers.append(layers[-1].env)
    return layers


def _encode(env: Layer) -> dict[str, Any]:
    writer = _Writer()
    state = {"layers": writer.layers(env)}
    writer.encode.finish()
    return state


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _constant(name: str, value: Any) -> bool:
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | type)  # the others are methods of something with a state
    if name in CONSTANT_NAMES or isinstance(value, CONSTANT_TYPES):
        return True
    drawing = name in DRAWING_NAMES and value is not None and not isinstance(value, VALUES)
    return drawing or type(value).__module__.partition(".")[0] in DRAWING_MODULES


def _slots(layer: Any) -> list[str]:
    declared = [vars(kind).get("__slots__", ()) for kind in type(layer).__mro__]
    names = [name for slots in declared for name in ([slots] if isinstance(slots, str) else slots)]
    return [name for name in names if name not in ("__dict__", "__weakref__")]
