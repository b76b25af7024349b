"""The rows of each hub's own objects, with random access, and the DatasetEnv that reads them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aexp_torch.catalog.hubs.features import Features
from aexp_torch.catalog.hubs.lazy import LazyRows, Rows
from aexp_torch.sources.dataset import DatasetEnv

__all__ = ["ListedRows", "dataset_env"]


class ListedRows:
    """Gives the rows of a sequence of mappings; of other members where a function makes rows of them.

    Args:
      members: a sequence: a list of rows, a TFDS data source, a torch dataset.
      row: makes a row of a member; None where they are rows.
    """

    def __init__(self, members: Any, row: Callable[[Any], Mapping[str, Any]] | None = None):
        self._members, self._row = members, row

    def __len__(self) -> int:
        return len(self._members)

    def read(self, indices: list[int]) -> Sequence[Mapping[str, Any]]:
        """Returns rows."""
        members = [self._members[index] for index in indices]
        return members if self._row is None else [self._row(member) for member in members]

    def column(self, name: str) -> list[Any]:
        """Returns a column, by reading all rows."""
        return [self.read([index])[0][name] for index in range(len(self))]


def dataset_env(
    open_rows: Callable[..., Rows],
    features: str,
    target: str | None,
    name: str,
    language: str,
    options: dict[str, Any],
    **arguments: Any,
) -> DatasetEnv:
    """Returns the stream of a hub's dataset, as a recipe.

    Args:
      open_rows: opens it, with `arguments`.
      features: what is read of a row; see `Features`.
      target: the key of y; None for the last feature.
      name: names the source.
      language: of its text, `"en"`; "" where it has none.
      options: of `DatasetEnv`; `specs` and `modalities` win over those of the features.
    """
    parsed = Features(features)
    context = f"text:{language}" if language else "text"
    options = {"batch_size": 32} | options
    options["specs"] = parsed.specs() | dict(options.get("specs") or {})
    options["modalities"] = parsed.modalities(context) | dict(options.get("modalities") or {})
    rows = LazyRows(open_rows, features, **arguments)
    return DatasetEnv(rows, target=target or parsed.all[-1].key, name=name, **options)
