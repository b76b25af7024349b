"""MicroTask: a quiz of the General AI Challenge, question after question until the rule is known, or clearly is not."""

from aexp_torch.commai.drills import IN_A_ROW, LENGTH, LOOKS, OVERTIME, SHOWS
from aexp_torch.commai.task import Task

__all__ = ["MappingTask", "MicroTask"]


class MicroTask(Task):
    """Asks until ten answers in a row are right, or so many questions were asked that they should have been.

    Every answer gets +1 or -1 at once; speaking while a question is asked gets -1. From the moment on at which the learner
    should know the rule, it has `IN_A_ROW * (1 + success_tolerance)` more questions for the result True. Beyond that the
    instance goes on, for as many questions as were asked until then, times `failed_tolerance`, with the result False.

    A subclass implements `ask`, and `begin` where an instance has a rule of its own.

    Attributes:
      tries: answers after which the learner should know the rule, or before that one right answer; None: as
        `should_know` says.
    """

    max_time = 10_000
    usual_mode = "byte"
    patient = False
    separator = False
    instructs = False
    blots = False
    hears: bytes | None = b"."
    success_tolerance, failed_tolerance = 4.0, 1.0
    tries: int | None = None
    phase: int
    limit: float
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
        self.phase, self.limit = LOOKS, self.tries or 0
        self.begin()
        self._ask("")

    def _ask(self, feedback: str) -> None:
        self.question, self.answer = self.ask()
        self.sessions.ask(self.lane, self.question, feedback, len(self.answer) if self.hears is None else 0)
        if self.sessions.drills.useful and (self.phase > LOOKS or self.tries is not None):
            self.drill()

    def drill(self) -> None:
        """Has the next answers judged by `sessions.drills`, where that can be."""

    def hear(self, text: str) -> None:
        """Judges an answer."""
        sessions, lane = self.sessions, self.lane
        if sessions.drills.active[lane]:  # which has judged it, and found that the instance is over
            self.phase, self.answer = int(sessions.drills.phase[lane]), chr(sessions.drills.answer[lane])
            self._end(self.feedback(bool(sessions.streak[lane])))
            return
        right = self.judge(text)
        if right is None:
            return
        sessions.judged(lane, right)
        self.note(right)
        feedback = self.feedback(right)
        if self.is_over(int(sessions.asked[lane])) or sessions.streak[lane] >= IN_A_ROW:
            self._end(feedback)
        else:
            self._ask(feedback)

    def is_over(self, asked: int) -> bool:
        """Tells whether so many answers are too many; moves the limit where a phase is over."""
        if self.phase == LOOKS:
            if self.should_know():
                self.phase, self.limit = SHOWS, asked + IN_A_ROW * (1 + self.success_tolerance)
        elif asked > self.limit:
            if self.phase == OVERTIME:
                return True
            self.phase, self.limit = OVERTIME, asked * (1 + self.failed_tolerance)
        return False

    def _end(self, feedback: str) -> None:
        self.end_with(self.phase < OVERTIME, feedback)

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
      codes: the table, where keys and answers are symbols, as `bytes.translate` wants it.
    """

    hears: bytes | None = None
    form = "{}"
    options = 2
    tells = True
    after_feedback = ""
    table: dict[str, str]
    key: str
    codes: bytes

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

    def drill(self) -> None:
        """Has them judged where questions and answers are symbols, and no more is told than the answer."""
        if self.form != "{}" or (told := self.feedback(True)) not in ("", self.answer):
            return
        keys, answers = "".join(self.table), "".join(self.table.values())
        each_one = len(keys) == len(answers) == len(self.table) and all(self.table) and all(self.table.values())
        if not each_one or not (keys + answers).isascii():
            return
        self.codes = bytes.maketrans(keys.encode(), answers.encode())
        drills, more = self.sessions.drills, IN_A_ROW * (1 + self.success_tolerance)
        drills.start(self.lane, self.answer, bool(told))
        drills.set_limits(self.lane, self.phase, self.limit, more, 1 + self.failed_tolerance)
        if self.queue:
            drills.fill(self.lane, *self.coming())

    def coming(self) -> tuple[bytes, bytes]:
        """Takes the keys to ask for next, which are symbols, up to LENGTH, and their answers."""
        self.queue = self.queue or self.order()
        keys = "".join(self.queue[: -LENGTH - 1 : -1]).encode()
        del self.queue[-LENGTH:]
        return keys, keys.translate(self.codes)

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
