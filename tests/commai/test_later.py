"""The tasks that came later: sample and pending ones, letters, nano, small functions and lookup tables."""

import re
from collections import deque
from collections.abc import Callable

import numpy as np
import pytest

from aexp_torch.commai import CommAIEnv, Conversation, run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.grid_world import ahead, turned
from aexp_torch.commai.learners import BaseLearner
from aexp_torch.commai.schedulers import IntervalTaskScheduler
from aexp_torch.commai.sessions import BITS, BYTES, CHARACTERS, Rules, Sessions
from aexp_torch.commai.tasks import nano, pending, repeating, sample, small_comp
from aexp_torch.commai.tasks.baskets import BASKETS
from aexp_torch.commai.tasks.lookup_tables import table, task
from aexp_torch.errors import SpecError
from aexp_torch.testing import check_env
from tests.commai.dialogues import made, replay, sessions, talk

NANO = [nano.Task0, nano.Task1, nano.Task11, nano.Task10]
SMALL_COMP = [getattr(small_comp, name) for name in small_comp.__all__ if name != "SmallCompTask"]
REPEATING = [getattr(repeating, name) for name in repeating.__all__]
SAMPLE = [getattr(sample, name) for name in sample.__all__]
PENDING = [getattr(pending, name) for name in pending.__all__]
SPLIT = "split_lookup_tables_1"
LOOKUP = [
    task("lookup_tables", "LookupTaskR2D1"),
    task("lookup_tables_3", "LookupTaskR1D26"),
    task("lookup_tables", "FuncLookupTaskR2D1_2"),
    task("lookup_tables_5", "FuncLookupTaskR4D1_2_3"),
    task("lookup_tables", "CatLookupTaskR2D1_2"),
    task(SPLIT, "LookupTaskR3D2"),
    task(SPLIT, "FuncLookupTaskR3D2_7"),
    task(SPLIT, "FuncLookupTestTaskR3D2_7"),
    task(SPLIT, "CatLookupTaskR3D2_7TestTask"),
    task(SPLIT, "ProcLookupTaskR3D2_7_1"),
    task("split_lookup_tables_short_2", "ProcLookupTestTaskR2D1_1"),
    task("split_lookup_tables_1_rename", "FuncLookupTaskR3D2_7"),
]


def named(kind) -> str:
    return getattr(kind, "__name__", "")


# What a dialogue shows: environment, learner, rewards.

SYMBOLS = [
    (repeating.Repeat1V1L, "repeat: A. correct. repeat: A.", "         A.", " " * 20 + "+"),
    (nano.Task1, "1111000011110000", "0000001000000010", "        +       +"[:16]),
    (nano.Task11, "1111100000111110", "0000000110000000", "          +"),
    (nano.Task10, "1110100000111010", "0000000100000000", "          +"),
    (nano.Task0, "0110000011000", "0000000000000", "       +"),
    (small_comp.ReverseXTask, "V01.   V10011.      V00111.", "   10..      11001..", "       +            +"),
    (small_comp.RepeatNReverseXTask, "P4,V01.         P4,V001100.", "      10101010..", " " * 16 + "+"),
    (
        small_comp.ConcatenateRotateRXRotateSYTask,
        "CO2,01,O6,001100.         CO",
        " " * 16 + "01001100..",
        " " * 26 + "+",
    ),
    (task("lookup_tables", "LookupTaskR2D1"), "nba:01.   nba:01.", "      11..", " " * 10 + "+"),
    (task("lookup_tables", "FuncLookupTaskR2D1_2"), "fbab:01.   fbab", "       11..", " " * 11 + "+"),
    (task("lookup_tables", "CatLookupTaskR2D1_2"), "cbab:01.     cbab:", "       1100..", " " * 13 + "+"),
    (task("lookup_tables", "LookupTaskR2D1"), "nba:01.      nba", "      ppp11..", " " * 13 + "+"),
]


@pytest.mark.parametrize("kind, environment, learner, rewards", SYMBOLS, ids=named)
def test_dialogues_of_symbols(kind, environment, learner, rewards):
    said, got = replay(kind, environment, learner, CHARACTERS, most=20_000)
    assert said == environment
    assert got.rstrip() == rewards.rstrip()


