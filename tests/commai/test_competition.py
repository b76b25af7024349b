"""The 40 tasks of CommAI-env: solved, answered wrongly, and left alone."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.grid_world import GridWorld
from aexp_torch.commai.schedulers import SequentialTaskScheduler
from aexp_torch.commai.sessions import BITS, Rules, Sessions
from aexp_torch.commai.tasks import counting, navigation, objects, repetition
from aexp_torch.commai.tasks.baskets import BASKETS
from aexp_torch.commai.words import number_in
from tests.commai.solvers import SAY, SOLVERS, Player, until

POS = r"(good job|bravo|congratulations|nice work|correct)\."
NEG = r"(wrong!|wrong\.|you failed!|incorrect\.)"
LATE = r"(time is out!|sorry, time is out!|too bad, time out!)"
KINDS = {name: getattr(part, name) for part in (repetition, counting, objects, navigation) for name in part.__all__}
LANES, INSTANCES = 10, 2


@dataclass
class Case:
    """Says what an instance comes to; texts are patterns.

    Args:
      limit: bits.
      praise: after the right answer.
      late: when the time is over.
      blame: after a wrong answer; None: that is ignored.
      goes_on: after a wrong answer.
      wrong: an answer.
    """

    limit: int
    praise: str = POS
    late: str = NEG
    blame: str | None = NEG
    goes_on: bool = False
    wrong: str = "spam."


def told(noun: str, goes_on: bool = True) -> dict:
    """How the tasks about baskets tell the answer: at once, or only at the end."""
    text = rf"{noun}: [\w ]+\."
    late = rf"you are too slow\. {text}" if goes_on else text
    return {"late": late, "blame": rf"{text} please try again\. .+\?" if goes_on else None, "goes_on": goes_on}


CORRECTED = rf"{NEG} correct answer is: [\w ,]+\."
COUNTED = r"Wrong\. The right answer is: \w+\."
NO_PRAISE = {"late": LATE, "blame": None}
CASES = {
    "BeSilentTask": Case(0, late=POS),
    "RepeatCharacterTask": Case(1000),
    "RepeatWhatISayTask": Case(1000),
    "RepeatWhatISay2Task": Case(1000),
    **{
        f"RepeatWhatISayMultipleTimes{form}Task": Case(10_000, late=CORRECTED, blame=CORRECTED)
        for form in ("", "2", "SeparatedByComma", "SeparatedByAnd", "SeparatedByCA")
    },
    "RepeatWhatISayDisjunction": Case(3000),
    "RepeatWhatISayConjunctionNegation": Case(3000),
    "VerbTask": Case(896, praise=r"You (sang|smiled|rested|relaxed|jumped|danced)\."),
    "SimpleCountingTask": Case(3000, late=COUNTED, blame=COUNTED),
    "ObjectExistenceTask1": Case(
        3000,
        praise="Correct!",
        late=r"You are too slow! Let's try something else\.",
        blame=r"Wrong, I do (not )?have \w+\. Do I have \w+\?",
        goes_on=True,
        wrong="nor",
    ),
    "ObjectExistenceTask2": Case(
        3000, late=r"Wrong\. I do (not )?have an? \w+\.", blame=r"Wrong\. I do (not )?have an? \w+\.", wrong="no."
    ),
    "AssociateObjectWithPropertyTask": Case(3000, **told("the right answer is", False)),
    "VerifyThatObjectHasPropertyTask": Case(3000, **told("the right answer is", False)),
    "ListPropertiesOfAnObjectTask": Case(3500, **told("the right properties are", False)),
    "NameAPropertyOfAnObjectTask": Case(3000, **told("one right answer is", False)),
    "HowManyPropertiesDoesAnObjectHaveTask": Case(3000, **told("the right answer is", False)),
    "ListObjectsWithACertainPropertyTask": Case(3500, **told("the right objects are")),
    "NameAnObjectWithAPropertyTask": Case(3000, **told("one right answer is")),
    "HowManyObjectsHaveACertainPropertyTask": Case(3000, **told("the right answer is")),
    "WhoHasACertainObjectWithACertainPropertyTask": Case(3500, **told("the right answer is")),
    "ListThePropertiesThatAnObjectHasInABasketOnlyTask": Case(3500, **told("the right properties are")),
    "ListThePropertiesThatAnObjectHasInAllBasketsTask": Case(3500, **told("the right properties are")),
    "TurningTask": Case(576, praise=r"You turned (left|right), you are now facing \w+\.", **NO_PRAISE),
    "MovingTask": Case(600, praise=r"You moved\.", **NO_PRAISE),
    "MovingRelativeTask": Case(784, praise=r"You moved\.", **NO_PRAISE),
    "MovingAbsoluteTask": Case(2336, praise=r"You moved\.", **NO_PRAISE),
    "PickUpTask": Case(1328, praise=r"You picked up the \w+\.", **NO_PRAISE),
    "PickUpAroundTask": Case(2896, praise=r"You picked up the \w+\.", **NO_PRAISE),
    "PickUpInFrontTask": Case(3328, praise=r"You picked up the \w+\.", **NO_PRAISE),
    "GivingTask": Case(1280, praise=r"You gave me an? \w+\.", **NO_PRAISE),
    "PickUpAroundAndGiveTask": Case(5584, praise=r"You gave me an? \w+\.", **NO_PRAISE),
    "CountingInventoryTask": Case(
        800, praise="Correct!", late=LATE, blame=rf"{NEG} You have 0 \w+s\.", goes_on=True, wrong="3."
    ),
    "CountingInventoryGivingTask": Case(8000, late=LATE, blame=None),
    "LookTask": Case(
        1000, praise=r"Congratulations! You are looking in the right direction\.", late="", blame=None, wrong="I look"
    ),
    "LookAroundTask": Case(
        5000,
        praise="Congratulations!",
        late="",
        blame=r"You are not allowed to move\.",
        wrong="I move forward.",
    ),
    "FindObjectAroundTask": Case(10_000, praise="Well done!", late="", blame=None),
}


@dataclass
class Instance:
    """What was said in an instance, a character for a character, and what it was worth."""

    environment: str
    learner: str
    reward: float

    @property
    def bits(self) -> int:
        """Until the reward came."""
        return 8 * len(self.environment)


class Interpreter(Player):
    """Knows what the invented words mean, and says them."""

    raw = ""

    def next(self, character: str) -> str:
        self.raw += character
        meant = self.scrambler.unscramble(self.raw)
        self.heard = meant[:-1]
        said = super().next(meant[-1])
        if not self.heard:
            self.raw = ""
        return said

    def _advance(self, match: re.Match | None) -> None:
        super()._advance(match)
        self.line = self.scrambler.unscramble(self.line) if self.line else self.line  # that goes both ways


def played(
    name: str, players: list, instances: int, rules: Rules = BITS, scrambles: bool = False
) -> list[list[Instance]]:
    """Returns the instances of every lane; lane k goes like that of any session with seed k."""
    kind = KINDS[name]
    schedulers = [SequentialTaskScheduler([kind(GridWorld())]) for _ in players]
    talks = Sessions(schedulers, rules, list(range(len(players))), scrambles=scrambles)
    for player, scrambler in zip(players, talks._scramblers, strict=False):
        player.scrambler = scrambler
    over = [[] for _ in players]
    said, heard = [""] * len(players), [""] * len(players)
    symbols = None
    while any(len(lane) < instances for lane in over):
        symbols, rewards = talks.step(symbols)
        answers = np.zeros(len(players), np.uint8)
        for lane, player in enumerate(players):
            if not np.isnan(rewards[lane]):
                over[lane].append(Instance(said[lane], heard[lane], float(rewards[lane])))
                said[lane] = heard[lane] = ""
                player.begin()
            said[lane] += chr(symbols[lane])
            answer = player.next(chr(symbols[lane]))
            heard[lane] += answer
            answers[lane] = ord(answer)
        symbols = answers
    return [lane[:instances] for lane in over]


def rounded(bits: int) -> int:
    return -(-bits // 8) * 8


def is_about_turn(instance: Instance) -> bool:
    """Looking back takes longer than there is time: the world says what it has done, and does not hear meanwhile."""
    found = re.match(r"Look to the (\w+), you are currently facing (\w+)\.", instance.environment)
    return {found[1], found[2]} in ({"north", "south"}, {"east", "west"}) if found else False


def test_numbers():
    assert (number_in("12"), number_in("three")) == (12, 3)
    assert [number_in(text) for text in ("9" * 5000, "one hundred", "-1", "\u0663", "")] == [None] * 5


@pytest.mark.parametrize(
    "preset, in_world",
    [("commai", 39), ("micro", 0), ("mini", 6), ("challenge", 6), ("nano", 0), ("small_comp", 0), ("lookup", 0)],
)
def test_only_tasks_of_the_world_have_one(preset, in_world):
    """Where there is none, nobody sees anything."""
    assert sum(task.world is not None for task in scheduler_maker(preset)().tasks) == in_world


def test_all_are_here():
    assert set(SOLVERS) == set(CASES) == set(KINDS)
    assert len(KINDS) == 40


def feedback_of(instance: Instance, pattern: str) -> str:
    """Returns the words at the end that a pattern describes."""
    text = instance.environment.rstrip()
    found = next((at for at in range(len(text)) if re.fullmatch(pattern, text[at:])), None)
    assert found is not None, text
    return text[found:]


def ends_late(case: Case, instance: Instance) -> bool:
    """Tells whether it ends as it should where the time is over and nothing is being said."""
    limit = rounded(case.limit)
    if not case.late:
        return instance.bits == limit + 16
    return instance.bits == limit + 8 * len(feedback_of(instance, case.late)) + 8


@pytest.mark.parametrize("name", KINDS)
def test_a_solver_gets_the_full_reward(name):
    case = CASES[name]
    lanes = played(name, [Player(SOLVERS[name]) for _ in range(LANES)], INSTANCES)
    instances = [instance for lane in lanes for instance in lane]
    turned_back = [instance for instance in instances if is_about_turn(instance)]
    for instance in instances:
        assert instance.reward == (instance not in turned_back)
        if name != "BeSilentTask" and instance.reward:
            # The praise follows the last symbol of the answer, then a space; with the next symbol comes the reward.
            end = len(instance.learner.rstrip()) - 1
            praise = instance.environment[end + 1 : -1]
            assert re.fullmatch(case.praise, praise), praise
            assert instance.environment[-1] == " "
            assert instance.bits == 8 * (end + len(praise) + 2)
    assert len(turned_back) == 0 or (name == "LookTask" and len(turned_back) < len(instances) / 2)
    assert played(name, [Player(SOLVERS[name])], INSTANCES)[0] == lanes[0]


DEFECTIVE = {"CountingInventoryGivingTask", "ListThePropertiesThatAnObjectHasInAllBasketsTask"}


@pytest.mark.parametrize("compat", [False, True])
def test_all_tasks_in_one_world_are_solved(compat):
    """A session of the preset, which goes on in one world; the class of a task is announced."""
    names, players = {}, [Player(None) for _ in range(4)]

    def begins(lane: int, name: str) -> None:
        names[lane] = name
        players[lane].solver = SOLVERS[name]
        players[lane].begin()

    make = scheduler_maker("commai")
    talks = Sessions([make() for _ in players], BITS.with_defects() if compat else BITS, [1, 2, 3, 4], on_task=begins)
    symbols, rewards = talks.step(None)
    before, got, said = dict(names), [], [""] * len(players)
    for _ in range(8000):
        for lane, reward in enumerate(rewards):
            if not np.isnan(reward):
                got.append((before[lane], reward, is_about_turn(Instance(said[lane], "", reward))))
                before[lane], said[lane] = names[lane], ""
            said[lane] += chr(symbols[lane])
        answers = [ord(player.next(chr(symbol))) for player, symbol in zip(players, symbols, strict=True)]
        symbols, rewards = talks.step(np.array(answers, np.uint8))
    failed = {name for name, reward, about_turn in got if not reward and not about_turn}
    assert len(got) > 150
    assert len({name for name, _, _ in got}) == 39
    assert failed == (DEFECTIVE if compat else set())


@pytest.mark.parametrize("name", KINDS)
def test_who_knows_the_invented_words_gets_it_too(name):
    plain = played(name, [Player(SOLVERS[name]) for _ in range(4)], 1)
    lanes = played(name, [Interpreter(SOLVERS[name]) for _ in range(4)], 1, scrambles=True)
    # Where a number is "i" in the new language, "I" cannot be said; nor can the learner look back in time.
    assert sum(lane[0].reward for lane in lanes) >= (1 if name == "LookTask" else 3)
    assert all(lane[0].environment != other[0].environment for lane, other in zip(lanes, plain, strict=True))


@pytest.mark.parametrize("name", [name for name in KINDS if name != "BeSilentTask"])
def test_silence_runs_out_of_time(name):
    for lane in played(name, [Player(None) for _ in range(3)], 2):
        for instance in lane:
            assert instance.reward == 0
            assert ends_late(CASES[name], instance)


def test_silence_is_what_one_task_wants():
    limits = []
    for lane in played("BeSilentTask", [Player(None) for _ in range(20)], 3):
        assert all(instance.reward == 1 for instance in lane)
        ends = {instance.bits - 8 * len(feedback_of(instance, POS)) - 8 for instance in lane}
        assert len(ends) == 1  # the time is drawn once
        limits += ends
    assert len(set(limits)) > 10
    assert 100 <= min(limits) <= max(limits) <= 1000


def saying(line: str, again: bool) -> callable:
    """Says something when there is silence; if `again`, whenever there is."""

    def solver(player: Player):
        yield until("[^ ]   $")  # some prompts have two spaces in their midst
        yield line
        while again:
            yield until("[^ ]   $")
            yield line

    return solver


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("name", [name for name in KINDS if name != "CountingInventoryGivingTask"])
def test_wrong_answers(name, again):
    case = CASES[name]
    for lane in played(name, [Player(saying(case.wrong, again)) for _ in range(4)], 2):
        for instance in lane:
            assert instance.reward == 0
            said = len(instance.learner) - len(instance.learner.lstrip())
            heard = said if name == "BeSilentTask" else said + len(case.wrong) - 1  # the symbol that decides
            rest = instance.environment[heard + 1 :]
            if case.blame is None:
                assert ends_late(case, instance)
            elif not case.goes_on:
                assert re.fullmatch(case.blame + " ", rest), rest
                assert instance.bits == 8 * (heard + len(rest) - 1 + 2)
            elif not again:
                assert re.match(case.blame + " ", rest), rest
                assert ends_late(case, instance)
            else:
                hints = re.fullmatch(rf"((?:{case.blame} *)+){case.late} ", rest)
                assert hints, rest
                # A hint that is being spoken when the time is over is ended first.
                over = 8 * len(feedback_of(instance, case.late)) + 8 + rounded(case.limit)
                assert over <= instance.bits <= over + 8 * len(max(hints[1].split("   "), key=len))


class Chatterer(Player):
    """Says the same all the time, or what it has just heard."""

    def __init__(self, said: str):
        super().__init__(None)
        self.said = said

    def next(self, character: str) -> str:
        return self.said or character


@pytest.mark.parametrize("said", [".", ""])
@pytest.mark.parametrize("name", KINDS)
def test_every_instance_comes_to_an_end(name, said):
    for lane in played(name, [Chatterer(said) for _ in range(2)], 1):
        for instance in lane:
            # What is being said when the time is over is said to its end.
            assert instance.bits <= rounded(CASES[name].limit or 1000) + 8 * 300


def counts(first: str, second: str, third: str, gives: bool = True) -> callable:
    """Answers the three questions of CountingInventoryGivingTask."""

    def solver(player: Player):
        yield until(r"How many \w+ do you have\?$")
        yield first
        thing = yield until(rf"{NEG if first != '0.' else POS} I gave you (an? \w+)\. How many \w+ do you have now\?$")
        yield second
        yield until(rf"{NEG if second != '1.' else POS} Now give the \w+ back to me\.$")
        if gives:
            yield "7."  # is not heard as an answer
            yield f"I give you {thing[2]}."
            yield until(r"Good! You gave me an? \w+\. How many \w+ do you have now\?$")
            yield third

    return solver


@pytest.mark.parametrize(
    "answers, reward, feedback",
    [
        *[(("0.", "1.", "0."), 1, POS), (("2.", "1.", "0."), 0, POS), (("0.", "spam.", "0."), 0, POS)],
        *[(("0.", "1.", "1."), 0, NEG), (("x.", "y.", "z."), 0, NEG)],
    ],
)
def test_three_counts(answers, reward, feedback):
    for lane in played("CountingInventoryGivingTask", [Player(counts(*answers)) for _ in range(3)], 3):
        for instance in lane:
            assert instance.reward == reward
            assert re.search(rf"\? +{feedback} $", instance.environment)


def test_what_is_not_given_back_is_waited_for():
    for lane in played("CountingInventoryGivingTask", [Player(counts("0.", "1.", "", gives=False))], 1):
        assert lane[0].reward == 0
        assert ends_late(CASES["CountingInventoryGivingTask"], lane[0])


def test_who_has_not_taken_it_cannot_give_it():
    def solver(player):
        thing = yield until(r"There is (an? \w+) \w+ from you\. Pick it up and give it to me\.$")
        yield f"I give you {thing[1]}."
        yield until(rf"You have to pick up the {thing[1].split()[1]} first\.$")

    assert played("PickUpAroundAndGiveTask", [Player(solver)], 1)[0][0].reward == 0


def test_looking_elsewhere_is_answered_by_the_world():
    def solver(player):
        match = yield until(r"Look to the (\w+), you are currently facing (\w+)\.$")
        if match[1] != match[2]:
            yield "I look."
            yield until(r"There is nothing here\.$")
            seen.append(match[1])

    seen = []
    for lane in played("LookTask", [Player(solver) for _ in range(8)], 1):
        assert lane[0].reward == 0
    assert seen


def test_where_the_learner_has_looked_already():
    def solver(player):
        yield until(r"Look around\. You are facing north\.$")
        yield "I look."
        yield until(r"3 directions to go\.$")
        yield "I look."
        yield until(r"You already look here\.$")
        told.append(True)

    told = []
    played("LookAroundTask", [Player(solver)], 1)
    assert told


def answered(name: str, question: str, answer: str) -> list[tuple[Instance, re.Match]]:
    """Answers 60 times; returns where it was that question, with what it asks for."""

    def solver(player):
        match = yield until(question)
        yield until("   $")
        yield answer.format(*match.groups()) + "."

    lanes = played(name, [Player(solver) for _ in range(60)], 1)
    said = [len(lane[0].learner) - len(lane[0].learner.lstrip()) for lane in lanes]
    matches = [re.search(question, lane[0].environment[:at].rstrip()) for lane, at in zip(lanes, said, strict=True)]
    found = [(lane[0], match) for lane, match in zip(lanes, matches, strict=True) if match]
    assert found
    return found


MANGO = r"which properties does mango have in john's basket\?$"
PHRASE, EITHER, BOTH = (
    SAY + r"(.+)\.$",
    SAY + r"(.+) or (.+)\.$",
    rf"(do not|don't|) {SAY}(.+) and (do not|don't|) {SAY}(.+)\.$",
)


@pytest.mark.parametrize(
    "name, question, answer, reward",
    [
        *[
            ("ListPropertiesOfAnObjectTask", MANGO, answer, reward)
            for answer, reward in [
                *[("expensive, exotic", 1), ("x y exotic expensive", 1), ("exotic, and expensive", 1)],
                *[("exotic and expensive", 1), ("exotic", 0), ("exotic exotic", 0), ("exotic  expensive", 0)],
            ]
        ],
        *[
            ("HowManyPropertiesDoesAnObjectHaveTask", "how many property does mango have in john", answer, reward)
            for answer, reward in [("2", 1), ("two", 1), ("32", 1), ("23", 0)]
        ],
        *[("RepeatWhatISayTask", PHRASE, answer, 1) for answer in ("well {0}", "!{0}")],
        *[
            ("RepeatWhatISayDisjunction", EITHER, answer, reward)
            for answer, reward in [("{0}", 1), ("{1}", 1), ("x {0}", 0)]
        ],
        *[("VerbTask", r"Say 'I (\w+)'", answer, 1) for answer in ("{0}", "I {0}", "you {0}")],
        *[("SimpleCountingTask", r"How many (\w+) do I have", answer, 0) for answer in ("0", "1", "2")],
        *[("ObjectExistenceTask2", "Do I have", answer, 0) for answer in ("yes", "no")],
    ],
)
def test_which_answers_are_right(name, question, answer, reward):
    assert {instance.reward for instance, _ in answered(name, question, answer)} == {reward}


@pytest.mark.parametrize("answer", ["{1}", "{3}", "{1} and {3}", "{3} and {1}", "", "x {1}"])
def test_what_may_be_said_of_two_phrases(answer):
    """The table of the original, with what it takes when both are forbidden."""
    for instance, match in answered("RepeatWhatISayConjunctionNegation", BOTH, answer):
        no_first, first, no_second, second = match.groups()
        if no_first or no_second or first == second:
            right = {second if no_first and not no_second else first}
        else:
            right = {f"{first} and {second}", f"{second} and {first}"}
        assert instance.reward == (answer.format(*match.groups()) in right)


def test_the_baskets_are_like_the_originals():
    john, mary = BASKETS["john"], BASKETS["mary"]
    sizes = {name: [len(set(properties)) for properties in basket.values()] for name, basket in BASKETS.items()}
    assert sizes == {"john": [7, 7, 9, 7, 8, 2, 6, 6, 6, 7, 6], "mary": [7, 6, 8, 6, 7, 6, 6, 6, 6, 6, 5]}
    assert [len({one for row in basket.values() for one in row}) for basket in (john, mary)] == [30, 28]
    common = {thing: len({*john[thing]} & {*mary[thing]}) for thing in john if thing in mary}
    assert list(common.values()) == [2, 4, 4, 4, 0, 2, 3, 3, 5]
    assert {*mary["tomato"]} < {*john["tomato"]}
