"""Results: what a session came to, by task: in all, as it went on, and how gradually it was learned."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from aexp_torch.commai.curves import Curve
from aexp_torch.commai.gradual import GradualScore, Mastery, gradual_score

__all__ = ["Results", "TaskResults"]

COUNTS = ("instances", "finished", "solved", "reward", "steps", "questions")


@dataclass
class TaskResults:
    """Counts what became of the instances of one task.

    Args:
      instances: that were begun.
      finished: that are over.
      solved: with the result that was wanted.
      reward: of finished instances.
      steps: of finished instances; bits in bit mode.
      questions: that were answered in finished instances, where a task asks many.
      curve: the same, as it went on.
      mastery: what it took until instances were solved in a row, lane by lane.
    """

    instances: int = 0
    finished: int = 0
    solved: int = 0
    reward: float = 0.0
    steps: int = 0
    questions: int = 0
    curve: Curve = field(default_factory=Curve, repr=False)
    mastery: Mastery = field(default_factory=Mastery, repr=False)


@dataclass
class Results:
    """Holds `{name of the task: TaskResults}`, in the order in which tasks were begun first.

    Args:
      tasks: by name.
      time: steps that every lane has taken so far; bits in bit mode.
    """

    tasks: dict[str, TaskResults] = field(default_factory=dict)
    time: int = 0

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
        if name not in self.tasks:
            self.tasks[name] = TaskResults()
        self.tasks[name].instances += 1

    def add(self, name: str, solved: bool, reward: float, steps: int, questions: int = 0, lane: int = 0) -> None:
        """Counts an instance that is over."""
        task = self.tasks[name]
        task.finished += 1
        task.solved += solved
        task.reward += reward
        task.steps += steps
        task.questions += questions
        task.curve.add(self.time, solved, reward, steps, questions)
        task.mastery.add(lane, solved, steps)

    def gradual_score(self, alone: Iterable["Results"] = (), threshold: int = 5) -> GradualScore:
        """Returns how many tasks were mastered, in how many steps, and whether earlier ones helped; see GradualScore.

        Args:
          alone: results of sessions with a single task each, of learners that began anew; without them it is not known
            whether earlier tasks helped.
          threshold: instances to be solved in a row, 1..10; 5 is the Challenge's own.
        """
        return gradual_score(self, alone, threshold)

    def text(self) -> str:
        """Returns the results file of both originals: mean reward, reward, steps and instances, in all and by task.

        `Conversation.so_far` counts an instance under way, too, as they did.
        """
        lines = ["* General results", f"Average reward: {_number(self.reward / max(self.steps, 1))}"]
        lines += [f"Total time: {self.steps}", f"Total reward: {_number(self.reward)}"]
        lines += self._by_task("Average reward", lambda task: task.reward / max(task.steps, 1), lambda task: task.steps)
        lines += self._by_task("Total reward", lambda task: task.reward, lambda task: -task.reward)
        lines += self._by_task("Total time", lambda task: task.steps, lambda task: task.steps)
        lines += self._by_task("Number of trials", lambda task: task.instances, lambda task: task.instances)
        return "\n".join(lines) + "\n"

    def _by_task(
        self, what: str, of: Callable[[TaskResults], float], order: Callable[[TaskResults], float]
    ) -> Iterator[str]:
        yield f"* {what} per task"
        for name, task in sorted(self.tasks.items(), key=lambda item: order(item[1])):
            yield f"{name}: {_number(of(task))}"

    def state_dict(self) -> dict:
        """Returns all counts and curves."""
        tasks = {
            name: {count: getattr(task, count) for count in COUNTS}
            | {"curve": task.curve.state_dict(), "mastery": task.mastery.state_dict()}
            for name, task in self.tasks.items()
        }
        return {"tasks": tasks, "time": self.time}

    def load_state_dict(self, state: dict) -> None:
        """Restores all counts and curves."""
        self.time = state["time"]
        self.tasks = {}
        for name, one in state["tasks"].items():
            task = self.tasks[name] = TaskResults(**{count: one[count] for count in COUNTS})
            task.curve.load_state_dict(one["curve"])
            task.mastery.load_state_dict(one["mastery"])


def _number(value: float) -> str:
    """Writes whole numbers without a point."""
    return str(int(value)) if value == int(value) else repr(value)
