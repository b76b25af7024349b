"""Known: what a dataset says of a leaf beyond what an example shows."""

from typing import NamedTuple

import numpy as np
from dm_env import specs

from aexp_torch.specs import Modality

__all__ = ["Known", "known_length", "known_sequence", "length_path"]

Path = tuple[str, ...]


class Known(NamedTuple):
    """Is a spec, a modality or both, of one leaf; None where nothing is known.

    Args:
      spec: of one row.
      modality: what kind of thing it is.
      num_classes: of integers that are classes; they are 0 to `num_classes - 1`.
    """

    spec: specs.Array | None = None
    modality: Modality | None = None
    num_classes: int | None = None


def length_path(path: Path) -> Path:
    """Returns where the length of a leaf that varies is shown: `length:<key>`."""
    return (*path[:-1], f"length:{path[-1]}")


def known_length(path: Path, longest: int) -> Known:
    """Describes that length: int64, in 0..longest."""
    return Known(specs.BoundedArray((), np.int64, 0, longest, length_path(path)[-1]), Modality("flat", "integer"))


def known_sequence(path: Path, longest: int, num_classes: int | None) -> Known:
    """Describes a sequence of classes: int64 [L], in 0..num_classes - 1 where that is known."""
    modality = Modality("sequence", "categorical")
    if num_classes is None:
        return Known(specs.Array((longest,), np.int64, path[-1]), modality)
    return Known(specs.BoundedArray((longest,), np.int64, 0, num_classes - 1, path[-1]), modality)
