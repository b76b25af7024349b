"""The Challenge's dialogues, symbol by symbol: what is said, what is answered, and the rewards."""

import random
import re

import pytest

from aexp_torch.commai import run
from aexp_torch.commai.sessions import BYTES
from aexp_torch.commai.tasks import micro
from aexp_torch.commai.tasks.mini import Description, TaskSet1
from tests.commai.dialogues import sessions, talk


class Told(random.Random):
    """Draws what it was told to, in turn, then anything."""

    def __init__(self, draws):
        super().__init__(0)
        self.draws = list(draws)

    def choices(self, options, *, k):
        if not self.draws:
            return super().choices(options, k=k)
        drawn, self.draws = self.draws[:k], self.draws[k:]
        assert len(options) > 100 or set(drawn) <= set(options)  # the dictionary is our own
        return drawn

    def choice(self, options):
        return self.choices(options, k=1)[0] if self.draws else super().choice(options)

    def sample(self, options, k):
        return self.choices(options, k=k) if self.draws else super().sample(options, k)

    def randint(self, first, last):
        return self.choice(range(first, last + 1))

    def randrange(self, last):
        return self.choice(range(last))

    def random(self):
        return self.draws.pop(0) if self.draws else super().random()


def mapping(kind, table: dict, keys: list, draws=()):
    """Returns a task with a table, which asks for keys in this order."""
    asked = list(keys)

    class It(kind):
        def draw(self):
            told, self.rng = self.rng, random.Random(0)
            super().draw()
            self.rng = told
            return dict(table)

        def order(self):
            following = [asked.pop(0)] if asked else [*table]
            return following[:1]

    It.__name__ = kind.__name__
    return It(), draws


def told_rewards(environment: str) -> str:
    """Returns the rewards that come with the first symbols of praise and blame."""
    return re.sub(
        r"(good job!|correct!)|(wrong!|false!)|.",
        lambda found: ("+" if found[1] else "-" if found[2] else " ") + " " * (len(found[0]) - 1),
        environment,
    )


def goes(task, draws, environment: str, learner: str, rewards: str | None) -> None:
    """Checks a dialogue; where the rewards are written down in part only, that part; where not at all, by the feedback."""
    talks = sessions(lambda: task, 0, BYTES)
    talks.rngs[0] = talks.schedulers[0].rng = Told(draws)
    said, given = talk(talks, learner, len(environment))
    assert said == environment
    expected = told_rewards(environment) if rewards is None else rewards
    assert given[: len(expected)].replace("0", " ") == expected


def pairs(told: str, size: int = 2) -> tuple[dict, list]:
    """Returns the table and the keys of `key answer` pairs of symbols."""
    parts = [told[place : place + size] for place in range(0, len(told), size)]
    return {part[0]: part[1:] for part in parts}, [part[0] for part in parts]


