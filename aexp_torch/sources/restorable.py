"""Restorable: the base of sources whose lanes can be stored as they are, and begin an episode there."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs.tree import map_tree
from aexp_torch.timestep import TimeStep, restart, select_lanes

__all__ = ["Restorable", "show_restored"]


class Restorable(Env):
    """Is a source that stores single lanes (`snapshot`) and begins an episode at such a place (`restore`).

    A restored episode is an ordinary one to everything that is built around the source: it begins with FIRST. It is a
    detour: the next fresh episode of the lane is the one that would have come without it, so restoring does not repeat
    the draws of a generator in the episodes that follow.

    A subclass implements `lane_state` and `load_lane_state`, and asks `begin_episodes` about lanes that start over.
    """

    snapshots: bool = True
    _pending: Mapping[int, dict] = {}  # by lane: the snapshot that its next FIRST shows
    _left: Mapping[int, dict] = {}  # by lane: where it stood before it was restored

    # What a subclass implements.

    @abstractmethod
    def lane_state(self, lane: int) -> dict:
        """Returns the simulator of a lane, with its generators, as tensors and primitives that nothing changes later."""

    @abstractmethod
    def load_lane_state(self, lane: int, state: dict) -> None:
        """Puts the simulator of a lane back; must not change `state`, which may be put back again."""

    def begin_episodes(self, lanes: Tensor) -> tuple[dict[int, dict], Tensor]:
        """Puts simulators where the next episodes of some lanes begin.

        Called by `reset` and `step` for lanes that start over, before those do.

        Args:
          lanes: bool [B].

        Returns:
          `{lane: observation}` (rows [1, ...]) of those that begin at a stored place, for `show_restored`; and the others,
          bool [B], which stand where they would without restores and are to be reset.
        """
        rows: dict[int, dict] = {}
        if not self.detours:
            return rows, lanes
        fresh, pending, left = lanes.clone(), dict(self._pending), dict(self._left)
        for lane in torch.nonzero(lanes).flatten().tolist():
            if lane in pending:
                place = pending.pop(lane)
                if lane not in left:
                    left[lane] = self.lane_state(lane)
                self.load_lane_state(lane, place["state"])
                rows[lane], fresh[lane] = place["observation"], False
            elif lane in left:
                self.load_lane_state(lane, left.pop(lane))
        self._pending, self._left = pending, left
        return rows, fresh

    @property
    def detours(self) -> bool:
        """Whether any lane is restored, or is to be: only then `begin_episodes` does anything."""
        return bool(self._pending or self._left)

    # What is asked of it.

    def snapshot(self, lane: int = 0) -> dict:
        """Stores a lane as it is: the simulator bit for bit, with its generators, and the observation that it shows.

        Returns:
          Tensors and primitives, for `restore` of this environment or of another that was made alike.

        Raises:
          SpecError: the source cannot, the lane's episode is over, or it has not begun.
        """
        self._check_lane(lane, "snapshot")
        if self._outstanding.last()[lane]:
            raise SpecError(
                f"{self.name}: expected a lane within an episode for snapshot(), lane {lane} is at LAST. Store it a step"
                " before."
            )
        row = map_tree(
            lambda leaf: None if leaf is None else leaf[lane : lane + 1].clone(), self._outstanding.observation
        )
        return {"observation": row, "state": self.lane_state(lane)}

    def restore(self, snapshot: dict, lane: int = 0) -> None:
        """Has the next episode of a lane begin where `snapshot` was taken, once; the lane's next FIRST shows that.

        That is the timestep after LAST, or that of a `reset`. The same actions as then give the same timesteps. A second
        call before that takes the place of the first.

        Raises:
          SpecError: the source cannot, or no episode has begun.
        """
        self._check_lane(lane, "restore")
        self._pending = {**self._pending, lane: snapshot}

    @property
    def restoring(self) -> frozenset[int]:
        """The lanes whose next FIRST shows a stored place."""
        return frozenset(self._pending)

    def _check_lane(self, lane: int, method: str) -> None:
        self.open()
        if not self.snapshots:
            raise SpecError(
                f"{self.name}: expected single lanes for {method}(), {type(self).__name__} steps all at once. Use"
                " vectorization='sync' for a Gymnasium environment, batch_size=1 for a dataset."
            )
        if self._outstanding is None:
            raise SpecError(f"{self.name}: expected an episode that has begun for {method}(). Call reset() first.")
        num_envs = len(self._outstanding.step_type)
        if not 0 <= lane < num_envs:
            raise SpecError(f"{self.name}: expected a lane in 0..{num_envs - 1} for {method}(), got {lane!r}.")

    def state_dict(self) -> dict:
        """Adds where episodes will begin, and where restored lanes stood before."""
        return super().state_dict() | {"pending": dict(self._pending), "left": dict(self._left)}

    def load_state_dict(self, state: dict) -> None:
        """Restores both."""
        super().load_state_dict(state)
        self._pending, self._left = dict(state["pending"]), dict(state["left"])


def show_restored(timestep: TimeStep, rows: Mapping[int, dict]) -> TimeStep:
    """Shows stored observations in their lanes: FIRST, reward 0, discount 1.

    Args:
      timestep: what the other lanes show.
      rows: from `begin_episodes`.
    """
    num_envs = len(timestep.step_type)
    places = {lane: restart(map_tree(partial(_repeated, num_envs), row), num_envs) for lane, row in rows.items()}
    if len(places) == num_envs:
        timestep = places[0]
    for lane, place in places.items():
        timestep = select_lanes(_only(lane, num_envs), place, timestep)
    return timestep


def _repeated(num_envs: int, leaf: Tensor | None) -> Tensor | None:
    return None if leaf is None else leaf.expand(num_envs, *leaf.shape[1:])


def _only(lane: int, num_envs: int) -> Tensor:
    lanes = torch.zeros(num_envs, dtype=torch.bool)
    lanes[lane] = True
    return lanes
