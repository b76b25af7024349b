"""CommAI-env, later: a language of two symbols, `01` quiet, `00` space, `10` period, `11` say.

The environment says `0` where it has nothing to say. One step is one symbol: use the identity serializer.
"""

from aexp_torch.commai.task import Task

__all__ = ["NanoTask", "Task0", "Task1", "Task10", "Task11"]

ONE = "1"


class NanoTask(Task):
    """Gives an instruction; the learner says 0 until its last symbol, and to that and after it the answer: +1, else -1.

    Args:
      patient: the first verdict is told when the time is over; otherwise it ends the instance.

    Attributes:
      instruction: what is said.
      answer: the replies from the instruction's last symbol on.
      in_the_end: what an instance without a verdict is worth.
    """

    usual_serializer = "identity"
    hears = None
    blots = False
    separator = False
    default_output = "0"
    instruction = ""
    answer = ""
    in_the_end = -1

    def __init__(self, world=None, patient: bool = False):
        super().__init__(world)
        self.waits = patient

    def start(self) -> None:
        """Instructs."""
        self.verdict = 0
        self.say(self.instruction)

    def hear(self, text: str) -> None:
        """Compares a symbol with the one that is expected."""
        place = len(text) - len(self.instruction)
        if self.verdict:
            return
        if (text[-1:] == ONE) != (self._expected(place) == ONE):
            self._judge(-1)
        elif self.answer and place == len(self.answer) - 1:
            self._judge(1)

    def _expected(self, place: int) -> str:
        return self.answer[place] if 0 <= place < len(self.answer) else "0"

    def _judge(self, verdict: int) -> None:
        self.verdict = verdict
        if not self.waits:
            self.say("")  # nor the rest of the instruction
            self.finish(verdict)

    def time_out(self) -> None:
        """Tells the verdict."""
        self.finish(self.verdict or self.in_the_end)


class Task0(NanoTask):
    """`01 10 00`, be quiet: no 1 until the end."""

    max_time = 6
    instruction = "011000"
    in_the_end = 1


class Task1(NanoTask):
    """`11 1 10 00`, say 1."""

    max_time = 8
    instruction = "1111000"
    answer = "1"


class Task11(NanoTask):
    """`11 11 10 00`, say 11."""

    max_time = 10
    instruction = "11111000"
    answer = "11"


class Task10(NanoTask):
    """`11 10 10 00`, say 10."""

    max_time = 10
    instruction = "11101000"
    answer = "10"
