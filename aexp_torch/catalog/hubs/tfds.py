"""from_tfds: a dataset of TensorFlow Datasets, read without TensorFlow."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from aexp_torch.catalog.hubs.fetching import LOCK_TIMEOUT, Copy, retried
from aexp_torch.catalog.hubs.rows import ListedRows, dataset_env
from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_tfds"]

PREPARE = """
import sys
import tensorflow_datasets as tfds
builder = tfds.builder(sys.argv[1], data_dir=sys.argv[2], file_format="array_record")
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
"""
RAISED = re.compile(r"^[\w.]+(?:Error|Exception): .*", re.MULTILINE)
LASTING = re.compile("ModuleNotFoundError|DatasetNotFoundError|ManualDownload|AssertionError")  # it will not go away


def from_tfds(
    dataset: str,
    features: str,
    *,
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
    """Streams a split of a dataset of TFDS, with random access, without TensorFlow.

    Some datasets need TensorFlow to be prepared, which happens once, after the download; none needs it to be read.

    Args:
      dataset: `"anli/r1"`: the name, and the config where there are several.
      features: what is read of a row; see `Features`.
      split: as TFDS writes it: `"train"`, `"train[:10%]"`.
      target: the key of y; None for the last feature.
      name: names the source; the default is the dataset.
      language: of its text.
      path: a TFDS `data_dir` in which it is prepared as array_record or Parquet, or the folder of one version.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      by_hand: for messages, of datasets that cannot be downloaded.
      options: of `DatasetEnv`.

    Raises:
      SpecError: when it is opened: there is no data and no permission to download it.
      MissingDependencyError: when it is downloaded: TFDS needs TensorFlow to prepare it.
    """
    name = name or dataset.replace("/", "-")
    home = home or f"https://www.tensorflow.org/datasets/catalog/{dataset.partition('/')[0]}"
    copy = Copy(name, f"tfds/{dataset}", path, cache_dir, download, size, licence, home, by_hand)
    return dataset_env(_open, features, target, name, language, options, copy=copy, dataset=dataset, split=split)


def _open(copy: Copy, dataset: str, split: str) -> ListedRows:
    import tensorflow_datasets as tfds

    folder = copy.get(lambda part: _download(part, copy.who, dataset))
    try:
        builder = tfds.builder_from_directory(str(_latest(folder, dataset, copy.who)))
        return ListedRows(builder.as_data_source(split=split))
    except (ValueError, NotImplementedError) as error:
        raise SpecError(
            f"{copy.who}: expected split {split!r} of {dataset} in {folder}, in a format with random access, got"
            f" {error} Prepare it with file_format='array_record', and check split=."
        ) from error


def _latest(folder: Path, dataset: str, who: str) -> Path:
    """Returns the folder of the latest version."""
    if (folder / "dataset_info.json").exists():
        return folder
    found = [info.parent for info in (folder / dataset).glob("*/dataset_info.json")]
    if not found:
        raise SpecError(
            f"{who}: expected {dataset}/<version>/dataset_info.json in {folder}, it is not there. Give path= the"
            " data_dir in which TFDS has prepared it."
        )
    return max(found, key=lambda version: [int(part) for part in version.name.split(".") if part.isdigit()])


def _download(part: Path, who: str, dataset: str) -> None:
    """Downloads and prepares it in a process of its own: after array_record has written, forked processes cannot read."""
    words = [sys.executable, "-c", PREPARE, dataset, str(part)]

    def prepare() -> None:
        ended = subprocess.run(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=LOCK_TIMEOUT
        )
        if ended.returncode:
            said = (
                RAISED.findall(ended.stderr) or ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
            )
            raise OSError(said[-1])

    try:
        retried(prepare, who, f"{dataset} through TFDS", worth=lambda error: not LASTING.search(str(error)))
    except SpecError as error:
        missing = re.search(r"No module named '([^']+)'", str(error))
        if missing is None:
            raise
        raise MissingDependencyError(
            f"{who}: expected what TFDS needs to prepare {dataset}, {missing[1]} is not installed. Install it for this"
            f" once: pip install {missing[1]}; reading does not need it."
        ) from error
    shutil.rmtree(part / "downloads", ignore_errors=True)
