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
    """

    def __init__(self, num_blocks: int):
        self._free = list(range(num_blocks))
        self._lent: dict[int, Lent] = {}
        self._returned: list[Lent] = []

    @property
    def free(self) -> list[int]:
        """The numbers of free blocks, the one that came back last at the end: it is still in the cache."""
        returned = self._returned
        while returned:
            block = returned.pop(0).block
            del self._lent[block]
            self._free.append(block)
        return self._free

    def lend(self, block: int, lease: np.ndarray) -> None:
        """Has a block, which was taken from `free`, come back when a `Lease` of it and all arrays on that have gone."""
        # The callback is no Python: a Ctrl-C that arrived in one would be printed and forgotten.
        lent = Lent(lease, self._returned.append)
        lent.block = block
        self._lent[block] = lent
