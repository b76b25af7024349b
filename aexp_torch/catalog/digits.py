"""Handwritten digits: a real dataset that comes with scikit-learn."""

from typing import Any, Literal

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, prepared
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["digits"]


def digits(
    split: Split = "train",
    batch_size: int = 64,
    epochs: int | None = None,
    shuffle: bool = True,
    mode: Literal["joint", "delayed", "split"] | None = None,
    loss: Any = None,
    name: str = "digits",
    **options: Any,
) -> DatasetEnv:
    """Streams 1,797 handwritten digits: x float32 [8, 8] in [0, 1], y int64 in 0..9.

    Args:
      split: 80 % for training (1,437), 20 % for testing (360), stratified by class with a fixed seed; or all.
      batch_size: rows of a minibatch.
      epochs: passes over the split, None for ever.
      shuffle: another order in each pass.
      mode: as for DatasetEnv.
      loss: as for DatasetEnv.
      name: names the source.
      options: everything else that DatasetEnv takes.

    >>> digits(split="test", epochs=1).observation_spec()["x"].shape
    (8, 8)

    Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
    as it comes with scikit-learn.
    """
    options = {"epochs": epochs, "shuffle": shuffle, "mode": mode, "loss": loss, **options}
    return prepared(_read, split, name, classes=10, batch_size=batch_size, **options)


def _read(split: str) -> Columns:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    x, y = (data.images / 16).astype(np.float32), data.target.astype(np.int64)
    if split == "all":
        return {"x": x, "y": y}
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
    return {"x": x_train, "y": y_train} if split == "train" else {"x": x_test, "y": y_test}
