"""DeepLakeRows: a Deep Lake dataset (version 4), read by column."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.dataset_reading.rows import as_slice
from aexp_torch.specs import Modality

__all__ = ["DeepLakeRows"]

Path = tuple[str, ...]
_MODALITIES = {"Audio": Modality("sequence", "real", "audio"), "Video": Modality("sequence", "integer", "natural")}


class DeepLakeRows:
    """Reads the columns of a `deeplake.Dataset`, or of a view of one.

    Numbers, arrays, embeddings, masks, boxes and images of one size come a minibatch at a time; text and dicts, and
    columns with a `transform`, `max_length` or `tokenizer`, row by row. A `ClassLabel` has as many choices as its largest
    value (and its class names) say.

    Args:
      data: the dataset.
      conversions: what is done to values.
      who: how errors name the reader.
    """

    varying: Collection[Path] = ()

    transform: Mapping[str, Callable[[Any], Any]] = {}

    def __init__(self, data: Any, conversions: Conversions, who: str):
        self._who, self._length = who, len(data)
        self._columns: dict[str, Any] = {}
        self._singles: dict[str, Any] = {}
        self.known: Mapping[Path, Known] = {}
        for column in data.schema.columns:
            name, kind = column.name, _kind(column.dtype)
            changed = conversions.replaces(name) or name in conversions.max_length
            single = changed or (self._length and not isinstance(data[name][:1], np.ndarray))  # text, dicts, bytes
            (self._singles if single else self._columns)[name] = data[name]
            if kind == "ClassLabel" and not changed and self._length:
                self.known = {**self.known, (name,): Known(num_classes=_num_classes(data[name]))}
            elif kind in _MODALITIES:
                self.known = {**self.known, (name,): Known(modality=_MODALITIES[kind])}

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        rows = as_slice(numbers)
        where = numbers if rows is None else rows
        columns = {name: _as_array(column[where]) for name, column in self._columns.items()}
        singles = {name: column[where] for name, column in self._singles.items()}
        return columns, [
            {name: _plain(values[row]) for name, values in singles.items()}
            for row in range(len(numbers) if singles else 0)
        ]

    def samples(self, number: int) -> Any:
        return {name: _plain(column[number]) for name, column in self._singles.items()}

    def close(self) -> None:
        """Does nothing: the dataset belongs to the user, or ends with its reader."""


def _as_array(values: Any) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        return np.stack([np.asarray(value) for value in values])
    return values if values.flags.writeable else values.copy()  # else it is Deep Lake's own memory


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value if value.flags.writeable else value.copy()
    return value.to_dict() if hasattr(value, "to_dict") else value


def _kind(dtype: Any) -> str:
    return str(getattr(dtype, "kind", "")).rpartition(".")[2]


def _num_classes(column: Any) -> int | None:
    names = column.metadata.to_dict().get("class_names") if hasattr(column, "metadata") else None
    labels = np.asarray(column[:])
    if not labels.size or labels.min() < 0:
        return None
    return max(int(labels.max()) + 1, len(names or ()))
