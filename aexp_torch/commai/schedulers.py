"""Schedulers: which task comes next in a conversation.

Each has `next_task()`, and `result(solved)` after every instance. It draws from `rng`, which the conversation gives it.
"""

import random
import reprlib
from collections.abc import Sequence
from typing import Any

from aexp_torch.commai.task import Task
from aexp_torch.errors import EndOfStream, SpecError

__all__ = [
    "ConsecutiveTaskScheduler",
    "DependenciesTaskScheduler",
    "IncrementalTaskScheduler",
    "IntervalTaskScheduler",
    "RandomTaskScheduler",
    "Scheduler",
    "SequentialTaskScheduler",
]


class Scheduler:
    """Chooses among the tasks of one conversation.

    Attributes:
      counts_all: with CommAI-env's defects, a counter of solved instances counts those that were not.
    """

    rng: random.Random
    counts_all = False
    test_mode = False  # has the next instance be a test, where there are any

    def __init__(self, tasks: Sequence[Task]):
        if not isinstance(tasks, list | tuple) or not tasks or not all(isinstance(task, Task) for task in tasks):
            raise SpecError(
                f"{type(self).__name__}: expected tasks, a list of one task or more, got {reprlib.repr(tasks)}."
            )
        self.tasks = list(tasks)

    def _threshold(self, name: str, value: Any, least: int = 1) -> float:
        """Returns a number of solved instances that is one."""
        if not isinstance(value, int | float) or not least <= value < float("inf"):
            raise SpecError(
                f"{type(self).__name__}: expected {name}, solved instances, of at least {least}, got {reprlib.repr(value)}."
            )
        return value

    def _pairs(self, name: str, value: Any, kind: type) -> list[Any]:
        """Returns a list of pairs that is one."""
        pairs = value if isinstance(value, list | tuple) else [value]
        for pair in pairs:
            if not (isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(item, kind) for item in pair)):
                raise SpecError(
                    f"{type(self).__name__}: expected {name}, a list of pairs of {kind.__name__}, got {reprlib.repr(value)}."
                )
        return list(pairs)

    def next_task(self) -> Task:
        """Returns the task whose instance begins now."""
        raise NotImplementedError

    def result(self, solved: bool) -> None:
        """Hears what became of the instance before."""


class RandomTaskScheduler(Scheduler):
    """Takes any, each with the same probability."""

    def next_task(self) -> Task:
        """Returns any task."""
        return self.rng.choice(self.tasks)


class SequentialTaskScheduler(Scheduler):
    """Takes one after the other, and begins again after the last."""

    def __init__(self, tasks: Sequence[Task]):
        super().__init__(tasks)
        self.place = -1

    def next_task(self) -> Task:
        """Returns the next in order."""
        self.place = (self.place + 1) % len(self.tasks)
        return self.tasks[self.place]


class IncrementalTaskScheduler(Scheduler):
    """Stays with a task until it has been solved `success_threshold` times, and begins again after the last."""

    def __init__(self, tasks: Sequence[Task], success_threshold: float = 2):
        super().__init__(tasks)
        self.success_threshold = self._threshold("success_threshold", success_threshold)
        self.place, self.solved = 0, 0

    def next_task(self) -> Task:
        """Returns the task under way, or the next."""
        if self.solved >= self.success_threshold:
            self.place, self.solved = (self.place + 1) % len(self.tasks), 0
        return self.tasks[self.place]

    def result(self, solved: bool) -> None:
        """Counts what was solved."""
        self.solved += solved or self.counts_all


class ConsecutiveTaskScheduler(Scheduler):
    """Stays with a task until it has been solved `success_threshold` times in a row; after the last the session is over.

    Args:
      tasks: in order.
      success_threshold: instances in a row.
      repeats: begins again after the last, as the original did where UNIT_TESTS_RUNNING was set.
    """

    def __init__(self, tasks: Sequence[Task], success_threshold: float = 2, repeats: bool = False):
        super().__init__(tasks)
        self.success_threshold = self._threshold("success_threshold", success_threshold)
        self.repeats, self.place, self.solved = bool(repeats), 0, 0

    def next_task(self) -> Task:
        """Returns the task under way, or the next."""
        if self.solved >= self.success_threshold:
            self.place, self.solved = self.place + 1, 0
        if self.place == len(self.tasks):
            if not self.repeats:
                raise EndOfStream("ConsecutiveTaskScheduler: every task is solved.")
            self.place = 0
        return self.tasks[self.place]

    def result(self, solved: bool) -> None:
        """Counts what was solved in a row."""
        self.solved = self.solved + 1 if solved else 0


