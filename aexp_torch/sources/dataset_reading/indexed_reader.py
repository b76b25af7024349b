"""IndexedReader: minibatches of data with random access."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.dataset_reading.padding import pad, take_rows
from aexp_torch.sources.dataset_reading.pass_seed import pass_rng
from aexp_torch.sources.dataset_reading.reader import GivenBack, Minibatch, Reader, check_same
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions
from aexp_torch.sources.dataset_reading.rest import Progress, pack_numbers, unpack_numbers, what_was_read
from aexp_torch.specs import map_tree

__all__ = ["IndexedReader"]


class RandomAccess(Protocol):
    """Is what can be gathered by index: `Columns`, `MapStyle`."""

    bad_samples: BadSamples

    @property
    def known(self) -> Mapping[tuple[str, ...], Known]: ...
    def __len__(self) -> int: ...
    def gather(self, indices: np.ndarray) -> Minibatch: ...
    def close(self) -> None: ...


class IndexedReader(Reader):
    """Cuts the order of a pass, common to all slots, into minibatches: slot s takes s, s + N, ...

    A shuffled pass holds one permutation in memory, 8 bytes a sample.
    """

    reads_again = True

    def __init__(self, data: RandomAccess, options: ReadingOptions):
        self._data, self._options, self._seed = data, options, options.seed
        self.batch_size = options.batch_size or 1
        self._total = options.count_batches(len(data), self.batch_size)
        self.num_batches: int = options.count_for_slot(self._total)
        self.pass_number, self._position, self.last = 0, 0, (0, None)
        self._order: np.ndarray | None = None
        self._read: dict[int, np.ndarray] = {}  # by pass: numbers that were read before the slots were divided anew
        self._left: np.ndarray | None = None  # the others of this pass
        self.bad_samples, self.known = data.bad_samples, data.known

    @property
    def num_batches_here(self) -> int:
        return self._count(self.pass_number)

    def cut_passes(self) -> list[int]:
        return [self._count(number) for number in range(self.pass_number, max(self._read, default=-1) + 1)]

    def peek(self) -> dict[str, Any]:
        with self.bad_samples.uncounted():
            return self._data.gather(np.arange(min(self.batch_size, len(self._data))))[0]

    def next_batch(self, wanted: bool = True) -> Minibatch:
        if self._position >= self.num_batches_here:
            self._next_pass()
            raise StopIteration
        place = self._options.slot + self._position * self._options.num_slots
        size = self._size(self.pass_number)
        number, added = place % size, place >= size
        if self.pass_number in self._read:
            if self._left is None:
                self._left = np.setdiff1d(np.arange(self._total), self._read[self.pass_number])
            number = int(self._left[number])
        if not wanted:
            batch: Minibatch = {}, None
        elif added and self._options.uneven == "pad":
            rows = np.zeros(self.batch_size, np.int64)
            batch = map_tree(lambda leaf: take_rows(leaf, rows), self.peek()), rows != 0
        else:
            batch = self._minibatch(number)
        self._position += 1
        self.last = self.pass_number, None if added else number
        return batch

    def _minibatch(self, number: int) -> Minibatch:
        indices = self._indices(number)
        tree, good = self._data.gather(indices)
        return pad(tree, len(indices), self.batch_size, good)

    def restart(self) -> None:
        if self._position:
            self._next_pass()

    def state_dict(self) -> dict[str, Any]:
        return {
            "made_with": self._made_with(),
            "seed": self._seed,
            "pass": self.pass_number,
            "position": self._position,
            "read": pack_numbers(self._read),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        check_same(self._options.who, state, self._made_with())
        self._seed, self.pass_number, self._position = state["seed"], state["pass"], state["position"]
        self._read = unpack_numbers(state["read"])
        self._order = self._left = None

    def divide_anew(self, states: list[dict[str, Any]], given_back: list[GivenBack]) -> dict[str, Any]:
        own = self._made_with()
        slots = []
        for state in states:
            check_same(self._options.who, state, {key: own[key] for key in own if key not in ("slot", "num_slots")})
            slot, num_slots = state["made_with"]["slot"], state["made_with"]["num_slots"]
            read = unpack_numbers(state["read"])
            slots.append(Progress(slot, num_slots, state["pass"], state["position"], 0, read, {}))
        pass_number, read = what_was_read(slots, [minibatch[:2] for minibatch in given_back], self._total)
        return {
            "made_with": own,
            "seed": states[0]["seed"],
            "pass": pass_number,
            "position": 0,
            "read": pack_numbers(read),
        }

    def close(self) -> None:
        self._data.close()

    def _indices(self, number: int) -> np.ndarray:
        start = number * self.batch_size
        stop = min(start + self.batch_size, len(self._data))
        if not self._options.shuffle:
            return np.arange(start, stop)
        if self._order is None:
            self._order = pass_rng(self._seed, self.pass_number).permutation(len(self._data))
        return self._order[start:stop]

    def _size(self, pass_number: int) -> int:
        """Returns the minibatches of all slots in a pass, before it is made even."""
        return self._total - len(self._read.get(pass_number, ()))

    def _count(self, pass_number: int) -> int:
        return self._options.count_for_slot(self._size(pass_number))

    def _next_pass(self) -> None:
        self._read.pop(self.pass_number, None)
        self.pass_number, self._position, self._order, self._left = self.pass_number + 1, 0, None, None

    def _made_with(self) -> dict[str, Any]:
        return {**self._options.made_with(), "num_samples": len(self._data)}
