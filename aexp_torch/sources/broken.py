"""Simulators that raise while they run: counted, warned of, and made anew within a budget (`on_broken="restart"`)."""

import traceback
import warnings
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from aexp_torch.errors import FeedbackError, SpecError
from aexp_torch.sources.dataset_reading.bad_samples import in_short
from aexp_torch.sources.lanes import Lanes, Outcome

__all__ = ["Repairs", "WholeBatch", "check_broken_options"]

ATTEMPTS = 3  # to make one simulator that runs, whatever the budget
SEEDS = zlib.crc32(b"broken")  # sets the seeds of simulators that are made anew apart from all others

T = TypeVar("T")


def check_broken_options(on_broken: Any, max_broken: Any, who: str) -> None:
    """Refuses what `on_broken` and `max_broken` cannot be."""
    if on_broken not in ("raise", "restart"):
        raise SpecError(f"{who}: expected on_broken='raise' or 'restart', got {on_broken!r}.")
    if max_broken is not None and (not isinstance(max_broken, int) or max_broken < 0):
        raise SpecError(f"{who}: expected max_broken of at least 0, or None, got {max_broken!r}.")


class Repairs:
    """Keeps count of simulators that raised, lane by lane, and has them made anew.

    Args:
      who: names the source and slot, for messages.
      limit: how many may break, None for any number.
      seeds: `(lane, key, count) -> SeedSequence`, for simulators that are made anew.
      num_envs: number of lanes.
    """

    def __init__(self, who: str, limit: int | None, seeds: Callable[..., np.random.SeedSequence], num_envs: int):
        self._who, self._limit, self._seeds = who, limit, seeds
        self._first: Exception | None = None
        self.counts = [0] * num_envs
        self.starting = np.zeros(num_envs, bool)  # of a whole batch: these lanes have shown LAST, not yet FIRST

    def make_anew(self, lanes: Sequence[int], error: Exception, make: Callable[[list[int]], T]) -> T:
        """Makes something in place of a simulator that raised, and returns it.

        Args:
          lanes: those that it steps; the first one counts.
          error: what it raised.
          make: takes a seed for each of the lanes, and makes and resets it. What that raises counts, too.

        Raises:
          FeedbackError: that was the error: a wrong answer breaks nothing.
          SpecError: too many have broken, or this one breaks whenever it is made.
        """
        if isinstance(error, FeedbackError):
            raise error
        for _ in range(ATTEMPTS):
            self._count(lanes[0], error)
            count = self.counts[lanes[0]]
            try:
                return make([int(self._seeds(lane, SEEDS, count).generate_state(1)[0]) for lane in lanes])
            except Exception as again:
                error = again
        raise SpecError(
            f"{self._who}: expected a simulator that can be made anew and reset after it broke, {ATTEMPTS} of them in a"
            f" row raised, at last {_last_line(error)}. Mend the environment."
        ) from (self._first or error)

    def _count(self, lane: int, error: Exception) -> None:
        self.counts[lane] += 1
        count = sum(self.counts)
        if self._first is None:
            self._first = error
            traceback.clear_frames(error.__traceback__)  # they hold the simulator
        if self._limit is not None and count > self._limit:
            raise SpecError(
                f"{self._who}: expected at most max_broken={self._limit} simulators that break, this is number {count}: lane"
                f" {lane} raised {_last_line(error)}. Mend the environment, or allow more of them (None: any number)."
            ) from self._first
        warnings.warn(
            f"{self._who}: lane {lane} raised {_last_line(error)}. Its simulator is made anew, for the {count}. time in"
            " this source; an episode that was under way is cut off (LAST, discount 1).",
            stacklevel=2,
        )

    def state_dict(self) -> dict:
        """Returns the counts, on which seeds and the budget depend, and which lanes are to begin."""
        return {"counts": list(self.counts), "starting": self.starting.tolist()}

    def load_state_dict(self, state: dict) -> None:
        """Goes on counting."""
        self.counts, self.starting = list(state["counts"]), np.array(state["starting"], bool)


class WholeBatch(Lanes):
    """Opens all lanes again where the provider, which steps them at once, raises.

    Lanes amid an episode show LAST. Lanes that were due to begin one do so. Where both meet in a batch, those that were
    cut off show FIRST one step later, at whatever their new episode has come to.

    Args:
      lanes: all of them.
      open_lanes: makes them again.
      repairs: counts.
    """

    def __init__(self, lanes: Lanes, open_lanes: Callable[[], Lanes], repairs: Repairs):
        self._lanes, self._open, self._repairs = lanes, open_lanes, repairs
        self._all = range(len(repairs.counts))

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets all lanes."""
        self._repairs.starting = np.zeros(len(self._all), bool)
        try:
            return self._lanes.reset(seeds, active)
        except Exception as error:
            return self._open_again(error)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps all lanes."""
        zero, starting = np.zeros(len(self._all), np.float32), self._repairs.starting
        if starting.all():
            return Outcome(self.reset(None, None), zero, zero.astype(bool), zero + 1)
        try:
            outcome = self._lanes.step(action, done, active)
            check_rewards(outcome.reward)
        except Exception as error:
            observation = self._open_again(error)
            self._repairs.starting = cut = ~done
            return Outcome(observation, zero, ~done, zero + 1, cut=cut)
        if not starting.any():
            return outcome
        self._repairs.starting = np.zeros(len(self._all), bool)
        reward, discount = np.where(starting, zero, outcome.reward), np.where(starting, zero + 1, outcome.discount)
        return outcome._replace(reward=reward, discount=discount, fresh=starting)

    def _open_again(self, error: Exception) -> dict:
        def make(seeds: list[int]) -> dict:
            with suppress(Exception):  # what is broken may not close either
                self._lanes.close()
            self._lanes = self._open()
            return self._lanes.reset(seeds, None)

        return self._repairs.make_anew(self._all, error, make)

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        return self._lanes.why_not_resumable()

    def state_dict(self) -> dict:
        """Returns the simulators' state."""
        return self._lanes.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulators' state."""
        self._lanes.load_state_dict(state)

    def lane_state(self, lane: int) -> dict:
        """Returns the state of one simulator."""
        return self._lanes.lane_state(lane)

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Restores the state of one simulator."""
        self._lanes.load_lane_state(lane, state)

    def close(self) -> None:
        """Ends the simulators."""
        self._lanes.close()


def check_rewards(reward: np.ndarray) -> None:
    """Raises a ValueError where one is not finite."""
    if not np.isfinite(reward).all():
        lane = int(np.flatnonzero(~np.isfinite(reward))[0])
        raise ValueError(f"expected finite rewards, got {reward[lane]} in lane {lane}")


def _last_line(error: Exception) -> str:
    """Returns what the traceback ends with, and the place that it names last."""
    frames = traceback.extract_tb(error.__traceback__)
    return in_short(error) + (f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else "")
