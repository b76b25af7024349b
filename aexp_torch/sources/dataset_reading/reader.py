"""Reader: minibatches of one slot, pass after pass. All that DatasetEnv knows about its data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.known import Known

__all__ = ["GivenBack", "Minibatch", "Reader", "check_same"]

Minibatch = tuple[dict[str, Any], np.ndarray | None]


class GivenBack(NamedTuple):
    """Is a minibatch that was read but is to be dealt out again.

    Args:
      pass_number: its pass.
      number: its number in the common order of the pass.
      data: its rows [B, ...], and
      mask: which of them are real; None from a reader that `reads_again`.
    """

    pass_number: int
    number: int
    data: dict[str, Any] | None
    mask: Any


class Reader(ABC):
    """Hands out the minibatches of one slot, in an order that follows from the seed and the number of the pass.

    Attributes:
      batch_size: rows of every minibatch. Short ones are padded by repeating their own rows.
      num_batches: minibatches of this slot in an ordinary pass, None where the data has no length.
      pass_number: the pass that `next_batch` reads in.
      last: pass and number of the minibatch that was given last, in the order common to all slots; the number is None
        where the minibatch was added to make the pass even.
      reads_again: any minibatch of a pass can be read at any time.
      bad_samples: what could not be read.
      known: what is known of leaves, by path, beyond what `peek` shows.
    """

    batch_size: int
    num_batches: int | None
    pass_number: int
    last: tuple[int, int | None]
    reads_again: bool
    bad_samples: BadSamples
    known: Mapping[tuple[str, ...], Known]

    @property
    @abstractmethod
    def num_batches_here(self) -> int | None:
        """Minibatches of this slot in this pass: fewer than `num_batches` where it is the rest of one."""

    @abstractmethod
    def cut_passes(self) -> list[int]:
        """Returns the minibatches of this slot in the passes, from this one on, of which only a rest is read."""

    @abstractmethod
    def peek(self) -> dict[str, Any]:
        """Returns example data (leading axis 1 or more) for building specs. Nothing moves and nothing is consumed."""

    @abstractmethod
    def next_batch(self, wanted: bool = True) -> Minibatch:
        """Returns the next minibatch of this slot.

        Args:
          wanted: False may return an empty one in its place, without reading it.

        Returns:
          The nested dict of numpy arrays or torch tensors `[B, ...]`, in fresh memory, and the mask: bool `[B]`, False
          on rows that were added to fill up, or None where all rows are real.

        Raises:
          StopIteration: at the end of a pass. The next call begins the next pass.
        """

    @abstractmethod
    def restart(self) -> None:
        """Drops what is left of this pass, so that `next_batch` begins a new one. At a beginning it does nothing."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and primitives from which `load_state_dict` goes on at exactly the next minibatch."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken, by a reader of the same data with the same arguments.

        The seed is part of the state and replaces the reader's own.

        Raises:
          SpecError: the state was taken with other arguments or other data.
        """

    @abstractmethod
    def divide_anew(self, states: list[dict[str, Any]], given_back: list[GivenBack]) -> dict[str, Any]:
        """Returns the state of this slot, from those of all slots of another division of the same data.

        What was not read of the passes under way is dealt out among the new slots, and the passes after them as usual.

        Args:
          states: of all slots.
          given_back: minibatches that have been read, but count as if they had not.

        Raises:
          SpecError: the states were taken with other arguments or other data.
        """

    def close(self) -> None:  # noqa: B027 - most readers hold nothing that has to be closed
        """Gives back files and processes. Closing twice does no harm."""


def check_same(who: str, state: dict[str, Any], own: dict[str, Any]) -> None:
    """Raises a SpecError where a state was taken with other arguments than the reader that shall load it has."""
    taken = {key: value for key, value in state["made_with"].items() if key in own}
    if taken != own:
        unequal = ", ".join(f"{key} {own[key]!r}, got {taken.get(key)!r}" for key in own if taken.get(key) != own[key])
        raise SpecError(f"{who}: expected a state taken with {unequal}. Read the same data with the same arguments.")
