"""TensorFlowData: a tf.data.Dataset, whose elements are read as NumPy arrays."""

from collections.abc import Iterator
from typing import Any

from aexp_torch.sources.dataset_reading.declared import Declared, declared
from aexp_torch.specs import flatten

__all__ = ["TensorFlowData"]


class TensorFlowData:
    """Iterates a `tf.data.Dataset` anew for each pass.

    Args:
      data: of single samples: `unbatch()` one that is batched. What it does is a graph that iterating does not change, so
        that it is not copied.
    """

    def __init__(self, data: Any):
        self._data = data

    def declared(self) -> Declared:
        """Returns what its `element_spec` says of leaves."""
        specs = getattr(self._data, "element_spec", None)
        shapes = flatten(specs if isinstance(specs, dict) else {})
        return declared({path: _shape(spec) for path, spec in shapes if getattr(spec, "shape", None) is not None})

    def __iter__(self) -> Iterator:
        return iter(self._data.as_numpy_iterator())

    def __len__(self) -> int:
        length = int(self._data.cardinality())
        if length < 0:  # -1 is infinite, -2 unknown
            raise TypeError("tf.data.Dataset of unknown length")
        return length

    def __deepcopy__(self, memo: dict) -> "TensorFlowData":
        return self


def _shape(spec: Any) -> tuple[tuple[int | None, ...], str]:
    return tuple(spec.shape), getattr(spec.dtype, "name", str(spec.dtype))
