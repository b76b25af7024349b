"""What is left of the passes that slots have begun, when their number changes."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["Progress", "pack_numbers", "unpack_numbers", "what_was_read"]


class Progress(NamedTuple):
    """How far one slot has come.

    Args:
      slot: its number.
      num_slots: among how many.
      pass_number: the pass that it reads.
      taken: how many minibatches it has been given in that pass.
      offset: the slot that has the first place in that pass.
      read: by pass, numbers of the minibatches that were read before the slots were divided like this.
      ended: by pass, the number of minibatches and the offset of passes that it has finished.
    """

    slot: int
    num_slots: int
    pass_number: int
    taken: int
    offset: int
    read: dict[int, np.ndarray]
    ended: dict[int, tuple[int, int]]


def what_was_read(
    slots: list[Progress], given_back: Iterable[tuple[int, int]], total: int | None
) -> tuple[int, dict[int, np.ndarray]]:
    """Says which minibatches the slots have been given, from the first pass of which something is left.

    Args:
      slots: the progress of all slots.
      given_back: (pass, number) of minibatches that do not count as given.
      total: minibatches in a whole pass, None where that is not known.

    Returns:
      The first pass that is not over, and the sorted numbers (int64) that were given in each pass from there on, as far
      as any were.
    """
    given_back = list(given_back)
    first = min([slot.pass_number for slot in slots] + [number for number, _ in given_back])
    last = max(slot.pass_number for slot in slots)
    found: dict[int, np.ndarray] = {}
    for pass_number in range(first, last + 1):
        totals = [slot.ended[pass_number][0] for slot in slots if pass_number in slot.ended]
        size = total if total is not None else max(totals, default=None)
        read = _read_in_pass(slots, pass_number, size)
        back = [number for where, number in given_back if where == pass_number]
        read = np.setdiff1d(read, np.array(back, np.int64))
        if pass_number == first and size is not None and len(read) == size:
            first += 1
        elif len(read):
            found[pass_number] = read
    return first, found


def _read_in_pass(slots: list[Progress], pass_number: int, size: int | None) -> np.ndarray:
    before = slots[0].read.get(pass_number, np.zeros(0, np.int64))
    places = [_places(slot, pass_number, size) for slot in slots]
    bound = size if size is not None else len(before) + 1 + max((max(some, default=0) for some in places), default=0)
    left = np.setdiff1d(np.arange(bound), before)
    dealt = np.concatenate([np.asarray(some, np.int64) for some in places])
    return np.union1d(before, left[dealt[dealt < len(left)]])


def _places(slot: Progress, pass_number: int, size: int | None) -> range:
    """Returns the places in a pass that the slot has been given, those that were added included."""
    if slot.pass_number < pass_number:
        return range(0)
    if slot.pass_number == pass_number:
        start = (slot.slot - slot.offset) % slot.num_slots
        return range(start, start + slot.taken * slot.num_slots, slot.num_slots)
    offset = slot.ended[pass_number][1] if pass_number in slot.ended else 0
    return range((slot.slot - offset) % slot.num_slots, size or 0, slot.num_slots)


def pack_numbers(by_pass: dict[int, np.ndarray]) -> list[dict[str, Any]]:
    """Returns sorted numbers by pass as tensors of runs, int64 [R, 2] (from, to)."""
    packed = []
    for pass_number, numbers in sorted(by_pass.items()):
        breaks = np.flatnonzero(np.diff(numbers) != 1)
        starts, stops = numbers[np.r_[0, breaks + 1]], numbers[np.r_[breaks, len(numbers) - 1]] + 1
        packed.append({"pass": pass_number, "runs": torch.from_numpy(np.stack([starts, stops], 1))})  # [R, 2]
    return packed


def unpack_numbers(packed: list[dict[str, Any]]) -> dict[int, np.ndarray]:
    """Returns what `pack_numbers` was given."""
    return {item["pass"]: np.concatenate([np.arange(*run) for run in item["runs"].tolist()]) for item in packed}
