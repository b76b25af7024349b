"""Rows: one timestep, put together row by row from those of several environments."""

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.composition.joined import Joined
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Rows"]

Path = tuple[str, ...]


class Rows:
    """Gathers the signals and leaves of one timestep; a row of which nothing is said is MID, reward 0, and has no keys.

    Args:
      num_rows: B.
    """

    def __init__(self, num_rows: int):
        self.step_type = np.full(num_rows, StepType.MID, np.int8)
        self.reward = np.zeros(num_rows, np.float32)
        self.discount = np.ones(num_rows, np.float32)
        self._leaves: dict[Path, list[tuple[np.ndarray, Tensor]]] = {}

    def take_signals(self, rows: np.ndarray, timestep: TimeStep, lanes: np.ndarray) -> None:
        """Takes the signals of lanes (int64 [M]) for rows (int64 [M])."""
        self.step_type[rows] = timestep.step_type.numpy()[lanes]
        self.reward[rows] = timestep.reward.numpy()[lanes]
        self.discount[rows] = timestep.discount.numpy()[lanes]

    def take_observation(self, rows: np.ndarray, timestep: TimeStep, lanes: np.ndarray, joined: Joined) -> None:
        """Takes the keys of lanes (int64 [M]) for rows (int64 [M])."""
        every_lane = len(lanes) == len(timestep.step_type)
        for path, value, mask in joined.leaves(timestep):
            if value is None:
                continue
            members = rows
            if mask is not None:
                there = mask.numpy()[lanes]
                members, value = rows[there], value[from_numpy(lanes[there])]
            elif not every_lane:
                value = value[from_numpy(lanes)]
            if len(members):
                self._leaves.setdefault(path, []).append((members, value))

    def end(self, rows: np.ndarray) -> None:
        """Ends the episodes of rows (bool [B]) that go on: MID becomes LAST, truncated."""
        cut = rows & (self.step_type == StepType.MID)
        self.step_type[cut] = StepType.LAST
        self.discount[cut & (self.discount == 0)] = 1.0

    def leaf(self, path: Path, blank: Tensor) -> list[tuple[Path, Tensor | None]]:
        """Returns a leaf of the observation, filled up with `blank` [B, ...], and its mask where only some rows have it."""
        parts = self._leaves.get(path)
        if parts is None:
            return [(path, None)]
        rows = np.concatenate([members for members, _ in parts])
        values = torch.cat([value for _, value in parts]) if len(parts) > 1 else parts[0][1]
        if len(rows) == len(blank) and (rows[1:] > rows[:-1]).all():
            return [(path, values)]
        leaf = blank.clone()
        leaf[from_numpy(rows)] = values
        if len(rows) == len(blank):
            return [(path, leaf)]
        there = torch.zeros(len(blank), dtype=torch.bool)
        there[from_numpy(rows)] = True
        return [(path, leaf), ((*path[:-1], f"mask:{path[-1]}"), there)]

    def timestep(self, observation: dict) -> TimeStep:
        """Returns the timestep with this observation."""
        return TimeStep(from_numpy(self.step_type), from_numpy(self.reward), from_numpy(self.discount), observation)
