"""The data that Gymnasium's spaces describe, to trees of tensors and back.

These functions are compilers: called once with the space of one lane, they return the function that is called at every
step. The trees are those of `space_to_spec(space, key)`: the same names, dtypes and shapes, with a batch axis in front.

This module imports Gymnasium: import it where a space is at hand, not from the package.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from aexp_torch.errors import SpecError
from aexp_torch.specs.spaces import space_members, space_to_spec
from aexp_torch.specs.tree import path_name

__all__ = ["action_lane_writer", "action_writer", "batch_reader", "lane_stacker"]

Path = tuple[str, ...]


def batch_reader(space: spaces.Space, key: str) -> Callable[[Any], dict[str, Any]]:
    """Compiles the way from what a vector environment returns to a tree of tensors `[B, ...]`.

    Args:
      space: the space of *one* lane.
      key: the name of the leaf where the space has no names.

    Returns:
      `read(batch) -> tree`. A batch is an array, or a dict or tuple of batches; Text is a tuple of str. A writeable
      array of the right dtype without gaps is *not* copied: copy the batch where the environment fills the same one again.

    Raises:
      SpecError: from `read`, where a text is longer than its space allows.
    """
    if space_members(space) is not None:
        return _reader(space, ())
    if isinstance(space, spaces.Text):
        return _under(key, _reader(space, (key,)))
    dtype, from_numpy = _dtype(space), torch.from_numpy

    def read(batch):  # the common case, as one function: a call more would cost a tenth of it
        if batch.__class__ is np.ndarray and batch.dtype is dtype and batch.flags.forc and batch.flags.writeable:
            return {key: from_numpy(batch)}
        return {key: from_numpy(np.require(batch, dtype, "CAW"))}

    return read


def lane_stacker(space: spaces.Space, key: str) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Compiles the way from a list of single observations, one per lane, to tensors `[B, ...]` in fresh memory.

    Raises:
      SpecError: from the compiled function, where an observation does not have the space's shape.
    """
    if space_members(space) is None:
        return _under(key, _stacker(space, (key,)))
    return _stacker(space, ())


def action_writer(space: spaces.Space, key: str) -> Callable[[Any], Any]:
    """Compiles the way from an answer to what the `step` of a vector environment expects.

    Args:
      space: the action space of *one* lane.
      key: the name of the leaf where the space has no names.

    Returns:
      `write(action) -> batch`. The action is a tree of tensors `[B, ...]`.
      Arrays have the space's dtype; on the CPU and with the dtype unchanged they share the tensor's memory. Tuple
      gives a tuple, Dict a dict, Text a tuple of str.

    Raises:
      SpecError: from `write`, where the bytes of a text are not UTF-8.
    """
    if space_members(space) is not None:
        return _writer(space, ())
    write = _writer(space, (key,))
    return lambda action: write(action[key])


def action_lane_writer(space: spaces.Space, key: str) -> Callable[[Any, int], Any]:
    """Compiles the way from an answer and a lane number to what the `step` of a single environment expects.

    Returns:
      `write(action, lane)`: a numpy scalar for Discrete, an array in fresh memory for Box, MultiDiscrete and
      MultiBinary, a str for Text, dicts and tuples of these. The action is as in `action_writer`.
    """
    if space_members(space) is not None:
        return _lane_writer(space, ())
    write = _lane_writer(space, (key,))
    return lambda action, lane: write(action[key], lane)


def _dtype(space: spaces.Space) -> np.dtype:
    return space_to_spec(space, "")[""].dtype


def _under(key: str, function: Callable) -> Callable:
    return lambda data: {key: function(data)}


def _reader(space: spaces.Space, path: Path) -> Callable[[Any], Any]:
    members = space_members(space)
    if members is not None:
        readers = [(name, key, _reader(member, (*path, name))) for name, key, member in members]
        return lambda batch: {name: read(batch[key]) for name, key, read in readers}
    if isinstance(space, spaces.Text):
        length = space_to_spec(space, "")[""].shape[0]
        return lambda batch: torch.from_numpy(_encode(batch, length, path))
    read = batch_reader(space, "")
    return lambda batch: read(batch)[""]


def _stacker(space: spaces.Space, path: Path) -> Callable[[Sequence[Any]], Any]:
    members = space_members(space)
    if members is not None:
        stackers = [(name, key, _stacker(member, (*path, name))) for name, key, member in members]
        return lambda lanes: {name: stack([lane[key] for lane in lanes]) for name, key, stack in stackers}
    if isinstance(space, spaces.Text):
        return _reader(space, path)
    dtype, shape = _dtype(space), space.shape

    def stack(lanes):
        array = np.array(lanes, dtype)
        if array.shape[1:] != shape:
            raise SpecError(
                f"lane_stacker: expected shape {shape} at {path_name(path)!r} in every lane, got {array.shape[1:]}. "
                "Correct the environment, or the space that it declares."
            )
        return torch.from_numpy(array)

    return stack


def _writer(space: spaces.Space, path: Path) -> Callable[[Any], Any]:
    members = space_members(space)
    if members is not None:
        writers = [(name, key, _writer(member, (*path, name))) for name, key, member in members]
        if isinstance(space, spaces.Tuple):
            return lambda tree: tuple([write(tree[name]) for name, _, write in writers])
        return lambda tree: {key: write(tree[name]) for name, key, write in writers}
    if isinstance(space, spaces.Text):
        return lambda tensor: tuple(_decode(row, path) for row in tensor.numpy(force=True))
    dtype = space.dtype

    def write(tensor):
        array = tensor.numpy() if tensor.is_cpu and not tensor.requires_grad else tensor.numpy(force=True)
        return array if array.dtype is dtype else array.astype(dtype)

    return write


def _lane_writer(space: spaces.Space, path: Path) -> Callable[[Any, int], Any]:
    members = space_members(space)
    if members is not None:
        writers = [(name, key, _lane_writer(member, (*path, name))) for name, key, member in members]
        if isinstance(space, spaces.Tuple):
            return lambda tree, lane: tuple([write(tree[name], lane) for name, _, write in writers])
        return lambda tree, lane: {key: write(tree[name], lane) for name, key, write in writers}
    if isinstance(space, spaces.Text):
        return lambda tensor, lane: _decode(tensor.numpy(force=True)[lane], path)
    dtype = space.dtype
    if isinstance(space, spaces.Discrete):
        return lambda tensor, lane: tensor.numpy(force=True)[lane].astype(dtype)
    # A copy, because an environment may keep its last action while the memory of the answer is used again.
    return lambda tensor, lane: np.array(tensor.numpy(force=True)[lane], dtype)


def _encode(texts: Sequence[str], length: int, path: Path) -> np.ndarray:
    rows = np.zeros((len(texts), length), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        data = text.encode()
        if len(data) > length:
            raise SpecError(
                f"batch_reader: expected text of at most {length} bytes at {path_name(path)!r}, got {text!r}. "
                "Correct max_length or charset of the Text space."
            )
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows


def _decode(row: np.ndarray, path: Path) -> str:
    data = row.tobytes().rstrip(b"\0")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SpecError(
            f"action_writer: expected zero-padded UTF-8 at {path_name(path)!r}, got {data!r}. "
            "Fill the bytes of str.encode() from the left."
        ) from error
