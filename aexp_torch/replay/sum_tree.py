"""SumTree: draws places in proportion to their values, many at once."""

import numpy as np

__all__ = ["SumTree"]


class SumTree:
    """Keeps a value of at least 0 for each place, and in a binary tree over them the sum of each pair.

    Sums are made anew from what is below them, so that errors do not add up.

    Args:
      size: number of places.

    Source: Schaul et al. 2016, appendix B.2.1.
    """

    def __init__(self, size: int):
        self.size = size
        self._depth = max(0, size - 1).bit_length()
        self._sums = np.zeros(2 << self._depth)  # the root at 1, the children of i at 2 i and 2 i + 1

    @property
    def total(self) -> float:
        """The sum over all places."""
        return float(self._sums[1])

    @property
    def values(self) -> np.ndarray:
        """The values, float64 [size]: not to be written to."""
        return self._sums[1 << self._depth :][: self.size]

    def set(self, places: np.ndarray, values: np.ndarray | float) -> None:
        """Sets values; of a place that comes twice the last one counts."""
        sums, nodes = self._sums, places + (1 << self._depth)
        sums[nodes] = values
        for _ in range(self._depth):
            nodes = nodes >> 1
            left = nodes << 1
            sums[nodes] = sums.take(left) + sums.take(left + 1)

    def find(self, sums: np.ndarray) -> np.ndarray:
        """Returns the places at which the running sum of the values passes `sums`, float64 [n] in [0, total)."""
        places = self._descend(sums, False)
        lost = self._sums.take(places + (1 << self._depth)) == 0
        if lost.any():  # what is left of a sum may have been rounded up to all that is there
            places[lost] = self._descend(sums[lost], True)
        return places

    def _descend(self, sums: np.ndarray, careful: bool) -> np.ndarray:
        nodes = np.ones(len(sums), np.int64)
        for _ in range(self._depth):
            if careful:
                sums = np.minimum(sums, np.nextafter(self._sums[nodes], 0))
            nodes = nodes << 1
            left = self._sums.take(nodes)
            right = sums >= left
            sums = sums - left * right
            nodes += right
        return nodes - (1 << self._depth)
