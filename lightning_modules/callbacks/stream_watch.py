"""StreamWatch: episodes, interactions and samples, counted from the batches that go by."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from aexp_torch import Env, EnvSpec, TimeStep, Trajectory
from aexp_torch.loading import EpisodeCounter
from aexp_torch.specs import flatten

__all__ = ["FinishedEpisode", "StreamWatch", "specs_of"]


class FinishedEpisode(NamedTuple):
    """One finished episode of a source.

    Args:
      source: its name.
      episodic_return: sum of rewards, in the source's units.
      episodic_length: number of transitions.
      env_steps: interactions with this source, all lanes together, when the episode ended.
    """

    source: str
    episodic_return: float
    episodic_length: int
    env_steps: int


class StreamWatch:
    """Counts per source what batches contain; episodes are followed per source, slot and lane.

    A batch is a TimeStep, a Trajectory (whose first timestep was the last of the one before and is not counted again),
    or a tuple, list or dict of such; anything else is let pass.

    Args:
      specs: of the sources, where known: a source without actions has no episodes and no interactions.
    """

    def __init__(self, specs: Mapping[str, EnvSpec] | None = None):
        self.specs: Mapping[str, EnvSpec] = {} if specs is None else specs
        self.env_steps: dict[str, int] = {}
        self.samples: dict[str, int] = {}
        self._counters: dict[str, dict[int, EpisodeCounter]] = {}

    def update(self, batch: Any) -> list[FinishedEpisode]:
        """Counts a batch and returns the episodes that end in it."""
        finished: list[FinishedEpisode] = []
        for source, slot, timesteps in _streams_in(batch):
            for timestep in timesteps:
                rows = _rows_present(timestep.observation, timestep.step_type)
                if self.is_interactive(source):
                    moved = ~timestep.first()
                    self.env_steps[source] = self.env_steps.get(source, 0) + int(moved.sum())
                    rows = rows & moved
                    finished += self._finish(source, slot, timestep)
                self.samples[source] = self.samples.get(source, 0) + int(rows.sum())
        return finished

    def is_interactive(self, source: str) -> bool:
        """Tells whether a source is answered; one that nothing is known of is taken to be."""
        spec = self.specs.get(source)
        return spec is None or bool(spec.action)

    def _finish(self, source: str, slot: int, timestep: TimeStep) -> list[FinishedEpisode]:
        slots = self._counters.setdefault(source, {})
        counter = slots.get(slot)
        if counter is None:
            counter = slots[slot] = EpisodeCounter()
        ended = counter.update(timestep)
        steps = self.env_steps[source]
        return [FinishedEpisode(source, end.episodic_return, end.episodic_length, steps) for end in ended]

    def state_dict(self) -> dict:
        """Returns the counts and the episodes under way."""
        return {
            "env_steps": dict(self.env_steps),
            "samples": dict(self.samples),
            "counters": {
                source: {slot: counter.state_dict() for slot, counter in slots.items()}
                for source, slots in self._counters.items()
            },
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.env_steps, self.samples = dict(state["env_steps"]), dict(state["samples"])
        self._counters = {}
        for source, slots in state["counters"].items():
            self._counters[source] = {slot: EpisodeCounter() for slot in slots}
            for slot, counter in self._counters[source].items():
                counter.load_state_dict(slots[slot])


def specs_of(loaders: Any) -> Mapping[str, EnvSpec]:
    """Finds the specs of the sources in a loader, or in a tuple, list or dict of loaders; none is made for it."""
    if isinstance(loaders, Mapping | list | tuple):
        members: Iterable[Any] = loaders.values() if isinstance(loaders, Mapping) else loaders
        return ChainMap(*(cast(MutableMapping, specs_of(member)) for member in members))
    if isinstance(loaders, DataLoader):
        return specs_of(loaders.dataset) if isinstance(loaders.dataset, Env) else {}
    for name in ("streams", "loader"):  # a DataModule's feed, a drive
        loaders = getattr(loaders, name, loaders)
    specs = getattr(loaders, "specs", None)
    return specs if isinstance(specs, Mapping) else {}


def _items_in(batch: Any) -> Iterator[TimeStep | Trajectory]:
    if isinstance(batch, TimeStep | Trajectory):
        yield batch
    elif isinstance(batch, Mapping):
        for member in batch.values():
            yield from _items_in(member)
    elif isinstance(batch, list | tuple):
        for member in batch:
            yield from _items_in(member)


def _streams_in(batch: Any) -> Iterator[tuple[str, int, list[TimeStep]]]:
    """Yields the source, the slot and the timesteps [B, ...] that are new."""
    for item in _items_in(batch):
        if isinstance(item, Trajectory):
            yield item.source, item.slot, _unstack(item.timesteps)
        elif item.ticket is not None:
            yield item.source, item.ticket.slot, [item]


def _unstack(timesteps: TimeStep) -> list[TimeStep]:
    """Returns timesteps 1..T of [T + 1, B, ...]; of the observations only masks, which is all that is counted."""
    masks = {path[-1]: leaf.cpu() for path, leaf in flatten(timesteps.observation) if _is_mask(path, leaf)}
    everywhere = any(
        leaf is not None and not _is_mask(path, leaf) and f"mask:{path[-1]}" not in masks
        for path, leaf in flatten(timesteps.observation)
    )
    step_type, reward, discount = (field.cpu() for field in timesteps[:3])
    rows = [{} if everywhere else {key: mask[t] for key, mask in masks.items()} for t in range(len(step_type))]
    return [TimeStep(step_type[t], reward[t], discount[t], rows[t]) for t in range(1, len(rows))]


def _is_mask(path: tuple, leaf: Tensor | None) -> bool:
    return leaf is not None and path[-1].startswith("mask:")


def _rows_present(observation: dict, step_type: Tensor) -> Tensor:
    """Returns bool [B]: rows in which there is anything."""
    leaves = {path: leaf for path, leaf in flatten(observation) if leaf is not None}
    masks = [leaf for path, leaf in leaves.items() if path[-1].startswith("mask:")]
    plain = [path for path in leaves if not path[-1].startswith("mask:")]
    if not masks or any((*path[:-1], f"mask:{path[-1]}") not in leaves for path in plain):
        return torch.ones_like(step_type, dtype=torch.bool)
    return torch.stack(masks).any(0)
