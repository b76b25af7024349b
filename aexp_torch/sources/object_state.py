"""An environment of Python objects mid-episode, as tensors and primitives: `snapshot` and `restore`, bit for bit.

Stored are the attributes of the environment, of every wrapper and of the objects that they hold: numbers, arrays, numpy
generators, containers of these, MuJoCo physics, Atari games, environments inside of environments, and plain objects:
instances of classes that are written in Python, in the package of one of the environments (or of a package that is given).
Left where they are: spaces (and their own generators: `space.sample()` is no part of a stream), specs and metadata,
functions, classes and modules, windows and renderers. Whatever else an attribute holds makes the environment
non-resumable, and is named.

Environments and simulators are restored in place, plain objects are made anew: none of their code runs.

Out of sight, and so out of the snapshot: module globals and class attributes that an environment changes, numpy's and
Python's global generators, variables of a function's closure, the children that a generator has spawned.
"""

import functools
import logging
import pathlib
import re
import sys
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

import dm_env
import gymnasium
import numpy as np
import torch
from dm_env import specs
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import PassiveEnvChecker

from aexp_torch.errors import SpecError
from aexp_torch.sources.ale_state import is_ale, read_ale, write_ale
from aexp_torch.sources.mujoco_state import (
    is_mujoco,
    is_physics,
    read_mujoco,
    read_physics,
    write_mujoco,
    write_physics,
)
from aexp_torch.sources.plain_state import KEEP, MISSING, TAG, Decoder, Encoder, Unstorable, module_of

__all__ = ["restore", "snapshot", "why_not_resumable"]