BIT_DIALOGUES = [
    (
        pending.GuessTheNumberAskingQuestionsExplicitModelTask,
        "guess the 2-digit number I am thinking of; you can ask me: please tell me the number.                  13.   good"
        " job. gu",
        " " * 85 + "what's the number?   13.",
        "+",
    ),
    (
        pending.ItalianHowManyPropertiesDoesAnObjectHaveTask,
        "quante proprieta' ha pera nel cestino di john?    bravo. qu",
        " " * 46 + "sei.",
        "+",
    ),
    (pending.GlobalTwoAssociatedCharacters, "da.    oc", "   a.", "+"),
    (pending.GlobalTwoAssociatedDelimitedStringsMax4, "o#c.   oo", "    c", "+"),
    (
        sample.SampleConflictingMessagesTask,
        "Say my name   I'm Heisenberg, you don't give me orders.          You're Goddamn right. Say",
        "           Say my name" + " " * 33 + "Heisenberg",
        "+",
    ),
    (
        sample.SampleConflictingMessagesTask,
        "Say my name       Are you repeating everything I say?          You're Goddamn right. Say",
        "           my name" + " " * 35 + "Heisenberg",
        "+",
    ),
    (
        sample.TurnLeftTask,
        "Say 'I turn left.'            You turned left, you are now facing west. Say",
        " " * 18 + "I turn left.",
        "+",
    ),
    (sample.RepeatingPhraseTask, "cat.      hello", "    cat.", "+"),
]


@pytest.mark.parametrize("kind, environment, learner, reward", BIT_DIALOGUES, ids=named)
def test_dialogues_in_bits(kind, environment, learner, reward):
    said, rewards = replay(kind, environment, learner)
    at = len(rewards.rstrip()) - 1
    assert said[:at] == environment[:at]
    assert rewards.strip() == reward
    assert at == environment.rindex(" ") + 1


# Learners: a function of what the environment has said in an instance, which returns what to say from now on.

Answers = Callable[[str, Sessions], str]


def taught(make: Callable, answers: Answers, rules: Rules, instances: int, quiet: str = " ") -> tuple[Sessions, list]:
    """Returns the session when so many instances are over, and their rewards."""
    heard, queue, rewards = "", deque(), []

    def begin(lane: int, name: str) -> None:
        nonlocal heard
        heard = ""
        queue.clear()

    talks = sessions(make, 3, rules, on_task=begin)
    symbol = None
    for _ in range(100_000):
        said, reward = talks.step(symbol)
        if not np.isnan(reward[0]):
            rewards.append(float(reward[0]))
            if len(rewards) == instances:
                return talks, rewards
        heard += chr(said[0])
        queue.extend(() if queue else answers(heard, talks))
        symbol = np.array([ord(queue.popleft() if queue else quiet)], np.uint8)
    raise AssertionError(f"{len(rewards)} instances were over after 100,000 symbols")


def once(pattern: str, answer: Callable[..., str]) -> Answers:
    """Answers when all that was said is a question."""
    return lambda heard, talks: answer(*match.groups()) if (match := re.fullmatch(pattern, heard)) else ""


def value(text: str) -> tuple[str, str]:
    """Returns the value of the expression that a text begins with, and the rest."""
    code, rest = text[0], text[1:]
    if code in "01":
        bits = re.match("[01]+", text)[0]
        return bits, text[len(bits) :]
    if code == "C":
        one, rest = value(rest)
        other, rest = value(rest.removeprefix(","))
        return one + other, rest
    counted = re.match(r"(\d+),(?=[VFPOTAEC01])", rest) if code in "PO" else None
    count = int(counted[1]) if counted else {"O": 1, "T": 2, "A": -1, "E": -2}.get(code)
    inner, rest = value(rest[len(counted[0]) :] if counted else rest)
    if code == "V":
        return "".join(reversed(inner)), rest
    if code == "F":
        return "".join("10"[int(bit)] for bit in inner), rest
    if code == "P":
        return inner * count, rest
    return "".join(inner[(place - count) % len(inner)] for place in range(len(inner))), rest


def looked_up(family: str) -> Answers:
    def answer(code: str, bits: str) -> str:
        length, numbers = " abcdefgh".index(code[1].lower()), [ord(letter) - ord("a") + 1 for letter in code[2:]]
        results = []
        for number in numbers:
            source = bits if code[0].lower() in "cn" or not results else results[-1]
            results.append(table(family, length, number)[source])
        return ("".join(results) if code[0].lower() in "cp" else results[-1]) + "."

    return once(r"(\w+):([01]+)\.", answer)


