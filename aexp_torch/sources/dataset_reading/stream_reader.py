"""StreamReader: minibatches of data that can only be read from front to back."""

from typing import Any

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.minibatches import CollatedBatches, SampleBatches
from aexp_torch.sources.dataset_reading.reader import Minibatch, Reader, check_same
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions, count_for_slot
from aexp_torch.sources.dataset_reading.sample_format import copy_leaf
from aexp_torch.specs import map_tree

__all__ = ["StreamReader"]


class StreamReader(Reader):
    """Deals the minibatches of one common order: every slot reads all of them and keeps its own, s, s + N, ...

    Args:
      batches: the minibatches of all slots.
      total: how many there are in a pass, None where the data has no length.
      options: whose slot this is, among others.
    """

    def __init__(self, batches: SampleBatches | CollatedBatches, total: int | None, options: ReadingOptions):
        self._batches, self._total, self._options = batches, total, options
        self.batch_size = batches.batch_size
        self.num_batches = None if total is None else count_for_slot(total, options)
        self._num_dealt = 0

    def peek(self) -> dict[str, Any]:
        return map_tree(copy_leaf, self._batches.example)

    def next_batch(self) -> Minibatch:
        while (batch := self._batches.read()) is not None:
            number, self._num_dealt = self._num_dealt, self._num_dealt + 1
            if number % self._options.num_slots == self._options.slot:
                self._check_length(at_end=False)
                return self._batches.collate(batch)  # type: ignore[arg-type]
        self._check_length(at_end=True)
        self._next_pass()
        raise StopIteration

    def restart(self) -> None:
        if self._num_dealt:
            self._next_pass()

    def state_dict(self) -> dict[str, Any]:
        return {"made_with": self._made_with(), "num_dealt": self._num_dealt, "order": self._batches.order.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_same(self._options.who, state, self._made_with())
        self._num_dealt = state["num_dealt"]
        self._batches.order.load_state_dict(state["order"])

    def close(self) -> None:
        self._batches.order.close()

    def _next_pass(self) -> None:
        self._batches.order.next_pass()
        self._num_dealt = 0

    def _made_with(self) -> dict[str, Any]:
        return {**self._options.made_with(), "batch_size": self.batch_size}

    def _check_length(self, at_end: bool) -> None:
        who, total = self._options.who, self._total
        if at_end and not self._num_dealt:
            raise SpecError(
                f"{who}: expected at least one full minibatch of {self.batch_size} rows in a pass, got fewer samples, "
                "all left out by drop_last=True. Choose a smaller batch_size or drop_last=False."
            )
        if total is not None and (self._num_dealt > total or (at_end and self._num_dealt < total)):
            raise SpecError(
                f"{who}: expected {total} minibatches in a pass, from the data's len(), got {self._num_dealt}"
                f"{'' if at_end else ' and more'}. Correct its __len__, or remove it."
            )
