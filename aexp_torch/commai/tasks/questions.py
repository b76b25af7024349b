"""MicroTask: a quiz of the General AI Challenge, question after question until the rule is known, or clearly is not."""

from aexp_torch.commai.drills import LENGTH
from aexp_torch.commai.sessions import IN_A_ROW
from aexp_torch.commai.task import Task

__all__ = ["MappingTask", "MicroTask"]

WORTH_A_DRILL = 4


class MicroTask(Task):
    """Asks until ten answers in a row are right, or so many questions were asked that they should have been.

    Every answer gets +1 or -1 at once; speaking while a question is asked gets -1. From the moment on at which the learner
    should know the rule, it has `IN_A_ROW * (1 + success_tolerance)` more questions (the soft limit) for the result True.
    Beyond it the instance goes on, for as many questions again times `failed_tolerance`, with the result False.

    A subclass implements `ask`, and `begin` where an instance has a rule of its own.
    """

    max_time = 10_000
    usual_mode = "byte"
    patient = False
    separator = False
    instructs = False
    blots = False
    hears: bytes | None = b"."
    success_tolerance, failed_tolerance = 4.0, 1.0
    soft: float | None
    hard: float | None
    question: str
    answer: str

    def begin(self) -> None:
        """Draws what stays the same in an instance."""

    def ask(self) -> tuple[str, str]:
        """Returns a question and its answer."""
        raise NotImplementedError

    def judge(self, text: str) -> bool | None:
        """Tells whether an answer is right; None: it is not complete."""
        return text == self.answer

    def feedback(self, right: bool) -> str:
        """Returns what is said after an answer."""
        return ""

    def note(self, right: bool) -> None:
        """Takes note of an answer, for `should_know`."""

    def should_know(self) -> bool:
        """Tells whether the learner has seen enough to know the rule."""
        return True

    def start(self) -> None:
        """Begins an instance with its first question."""
        self.soft = self.hard = None
        self.begin()
        self._ask(*self.ask())

    def _ask(self, question: str, answer: str, feedback: str = "") -> None:
        self.question, self.answer = question, answer
        self.sessions.ask(self.lane, question, feedback, len(answer) if self.hears is None else 0)

    def hear(self, text: str) -> None:
        """Judges an answer."""
        sessions, lane = self.sessions, self.lane
        if sessions.drills.active[lane]:
            self.catch_up(sessions.drills.asked_since(lane))
            right = bool(sessions.streak[lane])
        else:
            verdict = self.judge(text)
            if verdict is None:
                return
            right = verdict
            sessions.judged(lane, right)
        self.note(right)
        self._go_on(self.feedback(right))

    def _go_on(self, feedback: str) -> None:
        """Ends the instance where it is over, or asks the next question; says the feedback before."""
        asked, streak = int(self.sessions.asked[self.lane]), int(self.sessions.streak[self.lane])
        if streak >= IN_A_ROW:
            self.end_with(self.soft is None or asked <= self.soft, feedback)
            return
        if self.soft is None and self.should_know():
            self.soft = asked + IN_A_ROW * (1 + self.success_tolerance)
        if self.hard is None and self.soft is not None and asked > self.soft:
            self.hard = asked * (1 + self.failed_tolerance)
        if self.hard is not None and asked > self.hard:
            self.end_with(False, feedback)
            return
        self._ask(*self.ask(), feedback)
        if self.sessions.drills.useful and self.hears is None:
            self._drill()

    def _drill(self) -> None:
        """Has the next questions judged without this task, where questions and answers are symbols."""
        limit, until_right = self.unwatched()
        if not limit or len(self.question) != 1 or len(self.answer) != 1:
            return
        told = self.feedback(True)
        questions, answers = self.coming() if told in ("", self.answer) else ("", "")
        if len(questions) >= WORTH_A_DRILL:
            questions, answers = self.question + questions, self.answer + answers
            self.sessions.drills.start(self.lane, questions, answers, bool(told), limit, until_right)

    def coming(self) -> tuple[str, str]:
        """Returns questions that `ask` will return next whatever happens, and their answers, a symbol each."""
        return "", ""

    def catch_up(self, count: int) -> None:
        """Takes as asked so many of the questions that `coming` has told."""
        for _ in range(count):
            self.question, self.answer = self.ask()

    def unwatched(self) -> tuple[int, bool]:
        """Returns how many questions may have been asked before the task has to look, and whether at a right answer, too."""
        limit = self.soft if self.hard is None else self.hard
        return (0, False) if limit is None else (int(limit), False)

    def end_with(self, result: bool, feedback: str = "") -> None:
        """Ends the instance; that itself pays nothing."""
        self.sessions.finish(self.lane, 0.0, result, feedback)

    def time_out(self) -> None:
        """Ends the instance with the result False."""
        self.end_with(False)


class MappingTask(MicroTask):
    """Asks for the values of a table that is drawn for each instance, and has to be found out.

    A subclass implements `draw`, which returns the table.

    Attributes:
      form: the question about a key.
      options: wrong answers to a key after which its value should be known, and one more.
      tells: the right answer is the feedback.
      after_feedback: said with every feedback.
      key: that is asked for.
    """

    hears: bytes | None = None
    form = "{}"
    options = 2
    tells = True
    after_feedback = ""
    table: dict[str, str]
    key: str

    def draw(self) -> dict[str, str]:
        """Returns `{key: answer}`."""
        raise NotImplementedError

    def order(self) -> list[str]:
        """Draws the keys to ask for next: each as often as there are keys."""
        keys = [key for key in self.table for _ in self.table]
        self.rng.shuffle(keys)
        return keys

    def begin(self) -> None:
        """Draws the table."""
        self.table = self.draw()
        self.queue: list[str] = []
        self.unknown = dict.fromkeys(self.table, self.options)

    def ask(self) -> tuple[str, str]:
        """Asks for the next key."""
        self.queue = self.queue or self.order()
        self.key = self.queue.pop()
        return self.form.format(self.key), self.table[self.key]

    def coming(self) -> tuple[str, str]:
        """Returns the keys whose order has been drawn."""
        keys = self.queue[:-LENGTH:-1]
        questions, answers = "".join(keys), "".join([self.table[key] for key in keys])
        return (questions, answers) if len(questions) == len(answers) == len(keys) else ("", "")

    def catch_up(self, count: int) -> None:
        """Takes the last of them."""
        if count:
            del self.queue[len(self.queue) - count + 1 :]
            self.question, self.answer = self.ask()

    def judge(self, text: str) -> bool | None:
        """Waits for as many symbols as the answer has."""
        return None if len(text) < len(self.answer) else text == self.answer

    def feedback(self, right: bool) -> str:
        """Tells the right answer."""
        return f"{self.hint(right)}{self.after_feedback}" if self.tells else ""

    def hint(self, right: bool) -> str:
        """Returns the feedback proper."""
        return self.answer

    def note(self, right: bool) -> None:
        """Counts how many values a key may still have."""
        self.unknown[self.key] = 1 if right else max(self.unknown[self.key] - 1, 1)

    def should_know(self) -> bool:
        """Tells whether only one value is left for each key."""
        return all(options == 1 for options in self.unknown.values())