def to_the_apple(talks: Sessions) -> str:
    """Returns the next command on the shortest way."""
    world = talks.tasks[0].world
    goal = next(place for place, entity in world.entities.items() if entity[0] == "apple")
    ways, seen = deque([(world.position, world.direction, "")]), set()
    while True:
        position, direction, first = ways.popleft()
        if ahead(position, direction) == goal:
            return first or "I pick up the apple."
        for side in ("left", "right"):
            ways.append((position, turned(direction, side), first or f"I turn {side}."))
        place = ahead(position, direction)
        if place not in world.entities and (place, direction) not in seen:
            seen.add((place, direction))
            ways.append((place, direction, first or "I move forward."))


def picks_apples(heard: str, talks: Sessions) -> str:
    return to_the_apple(talks) if heard.endswith(".") and "Enjoy" not in heard and talks.channels.empty()[0] else ""


def guesses(heard: str, talks: Sessions) -> str:
    asked = re.match(r"guess the (\d)-digit .* can ask me(?:: .*?| for .*?)(number|next digit)[.?](.*)", heard)
    if not (asked and heard.endswith((".", "?")) and talks.channels.empty()[0]):
        return ""
    told = "".join(re.findall(r"(\d+)\.", asked[3]))
    if len(told) == int(asked[1]):
        return f"{told}."
    return f"what is the {asked[2]}?"


