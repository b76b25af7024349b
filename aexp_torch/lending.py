"""Lending: memory that is used again once the last tensor on it has gone, and never before.

Whoever is handed tensors may keep them as long as they like; nothing is released by hand. A weak reference to the array
under the tensors tells when they have gone.
"""

import weakref

import numpy as np

__all__ = ["Lease", "Lender"]


class Lease(np.ndarray):
    """Is memory of which a slice lives as long as any array on it.

    An array keeps alive the last of its bases that is of its own class; between plain arrays, a slice is skipped.
    """


class Lent(weakref.ref):
    """Knows which block a lease is of."""

    __slots__ = ("block",)
    block: int


class Lender:
    """Knows which blocks of some memory are free.

    Args:
      num_blocks: how many there are; all of them are free.

    Attributes:
      free: their numbers, the one that came back last at the end: it is still in the cache.
    """

    def __init__(self, num_blocks: int):
        self.free = list(range(num_blocks))
        self._lent: dict[int, Lent] = {}
        self._give_back = _giver_back(self.free, self._lent)

    def lend(self, block: int, lease: np.ndarray) -> None:
        """Has a block, which was taken from `free`, come back when a `Lease` of it and all arrays on that have gone."""
        lent = Lent(lease, self._give_back)
        lent.block = block
        self._lent[block] = lent


def _giver_back(free: list[int], lent: dict[int, Lent]):
    def give_back(reference: Lent) -> None:
        del lent[reference.block]
        free.append(reference.block)

    return give_back