SUB6 = {"7": "5.", "2": "6.", "8": "9.", "3": "0.", "0": "5.", "1": "2."}
ROWS = [
    (
        *mapping(micro.Micro4Task, {letter: letter for letter in "udz!hf"}, list("uddudzzdzu!dhff")),
        "uddudzzdzu!dhff",
        "uddudzzdzu!dhff",
        " +++++++++++",
    ),
    (
        *mapping(
            micro.Micro2Task,
            {mark: mark for mark in micro.PUNCTUATION} | dict.fromkeys("euab", "a"),
            list("  ., eue?:e?;e ??."),
        ),
        "  ., eue?:e?;e ??.",
        "  ., zyx?:w?;v ??.",
        " +++++---++-++-+++",
    ),
    (
        *mapping(micro.Micro5Sub1Task, *pairs("3998982612407140")),
        "3998982612407140",
        "9 9 8 9 9 9 9 0",
        " + - + - - - -",
    ),
    (*mapping(micro.Micro5Sub2Task, *pairs("3998982612")), "39;98;98;26;12;", "9  9  8  9  9", " +  -  +  -  -"),
    (*mapping(micro.Micro5Sub3Task, *pairs("39989826")), "3.9;9.8;9.8;2.6;", " 9   9   8   9", "  +   -   +   -"),
    (
        *mapping(micro.Micro5Sub4Task, {"5": "83", "7": "66", "2": "10"}, list("5572")),
        "5. 83;5. 83;7. 66;2.",
        " .     83    .     .",
        "   -     +     -",
    ),
    (
        *mapping(micro.Micro5Sub6Task, SUB6, list("72830221")),
        "7. 5.;2. 6.;8. 9.;3. 0.;0. 5.;2. 6;2. 6;1. 2.;",
        " .     .     .     .     .     6.   6.   .",
        "   -     -     -     -     -     +    +    -",
    ),
    (
        *mapping(micro.Micro5Sub10Task, SUB6, list("7283022"), [draw for digit in "4572732" for draw in (1, digit)]),
        "7. 45.;2. 56.;8. 79.;3. 20.;0. 75.;2. 36.;2. 26.;",
        " .      .      .      .      .      6.     6.",
        "   -      -      -      -      -      +      +",
    ),
    (
        *mapping(micro.Micro5Sub17Task, {"08": "4911.", "46": "62527.", "5": "1."}, ["08", "46", "08", "5"]),
        "08.    4911.;46.     62527.;08.    4911.;5.",
        "  .            .              4911.       .",
        "       -             -             +",
    ),
    (
        *mapping(
            micro.Micro6Task,
            {"never": "we.", "can": "point.", "follow": "develop."},
            ["never", "can", "follow", "can"],
        ),
        "random_map: never. wrong! we.;random_map: can. wrong! point.;random_map: follow. wrong! develop.;random_map: can."
        "     good job! ;r",
        "                  .                           .                                 .                               "
        "point.",
        "                   -                           -                                 -                              "
        "      +",
    ),
    (
        micro.Micro7Sub1Task(),
        ["k", "e"],
        "say: k. correct! k.;say: e. correct! e.;",
        "      k.                  e.",
        "        +                   +",
    ),
    (
        micro.Micro7Sub2Task(),
        ["suggestion", "win"],
        "say: suggestion.          correct! suggestion.;say: win.",
        "               suggestion.",
        "                          +",
    ),
    (
        micro.Micro8Task(),
        [2, 3, 0, "e", "u", 0, 0, 4, "r", "l"],
        "say:   e   u.   correct! e u.;say: rl    .   correct! rl .;",
        "            e u.                         rl .",
        None,
    ),
    (
        micro.Micro9Sub2Task(),
        ["win"],
        "spell: win.      good job! w i n .;",
        "          w i n .",
        None,
    ),
    (
        micro.Micro9Sub3Task(),
        ["suggestion", "-"],
        "interleave: suggestion by -.                   good job! s-u-g-g-e-s-t-i-o-n.;",
        "                           s-u-g-g-e-s-t-i-o-n.",
        None,
    ),
    (
        micro.Micro10Task(),
        [3, "win", "admission", "change"],
        "say: win say: admission say: change.                    good job! ;",
        "                                   win admission change.",
        None,
    ),
    (
        micro.Micro11Task(),
        ["ac", "bc", "concatenate", "ab", "ab", "interleave"],
        "say: ac say: bc concatenate:.    good job! ;say: ab say: ab interleave:.    good job! ;",
        "                            acbc.                                      aabb.",
        None,
    ),
    (
        micro.Micro12Task(),
        ["acd", "d", "exclude", "abc", "a", "union"],
        "say: acd say: d exclude:.  good job! ;say: abc say: a union:.   good job! ;",
        "                        ac.                                 abc.",
        None,
    ),
    (
        micro.Micro12Task(),
        ["acd", "d", "exclude"],
        "say: acd say: d exclude:.   wrong! ac.;",
        "                          4.",  # written two columns further left, where it would have been judged earlier
        None,
    ),
    (
        micro.Micro13Sub1Task(),
        ["not", "b", "a", "a", "and", "a", "e"],
        " say: anything and not b. good job! ; say: a and e.  good job! ;",
        "                        a.                        ae.",
        None,
    ),
    (
        micro.Micro13Sub2Task(),
        [2, 2, "u", "b", 1, "r", True, 3, 3, "b", "q", "g", 1, "c", 2, "n", "c", False, "c"],
        "say: ub and r.   good job! ;say: bqg or c or nc.   good job! ;",
        "             ubr.                              bqg.",
        None,
    ),
    (
        micro.Micro14Task(),
        [10],
        "after k comes what:. good job! ;",
        "                   l.",
        None,
    ),
    (
        *mapping(micro.Micro15Task, {"seventy": "eighty.", "ten": "twenty."}, ["seventy", "ten"]),
        "say next after: seventy. wrong! eighty.;say next after: ten. wrong! twenty.;",
        "                        .                                   .",
        None,
    ),
    (
        micro.Micro19Task(),
        [0, 1, 3, 2, "bcd", "a", "union", "say", "and", "or", "after", "union", "exclude"]
        + ["abc", "d", "union", "print", "and", "or", "after", "joint", "exclude"],
        "say: bcd say: a union:.    good job! ;print: abc print: d joint:.    good job! ;",
        "                      bcda.                                     abcd.",
        None,
    ),
    (
        micro.Micro20Task(),
        [1, 2, 3, 0, "love", "a1", "a2", "a3", "a4", "a5", 3, "nothing", "pastry", "crowd", "say"],
        "love is as say - love: nothing love: pastry love: crowd.                    good job! ;",
        "                                                       nothing pastry crowd.",
        None,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{type(row[0]).__name__}-{row[2][:12]}")
def test_micro(row):
    goes(*row)


def test_micro1():
    """Walks through the candidates, from the last one, until one is right, and stays with it."""

    class It(micro.Micro1Task):
        def draw(self):
            super().draw()
            return dict.fromkeys("gPtxd6jYab", "d")

        def order(self):
            return list("gPtxxtgtdxP6tg6P66" + "g" * 51 + "jttdxY")[::-1]

    candidates, right = micro.SYMBOLS[::-1], micro.SYMBOLS[::-1].index("d")
    goes(
        It(),
        [],
        "gPtxxtgtdxP6tg6P66" + "g" * 51 + "jttdxY",
        candidates[: right + 1] + "d" * 9,
        " " + "-" * right + "+" * 9,
    )
    assert candidates.startswith("-?;!., 9876543210ZYX")


def mini(descriptions: list, draws: list):
    asked = iter(descriptions)

    class It(TaskSet1):
        def describe(self):
            description, self.text = next(asked)
            return description

        def text_for(self, description, fits):
            assert description.fits(self.text) == fits
            return self.text

    return It(), draws


def letters(*groups, all_of=True, anything=False) -> Description:
    return Description(list(groups), [], all_of, anything)


MINI = [
    (
        *mini(
            [(letters("M"), "MMM"), (letters("C"), "CCCCCCCVC"), (letters("D"), "D")],
            [True, "correct.", False, "correct."],
        ),
        "description: M; verify: MMM.    correct. description: C; verify: CCCCCCCVC.     correct. desc",
        "                           true.                                          false.",
        "                                         +                                               +",
    ),
    (
        *mini([(letters("R", "UB", anything=True), "PYUBUBOJRMXFZY"), (letters("D"), "D")], [True, "bravo."]),
        "description: R and UB and anything; verify: PYUBUBOJRMXFZY.    bravo. desc",
        "                                                          true.",
        "                                                                      +",
    ),
    (
        *mini([(letters("C", "DLS", all_of=False), "CCCDLSCCDLS"), (letters("BH"), "BH")], [True]),
        "description: C or DLS; verify: CCCDLSCCDLS.Wrong. The right answer is: true. description: BH;",
        "." * 93,
        " " * 93,
    ),
]


@pytest.mark.parametrize("row", MINI, ids=lambda row: row[2][:20])
def test_mini(row):
    goes(*row)


def test_the_first_messages_of_a_session():
    """Who always says a period hears 0 and `1`, -1 and `e`, -1 and `1`."""

    class Learner:
        heard = []

        def reward(self, reward):
            self.heard.append(int(reward))

        def next(self, symbol):
            self.heard.append(symbol)
            return "."

    scheduler = {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["it"]}}
    task = {"type": "tasks.challenge.round1.challenge_micro.Micro1Task"}
    run({"worlds": {}, "tasks": {"it": task}, "scheduler": scheduler}, Learner(), mode="byte", max_steps=3)
    assert Learner.heard[0::2] == [0, -1, -1]
    assert set(Learner.heard[1::2]) <= set(micro.SYMBOLS)