def belongs(heard: str, talks: Sessions) -> str:
    if not heard.endswith("."):
        return ""
    one, targets = talks.tasks[0], talks.tasks[0].targets
    shown = heard[:-1].replace("#", "")
    prime = shown if one.shows is None else shown[: len(shown) // 2]
    return "".join(targets[letter] for letter in prime) + "." * one.period


ASSOCIATIONS = [kind for kind in PENDING if issubclass(kind, pending.AssociationTask)]
GUESSES = [kind for kind in PENDING if issubclass(kind, pending.GuessTheNumberAskingQuestionsTask)]
ENGLISH = {name: thing for thing, name in pending.ITALIAN.items()}
REPEAT = once(r"(.*\.)", str)
COMMAND = once(r"Say '(.*)'", str)
SOLVERS: dict[type, Answers] = {
    **{kind: once(r"repeat: (\w+\.)", str) for kind in REPEATING},
    **{kind: once(r"(.*)\.", lambda text: value(text)[0] + ".") for kind in SMALL_COMP},
    sample.RepeatingCharTask: once("(.)", str),
    sample.RepeatingPhraseTask: REPEAT,
    sample.YesNoTask: once(
        r"(\w+) is (not )?(\w+)\. Is (\w+) (\w+)\?", lambda one, no, other, same, also: "no" if no else "yes"
    ),
    sample.SampleConflictingMessagesTask: once("Say my name", lambda: "Heisenberg"),
    sample.MovingTask: COMMAND,
    sample.TurnLeftTask: COMMAND,
    sample.TurnRightTask: COMMAND,
    sample.LookAroundTask: once("Look around.", lambda: "I look."),
    sample.PickAnApple: picks_apples,
    sample.UnicodeTask: once(r"Please, say (.*)\.", str),
    pending.ItalianHowManyPropertiesDoesAnObjectHaveTask: once(
        r"quante proprieta' ha (\w+) nel cestino di (\w+)\?",
        lambda name, basket: f"{pending.ITALIAN_NUMBERS[len(BASKETS[basket][ENGLISH[name]])]}.",
    ),
    **dict.fromkeys(GUESSES, guesses),
    **dict.fromkeys([pending.RepeatCharacter, pending.RepeatStringMax4, pending.RepeatStringMin5Max10], REPEAT),
    **dict.fromkeys(ASSOCIATIONS, belongs),
}
WRONG = once(r".*[.?'e]", lambda: "!.")
ONLY_BITS = {sample.UnicodeTask}
TOO_LONG_FOR_BITS: set[type] = {*SMALL_COMP}


def cases(kinds: list, *all_rules: Rules) -> list:
    """Returns each task with the rules under which it can be solved."""
    return [
        (kind, rules)
        for kind in kinds
        for rules in all_rules
        if kind not in (TOO_LONG_FOR_BITS if rules is BITS else ONLY_BITS)
    ]


@pytest.mark.parametrize("kind, rules", cases(list(SOLVERS), BITS, CHARACTERS, BYTES), ids=named)
def test_a_solver_gets_everything(kind, rules):
    _, rewards = taught(lambda: made(kind), SOLVERS[kind], rules, 8)
    assert rewards == [1.0] * 8


@pytest.mark.parametrize("kind", LOOKUP, ids=named)
def test_tables_are_looked_up(kind):
    family = kind.__doc__.split(" of ")[1].rstrip(".")
    plain = family.removesuffix("_rename")
    solve = plainly = looked_up(plain)
    if plain != family:  # the letters are others, the tables the same
        letters = dict(zip(kind.code[2:], task(plain, kind.__name__).code[2:]))

        def solve(heard, talks):
            head = "".join(letters[letter] for letter in heard[2:4])
            return plainly(heard[:2] + head + heard[4:], talks) if heard[4:5] == ":" else ""

    _, rewards = taught(kind, solve, CHARACTERS, 12)
    assert rewards == [1.0] * 12
    _, rewards = taught(
        kind, lambda heard, talks: "pp" + solve(heard, talks) if solve(heard, talks) else "", CHARACTERS, 5
    )
    assert rewards == [1.0] * 5


@pytest.mark.parametrize("kind", [*SMALL_COMP, *LOOKUP], ids=named)
def test_impatient_tasks_punish_the_first_wrong_symbol(kind):
    for speech in ("!.", "", "2"):
        talks, rewards = taught(kind, once(r".*\.", lambda: speech), CHARACTERS, 5)  # noqa: B023
        assert rewards == [-1.0] * 5
        assert talks.results.tasks[kind.__name__].solved == 0


@pytest.mark.parametrize("kind", LOOKUP, ids=named)
def test_pondering_without_end_is_wrong(kind):
    said, rewards = talk(sessions(kind, 0, CHARACTERS), "p" * 80, 80)
    question = said.index(".") + 1
    answer = len(next(iter(kind.tables[0]))) * (len(kind.tables) if kind.kind in ("Cat", "Proc") else 1) + 1
    assert rewards.index("-") == question + answer + 5 + 1


@pytest.mark.parametrize("kind", SMALL_COMP, ids=named)
def test_docstrings_are_right(kind):
    question, answer = re.match(r"`(.*?)`: `(.*?)`", kind.__doc__).groups()
    assert value(question)[0] + "." == answer


@pytest.mark.parametrize("kind", SMALL_COMP, ids=named)
def test_strings_are_as_long_as_is_said(kind):
    talks = sessions(lambda: kind(max_string_length=3), 1, CHARACTERS)
    talks.step(None)
    lengths = set()
    for _ in range(200):
        question, answer = talks.tasks[0].ask()
        assert value(question)[0] + "." == answer
        strings = re.findall(r"[01]+(?=[,.])", re.sub(r"[PO]\d+,", "", question))
        lengths |= {len(one) for one in strings}
    assert lengths == {"OddReverseXTask": {1, 3}, "EvenReverseXTask": {2}}.get(kind.__name__, {1, 2, 3})


def test_bits_are_too_many():
    """Limits count steps: the last symbol of an answer comes too late, or the first."""
    kind = small_comp.FlipXTask
    assert taught(kind, SOLVERS[kind], BITS, 3)[1] == [0.0] * 3
    kind = LOOKUP[0]
    assert taught(kind, looked_up("lookup_tables"), BITS, 3)[1] == [-1.0] * 3


def test_no_strings_are_that_short():
    with pytest.raises(SpecError, match="EvenReverseXTask: expected a larger max_string_length, got 1"):
        small_comp.EvenReverseXTask(max_string_length=1)


# Wrong answers and silence, where these are worth nothing.


@pytest.mark.parametrize("kind, rules", cases(REPEATING, BITS, CHARACTERS), ids=named)
def test_repeating_tells_the_answer(kind, rules):
    answers = once(r"repeat: \w+\.", lambda: "!.")
    assert taught(kind, answers, rules, 5)[1] == [0.0] * 5
    said, rewards = talk(sessions(kind, 0, rules), "", 150)
    question = said[8 : said.index(".") + 1]
    end = {"Repeat1V1L": 112, "Repeat3V1L": 112, "Repeat3V2L": 136}[kind.__name__] // rules.steps
    assert said[end:].startswith(f"wrong: {question} ")
    assert rewards.strip()[0] == "0"


@pytest.mark.parametrize(
    "kind, rules",
    cases([kind for kind in [*PENDING, *SAMPLE] if kind is not sample.BeSilentTask], BITS, CHARACTERS),
    ids=named,
)
@pytest.mark.parametrize("answers", [lambda heard, talks: "", WRONG], ids=["silent", "wrong"])
def test_what_is_not_solved_pays_nothing_when_the_time_is_over(kind, rules, answers):
    talks, rewards = taught(lambda: made(kind), answers, rules, 2)
    assert rewards == [0.0] * 2
    counts = talks.results.tasks[kind.__name__]
    assert counts.solved == 0
    assert counts.steps >= 2 * made(kind).max_time


@pytest.mark.parametrize("kind", PENDING, ids=named)
def test_silence_ends_on_time(kind):
    """The reward comes after the time, in whole characters, what is said then, and a space."""
    said, rewards = talk(sessions(kind, 5), "", 700)
    at, over = len(rewards[: rewards.index("0")]), -(-kind.max_time // 8)
    told = said[over : at - 1]
    assert said[at - 1] == " "
    if kind.__name__.startswith("Guess"):
        what = "number" if "Questions" in kind.__name__ else "next digit"
        assert re.fullmatch(rf"if you asked: [^?.]*{what}[?.], I would have said: \d+\..*", told)
        assert "Digits" not in kind.__name__ or re.search(r"\. the number is \d+\.$", told)
    elif kind.__name__.startswith("Italian"):
        assert re.fullmatch(r"la risposta corretta e': \w+\.", told)
    else:
        assert told == " "


@pytest.mark.parametrize("kind", PENDING, ids=named)
def test_answers_during_the_question_are_not_heard(kind):
    talks = sessions(kind, 5)
    talks.step(None)
    question, answer = talks.tasks[0].question, talks.tasks[0].answers[0]
    if len(answer) < len(question):
        said, rewards = talk(sessions(kind, 5), answer.rjust(len(question) - 1), len(question) + 20)
        assert said.startswith(question)
        assert not rewards.strip()
    said, rewards = talk(sessions(kind, 5), " " * len(question) + answer, len(question) + len(answer) + 30)
    assert rewards.strip()[0] == "+"


def test_each_digit_is_told_once():
    kind = pending.GuessTheNumberAskingForDigitsTask
    heard = []

    def asks(text, talks):
        heard.append(text)
        if talks.channels.empty()[0] and text.rstrip().endswith((".", "?")):
            return "what's the next digit?" if text.count("only") < 2 else ""
        return ""

    talks, rewards = taught(kind, asks, CHARACTERS, 1)
    text = max(heard, key=len)
    number = re.search(r"the number is (\d+)\.", text)[1]
    assert re.findall(r"(?<= )(\d)\.", text.split("I would")[0])[: len(number)] == list(number)
    assert f"the number has only {len(number)} digits." in text
    assert rewards == [0.0]
    assert "if you asked" not in text


def test_local_targets_stay_the_same_and_differ_between_conversations():
    kind = pending.LocalStringPrimeTargetMax4
    tables = []
    for seed in range(4):
        talks = sessions(kind, seed)
        talks.step(None)
        before = dict(talks.tasks[0].targets)
        talk(talks, "", 300)
        assert talks.tasks[0].targets == before
        tables.append(str(before))
    assert len(set(tables)) == 4


def test_silence_of_bits_is_no_space():
    make = sample.BeSilentTask
    assert taught(make, lambda heard, talks: "", BITS, 3, quiet="\0")[1] == [1.0] * 3
    for quiet in (" ", "\xff"):
        talks, rewards = taught(make, lambda heard, talks: "", BITS, 3, quiet=quiet)
        assert rewards == [0.0] * 3
        assert talks.results.tasks["BeSilentTask"].steps < 3 * 200
    assert taught(make, lambda heard, talks: "", CHARACTERS, 3)[1] == [1.0] * 3
    assert taught(make, lambda heard, talks: "", CHARACTERS, 3, quiet="1")[1] == [0.0] * 3


@pytest.mark.parametrize(
    "kind, said",
    [
        (sample.YesNoTask, "yes" * 3 + "no" * 3),
        (sample.RepeatingCharTask, "!N"),
        (sample.LookAroundTask, "I look"),
    ],
)
def test_sample_tasks_take_nothing_else(kind, said):
    asked = (
        once(r".*\?", lambda: "no")
        if kind is sample.YesNoTask
        else once(".*", lambda: "" if said == "I look" else said)
    )
    _, rewards = taught(kind, asked, CHARACTERS, 20 if kind is sample.YesNoTask else 2)
    assert 0.0 in rewards
    assert (1.0 in rewards) == (kind is sample.YesNoTask)


@pytest.mark.parametrize("rules", [CHARACTERS, BYTES])
def test_alef_is_more_than_a_byte(rules):
    with pytest.raises(SpecError, match="UnicodeTask: expected text that symbols below 256 can carry"):
        sessions(sample.UnicodeTask, 0, rules).step(None)


# Nano.


def nano_answers(kind) -> Answers:
    return lambda heard, talks: kind.answer if heard == kind.instruction else ""


@pytest.mark.parametrize("kind", NANO, ids=named)
@pytest.mark.parametrize("patient", [False, True])
def test_nano(kind, patient):
    make = lambda: kind(patient=patient)  # noqa: E731
    talks, rewards = taught(make, nano_answers(kind), CHARACTERS, 6, quiet="0")
    assert rewards == [1.0] * 6
    length = len(kind.instruction) + len(kind.answer)
    waits = kind.max_time + 1 if patient or not kind.answer else length
    assert talks.results.tasks[kind.__name__].steps == 6 * waits
    silent = taught(make, lambda heard, talks: "", CHARACTERS, 6, quiet="0")[1]
    assert silent == [1.0 if kind is nano.Task0 else -1.0] * 6
    assert taught(make, nano_answers(kind), CHARACTERS, 6, quiet="1")[1] == [-1.0] * 6


@pytest.mark.parametrize("kind", NANO, ids=named)
def test_a_one_ends_an_instance_at_once(kind):
    said, rewards = talk(sessions(kind, 0, CHARACTERS), "01" + "0" * 10, 12)
    assert rewards.strip("+ ") == "-" if kind is nano.Task0 else rewards.strip()[0] == "-"
    assert rewards.index("-") == 3
    assert said[:3] == kind.instruction[:2] + "0"
    assert said[3:].startswith(kind.instruction[:6])


@pytest.mark.parametrize("kind", NANO, ids=named)
def test_patient_teachers_tell_their_first_verdict_late(kind):
    patient = lambda: kind(patient=True)  # noqa: E731
    learner = "1".ljust(len(kind.instruction) - 1, "0") + kind.answer
    said, rewards = talk(sessions(patient, 0, CHARACTERS), learner.ljust(30, "0"), 30)
    assert rewards.strip()[0] == "-"
    assert rewards.index("-") == kind.max_time + 1
    assert said.startswith(kind.instruction.ljust(kind.max_time + 1, "0") + kind.instruction)


# Lookup tables.


@pytest.mark.parametrize("family", ["lookup_tables", "lookup_tables_4", SPLIT, "split_lookup_tables_short_5"])
@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_tables_are_one_to_one(family, length):
    for number in (1, 2, 26):
        found = table(family, length, number)
        assert len(found) == 2**length
        assert set(found) == set(found.values()) == {f"{code:0{length}b}" for code in range(2**length)}


def test_tables_are_the_same_everywhere():
    assert "".join(table("lookup_tables", 3, 1).values()) == GOLDEN[0]
    assert "".join(table(SPLIT, 3, 8).values()) == GOLDEN[1]
    assert table(SPLIT, 3, 8) == table("split_lookup_tables_1_rename", 3, 8)
    assert table(SPLIT, 3, 8) != table("split_lookup_tables_2", 3, 8) != table("lookup_tables", 3, 8)


GOLDEN = ["010100000111110001101011", "001100101000110010111011"]


def questions(kind) -> set[str]:
    talks = sessions(kind, 2, CHARACTERS)
    talks.step(None)
    return {talks.tasks[0].ask()[0] for _ in range(400)}


@pytest.mark.parametrize("kind", ["Func", "Cat", "Proc"])
@pytest.mark.parametrize("tables", ["R2D1_2", "R3D5_5_1"])
def test_two_strings_are_held_out(kind, tables):
    shown, held_out = task(SPLIT, f"{kind}LookupTask{tables}"), task(SPLIT, f"{kind}LookupTestTask{tables}")
    trained, tested = questions(shown), questions(held_out)
    assert len(tested) == 2
    assert not trained & tested
    assert len(trained | tested) == 2 ** int(tables[1])
    assert held_out.inputs == task(SPLIT, f"{kind}LookupTask{tables}TestTask").inputs
    assert len(questions(task("lookup_tables", "FuncLookupTaskR3D1_2"))) == 8
    assert len(questions(task(SPLIT, "LookupTaskR3D1"))) == 8


def test_other_strings_are_held_out_of_other_tasks():
    held_out = {task(SPLIT, f"FuncLookupTestTaskR3D1_{number}").inputs for number in range(1, 9)}
    assert len(held_out) > 2


def test_names_tell_letters():
    assert task(SPLIT, "ProcLookupTaskR3D1_26").code == "PCaz"
    renamed = [task("split_lookup_tables_1_rename", f"LookupTaskR3D{number}").code[2:] for number in range(1, 27)]
    assert sorted(renamed) == list("abcdefghijklmnopqrstuvwxyz") != renamed


@pytest.mark.parametrize(
    "family, name, message",
    [
        ("lookup_tables_6", "LookupTaskR2D1", "expected a family"),
        ("lookup_tables", "LookupTask", "expected a name like LookupTaskR2D1"),
        ("lookup_tables", "LookupTaskR9D1", "expected strings of 1..8 bits"),
        ("lookup_tables", "LookupTaskR2D27", "and tables 1..26"),
        ("lookup_tables", "LookupTaskR2D1_2", "expected one table, or 2..8"),
        ("lookup_tables", "FuncLookupTaskR2D1", "expected one table, or 2..8"),
        ("split_lookup_tables_short_1", "FuncLookupTaskR2D1_2_3", "or 2..2 of them"),
        ("lookup_tables", "ProcLookupTaskR2D1_2", "Proc and TestTask in split families only"),
        ("lookup_tables", "FuncLookupTestTaskR2D1_2", "Proc and TestTask in split families only"),
        (SPLIT, "LookupTestTaskR2D1", "single tables are asked for in full"),
        (SPLIT, "FuncLookupTaskR1D1_2", "expected strings of two bits or more"),
    ],
)
def test_wrong_names_are_refused(family, name, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        task(family, name)


# Configurations, and how they are run.


def configured(path: str, **arguments) -> dict:
    return {
        "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
        "tasks": {"one": {"type": path, **arguments}},
        "scheduler": {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["one"]}},
    }


@pytest.mark.parametrize(
    "path",
    [
        *[f"tasks.micro.micro.{kind.__name__}" for kind in REPEATING],
        *[f"tasks.micro.nano.{kind.__name__}" for kind in NANO],
        *[f"tasks.micro.small_comp.{kind.__name__}" for kind in SMALL_COMP],
        *[f"tasks.sample.sample_tasks.{kind.__name__}" for kind in SAMPLE],
        *[f"tasks.pending.marco_tasks.{kind.__name__}" for kind in PENDING],
        *[f"tasks.competition.to_be_validated.{kind.__name__}" for kind in PENDING],
        *["tasks.micro.lookup_tables.LookupTaskR2D1", "tasks.micro.lookup_tables_5.CatLookupTaskR4D2_2"],
        *["tasks.micro.split_lookup_tables_2.ProcLookupTestTaskR3D1_2_3"],
        *["tasks.micro.split_lookup_tables_short_3.FuncLookupTaskR3D1_2"],
        *["tasks.micro.split_lookup_tables_1_rename.LookupTaskR3D1"],
    ],
)
def test_the_originals_paths_are_known(path):
    (found,) = scheduler_maker(configured(path, world="gw"))().tasks
    assert type(found).__name__ == path.rpartition(".")[2]


def test_tasks_have_arguments():
    (task_,) = scheduler_maker(configured("tasks.micro.small_comp.FlipXTask", args={"max_string_length": 2}))().tasks
    assert task_.lengths == [1, 2]
    for arguments, message in (
        ({"args": 3}, "expected the args of 'one' in the configuration to be a dict, got 3"),
        ({"args": {"no_such": 3}}, "expected arguments that fit 'tasks.micro.nano.Task0'"),
    ):
        with pytest.raises(SpecError, match=message):
            scheduler_maker(configured("tasks.micro.nano.Task0", **arguments))
    with pytest.raises(SpecError, match="expected a name like LookupTaskR2D1"):
        scheduler_maker(configured("tasks.micro.lookup_tables.Nothing"))


class Examined(BaseLearner):
    """Takes the test after some steps."""

    def __init__(self):
        self.steps, self.test_mode = 0, False

    def next(self, symbol):
        self.steps += 1
        self.test_mode = self.steps > 1000
        return "0"


def test_tests_are_taken_in_test_mode():
    names = []
    learner = Examined()
    run("lookup", learner, max_steps=2000, on_task=lambda name: names.append((learner.steps, name)))
    before, after = ([name for step, name in names if low < step < high] for low, high in ((-1, 1000), (1000, 2000)))
    assert before and all(re.fullmatch(r"LookupTaskR3D\d", name) for name in before)
    assert after and all(re.fullmatch(r"FuncLookupTestTaskR3D\d_\d", name) for name in after)
    for gaps in ([(1, 3)], [(0, 0)], [(3, 1)], [(0, 1), (3, 5)], [(0, 2), (4, 5), (1, 3)]):
        with pytest.raises(SpecError, match=r"that leave no instance from 0 on without a task, got \["):
            IntervalTaskScheduler([nano.Task0() for _ in gaps], gaps)
    IntervalTaskScheduler([nano.Task0() for _ in range(3)], [(2, 5), (0, 2), (1, 3)])
    scheduler = IntervalTaskScheduler([nano.Task0()], [(0, 3)])
    scheduler.test_mode = True
    with pytest.raises(SpecError, match="expected tasks_test for test mode, there are none"):
        scheduler.next_task()


def test_the_env_takes_tests_too():
    env = CommAIEnv("lookup", num_envs=3, test_mode=True, on_missing="sample", seed=1)
    for _, _ in zip(env, range(60)):
        pass
    assert env.results.tasks
    assert all(name.startswith("FuncLookupTest") for name in env.results.tasks)


@pytest.mark.parametrize("config", ["nano", "small_comp", "lookup"])
@pytest.mark.parametrize("num_envs", [1, 3])
def test_presets_are_sources(config, num_envs):
    check_env(lambda: CommAIEnv(config, num_envs=num_envs))


def test_a_character_is_a_symbol():
    plain, identity = Conversation("commai", seed=4), Conversation("commai", seed=4, serializer="identity")
    bits = "".join(plain.next("0" if step else None)[0] for step in range(160))
    said = "".join(identity.next("\0" if step else None)[0] for step in range(20))
    assert "".join(f"{ord(letter):08b}" for letter in said) == bits
    assert Conversation("commai", serializer="identity").next(None)[1] is None
    env = CommAIEnv("commai", serializer="identity", num_envs=2, on_missing="sample", seed=1, name="talk")
    assert env.specs["talk"].observation["symbol"].num_values == env.specs["talk"].action["symbol"].num_values == 256
    text = "".join(chr(timestep.observation["symbol"][0]) for timestep, _ in zip(env, range(12)))
    assert text.isascii() and text.replace(" ", "a").isprintable()


def test_limits_count_characters():
    task_ = configured("tasks.competition.repetition.RepeatWhatISayTask")
    for serializer, symbols in (("standard", 1000 / 8), ("core.serializer.IdentitySerializer", 1000)):
        talks = Conversation(task_, serializer=serializer)
        quiet = " " if serializer != "standard" else "0"
        steps = 0
        while not talks.results.tasks or not next(iter(talks.results.tasks.values())).finished:
            talks.next(quiet if steps else None)
            steps += 1
        assert symbols <= steps / (8 if serializer == "standard" else 1) < symbols + 20


@pytest.mark.parametrize(
    "options, message",
    [
        ({"serializer": "none"}, "expected one of the serializers"),
        ({"serializer": "core.serializer.ScramblingSerializerWrapper"}, "Set scramble=True"),
        ({"mode": "word"}, "expected mode 'bit' or 'byte', got 'word'"),
    ],
)
def test_wrong_serializers_are_refused(options, message):
    for make in (CommAIEnv, Conversation):
        with pytest.raises(SpecError, match=message):
            make("nano", **options)


def test_symbols_of_the_identity_serializer_are_checked():
    class Says(BaseLearner):
        def next(self, symbol):
            return "01"

    with pytest.raises(SpecError, match="expected one character .* in bit mode, got '01'"):
        run("nano", Says, max_steps=5)


@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_no_reward_is_lost(mode):
    results = run("small_comp", BaseLearner, mode=mode, max_steps=5000)
    assert (
        sum(task.reward for task in results.tasks.values())
        == -sum(task.finished for task in results.tasks.values())
        < 0
    )


@pytest.mark.parametrize("config", ["nano", "small_comp", "lookup"])
def test_a_lane_alone_goes_like_one_of_many(config):
    make = scheduler_maker(config)
    alone, both = Sessions([make()], CHARACTERS, [7]), Sessions([make(), make()], CHARACTERS, [7, 99])
    expected, got = alone.step(None), both.step(None)
    for symbol in np.random.default_rng(0).choice(list(b"01.p \xff"), 3000).astype(np.uint8):
        np.testing.assert_array_equal(expected[0][0], got[0][0])
        np.testing.assert_array_equal(expected[1][0], got[1][0])
        expected, got = alone.step(np.array([symbol])), both.step(np.array([symbol, 48], np.uint8))
