"""ReadingOptions: how a dataset is to be read, checked once at the border."""

from dataclasses import dataclass, field
from typing import Any, Literal

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.conversions import Conversions

__all__ = ["ReadingOptions"]


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
    who: str
    world_size: int = 1
    uneven: Literal["cycle", "pad", "stop"] = "cycle"
    in_turn: bool = False
    on_bad_sample: Literal["raise", "skip"] = "raise"
    max_bad_samples: int | None = 100
    read_timeout: float = 60.0
    conversions: Conversions = field(default_factory=Conversions)

    def __post_init__(self):
        for name in ("batch_size", "num_slots", "shuffle_buffer", "world_size"):
            self._at_least_one(name, getattr(self, name))
        self._at_least_one("text_length", self.conversions.text_length)
        for name, length in self.conversions.max_length.items():
            self._at_least_one(f"max_length[{name!r}]", length)
        if not self.read_timeout > 0:
            raise SpecError(f"{self.who}: expected read_timeout in seconds, above 0, got {self.read_timeout!r}.")
        for name, choices in (("uneven", ("cycle", "pad", "stop")), ("on_bad_sample", ("raise", "skip"))):
            if getattr(self, name) not in choices:
                raise SpecError(f"{self.who}: expected {name} to be one of {choices}, got {getattr(self, name)!r}.")
        if self.num_slots % self.world_size:
            raise SpecError(
                f"{self.who}: expected num_slots to be a multiple of world_size={self.world_size}, got {self.num_slots}."
            )
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
        """Returns the number of minibatches in a pass over `num_samples`."""
        return num_samples // batch_size if self.drop_last else -(-num_samples // batch_size)

    def evened(self, size: int) -> int:
        """Returns the length of a pass of `size` minibatches after it was made even: a multiple of `world_size`."""
        short = -size % self.world_size
        return size + short if self.uneven != "stop" or not short else size + short - self.world_size

    def count_for_slot(self, size: int) -> int:
        """Returns how many minibatches of such a pass are this slot's: those at places s, s + N, s + 2N, ..."""
        return len(range(self.slot, self.evened(size), self.num_slots))
