"""What is known of a dataset before it is read through: specs from an example, from its own feature types, or given."""

from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch.utils.data import TensorDataset

from aexp_torch.errors import SpecError
from aexp_torch.specs.tree import flatten, unflatten

__all__ = ["guess_specs"]


def guess_specs(data: Any, example: dict, given: dict | None, who: str) -> dict[str, Any]:
    """Describes one row of a dataset.

    Shapes and dtypes come from the example. An integer scalar is a choice (`DiscreteArray`) where the number of classes
    is known: from the largest value where the data is arrays, from `classes` (torchvision), from a `ClassLabel` feature
    (TFDS, Hugging Face). Unsigned bytes have their bounds; everything else has none.

    Args:
      data: the dataset.
      example: nested dict of arrays with a leading axis.
      given: specs that win, at the same places.
      who: the source, for messages.
    """
    leaves = dict(flatten(example))
    known = dict(flatten(given or {}))
    unknown = [path for path in known if path not in leaves]
    if unknown:
        raise SpecError(f"{who}: expected specs for keys {sorted(leaves)}, got one for {sorted(unknown)}.")
    return unflatten([(path, known.get(path) or _leaf_spec(data, path, leaf)) for path, leaf in leaves.items()])


def _leaf_spec(data: Any, path: tuple[str, ...], leaf: Any) -> specs.Array:
    dtype = torch.as_tensor(leaf[:0]).numpy().dtype
    shape, name = tuple(leaf.shape[1:]), "/".join(path)
    if dtype == np.uint8 and shape:
        return specs.BoundedArray(shape, dtype, 0, 255, name)
    if dtype.kind in "iu" and not shape:
        classes = _number_of_classes(data, path)
        if classes is not None:
            return specs.DiscreteArray(classes, dtype, name)
    return specs.Array(shape, dtype, name)


def _number_of_classes(data: Any, path: tuple[str, ...]) -> int | None:
    """Returns how many values a label takes, where that can be told without reading sample by sample."""
    column = _column(data, path)
    if column is not None:
        column = torch.as_tensor(column)
        return int(column.max()) + 1 if column.numel() and int(column.min()) >= 0 else None
    features = getattr(getattr(data, "dataset_info", None), "features", None) or getattr(data, "features", None)
    feature = features.get(path[-1]) if hasattr(features, "get") else None
    declared = getattr(feature, "num_classes", None)
    if declared is not None:
        return int(declared)
    classes = getattr(data, "classes", None)
    return len(classes) if path[-1] == "y" and hasattr(classes, "__len__") else None


def _column(data: Any, path: tuple[str, ...]) -> Any:
    """Returns the whole column of a leaf where the data is arrays."""
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, tuple | list) and all(hasattr(member, "shape") for member in data):
        names = ["x", "y"] if len(data) == 2 else [str(index) for index in range(len(data))]
        data = dict(zip(names, data, strict=True))
    for key in path:
        if not isinstance(data, dict) or key not in data:
            return None
        data = data[key]
    return data
