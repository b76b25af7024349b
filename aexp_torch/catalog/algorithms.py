"""Algorithms: tasks on text with exact answers, made by rules from a fixed seed."""

import calendar
import datetime
import string
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from aexp_torch.catalog.prepared import Columns, Split, part_of, prepared, text_column
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.specs import Modality

__all__ = [
    "addition",
    "brackets",
    "copy_text",
    "number_words",
    "parity",
    "reverse_text",
    "roman_numerals",
    "sort_text",
    "weekdays",
]

NUM_SAMPLES = 4000
TEXT = Modality("sequence", "categorical", "text")
ONES = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen
"""
TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
ROMAN = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)
Make = Callable[[np.random.Generator], tuple[str, str | int]]  # one question and its answer


def copy_text(split: Split = "train", name: str = "copy_text", **options: Any) -> DatasetEnv:
    """Streams strings to be repeated: x uint8 [16] (1 to 16 small letters), y uint8 [16], the same.

    Args:
      split: four fifths of 4,000 different strings for training, one for testing; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: A. Graves, G. Wayne, I. Danihelka (2014), Neural Turing machines, section 4.1.
    """
    return _to_text(_copied, 16, 16, split, name, options)


def reverse_text(split: Split = "train", name: str = "reverse_text", **options: Any) -> DatasetEnv:
    """Streams strings to be turned round: x uint8 [16] (1 to 16 small letters), y uint8 [16], from last to first.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: W. Zaremba et al. (2016), Learning simple algorithms from examples.
    """
    return _to_text(_reversed, 16, 16, split, name, options)


def sort_text(split: Split = "train", name: str = "sort_text", **options: Any) -> DatasetEnv:
    """Streams strings to be sorted: x uint8 [12] (1 to 12 digits), y uint8 [12], the digits in ascending order.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: A. Graves, G. Wayne, I. Danihelka (2014), Neural Turing machines, section 4.5, for the task.
    """
    return _to_text(_sorted, 12, 12, split, name, options)


def addition(split: Split = "train", name: str = "addition", **options: Any) -> DatasetEnv:
    """Streams sums: x uint8 [9] (`"57+8123"`, numbers of up to four digits), y uint8 [5] (`"8180"`).

    Numbers of one to four digits are equally frequent.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: W. Zaremba, I. Sutskever (2014), Learning to execute, section 4.2.
    """
    return _to_text(_added, 9, 5, split, name, options)


def number_words(split: Split = "train", name: str = "number_words", **options: Any) -> DatasetEnv:
    """Streams numbers to be put into words: x uint8 [6] (`"40312"`), y uint8 [64] (`"forty thousand three hundred ..."`).

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: R. Sproat, N. Jaitly (2016), RNN approaches to text normalization, for the task.
    """
    return _to_text(_in_words, 6, 64, split, name, options)


def roman_numerals(split: Split = "train", name: str = "roman_numerals", **options: Any) -> DatasetEnv:
    """Streams Roman numerals to be read: x uint8 [16] (`"MCMXCIV"`), y uint8 [4] (`"1994"`), 1 to 3,999.

    Args:
      split: four fifths of all 3,999 for training, one for testing; or all.
      name: names the source.
      options: everything else that DatasetEnv takes.
    """
    return prepared(_roman, split, name, modalities={"x": TEXT, "y": TEXT}, **options)


def parity(split: Split = "train", name: str = "parity", **options: Any) -> DatasetEnv:
    """Streams strings of 0 and 1: x uint8 [16] (8 to 16 characters), y int64, 1 where the number of ones is odd.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: M. Minsky, S. Papert (1969), Perceptrons, chapter 3.
    """
    return _to_class(_odd, 16, 2, split, name, options)


def brackets(split: Split = "train", name: str = "brackets", **options: Any) -> DatasetEnv:
    """Streams strings of brackets: x uint8 [24] (`"([]{})"`), y int64, 1 where every bracket is closed in order.

    Half of them are right; the others differ from such a one by one bracket.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.

    Source: N. Chomsky, M. Schützenberger (1963), The algebraic theory of context-free languages, for Dyck words.
    """
    return _to_class(_bracketed, 24, 2, split, name, options)


def weekdays(split: Split = "train", name: str = "weekdays", **options: Any) -> DatasetEnv:
    """Streams dates: x uint8 [10] (`"2004-02-29"`), y int64 in 0..6, the day of the week from Monday on.

    Dates are those of the Gregorian calendar from 1900 to 2099.

    Args:
      split: as for `copy_text`.
      name: names the source.
      options: everything else that DatasetEnv takes.
    """
    return _to_class(_dated, 10, 7, split, name, options)


def _to_text(make: Make, x: int, y: int, split: Split, name: str, options: dict[str, Any]) -> DatasetEnv:
    read = partial(_generated, make, x, y)
    return prepared(read, split, name, modalities={"x": TEXT, "y": TEXT}, **options)


def _to_class(make: Make, x: int, classes: int, split: Split, name: str, options: dict[str, Any]) -> DatasetEnv:
    read = partial(_generated, make, x, None)
    return prepared(read, split, name, classes=classes, modalities={"x": TEXT}, **options)


def _generated(make: Make, x: int, y: int | None, split: str) -> Columns:
    """Returns different questions, so that none of the test split is in the training split."""
    rng, known = np.random.default_rng(0), dict[str, str | int]()
    while len(known) < NUM_SAMPLES:
        question, answer = make(rng)
        known[question] = answer
    answers = list(known.values())
    y_column = np.array(answers, np.int64) if y is None else text_column([str(answer) for answer in answers], y)
    return part_of({"x": text_column(list(known), x), "y": y_column}, split)


def _letters(rng: np.random.Generator, alphabet: str, low: int, high: int) -> str:
    return "".join(alphabet[place] for place in rng.integers(0, len(alphabet), rng.integers(low, high + 1)))


def _copied(rng: np.random.Generator) -> tuple[str, str]:
    text = _letters(rng, string.ascii_lowercase, 1, 16)
    return text, text


def _reversed(rng: np.random.Generator) -> tuple[str, str]:
    text = _letters(rng, string.ascii_lowercase, 1, 16)
    return text, text[::-1]


def _sorted(rng: np.random.Generator) -> tuple[str, str]:
    text = _letters(rng, string.digits, 1, 12)
    return text, "".join(sorted(text))


def _added(rng: np.random.Generator) -> tuple[str, str]:
    first, second = (int(rng.integers(0, 10**digits)) for digits in rng.integers(1, 5, 2))
    return f"{first}+{second}", str(first + second)


def _in_words(rng: np.random.Generator) -> tuple[str, str]:
    number = int(rng.integers(0, 10 ** rng.integers(1, 7)))
    return str(number), _words(number)


def _words(number: int) -> str:
    if number < 20:
        return ONES.split()[number]
    if number < 100:
        return TENS.split()[number // 10] + (f"-{ONES.split()[number % 10]}" if number % 10 else "")
    size, unit = (100, "hundred") if number < 1000 else (1000, "thousand")
    rest = f" {_words(number % size)}" if number % size else ""
    return f"{_words(number // size)} {unit}{rest}"


def _roman(split: str) -> Columns:
    numbers = range(1, 4000)
    x = text_column([_numeral(number) for number in numbers], 16)
    return part_of({"x": x, "y": text_column([str(number) for number in numbers], 4)}, split)


def _numeral(number: int) -> str:
    numeral = ""
    for value, letters in ROMAN:
        numeral += letters * (number // value)
        number %= value
    return numeral


def _odd(rng: np.random.Generator) -> tuple[str, int]:
    text = _letters(rng, "01", 8, 16)
    return text, text.count("1") % 2


def _bracketed(rng: np.random.Generator) -> tuple[str, int]:
    pairs, text, open_ones = ("()", "[]", "{}"), "", list[str]()
    length = 2 * int(rng.integers(2, 13))
    while len(text) < length:
        must_close = len(open_ones) == length - len(text)
        if open_ones and (must_close or rng.random() < 0.5):
            text += open_ones.pop()
        else:
            pair = pairs[rng.integers(0, 3)]
            text += pair[0]
            open_ones.append(pair[1])
    if rng.random() < 0.5:
        return text, 1
    place = int(rng.integers(0, length))
    others = [bracket for bracket in "()[]{}" if bracket != text[place]]
    return text[:place] + others[rng.integers(0, len(others))] + text[place + 1 :], 0


def _dated(rng: np.random.Generator) -> tuple[str, int]:
    year, month = int(rng.integers(1900, 2100)), int(rng.integers(1, 13))
    day = int(rng.integers(1, calendar.monthrange(year, month)[1] + 1))
    date = datetime.date(year, month, day)
    return date.isoformat(), date.weekday()
