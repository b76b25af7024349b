"""CommAI-env: count what is in a list."""

from aexp_torch.commai.tasks.forms import OneAnswer
from aexp_torch.commai.words import NUMBERS, enumerated, plural, with_article

__all__ = ["SimpleCountingTask"]

THINGS = ("banana", "beet", "carrot", "cucumber", "mango", "onion", "pear", "pineapple", "potato", "tomato")


class SimpleCountingTask(OneAnswer):
    """`I have an onion and a pear. How many pears do I have? `: `one.`."""

    max_time = 3000

    def ask(self) -> tuple[str, str]:
        """Lists up to ten things, and asks for the number of one kind."""
        things = self.rng.choices(THINGS, k=self.rng.randint(1, 10))
        asked = self.pick(*THINGS)
        listed = enumerated([with_article(thing) for thing in things])
        return f"I have {listed}. How many {plural(asked)} do I have? ", f"{NUMBERS[things.count(asked)]}."

    def blame(self) -> str:
        """Tells the right answer."""
        return f"Wrong. The right answer is: {self.answer}"
