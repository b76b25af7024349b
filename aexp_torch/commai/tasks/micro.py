"""General AI Challenge, round 1: the 40 micro-tasks, from one symbol that is always right to invented words."""

import functools
import itertools
import re
import string
from typing import Any

from aexp_torch.commai.tasks.questions import MappingTask, MicroTask
from aexp_torch.commai.words import dictionary

LETTERS, DIGITS = string.ascii_lowercase, string.digits
PUNCTUATION = ' !":?.,;'
SYMBOLS = string.ascii_letters + DIGITS + " ,.!;?-"
UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
TENS = ["ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]


class Micro1Task(MappingTask):
    """Ten symbols are asked, one symbol is always the answer."""

    tells = False
    tries = len(SYMBOLS)

    def draw(self) -> dict[str, str]:
        """Draws the symbols, and the answer among them."""
        symbols = self.rng.sample(SYMBOLS, 10)
        return dict.fromkeys(symbols, self.pick(*symbols))

    def order(self) -> list[str]:
        """Asks for any, again and again."""
        return self.rng.choices(list(self.table), k=64)

    def should_know(self) -> bool:
        """After a right answer, or when all were tried."""
        return bool(self.sessions.streak[self.lane] or self.sessions.asked[self.lane] > self.tries)


class Micro2Task(MappingTask):
    """Punctuation is to be echoed, four letters all have the same answer."""

    tells = False

    def draw(self) -> dict[str, str]:
        """Draws the letters and their answer."""
        letters = self.rng.sample(LETTERS, 4)
        self.wrong, self.known = 0, False
        return {mark: mark for mark in PUNCTUATION} | dict.fromkeys(letters, self.pick(*letters))

    def note(self, right: bool) -> None:
        """Counts wrong answers until the first right one to a letter."""
        self.known |= right and self.key in LETTERS
        self.wrong += not right

    def should_know(self) -> bool:
        """After a right answer to a letter, or when all letters were tried."""
        return self.known or self.wrong > len(LETTERS)


class Micro3Task(MappingTask):
    """Punctuation is to be echoed, four letters are permuted."""

    tells = False
    options = len(LETTERS)

    def draw(self) -> dict[str, str]:
        """Draws the permutation."""
        letters = self.rng.sample(LETTERS, 4)
        return {mark: mark for mark in PUNCTUATION} | dict(zip(letters, self.rng.sample(letters, 4)))

    def begin(self) -> None:
        """Takes punctuation for known."""
        super().begin()
        self.unknown |= dict.fromkeys(PUNCTUATION, 1)


class Micro4Task(MappingTask):
    """Four symbols are to be echoed."""

    tells = False
    options = 1

    def draw(self) -> dict[str, str]:
        """Draws four letters or marks."""
        return {symbol: symbol for symbol in self.rng.sample(LETTERS + PUNCTUATION, 4)}


class Micro5Task(MappingTask):
    """Numbers stand for numbers: a table that the feedback tells.

    Attributes:
      key_length: the shortest and longest key; (1, 1): each digit.
      length: the shortest and longest answer, without its period; None: a permutation of the digits.
      period: the answer ends with one.
      prefix: random digits before the answer in the feedback, at least and at most.
      drops_period: from the feedback of a right answer.
    """

    form, after_feedback = "{}.", ";"
    key_length: tuple[int, int] = (1, 1)
    length: tuple[int, int] | None = (1, 1)
    period = True
    prefix: tuple[int, int] = (0, 0)
    drops_period = False

    def draw(self) -> dict[str, str]:
        """Draws keys and answers."""
        keys = list(DIGITS) if self.key_length == (1, 1) else [self._digits(*self.key_length) for _ in range(10)]
        if self.length is None:
            return dict(zip(keys, self.rng.sample(DIGITS, 10)))
        return {key: self._digits(*self.length) + "." * self.period for key in keys}

    def _digits(self, least: int, most: int) -> str:
        return "".join(self.rng.choices(DIGITS, k=self.rng.randint(least, most)))

    def hint(self, right: bool) -> str:
        """Returns the answer, after random digits."""
        told = self.answer.removesuffix(".") if right and self.drops_period else self.answer
        return self._digits(*self.prefix) + told if any(self.prefix) else told


def _micro5(number: int, example: str, **attributes: Any) -> type[Micro5Task]:
    """Returns a subtask of Micro5."""
    described = {"__doc__": f"A question and what is said after the answer: `{example}`.", "__module__": __name__}
    return type(f"Micro5Sub{number}Task", (Micro5Task,), described | attributes)


Micro5Sub1Task = _micro5(1, "39", form="{}", length=None, period=False, after_feedback="")
Micro5Sub2Task = _micro5(2, "39;", form="{}", length=None, period=False)
Micro5Sub3Task = _micro5(3, "3.9;", length=None, period=False)
Micro5Sub4Task = _micro5(4, "5. 83;", length=(2, 2), period=False)
Micro5Sub5Task = _micro5(5, "5. 8.;")
Micro5Sub6Task = _micro5(6, "5. 8.;, or 5. 8; where 8. was said", drops_period=True)
Micro5Sub7Task = _micro5(7, "5. 83.;", length=(1, 2))
Micro5Sub8Task = _micro5(8, "51. 8.;", key_length=(2, 2))
Micro5Sub9Task = _micro5(9, "51. 8.;", key_length=(1, 2))
Micro5Sub10Task = _micro5(10, "5. 48.;", prefix=(1, 1))
Micro5Sub11Task = _micro5(11, "5. 48.;", prefix=(0, 1))
Micro5Sub12Task = _micro5(12, "5. 8317.;", length=(3, 5))
Micro5Sub13Task = _micro5(13, "5190. 8.;", key_length=(3, 5))
Micro5Sub14Task = _micro5(14, "5. 4028.;", prefix=(2, 4))
Micro5Sub15Task = _micro5(15, "5. 8317.;", length=(1, 5))
Micro5Sub16Task = _micro5(16, "5190. 8.;", key_length=(1, 5))
Micro5Sub17Task = _micro5(17, "5190. 8317.;", key_length=(1, 5), length=(1, 5))
Micro5Sub18Task = _micro5(18, "5190236. 8317.;", key_length=(1, 10), length=(1, 10))


class SpokenMappingTask(MappingTask):
    """Asks for the values of a table in words; the answer ends with the first period."""

    hears = b"."
    failed_tolerance = 2.0

    def judge(self, text: str) -> bool | None:
        """Compares what was said."""
        return text == self.answer

    def feedback(self, right: bool) -> str:
        """Praises, or blames and tells the answer."""
        return "good job! ;" if right else f"wrong! {self.answer};"


class Micro6Task(SpokenMappingTask):
    """`random_map: never.`: `we.`."""

    form = "random_map: {}."

    def draw(self) -> dict[str, str]:
        """Draws eight words, and a word for each."""
        common = dictionary()[:200]
        return dict(zip(self.rng.sample(common, 8), [f"{word}." for word in self.rng.sample(common, 8)]))


class Micro15Task(SpokenMappingTask):
    """`say next after: seventy.`: `eighty.`."""

    form = "say next after: {}."

    def draw(self) -> dict[str, str]:
        """Draws a row of numbers, often backwards."""
        row = self.pick(UNITS, ORDINALS, TENS, TEENS)
        row = row[::-1] if self.rng.random() < 2 / 3 else row
        return {item: f"{following}." for item, following in itertools.pairwise(row)}


class SentenceTask(MicroTask):
    """Asks in words; the answer ends with the first period."""

    words = ("good job!", "wrong!")
    tells_when_right = False

    def feedback(self, right: bool) -> str:
        """Praises, or blames and tells the answer."""
        praise, blame = self.words
        if right and not self.tells_when_right:
            return f"{praise} ;"
        return f"{praise if right else blame} {self.answer};"


class Micro7Sub1Task(SentenceTask):
    """`say: k.`: `k.`."""

    words = ("correct!", "false!")
    tells_when_right = True

    def phrase(self) -> str:
        """Returns what is to be said."""
        return self.pick(*LETTERS)

    def ask(self) -> tuple[str, str]:
        """Asks to say something."""
        phrase = self.phrase()
        return f"say: {phrase}.", f"{phrase}."


class Micro7Sub2Task(Micro7Sub1Task):
    """`say: win.`: `win.`."""

    def phrase(self) -> str:
        """Returns a word."""
        return self.rng.choice(dictionary())


class Micro7Sub3Task(Micro7Sub1Task):
    """`say: win change.`: `win change.`."""

    def phrase(self) -> str:
        """Returns two words."""
        return " ".join(self.rng.choices(dictionary(), k=2))


class Micro8Task(Micro7Sub1Task):
    """`say:   e   u.`: `e u.`."""

    def ask(self) -> tuple[str, str]:
        """Asks to say two letters without the spaces around them."""
        spaces = [" " * self.rng.randint(0, 6) for _ in range(3)]
        letters = self.rng.choices(LETTERS, k=2)
        text = f"{spaces[0]}{letters[0]}{spaces[1]}{letters[1]}{spaces[2]}."
        return f"say: {text}", " ".join(text.split())


class Micro9Sub1Task(SentenceTask):
    """`spell: x.`: `x .`."""

    tells_when_right = True

    def word(self) -> str:
        """Returns what is to be spelt."""
        return self.pick(*LETTERS)

    def ask(self) -> tuple[str, str]:
        """Asks to spell something."""
        word = self.word()
        return f"spell: {word}.", " ".join(f"{word}.")


class Micro9Sub2Task(Micro9Sub1Task):
    """`spell: win.`: `w i n .`."""

    def word(self) -> str:
        """Returns a word."""
        return self.rng.choice(dictionary())


class Micro9Sub3Task(SentenceTask):
    """`interleave: win by -.`: `w-i-n.`."""

    tells_when_right = True

    def ask(self) -> tuple[str, str]:
        """Asks to put a symbol between letters."""
        word, joint = self.rng.choice(dictionary()), self.pick("-", "#", ",")
        return f"interleave: {word} by {joint}.", f"{joint.join(word)}."


class Micro10Task(SentenceTask):
    """`say: win say: change.`: `win change.`."""

    def ask(self) -> tuple[str, str]:
        """Asks to say two or three words."""
        words = self.rng.choices(self.vocabulary(), k=self.pick(2, 3))
        return f"{' '.join(f'say: {word}' for word in words)}.", f"{' '.join(words)}."

    def vocabulary(self) -> tuple[str, ...]:
        """Returns the words to draw from."""
        return dictionary()


class Micro11Task(SentenceTask):
    """`say: ac say: bc concatenate:.`: `acbc.`."""

    def ask(self) -> tuple[str, str]:
        """Asks to do something with two words."""
        first, second = (self.pick("ab", "ac", "ad", "bc", "bd", "cd") for _ in range(2))
        operation = self.pick("reverse", "concatenate", "interleave")
        answer = {
            "reverse": f"{second} {first}",
            "concatenate": first + second,
            "interleave": "".join(a + b for a, b in zip(first, second)),
        }[operation]
        return f"say: {first} say: {second} {operation}:.", f"{answer}."


class Micro12Task(SentenceTask):
    """`say: acd say: d exclude:.`: `ac.`."""

    def ask(self) -> tuple[str, str]:
        """Asks to add a letter to a word, or to take it away."""
        word, letter = self.pick("abc", "acd", "adc", "bcd", "bda", "cdb"), self.pick(*"abcd")
        operation = self.pick("union", "exclude")
        without = word.replace(letter, "")
        union = word if letter in word else word + letter
        return f"say: {word} say: {letter} {operation}:.", f"{union if operation == 'union' else without}."


class Micro13Sub1Task(SentenceTask):
    """` say: x or y but not z.`: one of several answers."""

    def ask(self) -> tuple[str, str]:
        """Asks in one of four forms."""
        self.form = self.pick("and", "or", "not", "but not")
        self.x, self.y, self.z = self.pick(*"abcde"), self.pick(*"abcde"), ""
        if self.form == "and":
            return f" say: {self.x} and {self.y}.", f"{self.x}{self.y}."
        if self.form == "or":
            return f" say: {self.x} or {self.y}.", f"{self.pick(self.x, self.y)}."
        if self.form == "not":
            others = [letter for letter in "abcde" if letter != self.x]
            return f" say: anything and not {self.x}.", self.pick(*others)
        self.x, self.y, third = self.rng.sample("abcde", 3)
        self.z = self.pick(self.x, self.y, third)
        allowed = [letter for letter in (self.x, self.y) if letter != self.z]
        return f" say: {self.x} or {self.y} but not {self.z}.", self.pick(*allowed)

    def judge(self, text: str) -> bool | None:
        """Takes, as the original does, any end of the answer to `and`."""
        said = text.removesuffix(".")
        if self.form == "and":
            return text in self.answer
        if self.form == "not":
            return len(said) > 0 and self.x not in text
        either = said in (self.x, self.y, self.x + self.y, self.y + self.x)
        return either and not (self.z and self.z in said)


class Micro13Sub2Task(SentenceTask):
    """`say: bqg or c or nc.`: `c.`."""

    def ask(self) -> tuple[str, str]:
        """Asks for all of several words, or any."""
        self.clauses = [
            "".join(self.rng.sample(LETTERS, self.rng.randint(1, 3))) for _ in range(self.rng.randint(2, 4))
        ]
        self.all = self.pick(True, False)
        question = f"say: {(' and ' if self.all else ' or ').join(self.clauses)}."
        return question, f"{''.join(self.clauses)}." if self.all else self.pick(*self.clauses)

    def judge(self, text: str) -> bool | None:
        """Takes all clauses in order, or an answer with one of them."""
        return text == self.answer if self.all else any(clause in text for clause in self.clauses)


class Micro14Task(SentenceTask):
    """`after k comes what:.`: `l.`."""

    def ask(self) -> tuple[str, str]:
        """Asks for the next letter."""
        place = self.rng.randrange(25)
        return f"after {LETTERS[place]} comes what:.", f"{LETTERS[place + 1]}."


class MixedTask(SentenceTask):
    """Asks, in each instance, what one of several other tasks asks.

    Attributes:
      kinds: the tasks.
    """

    kinds: tuple[type[SentenceTask], ...] = ()

    def begin(self) -> None:
        """Draws the task."""
        self.kind = self.draw_kind()

    def draw_kind(self) -> int:
        """Returns a place in `kinds`."""
        return self.rng.randrange(len(self.kinds))

    def other(self) -> SentenceTask:
        """Returns the task that is asked for a question."""
        task = self.kinds[self.kind](None)
        task.rng = self.rng
        return task

    def ask(self) -> tuple[str, str]:
        """Asks what the other task asks."""
        self.tells_when_right = self.kinds[self.kind].tells_when_right
        return self.other().ask()


class Micro16Task(MixedTask):
    """Words that are spelt, said one after the other, put together, united."""

    kinds = (Micro9Sub2Task, Micro10Task, Micro11Task, Micro12Task)


SYNONYMS = {
    "say": ("say", "print", "write"),
    "and": ("and", "together with", "&", "also"),
    "or": ("or", "alternative", "/"),
    "after": ("after", "behind", "next"),
    "union": ("union", "consolidate", "joint"),
    "exclude": ("exclude", "prohibit", "ignore", "remove"),
}
WORD = re.compile(rf"\b({'|'.join(SYNONYMS)})\b")


@functools.cache
def _plain_words(first: int = 0, last: int | None = None) -> tuple[str, ...]:
    """Returns the words of the dictionary in which no synonym hides."""
    hidden = [synonym for synonyms in SYNONYMS.values() for synonym in synonyms]
    return tuple(word for word in dictionary()[first:last] if not any(part in word for part in hidden))


class _SayPlainWords(Micro10Task):
    def vocabulary(self) -> tuple[str, ...]:
        return _plain_words()


class Micro19Task(MixedTask):
    """Known questions, in which words are replaced by others of the same meaning."""

    failed_tolerance = 2.0
    kinds = (_SayPlainWords, Micro11Task, Micro12Task, Micro14Task)

    def __init__(self, world=None):
        super().__init__(world)
        self.left: list[int] = []

    def draw_kind(self) -> int:
        """Returns a place in `kinds`, all of them before one comes again."""
        self.left = self.left or self.rng.sample(range(len(self.kinds)), len(self.kinds))
        return self.left.pop()

    def ask(self) -> tuple[str, str]:
        """Asks in other words."""
        question, answer = super().ask()
        instead = {word: self.rng.choice(synonyms) for word, synonyms in SYNONYMS.items()}
        return WORD.sub(lambda found: instead[found[0]], question), answer


class Micro20Task(Micro19Task):
    """`love is as say - love: win love: crowd.`: known questions with an invented word, which is explained."""

    def begin(self) -> None:
        """Draws a word for each."""
        super().begin()
        self.instead = dict(zip(SYNONYMS, self.rng.sample(_plain_words(200, 400), len(SYNONYMS))))

    def ask(self) -> tuple[str, str]:
        """Asks with one word replaced."""
        question, answer = MixedTask.ask(self)
        old = self.rng.choice(sorted(set(WORD.findall(question))))
        new = self.instead[old]
        replaced = WORD.sub(lambda found: new if found[0] == old else found[0], question)
        return f"{new} is as {old} - {replaced}", answer
