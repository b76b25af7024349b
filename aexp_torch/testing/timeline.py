"""timeline: what an environment does and what the agent sees, step by step, drawn in plain characters."""

import copy
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aexp_torch.composition import Composition
from aexp_torch.composition.composition import sources_of
from aexp_torch.drawing.words import brief
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream
from aexp_torch.specs import EnvSpec, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.sample import zeros
from aexp_torch.testing.tracks import IGNORED, Track, drawn, seen, symbol_of, told
from aexp_torch.timestep import TimeStep

__all__ = ["timeline"]

PAGE = 118


def timeline(
    env: Env,
    answers: Sequence[Any] | None = None,
    num_steps: int | None = None,
    *,
    environment: bool = True,
    specs: bool = True,
    keys: str = "*",
) -> str:
    """Runs a copy of an environment, and draws what its sources do and what the agent sees.

    Time goes to the right. A track has a lane's step types: F, M, and at the end L where it terminated, Lt where it was
    truncated; rows below it the values. Where a source makes several steps for one of the agent, its track has several
    places for it. `·` stands for a key that is absent in that lane; `--` for an answer that is ignored, to LAST.

    Args:
      env: what is run, as a copy.
      answers: to the agent's timesteps, in order, from the beginning again behind the last: a number or a list for every
        leaf of the action, or a tree with some of the leaves; others are 0. The default is 1, 2, 3, ... as far as the
        bounds go.
      num_steps: of the agent; the default is one for each answer, and one more.
      environment: draws the tracks of the sources, too.
      specs: writes the specs below and above `env` first.
      keys: a glob over the names of observations (`a/b` for nested ones): which are shown.

    >>> import aexp_torch as ae
    >>> from aexp_torch.testing import CountingEnv, timeline
    >>> print(timeline(CountingEnv(1, [2]).pipe(ae.ObserveReward), [1, 2, 3]))
    before  sees observation float32 []; answers action int64 [] 0..4
    after   sees observation float32 [], reward float32 []; answers action int64 [] 0..4
    <BLANKLINE>
    environment           F────M────L    F
      gets                     1    2
      shows observation   0    1    2    3
      reward              0    1    2    0
    agent                 F────M────L    F
      sees observation    0    1    2    3
      sees reward         0    1    2    0
      reward              0    1    2    0
      answers             1    2    --   1
    """
    env = copy.copy(env)
    env.open()
    watched = {source: _watch(source) for source in (sources_of(env) if environment else []) if source is not env}
    if num_steps is None:
        num_steps = 8 if answers is None else len(answers) + 1
    columns: list[Column] = []
    try:
        _run(env, answers, num_steps, watched, columns)
        said = [*_specs(env), ""] if specs else []
        tracks = [track for source in watched for track in _source_tracks(source, columns, keys, len(watched) > 1)]
        return "\n".join(line.rstrip() for line in [*said, *drawn([*tracks, *_agent_tracks(env, columns, keys)])])
    finally:
        env.close()


@dataclass
class Event:
    """Is a step of a source: the answer it got (None: a reset), and what it showed, in these lanes (None: all)."""

    action: dict | None
    lanes: Tensor | None
    timestep: TimeStep


@dataclass
class Column:
    """Is a step of the agent: what the sources did before it, what it showed, and how it was answered."""

    events: dict[Env, list[Event]]
    timestep: TimeStep
    action: dict = field(default_factory=dict)

    @property
    def width(self) -> int:
        """In places."""
        return max([1, *(len(events) for events in self.events.values())])


def _watch(source: Env) -> list[Event]:
    events: list[Event] = []
    other = source._observer

    def observe(action: dict | None, lanes: Tensor | None, timestep: TimeStep) -> None:
        if other is not None:
            other(action, lanes, timestep)
        events.append(Event(_cloned(action), lanes, _cloned(timestep)))

    source._observer = observe
    return events


def _cloned(value: Any) -> Any:
    if isinstance(value, TimeStep):
        return TimeStep._make([*(map_tree(_cloned, each) for each in value[:4]), value.ticket])
    if isinstance(value, dict):
        return map_tree(_cloned, value)
    return value.clone() if isinstance(value, Tensor) else value


