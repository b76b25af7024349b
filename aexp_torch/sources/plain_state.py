"""Python and numpy values to tensors and primitives that `torch.load(weights_only=True)` reads, and back, bit for bit.

The type of a number decides the rounding of the next operation, so every type comes back exactly: int, np.int64 and
np.float32 scalars, tuple and list, the dtype and memory order of arrays. What was one object is one again, and arrays
that were views of the same memory are.

What is not known is refused (`Unstorable`), never left out.
"""

import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError

__all__ = ["KEEP", "MISSING", "TAG", "Decoder", "Encoder", "Unstorable", "module_of", "pack", "unpack"]

TAG = "__kind__"
KEEP = "keep"
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
COLLECTIONS = {"set": set, "frozenset": frozenset, "deque": deque, "OrderedDict": OrderedDict}
MISSING = object()


def module_of(kind: type) -> str:
    """Returns where a class comes from; types that SWIG makes do not say."""
    return getattr(kind, "__module__", "")


class Unstorable(Exception):
    """Says that a value is of no kind that can be stored; `reason` completes "it holds ..."."""

    def __init__(self, value: Any, reason: str | None = None):
        kind = type(value)
        self.reason = reason or f"a {module_of(kind)}.{kind.__qualname__}, which has no form of tensors and primitives"
        super().__init__(self.reason)


class Encoder:
    """Encodes values one by one; call `finish` after the last.

    Args:
      other: `other(value)` encodes what is unknown here as a dict with the key `TAG`, or raises `Unstorable`.
        `{TAG: KEEP}` stands for a constant: restoring leaves there what it finds.
    """

    def __init__(self, other: Callable[[Any], dict]):
        self._other = other
        self._memo: dict[int, tuple[Any, Any]] = {}  # with the value itself, so that no id is used again
        self._arrays: dict[int, tuple[Any, list]] = {}

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is tuple:
            return tuple([self(item) for item in value])
        if id(value) not in self._memo:
            # Containers enter themselves before their items, which may refer back to them.
            encoded = self._list(value) if kind is list else self._dict(value) if kind is dict else self._object(value)
            self.enter(value, encoded)
        return self._memo[id(value)][1]

    def enter(self, value: Any, encoded: Any) -> None:
        """Has later references to a value mean `encoded`, which may still be filled: it may refer back to itself."""
        self._memo[id(value)] = (value, encoded)

    def finish(self) -> None:
        """Writes the arrays: those that overlap with another as views of one block, all others alone."""
        for owner, arrays in self._arrays.values():
            if len(arrays) > 1 and isinstance(owner, np.ndarray) and _overlap([array for array, _ in arrays]):
                block = torch.from_numpy(np.frombuffer(owner.tobytes("A"), np.uint8).copy())
                start = owner.__array_interface__["data"][0]
                for array, out in arrays:
                    offset = array.__array_interface__["data"][0] - start
                    out.update({TAG: "view", "block": block, "offset": offset, "strides": array.strides})
            else:
                for array, out in arrays:
                    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
                    out.update(order="F" if fortran else "C", bytes=_to_bytes(array, "F" if fortran else "C"))
        self._arrays.clear()

    def _list(self, value: list) -> list:
        self.enter(value, encoded := [])
        encoded.extend([self(item) for item in value])
        return encoded

    def _dict(self, value: dict) -> dict:
        self.enter(value, encoded := {})
        if TAG not in value and all(type(key) in PLAIN for key in value):
            encoded.update({key: self(item) for key, item in value.items()})
        else:
            encoded.update({TAG: "dict", "items": [(self._key(key), self(item)) for key, item in value.items()]})
        return encoded

    def _key(self, value: Any) -> Any:
        encoded = self(value)
        if isinstance(encoded, dict) and encoded[TAG] == KEEP:
            raise Unstorable(value)
        return encoded

    def _object(self, value: Any) -> dict:
        kind: Any = type(value)
        if kind is np.ndarray:
            return self._array(value)
        if kind is OrderedDict:
            return {TAG: kind.__name__, "items": [(self._key(key), self(item)) for key, item in value.items()]}
        if kind in (set, frozenset):
            return {TAG: kind.__name__, "items": [self._key(item) for item in value]}
        if kind is deque:
            return {TAG: "deque", "items": [self(item) for item in value], "maxlen": value.maxlen}
        if isinstance(value, np.generic) and not isinstance(value, np.void | np.object_):
            return {TAG: "scalar", "dtype": value.dtype.str, "bytes": value.tobytes()}
        if isinstance(value, Enum):
            return {TAG: "enum", "module": module_of(kind), "class": kind.__qualname__, "name": value.name}
        return self._generator(value) or self._other(value)

    def _array(self, value: np.ndarray) -> dict:
        if value.dtype.hasobject or value.dtype.names:
            raise Unstorable(value, f"an array of dtype {value.dtype}")
        owner = value
        while isinstance(owner, np.ndarray) and owner.base is not None:
            owner = owner.base
        if type(owner).__name__ == "PyCapsule":
            raise Unstorable(value, "an array that looks into the memory of a simulator")
        encoded = {TAG: "array", "dtype": value.dtype.str, "shape": value.shape}
        self._arrays.setdefault(id(owner), (owner, []))[1].append((value, encoded))
        return encoded

    def _generator(self, value: Any) -> dict | None:
        kind = type(value)
        if kind is np.random.Generator:
            return {TAG: "generator", "state": self(value.bit_generator.state)}
        if kind is np.random.RandomState:
            return {TAG: "random_state", "state": self(value.get_state(legacy=False))}
        if kind is random.Random:
            return {TAG: "random", "state": value.getstate()}
        if kind is torch.Tensor:
            return {TAG: "tensor", "data": value.detach().clone()}
        return None


