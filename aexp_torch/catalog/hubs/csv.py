"""from_csv: tables of plain text, as repositories of tabular data give them."""

import csv
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aexp_torch.catalog.hubs.fetching import Copy, fetch_file
from aexp_torch.catalog.hubs.rows import dataset_env
from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["from_csv"]


def from_csv(
    url: str,
    features: str,
    *,
    columns: str,
    members: Mapping[str, str],
    delimiter: str = ",",
    header: bool = False,
    encoding: str = "utf-8",
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
    """Streams a table: one row a line. Archives are read as they are, nothing is unpacked.

    Args:
      url: a table, perhaps gzipped, or a zip or tar archive.
      features: what is read of a row; see `Features`.
      columns: names, in order; `x:54` are 54 columns together, `_` is left out.
      members: which file each split is: `{"train": "adult.data"}`; the name of the table itself, where it is no archive.
      delimiter: between values; `" "` for any white space.
      header: the first line has names, and is left out.
      encoding: of the text.
      split: one of `members`.
      target: the key of y; None for the last feature.
      name: names the source; the default is the file's name.
      language: of its text.
      path: the file, or a folder that has it or its unpacked members.
      cache_dir: see `cache_folder`.
      download: whether it may be downloaded.
      size: bytes to download, for messages.
      licence: for messages.
      home: for messages.
      by_hand: for messages, of datasets that cannot be downloaded.
      options: of `DatasetEnv`.

    Raises:
      SpecError: there is no such split; when it is opened: no data and no permission to download it; other columns.
    """
    file = url.rpartition("/")[2]
    name = name or file.partition(".")[0]
    if split not in members:
        raise SpecError(f"{name}: expected split to be one of {sorted(members)}, got {split!r}.")
    copy = Copy(name, f"files/{name}", path, cache_dir, download, size, licence, home or url, by_hand)
    reading = {"delimiter": delimiter, "header": header, "encoding": encoding, "columns": _counted(columns)}
    arguments = {"copy": copy, "url": url, "file": file, "member": members[split], "reading": reading}
    return dataset_env(_open, features, target, name, language, options, **arguments)


def _counted(columns: str) -> list[tuple[str, int]]:
    """Returns names with their numbers of columns; 0 for a single one."""
    parts = [item.partition(":") for item in columns.split()]
    return [(name, int(count or 0)) for name, _, count in parts]


def _open(copy: Copy, url: str, file: str, member: str, reading: dict[str, Any]) -> "_Lines":
    place = copy.get(lambda part: fetch_file(url, part / file, copy.who))
    candidates = [place] if place.is_file() else [place / member, place / Path(member).name, place / file]
    found = next((candidate for candidate in candidates if candidate.exists()), None)
    if found is None:
        raise SpecError(f"{copy.who}: expected {file} or {member} in {place}, neither is there. Check path=.")
    return _Lines(_content(found, member, copy.who), who=copy.who, **reading)


def _content(file: Path, member: str, who: str) -> bytes:
    """Returns a table, out of an archive where it is in one."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                content = archive.read(_member(archive.namelist(), member))
        elif tarfile.is_tarfile(file):
            with tarfile.open(file) as archive:
                content = archive.extractfile(_member(archive.getnames(), member)).read()
        else:
            content = file.read_bytes()
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SpecError(f"{who}: expected {member} in {file}, got {error}. Download it again.") from error
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content


def _member(names: Sequence[str], member: str) -> str:
    return next((name for name in names if name == member or name.endswith(f"/{member}")), member)


class _Lines:
    """Gives rows of a table that is kept as text, which takes less memory than its values."""

    def __init__(
        self, content: bytes, columns: list[tuple[str, int]], delimiter: str, header: bool, encoding: str, who: str
    ):
        lines = [line for line in content.splitlines() if line.strip()]
        self._lines = lines[1:] if header else lines
        self._columns, self._delimiter, self._encoding, self._who = columns, delimiter, encoding, who
        self._width = sum(count or 1 for _, count in columns)

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, indices: list[int]) -> list[Mapping[str, Any]]:
        return [self._row(index) for index in indices]

    def column(self, name: str) -> list[Any]:
        return [self._row(index)[name] for index in range(len(self))]

    def _row(self, index: int) -> dict[str, Any]:
        text = self._lines[index].decode(self._encoding)
        if self._delimiter == " ":
            values = text.split()
        else:
            values = [value.strip() for value in next(csv.reader(io.StringIO(text), delimiter=self._delimiter))]
        if len(values) != self._width:
            raise SpecError(
                f"{self._who}: expected {self._width} values in line {index}, got {len(values)}: {text[:80]!r}."
            )
        row: dict[str, Any] = {}
        position = 0
        for name, count in self._columns:
            row[name] = values[position : position + count] if count else values[position]
            position += count or 1
        return row
