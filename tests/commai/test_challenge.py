"""The Challenge's 46 tasks: solved, answered wrongly, left alone, and answered now and then.

What is expected is counted in the transcripts, by the rules of the original, not by the environment's counters.
"""

import random
import re
import string
from dataclasses import dataclass

import numpy as np
import pytest

from aexp_torch.commai import run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.sessions import BYTES, Sessions
from aexp_torch.commai.tasks import micro
from aexp_torch.commai.words import POSITIVE
from tests.commai.challenge_solvers import ROWS, SOLVERS, Micro5, Micro15, Player, SymbolPlayer, clumsy, silent, wrong

MICRO = [name for name in SOLVERS if name.startswith("Micro")]
MINI = [name for name in SOLVERS if name.startswith("TaskSet")]
ANSWERED_BY_SILENCE = [name for name in MICRO if issubclass(SOLVERS[name], SymbolPlayer) or SOLVERS[name].miss == "~"]
FAILED_TOLERANCE = dict.fromkeys(["Micro6Task", "Micro15Task", "Micro19Task", "Micro20Task"], 3)
MOST_STEPS = 10_000
SEEDS = [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]


class Recorded:
    """Writes down what is said on both sides: `said[k]` is answered by `heard[k]`, whose reward is `rewards[k + 1]`."""

    def __init__(self, player: Player):
        self.player, self.said, self.heard, self.rewards, self.asked = player, "", "", [], []
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


GUESSES = ["Micro1Task", "Micro2Task", "Micro3Task"]  # a wrong answer does not tell the right one
MUST_LEARN = [*GUESSES, *(name for name in MICRO if issubclass(SOLVERS[name], Micro5 | Micro15)), "Micro5Sub1Task"]
FAILS_AFTER = {"Micro1Task": 243, "Micro2Task": 157, "Micro19Task": 157, "Micro20Task": 157}


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


def test_talking_out_of_turn_costs_one_each_time():
    """The symbols of the prompt but the last, and those of the feedback, are not to be talked over."""

    class Chatterbox:
        rewards = []

        def reward(self, reward):
            self.rewards.append(reward)

        def next(self, symbol):
            return "x"

    run(configuration("Micro7Sub1Task", 1), Chatterbox(), mode="byte", max_steps=50)
    assert Chatterbox.rewards == [0] + [-1] * 6 + [0] * 43  # `say: k` costs; the answer never ends


def lanes(name: str, seed: int) -> list:
    return [SOLVERS[name](), wrong(name), silent(name), clumsy(name, 0.2, seed), clumsy(name, 0.5, seed + 1)]


def transcript(name: str, players: list, seeds: list[int], steps: int) -> list[tuple[str, list]]:
    """Returns, of each lane, what was said and the rewards."""
    make = scheduler_maker(configuration(name, 1_000_000))
    talks = Sessions([make() for _ in players], BYTES, seeds)
    heard, said, rewards = None, [], []
    for _ in range(steps):
        symbols, reward = talks.step(heard)
        said.append(symbols)
        rewards.append(np.nan_to_num(reward))
        for player, one in zip(players, rewards[-1].tolist()):
            player.reward(one)
        answers = [player.next(chr(symbol)) for player, symbol in zip(players, symbols.tolist())]
        heard = np.frombuffer("".join(answers).encode(), np.uint8)
    return [(bytes(lane).decode(), given.tolist()) for lane, given in zip(np.array(said).T, np.array(rewards).T)]


@pytest.mark.parametrize("name", SOLVERS)
def test_one_lane_of_many_goes_like_a_lane_alone(name):
    steps = 2000 if issubclass(SOLVERS[name], SymbolPlayer) else 500
    seeds = [11, 12, 13, 14, 15]
    together = transcript(name, lanes(name, 0), seeds, steps)
    for lane, seed in enumerate(seeds):
        (alone,) = transcript(name, [lanes(name, 0)[lane]], [seed], steps)
        assert alone == together[lane]


