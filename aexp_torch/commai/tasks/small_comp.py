"""CommAI-env, later: small functions of strings of bits, and what two of them come to, one after the other.

A question is an expression in prefix notation, as in `VO2,011.`: reverse what `011` is when its last two symbols come
first. The answer ends with a period.
"""

from collections.abc import Iterator

from aexp_torch.commai.tasks.forms import ImpatientTask
from aexp_torch.errors import SpecError

__all__ = [
    "ConcatenateRepeatNXRepeatMYTask",
    "ConcatenateReverseXReverseYTask",
    "ConcatenateRotateRXRotateSYTask",
    "ConcatenateXYTask",
    "EvenRepeatNXTask",
    "EvenReverseXTask",
    "FlipXTask",
    "OddRepeatNXTask",
    "OddReverseXTask",
    "RepeatNConcatenateXYTask",
    "RepeatNReverseXTask",
    "RepeatNRotateRXTask",
    "RepeatNXTask",
    "ReverseConcatenateXYTask",
    "ReverseRepeatNXTask",
    "ReverseRotateRXTask",
    "ReverseXTask",
    "RotateL1Task",
    "RotateL2Task",
    "RotateR1Task",
    "RotateR2Task",
    "RotateRConcatenateXYTask",
    "RotateRRepeatNXTask",
    "RotateRReverseXTask",
    "RotateRXTask",
    "SmallCompTask",
]

FLIPPED = str.maketrans("01", "10")
ROTATIONS = {"O": 1, "T": 2, "A": -1, "E": -2}  # to the right
MOST_TIMES = 4


class SmallCompTask(ImpatientTask):
    """Asks for the value of an expression.

    Args:
      max_string_length: number of bits of a string, at most.

    Attributes:
      form: of the expression: `x` stands for a string, `V` reverses, `F` flips, `O T A E` rotate by one or two to the right,
        by one or two to the left, `R` (asked as `O` and a number) by any number to the right, `P1 P2 Pn` repeat once, twice,
        one to four times, `C` puts two strings together.
      parity: 1 or 0: the length of a string is odd or even; None: either.

    Raises:
      SpecError: there are no strings that short.
    """

    form = "x"
    parity: int | None = None

    def __init__(self, world=None, max_string_length: int = 6):
        super().__init__(world)
        self.lengths = [size for size in range(1, max_string_length + 1) if self.parity in (None, size % 2)]
        if not self.lengths:
            raise SpecError(f"{type(self).__name__}: expected a larger max_string_length, got {max_string_length!r}.")

    def ask(self) -> tuple[str, str]:
        """Draws strings and numbers."""
        said, value = self._draw(iter(self.form))
        return f"{said}.", f"{value}."

    def _draw(self, form: Iterator[str]) -> tuple[str, str]:
        """Returns an expression and its value."""
        code = next(form)
        if code == "x":
            bits = "".join(self.rng.choices("01", k=self.rng.choice(self.lengths)))
            return bits, bits
        if code == "P":
            return self._repeated(next(form), *self._draw(form))
        if code == "C":
            (one, first), (two, second) = self._draw(form), self._draw(form)
            return f"C{one},{two}", first + second
        if code == "R":
            said, value = self._draw(form)
            steps = self.rng.randint(1, len(value))
            return f"O{steps},{said}", rotated(value, steps)
        said, value = self._draw(form)
        return code + said, {"V": value[::-1], "F": value.translate(FLIPPED)}.get(code) or rotated(
            value, ROTATIONS[code]
        )

    def _repeated(self, times: str, said: str, value: str) -> tuple[str, str]:
        count = self.rng.randint(1, MOST_TIMES) if times == "n" else int(times)
        return f"P{count},{said}", value * count

    def limit(self) -> int:
        """Returns eight steps for every symbol."""
        return 8 * len(self.question) + 8 * len(self.answer) - 8


def rotated(text: str, steps: int) -> str:
    """Returns a text whose last symbols come first; with negative steps its first ones come last.

    >>> rotated("0111", 1), rotated("0111", -1)
    ('1011', '1110')
    """
    place = -steps % len(text)
    return text[place:] + text[:place]


class ReverseXTask(SmallCompTask):
    """`V01.`: `10.`."""

    form = "Vx"


class OddReverseXTask(ReverseXTask):
    """`V011.`: `110.`, of an odd number of bits."""

    parity = 1


class EvenReverseXTask(ReverseXTask):
    """`V01.`: `10.`, of an even number of bits."""

    parity = 0


class FlipXTask(SmallCompTask):
    """`F011.`: `100.`."""

    form = "Fx"


class RepeatNXTask(SmallCompTask):
    """`P1,01.`: `01.`: the number is always 1, as in the original."""

    form = "P1x"


class OddRepeatNXTask(RepeatNXTask):
    """`P1,01.`: `01.`."""


class EvenRepeatNXTask(SmallCompTask):
    """`P2,01.`: `0101.`."""

    form = "P2x"


class RotateRXTask(SmallCompTask):
    """`O2,011.`: `110.`; the original cannot be made."""

    form = "Rx"


class RotateR1Task(SmallCompTask):
    """`O011.`: `101.`."""

    form = "Ox"


class RotateR2Task(SmallCompTask):
    """`T011.`: `110.`."""

    form = "Tx"


class RotateL1Task(SmallCompTask):
    """`A011.`: `110.`."""

    form = "Ax"


class RotateL2Task(SmallCompTask):
    """`E011.`: `101.`."""

    form = "Ex"


class ConcatenateXYTask(SmallCompTask):
    """`C01,1.`: `011.`."""

    form = "Cxx"


class ReverseRepeatNXTask(SmallCompTask):
    """`VP2,01.`: `1010.`."""

    form = "VPnx"


class ReverseRotateRXTask(SmallCompTask):
    """`VO1,011.`: `101.`."""

    form = "VRx"


class ReverseConcatenateXYTask(SmallCompTask):
    """`VC01,1.`: `110.`."""

    form = "VCxx"


class RepeatNReverseXTask(SmallCompTask):
    """`P2,V01.`: `1010.`."""

    form = "PnVx"


class RepeatNRotateRXTask(SmallCompTask):
    """`P2,O1,011.`: `101101.`."""

    form = "PnRx"


class RepeatNConcatenateXYTask(SmallCompTask):
    """`P2,C01,1.`: `011011.`."""

    form = "PnCxx"


class RotateRReverseXTask(SmallCompTask):
    """`O1,V011.`: `011.`."""

    form = "RVx"


class RotateRRepeatNXTask(SmallCompTask):
    """`O1,P2,01.`: `1010.`."""

    form = "RPnx"


class RotateRConcatenateXYTask(SmallCompTask):
    """`O1,C01,1.`: `101.`."""

    form = "RCxx"


class ConcatenateReverseXReverseYTask(SmallCompTask):
    """`CV01,V011.`: `10110.`."""

    form = "CVxVx"


class ConcatenateRepeatNXRepeatMYTask(SmallCompTask):
    """`CP2,01,P1,1.`: `01011.`."""

    form = "CPnxPnx"


class ConcatenateRotateRXRotateSYTask(SmallCompTask):
    """`CO2,01,O1,011.`: `01101.`."""

    form = "CRxRx"
