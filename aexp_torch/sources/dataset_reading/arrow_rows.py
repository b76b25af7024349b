"""ArrowRows: a Hugging Face dataset, whose columns become arrays a minibatch at a time, without Python objects."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.arrow_columns import Column, column_for, with_lengths
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.features import decode_audio
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.dataset_reading.rows import as_slice
from aexp_torch.specs import Modality

__all__ = ["ArrowRows"]

Path = tuple[str, ...]
AUDIO = Modality("sequence", "real", "audio")


class ArrowRows:
    """Reads the Arrow table of a `datasets.Dataset`.

    | feature | leaf |
    |---|---|
    | `Value` of a number or bool | itself |
    | `ClassLabel` | int64, as many choices as it has names |
    | `Value("string")` | uint8 [L], UTF-8, zero-padded to the longest of the column |
    | `List` of these with a length, `Array2D` ... `Array5D` | with axes more |
    | `List` without a length, `Array2D((None, ...))` | zero-padded to the longest of the column; `length:<key>` int64 |
    | a dict of features | a dict |
    | `Image` | uint8 [H, W, C] or [H, W], all alike |
    | `Audio` | float32 [T, C], zero-padded; `length:<key>` int64 |

    Images, audio, and columns with a `transform` or a `tokenizer`, are read row by row, everything else by column.

    Args:
      data: the dataset; its format counts only in which columns it leaves.
      conversions: what is done to values.
      who: how errors name the reader.
    """

    transform: Mapping[str, Callable[[Any], Any]] = {}

    def __init__(self, data: Any, conversions: Conversions, who: str):
        self._who, self._features, self._length = who, data.features, len(data)
        names = list(data.format["columns"])
        self._columns: dict[str, Column] = {}
        self._singles: list[str] = []
        self.known: Mapping[Path, Known] = {}
        self.varying: list[Path] = []
        table = data.with_format("arrow", columns=names)
        for name in names:
            column = None if conversions.replaces(name) else column_for(self._features[name], conversions, name)
            if column is None or (conversions.tokenizer is not None and column.has_text):
                self._singles.append(name)
                self._know_single(name)
            else:
                column.measure(data.data.column(name))
                self._columns[name] = column
                self.known = {**self.known, **column.known((name,))}
        self._decoders = {name: self._decoder(name) for name in self._singles}
        self._table = table
        self._rest = data.with_format("arrow", columns=self._singles) if self._singles else None

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: list[int]) -> tuple[dict[str, Any], list[Any]]:
        rows = as_slice(numbers)
        table = self._table[numbers if rows is None else rows]
        try:
            columns = with_lengths(
                {name: (each, _one_array(table.column(name))) for name, each in self._columns.items()}
            )
        except SpecError as error:
            raise SpecError(f"{self._who}: {error}") from error
        return columns, self._decoded(table) if self._singles else []

    def samples(self, number: int) -> Any:
        return self._decoded(self._rest[number : number + 1])[0]

    def close(self) -> None:
        """Does nothing: the table belongs to the user."""

    def _decoded(self, table: Any) -> list[dict[str, Any]]:
        values = {name: table.column(name).to_pylist() for name in self._singles}
        return [
            {name: self._decode(name, column[row]) for name, column in values.items()} for row in range(table.num_rows)
        ]

    def _decode(self, name: str, value: Any) -> Any:
        if value is None:
            raise SpecError(f"{self._who}: expected a value under {name!r}, got none (null)")
        return self._decoders[name](value)

    def _decoder(self, name: str) -> Callable[[Any], Any]:
        """Returns what makes a sample's value of what the table has."""
        from datasets import Audio
        from datasets.features.features import decode_nested_example

        feature = self._features[name]
        if isinstance(feature, Audio) and feature.decode:
            return partial(decode_audio, sampling_rate=feature.sampling_rate, name=name, who=self._who)
        return partial(decode_nested_example, feature)

    def _know_single(self, name: str) -> None:
        from datasets import Audio

        feature = self._features[name]
        if isinstance(feature, Audio):
            self.varying.append((name,))
            self.known = {**self.known, (name,): Known(modality=AUDIO)}
        elif getattr(feature, "length", None) == -1:
            self.varying.append((name,))
        elif getattr(feature, "num_classes", None):
            self.known = {**self.known, (name,): Known(num_classes=feature.num_classes)}


def _one_array(chunks: Any) -> Any:
    return chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