def in_the_step_of_the_time_out(name: str, others: int) -> tuple[str, list, Sessions]:
    """Answers, with the last symbol in the step in which the time is over; other lanes are silent."""
    make = scheduler_maker(configuration(name, 3))
    talks = Sessions([make() for _ in range(1 + others)], BYTES, list(range(5, 6 + others)))
    said, rewards = "", []
    answer, heard = "", None
    most = MOST_STEPS if name.startswith("Micro") else 3000
    for step in range(most + 200):
        symbols, reward = talks.step(heard)
        said += chr(symbols[0])
        rewards.append(float(np.nan_to_num(reward[0])))
        if not answer and said.endswith("."):
            answer = SOLVERS[name]().answer(said)
        place = step - (most - len(answer))
        symbol = answer[place] if answer and 0 <= place < len(answer) else " "
        heard = np.frombuffer(symbol.encode().ljust(1 + others), np.uint8)
    return said[most:], rewards, talks


@pytest.mark.parametrize("others", [0, 2])
def test_an_answer_in_the_step_of_the_time_out_is_still_heard(others):
    """It is judged, and the next question asked to its end; then the next instance begins. In words, both feedbacks come."""
    said, rewards, talks = in_the_step_of_the_time_out("Micro14Task", others)
    question = r"after \w comes what:\."
    assert re.fullmatch(rf"wrong! \w\.;{question}{question} +", said)  # for the spaces before
    assert (rewards.index(-1.0), sum(rewards)) == (MOST_STEPS, -1)
    assert talks.results.tasks["Micro14Task"].solved == 0
    said, rewards, talks = in_the_step_of_the_time_out("TaskSet1", others)
    praise = "|".join(map(re.escape, POSITIVE))
    assert re.match(rf"Wrong\. The right answer is: (true|false)\.({praise}) description: ", said)
    assert (rewards.index(1.0), sum(rewards)) == (3000 + said.index(" desc") + 1, 1)
    assert talks.results.tasks["TaskSet1"].solved == 1


@pytest.mark.parametrize("name, before", [("Micro7Sub1Task", 8), ("Micro5Sub1Task", 18)])
@pytest.mark.parametrize("others", [0, 1])
def test_talking_over_feedback_costs_one_and_the_streak(name, before, others):
    """Whoever talks once over what is said after its ninth right answer in a row needs ten more."""
    make = scheduler_maker(configuration(name, 2))
    talks = Sessions([make() for _ in range(1 + others)], BYTES, list(range(8, 9 + others)))
    player, heard, rewards, streak, rude_at = SOLVERS[name](), None, [], 0, None
    while talks.results.tasks[name].finished == 0 if rewards else True:
        symbols, reward = talks.step(heard)
        rewards.append(float(np.nan_to_num(reward[0])))
        player.reward(rewards[-1] if rude_at is None or len(rewards) - 2 != rude_at else 0)
        streak = streak + 1 if rewards[-1] > 0 else 0 if rewards[-1] < 0 else streak
        answer = player.next(chr(symbols[0]))
        if streak == 9 and rude_at is None and answer == " " and rewards[-1] > 0:
            answer, rude_at = "x", len(rewards) - 1
            player.streak = 0
        heard = np.frombuffer(answer.encode().ljust(1 + others), np.uint8)
    given = [reward for reward in rewards if reward]
    assert rewards[rude_at + 1] == -1
    assert given[-10:] == [1] * 10
    assert given[-20:-11][-9:] == [1] * 9
    assert given[-11] == -1


def shares(name: str, count: int, form: str) -> dict[tuple, float]:
    """Returns how often the parts of questions that are drawn take which values."""
    played, _ = play(name, SOLVERS[name](), count, 4)
    found = [re.fullmatch(form, question).groups() for instance in played for question in instance.questions]
    return {values: found.count(values) / len(found) for values in set(found)}


WORD = "[A-Za-z-]+"


