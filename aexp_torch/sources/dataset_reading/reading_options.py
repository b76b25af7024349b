"""ReadingOptions: how a dataset is to be read, checked once at the border."""

from dataclasses import dataclass
from typing import Any

from aexp_torch.errors import SpecError

__all__ = ["ReadingOptions", "count_for_slot"]


@dataclass(frozen=True)
class ReadingOptions:
    """Collects the arguments of `open_reader`, which explains them."""

    batch_size: int | None
    shuffle: bool
    seed: int
    slot: int
    num_slots: int
    drop_last: bool
    shuffle_buffer: int
    text_length: int | None
    who: str

    def __post_init__(self):
        for name in ("batch_size", "num_slots", "shuffle_buffer", "text_length"):
            self._at_least_one(name, getattr(self, name))
        if not 0 <= self.slot < self.num_slots:
            raise SpecError(f"{self.who}: expected slot in 0..{self.num_slots - 1}, got {self.slot!r}.")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise SpecError(f"{self.who}: expected seed to be an integer from 0 on, got {self.seed!r}.")

    def _at_least_one(self, name: str, value: Any) -> None:
        optional = name in ("batch_size", "text_length")
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise SpecError(f"{self.who}: expected {name} to be an integer from 1 on, got {value!r}.")

    def made_with(self) -> dict[str, Any]:
        """Returns what has to be equal where a state is taken and where it is loaded."""
        names = ("batch_size", "shuffle", "slot", "num_slots", "drop_last")
        return {name: getattr(self, name) for name in names}

    def count_batches(self, num_samples: int, batch_size: int) -> int:
        """Returns the number of minibatches that all slots together see in a pass over `num_samples`."""
        return num_samples // batch_size if self.drop_last else -(-num_samples // batch_size)


def count_for_slot(total: int, options: ReadingOptions) -> int:
    """Returns how many of `total` minibatches are slot s's: s, s + N, s + 2N, ..."""
    return len(range(options.slot, total, options.num_slots))
