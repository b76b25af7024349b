"""CommAI-env: tasks that waited for approval: Italian, guessing by asking, and associations of letters.

The learner is not heard until the question is asked. Wrong answers are ignored.
"""

import string
from collections.abc import Sequence

from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.baskets import BASKETS
from aexp_torch.commai.words import POSITIVE

__all__ = [
    "GlobalCharacterPrimeTarget",
    "GlobalStringPrimeTargetMax4",
    "GlobalStringPrimeTargetMin5Max10",
    "GlobalTwoAssociatedCharacters",
    "GlobalTwoAssociatedDelimitedStringsMax4",
    "GlobalTwoAssociatedStringsMax4",
    "GuessTheNumberAskingForDigitsExplicitModelTask",
    "GuessTheNumberAskingForDigitsTask",
    "GuessTheNumberAskingQuestionsExplicitModelTask",
    "GuessTheNumberAskingQuestionsTask",
    "ItalianHowManyPropertiesDoesAnObjectHaveTask",
    "LocalCharacterPrimeTarget",
    "LocalStringPrimeTargetMax4",
    "LocalTwoAssociatedDelimitedStringsMax4",
    "LocalTwoAssociatedStringsMax4",
    "RepeatCharacter",
    "RepeatStringMax4",
    "RepeatStringMin5Max10",
]

ITALIAN = {
    "apple": "mela",
    "asparagus": "asparago",
    "avocado": "avocado",
    "banana": "banana",
    "beet": "barbabietola",
    "carrot": "carota",
    "cucumber": "cetriolo",
    "mango": "mango",
    "onion": "cipolla",
    "pear": "pera",
    "pineapple": "ananas",
    "potato": "patata",
    "tomato": "pomodoro",
}
ITALIAN_NUMBERS = (
    *("zero", "uno", "due", "tre", "quattro", "cinque"),  # codespell:ignore tre
    *("sei", "sette", "otto", "nove", "dieci"),
)
ITALIAN_POSITIVE = ("ottimo lavoro.", "bravo.", "congratulazioni.", "giusto.", "corretto.")
REQUESTS = ("please tell me the {}.", "what's the {}?", "what is the {}?", "can you tell me the {}?")
TARGETS = {"d": "a", "o": "c", "k": "t", "r": "e", "u": "n"}  # the same in every conversation


class PendingTask(Task):
    """Asks, waits until the question has been said, then for an answer.

    A subclass implements `ask`, which returns the question and the answers, any of which is right.
    """

    blots = False
    max_time = 3000

    def ask(self) -> tuple[str, Sequence[str]]:
        """Returns the question, and how an answer may end."""
        raise NotImplementedError

    def start(self) -> None:
        """Asks."""
        self.question, answers = self.ask()
        self.answers = list(answers)
        self.say(self.question)

    def hear(self, text: str) -> None:
        """Judges what is heard after the question."""
        if self.sessions.time[self.lane] < len(self.question) * self.sessions.rules.steps:
            return
        if text.endswith(tuple(self.answers)):
            self.finish(1, self.praise())
        else:
            self.reply(text)

    def praise(self) -> str:
        """Returns what follows an answer."""
        return self.pick(*POSITIVE)

    def reply(self, text: str) -> None:
        """Is called with what is no answer."""


class ItalianHowManyPropertiesDoesAnObjectHaveTask(PendingTask):
    """`quante proprieta' ha pera nel cestino di john?`: `6.` or `sei.`."""

    def ask(self) -> tuple[str, Sequence[str]]:
        """Asks for a number."""
        basket = self.pick(*BASKETS)
        thing = self.pick(*BASKETS[basket])
        self.count = len(BASKETS[basket][thing])
        answers = (f"{self.count}.", f"{ITALIAN_NUMBERS[self.count]}.")
        return f"quante proprieta' ha {ITALIAN[thing]} nel cestino di {basket}?", answers

    def praise(self) -> str:
        """Praises in Italian."""
        return self.pick(*ITALIAN_POSITIVE)

    def time_out(self) -> None:
        """Tells the number."""
        self.finish(0, f"la risposta corretta e': {self.pick(str(self.count), ITALIAN_NUMBERS[self.count])}.")


class GuessTheNumberAskingQuestionsTask(PendingTask):
    """`guess the 2-digit number I am thinking of; you can ask me for the number.`: `what's the number?`, then `13.`.

    Attributes:
      wanted: what can be asked for.
      explicit: one way to ask is told.
    """

    hears = b".?"
    wanted = "number"
    explicit = False

    def ask(self) -> tuple[str, Sequence[str]]:
        """Thinks of a number of up to five digits."""
        length = self.rng.randint(1, 5)
        self.number = str(self.rng.randint(10 ** (length - 1), 10**length - 1))
        self.requests = [request.format(self.wanted) for request in REQUESTS]
        self.request = self.pick(*self.requests)
        hint = f": {self.request}" if self.explicit else f" for the {self.wanted}."
        return f"guess the {length}-digit number I am thinking of; you can ask me{hint}", [f"{self.number}."]

    def reply(self, text: str) -> None:
        """Tells what is asked for."""
        if text.endswith(tuple(self.requests)):
            self.say(self.told())

    def told(self) -> str:
        """Returns the number."""
        return f"{self.number}."

    def time_out(self) -> None:
        """Tells what could have been asked."""
        self.finish(0, f"if you asked: {self.request}, I would have said: {self.number}.")


