"""Replay: what was recorded, of several sources, in memory or on disk; agents sample from it."""

import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.replay.disk_rows import HEADER
from aexp_torch.replay.header import read_header, write_header
from aexp_torch.replay.samplers import Sampler
from aexp_torch.replay.schema import Schema
from aexp_torch.replay.shelf import Shelf
from aexp_torch.replay.table import Table
from aexp_torch.specs import EnvSpec, map_tree
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import TimeStep

__all__ = ["Record", "Replay"]

SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."


class Record(NamedTuple):
    """Tells a hook what has just been stored.

    Args:
      timestep: the one that was stored, with its ticket.
      action: the answer that led to it; None where there was none.
      rows: int64 [n]: the numbers of its rows, one per lane that moved.
    """

    timestep: TimeStep
    action: dict | None
    rows: np.ndarray


class Replay:
    """Keeps timesteps and the answers between them, per source and lane, and samples from them.

    Args:
      capacity: rows (a timestep of one lane each) that count, per source; the oldest make room. None: all, on disk.
      sampler: how to draw; a copy is used.
      path: a folder; None for memory.
      slot: writes into a folder of its own for each source: `path/<source>/<slot>`. None: only reads, all slots.
      seeds: of draws.
      hooks: called with a Record after everything that is stored.
      specs: of the sources that will be stored. Their tables are made when they are first needed: who only asks for
        specs leaves the folder alone.
    """

    def __init__(
        self,
        capacity: int | None,
        sampler: Sampler,
        path: Path | None,
        slot: int | None,
        seeds: np.random.SeedSequence,
        hooks: Sequence[Callable[[Record], Any]] = (),
        specs: dict[str, EnvSpec] | None = None,
    ):
        self.capacity, self.path, self.slot, self.hooks = capacity, path, slot, hooks
        self._specs = specs or {}
        self._given_sampler, self.sampler = sampler, copy.deepcopy(sampler)
        self._generator = np.random.default_rng(seeds)
        self._shelf = Shelf()
        self._pending: dict[str, dict | None] = {}  # answers, by source and slot, to what was stored last
        self.tables: dict[str, list[Table]] = {}
        if slot is None:
            self.refresh()

    # Writing.

    def add(self, timestep: TimeStep, moving: Tensor | None = None) -> None:
        """Stores a timestep of a source whose spec is known, and the answer that led to it.

        Args:
          timestep: on any device.
          moving: bool [B], lanes that are stored; None for all.
        """
        source, slot, key = place_of(timestep)
        stored = timestep if timestep.step_type.device.type == "cpu" else timestep.to("cpu")
        action = self._pending.get(key)
        rows = self.of(source)[0].append(stored, action, slot, None if moving is None else moving.numpy())
        if self.hooks:
            record = Record(timestep, action, rows)
            for hook in self.hooks:
                hook(record)

    def answer(self, timestep: TimeStep, action: dict) -> None:
        """Keeps the answer to a timestep until the next of its stream is stored."""
        self._pending[place_of(timestep)[2]] = action

    def append(self, timestep: TimeStep, action: Any, spec: EnvSpec | None = None) -> None:
        """Stores a timestep, for an agent that keeps its own replay, with the answer that it gave to it."""
        if action is not None and not isinstance(action, dict):
            action = {"action": action}
        action = map_tree(lambda leaf: torch.as_tensor(leaf).detach().cpu(), action or {})
        if self.slot is None:
            raise SpecError(f"ReplayBuffer: expected mode='record' to store anything, {self.path} was opened to read.")
        source = place_of(timestep)[0]
        if source not in self._specs:
            self._specs[source] = spec or infer_spec(timestep, action)
        self.add(timestep)
        self.answer(timestep, action)

    def _make(self, source: str) -> Table:
        schema = Schema(source, self._specs[source])
        if self.path is not None:
            folder = self.path / quoted(source) / str(self.slot)
            return Table.on_disk(folder, self.capacity, schema, self.slot, writable=True)
        if self.capacity < 2 * schema.num_envs:
            raise SpecError(
                f"ReplayBuffer: expected a capacity of at least two timesteps of {schema.source!r}, which has"
                f" {schema.num_envs} lanes, got {self.capacity}. It counts timesteps of one lane."
            )
        return Table.in_memory(schema, self.capacity)

    # Reading.

    def refresh(self) -> None:
        """Looks for what other processes have written, where this only reads."""
        if self.slot is not None or self.path is None:
            return
        known = {table.rows.folder for tables in self.tables.values() for table in tables}
        for header in sorted(self.path.glob(f"*/*/{HEADER}"), key=slot_of):
            if header.parent.resolve() not in known:
                table = Table.on_disk(header.parent, self.capacity)
                self.tables.setdefault(table.schema.source, []).append(table)
        for tables in self.tables.values():
            for table in tables:
                table.refresh()

    def of(self, source: str | None) -> list[Table]:
        """Returns the tables of a source; None for the only one there is."""
        source = self._only(source)
        if source in self._specs and source not in self.tables:
            self.tables[source] = [self._make(source)]
        if source not in self.tables:
            wanted = "one source" if source is None else repr(source)
            where = "" if self.path is None else f" in {self.path}"
            known = sorted({*self._specs, *self.tables})
            raise SpecError(
                f"ReplayBuffer: expected {wanted} among what was recorded{where}, there are {known}."
                + (" Name one of them." if known else " Record something first.")
            )
        return self.tables[source]

    def _only(self, source: str | None) -> str | None:
        known = list(dict.fromkeys([*self._specs, *self.tables]))
        return known[0] if source is None and len(known) == 1 else source

    def spec(self, source: str | None) -> EnvSpec:
        """Returns the spec of a source; None for the only one there is."""
        known = self._specs.get(self._only(source))
        return known or self.of(source)[0].schema.spec

    def make_all(self) -> None:
        """Makes the tables of all sources whose specs are known."""
        for source in self._specs:
            self.of(source)

    def sample(self, batch_size: int, source: str | None = None) -> Any:
        """Returns a batch, as the sampler makes it; see `ReplayBuffer.sample`."""
        self.refresh()
        return self.sampler.sample(self.of(source), batch_size, self._generator, self._shelf)

    def update_priorities(self, rows: Tensor, priorities: Tensor, source: str | None = None) -> None:
        """Sets priorities; see `ReplayBuffer.update_priorities`."""
        rows, priorities = (torch.as_tensor(each).detach().cpu() for each in (rows, priorities))
        self.sampler.update_priorities(self.of(source), rows.numpy(), priorities.double().numpy())

    def num_timesteps(self) -> dict[str, int]:
        """Returns how many rows count, by source."""
        self.refresh()
        self.make_all()
        return {
            source: sum(table.links.end - table.links.begin for table in tables)
            for source, tables in self.tables.items()
        }

    # Everything else.

    def flush(self) -> None:
        """Waits until everything is on the disk."""
        for tables in self.tables.values():
            for table in tables:
                table.rows.flush()

    def close(self) -> None:
        """Lets files go."""
        for tables in self.tables.values():
            for table in tables:
                table.rows.close()
        self.tables = {}

    def state_dict(self) -> dict:
        """Returns what is stored (or where), and the generator's and the sampler's state."""
        self.make_all()
        tables = self.tables.items()
        return {
            "headers": {source: write_header(of[0].schema, 0) for source, of in tables},
            "tables": {source: [table.state_dict() for table in of] for source, of in tables},
            "sampler": {source: self.sampler.state_dict(of) for source, of in tables},
            "generator": pack_generator(self._generator),
            "pending": dict(self._pending),
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        for source in set(self.tables) - set(state["tables"]):  # not known yet, then
            del self.tables[source]
            self._specs.pop(source, None)
        for source, saved in state["tables"].items():
            if source not in self._specs and self.slot is not None:
                self._specs[source] = read_header(state["headers"][source], "the state")[0].spec
            for table, packed in zip(self.of(source), saved):
                table.load_state_dict(packed)
        self.sampler = copy.deepcopy(self._given_sampler)
        for source, packed in state["sampler"].items():
            self.sampler.load_state_dict(packed, self.of(source))
        self._generator = unpack_generator(state["generator"])
        self._pending = dict(state["pending"])


def place_of(timestep: TimeStep) -> tuple[str, int, str]:
    """Returns source, slot and the name of the stream of a timestep; one without a ticket is of `replay`."""
    source, slot = timestep.source or "replay", 0 if timestep.ticket is None else timestep.ticket.slot
    return source, slot, f"{source}/{slot}"


def infer_spec(timestep: TimeStep, action: dict) -> EnvSpec:
    """Returns an unbounded spec that a timestep and an answer have."""

    def leaf(value: Tensor | None) -> dm_specs.Array:
        if value is None:
            raise SpecError("ReplayBuffer: expected a spec= where the first timestep lacks a key, got none.")
        return dm_specs.Array(tuple(value.shape[1:]), torch.empty(0, dtype=value.dtype).numpy().dtype)

    return EnvSpec(map_tree(leaf, timestep.observation), map_tree(leaf, action) or {}, num_envs=len(timestep.step_type))


def quoted(source: str) -> str:
    """Returns a source's name as that of a folder."""
    text = "".join(chr(byte) if chr(byte) in SAFE else f"%{byte:02x}" for byte in source.encode())
    return text if text.strip(".") else "".join(f"%{byte:02x}" for byte in source.encode())


def slot_of(header: os.PathLike) -> tuple:
    """Returns the order of headers: by source, then slot."""
    folder = Path(header).parent
    return folder.parent.name, int(folder.name) if folder.name.isdigit() else -1
