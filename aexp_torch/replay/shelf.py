"""Shelf: memory for batches, lent until the last tensor on it has gone, then used again.

Memory that was used before need not be faulted in anew, which takes longer than copying into it.
"""

from typing import Any

import numpy as np

from aexp_torch.lending import Lease, Lender

__all__ = ["Shelf"]

MOST_BLOCKS = 8  # of one kind of batch; whoever keeps more gets memory of their own
MOST_KINDS = 4  # are remembered
ALIGNMENT = 64

Wanted = tuple[tuple[tuple[int, ...], np.dtype], ...]


class Blocks:
    """Lends blocks of one size.

    Args:
      size: bytes.
    """

    def __init__(self, size: int):
        self._size = size
        self._lender = Lender(MOST_BLOCKS)
        self._memory: dict[int, Lease] = {}

    def lend(self) -> Lease:
        """Returns a block of which nothing is in use, uint8 [size]; its values are arbitrary."""
        if not self._lender.free:
            return np.empty(self._size, np.uint8).view(Lease)
        block = self._lender.free.pop()
        memory = self._memory.get(block)
        if memory is None:
            memory = self._memory[block] = np.empty(self._size, np.uint8).view(Lease)
        lease: Any = memory[:]
        self._lender.lend(block, lease)
        return lease


class Shelf:
    """Lends arrays that lie together in one block."""

    def __init__(self):
        self._kinds: dict[Wanted, tuple[list[int], Blocks]] = {}

    def lend(self, wanted: Wanted) -> list[np.ndarray]:
        """Returns an array for each (shape, dtype), with arbitrary values; each keeps the whole block."""
        kind = self._kinds.get(wanted)
        if kind is None:
            if len(self._kinds) == MOST_KINDS:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[wanted] = _plan(wanted)
        offsets, blocks = kind
        lease = blocks.lend()
        return [np.ndarray(shape, dtype, lease, offset) for (shape, dtype), offset in zip(wanted, offsets)]


def _plan(wanted: Wanted) -> tuple[list[int], Blocks]:
    offsets, end = [], 0
    for shape, dtype in wanted:
        offsets.append(end)
        end += -(-int(np.prod(shape)) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
    return offsets, Blocks(max(end, ALIGNMENT))
