"""from_deeplake: a dataset of Deep Lake, from the hub or from a folder."""

import os
from collections.abc import Mapping
from typing import Any

from aexp_torch.catalog.hubs.features import Features
from aexp_torch.catalog.hubs.fetching import Copy, retried
from aexp_torch.catalog.hubs.rows import dataset_env
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_deeplake"]


def from_deeplake(
    url: str,
    features: str,
    *,
    split: str = "train",
    target: str | None = None,
    name: str | None = None,
    language: str = "",
    path: str | os.PathLike | None = None,
    download: bool = False,
    size: int | None = None,
    licence: str = "",
    home: str = "",
    **options: Any,
) -> DatasetEnv:
    """Streams a dataset of Deep Lake, version 4 (extra `deeplake`); what is read of a hub comes over the network.

    Args:
      url: `"al://activeloop/mnist-{split}"`, `"s3://..."`, `"file://..."`; `{split}` stands for the split.
      features: what is read of a row; see `Features`.
      split: a part of the address.
      target: the key of y; None for the last feature.
      name: names the source; the default is the last part of the address.
      language: of its text.
      path: a folder of the same dataset.
      download: whether it may be read over the network.
      size: bytes, for messages.
      licence: for messages.
      home: for messages.
      options: of `DatasetEnv`.

    Raises:
      SpecError: when it is opened: it is on a hub, and no permission to read it there.
      MissingDependencyError: when it is opened: `deeplake` is not installed.
    """
    url = url.format(split=split)
    name = name or url.rpartition("/")[2]
    copy = Copy(name, "", path, None, download, size, licence, home, streamed=True)
    columns = Features(features).columns
    return dataset_env(_open, features, target, name, language, options, copy=copy, url=url, columns=columns)


def _open(copy: Copy, url: str, columns: tuple[str, ...]) -> "_Columns":
    deeplake = import_provider("deeplake", "deeplake", copy.who)
    if copy.path is not None:
        if not copy.here:
            raise SpecError(f"{copy.who}: expected data at {copy.folder}, nothing is there. Check path=.")
        url = f"file://{copy.folder}"
    elif not copy.download and not url.startswith(("file:", "mem:")):
        raise SpecError(copy.refusal())
    return _Columns(retried(lambda: deeplake.open_read_only(url), copy.who, url), columns, copy.who)


class _Columns:
    """Gives rows of the columns that are wanted."""

    def __init__(self, data: Any, columns: tuple[str, ...], who: str):
        known = [column.name for column in data.schema.columns]
        missing = [column for column in columns if column not in known]
        if missing:
            raise SpecError(f"{who}: expected the columns {list(columns)}, got {known}, without {missing}.")
        self._data, self._columns = data, columns

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: list[int]) -> list[Mapping[str, Any]]:
        values = [self._data[column][indices] for column in self._columns]
        return [dict(zip(self._columns, row)) for row in zip(*values, strict=True)]

    def column(self, name: str) -> list[Any]:
        return list(self._data[name][:])