def _run(env: Env, answers: Any, num_steps: int, watched: dict[Env, list[Event]], columns: list[Column]) -> None:
    try:
        for step in range(num_steps):
            timestep = env.step(columns[-1].action) if step else env.reset()
            columns.append(Column({source: events.copy() for source, events in watched.items()}, _cloned(timestep)))
            for events in watched.values():
                events.clear()
            columns[-1].action = _answer(env.specs[timestep.source], answers, step)
    except EndOfStream:
        return


def _answer(spec: EnvSpec, answers: Sequence[Any] | None, step: int) -> dict:
    """Returns the answer to step number `step`, for all lanes."""
    given: Any = answers[step % len(answers)] if answers else None
    filled = zeros(spec.action, spec.num_envs)
    known = dict(flatten(given)) if isinstance(given, Mapping) else None
    leaves = []
    for (path, blank), (_, leaf) in zip(flatten(filled), flatten(spec.action), strict=True):
        value = given if known is None else known.get(path, 0)
        if value is None:  # 1, 2, 3, ... within the bounds
            value = (step + 1) % (int(np.max(leaf.maximum)) + 1 if hasattr(leaf, "num_values") else 10)
        value = torch.as_tensor(value).to(blank.dtype)
        leaves.append((path, value.broadcast_to(blank.shape).clone()))
    return unflatten(leaves) or {}


def _source_tracks(source: Env, columns: list[Column], keys: str, is_named: bool) -> list[Track]:
    spec = source.specs[source.name]
    tracks = []
    for lane in range(spec.num_envs):
        heading = source.name if is_named else "environment"
        track = Track(heading + f", lane {lane}" * (spec.num_envs > 1), sum(column.width for column in columns))
        place = 0
        for column in columns:
            for ahead, event in enumerate(column.events[source]):
                if event.lanes is None or event.lanes[lane]:
                    symbol = symbol_of(event.timestep, lane)
                    gets = told(event.action or {}, spec.action, lane, "gets")
                    if event.action is None or symbol == "F":
                        gets = dict.fromkeys(gets, "")
                    track.put(place + ahead, symbol, gets | seen(spec, event.timestep, lane, "shows", keys))
            place += column.width
        tracks.append(track)
    return tracks


def _agent_tracks(env: Env, columns: list[Column], keys: str) -> list[Track]:
    lanes = max(spec.num_envs for spec in env.specs.values())
    tracks = []
    for lane in range(lanes):
        is_mixed = len(env.specs) > 1
        heading = "agent" + f", lane {lane}" * (lanes > 1)
        track = Track(heading, sum(column.width for column in columns), not is_mixed)
        place = -1
        for column in columns:
            place += column.width
            timestep, spec = column.timestep, env.specs[column.timestep.source]
            if lane >= spec.num_envs:
                continue
            symbol = symbol_of(timestep, lane)
            answers = told(column.action, spec.action, lane, "answers")
            if symbol[0] == "L":
                answers = dict.fromkeys(answers, IGNORED)
            source = {"source": timestep.source} if is_mixed else {}
            track.put(place, symbol, source | seen(spec, timestep, lane, "sees", keys) | answers)
        tracks.append(track)
    return tracks


# Specs.


def _specs(env: Env) -> list[str]:
    """Says what the environment is given, and what it gives."""
    children = env.environments if isinstance(env, Composition) else env.children
    before = [(name, spec) for child in children for name, spec in child.specs.items()]
    parts = [("before" if len(before) == 1 else name, spec) for name, spec in before]
    after = list(env.specs.items())
    if [spec for _, spec in before] != [spec for _, spec in after]:
        if len(after) == 1:
            parts.append(("after" if before else "specs", after[0][1]))
        if len(after) > 1 and len(after) == len(before):
            parts += [(f"{name} after", spec) for name, spec in after]
    elif len(before) == 1:
        parts = [("before and after", before[0][1])]
    label = max(len(name) for name, _ in parts) + 2
    lines = []
    for name, spec in parts:
        lines += textwrap.wrap(_said(spec), PAGE, initial_indent=name.ljust(label), subsequent_indent=" " * label)
    return lines


def _said(spec: EnvSpec) -> str:
    sides = []
    for verb, side in (("sees", "observation"), ("answers", "action")):
        optional = {path: modality.optional for path, modality in flatten(spec.modalities[side])}
        leaves = [
            f"{path_name(path)} {brief(leaf)}" + " (optional)" * optional[path]
            for path, leaf in flatten(getattr(spec, side))
        ]
        sides.append(f"{verb} {', '.join(leaves) or 'nothing'}")
    return "; ".join(sides)
