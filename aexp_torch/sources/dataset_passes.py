"""Passes over data: which minibatch is the first and the last of its pass, and when the stream is over."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.sources.dataset_reading import Reader
from aexp_torch.specs.tree import map_tree

__all__ = ["Minibatch", "Passes"]


class Minibatch(NamedTuple):
    """One minibatch of one slot.

    Args:
      data: nested dict of tensors [B, ...]; rows that only fill up are 0.
      mask: bool [B], False on those rows; None where all rows are real.
      opens: it is the first of its pass.
      closes: it is the last of its pass.
    """

    data: dict[str, Any]
    mask: Tensor | None
    opens: bool
    closes: bool


class Passes:
    """Counts passes over a reader; where the data has no length it reads one minibatch ahead.

    Args:
      reader: gives the minibatches of this slot.
      epochs: number of passes, None for ever.
      who: the source, for messages.
    """

    def __init__(self, reader: Reader, epochs: int | None, who: str):
        self.reader, self.epochs, self.who = reader, epochs, who
        self.begin()

    def begin(self) -> None:
        """Starts the stream over with a new pass."""
        self._passes, self._place = 0, 0
        self._ahead: tuple[dict, Tensor | None] | None = None
        self.reader.restart()

    def next(self) -> Minibatch:
        """Returns the next minibatch, of the next pass where one is over.

        Raises:
          EndOfStream: after the last pass.
        """
        if self.epochs is not None and self._passes >= self.epochs:
            raise EndOfStream(f"{self.who}: {self.epochs} passes over the data are done.")
        data, mask = self._ahead or self._read_first()
        self._ahead = None
        opens = self._place == 0
        self._place += 1
        closes = self._is_last()
        if closes:
            self._passes, self._place = self._passes + 1, 0
        return Minibatch(data, mask, opens, closes)

    def _read_first(self) -> tuple[dict, Tensor | None]:
        minibatch = self._read()
        if minibatch is None:
            if self.epochs is not None:
                self._passes = self.epochs
                raise EndOfStream(f"{self.who}: no minibatches for this slot.")
            raise SpecError(
                f"{self.who}: expected at least one minibatch per slot, this slot has none. Use a smaller batch_size or"
                " fewer slots (in_flight)."
            )
        return minibatch

    def _read(self) -> tuple[dict, Tensor | None] | None:
        try:
            data, mask = self.reader.next_batch()
        except StopIteration:
            return None
        real = None if mask is None else torch.as_tensor(mask)
        return map_tree(lambda leaf: _blank(torch.as_tensor(leaf), real), data), real

    def _is_last(self) -> bool:
        if self.reader.num_batches is not None:
            last = self._place == self.reader.num_batches
            if last:
                self.reader.restart()
            return last
        self._ahead = self._read()
        return self._ahead is None

    def state_dict(self) -> dict:
        """Returns the reader's state, the place in the pass, and a minibatch that was read ahead."""
        return {
            "reader": self.reader.state_dict(),
            "passes": self._passes,
            "place": self._place,
            "ahead": self._ahead and {"data": self._ahead[0], "mask": self._ahead[1]},
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.reader.load_state_dict(state["reader"])
        self._passes, self._place = state["passes"], state["place"]
        self._ahead = state["ahead"] and (state["ahead"]["data"], state["ahead"]["mask"])


def _blank(leaf: Tensor, mask: Tensor | None) -> Tensor:
    return leaf if mask is None else torch.where(mask.view(-1, *[1] * (leaf.dim() - 1)), leaf, torch.zeros_like(leaf))