@pytest.mark.parametrize(
    "name, form, values",
    [
        ("Micro7Sub1Task", r"say: (.)\.", 26),
        ("Micro8Task", r"say: ( *)[a-z] *[a-z] *\.", 7),
        ("Micro8Task", r"say:  *[a-z] *[a-z]( *)\.", 7),
        ("Micro9Sub3Task", rf"interleave: {WORD} by (.)\.", 3),
        ("Micro10Task", rf"say: {WORD} say: {WORD}( say:)?.*\.", 2),
        ("Micro11Task", r"say: (ab|ac|ad|bc|bd|cd) say: .. (?:reverse|concatenate|interleave):\.", 6),
        ("Micro11Task", r"say: .. say: (ab|ac|ad|bc|bd|cd) (reverse|concatenate|interleave):\.", 18),
        ("Micro12Task", r"say: (abc|acd|adc|bcd|bda|cdb) say: [a-d] (?:union|exclude):\.", 6),
        ("Micro12Task", r"say: ... say: (.) (union|exclude):\.", 8),
        ("Micro13Sub1Task", r" say: (?:.|anything) (and not|and|or) .( but)?.*\.", 4),
        ("Micro13Sub2Task", r"say: [a-z]{1,3} (and|or) [a-z]{1,3}(?: (?:and|or) [a-z]{1,3}){0,2}\.", 2),
        ("Micro14Task", r"after ([a-y]) comes what:\.", 25),
    ],
)
def test_what_is_drawn(name, form, values):
    found = shares(name, 60, form)
    assert len(found) == values
    assert max(found.values()) < 2.2 / values
    assert min(found.values()) > 0.25 / values


def test_numbers_are_asked_backwards_in_two_instances_of_three():
    task = micro.Micro15Task()
    task.rng = random.Random(0)
    rows = [" ".join([*table, list(table.values())[-1][:-1]]) for table in (task.draw() for _ in range(1200))]
    forwards = dict.fromkeys(ROWS, 1 / 12)
    backwards = {" ".join(reversed(row.split())): 1 / 6 for row in ROWS}
    assert {row: rows.count(row) / len(rows) for row in set(rows)} == pytest.approx(forwards | backwards, abs=0.03)


@pytest.mark.parametrize("name", ["Micro19Task", "Micro20Task"])
def test_all_four_kinds_come_before_one_comes_again(name):
    played, _ = play(name, SOLVERS[name](), 12, 2)
    kinds = [frozenset(kind_of(question) for question in instance.questions) for instance in played]
    for first in range(0, 12, 4):
        assert len(set(kinds[first : first + 4])) == 4
        assert set().union(*kinds[first : first + 4]) == {"words", "letters", "sets", "alphabet"}


def kind_of(question: str) -> str:
    if "comes what" in question:
        return "alphabet"
    operation = re.search(r"(\S+):\.$", question)
    if operation is None:
        return "words"
    return "letters" if operation[1] in ("reverse", "concatenate", "interleave") else "sets"


@pytest.mark.parametrize(
    "name", ["Micro1Task", "Micro2Task", "Micro4Task", "Micro5Sub1Task", "Micro19Task", "TaskSet5"]
)
def test_a_state_goes_on_amid_a_drill(name):
    """Sessions that are saved and restored every few steps go like those that are not."""
    make = scheduler_maker(configuration(name, 1_000_000))

    def begun() -> Sessions:
        return Sessions([make() for _ in range(5)], BYTES, [1, 2, 3, 4, 5])

    talks, restored, players, heard = begun(), begun(), lanes(name, 3), None
    for step in range(800):
        (symbols, reward), got = talks.step(heard), restored.step(heard)
        np.testing.assert_array_equal(symbols, got[0])
        np.testing.assert_array_equal(reward, got[1])
        if step % 13 == 0:
            state, restored = restored.state_dict(), begun()
            restored.load_state_dict(state)
        for player, one in zip(players, np.nan_to_num(reward).tolist()):
            player.reward(one)
        answers = [player.next(chr(symbol)) for player, symbol in zip(players, symbols.tolist())]
        heard = np.frombuffer("".join(answers).encode(), np.uint8)
    assert restored.results == talks.results
