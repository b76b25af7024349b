"""Rows: data with random access, in columns where it has them and in samples where it has not."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from aexp_torch.sources.dataset_reading.known import Known

__all__ = ["Rows", "SampleRows", "as_slice"]

Path = tuple[str, ...]


class Rows(Protocol):
    """Reads rows by number.

    Attributes:
      varying: paths of leaves in samples that vary along their first axis.
      known: what the data says of its leaves.
    """

    @property
    def varying(self) -> Collection[Path]: ...
    @property
    def known(self) -> Mapping[Path, Known]: ...
    def __len__(self) -> int: ...

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        """Returns columns as a tree of arrays [B, ...] in fresh memory, and B samples of what is no column.

        The samples are an empty list where everything is in columns.
        """

    def samples(self, number: int) -> Any:
        """Returns one sample of what is no column."""

    def close(self) -> None: ...


class SampleRows:
    """Reads a dataset with `__len__` and `__getitem__`, sample by sample; `__getitems__` is used where it exists."""

    known: Mapping[Path, Known] = {}

    def __init__(self, data: Any):
        self._data, self._length = _with_own_files(data), len(data)
        self.varying = set(_varying_features(data))

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        many = getattr(self._data, "__getitems__", None)
        return {}, many(numbers) if many else [self._data[number] for number in numbers]

    def samples(self, number: int) -> Any:
        return self._data[number]

    def close(self) -> None:
        """Closes the files that this reader has opened for itself."""
        files = getattr(self._data, "data_source", None)
        if _opens_files(files):
            files.__exit__(None, None, None)


def as_slice(numbers: list[int]) -> slice | None:
    """Returns rows that follow each other as a slice, which providers read faster; None where they do not."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if numbers == list(range(first, last + 1)) else None


def _varying_features(data: Any) -> Iterator[Path]:
    """Yields the leaves that TFDS declares with an unknown first axis, and known others."""
    features = getattr(getattr(data, "dataset_info", None), "features", None)
    shapes = getattr(features, "shape", None)
    if isinstance(shapes, Mapping):
        yield from _varying_shapes(shapes)


def _varying_shapes(shapes: Mapping, prefix: Path = ()) -> Iterator[Path]:
    for key, shape in shapes.items():
        if isinstance(shape, Mapping):
            yield from _varying_shapes(shape, (*prefix, key))
        elif shape and shape[0] is None and None not in shape[1:]:
            yield (*prefix, key)


def _with_own_files(data: Any) -> Any:
    # An array_record file that was read before a fork kills the child that reads on: every reader opens its own.
    files = getattr(data, "data_source", None)
    if not _opens_files(files):
        return data
    own = copy.copy(data)
    own.data_source = copy.copy(files)
    return own


def _opens_files(files: Any) -> bool:
    return all(hasattr(files, name) for name in ("__setstate__", "__enter__", "__exit__"))
