"""CommAI-env: tasks that show what a task can be, not part of its configuration."""

import string

from aexp_torch.commai.grid_world import GridWorld, ahead, turned
from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks.forms import Question
from aexp_torch.commai.tasks.navigation import NavigationTask

__all__ = [
    "BeSilentTask",
    "LookAroundTask",
    "MovingTask",
    "PickAnApple",
    "RepeatingCharTask",
    "RepeatingPhraseTask",
    "SampleConflictingMessagesTask",
    "TurnLeftTask",
    "TurnRightTask",
    "UnicodeTask",
    "YesNoTask",
]

PHRASES = ("apple", "banana", "cat", "hello world")
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
ALEF = "\u05d0"


class SampleTask(Question):
    """Asks, and ends when the answer comes; nothing is said then."""

    blots = False

    def hear(self, text: str) -> None:
        """Waits for the answer."""
        if text.endswith(self.answer):
            self.finish(1)


class RepeatingCharTask(SampleTask):
    """`N`: `N`, and nothing but spaces before it; the originals never hear it (`compat`)."""

    max_time = 100
    hears = None

    def ask(self) -> tuple[str, str]:
        """Says a letter."""
        letter = self.pick(*string.ascii_letters)
        return letter, letter

    def hear(self, text: str) -> None:
        """Takes the letter alone."""
        if text.strip(" ") == self.answer and self.sessions.rules.defects_of is None:
            self.finish(1)


class RepeatingPhraseTask(SampleTask):
    """`cat.`: `cat.`; the original cannot be made."""

    def ask(self) -> tuple[str, str]:
        """Says a phrase."""
        phrase = self.pick(*PHRASES)
        return f"{phrase}.", f"{phrase}."


class YesNoTask(Task):
    """`bodik is not rufas. Is bodik rufas?`: `no`; the first yes or no decides."""

    hears = b"so"
    blots = False

    def start(self) -> None:
        """Says what an invented word is or is not, and asks."""
        one, other = self._word(), self._word()
        self.there = self.pick(True, False)
        self.say(f"{one} is {'' if self.there else 'not '}{other}. Is {one} {other}?")

    def _word(self) -> str:
        return "".join(self.pick(*(VOWELS if place % 2 else CONSONANTS)) for place in range(5))

    def hear(self, text: str) -> None:
        """Judges."""
        if text.endswith(("yes", "no")):
            self.finish(int(text.endswith("yes") == self.there))


class BeSilentTask(Task):
    """`Please, be quiet.`: not a single bit that is 1, so that the bits of a space fail, too; 1 when the time is over."""

    hears = None
    blots = False

    def start(self) -> None:
        """Forbids."""
        self.say("Please, be quiet.")

    def hear(self, text: str) -> None:
        """Fails at the first 1: a bit of a character, or the character."""
        heard = self.sessions.channels.text(self.lane)
        if any(heard) if self.sessions.rules.steps > 1 else b"1" in heard:
            self.finish(0)

    def time_out(self) -> None:
        """Rewards silence."""
        self.finish(1)


class SampleConflictingMessagesTask(Task):
    """`Say my name`: `Heisenberg`; shows that a message waits for no other, unless that matters more."""

    hears = b"yeg"
    blots = False

    def start(self) -> None:
        """Asks for a name."""
        self.say("Say my name")

    def hear(self, text: str) -> None:
        """Replies to what the learner repeats."""
        if text.endswith("Say"):
            self.say("I'm Heisenberg, you don't give me orders.", priority=5)
        elif text.endswith("my name"):
            self.say("Are you repeating everything I say?")
        elif text.endswith("Heisenberg"):
            self.finish(1, "You're Goddamn right.")


class SampleWorldTask(NavigationTask):
    """`Say 'I turn left.'`: what the world says to it is the feedback."""

    max_time = 1000
    blots = False

    def time_out(self) -> None:
        """Says nothing."""
        self.finish(0)


class MovingTask(SampleWorldTask):
    """`Say 'I move forward.'`."""

    def instruct(self) -> str:
        """Takes the next place for the goal."""
        self.goal = ahead(self.world.position, self.world.direction)
        return "Say 'I move forward.'"

    def is_done(self) -> bool:
        """Looks at the position."""
        return self.world.position == self.goal


class TurnLeftTask(SampleWorldTask):
    """`Say 'I turn left.'`."""

    side = "left"

    def instruct(self) -> str:
        """Takes the direction at this side for the goal."""
        self.goal = turned(self.world.direction, self.side)
        return f"Say 'I turn {self.side}.'"

    def is_done(self) -> bool:
        """Looks at the direction."""
        return self.world.direction == self.goal


class TurnRightTask(TurnLeftTask):
    """`Say 'I turn right.'`."""

    side = "right"


class LookAroundTask(Task):
    """`Look around.`: `I look` and any symbol."""

    hears = None
    blots = False

    def start(self) -> None:
        """Asks to look around."""
        self.say("Look around.")

    def hear(self, text: str) -> None:
        """Waits for a look."""
        if text[:-1].endswith("I look"):
            self.finish(1)


class PickAnApple(SampleWorldTask):
    """`Pick up an apple.`: it is at most two steps to each side, and something that stands in the way is, too."""

    max_time = 10_000
    world: GridWorld

    def instruct(self) -> str:
        """Puts an apple and a block around the learner."""
        x, y = self.world.position
        around = [(x + dx, y + dy) for dx in range(-2, 3) for dy in range(-2, 3) if dx or dy]
        self.place, self.blocked = self.rng.sample(around, 2)
        self.world.put(self.place, "apple")
        self.world.put(self.blocked, "block", pickable=False)
        self.goal = self.world.inventory.get("apple", 0) + 1
        return "Pick up an apple."

    def is_done(self) -> bool:
        """Counts apples."""
        return self.world.inventory.get("apple", 0) == self.goal

    def praise(self) -> str:
        """Wishes well."""
        return "Enjoy!"

    def end(self) -> None:
        """Takes away what is left."""
        self.world.remove(self.place)
        self.world.remove(self.blocked)


class UnicodeTask(SampleTask):
    """Asks for the letter alef: a character of two bytes, which only the standard serializer in bit mode can say."""

    hears = ALEF.encode()[-1:]

    def ask(self) -> tuple[str, str]:
        """Asks for the letter."""
        return f"Please, say {ALEF}.", ALEF
