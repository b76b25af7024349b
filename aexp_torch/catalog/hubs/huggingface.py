"""from_huggingface: a dataset of the Hugging Face hub, from its Parquet files; no code of the hub is run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aexp_torch.catalog.hubs.features import Features
from aexp_torch.catalog.hubs.fetching import Copy, cache_folder, retried
from aexp_torch.catalog.hubs.rows import dataset_env
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_huggingface"]

CONVERTED = "refs/convert/parquet"  # where the hub keeps every dataset as Parquet: config/split/0000.parquet
READERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".csv": "csv"}


def from_huggingface(
    repo: str,
    features: str,
    *,
    config: str = "default",
    split: str = "train",
    target: str | None = None,
    name: str | None = None,
    language: str = "",
    revision: str = CONVERTED,
    files: Sequence[str] | None = None,
    path: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
    download: bool = False,
    size: int | None = None,
    licence: str = "",
    home: str = "",
    by_hand: str = "",
    **options: Any,
) -> DatasetEnv:
    """Streams a split of a dataset of the Hugging Face hub (extra `huggingface`).

    Its files are downloaded once, at the first use, and read with random access from Arrow files that `datasets` makes
    of them. A dataset that needs a login takes that of `hf auth login`.

    Args:
      repo: `"stanfordnlp/snli"`.
      features: what is read of a row; see `Features`.
      config: of the repository.
      split: as the repository calls it.
      target: the key of y; None for the last feature.
      name: names the source; the default is the repository's name.
      language: of its text.
      revision: branch or commit; the default is the hub's own conversion to Parquet.
      files: patterns of the files to download, with `{split}`; None for those of the split.
      path: a copy: a file, or a folder with Parquet, JSON lines or CSV files as `config/split/*`, `config/split-*`,
        `data/split-*` or `split*`.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      by_hand: for messages, of datasets that cannot be downloaded.
      options: of `DatasetEnv`.

    Raises:
      SpecError: when it is opened: there is no data and no permission to download it; no files; other columns.
      MissingDependencyError: when it is opened: `datasets` is not installed.
    """
    name = name or repo.rpartition("/")[2]
    copy = Copy(
        name, f"huggingface/{repo}/{config}/{split}", path, cache_dir, download, size, licence, home or repo, by_hand
    )
    return dataset_env(
        _open,
        features,
        target,
        name,
        language,
        options,
        copy=copy,
        repo=repo,
        config=config,
        split=split,
        revision=revision,
        files=tuple(file.replace("{split}", split) for file in files or _patterns(config, split)),
        columns=Features(features).columns,
    )


def _patterns(config: str, split: str) -> list[str]:
    """Returns where the files of a split may be."""
    return [
        f"{config}/{split}/*",
        f"{config}/partial-{split}/*",  # of large datasets the hub converts the first 5 GB
        f"{config}/{split}-*",
        f"data/{split}-*",
        f"{split}/*",
        f"{split}-*",
        f"{split}.*",
    ]


def _open(
    copy: Copy, repo: str, config: str, split: str, revision: str, files: tuple[str, ...], columns: tuple[str, ...]
) -> "_Table":
    datasets = import_provider("datasets", "huggingface", copy.who)
    folder = copy.get(lambda part: _download(part, copy.who, repo, revision, files))
    found = [folder] if folder.is_file() else _found(folder, [*files, *_patterns(config, split)])
    if not found:
        raise SpecError(
            f"{copy.who}: expected files of split {split!r} in {folder}, as one of {list(files)}, got"
            f" {sorted(item.name for item in folder.iterdir())[:20]}. Check split= and path=."
        )
    reader = READERS[found[0].suffix]
    options = {"columns": list(columns)} if reader == "parquet" else {}
    data = datasets.load_dataset(
        reader,
        data_files=[str(file) for file in found],
        split="train",
        cache_dir=str(cache_folder(copy.cache_dir) / "arrow"),
        **options,
    )
    return _Table(data)


def _found(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Returns the files of the first pattern that has some."""
    for pattern in patterns:
        found = sorted(file for file in folder.glob(pattern) if file.suffix in READERS)
        if found:
            return found
    return []


def _download(part: Path, who: str, repo: str, revision: str, files: Sequence[str]) -> None:
    hub = import_provider("huggingface_hub", "huggingface", who)
    retried(
        lambda: hub.snapshot_download(
            repo, repo_type="dataset", revision=revision, allow_patterns=list(files), local_dir=str(part)
        ),
        who,
        f"{repo} from the Hugging Face hub",
    )
    if not _found(part, files):
        raise SpecError(
            f"{who}: expected files {list(files)} in revision {revision!r} of {repo}, there are none. Check config= and"
            " split=, or give files= and revision='main'."
        )


class _Table:
    """Gives rows of an Arrow table as they are stored: nothing is decoded that is not asked for."""

    def __init__(self, data: Any):
        self._data = data.with_format("arrow")

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: list[int]) -> list[Mapping[str, Any]]:
        return self._data[indices].to_pylist()

    def column(self, name: str) -> list[Any]:
        return self._data.select_columns(name)[:][name].to_pylist()
