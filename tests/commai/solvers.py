"""Learners that solve the 40 tasks of CommAI-env, from what is said alone; the baskets are the only thing they know.

A solver is a generator, one for each instance: it yields a pattern, and gets the match when the environment has said it; or
it yields what it says. Nothing of the tasks is imported.
"""

import re
from collections import Counter
from collections.abc import Callable, Generator

from aexp_torch.commai.tasks.baskets import BASKETS

Solver = Generator[re.Pattern | str, re.Match | None, None]
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DIRECTIONS = ["north", "east", "south", "west"]
GAINED = re.compile(r"(?:I gave you an?|You picked up the) (\w+)\.$")
LOST = re.compile(r"You gave me an? (\w+)\.$")
FACING = re.compile(r"facing (north|east|south|west)\.")


class Player:
    """Says what a solver says; a character for a character.

    Attributes:
      facing: the direction that the learner looks in, as far as it was told: it stays from instance to instance.
      has: how many there are of each thing, likewise.
    """

    def __init__(self, solver: Callable[["Player"], Solver] | None):
        self.solver, self.facing, self.has = solver, "north", Counter()
        self.begin()

    def begin(self) -> None:
        """Takes the next instance up."""
        self.heard, self.line, self.pattern = "", "", None
        self.solving = self.solver(self) if self.solver else iter(())
        self._advance(None)

    def _advance(self, match: re.Match | None) -> None:
        try:
            wanted = self.solving.send(match)
        except (StopIteration, AttributeError):
            wanted = None
        self.heard = ""
        self.line, self.pattern = (wanted, None) if isinstance(wanted, str) else ("", wanted)

    def next(self, character: str) -> str:
        """Hears a character and says the next."""
        self.heard += character
        if found := FACING.search(self.heard):
            self.facing = found[1]
        if character == ".":
            self.has.update(GAINED.findall(self.heard))
            self.has.subtract(LOST.findall(self.heard))
        if self.pattern is not None and (match := self.pattern.search(self.heard)):
            self._advance(match)
        if not self.line:
            return " "
        said, self.line = self.line[0], self.line[1:]
        if not self.line:
            self._advance(None)
        return said


def until(pattern: str) -> re.Pattern:
    return re.compile(pattern)


def answering(pattern: str, answer: Callable[[re.Match], str]) -> Callable[[Player], Solver]:
    """Makes a solver that answers one question."""

    def solver(player: Player) -> Solver:
        match = yield until(pattern)
        yield answer(match)

    return solver


def times(form: str, between: str, last: str) -> Callable[[Player], Solver]:
    def answer(match: re.Match) -> str:
        phrases = [match[1]] * (2 if match[2] in ("2", "two") else 3)
        return between.join(phrases[:-1]) + last + phrases[-1] + "."

    return answering(rf"(?:say|repeat) (.+) (2|3|two|three) times{form}\.$", answer)


def conjunction(match: re.Match) -> str:
    no_first, first, no_second, second = match.groups()
    if no_first and not no_second:
        return second + "."
    return first + "." if no_first or no_second or first == second else f"{second} and {first}."


def things(listed: str) -> list[str]:
    """Reads `a pear, an onion and a pear`."""
    return [item.split()[1] for item in re.split(", | and ", listed)]


def having(basket: str, asked: str) -> list[str]:
    return [thing for thing, properties in BASKETS[basket].items() if asked in properties]


def other(basket: str) -> str:
    return next(name for name in BASKETS if name != basket)


def basket_only(match: re.Match) -> str:
    thing, basket = match.groups()
    return " and ".join(set(BASKETS[basket][thing]) - set(BASKETS[other(basket)][thing])) or "none"


def everywhere(match: re.Match) -> str:
    return ", ".join(set.intersection(*(set(basket[match[1]]) for basket in BASKETS.values()))) or "none"


def owners(match: re.Match) -> str:
    return " ".join(name for name in BASKETS if match[1] in BASKETS[name].get(match[2], ())) or "nobody"


# The world: every command is answered by a sentence, and what is said before its end is not heard.


def turn(side: str) -> Solver:
    yield f"I turn {side}."
    yield until(rf"You turned {side}, you are now facing \w+\.$")


