"""Forms of tasks: a question with one answer, which the first period decides, or every symbol."""

from aexp_torch.commai.task import Task
from aexp_torch.commai.words import NEGATIVE, POSITIVE

__all__ = ["ImpatientTask", "OneAnswer", "Question"]


class Question(Task):
    """Asks. A subclass implements `ask`, which returns the question and what the answer has to end with; and `hear`."""

    answer: str

    def ask(self) -> tuple[str, str]:
        """Returns the question and the answer."""
        raise NotImplementedError

    def start(self) -> None:
        """Asks."""
        question, self.answer = self.ask()
        self.say(question)


class OneAnswer(Question):
    """Asks; the first text that ends with a period decides."""

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


class ImpatientTask(Task):
    """Asks, and compares symbol by symbol: the reply to the question's last symbol is the answer's first.

    A wrong symbol ends the instance with -1 at once, the whole answer with +1; silence is wrong, too. One step is one
    symbol: use the identity serializer, or byte mode.

    A subclass implements `ask`, which returns the question and the answer, and `limit`.

    Attributes:
      pondering: a symbol that may be said before the answer, as often as the time allows.
    """

    usual_serializer = "identity"
    hears = None
    blots = False
    separator = False
    pondering = ""
    question: str
    answer: str

    def ask(self) -> tuple[str, str]:
        """Returns the question and the answer."""
        raise NotImplementedError

    def limit(self) -> int:
        """Returns after how many steps the instance times out."""
        raise NotImplementedError

    def start(self) -> None:
        """Asks."""
        self.question, self.answer = self.ask()
        self.max_time, self.answered = self.limit(), 0
        self.say(self.question)

    def hear(self, text: str) -> None:
        """Compares a symbol with what has to come next."""
        over = self.answered == len(self.answer)
        if over or len(text) < len(self.question) or (not self.answered and text[-1:] == self.pondering):
            return
        if text[-1:] != self.answer[self.answered]:
            self.answered = len(self.answer)
            self.finish(-1)
            return
        self.answered += 1
        if self.answered == len(self.answer):
            self.finish(1)

    def time_out(self) -> None:
        """Ends the instance with nothing."""
        self.finish(0)
