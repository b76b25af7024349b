"""Rows: data with random access, in columns where it has them and in samples where it has not."""

import copy
import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import numpy as np

from aexp_torch.sources.dataset_reading.declared import declared
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.origin import comes_from
from aexp_torch.specs import flatten, unflatten

__all__ = ["Rows", "SampleRows", "as_slice"]

Path = tuple[str, ...]


class Rows(Protocol):
    """Reads rows by number.

    Attributes:
      varying: paths of leaves in samples that vary along their first axis.
      transform: by name, what is done to values of leaves if the user gives nothing else.
      known: what the data says of its leaves.
    """

    @property
    def varying(self) -> Collection[Path]: ...
    @property
    def transform(self) -> Mapping[str, Callable[[Any], Any]]: ...
    @property
    def known(self) -> Mapping[Path, Known]: ...
    def __len__(self) -> int: ...

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        """Returns columns as a tree of arrays [B, ...] in fresh memory, and B samples of what is no column.

        The samples are an empty list where everything is in columns.
        """

    def samples(self, number: int) -> Any:
        """Returns one sample of what is no column, for its lengths: pictures may be left as they are."""

    def close(self) -> None: ...


class SampleRows:
    """Reads a dataset with `__len__` and `__getitem__`, sample by sample; `__getitems__` is used where it exists."""

    known: Mapping[Path, Known] = {}

    def __init__(self, data: Any):
        self._data, self._length = _with_own_files(data), len(data)
        self._declared = _declared(data)
        shapes = {path: (shape, dtype.name) for path, (shape, dtype) in self._declared.items()}
        self.varying, self.transform = declared(shapes)
        self._light = _without_pictures(self._data) if self._declared else None

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        many = getattr(self._data, "__getitems__", None)
        found = many(numbers) if many else [self._data[number] for number in numbers]
        return {}, [self._as_declared(sample) for sample in found] if self._declared else found

    def samples(self, number: int) -> Any:
        if not self._declared:
            return self._data[number]
        sample = self._as_declared(self._light[number])
        return {key: value for key, value in sample.items() if key not in (self._light.decoders or ())}

    def _as_declared(self, sample: dict) -> dict:
        """Makes arrays of what TFDS gives as lists: of arrays, or of nothing."""
        return unflatten([(path, self._array(path, value)) for path, value in flatten(sample)])

    def _array(self, path: Path, value: Any) -> Any:
        if path not in self._declared or not isinstance(value, list):
            return value
        shape, dtype = self._declared[path]
        rest = shape[1:] if None not in shape[1:] else np.shape(value)[1:]
        return np.asarray(value, dtype).reshape(len(value), *rest)

    def close(self) -> None:
        """Closes the files that this reader has opened for itself."""
        files = getattr(self._data, "data_source", None)
        if _opens_files(files):
            files.__exit__(None, None, None)


def as_slice(numbers: list[int]) -> slice | None:
    """Returns rows that follow each other as a slice, which providers read faster; None where they do not."""
    first, last = numbers[0], numbers[-1]
    return slice(first, last + 1) if numbers == list(range(first, last + 1)) else None


def _declared(data: Any) -> dict[Path, tuple[tuple[int | None, ...], np.dtype]]:
    """Returns the shapes and dtypes that TFDS declares, of leaves with an axis."""
    features = getattr(getattr(data, "dataset_info", None), "features", None)
    if not comes_from("tensorflow_datasets")(features) or not isinstance(features.shape, Mapping):
        return {}
    shapes, dtypes = dict(flatten(dict(features.shape))), dict(flatten(dict(features.np_dtype)))
    dtypes = {path: np.dtype(dtype) for path, dtype in dtypes.items()}
    return {
        path: (shape, dtypes[path] if dtypes[path].kind in "biuf" else np.dtype("S"))
        for path, shape in shapes.items()
        if isinstance(shape, tuple) and shape and path in dtypes
    }


def _without_pictures(data: Any) -> Any:
    """Returns a TFDS data source that does not decode pictures, to measure what else is there."""
    features = data.dataset_info.features
    pictures = {name: feature for name, feature in features.items() if type(feature).__name__ in ("Image", "Video")}
    if not pictures or getattr(data, "decoders", None) is not None:
        return data
    decode = importlib.import_module("tensorflow_datasets").decode
    light = copy.copy(data)
    light.decoders = {name: decode.SkipDecoding() for name in pictures}
    return light


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
