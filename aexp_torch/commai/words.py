"""The words that tasks share: how the environment praises, blames and counts, and which names there are."""

import functools
import random
from collections.abc import Sequence
from importlib import resources

__all__ = [
    "NEGATIVE",
    "NUMBERS",
    "POSITIVE",
    "TIME_OUT",
    "count_of",
    "enumerated",
    "number",
    "number_in",
    "plural",
    "with_article",
]

POSITIVE = ("good job.", "bravo.", "congratulations.", "nice work.", "correct.")
NEGATIVE = ("wrong!", "wrong.", "you failed!", "incorrect.")
TIME_OUT = ("time is out!", "sorry, time is out!", "too bad, time out!")
LONGEST_NUMBER = 18  # digits
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def number(rng: random.Random, value: int) -> str:
    """Returns a number in digits or, up to ten, in either form."""
    return rng.choice((str(value), NUMBERS[value])) if value < len(NUMBERS) else str(value)


def number_in(text: str) -> int | None:
    """Returns the number that a word or up to 18 digits say; None where it is neither."""
    if text in NUMBERS:
        return NUMBERS.index(text)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def with_article(noun: str) -> str:
    """Returns `a pear` or `an apple`."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str, count: int = 2) -> str:
    """Returns a noun as it stands after a number."""
    return noun if count == 1 else f"{noun}s"


def count_of(noun: str, count: int) -> str:
    """Returns `1 pear`, `2 pears`."""
    return f"{count} {plural(noun, count)}"


def enumerated(items: Sequence[str], separator: str = ", ", last: str = " and ") -> str:
    """Returns items one after the other, the last one joined by another word."""
    head, tail = items[:-1], items[-1]
    return f"{separator.join(head)}{last}{tail}" if head else tail


@functools.cache
def dictionary() -> tuple[str, ...]:
    """Returns English words, about the most frequent first."""
    return tuple((resources.files("aexp_torch.commai") / "words.txt").read_text().split())
