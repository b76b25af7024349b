"""Columns of an Arrow table as NumPy arrays: numbers, text, lists and structures of these, without Python objects."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.known import Known, known_length, length_path
from aexp_torch.sources.dataset_reading.text import encode_text
from aexp_torch.specs import Modality

__all__ = ["Column", "column_for"]

Path = tuple[str, ...]


def column_for(feature: Any, conversions: Conversions, name: str) -> "Column | None":
    """Returns what reads a feature of a Hugging Face dataset by column; None for what has to be decoded row by row.

    Args:
      feature: as the dataset declares it.
      conversions: of which the lengths count.
      name: of the leaf, `a/b` where it is nested.
    """
    import datasets

    if isinstance(feature, Mapping):
        members = {key: column_for(member, conversions, f"{name}/{key}") for key, member in feature.items()}
        known = {key: column for key, column in members.items() if column is not None}
        return Structure(known) if len(known) == len(members) and members else None
    if isinstance(feature, datasets.ClassLabel):
        return Numbers(np.dtype(np.int64), feature.num_classes)
    if isinstance(feature, datasets.Value):
        if feature.dtype in ("string", "large_string"):
            return Text(conversions.max_length.get(name, conversions.text_length))
        try:
            dtype = np.dtype(feature.dtype)
        except TypeError:  # dates, decimals, bytes
            return None
        return Numbers(dtype) if dtype.kind in "biuf" else None
    if type(feature).__name__ in ("Array2D", "Array3D", "Array4D", "Array5D"):
        column: Column = Numbers(np.dtype(feature.dtype))
        for size in reversed(feature.shape):
            column = Varying(column, conversions.max_length.get(name)) if size is None else Fixed(column, size)
        return Extension(column)
    if type(feature).__name__ in ("List", "LargeList", "Sequence"):
        inner = column_for(feature.feature, replace(conversions, max_length={}), name)
        if inner is None or isinstance(inner, Structure | Extension):
            return None
        length = getattr(feature, "length", -1)
        return Varying(inner, conversions.max_length.get(name)) if length == -1 else Fixed(inner, length)
    return None


class Column(ABC):
    """Turns Arrow arrays of n values into NumPy arrays [n, ...] of one shape."""

    has_text = False

    def measure(self, array: Any) -> None:  # noqa: B027 - most have nothing to find out
        """Finds sizes out, from the whole column (chunked)."""

    @abstractmethod
    def read(self, array: Any) -> Any:
        """Returns the values in fresh memory; raises a SpecError where one is missing."""

    @abstractmethod
    def known(self, path: Path) -> dict[Path, Known]:
        """Returns what is known of the leaf, or leaves."""


class Numbers(Column):
    """Reads numbers and bools."""

    def __init__(self, dtype: np.dtype, num_classes: int | None = None):
        self.dtype, self.num_classes = dtype, num_classes

    def read(self, array: Any) -> np.ndarray:
        _check_complete(array)
        values = np.array(array.to_numpy(zero_copy_only=False), self.dtype)
        if self.num_classes is not None and values.size and not 0 <= values.min() <= values.max() < self.num_classes:
            raise SpecError(
                f"expected classes in 0..{self.num_classes - 1}, got {int(values.min())}..{int(values.max())} (-1 where"
                " a test split has no labels: remove the column, or filter these rows out)"
            )
        return values

    def known(self, path: Path) -> dict[Path, Known]:
        return {path: Known(num_classes=self.num_classes)} if self.num_classes else {}


class Text(Column):
    """Reads text as uint8 [L], UTF-8, zero-padded."""

    has_text = True

    def __init__(self, length: int | None):
        self.length = length

    def measure(self, array: Any) -> None:
        import pyarrow.compute as compute

        if self.length is None:
            self.length = max(1, compute.max(compute.binary_length(array)).as_py() or 1)

    def read(self, array: Any) -> np.ndarray:
        _check_complete(array)
        _, offsets, content = array.buffers()
        wide = np.int64 if "large" in str(array.type) else np.int32
        ends = np.frombuffer(offsets, wide)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        lengths = np.diff(ends)
        if lengths.size and lengths.max() > self.length:  # cut between characters, one by one
            texts = array.to_pylist()
            return np.stack([encode_text(text, self.length) for text in texts])
        content = np.frombuffer(content, np.uint8) if content is not None else np.zeros(0, np.uint8)
        return _spread(content[ends[0] : ends[-1]], lengths, self.length)

    def known(self, path: Path) -> dict[Path, Known]:
        return {}


class Fixed(Column):
    """Reads lists of one length: [n, length, ...]."""

    def __init__(self, inner: Column, length: int):
        self.inner, self.length, self.has_text = inner, length, inner.has_text

    def measure(self, array: Any) -> None:
        import pyarrow.compute as compute

        self.inner.measure(compute.list_flatten(array))

    def read(self, array: Any) -> np.ndarray:
        _check_complete(array)
        values = self.inner.read(array.flatten())
        if len(values) != len(array) * self.length:
            raise SpecError(f"expected lists of {self.length} values, got {len(values)} in {len(array)} lists")
        return values.reshape(len(array), self.length, *values.shape[1:])

    def known(self, path: Path) -> dict[Path, Known]:
        return _known_list(self.inner, path, self.length)


class Varying(Column):
    """Reads lists of all lengths: [n, longest, ...], zero-padded; shows how long they are where it is outermost."""

    def __init__(self, inner: Column, longest: int | None):
        self.inner, self.longest, self.has_text = inner, longest, inner.has_text

    def measure(self, array: Any) -> None:
        import pyarrow.compute as compute

        if self.longest is None:
            self.longest = max(1, compute.max(compute.list_value_length(array)).as_py() or 1)
        self.inner.measure(compute.list_flatten(array))

    def lengths(self, array: Any) -> np.ndarray:
        """Returns int64 [n], how much is real."""
        return np.minimum(self._all(array), self.longest)

    def read(self, array: Any) -> np.ndarray:
        return _spread(self.inner.read(array.flatten()), self._all(array), self.longest)

    def _all(self, array: Any) -> np.ndarray:
        _check_complete(array)
        return array.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)

    def known(self, path: Path) -> dict[Path, Known]:
        return _known_list(self.inner, path, self.longest) | {length_path(path): known_length(path, self.longest)}


class Structure(Column):
    """Reads a dict of columns."""

    def __init__(self, members: Mapping[str, Column]):
        self.members = members
        self.has_text = any(member.has_text for member in members.values())

    def measure(self, array: Any) -> None:
        import pyarrow.compute as compute

        for name, member in self.members.items():
            member.measure(compute.struct_field(array, name))

    def read(self, array: Any) -> dict[str, Any]:
        import pyarrow.compute as compute

        _check_complete(array)
        return with_lengths(
            {name: (member, compute.struct_field(array, name)) for name, member in self.members.items()}
        )

    def known(self, path: Path) -> dict[Path, Known]:
        return {
            key: value for name, member in self.members.items() for key, value in member.known((*path, name)).items()
        }


class Extension(Column):
    """Reads `Array2D` and so on, which are lists of lists below."""

    def __init__(self, inner: Column):
        self.inner = inner

    def measure(self, array: Any) -> None:
        import pyarrow as pa

        self.inner.measure(pa.chunked_array([chunk.storage for chunk in array.chunks], array.type.storage_type))

    def read(self, array: Any) -> np.ndarray:
        return self.inner.read(array.storage)

    def lengths(self, array: Any) -> np.ndarray:
        """Returns int64 [n], where the first axis varies."""
        return self.inner.lengths(array.storage)  # type: ignore[attr-defined]

    def known(self, path: Path) -> dict[Path, Known]:
        return self.inner.known(path)


def with_lengths(columns: Mapping[str, tuple[Column, Any]]) -> dict[str, Any]:
    """Reads named columns, and `length:<name>` of those that vary."""
    found: dict[str, Any] = {}
    for name, (column, array) in columns.items():
        try:
            found[name] = column.read(array)
            inner = column.inner if isinstance(column, Extension) else column
            if isinstance(inner, Varying):
                found[length_path((name,))[0]] = column.lengths(array)  # type: ignore[attr-defined]
        except SpecError as error:
            raise error if ", under" in str(error) else SpecError(f"{error}, under {name!r}") from error
    return found


def _known_list(inner: Column, path: Path, length: int) -> dict[Path, Known]:
    classes = inner.num_classes if isinstance(inner, Numbers) else None
    if classes is None:
        return {}
    spec = specs.BoundedArray((length,), np.int64, 0, classes - 1, path[-1])
    return {path: Known(spec, Modality("sequence", "categorical"))}


def _check_complete(array: Any) -> None:
    if array.null_count:
        raise SpecError("expected a value in every row, some have none (null)")


def _spread(values: np.ndarray, lengths: np.ndarray, longest: int) -> np.ndarray:
    """Puts values that follow each other into rows: [sum(lengths), ...] to [n, longest, ...], zero-padded, or cut."""
    rows = np.zeros((len(lengths), longest, *values.shape[1:]), values.dtype)
    if len(values) == len(lengths) * longest and (lengths == longest).all():
        return np.array(values).reshape(rows.shape)
    places = np.arange(longest)
    real = places < np.minimum(lengths, longest)[:, None]  # [n, longest]
    starts = np.cumsum(lengths) - lengths
    rows[real] = values[(starts[:, None] + places)[real]]
    return rows