class GuessTheNumberAskingQuestionsExplicitModelTask(GuessTheNumberAskingQuestionsTask):
    """`guess the 2-digit number I am thinking of; you can ask me: what's the number?`."""

    explicit = True


class GuessTheNumberAskingForDigitsTask(GuessTheNumberAskingQuestionsTask):
    """`guess the 2-digit number I am thinking of; you can ask me for the next digit.`: one at a time."""

    max_time = 3500
    wanted = "next digit"

    def ask(self) -> tuple[str, Sequence[str]]:
        """Has told no digit yet."""
        self.num_told = 0
        return super().ask()

    def told(self) -> str:
        """Returns the next digit, while there is one."""
        if self.num_told == len(self.number):
            return f"the number has only {self.num_told} digits."
        self.num_told += 1
        return f"{self.number[self.num_told - 1]}."

    def time_out(self) -> None:
        """Tells what could have been asked, and the number."""
        hint = ""
        if self.num_told < len(self.number):
            hint = f"if you asked: {self.request}, I would have said: {self.number[self.num_told]}. "
        self.finish(0, f"{hint}the number is {self.number}.")


class GuessTheNumberAskingForDigitsExplicitModelTask(GuessTheNumberAskingForDigitsTask):
    """`guess the 2-digit number I am thinking of; you can ask me: please tell me the next digit.`."""

    explicit = True


class LettersTask(PendingTask):
    """Says letters and a period; nothing follows the answer.

    Attributes:
      lengths: of the strings, at least and at most.
    """

    max_time = 500
    lengths = (1, 1)

    def draw(self, letters: str) -> str:
        """Returns some of several letters."""
        return "".join(self.rng.choices(letters, k=self.rng.randint(*self.lengths)))

    def praise(self) -> str:
        """Says nothing."""
        return ""


class RepeatCharacter(LettersTask):
    """`k.`: `k.`."""

    def ask(self) -> tuple[str, Sequence[str]]:
        """Says what to repeat."""
        letters = self.draw(string.ascii_lowercase)
        return f"{letters}.", [f"{letters}."]


class RepeatStringMax4(RepeatCharacter):
    """`kfw.`: `kfw.`."""

    lengths = (1, 4)


class RepeatStringMin5Max10(RepeatCharacter):
    """`kfwabq.`: `kfwabq.`."""

    lengths = (5, 10)


class AssociationTask(LettersTask):
    """Says a prime, and maybe the target that belongs to it; the answer is the target. Each letter has its own.

    Attributes:
      is_global: the targets are those of `TARGETS`; otherwise each conversation draws its own, and keeps them.
      shows: what stands between prime and target; None: only the prime is said.
      period: the answer ends with one.
    """

    is_global = True
    shows: str | None = ""
    period = True

    def __init__(self, world=None):
        super().__init__(world)
        self.targets = dict(TARGETS) if self.is_global else {}
        self.hears = b"." if self.period else None

    def ask(self) -> tuple[str, Sequence[str]]:
        """Draws a prime."""
        if not self.targets:
            primes = self.rng.sample(string.ascii_lowercase, len(TARGETS))
            self.targets = dict(zip(primes, self.rng.choices(string.ascii_lowercase, k=len(primes))))
        prime = self.draw("".join(self.targets))
        target = "".join(self.targets[letter] for letter in prime)
        shown = "" if self.shows is None else f"{self.shows}{target}"
        return f"{prime}{shown}.", [f"{target}{'.' * self.period}"]


class GlobalTwoAssociatedCharacters(AssociationTask):
    """`da.`: `a.`."""


class GlobalCharacterPrimeTarget(AssociationTask):
    """`d.`: `a.`."""

    shows = None


class LocalCharacterPrimeTarget(GlobalCharacterPrimeTarget):
    """`q.`: what belongs to `q` in this conversation, as `e.`."""

    is_global = False


class GlobalTwoAssociatedDelimitedStringsMax4(AssociationTask):
    """`do#ac.`: `ac`."""

    lengths = (1, 4)
    shows = "#"
    period = False


class LocalTwoAssociatedDelimitedStringsMax4(GlobalTwoAssociatedDelimitedStringsMax4):
    """`qw#ex.`: `ex`; the original breaks off."""

    is_global = False


class GlobalTwoAssociatedStringsMax4(AssociationTask):
    """`doac.`: `ac`."""

    lengths = (1, 4)
    period = False


class LocalTwoAssociatedStringsMax4(GlobalTwoAssociatedStringsMax4):
    """`qwex.`: `ex`."""

    is_global = False


class GlobalStringPrimeTargetMax4(AssociationTask):
    """`do.`: `ac.`."""

    lengths = (1, 4)
    shows = None


class LocalStringPrimeTargetMax4(GlobalStringPrimeTargetMax4):
    """`qw.`: what belongs to `q` and `w` in this conversation, as `ex.`."""

    is_global = False


class GlobalStringPrimeTargetMin5Max10(GlobalStringPrimeTargetMax4):
    """`dorku.`: `acetn.`; the original breaks off."""

    lengths = (5, 10)
