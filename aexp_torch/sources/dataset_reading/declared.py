"""declared: what follows from the shapes that TFDS and tf.data declare for leaves."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from aexp_torch.sources.dataset_reading.fit_image import FitImage
from aexp_torch.specs import path_name

__all__ = ["NOTHING", "SIDE", "Declared", "declared"]

Path = tuple[str, ...]
SIDE = 224  # pixels, of images that have no size of their own


class Declared(NamedTuple):
    """Says how leaves of unknown shape are read.

    Args:
      varying: leaves whose first axis alone is unknown: sequences.
      transform: by name, what makes images of all sizes 224 x 224.
    """

    varying: Collection[Path] = ()
    transform: Mapping[str, Callable[[Any], Any]] = {}


NOTHING = Declared()


def declared(shapes: Mapping[Path, tuple[tuple[int | None, ...], str]]) -> Declared:
    """Finds sequences and images of unknown size.

    Args:
      shapes: by leaf, the shape (None where unknown) and the name of the dtype.
    """
    varying, transform = set(), {}
    for path, (shape, dtype) in shapes.items():
        if dtype == "uint8" and len(shape) == 3 and None in shape[:2] and shape[2] in (1, 3, 4):
            transform[path_name(path)] = FitImage(SIDE, SIDE, channels=1 if shape[2] == 1 else 3)
        elif shape and shape[0] is None and None not in shape[1:]:
            varying.add(path)
    return Declared(varying, transform)
