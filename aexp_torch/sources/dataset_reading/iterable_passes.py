"""IterablePasses: an iterable that is read again and again, from a private copy."""

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import IterDataPipe
from torch.utils.data.graph_settings import apply_random_seed

from aexp_torch.sources.dataset_reading.pass_seed import pass_seed
from aexp_torch.sources.dataset_reading.plain_values import from_plain, to_plain

__all__ = ["IterablePasses", "private_copy"]


class IterablePasses:
    """Begins the passes of one iterable, and takes and restores its state where it has one.

    The iterable's own `state_dict` is used, else that of its iterators. `set_epoch(pass_number)` is called where it
    exists, and the random steps of an IterDataPipe are seeded, so that reading a pass again gives the same.
    """

    outlives_errors = False

    def __init__(self, data: Any, seed: int, who: str):
        self._given, self._who, self.seed = data, who, seed
        self.renew()

    @property
    def begins_again(self) -> bool:
        """Whether a fresh copy can be made to begin any pass: not where one pass follows from the state after another."""
        return hasattr(self._data, "set_epoch") or not _is_stateful(self._data)

    def renew(self) -> None:
        """Takes a fresh copy of the data, as it was given."""
        self._data = private_copy(self._given, self._who)

    def begin(self, pass_number: int) -> Iterator:
        """Returns an iterator over pass number `pass_number`."""
        self._prepare(pass_number)
        return iter(self._data)

    def state(self, iterator: Iterator | None) -> dict[str, Any] | None:
        """Returns the state in the middle of a pass, or (without an iterator) between two; None where there is none."""
        if _is_stateful(self._data):
            return {"dataset": to_plain(self._data.state_dict(), self._who)}
        if iterator is not None and _is_stateful(iterator):
            return {"iterator": to_plain(iterator.state_dict(), self._who)}  # type: ignore[attr-defined]
        return None

    def resume(self, pass_number: int, state: dict[str, Any] | None) -> tuple[Iterator, bool]:
        """Returns an iterator, and whether it goes on where `state` was taken (else it is at the beginning)."""
        self._prepare(pass_number)
        state = state or {}
        if "dataset" in state:
            self._data.load_state_dict(from_plain(state["dataset"]))
        iterator = iter(self._data)
        if "iterator" in state:
            iterator.load_state_dict(from_plain(state["iterator"]))  # type: ignore[attr-defined]
        return iterator, bool(state)

    def _prepare(self, pass_number: int) -> None:
        if hasattr(self._data, "set_epoch"):
            self._data.set_epoch(pass_number)
        if isinstance(self._data, IterDataPipe):
            apply_random_seed(self._data, torch.Generator().manual_seed(pass_seed(self.seed, pass_number)))


def private_copy(data: Any, who: str) -> Any:
    """Returns a deep copy, because iterating changes many iterables; the object itself, with a warning, if it can't."""
    try:
        return copy.deepcopy(data)
    except Exception as error:  # whatever the classes inside raise when they refuse
        warnings.warn(
            f"{who}: {type(data).__name__} cannot be copied ({error}), so it is read itself: give every slot its own "
            "object, and iterate it nowhere else.",
            stacklevel=2,
        )
        return data


def _is_stateful(thing: Any) -> bool:
    return hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")
