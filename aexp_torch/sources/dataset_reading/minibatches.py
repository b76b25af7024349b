"""Minibatches of a stream: of samples, which are put together here, or of a DataLoader's batches, which are not."""

from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.padding import pad
from aexp_torch.sources.dataset_reading.reader import Minibatch
from aexp_torch.sources.dataset_reading.reading_options import ReadingOptions
from aexp_torch.sources.dataset_reading.resumable_stream import ResumableStream
from aexp_torch.sources.dataset_reading.sample_format import Blank, copy_leaf, stack_trees
from aexp_torch.sources.dataset_reading.shuffle_buffer import ShuffleBuffer
from aexp_torch.specs import flatten, map_tree

__all__ = ["CollatedBatches", "SampleBatches"]


class SampleBatches:
    """Collects `batch_size` samples at a time."""

    def __init__(self, order: ResumableStream | ShuffleBuffer, example: dict[str, Any], options: ReadingOptions):
        self.order, self.batch_size, self._drop_last = order, options.batch_size or 1, options.drop_last
        self.example = stack_trees([example])

    def read(self) -> list[dict[str, Any]] | None:
        """Returns the samples of the next minibatch, None at the end of the pass."""
        samples: list[dict[str, Any]] = []
        while len(samples) < self.batch_size and self.order.has_next():
            samples.append(self.order.next())
        too_few = len(samples) < self.batch_size and self._drop_last
        return samples if samples and not too_few else None

    def collate(self, samples: list[dict[str, Any]]) -> Minibatch:
        """Returns the minibatch and its mask."""
        good = np.array([not isinstance(sample, Blank) for sample in samples])
        return pad(stack_trees(samples), len(samples), self.batch_size, None if good.all() else good)


class CollatedBatches:
    """Takes a DataLoader's batches as they are; shorter ones are padded to its batch size."""

    def __init__(self, stream: ResumableStream, batch_size: int | None, who: str):
        self.order, self._who = stream, who
        self.batch_size = batch_size or self._num_rows(stream.example)
        self.example, _ = self.collate(stream.example)

    def read(self) -> dict[str, Any] | None:
        """Returns the next batch, None at the end of the pass."""
        return self.order.next() if self.order.has_next() else None

    def collate(self, batch: dict[str, Any]) -> Minibatch:
        """Returns the minibatch and its mask."""
        num_rows = self._num_rows(batch)
        if not 0 < num_rows <= self.batch_size:
            raise SpecError(
                f"{self._who}: expected batches of 1 to {self.batch_size} rows from the DataLoader, got {num_rows}. "
                "Let its batch sampler give its largest batch first, or batches of one size."
            )
        good = np.zeros(num_rows, np.bool_) if isinstance(batch, Blank) else None
        return pad(map_tree(copy_leaf, batch), num_rows, self.batch_size, good)

    def _num_rows(self, batch: dict[str, Any]) -> int:
        lengths = {len(leaf) for _, leaf in flatten(batch)}
        if len(lengths) != 1:
            raise SpecError(
                f"{self._who}: expected equal leading axes in a batch of the DataLoader, got {sorted(lengths)}. "
                "Let its collate_fn put the batch axis first."
            )
        return lengths.pop()
