"""Shelf: memory for batches, lent until the last tensor on it has gone, then used again.

Memory that was used before need not be faulted in anew, which takes longer than copying into it.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from aexp_torch.lending import Lease, Lender

__all__ = ["Shelf"]

MOST_BLOCKS = 8  # of one kind of batch; whoever keeps more gets memory of their own
MOST_KINDS = 4  # are remembered
ALIGNMENT = 64

Wanted = Sequence[tuple[tuple[int, ...], np.dtype]]


class Blocks:
    """Lends blocks of arrays that lie one behind the other.

    Args:
      wanted: shape and dtype of each array.
    """

    def __init__(self, wanted: Wanted):
        self._arrays, self._size = [], 0
        for shape, dtype in wanted:
            self._arrays.append((shape, dtype, self._size))
            self._size += -(-math.prod(shape) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self._lender = Lender(MOST_BLOCKS)
        # The kernel gives memory as blocks are used. In one piece it is large enough for NumPy to ask for huge pages.
        self._memory = np.empty(MOST_BLOCKS * self._size, np.uint8).view(Lease)

    def lend(self) -> list[np.ndarray]:
        """Returns the arrays of a block of which nothing is in use, with arbitrary values; each keeps the whole block."""
        free = self._lender.free
        if free:
            block = free.pop()
            lease: Any = self._memory[block * self._size : (block + 1) * self._size]
            self._lender.lend(block, lease)
        else:
            lease = np.empty(self._size, np.uint8)
        return [np.ndarray(shape, dtype, lease, offset) for shape, dtype, offset in self._arrays]


class Shelf:
    """Keeps the memory of the kinds of batches that were asked for last."""

    def __init__(self):
        self._kinds: dict[Hashable, Blocks] = {}

    def lend(self, kind: Hashable, wanted: Callable[[], Wanted]) -> list[np.ndarray]:
        """Returns arrays for a batch; `wanted` says which, where this kind of batch is new."""
        blocks = self._kinds.get(kind)
        if blocks is None:
            if len(self._kinds) == MOST_KINDS:
                del self._kinds[next(iter(self._kinds))]
            blocks = self._kinds[kind] = Blocks(wanted())
        return blocks.lend()
