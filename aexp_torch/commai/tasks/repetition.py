"""CommAI-env: say what is asked for, a number of times, in one of several forms, or nothing."""

import string

from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.forms import OneAnswer
from aexp_torch.commai.words import NEGATIVE, POSITIVE, enumerated, number

__all__ = [
    "BeSilentTask",
    "RepeatCharacterTask",
    "RepeatWhatISay2Task",
    "RepeatWhatISayConjunctionNegation",
    "RepeatWhatISayDisjunction",
    "RepeatWhatISayMultipleTimes2Task",
    "RepeatWhatISayMultipleTimesSeparatedByAndTask",
    "RepeatWhatISayMultipleTimesSeparatedByCATask",
    "RepeatWhatISayMultipleTimesSeparatedByCommaTask",
    "RepeatWhatISayMultipleTimesTask",
    "RepeatWhatISayTask",
    "VerbTask",
]

VERBS = ("say", "repeat")
PHRASES = ("apple", "banana", "cat", "hello world")
CONTEXTS = (
    "and you will get a reward",
    "and a reward is yours",
    "and you will pass this task",
    "and you will solve this problem",
)
NEGATIONS = ("do not", "don't")
PAST = {"sing": "sang", "smile": "smiled", "rest": "rested", "relax": "relaxed", "jump": "jumped", "dance": "danced"}


class BeSilentTask(Task):
    """`be silent now.`: any symbol but spaces fails, at any time; silence until the end is right."""

    hears = bytes(symbol for symbol in range(256) if chr(symbol) != " ")
    blots = False

    def __init__(self, world=None):
        super().__init__(world)
        self.max_time = 0

    def start(self) -> None:
        """Forbids; how long is drawn once for all instances."""
        self.max_time = self.max_time or self.rng.randint(100, 1000)
        self.failed = False
        self.say(self.pick("be silent now.", "do not say anything."))

    def hear(self, text: str) -> None:
        """Fails, once; not at bytes that are no letter, or not yet."""
        if not self.failed and text.strip(" "):
            self.failed = True
            self.finish(0, self.pick(*NEGATIVE))

    def time_out(self) -> None:
        """Praises silence."""
        self.finish(1, self.pick(*POSITIVE))


class RepeatCharacterTask(OneAnswer):
    """`say N.`: `N.`."""

    def ask(self) -> tuple[str, str]:
        """Asks for a letter."""
        verb, letter = self.pick(*VERBS), self.pick(*string.ascii_letters)
        return f"{verb} {letter}.", f"{letter}."


class RepeatWhatISayTask(OneAnswer):
    """`repeat banana.`: `banana.`."""

    def ask(self) -> tuple[str, str]:
        """Asks for a phrase."""
        phrase = self.pick(*PHRASES)
        return f"{self.pick(*VERBS)} {phrase}.", f"{phrase}."


class RepeatWhatISay2Task(OneAnswer):
    """`say hello world and a reward is yours.`: `hello world.`."""

    def ask(self) -> tuple[str, str]:
        """Asks for a phrase, and promises something."""
        phrase = self.pick(*PHRASES)
        return f"{self.pick(*VERBS)} {phrase} {self.pick(*CONTEXTS)}.", f"{phrase}."


class RepeatWhatISayMultipleTimesTask(OneAnswer):
    """`say banana 2 times.`: `banana banana.`."""

    max_time = 10000
    form = ""  # how the phrases are to be put together, as it is said
    separator_between, separator_last = " ", " "

    def ask(self) -> tuple[str, str]:
        """Asks for a phrase a number of times."""
        phrase, times = self.pick(*PHRASES), self.pick(2, 3)
        question = f"{self.pick(*VERBS)} {phrase} {number(self.rng, times)} times{self.ending()}."
        return question, f"{enumerated([phrase] * times, self.separator_between, self.separator_last)}."

    def ending(self) -> str:
        """Returns what comes after `times`."""
        return self.form

    def blame(self) -> str:
        """Tells the answer, too."""
        return f"{super().blame()} correct answer is: {self.answer}"


class RepeatWhatISayMultipleTimes2Task(RepeatWhatISayMultipleTimesTask):
    """`say banana 2 times and you will get a reward.`: `banana banana.`."""

    def ending(self) -> str:
        """Promises something."""
        return f" {self.pick(*CONTEXTS)}"


class RepeatWhatISayMultipleTimesSeparatedByCommaTask(RepeatWhatISayMultipleTimesTask):
    """`say cat two times separated by comma (,).`: `cat, cat.`."""

    form = " separated by comma (,)"
    separator_between = separator_last = ", "


class RepeatWhatISayMultipleTimesSeparatedByAndTask(RepeatWhatISayMultipleTimesTask):
    """`say cat two times separated by and.`: `cat and cat.`."""

    form = " separated by and"
    separator_between = separator_last = " and "


class RepeatWhatISayMultipleTimesSeparatedByCATask(RepeatWhatISayMultipleTimesTask):
    """`say cat three times separated by comma and and.`: `cat, cat and cat.`."""

    form = " separated by comma and and"
    separator_between, separator_last = ", ", " and "


class RepeatWhatISayDisjunction(OneAnswer):
    """`say banana or apple.`: `apple.`, and nothing before it."""

    max_time = 3000

    def ask(self) -> tuple[str, str]:
        """Asks for one of two phrases."""
        self.phrases = [self.pick(*PHRASES), self.pick(*PHRASES)]
        return f"{self.pick(*VERBS)} {' or '.join(self.phrases)}.", ""

    def is_right(self, text: str) -> bool:
        """Takes either."""
        return text.strip() in [f"{phrase}." for phrase in self.phrases]


class RepeatWhatISayConjunctionNegation(OneAnswer):
    """`say cat and do not say apple.`: `cat.`, and nothing before it."""

    max_time = 3000

    def ask(self) -> tuple[str, str]:
        """Asks for two phrases, and forbids some."""
        first, second = self.pick(*PHRASES), self.pick(*PHRASES)
        negated = [self.pick(True, False), self.pick(True, False)]
        verb = self.pick(*VERBS)
        no = [self.pick(*NEGATIONS) if not_this else "" for not_this in negated]
        self.accepted = _accepted(first, second, *negated)
        return f"{no[0]} {verb} {first} and {no[1]} {verb} {second}.", ""

    def is_right(self, text: str) -> bool:
        """Takes what is asked for and not forbidden."""
        return text.strip() in self.accepted


def _accepted(first: str, second: str, not_first: bool, not_second: bool) -> list[str]:
    """Returns the right answers, as the original has them: with both phrases forbidden that is the first."""
    if not (not_first or not_second):
        return [f"{first}."] if first == second else [f"{first} and {second}.", f"{second} and {first}."]
    return [f"{second}." if not_first and not not_second else f"{first}."]


class VerbTask(OneAnswer):
    """`Say 'I jump' to jump.`: `I jump.`."""

    max_time = 896

    @property
    def blots(self) -> bool:
        """Whether it does not hear while it speaks: as first published, it did."""
        return not self.as_first_published

    def ask(self) -> tuple[str, str]:
        """Asks to do something."""
        self.verb = self.pick(*PAST)
        return f"Say 'I {self.verb}' to {self.verb}.", f"{self.verb}."

    def praise(self) -> str:
        """Tells what was done."""
        return f"You {PAST[self.verb]}."