class DependenciesTaskScheduler(Scheduler):
    """Takes any task of which all that it depends on have been solved `unlock_threshold` times.

    Args:
      tasks: all of them.
      tasks_dependencies: pairs (what is needed, task).
      unlock_threshold: instances solved; with 0 all are unlocked.
    """

    def __init__(self, tasks: Sequence[Task], tasks_dependencies: Sequence[Any] = (), unlock_threshold: float = 10):
        super().__init__(tasks)
        self.needs: dict[str, set[str]] = {}
        for pair in self._pairs("tasks_dependencies", tasks_dependencies, Task):
            needed, task = map(_name, pair)
            self.needs.setdefault(task, set()).add(needed)
        self._check_order()
        self.unlock_threshold = self._threshold("unlock_threshold", unlock_threshold, least=0)
        self.solved: dict[str, int] = {}
        self.under_way = ""

    def _check_order(self) -> None:
        """Raises where a task could never be unlocked."""
        names, unlocked = {_name(task) for task in self.tasks}, set[str]()
        while more := {name for name in names - unlocked if self.needs.get(name, set()) <= unlocked}:
            unlocked |= more
        if unlocked != names:
            raise SpecError(
                "DependenciesTaskScheduler: expected dependencies that can be met one after the other,"
                f" {sorted(names - unlocked)} wait for each other, or for a task that is not among tasks."
            )

    def next_task(self) -> Task:
        """Returns any task that is unlocked."""
        task = self.rng.choice([task for task in self.tasks if self._unlocked(_name(task))])
        self.under_way = _name(task)
        return task

    def _unlocked(self, name: str) -> bool:
        return all(self.solved.get(needed, 0) >= self.unlock_threshold for needed in self.needs.get(name, ()))

    def result(self, solved: bool) -> None:
        """Counts what was solved."""
        self.solved[self.under_way] = self.solved.get(self.under_way, 0) + solved


class IntervalTaskScheduler(Scheduler):
    """Takes any task whose interval of finished instances it is; after the last interval the session is over.

    Args:
      tasks: all of them.
      intervals: `(first, last)` for each, numbers of finished instances, the last one not included; together they leave no
        gap from 0 on.
      tasks_test: of which any is taken in test mode, in which no instance counts as finished.
    """

    def __init__(self, tasks: Sequence[Task], intervals: Sequence[tuple[int, int]], tasks_test: Sequence[Task] = ()):
        super().__init__([*tasks, *tasks_test])
        self.intervals = [tuple(pair) for pair in self._pairs("intervals", intervals, int)]
        self.num_tests = len(tasks_test)
        if len(self.intervals) != len(tasks):
            raise SpecError(
                f"IntervalTaskScheduler: expected an interval for each of {len(tasks)} tasks, got {len(self.intervals)}."
            )
        self._check_gaps()
        self.finished = -1

    def _check_gaps(self) -> None:
        """Raises where no task would be due before the last interval is over."""
        covered = 0
        for first, last in sorted(self.intervals):
            if not covered >= first < last:
                raise SpecError(
                    "IntervalTaskScheduler: expected intervals (first, last), last not included, that leave no instance from"
                    f" 0 on without a task, got {reprlib.repr(self.intervals)}, in which ({first}, {last}) is empty or comes"
                    f" after a gap from {covered} on."
                )
            covered = max(covered, last)

    def next_task(self) -> Task:
        """Returns any task whose interval it is, or any test."""
        if self.test_mode:
            if not self.num_tests:
                raise SpecError("IntervalTaskScheduler: expected tasks_test for test mode, there are none.")
            return self.rng.choice(self.tasks[-self.num_tests :])
        self.finished += 1
        due = [task for task, (first, last) in zip(self.tasks, self.intervals) if first <= self.finished < last]
        if not due:
            raise EndOfStream(f"IntervalTaskScheduler: no task is due after {self.finished} instances.")
        return self.rng.choice(due)


def _name(task: Task) -> str:
    return type(task).__name__
