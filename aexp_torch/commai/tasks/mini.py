"""General AI Challenge, round 1: the six mini-tasks, which ask whether a string fits a description.

A description names groups of letters, joined by `and` or by `or`; some may be forbidden (`not`), and `anything` may stand
between them. A string fits where no forbidden group occurs in it, every group (`and`) does, and, without `anything`, each of
its letters belongs to an occurrence of a group.
"""

import functools
import random
import string
from dataclasses import dataclass

from aexp_torch.commai.tasks.forms import OneAnswer

__all__ = ["Description", "TaskSet0", "TaskSet1", "TaskSet2", "TaskSet3", "TaskSet4", "TaskSet5"]

CAPITALS = string.ascii_uppercase
MOST_TRIES = 1000


@dataclass
class Description:
    """Says which strings fit.

    Args:
      groups: that may occur, or with `all_of` have to.
      forbidden: groups that may not.
      all_of: joined by `and`; otherwise by `or`.
      anything: other letters may stand between the groups.
    """

    groups: list[str]
    forbidden: list[str]
    all_of: bool
    anything: bool

    def __str__(self) -> str:
        parts = [*self.groups, *(f"not {group}" for group in self.forbidden), *["anything"] * self.anything]
        return (" and " if self.all_of else " or ").join(parts)

    @functools.cached_property
    def harmless(self) -> str:
        """The letters of no group."""
        return "".join(sorted(set(CAPITALS).difference(*self.groups, *self.forbidden)))

    def fits(self, text: str) -> bool:
        """Tells whether a string fits."""
        if any(group in text for group in self.forbidden):
            return False
        if self.all_of and not all(group in text for group in self.groups):
            return False
        return self.anything or self._covers(text)

    def _covers(self, text: str) -> bool:
        covered = set[int]()
        for group in self.groups:
            for start in range(len(text) - len(group) + 1):
                if text.startswith(group, start):
                    covered.update(range(start, start + len(group)))
        return len(covered) == len(text)

    def right(self, rng: random.Random, threshold: int) -> str:
        """Draws a string that fits and is longer than `threshold`."""
        for _ in range(MOST_TRIES):
            text, missing = "", set(self.groups if self.all_of else ())
            while len(text) <= threshold or missing:
                long_enough = len(text) > threshold
                if self.anything and (not self.groups or (not long_enough and rng.random() < 0.3)):
                    text = self._filled(rng, text)
                else:
                    group = rng.choice(sorted(missing) if long_enough else self.groups)
                    text = chained(rng, text, group)
                    missing.discard(group)
            if self.fits(text):
                return text
        raise RuntimeError(f"no string fits {self}")

    def _filled(self, rng: random.Random, text: str) -> str:
        """Adds letters of no group, or those of forbidden ones where that does no harm."""
        letters = rng.choice([self.harmless, "".join(self.forbidden) or self.harmless])
        more = text + "".join(rng.choices(letters, k=rng.randint(1, 5)))
        return text if any(group in more for group in self.forbidden) else more

    def wrong(self, rng: random.Random, threshold: int) -> str:
        """Draws a string that nearly fits; where everything does, the empty one."""
        if not self.groups and not self.forbidden:
            return ""
        for _ in range(MOST_TRIES):
            text = self._damaged(rng, self.right(rng, threshold))
            if len(text) > 1 and not self.fits(text):
                return text
        raise RuntimeError(f"every string fits {self}")

    def _damaged(self, rng: random.Random, text: str) -> str:
        """Puts in a letter or a forbidden group, or takes out a group that has to be there."""
        used = sorted(set("".join(self.groups)))
        unused = sorted(set(CAPITALS) - set(used))
        ways = ["letter"] * (not self.anything) + ["forbidden"] * (3 if self.forbidden else 0)
        ways += ["out"] * (self.all_of and bool(self.groups) and len(self.groups) + self.anything > 1)
        way, place = rng.choice(ways), rng.randint(0, len(text))
        if way == "out":
            group = rng.choice(self.groups)
            return text.replace(group, rng.choice(unused) * len(group) if rng.random() < 0.75 else "")
        more = rng.choice(self.forbidden) if way == "forbidden" else rng.choice(rng.choice([used, unused]))
        return text[:place] + more + text[place:]


