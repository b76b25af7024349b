"""The Challenge's 46 tasks: solved, answered wrongly, left alone, and answered now and then.

What is expected is counted in the transcripts, by the rules of the original, not by the environment's counters.
"""

import re

import pytest

from aexp_torch.commai import run
from aexp_torch.commai.words import POSITIVE
from tests.commai.challenge_solvers import SOLVERS, Micro5, Micro15, SymbolPlayer, clumsy, silent, wrong
from tests.commai.transcripts import MOST_STEPS, check, play

MICRO = [name for name in SOLVERS if name.startswith("Micro")]
MINI = [name for name in SOLVERS if name.startswith("TaskSet")]
ANSWERED_BY_SILENCE = [name for name in MICRO if issubclass(SOLVERS[name], SymbolPlayer) or SOLVERS[name].miss == "~"]
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]
GUESSES = ["Micro1Task", "Micro2Task", "Micro3Task"]  # a wrong answer does not tell the right one
MUST_LEARN = [*GUESSES, *(name for name in MICRO if issubclass(SOLVERS[name], Micro5 | Micro15)), "Micro5Sub1Task"]
FAILS_AFTER = {"Micro1Task": 243, "Micro2Task": 157, "Micro19Task": 157, "Micro20Task": 157}


@pytest.mark.parametrize("name", MICRO)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_solver_gets_the_full_reward(name, seed):
    played, results = play(name, SOLVERS[name](), 4, seed)
    for instance in played:
        assert check(name, instance)
        seen = set()
        for question, verdict in zip(instance.questions, instance.verdicts):
            if name in MUST_LEARN:
                assert verdict > 0 or question not in seen or name in GUESSES
                seen.add(question)
            else:
                assert verdict > 0
        assert name in MUST_LEARN or len(instance.verdicts) == 10
    assert results.solved == 4


@pytest.mark.parametrize("name", MICRO)
@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_always_wrong_fails(name, seed):
    (instance,), results = play(name, wrong(name), 1, seed)
    assert not check(name, instance)
    assert not results.solved
    assert set(instance.verdicts) == {-1.0}
    if name not in MUST_LEARN or name in FAILS_AFTER:
        assert len(instance.verdicts) == FAILS_AFTER.get(name, 105) or instance.steps >= MOST_STEPS
    assert instance.steps < MOST_STEPS or name in ("Micro15Task", "Micro20Task")


@pytest.mark.parametrize("name", MICRO)
def test_silence_is_an_answer_of_one_symbol_and_none_in_words(name):
    (instance, _), results = play(name, silent(name), 2, 1)
    assert not results.solved
    assert instance.heard.strip() == ""
    if name in ANSWERED_BY_SILENCE:
        assert not check(name, instance)
        rights = [question for question, verdict in zip(instance.questions, instance.verdicts) if verdict > 0]
        assert set(rights) <= ({" "} if name in ("Micro2Task", "Micro3Task", "Micro4Task") else set())
    else:
        assert instance.steps == MOST_STEPS
        assert instance.verdicts == []
        assert instance.said.strip()[-1] == "."
        assert len(instance.said.rstrip()) < 150  # one question


@pytest.mark.parametrize("name", MICRO)
@pytest.mark.parametrize(
    "share", [0.25, pytest.param(0.1, marks=pytest.mark.slow), pytest.param(0.4, marks=pytest.mark.slow)]
)
def test_the_limits_hold_for_who_errs_now_and_then(name, share):
    played, results = play(name, clumsy(name, share, 7), 2, 5)
    expected = [check(name, instance) for instance in played if instance.steps < MOST_STEPS]
    assert results.solved == sum(expected)


@pytest.mark.parametrize("name", MINI)
def test_a_solver_of_mini_tasks_is_always_right(name):
    played, results = play(name, SOLVERS[name](), 40, 3)
    assert results.solved == 40
    for instance in played:
        question, _, praise = instance.said.partition("; verify: ")[2].partition(".")
        assert instance.verdicts == [1.0]
        assert praise.lstrip()[:-1] in POSITIVE
        assert praise[-1] == " "


@pytest.mark.parametrize("name", MINI)
def test_wrong_answers_and_silence_in_mini_tasks(name):
    player = wrong(name)
    played, results = play(name, player, 10, 3)
    assert (results.solved, results.reward) == (0, 0)
    for instance in played:
        answer = instance.heard.strip()
        right = {"true.": "false.", "false.": "true."}[answer]
        asked = len(instance.questions[0])
        assert instance.heard.index(answer) == asked - 1
        told = f"Wrong. The right answer is: {right} "
        assert instance.said == instance.questions[0] + " " * (len(answer) - 1) + told
    (instance,), results = play(name, silent(name), 1, 3)
    assert (results.solved, results.reward) == (0, 0)
    asked = instance.questions[0]
    assert instance.said[:3000] == asked.ljust(3000)
    assert instance.said[3000:] in [f"Wrong. The right answer is: {right}. " for right in ("true", "false")]


class Champion:
    """Has a player for every task; the last verdict comes in the step in which the next task begins."""

    def __init__(self):
        self.name, self.player, self.steps = "", None, 0

    def on_task(self, name):
        if name != self.name:
            self.name, self.before, self.player = name, self.player, SOLVERS[name]()

    def reward(self, reward):
        player, self.before = self.before or self.player, None
        if player.log:
            player.reward(reward)

    def next(self, symbol):
        self.steps += 1
        return self.player.next(symbol)


def test_the_whole_challenge_comes_to_its_end():
    """Each of the 46 tasks is solved five times in a row, in the order of the original."""
    champion = Champion()
    results = run("challenge", champion, mode="byte", seed=1, max_steps=1_000_000, on_task=champion.on_task)
    assert champion.steps < 1_000_000
    assert list(results.tasks) == sorted(SOLVERS, key=in_order)
    assert {(task.instances, task.finished, task.solved) for task in results.tasks.values()} == {(5, 5, 5)}


def in_order(name: str) -> list[int]:
    return [name.startswith("TaskSet"), *map(int, re.findall(r"\d+", name))]
