"""from_torchvision: one of torchvision's datasets."""

import os
from collections.abc import Mapping
from typing import Any

from aexp_torch.catalog.hubs.fetching import Copy, retried
from aexp_torch.catalog.hubs.rows import ListedRows, dataset_env
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_torchvision"]

PICKLED = ("CIFAR10", "CIFAR100", "LSUN", "LSUNClass")  # torchvision unpickles their files


def from_torchvision(
    dataset: str,
    features: str,
    *,
    splits: Mapping[str, Mapping[str, Any]],
    split: str = "train",
    target: str | None = None,
    name: str | None = None,
    language: str = "",
    path: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    download: bool = False,
    size: int | None = None,
    licence: str = "",
    home: str = "",
    by_hand: str = "",
    **options: Any,
) -> DatasetEnv:
    """Streams a split of one of torchvision's datasets (extra `torchvision`).

    Args:
      dataset: the class, `"MNIST"`; none that unpickles its files.
      features: what is read of a sample `(x, y)`: `"image=x:image(28,28,1) label=y:class(10)"`; see `Features`.
      splits: the class's own arguments of each split: `{"train": {"train": True}, "test": {"train": False}}`.
      split: one of them.
      target: the key of y; None for the last feature.
      name: names the source; the default is the class.
      language: of its text.
      path: `root` of the class.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      by_hand: for messages, of datasets that cannot be downloaded.
      options: of `DatasetEnv`.

    Raises:
      SpecError: there is no such split; when it is opened: no data and no permission to download it.
      MissingDependencyError: when it is opened: torchvision is not installed.
    """
    name = name or dataset
    if dataset in PICKLED:
        raise SpecError(f"{name}: expected a dataset without pickled files, torchvision unpickles those of {dataset}.")
    if split not in splits:
        raise SpecError(f"{name}: expected split to be one of {sorted(splits)}, got {split!r}.")
    copy = Copy(name, f"torchvision/{dataset}/{split}", path, cache_dir, download, size, licence, home, by_hand)
    arguments = dict(splits[split])
    return dataset_env(
        _open, features, target, name, language, options, copy=copy, dataset=dataset, arguments=arguments
    )


def _open(copy: Copy, dataset: str, arguments: dict[str, Any]) -> ListedRows:
    kind = getattr(import_provider("torchvision.datasets", "torchvision", copy.who), dataset)
    root = copy.get(lambda part: retried(lambda: kind(str(part), **arguments, download=True), copy.who, dataset))
    try:
        return ListedRows(kind(str(root), **arguments), _pair)
    except (RuntimeError, FileNotFoundError) as error:
        raise SpecError(f"{copy.who}: expected the files of {dataset} in {root}, got: {error} Check path=.") from error


def _pair(sample: Any) -> dict[str, Any]:
    return dict(zip("xy", sample)) if isinstance(sample, tuple) else {"x": sample}
