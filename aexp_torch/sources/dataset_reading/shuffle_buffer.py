"""ShuffleBuffer: samples of a stream in an order that is random within a window."""

from typing import Any

from aexp_torch.sources.dataset_reading.pass_seed import pass_rng
from aexp_torch.sources.dataset_reading.plain_values import from_plain, to_plain
from aexp_torch.sources.dataset_reading.resumable_stream import ResumableStream
from aexp_torch.sources.dataset_reading.sample_format import Blank, stack_trees
from aexp_torch.specs import map_tree

__all__ = ["ShuffleBuffer"]


class ShuffleBuffer:
    """Holds `size` samples and gives a random one of them; its content is part of its state.

    Source: the shuffle buffer of tf.data and WebDataset.
    """

    def __init__(self, stream: ResumableStream, size: int, seed: int, who: str):
        self._stream, self._size, self._who = stream, size, who
        self._seed, self._pass_number, self.known = seed, 0, stream.known
        self._rng = pass_rng(seed, 0)
        self._samples: list[dict[str, Any]] = []

    def has_next(self) -> bool:
        """Fills up, and says whether this pass has another sample."""
        while len(self._samples) < self._size and self._stream.has_next():
            self._samples.append(self._stream.next())
        return bool(self._samples)

    def next(self) -> dict[str, Any]:
        """Returns one of the samples held; only after `has_next` said so."""
        index = int(self._rng.integers(len(self._samples)))
        self._samples[index], self._samples[-1] = self._samples[-1], self._samples[index]
        return self._samples.pop()

    def next_pass(self) -> None:
        """Goes to the next pass, dropping what is left of this one."""
        self._stream.next_pass()
        self._pass_number += 1
        self._samples, self._rng = [], pass_rng(self._seed, self._pass_number)

    def state_dict(self) -> dict[str, Any]:
        return {
            "stream": self._stream.state_dict(),
            "seed": self._seed,
            "pass": self._pass_number,
            "rng": to_plain(self._rng.bit_generator.state, self._who),
            "blank": [isinstance(sample, Blank) for sample in self._samples],
            # stacked, because many small tensors would make a checkpoint slow
            "samples": to_plain(stack_trees(self._samples), self._who) if self._samples else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._stream.load_state_dict(state["stream"])
        self._seed, self._pass_number = state["seed"], state["pass"]
        self._rng.bit_generator.state = from_plain(state["rng"])
        stacked = from_plain(state["samples"])
        self._samples = []
        for index, blank in enumerate(state["blank"]):
            sample = map_tree(lambda leaf, i=index: leaf[i], stacked)
            self._samples.append(Blank(sample) if blank else sample)

    def close(self) -> None:
        self._stream.close()
