"""SumTree: draws places in proportion to their values, many at once."""

import numpy as np

__all__ = ["SumTree"]

FANOUT = 16  # a wide tree has few levels, and a level costs a few numpy calls whatever its width


class SumTree:
    """Keeps a value of at least 0 for each place, and sums over groups of 16, of 256, and so on.

    Sums are made anew from what is below them, so that errors do not add up.

    Args:
      size: number of places.

    Source: Schaul et al. 2016, appendix B.2.1.
    """

    def __init__(self, size: int):
        self.size = size
        self._levels = [np.zeros(max(1, -(-size // FANOUT)) * FANOUT)]
        while len(self._levels[-1]) > FANOUT:
            groups = len(self._levels[-1]) // FANOUT
            self._levels.append(np.zeros(-(-groups // FANOUT) * FANOUT))

    @property
    def total(self) -> float:
        """The sum over all places."""
        return float(self._levels[-1].sum())

    @property
    def values(self) -> np.ndarray:
        """The values, float64 [size]: not to be written to."""
        return self._levels[0][: self.size]

    def set(self, places: np.ndarray, values: np.ndarray | float) -> None:
        """Sets values; of a place that comes twice the last one counts."""
        self._levels[0][places] = values
        for level, above in zip(self._levels, self._levels[1:]):
            places = np.unique(places // FANOUT)
            above[places] = level.reshape(-1, FANOUT)[places].sum(1)

    def find(self, sums: np.ndarray) -> np.ndarray:
        """Returns the places at which the running sum of the values passes `sums`, float64 [n] in [0, total)."""
        places = np.zeros(len(sums), np.int64)
        for level in reversed(self._levels):
            running = level.reshape(-1, FANOUT)[places].cumsum(1)  # [n, FANOUT]
            sums = np.minimum(sums, np.nextafter(running[:, -1], 0))  # what was rounded away stays within the group
            child = (running <= sums[:, None]).sum(1)
            rows = np.arange(len(sums))
            sums = sums - np.where(child > 0, running[rows, child - 1], 0.0)
            places = places * FANOUT + child
        return places
