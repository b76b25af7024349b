"""Plays a task of the Challenge, writes down what is said, and counts what has to come of it by the original's rules."""

import string
from dataclasses import dataclass

import numpy as np

from aexp_torch.commai import run
from tests.commai.challenge_solvers import SOLVERS, Micro5, Micro15, Player

FAILED_TOLERANCE = dict.fromkeys(["Micro6Task", "Micro15Task", "Micro19Task", "Micro20Task"], 3)
MOST_STEPS = 10_000


class Recorded:
    """Writes down what is said on both sides: `said[k]` is answered by `heard[k]`, whose reward is `rewards[k + 1]`."""

    def __init__(self, player: Player):
        self.player, self.said, self.heard, self.rewards = player, "", "", []
        self.starts = []  # of instances, and how many questions had been heard by then

    def on_task(self, name):
        self.starts.append((len(self.said), len(self.player.log)))

    def reward(self, reward):
        self.rewards.append(float(reward))
        self.player.reward(reward)

    def next(self, symbol):
        self.said += symbol
        answer = self.player.next(symbol)
        self.heard += answer
        return answer


@dataclass
class Instance:
    """What happened in one: `verdicts` on `questions`, and the number of steps."""

    questions: list[str]
    verdicts: list[float]
    steps: int
    said: str
    heard: str


def configuration(name: str, instances: int) -> dict:
    module = "challenge_micro" if name.startswith("Micro") else "challenge_mini"
    arguments = {"tasks": ["it"], "intervals": [[0, instances]]}
    return {
        "worlds": {},
        "tasks": {"it": {"type": f"tasks.challenge.round1.{module}.{name}"}},
        "scheduler": {"type": "core.scheduler.IntervalTaskScheduler", "args": arguments},
    }


def play(name: str, player: Player, instances: int, seed: int):
    """Returns the instances, as the transcript has them, and the results."""
    learner = Recorded(player)
    options = {"mode": "byte", "seed": seed, "on_task": learner.on_task, "max_steps": 200_000}
    results = run(configuration(name, instances), learner, **options).tasks[name]
    assert (results.instances, results.finished) == (instances, instances)
    ends = [*learner.starts[1:], (len(learner.said), len(player.log))]
    played = []
    for (first, first_question), (last, last_question) in zip(learner.starts, ends):
        given = [reward for reward in learner.rewards[first + 1 : last + 1] if reward]
        questions = player.log[first_question:last_question]
        said, heard = learner.said[first:last], learner.heard[first:last]
        played.append(Instance(questions, given, last - first, said, heard))
    assert results.steps == sum(instance.steps for instance in played)
    assert results.reward == sum(sum(instance.verdicts) for instance in played) == sum(learner.rewards)
    return played, results


def known_at(name: str, questions: list[str], verdicts: list[float]) -> int | None:
    """Returns after how many questions the learner should know the rule."""
    pairs = list(zip(questions, [verdict > 0 for verdict in verdicts]))
    if name == "Micro1Task":
        return next((count for count, (_, right) in enumerate(pairs, 1) if right or count == 70), None)
    if name == "Micro2Task":
        misses = np.cumsum([not right for _, right in pairs])
        letters = [question in string.ascii_lowercase for question, _ in pairs]
        done = [right and letter for (_, right), letter in zip(pairs, letters)] | (misses == 27)
        return int(np.argmax(done)) + 1 if done.any() else None
    if name == "Micro3Task":
        left = {}
        for count, (question, right) in enumerate(pairs, 1):
            if question in string.ascii_lowercase:
                left[question] = 0 if right else max(left.get(question, 25) - 1, 0)
            if len(left) == 4 and not any(left.values()):
                return count
        return None
    if issubclass(SOLVERS[name], Micro5 | Micro15) or name == "Micro5Sub1Task":
        keys = set(questions)
        firsts = [questions.index(key) + 1 for key in keys]
        return max(firsts)
    return 1


def expected_end(name: str, questions: list[str], verdicts: list[float]) -> tuple[int | None, bool]:
    """Returns how many questions an instance with these verdicts has, and its result."""
    known = known_at(name, questions, verdicts)
    streak = 0
    solved = None
    for count, verdict in enumerate(verdicts, 1):
        streak = streak + 1 if verdict > 0 else 0
        if streak == 10:
            solved = count
            break
    soft = None if known is None else known + 50
    failed = None if soft is None else FAILED_TOLERANCE.get(name, 2) * (soft + 1) + 1
    if solved is not None and (failed is None or solved <= failed):
        return solved, soft is None or solved <= soft
    return failed, False


def check(name: str, instance: Instance) -> bool:
    """Checks the number of questions of an instance of a micro-task; returns what its result has to be."""
    count, solved = expected_end(name, instance.questions, instance.verdicts)
    assert set(instance.verdicts) <= {1.0, -1.0}
    if instance.steps >= MOST_STEPS and len(instance.verdicts) != count:
        assert count is None or len(instance.verdicts) < count
        assert instance.steps < MOST_STEPS + 100
        return False
    assert len(instance.verdicts) == count
    return solved