def face(player: Player, direction: str) -> Solver:
    """Turns until the learner looks in a direction."""
    quarters = (DIRECTIONS.index(direction) - DIRECTIONS.index(player.facing)) % 4
    for side in {0: [], 1: ["right"], 2: ["left", "left"], 3: ["left"]}[quarters]:
        yield from turn(side)


def turning(player: Player) -> Solver:
    match = yield until(r"Turn (left|right)\.$")
    yield f"I turn {match[1]}."


def moving_relative(player: Player) -> Solver:
    match = yield until(r"Move (left|right)\.$")
    yield from turn(match[1])
    yield "I move forward."


def moving_absolute(player: Player) -> Solver:
    match = yield until(r"You are facing (\w+), move (\w+)\.$")
    player.facing = match[1]
    yield from face(player, match[2])
    yield "I move forward."


def picking_up_around(player: Player) -> Solver:
    match = yield until(r"There is an? (\w+) (\w+) from you, pick up the \w+\.$")
    yield from face(player, match[2])
    yield f"I pick up the {match[1]}."


def picking_up_in_front(player: Player) -> Solver:
    match = yield until(r"There is an? (\w+) (\w+) steps forward, pick up the \w+\.$")
    steps = NUMBERS.index(match[2]) if match[2] in NUMBERS else int(match[2])
    for _ in range(steps - 1):
        yield "I move forward."
        yield until(r"You moved\.$")
    yield f"I pick up the {match[1]}."


def picking_up_and_giving(player: Player) -> Solver:
    match = yield until(r"There is (an?) (\w+) (\w+) from you\. Pick it up and give it to me\.$")
    yield from face(player, match[3])
    yield f"I pick up the {match[2]}."
    yield until(r"You picked up the \w+\.$")
    yield f"I give you {match[1]} {match[2]}."


def counting_inventory(player: Player) -> Solver:
    asked = yield until(r"How many (\w+)s do you have\?$")
    yield f"{player.has[asked[1]]}."


def counting_and_giving(player: Player) -> Solver:
    match = yield until(r"How many (\w+)s do you have\?$")
    yield f"{player.has[match[1]]}."
    asked = yield until(r"I gave you (an? (\w+))\. How many \w+s do you have now\?$")
    yield f"{player.has[asked[2]]}."
    yield until(r"Now give the \w+ back to me\.$")
    yield f"I give you {asked[1]}."
    yield until(r"How many \w+s do you have now\?$")
    yield f"{player.has[asked[2]]}."


def looking(player: Player) -> Solver:
    match = yield until(r"Look to the (\w+), you are currently facing (\w+)\.$")
    player.facing = match[2]
    yield from face(player, match[1])
    yield "I look."


def looking_around(player: Player) -> Solver:
    yield until(r"Look around\. You are facing \w+\.$")
    for _ in range(4):
        yield "I look."
        yield until(r"directions to go\.$")
        yield from turn("left")


def finding(player: Player) -> Solver:
    wanted = yield until(r"Pick the (\w+) next to you\.$")
    while True:
        yield "I look."
        seen = yield until(r"There is a (\w+)\.$")
        if seen[1] == wanted[1]:
            player.has[seen[1]] += 1  # that is not said
            yield f"I pick up the {seen[1]}."
            return
        yield from turn("right")


