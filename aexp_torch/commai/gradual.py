"""Gradual learning: how many tasks are mastered one after the other, in how many steps, and whether earlier ones helped."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from aexp_torch.errors import SpecError

if TYPE_CHECKING:
    from aexp_torch.commai.results import Results

__all__ = ["LONGEST", "GradualScore", "Mastery", "gradual_score"]

LONGEST = 10  # instances solved in a row, beyond which nothing is noted


@dataclass
class Mastery:
    """Notes, for one task, the steps that each lane spent on it until it had solved k instances in a row, k up to 10.

    Args:
      lanes: `{lane: [streak, steps]}`: instances solved in a row up to now, and steps of all instances; they stand still
        once ten were solved in a row.
      reached: `{lane: steps}`: item k - 1 is the number of steps until k instances had been solved in a row.
    """

    lanes: dict[int, list[int]] = field(default_factory=dict)
    reached: dict[int, list[int]] = field(default_factory=dict)

    def add(self, lane: int, solved: bool, steps: int) -> None:
        """Counts an instance that is over."""
        reached = self.reached.setdefault(lane, [])
        if len(reached) == LONGEST:
            return
        counts = self.lanes.setdefault(lane, [0, 0])
        counts[0] = counts[0] + 1 if solved else 0
        counts[1] += steps
        if counts[0] > len(reached):
            reached.append(counts[1])

    def spent(self, threshold: int) -> tuple[list[int], int]:
        """Returns the steps until mastery of the lanes that got there, and the steps of all others together."""
        there = [steps[threshold - 1] for steps in self.reached.values() if len(steps) >= threshold]
        rest = sum(self.lanes[lane][1] for lane, steps in self.reached.items() if len(steps) < threshold)
        return there, rest

    def state_dict(self) -> dict:
        """Returns one row per lane, int64 [lanes, 3 + 10]: lane, streak, steps, and `reached`, filled up with -1."""
        rows = [
            [lane, *self.lanes[lane], *reached, *[-1] * (LONGEST - len(reached))]
            for lane, reached in self.reached.items()
        ]
        return {"lanes": torch.tensor(rows, dtype=torch.int64).reshape(-1, 3 + LONGEST)}

    def load_state_dict(self, state: dict) -> None:
        """Restores it."""
        rows = state["lanes"].tolist()
        self.lanes = {lane: [streak, steps] for lane, streak, steps, *_ in rows}
        self.reached = {lane: [steps for steps in reached if steps >= 0] for lane, _, _, *reached in rows}


@dataclass(frozen=True)
class GradualScore:
    """Says how a learner went through tasks that come one after the other.

    A lane has mastered a task when it has solved `threshold` instances of it in a row. A learner is better than another
    where it masters more tasks; where both master the same number, the one that needs fewer steps is.

    With n lanes, of which m have mastered a task, and s_i the steps that lane i spent in instances of the task, up to its
    mastery or, without it, up to now:

    - `steps_to_master[task] = sum_i s_i / m`: the mean time to mastery, if every step has the same chance to bring it. Lanes
      that have not got there yet count with what they have spent, so a session that is cut off early does not look quick.
    - `mastered = sum over tasks of m / n`, `steps = sum over mastered tasks of steps_to_master`.
    - `speed_up = exp(mean of log(alone / here))`: `steps_to_master` of a learner that began with that very task, over
      that of the one that came to it with what it had learned. The mean is over the tasks that both have mastered, without
      the one with which the session began. Above 1: the learner learns later tasks faster for having learned earlier ones.

    Args:
      threshold: instances in a row.
      lanes: n, those that have finished an instance.
      tasks: that were met.
      mastered: by a lane, on average; tasks.
      steps: from the first task to the last that was mastered, of one lane; bits in bit mode.
      steps_to_master: steps, by task, of those that some lane has mastered.
      share: of the lanes that have mastered it, by task, 0 to 1.
      speed_up: how many times as fast; None where it is not known.
      gained: tasks that were mastered here, but not alone.
      lost: tasks that were mastered alone, but not here.

    Source: the Challenge's description (Rosa et al. 2017) says how a session goes: a list of tasks in order, each until it
    is solved so many times in a row (five in its file), and asks for learners that solve them "in a gradual way"; it gives
    no formula. Number of tasks first, then steps; the estimate for lanes that are not there yet; and the comparison with
    learners that begin anew are definitions of this package.
    """

    threshold: int
    lanes: int
    tasks: int
    mastered: float
    steps: float
    steps_to_master: dict[str, float]
    share: dict[str, float]
    speed_up: float | None
    gained: list[str]
    lost: list[str]


def gradual_score(results: "Results", alone: Iterable["Results"] = (), threshold: int = 5) -> GradualScore:
    """Returns the score of a session with several tasks; `Results.gradual_score` says what the arguments are.

    Raises:
      SpecError: a threshold that is none.
    """
    if not isinstance(threshold, int) or not 1 <= threshold <= LONGEST:
        raise SpecError(f"gradual_score: expected a threshold in 1..{LONGEST}, got {threshold!r}.")
    lanes = len({lane for task in results.tasks.values() for lane in task.mastery.reached})
    here, there = _steps_to_master([results], threshold), _steps_to_master(alone, threshold)
    share = {name: len(task.mastery.spent(threshold)[0]) / max(lanes, 1) for name, task in results.tasks.items()}
    met = list(results.tasks)
    ratios = [there[name] / here[name] for name in met[1:] if name in here and name in there]
    known = bool(there)
    return GradualScore(
        threshold=threshold,
        lanes=lanes,
        tasks=len(met),
        mastered=sum(share.values()),
        steps=sum(here.values()),
        steps_to_master=here,
        share=share,
        speed_up=math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None,
        gained=[name for name in met if name in here and name not in there] if known else [],
        lost=[name for name in there if name not in here],
    )


def _steps_to_master(sessions: Iterable["Results"], threshold: int) -> dict[str, float]:
    """Returns `{task: steps}` of the tasks that a lane of any session has mastered."""
    counts: dict[str, list[float]] = {}
    for session in sessions:
        for name, task in session.tasks.items():
            there, rest = task.mastery.spent(threshold)
            count = counts.setdefault(name, [0, 0])
            count[0] += len(there)
            count[1] += sum(there) + rest
    return {name: steps / mastered for name, (mastered, steps) in counts.items() if mastered}
