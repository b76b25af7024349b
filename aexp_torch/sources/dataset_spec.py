"""What is known of a dataset before it is read through: specs from an example, from its own feature types, or given."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch.utils.data import TensorDataset

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading import Known
from aexp_torch.specs import Modality
from aexp_torch.specs.tree import flatten, unflatten

__all__ = ["guess_specs"]


Path = tuple[str, ...]
_AUDIO = Modality("sequence", "real", "audio")


def guess_specs(
    data: Any, example: dict, given: dict | None, known: Mapping[Path, Known], who: str
) -> tuple[dict[str, Any], dict[Path, Modality]]:
    """Describes one row of a dataset.

    Shapes and dtypes come from the example. An integer scalar is a choice (`DiscreteArray`) where the number of classes
    is known: from the largest value where the data is arrays, from `classes` (torchvision), from a class label of the
    data's own features (TFDS, Hugging Face, Deep Lake). Unsigned bytes have their bounds; everything else has none.
    Modalities are guessed from that (`guess_modality`), but for audio and for sequences of classes and tokens, which the
    data knows.

    Args:
      data: the dataset.
      example: nested dict of arrays with a leading axis.
      given: specs that win, at the same places.
      known: what the reader knows of leaves.
      who: the source, for messages.

    Returns:
      The specs, and the modalities that are known.
    """
    leaves = dict(flatten(example))
    chosen = dict(flatten(given or {}))
    unknown = [path for path in chosen if path not in leaves]
    if unknown:
        raise SpecError(f"{who}: expected specs for keys {sorted(leaves)}, got one for {sorted(unknown)}.")
    found: list[tuple[Path, Any]] = []
    modalities: dict[Path, Modality] = {}
    for path, leaf in leaves.items():
        about = known.get(path) or Known()
        found.append((path, chosen.get(path) or about.spec or _leaf_spec(data, path, leaf, about.num_classes)))
        modality = about.modality or _feature_modality(_feature(data, path), leaf)
        if modality is not None:
            modalities[path] = modality
    return unflatten(found), modalities


def _leaf_spec(data: Any, path: Path, leaf: Any, classes: int | None) -> specs.Array:
    dtype = torch.as_tensor(leaf[:0]).numpy().dtype
    shape, name = tuple(leaf.shape[1:]), "/".join(path)
    if dtype == np.uint8 and shape:
        return specs.BoundedArray(shape, dtype, 0, 255, name)
    if dtype.kind in "iu" and not shape:
        classes = classes if classes is not None else _number_of_classes(data, path)
        if classes is not None:
            return specs.DiscreteArray(classes, dtype, name)
    return specs.Array(shape, dtype, name)


def _number_of_classes(data: Any, path: Path) -> int | None:
    """Returns how many values a label takes, where that can be told without reading sample by sample."""
    column = _column(data, path)
    if column is not None:
        column = torch.as_tensor(column)
        return int(column.max()) + 1 if column.numel() and int(column.min()) >= 0 else None
    declared = getattr(_feature(data, path), "num_classes", None)
    if declared is not None:
        return int(declared)
    classes = getattr(data, "classes", None)
    return len(classes) if path[-1] == "y" and hasattr(classes, "__len__") else None


def _feature(data: Any, path: Path) -> Any:
    """Returns what TFDS or Hugging Face declare about a leaf, if they do."""
    feature = getattr(getattr(data, "dataset_info", None), "features", None) or getattr(data, "features", None)
    for key in path:
        if not hasattr(feature, "keys"):
            feature = getattr(feature, "feature", None)  # of a list of structures
        feature = feature[key] if hasattr(feature, "keys") and key in feature.keys() else None  # noqa: SIM118 - of TFDS
    return feature


def _feature_modality(feature: Any, leaf: Any) -> Modality | None:
    is_audio = type(feature).__name__ == "Audio" and leaf.ndim > 1
    return _AUDIO if is_audio else None


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
