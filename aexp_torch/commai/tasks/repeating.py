"""CommAI-env, later: repeat letters of which there are few."""

import string

from aexp_torch.commai.tasks.forms import OneAnswer

__all__ = ["Repeat1V1L", "Repeat3V1L", "Repeat3V2L"]


class Repeat1V1L(OneAnswer):
    """`repeat: A.`: `A.`.

    Attributes:
      letters: that there are: the first of the alphabet.
      longest: number of letters that are to be repeated, at most.
    """

    letters, longest = 1, 1

    def ask(self) -> tuple[str, str]:
        """Asks for any letters."""
        drawn = self.rng.choices(string.ascii_uppercase[: self.letters], k=self.rng.randint(1, self.longest))
        self.max_time = 64 + (8 * self.longest + 8) * 3
        return f"repeat: {''.join(drawn)}.", f"{''.join(drawn)}."

    def praise(self) -> str:
        """Praises."""
        return "correct."

    def blame(self) -> str:
        """Tells the answer."""
        return f"wrong: {self.answer}"


class Repeat3V1L(Repeat1V1L):
    """`repeat: C.`: `C.`."""

    letters = 3


class Repeat3V2L(Repeat1V1L):
    """`repeat: CA.`: `CA.`."""

    letters, longest = 3, 2