class Decoder:
    """Decodes values; generators are set in place, so that everything else that holds them goes on with them.

    Args:
      other: `other(encoded, existing)` decodes the kinds that the encoder's `other` made.
    """

    def __init__(self, other: Callable[[dict, Any], Any]):
        self._other = other
        self._memo: dict[int, Any] = {}
        self._in_place: dict[int, Any] = {}

    def __call__(self, encoded: Any, existing: Any = MISSING) -> Any:
        """Decodes one value; `existing` is what stands in its place now."""
        kind = type(encoded)
        if kind in PLAIN:
            return encoded
        if kind is tuple:
            return tuple([self(item, old) for item, old in _beside(encoded, existing)])
        if kind is dict and encoded.get(TAG) == KEEP:
            if existing is MISSING:
                raise SpecError(
                    "restore: expected the same constants in the environment, one is missing. Build it alike."
                )
            return existing
        if id(encoded) not in self._memo:
            self._memo[id(encoded)] = self._mutable(encoded, existing)
        return self._memo[id(encoded)]

    def enter(self, encoded: Any, value: Any) -> None:
        """Has later references to `encoded` mean a value, which may still be filled."""
        self._memo[id(encoded)] = value

    def _mutable(self, encoded: Any, existing: Any) -> Any:
        if type(encoded) is list:
            self.enter(encoded, value := [])
            value.extend([self(item, old) for item, old in _beside(encoded, existing)])
            return value
        if encoded.get(TAG) in ("dict", None):
            old = existing if isinstance(existing, dict) else {}
            self.enter(encoded, mapping := {})
            items = encoded["items"] if TAG in encoded else encoded.items()
            mapping.update({(key := self(name)): self(item, old.get(key, MISSING)) for name, item in items})
            return mapping
        return self._object(encoded, existing)

    def _object(self, encoded: dict, existing: Any) -> Any:
        kind = encoded[TAG]
        if kind == "array":
            return _from_bytes(encoded)
        if kind == "view":
            block = self._memo.setdefault(id(encoded["block"]), encoded["block"].numpy().copy())
            shape, strides = tuple(encoded["shape"]), tuple(encoded["strides"])
            return np.ndarray(shape, encoded["dtype"], block, encoded["offset"], strides)
        if kind == "scalar":
            return np.ndarray((), encoded["dtype"], encoded["bytes"] or b"\0")[()]
        if kind == "deque":
            return deque([self(item, old) for item, old in _beside(encoded["items"], existing)], encoded["maxlen"])
        if kind in COLLECTIONS:
            return COLLECTIONS[kind](self(item) for item in encoded["items"])
        if kind == "enum":
            return _enum(encoded)
        if kind == "tensor":
            return encoded["data"].clone()
        return self._generator(encoded, existing)

    def _generator(self, encoded: dict, existing: Any) -> Any:
        kind, free = encoded[TAG], id(existing) not in self._in_place
        self._in_place[id(existing)] = existing
        if kind == "generator":
            state = self(encoded["state"])
            if not (
                free and isinstance(existing, np.random.Generator) and _algorithm(existing) == state["bit_generator"]
            ):
                existing = np.random.Generator(getattr(np.random, state["bit_generator"])())
            existing.bit_generator.state = state
            return existing
        if kind == "random_state":
            existing = existing if free and type(existing) is np.random.RandomState else np.random.RandomState()
            existing.set_state(self(encoded["state"]))
            return existing
        if kind == "random":
            existing = existing if free and type(existing) is random.Random else random.Random()
            existing.setstate(encoded["state"])
            return existing
        return self._other(encoded, existing)


def pack(owner: Any, names: list[str]) -> dict:
    """Packs the array attributes of an object into one tensor: many small tensors would make a checkpoint slow."""
    arrays = [np.asarray(getattr(owner, name)) for name in names]
    fields = [(name, array.dtype.str, array.shape) for name, array in zip(names, arrays, strict=True)]
    data = b"".join([array.tobytes() for array in arrays])
    return {"fields": fields, "bytes": torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8)}


def unpack(owner: Any, packed: dict) -> None:
    """Writes packed arrays back in place, where the object has an array of that shape."""
    data, offset = packed["bytes"].numpy(), 0
    for name, dtype, shape in packed["fields"]:
        value = np.ndarray(tuple(shape), dtype, data, offset)
        offset += value.nbytes
        target = getattr(owner, name, None)
        if target is not None and target.shape == value.shape:
            target[...] = value


def _to_bytes(array: np.ndarray, order: Any) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(array.tobytes(order), np.uint8).copy())


def _from_bytes(encoded: dict) -> np.ndarray:
    shape = tuple(encoded["shape"])
    return np.ndarray(shape, encoded["dtype"], encoded["bytes"].numpy(), order=encoded["order"]).copy("K")


def _overlap(arrays: list[np.ndarray]) -> bool:
    return any(np.may_share_memory(a, b) for index, a in enumerate(arrays) for b in arrays[:index])


def _beside(encoded: Any, existing: Any) -> Any:
    alike = isinstance(existing, list | tuple | deque) and len(existing) == len(encoded)
    return zip(encoded, existing if alike else [MISSING] * len(encoded), strict=True)


def _algorithm(generator: np.random.Generator) -> str:
    return type(generator.bit_generator).__name__


def _enum(encoded: dict) -> Enum:
    found = sys.modules.get(encoded["module"])
    for part in encoded["class"].split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, Enum)):
        raise SpecError(f"restore: expected the Enum {encoded['module']}.{encoded['class']}, got nothing. Import it.")
    return found[encoded["name"]]
