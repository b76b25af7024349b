"""Results: what a session came to, by task."""

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

    def state_dict(self) -> dict:
        """Returns all counts."""
        return {name: asdict(task) for name, task in self.tasks.items()}

    def load_state_dict(self, state: dict) -> None:
        """Restores all counts."""
        self.tasks = {name: TaskResults(**counts) for name, counts in state.items()}
