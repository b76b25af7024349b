"""Forms of tasks: a question with one answer, told after the first period or asked until it comes."""

from aexp_torch.commai.task import Task
from aexp_torch.commai.words import NEGATIVE, POSITIVE

__all__ = ["OneAnswer"]


class OneAnswer(Task):
    """Asks; the first text that ends with a period decides.

    A subclass implements `ask`, which returns the question and what the answer has to end with.
    """

    answer: str

    def ask(self) -> tuple[str, str]:
        """Returns the question and the answer."""
        raise NotImplementedError

    def start(self) -> None:
        """Asks."""
        question, self.answer = self.ask()
        self.say(question)

    def hear(self, text: str) -> None:
        """Judges."""
        if self.is_right(text):
            self.finish(1, self.praise())
        else:
            self.finish(0, self.blame())

    def is_right(self, text: str) -> bool:
        """Tells whether what was heard answers the question."""
        return text.endswith(self.answer)

    def praise(self) -> str:
        """Returns what follows a right answer."""
        return self.pick(*POSITIVE)

    def blame(self) -> str:
        """Returns what follows a wrong answer, and none."""
        return self.pick(*NEGATIVE)

    def time_out(self) -> None:
        """Takes silence for a wrong answer."""
        self.finish(0, self.blame())
