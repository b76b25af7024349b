"""TensorFlowData: a tf.data.Dataset, whose elements are read as NumPy arrays."""

from collections.abc import Iterator
from typing import Any

__all__ = ["TensorFlowData"]


class TensorFlowData:
    """Iterates a `tf.data.Dataset` anew for each pass.

    Args:
      data: of single samples: `unbatch()` one that is batched. What it does is a graph that iterating does not change, so
        that it is not copied.
    """

    def __init__(self, data: Any):
        self._data = data

    def __iter__(self) -> Iterator:
        return iter(self._data.as_numpy_iterator())

    def __len__(self) -> int:
        length = int(self._data.cardinality())
        if length < 0:  # -1 is infinite, -2 unknown
            raise TypeError("tf.data.Dataset of unknown length")
        return length

    def __deepcopy__(self, memo: dict) -> "TensorFlowData":
        return self
