"""from_files: datasets that are folders of sounds, pictures and videos with a listing of their own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aexp_torch.catalog.hubs import listings
from aexp_torch.catalog.hubs.fetching import Copy, fetch_file
from aexp_torch.catalog.hubs.rows import ListedRows, dataset_env
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_files"]

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def from_files(
    listing: str,
    features: str,
    *,
    urls: Sequence[str] = (),
    split: str = "train",
    splits: Sequence[str] = ("train", "test"),
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
    """Streams a dataset of files, listed as its authors list them.

    Args:
      listing: a function of `listings`, which finds the rows of a split in a folder.
      features: what is read of a row; see `Features`.
      urls: files and archives, which are unpacked; `{split}` stands for the split.
      split: one of `splits`.
      splits: all there are.
      target: the key of y; None for the last feature.
      name: names the source; the default is the listing's name.
      language: of its text.
      path: the unpacked dataset.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      by_hand: for messages, of datasets that cannot be downloaded.
      options: of `DatasetEnv`.

    Raises:
      SpecError: there is no such split; when it is opened: no data and no permission to download it; an unknown layout.
      MissingDependencyError: when it is opened: what decodes sounds or videos is not installed.
    """
    name = name or listing
    if split not in splits:
        raise SpecError(f"{name}: expected split to be one of {list(splits)}, got {split!r}.")
    addresses = tuple(url.replace("{split}", split) for url in urls)
    place = f"files/{name}/{split}" if any("{split}" in url for url in urls) else f"files/{name}"
    copy = Copy(name, place, path, cache_dir, download, size, licence, home, by_hand)
    arguments = {"copy": copy, "urls": addresses, "listing": listing, "split": split}
    return dataset_env(_open, features, target, name, language, options, **arguments)


def _open(copy: Copy, urls: Sequence[str], listing: str, split: str) -> ListedRows:
    folder = copy.get(lambda part: _download(part, urls, copy.who))
    try:
        rows = getattr(listings, listing)(folder, split)
    except FileNotFoundError as error:
        raise SpecError(
            f"{copy.who}: expected the files of {listing} in {folder}, got: {error}. Give path= the unpacked dataset."
        ) from error
    return ListedRows(rows)


def _download(part: Path, urls: Sequence[str], who: str) -> None:
    from aexp_torch.sources.archives import extract

    for url in urls:
        file = fetch_file(url, part / url.rpartition("/")[2], who)
        suffix = next((suffix for suffix in ARCHIVES if file.name.endswith(suffix)), None)
        if suffix is not None:
            extract(file, part / file.name.removesuffix(suffix))
            file.unlink()
