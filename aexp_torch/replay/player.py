"""Player: a source that shows stored episodes again."""

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.replay.batches import INDEX_BITS
from aexp_torch.replay.schema import DISCOUNT, PRESENT, REWARD, STEP_TYPE
from aexp_torch.replay.store import Replay
from aexp_torch.specs import EnvSpec, flatten, map_tree, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.specs.sample import zeros
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["RECORDED", "Player"]

RECORDED = "action:recorded"


class Player(Env):
    """Shows the stored episodes of one source, one after the other in each lane; answers are checked and ignored.

    A lane that is free takes the next episode in the order in which they began; behind the last comes the first again.
    So a recording is shown as it was. What is stored of an episode without its end ends with truncated; an episode whose
    beginning has made room begins where it is still there. If the step that is due has made room meanwhile, the lane
    repeats its last observation as LAST, with reward 0 and discount 1.

    Args:
      shuffle: lanes take episodes at random instead.
      options: as for every Env.

    Whoever opens it sets `replay`, and `recorded`, the name of the source that is shown (None for the only one).
    """

    lane_control = True

    def __init__(self, shuffle: bool, **options: Any):
        super().__init__(**options)
        self.shuffle = shuffle

    def on_open(self) -> None:
        """Starts before the first episode."""
        self.replay: Replay | None = None
        self.recorded: str | None = None
        self._generator = np.random.default_rng(self.seeds(zlib.crc32(b"Player")))
        self._begun: int | None = None  # the beginning of the episode that was taken last
        self._rows: np.ndarray | None = None  # what each lane shows: table and row, as an index

    def make_specs(self) -> dict[str, EnvSpec]:
        """Adds the recorded action to the observation of what was recorded."""
        spec = self.replay.spec(self.recorded)
        if not spec.action:
            return {self.name: spec}
        tree = recorded_tree(spec.action)
        new = with_sides(spec, observation={**spec.observation, RECORDED: tree})
        modalities = recorded_tree(spec.modalities["action"])
        new.modalities["observation"][RECORDED] = map_tree(lambda each: replace(each, optional=True), modalities)
        return {self.name: new}

    def ready(self) -> bool:
        """Whether there is an episode to be shown."""
        return any(table.links.count for table in self.replay.of(self.recorded))

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Takes new episodes."""
        num_envs = self.specs[self.name].num_envs
        moving = np.ones(num_envs, bool) if lanes is None else lanes.numpy()
        if lanes is None:
            self._begun, self._rows = None, np.zeros(num_envs, np.int64)
        return self._show(moving, moving)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Shows the next steps."""
        last = self._outstanding.last().numpy()
        moving = np.ones(len(last), bool) if lanes is None else lanes.numpy()
        return self._show(moving, moving & last)

    def _show(self, moving: np.ndarray, begin: np.ndarray) -> TimeStep:
        self.replay.refresh()
        tables = self.replay.of(self.recorded)
        lost = np.zeros(len(moving), bool)
        rows = self._rows.copy()
        for lane in np.flatnonzero(begin):
            rows[lane] = self._take_episode()
        for number, table in enumerate(tables):
            here = moving & ~begin & (rows >> INDEX_BITS == number)
            ids = rows[here] & ((1 << INDEX_BITS) - 1)
            lost[here] = ids < table.links.begin
            rows[here] += table.links.distance(ids)
        shows = ~lost & moving
        self._rows = rows
        timestep = self._timestep(np.where(shows, rows, rows[np.argmax(shows)]), begin)
        if lost.any():
            gone = self._outstanding._replace(
                step_type=torch.full((len(lost),), StepType.LAST, dtype=torch.int8),
                reward=torch.zeros(len(lost)),
                discount=torch.ones(len(lost)),
                observation=without_recorded(self._outstanding.observation, self.specs[self.name]),
            )
            timestep = merge(from_numpy(~lost), timestep, gone)
        return timestep if moving.all() else merge(from_numpy(moving), timestep, self._outstanding)

    def _episodes(self) -> np.ndarray:
        """Returns where episodes begin, as indices in order."""
        tables = self.replay.of(self.recorded)
        return np.concatenate(
            [table.links.beginnings() | (number << INDEX_BITS) for number, table in enumerate(tables)]
        )

    def _take_episode(self) -> int:
        episodes = self._episodes()
        if not len(episodes):
            raise SpecError(
                f"ReplayBuffer: expected an episode of {self.recorded or 'the recorded source'!r} to show again, nothing"
                " longer than one timestep is stored. Record first (mode='record')."
            )
        if self.shuffle:
            return int(episodes[self._generator.integers(len(episodes))])
        place = self.slot
        if self._begun is not None:
            place = int(np.searchsorted(episodes, self._begun, "right")) + self.num_slots - 1
        self._begun = int(episodes[place % len(episodes)])
        return self._begun

    def _timestep(self, rows: np.ndarray, begin: np.ndarray) -> TimeStep:
        """Returns the rows as a timestep, the recorded answers to them in its observation."""
        schema = self.replay.of(self.recorded)[0].schema
        distance = self._distance(rows)
        recorded_type, reward, discount = (self._take(column, rows) for column in (STEP_TYPE, REWARD, DISCOUNT))
        step_type = np.where(distance == 0, StepType.LAST, StepType.MID).astype(np.int8)
        cut = (distance == 0) & (recorded_type != StepType.LAST)
        reward, discount = np.where(begin, np.float32(0), reward), np.where(begin | cut, np.float32(1), discount)
        step_type[begin] = StepType.FIRST
        values = [self._take(column, rows) for column in schema.observation]
        plain = all(table.plain for table in self.replay.of(self.recorded))
        observation = schema.put_together(values, None if plain else self._take(PRESENT, rows))
        if schema.answers:
            there = distance > 0
            action = schema.actions([self._take(column, rows + distance) for column in schema.action])
            observation |= recorded_observation(action, from_numpy(there), self.specs[self.name])
        return TimeStep(from_numpy(step_type), from_numpy(reward), from_numpy(discount), observation)

    def _take(self, column: int, rows: np.ndarray) -> np.ndarray:
        tables = self.replay.of(self.recorded)
        ids = rows & ((1 << INDEX_BITS) - 1)
        if len(tables) == 1:
            return tables[0].take(column, ids)
        return np.stack([tables[number].take(column, row) for number, row in zip(rows >> INDEX_BITS, ids)])

    def _distance(self, rows: np.ndarray) -> np.ndarray:
        tables = self.replay.of(self.recorded)
        ids = rows & ((1 << INDEX_BITS) - 1)
        if len(tables) == 1:
            return tables[0].links.distance(ids)
        return np.array([tables[number].links.distance(row) for number, row in zip(rows >> INDEX_BITS, ids)])

    def state_dict(self) -> dict:
        """Adds what every lane shows, and the generator."""
        return super().state_dict() | {
            "rows": None if self._rows is None else from_numpy(self._rows),
            "begun": self._begun,
            "generator": pack_generator(self._generator),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores what every lane shows, and the generator."""
        super().load_state_dict(state)
        self._rows = None if state["rows"] is None else state["rows"].numpy()
        self._begun, self._generator = state["begun"], unpack_generator(state["generator"])


def recorded_tree(tree: dict) -> Any:
    """Returns an action tree as it stands in an observation: its only leaf, or the whole tree."""
    return tree["action"] if tree.keys() == {"action"} else tree


def recorded_observation(action: dict, there: Tensor, spec: EnvSpec) -> dict:
    """Returns the recorded answers, with a mask that says in which lanes there is one."""
    tree, mask = recorded_tree(action), {f"mask:{RECORDED}": there}
    if not there.any():
        return {RECORDED: map_tree(lambda leaf: None, tree), **mask}
    if not there.all():
        blank = zeros(spec.observation[RECORDED], len(there))
        tree = map_tree(
            lambda leaf, other: torch.where(there.view(-1, *[1] * (leaf.dim() - 1)), leaf, other), tree, blank
        )
    return {RECORDED: tree, **mask}


def without_recorded(observation: dict, spec: EnvSpec) -> dict:
    """Returns an observation in which no lane has a recorded answer."""
    if RECORDED not in spec.observation:
        return observation
    there = torch.zeros_like(observation[f"mask:{RECORDED}"])
    return {**observation, RECORDED: map_tree(lambda leaf: None, spec.observation[RECORDED]), f"mask:{RECORDED}": there}


def merge(lanes: Tensor, chosen: TimeStep, other: TimeStep) -> TimeStep:
    """Mixes two timesteps by lane like `select_lanes`; a mask that one of them lacks is True there."""
    ours, theirs = dict(flatten(chosen.observation)), dict(flatten(other.observation))
    everything = torch.ones_like(lanes)
    for mine, yours in ((ours, theirs), (theirs, ours)):
        for path in yours:
            if path not in mine:
                mine[path] = everything if path[-1].startswith("mask:") else None
    chosen = chosen._replace(observation=unflatten(list(ours.items())))
    return select_lanes(lanes, chosen, other._replace(observation=unflatten(list(theirs.items()))))
