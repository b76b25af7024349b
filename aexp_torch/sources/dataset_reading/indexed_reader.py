"""IndexedReader: minibatches of data with random access."""

from typing import Any, Protocol

import numpy as np

from aexp_torch.sources.dataset_reading.padding import pad
from aexp_torch.sources.dataset_reading.pass_seed import pass_rng
from aexp_torch.sources.dataset_reading.reader import Minibatch, Reader, check_same
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions, count_for_slot

__all__ = ["IndexedReader"]


class RandomAccess(Protocol):
    """Is what can be gathered by index: `Columns`, `MapStyle`."""

    def __len__(self) -> int: ...
    def gather(self, indices: np.ndarray) -> dict[str, Any]: ...
    def close(self) -> None: ...


class IndexedReader(Reader):
    """Cuts the order of a pass, common to all slots, into minibatches: slot s takes s, s + N, ...

    A shuffled pass holds one permutation in memory, 8 bytes a sample.
    """

    def __init__(self, data: RandomAccess, options: ReadingOptions):
        self._data, self._options, self._seed = data, options, options.seed
        self.batch_size = options.batch_size or 1
        self.num_batches: int = count_for_slot(options.count_batches(len(data), self.batch_size), options)
        self._pass_number, self._position = 0, 0
        self._order: np.ndarray | None = None

    def peek(self) -> dict[str, Any]:
        return self._data.gather(np.arange(min(self.batch_size, len(self._data))))

    def next_batch(self) -> Minibatch:
        if self._position >= self.num_batches:
            self._next_pass()
            raise StopIteration
        indices = self._indices(self._options.slot + self._position * self._options.num_slots)
        batch = pad(self._data.gather(indices), len(indices), self.batch_size)
        self._position += 1
        return batch

    def restart(self) -> None:
        if self._position:
            self._next_pass()

    def state_dict(self) -> dict[str, Any]:
        return {
            "made_with": self._made_with(),
            "seed": self._seed,
            "pass": self._pass_number,
            "position": self._position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_same(self._options.who, state, self._made_with())
        self._seed, self._pass_number, self._position = state["seed"], state["pass"], state["position"]
        self._order = None

    def close(self) -> None:
        self._data.close()

    def _indices(self, batch_number: int) -> np.ndarray:
        start = batch_number * self.batch_size
        stop = min(start + self.batch_size, len(self._data))
        if not self._options.shuffle:
            return np.arange(start, stop)
        if self._order is None:
            self._order = pass_rng(self._seed, self._pass_number).permutation(len(self._data))
        return self._order[start:stop]

    def _next_pass(self) -> None:
        self._pass_number, self._position, self._order = self._pass_number + 1, 0, None

    def _made_with(self) -> dict[str, Any]:
        return {**self._options.made_with(), "num_samples": len(self._data)}