def chained(rng: random.Random, text: str, group: str) -> str:
    """Returns a text with a group at its end, which may share letters with what was there."""
    shared = [size for size in range(len(group)) if text.endswith(group[:size])]
    return text + group[rng.choice(shared) :]


class MiniTask(OneAnswer):
    """`description: C or DLS; verify: CCDLS.`: `true.` or `false.`.

    A subclass implements `describe`.

    Attributes:
      threshold: strings have more letters than a number up to this.
    """

    usual_mode = "byte"
    max_time = 3000
    threshold = 10

    def describe(self) -> Description:
        """Draws a description."""
        raise NotImplementedError

    def ask(self) -> tuple[str, str]:
        """Asks about a string that fits, or one that nearly does."""
        description, fits = self.describe(), self.pick(True, False)
        text = self.text_for(description, fits)
        return f"description: {description}; verify: {text}.", "true." if fits else "false."

    def text_for(self, description: Description, fits: bool) -> str:
        """Draws a string."""
        threshold = self.rng.randint(1, self.threshold)
        return description.right(self.rng, threshold) if fits else description.wrong(self.rng, threshold)

    def blame(self) -> str:
        """Tells the right answer."""
        return f"Wrong. The right answer is: {self.answer}"

    def groups(self, count: int, letters: str = CAPITALS) -> list[str]:
        """Draws groups of one to three letters, without repetitions."""
        drawn = ["".join(self.rng.choices(letters, k=self.rng.randint(1, 3))) for _ in range(count)]
        return list(dict.fromkeys(drawn))


class TaskSet0(MiniTask):
    """One letter, or two after a thousand instances; a new group every ten."""

    def __init__(self, world=None):
        super().__init__(world)
        self.instances, self.group = 0, ""

    def describe(self) -> Description:
        """Draws the group when it is time."""
        if self.instances % 10 == 0:
            self.group = "".join(self.rng.choices(CAPITALS, k=1 if self.instances < 1000 else 2))
        self.instances += 1
        return Description([self.group], [], all_of=True, anything=False)

    def text_for(self, description: Description, fits: bool) -> str:
        """Draws a string, a wrong one first of any letters."""
        size = len(self.group)
        threshold = self.rng.randint(size, 3 * size - 1)
        if fits:
            return description.right(self.rng, threshold)
        for _ in range(3):
            text = "".join(self.rng.choices(CAPITALS, k=threshold))
            if not description.fits(text):
                return text
        return description.wrong(self.rng, threshold)


class TaskSet1(MiniTask):
    """One group."""

    def describe(self) -> Description:
        """Draws it."""
        return Description(self.groups(1), [], all_of=True, anything=False)


class TaskSet2(MiniTask):
    """One to three groups joined by `or`; seldom just `anything`."""

    def describe(self) -> Description:
        """Draws them."""
        if self.rng.random() < 0.05:
            return Description([], [], all_of=False, anything=True)
        return Description(self.groups(self.rng.randint(1, 3)), [], all_of=False, anything=False)


class TaskSet3(MiniTask):
    """One to three groups joined by `and`, with `anything` or without."""

    threshold = 30

    def describe(self) -> Description:
        """Draws them."""
        return Description(self.groups(self.rng.randint(1, 3)), [], all_of=True, anything=self.pick(True, False))


class TaskSet4(MiniTask):
    """As before, but groups may be forbidden."""

    threshold = 30

    def describe(self) -> Description:
        """Draws groups of half of the letters, and forbidden ones of the others."""
        letters, count = "".join(self.rng.sample(CAPITALS, 26)), self.rng.randint(1, 3)
        forbidden = sum(self.pick(True, False) for _ in range(count))
        groups, not_these = self.groups(count - forbidden, letters[:13]), self.groups(forbidden, letters[13:])
        return Description(groups, not_these, True, bool(not_these) or self.pick(True, False))


class TaskSet5(MiniTask):
    """Any of the four before."""

    kinds = (TaskSet1, TaskSet2, TaskSet3, TaskSet4)

    def describe(self) -> Description:
        """Draws one, and what it draws."""
        task = self.rng.choice(self.kinds)()
        task.rng, self.threshold = self.rng, task.threshold
        return task.describe()