ENVIRONMENTS = (gymnasium.Env, VectorEnv, dm_env.Environment)
PETTINGZOO = {"pettingzoo.utils.env.AECEnv", "pettingzoo.utils.env.ParallelEnv"}
CONSTANT_TYPES = (
    *(gymnasium.Space, EnvSpec, WrapperSpec, specs.Array, logging.Logger, pathlib.PurePath, re.Pattern),
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
# What is no picture there: places and directions, and groups of things.
GEOMETRY = {"pygame.rect:Rect", "pygame.rect:FRect", "pygame.math:Vector2", "pygame.math:Vector3"}
NOT_DRAWING = ("pygame.rect", "pygame.math", "pygame.sprite")
VALUES = (bool, int, float, complex, str, bytes, tuple, list, dict, set, deque, np.ndarray, np.generic, torch.Tensor)
# Its checks are not made twice: they compare with what the environment returned before.
CHECKED = {
    "checked_reset": True,
    "checked_step": True,
    "checked_render": True,
    "checked_data_reuse": True,
    "_previous_data": None,
}
POINTER = 8


def why_not_resumable(env: Any, packages: Iterable[str] = ()) -> str | None:
    """Says why `snapshot` cannot store an environment, naming class and attribute; None where it can.

    It judges by what the environment holds now: ask after the first reset, when simulators have been built.
    """
    try:
        _encode(env, packages)
    except _Refused as refusal:
        return str(refusal)
    return None


def snapshot(env: Any, packages: Iterable[str] = ()) -> dict[str, Any]:
    """Stores an environment, with its wrappers, as it is between two steps.

    Args:
      env: of Gymnasium, dm_env or PettingZoo, whose lanes and parts are in this process.
      packages: whose plain objects are stored, beside those of the packages that the environments' classes come from.

    Returns:
      `{"layers": [class names], "env": ...}`; nothing in it shares memory with the environment.

    Raises:
      SpecError: where `why_not_resumable` gives a reason.
    """
    try:
        return _encode(env, packages)
    except _Refused as refusal:
        raise SpecError(f"snapshot: {refusal}") from refusal


def restore(env: Any, state: dict[str, Any], packages: Iterable[str] = ()) -> None:
    """Puts an environment where the one was that `snapshot` stored.

    Args:
      env: made with the same arguments and wrappers; new (it needs no reset) or in use.
      state: from `snapshot`, also after a round trip through `torch.save`.
      packages: as then.

    Raises:
      SpecError: where the layers are others than those that were stored.
    """
    came, expected = _layers(env), state["layers"]
    if came != expected:
        raise SpecError(
            f"restore: expected the layers {expected}, got {came}. Make the environment as it was made then."
        )
    _Reader(packages).decode(state["env"], env)


class _Refused(Exception):
    """Carries the sentence that names what cannot be stored."""


class _Writer:
    """Encodes objects."""

    def __init__(self, packages: Iterable[str]):
        self._packages = set(packages)
        self.encode = Encoder(self._other)

    def root(self, env: Any) -> dict[str, Any]:
        kind: Any = type(env)
        self._packages |= _packages(kind)
        return self.encode(env)

    def _other(self, value: Any) -> dict[str, Any]:
        kind: Any = type(value)
        if is_environment(value):
            self._packages |= _packages(kind)
            return self._object(value, "environment")
        if _constant("", value):
            return {TAG: KEEP}
        if is_mujoco(value):
            return write_mujoco(value)
        if is_physics(value):
            return write_physics(value)
        if is_ale(value):
            return write_ale(value)
        if _class_name(kind) in GEOMETRY:
            return {TAG: "geometry", "class": _class_name(kind), "numbers": tuple(value)}
        if isinstance(value, types.MethodType) and _method(value.__self__, value.__name__) is value.__func__:
            return {TAG: "method", "of": self.encode(value.__self__), "name": value.__name__}
        if module_of(kind).startswith("dm_control.mjcf"):
            raise Unstorable(value, "an MJCF model (dm_control.composer), which is built anew while it runs")
        if not self._packages & _packages(kind):
            raise Unstorable(value)
        if isinstance(value, tuple) and not getattr(value, "__dict__", None):
            return {TAG: "named tuple", "class": _class_name(kind), "items": [self.encode(item) for item in value]}
        if not is_plain(kind):
            raise Unstorable(value)
        return self._object(value, "object")

    def _object(self, value: Any, tag: str) -> dict[str, Any]:
        attributes: dict[str, Any] = {}
        encoded = {TAG: tag, "class": _class_name(type(value)), "attributes": attributes}
        self.encode.enter(value, encoded)
        in_place = tag == "environment"
        for name, item in _attributes_of(value).items():
            if not _constant(name, item):
                attributes[name] = self._attribute(value, name, item)
            elif not in_place:
                attributes[name] = {TAG: KEEP}
        return encoded

    def _attribute(self, owner: Any, name: str, value: Any) -> Any:
        try:
            return self.encode(value)
        except Unstorable as error:
            raise _Refused(f"{_named(type(owner))}.{name} holds {error.reason}") from error


class _Reader:
    """Decodes objects into an environment that is made of the same classes."""

    def __init__(self, packages: Iterable[str]):
        self._packages = set(packages)
        self.decode = Decoder(self._other)

    def _other(self, encoded: dict[str, Any], existing: Any) -> Any:
        kind, came = encoded[TAG], None if existing is MISSING else existing
        own: Any = type(came)
        if kind == "environment" and encoded["class"] == _class_name(own):
            self._packages |= _packages(own)
            self._environment(encoded, came)
        elif kind == "object":
            return self._object(encoded, came)
        elif kind == "named tuple":
            named, items = self._class(encoded), encoded["items"]
            beside: Any = came if own is named and len(came) == len(items) else [MISSING] * len(items)
            return tuple.__new__(named, [self.decode(item, old) for item, old in zip(items, beside, strict=True)])
        elif kind == "geometry" and encoded["class"] in GEOMETRY:
            return _find(encoded["class"])(*encoded["numbers"])
        elif kind == "method":
            owner = self.decode(encoded["of"], getattr(came, "__self__", MISSING))
            return types.MethodType(_method(owner, encoded["name"]), owner)
        elif kind == own.__name__ and is_mujoco(came):
            read_mujoco(encoded, came)
        elif kind == "Physics" and is_physics(came):
            read_physics(encoded, came)
        elif kind == own.__name__ and is_ale(came):
            read_ale(encoded, came)
        else:
            wanted = encoded.get("class", kind)
            raise SpecError(f"restore: expected a {wanted}, got {came!r}. Make the environment as it was made then.")
        return came

    def _environment(self, encoded: dict[str, Any], env: Any) -> None:
        self.decode.enter(encoded, env)
        stored, attributes = encoded["attributes"], vars(env)
        later = [name for name in attributes if name not in stored and name not in DRAWING_NAMES]
        for name in later:
            if not (_constant(name, attributes[name]) or is_environment(attributes[name])):
                del attributes[name]
        own: Any = type(env)
        slots = _slots(own)
        for name, value in stored.items():
            existing = getattr(env, name, MISSING) if name in slots else attributes.get(name, MISSING)
            if value is None and existing is not MISSING and _constant(name, existing):
                continue  # an open window stays where none was then
            self._set(env, name, self.decode(value, existing))

    def _object(self, encoded: dict[str, Any], existing: Any) -> Any:
        kind: Any = self._class(encoded)
        before = _attributes_of(existing) if type(existing) is kind else {}
        value: Any = object.__new__(kind)
        self.decode.enter(encoded, value)
        for name, item in encoded["attributes"].items():
            self._set(value, name, self.decode(item, before.get(name, MISSING)))
        return value

    def _set(self, owner: Any, name: str, value: Any) -> None:
        kind: Any = type(owner)
        if name in _slots(kind):
            object.__setattr__(owner, name, value)
        else:
            vars(owner)[name] = value

    def _class(self, encoded: dict[str, Any]) -> Any:
        found = _find(encoded["class"])
        usable = isinstance(found, type) and self._packages & _packages(found)
        if not (usable and (is_plain(found) or issubclass(found, tuple))):
            known = ", ".join(sorted(self._packages))
            raise SpecError(
                f"restore: expected a class written in Python of {known}, which is imported, got {encoded['class']}."
                " Make the environment as it was made then."
            )
        return found


def is_environment(value: Any) -> bool:
    """Says whether a value is an environment (or a wrapper), which is restored in place."""
    if isinstance(value, ENVIRONMENTS):
        return True
    return any(f"{module_of(kind)}.{kind.__qualname__}" in PETTINGZOO for kind in type(value).__mro__)


@functools.cache
def is_plain(kind: Any) -> bool:
    """Says whether the instances of a class are nothing but their attributes: no memory of a C type lies behind them.

    Source: what `object.__reduce_ex__` demands of a class without a way of its own to be pickled.
    """
    room = (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0) + len(_slots(kind))
    return kind.__itemsize__ == 0 and kind.__basicsize__ <= object.__basicsize__ + POINTER * room


@functools.cache
def _packages(kind: Any) -> frozenset[str]:
    """Returns the packages that a class and its bases come from."""
    return frozenset(module_of(base).partition(".")[0] for base in kind.__mro__) - sys.stdlib_module_names


@functools.cache
def _slots(kind: Any) -> tuple[str, ...]:
    names = []
    for base in kind.__mro__:
        declared = vars(base).get("__slots__", ())
        for name in [declared] if isinstance(declared, str) else declared:
            private = name.startswith("__") and not name.endswith("__")
            names.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _attributes_of(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    attributes = dict(getattr(value, "__dict__", {}))
    attributes |= {name: getattr(value, name) for name in _slots(kind) if hasattr(value, name)}
    return attributes | (CHECKED if kind is PassiveEnvChecker else {})


def _method(owner: Any, name: str) -> Any:
    function = getattr(type(owner), name, None)
    return function if isinstance(function, types.FunctionType) else None


def _layers(env: Any) -> list[str]:
    layers = [env]
    while is_environment(inner := getattr(layers[-1], "__dict__", {}).get("env")) and inner not in layers:
        layers.append(inner)
    return [_named(type(layer)) for layer in layers]


def _encode(env: Any, packages: Iterable[str]) -> dict[str, Any]:
    writer = _Writer(packages)
    try:
        state = {"layers": _layers(env), "env": writer.root(env)}
    except RecursionError as error:
        raise _Refused(f"{_named(type(env))} holds objects in objects, more than Python can follow") from error
    writer.encode.finish()
    return state


def _class_name(kind: type) -> str:
    return f"{module_of(kind)}:{kind.__qualname__}"


def _find(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _named(kind: type) -> str:
    return _class_name(kind).replace(":", ".")


def _constant(name: str, value: Any) -> bool:
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | type)  # the others are methods of something with a state
    if name in CONSTANT_NAMES or isinstance(value, CONSTANT_TYPES):
        return True
    drawing = name in DRAWING_NAMES and value is not None and not isinstance(value, VALUES)
    module = module_of(type(value))
    return drawing or (module.partition(".")[0] in DRAWING_MODULES and module not in NOT_DRAWING)