SAY = "(?:say|repeat) "
SOLVERS = {
    "BeSilentTask": None,
    "RepeatCharacterTask": answering(SAY + r"(\w)\.$", lambda match: f"{match[1]}."),
    "RepeatWhatISayTask": answering(SAY + r"(.+)\.$", lambda match: f"{match[1]}."),
    "RepeatWhatISay2Task": answering(SAY + r"(.+?) and .+\.$", lambda match: f"{match[1]}."),
    "RepeatWhatISayMultipleTimesTask": times("", " ", " "),
    "RepeatWhatISayMultipleTimes2Task": times(r" and .+", " ", " "),
    "RepeatWhatISayMultipleTimesSeparatedByCommaTask": times(r" separated by comma \(,\)", ", ", ", "),
    "RepeatWhatISayMultipleTimesSeparatedByAndTask": times(" separated by and", " and ", " and "),
    "RepeatWhatISayMultipleTimesSeparatedByCATask": times(" separated by comma and and", ", ", " and "),
    "RepeatWhatISayDisjunction": answering(SAY + r"(.+) or (.+)\.$", lambda match: f"{match[2]}."),
    "RepeatWhatISayConjunctionNegation": answering(
        rf"(do not|don't|) {SAY}(.+) and (do not|don't|) {SAY}(.+)\.$", conjunction
    ),
    "VerbTask": answering(r"Say '(I \w+)' to \w+\.$", lambda match: f"{match[1]}."),
    "SimpleCountingTask": answering(
        r"I have (.+)\. How many (\w+)s do I have\? $", lambda match: f"{NUMBERS[things(match[1]).count(match[2])]}."
    ),
    "ObjectExistenceTask1": answering(
        r"I have (\w+)\. Do I have (\w+)\?$", lambda match: "yes." if match[1] == match[2] else "no."
    ),
    "ObjectExistenceTask2": answering(
        r"I have (.+)\. Do I have an? (\w+)\? $", lambda match: "Yes." if match[2] in things(match[1]) else "No."
    ),
    "AssociateObjectWithPropertyTask": answering(
        r"(\w+) in \w+'s basket is (\w+)\. how is \1\?$", lambda match: f"{match[2]}."
    ),
    "VerifyThatObjectHasPropertyTask": answering(
        r"is (\w+) (\w+) in (\w+)'s basket\?'$",
        lambda match: "yes." if match[2] in BASKETS[match[3]][match[1]] else "no.",
    ),
    "ListPropertiesOfAnObjectTask": answering(
        r"which properties does (\w+) have in (\w+)'s basket\?$",
        lambda match: ", and ".join(BASKETS[match[2]][match[1]]) + ".",
    ),
    "NameAPropertyOfAnObjectTask": answering(
        r"can you tell me a property of (\w+) in (\w+)'s basket\?$", lambda match: BASKETS[match[2]][match[1]][-1] + "."
    ),
    "HowManyPropertiesDoesAnObjectHaveTask": answering(
        r"how many property does (\w+) have in (\w+)'s basket\?$", lambda match: f"{len(BASKETS[match[2]][match[1]])}."
    ),
    "ListObjectsWithACertainPropertyTask": answering(
        r"which objects are (\w+) in (\w+)'s basket\?$", lambda match: " and ".join(having(match[2], match[1])) + "."
    ),
    "NameAnObjectWithAPropertyTask": answering(
        r"can you tell me an object that is (\w+) in (\w+)'s basket\?$",
        lambda match: having(match[2], match[1])[0] + ".",
    ),
    "HowManyObjectsHaveACertainPropertyTask": answering(
        r"how many objects are (\w+) in (\w+)'s basket\?$", lambda match: f"{NUMBERS[len(having(match[2], match[1]))]}."
    ),
    "WhoHasACertainObjectWithACertainPropertyTask": answering(
        r"who has an? (\w+) (\w+) in the basket\?$", lambda match: f"{owners(match)}."
    ),
    "ListThePropertiesThatAnObjectHasInABasketOnlyTask": answering(
        r"which properties does (\w+) have in (\w+)'s basket only\?$", lambda match: f"{basket_only(match)}."
    ),
    "ListThePropertiesThatAnObjectHasInAllBasketsTask": answering(
        r"which properties does (\w+) have in all baskets\?$", lambda match: f"{everywhere(match)}."
    ),
    "TurningTask": turning,
    "MovingTask": answering(r"Move forward\.$", lambda match: "I move forward."),
    "MovingRelativeTask": moving_relative,
    "MovingAbsoluteTask": moving_absolute,
    "PickUpTask": answering(r"Pick up the (\w+)\.$", lambda match: f"I pick up the {match[1]}."),
    "PickUpAroundTask": picking_up_around,
    "PickUpInFrontTask": picking_up_in_front,
    "GivingTask": answering(r'by saying "(.+)"\.$', lambda match: f"{match[1]}."),
    "PickUpAroundAndGiveTask": picking_up_and_giving,
    "CountingInventoryTask": counting_inventory,
    "CountingInventoryGivingTask": counting_and_giving,
    "LookTask": looking,
    "LookAroundTask": looking_around,
    "FindObjectAroundTask": finding,
}
