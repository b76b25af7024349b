"""LoaderPasses: a torch DataLoader that is read again and again, without touching it or the global generator."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler

from aexp_torch.sources.dataset_reading.iterable_passes import private_copy
from aexp_torch.sources.dataset_reading.pass_seed import pass_seed
from aexp_torch.sources.dataset_reading.plain_values import from_plain, to_plain

__all__ = ["LoaderPasses"]


class LoaderPasses:
    """Begins the passes of one DataLoader on a shallow copy, and takes and restores its state.

    A loader and a sampler without a generator get one that is seeded for each pass. One that was given is cloned and
    goes on from pass to pass as it would outside (a StatefulDataLoader's: in its first pass). A sampler with
    `set_epoch` is told the pass. What is random elsewhere (a sampler of one's own without `generator`, augmentation in
    the main process) is not seeded here.
    """

    begins_again = False

    def __init__(self, loader: DataLoader, seed: int, who: str):
        self._given, self._who, self.seed = loader, who, seed
        self.outlives_errors = not isinstance(loader.dataset, IterableDataset)
        self._per_pass: dict[str, torch.Generator] = {}
        self._clones: dict[tuple[int, str], torch.Generator] = {}
        self._starts: list[torch.Tensor] = []
        self.renew()

    def renew(self) -> None:
        """Takes a fresh copy of the loader; cloned generators go on."""
        loader = copy.copy(self._given)
        own: dict[str, Any] = {"_iterator": None, "generator": self._own_generator(loader.generator, "loader")}
        own["sampler"] = self._own_sampler(loader.sampler)
        own["batch_sampler"] = self._own_sampler(loader.batch_sampler)
        if hasattr(own["batch_sampler"], "sampler"):
            own["batch_sampler"].sampler = own["sampler"]
        if isinstance(loader.dataset, IterableDataset):
            own["dataset"] = private_copy(loader.dataset, self._who)
        loader.__dict__.update(own)  # past DataLoader.__setattr__, which forbids it
        self._loader = loader

    def begin(self, pass_number: int) -> Iterator:
        """Returns an iterator over pass number `pass_number`."""
        for generator in self._per_pass.values():
            generator.manual_seed(pass_seed(self.seed, pass_number))
        self._starts = self._generator_states()
        for part in (self._loader.sampler, self._loader.batch_sampler):
            if hasattr(part, "set_epoch"):
                part.set_epoch(pass_number)
        return iter(self._loader)

    def state(self, iterator: Iterator | None) -> dict[str, Any]:
        """Returns the state in the middle of a pass, or (without an iterator) between two."""
        if iterator is None:
            return {"generators": self._generator_states()}
        state: dict[str, Any] = {"generators": [start.clone() for start in self._starts]}
        if hasattr(self._loader, "state_dict"):
            state["dataset"] = to_plain(self._loader.state_dict(), self._who)
        return state

    def resume(self, pass_number: int, state: dict[str, Any]) -> tuple[Iterator, bool]:
        """Returns an iterator, and whether it goes on where `state` was taken (else it is at the beginning)."""
        for generator, start in zip(self._clones.values(), state["generators"]):
            generator.set_state(start)
        if "dataset" in state:
            self._loader.load_state_dict(from_plain(state["dataset"]))  # type: ignore[attr-defined]
        return self.begin(pass_number), "dataset" in state

    def _own_sampler(self, sampler: Any) -> Any:
        if not isinstance(sampler, Sampler):
            return sampler
        own: Any = copy.copy(sampler)
        if hasattr(own, "generator"):
            # torchdata's sampler draws a seed from the global generator where the user gave none
            unseeded = type(own).__module__.startswith("torchdata") and self._given.generator is None
            own.generator = self._own_generator(None if unseeded else own.generator, "sampler")
        return own

    def _own_generator(self, given: torch.Generator | None, role: str) -> torch.Generator:
        # A state of torchdata's sampler leaves out what the loader draws: there the two must not share a generator.
        role = role if hasattr(self._given, "state_dict") else "both"
        if given is None:
            return self._per_pass.setdefault(role, torch.Generator())
        if (id(given), role) not in self._clones:
            self._clones[id(given), role] = torch.Generator()
            self._clones[id(given), role].set_state(given.get_state())
        return self._clones[id(given), role]

    def _generator_states(self) -> list[torch.Tensor]:
        return [generator.get_state() for generator in self._clones.values()]
