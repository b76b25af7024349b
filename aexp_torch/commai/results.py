"""Results: what a session came to, by task."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

__all__ = ["Results", "TaskResults"]


@dataclass
class TaskResults:
    """Counts what became of the instances of one task.

    Args:
      instances: that were begun.
      finished: that are over.
      solved: with the result that was wanted.
      reward: of finished instances.
      steps: of finished instances; bits in bit mode.
    """

    instances: int = 0
    finished: int = 0
    solved: int = 0
    reward: float = 0.0
    steps: int = 0


@dataclass
class Results:
    """Holds `{name of the task: TaskResults}`."""

    tasks: dict[str, TaskResults] = field(default_factory=dict)

    @property
    def reward(self) -> float:
        """Of all tasks together."""
        return sum(task.reward for task in self.tasks.values())

    @property
    def steps(self) -> int:
        """Of all tasks together."""
        return sum(task.steps for task in self.tasks.values())

    def begin(self, name: str) -> None:
        """Counts an instance that begins."""
        self.tasks.setdefault(name, TaskResults()).instances += 1

    def add(self, name: str, solved: bool, reward: float, steps: int) -> None:
        """Counts an instance that is over."""
        task = self.tasks[name]
        task.finished += 1
        task.solved += solved
        task.reward += reward
        task.steps += steps

    def text(self) -> str:
        """Returns the results file of both originals: mean reward, reward, steps and instances, in all and by task.

        `Conversation.so_far` counts an instance under way, too, as they did.
        """
        lines = ["* General results", f"Average reward: {_number(self.reward / max(self.steps, 1))}"]
        lines += [f"Total time: {self.steps}", f"Total reward: {_number(self.reward)}"]
        lines += self._by_task("Average reward", lambda task: task.reward / max(task.steps, 1))
        lines += self._by_task("Total reward", lambda task: task.reward, largest_first=True)
        lines += self._by_task("Total time", lambda task: task.steps)
        lines += self._by_task("Number of trials", lambda task: task.instances)
        return "\n".join(lines) + "\n"

    def _by_task(self, what: str, of: Callable[[TaskResults], float], largest_first: bool = False) -> Iterator[str]:
        yield f"* {what} per task"
        values = {name: of(task) for name, task in self.tasks.items()}
        for name in sorted(values, key=lambda name: values[name], reverse=largest_first):
            yield f"{name}: {_number(values[name])}"

    def state_dict(self) -> dict:
        """Returns all counts."""
        return {name: asdict(task) for name, task in self.tasks.items()}

    def load_state_dict(self, state: dict) -> None:
        """Restores all counts."""
        self.tasks = {name: TaskResults(**counts) for name, counts in state.items()}


def _number(value: float) -> str:
    """Writes whole numbers without a point."""
    return str(int(value)) if value == int(value) else repr(value)
