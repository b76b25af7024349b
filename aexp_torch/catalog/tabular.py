"""Tables: the classic small datasets of statistics that come with scikit-learn."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, rows_of, shipped
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["breast_cancer", "diabetes", "iris", "linnerud", "wine"]


def iris(split: Split = "train", name: str = "iris", batch_size: int = 32, **options: Any) -> DatasetEnv:
    """Streams 150 iris flowers: x float32 [4] (length and width of sepals and petals), y int64 in 0..2.

    Every feature has mean 0 and standard deviation 1 on the training rows. y is setosa, versicolor or virginica.

    Args:
      split: four fifths for training (120), one for testing (30), stratified by class; or all.
      name: names the source.
      batch_size: rows of a minibatch.
      options: everything else that DatasetEnv takes.

    Source: R. A. Fisher (1936), The use of multiple measurements in taxonomic problems; UCI Machine Learning Repository.
    """
    return prepared(partial(_table, "iris"), split, name, classes=3, batch_size=batch_size, **options)


def wine(split: Split = "train", name: str = "wine", batch_size: int = 32, **options: Any) -> DatasetEnv:
    """Streams 178 wines of one region: x float32 [13] (a chemical analysis), y int64 in 0..2, the cultivar.

    Args:
      split: as for `iris`.
      name: names the source.
      batch_size: rows of a minibatch.
      options: everything else that DatasetEnv takes.

    Source: S. Aeberhard, M. Forina (1991), Wine, UCI Machine Learning Repository.
    """
    return prepared(partial(_table, "wine"), split, name, classes=3, batch_size=batch_size, **options)


def breast_cancer(split: Split = "train", name: str = "breast_cancer", **options: Any) -> DatasetEnv:
    """Streams 569 tumours: x float32 [30] (measures of cell nuclei), y int64, 0 malignant, 1 benign.

    Args:
      split: as for `iris`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: W. Wolberg, O. Mangasarian, N. Street, W. Street (1993), Breast Cancer Wisconsin (Diagnostic), UCI Machine
    Learning Repository.
    """
    return prepared(partial(_table, "breast_cancer"), split, name, classes=2, **options)


def diabetes(split: Split = "train", name: str = "diabetes", **options: Any) -> DatasetEnv:
    """Streams 442 patients: x float32 [10] (age, sex, body mass, blood), y float32 [1], the disease a year later.

    x and y have mean 0 and standard deviation 1 on the training rows.

    Args:
      split: four fifths for training, one for testing, or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: B. Efron, T. Hastie, I. Johnstone, R. Tibshirani (2004), Least angle regression.
    """
    return prepared(partial(_table, "diabetes"), split, name, **options)


def linnerud(split: Split = "train", name: str = "linnerud", batch_size: int = 16, **options: Any) -> DatasetEnv:
    """Streams 20 men of a fitness club: x float32 [3] (exercises), y float32 [3] (weight, waist and pulse).

    x and y have mean 0 and standard deviation 1 on the training rows.

    Args:
      split: four fifths for training, one for testing, or all.
      name: names the source.
      batch_size: rows of a minibatch.
      options: everything else that DatasetEnv takes.

    Source: M. Tenenhaus (1998), La régression PLS: théorie et pratique.
    """
    return prepared(partial(_table, "linnerud"), split, name, batch_size=batch_size, **options)


def _table(name: str, split: str) -> Columns:
    x, y = READ[name]()
    if np.issubdtype(y.dtype, np.integer):
        train = rows_of("train", len(x), y)
    else:
        train = rows_of("train", len(x))
        y = _standardized(y, train)
    return part_of({"x": _standardized(x, train), "y": y}, split)


def _standardized(values: np.ndarray, train: np.ndarray) -> np.ndarray:
    return ((values - values[train].mean(0)) / values[train].std(0)).astype(np.float32)


def _file(name: str, **options: Any) -> np.ndarray:
    return np.loadtxt(shipped("sklearn", f"datasets/data/{name}"), **options)


def _classes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The first line says how many there are, the last column is the class."""
    rows = _file(f"{name}.csv", delimiter=",", skiprows=1)
    return rows[:, :-1], rows[:, -1].astype(np.int64)


def _diabetes() -> tuple[np.ndarray, np.ndarray]:
    return _file("diabetes_data_raw.csv.gz"), _file("diabetes_target.csv.gz")[:, None]


def _linnerud() -> tuple[np.ndarray, np.ndarray]:
    return _file("linnerud_exercise.csv", skiprows=1), _file("linnerud_physiological.csv", skiprows=1)


READ: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "iris": partial(_classes, "iris"),
    "wine": partial(_classes, "wine_data"),
    "breast_cancer": partial(_classes, "breast_cancer"),
    "diabetes": _diabetes,
    "linnerud": _linnerud,
}
