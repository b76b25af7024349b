"""Drills: questions and answers of one symbol, prepared in advance, so that they are judged without asking the task."""

import numpy as np

from aexp_torch.sources.plain_state import pack, unpack

__all__ = ["IN_A_ROW", "LENGTH", "LOOKS", "OVERTIME", "SHOWS", "Drills"]

LENGTH = 64
IN_A_ROW = 10  # right answers that end an instance of a micro-task
LOOKS, SHOWS, OVERTIME = range(3)  # the learner looks for the rule; should know it; should have shown that it does
ARRAYS = ["active", "tells", "phase", "limit", "more", "times", "ask", "right", "place", "end", "answer"]


class Drills:
    """Holds, for each of N lanes, the next questions, and how long there will be any.

    Attributes:
      active: bool [N].
      tells: bool [N]: the right answer is said before the next question.
      phase: int64 [N]: LOOKS, until the first right answer or the limit; then SHOWS; then OVERTIME.
      limit: int64 [N]: the phase is over when more answers were given than this.
      more: int64 [N]: answers in the phase SHOWS.
      times: float64 [N]: over the answers before OVERTIME, the answers at the end of it.
      ask: uint8 [N * LENGTH]: the questions.
      right: uint8 [N * LENGTH]: the answers.
      place: int64 [N]: of the question that is asked next.
      end: int64 [N]: where there are no more.
      answer: uint8 [N]: to the question that is being answered.
    """

    def __init__(self, num_lanes: int):
        self.useful = num_lanes > 1  # a lane alone is quicker with its task
        self.active, self.tells = np.zeros((2, num_lanes), bool)
        self.phase, self.limit, self.more, self.place, self.end = np.zeros((5, num_lanes), np.int64)
        self.times = np.zeros(num_lanes)
        self.ask, self.right = np.zeros((2, num_lanes * LENGTH), np.uint8)
        self.answer = np.zeros(num_lanes, np.uint8)

    def start(self, lane: int, answer: str, tells: bool) -> None:
        """Takes over from a task, which has asked a question."""
        self.answer[lane] = ord(answer)
        self.active[lane], self.tells[lane] = True, tells
        self.place[lane] = self.end[lane] = 0

    def set_limits(self, lane: int, phase: int, limit: float, more: float, times: float) -> None:
        """Sets how long there are questions."""
        self.phase[lane], self.limit[lane], self.more[lane], self.times[lane] = phase, limit, more, times

    def fill(self, lane: int, questions: bytes, answers: bytes) -> None:
        """Takes up to LENGTH questions with their answers, of which the first is asked next."""
        start = self.place[lane] = lane * LENGTH
        end = self.end[lane] = start + len(questions)
        self.ask[start:end] = np.frombuffer(questions, np.uint8)
        self.right[start:end] = np.frombuffer(answers, np.uint8)

    def empty(self, lanes: np.ndarray) -> np.ndarray:
        """Returns the lanes, among some (int64 [M]), that have no questions left."""
        return lanes[self.place[lanes] == self.end[lanes]]

    def are_over(self, lanes: np.ndarray, right: np.ndarray, streak: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """Tells, after an answer in each of some lanes (int64 [M]), where the instance is over (bool [M]).

        The rule is that of `MicroTask.is_over`.

        Args:
          lanes: which.
          right: bool [M]: the answer was right.
          streak: int64 [M]: right answers in a row.
          asked: int64 [M]: answers so far.
        """
        phase = self.phase[lanes]
        beyond = asked > self.limit[lanes]
        over, passed = streak >= IN_A_ROW, beyond | (right & (phase == LOOKS))
        if np.count_nonzero(passed):
            over |= beyond & (phase == OVERTIME)
            rows, asked, phase = lanes[passed], asked[passed], phase[passed]
            self.limit[rows] = np.where(phase == LOOKS, asked + self.more[rows], asked * self.times[rows])
            self.phase[rows] = np.minimum(phase + 1, OVERTIME)
        return over

    def next_questions(self, lanes: np.ndarray) -> np.ndarray:
        """Returns the next question (uint8 [M]) in lanes (int64 [M]) where there is one left."""
        place = self.place[lanes]
        self.place[lanes], self.answer[lanes] = place + 1, self.right[place]
        return self.ask[place]

    def stop(self, lane: int) -> None:
        """Ends a lane's drill."""
        self.active[lane] = False

    def state_dict(self) -> dict:
        """Returns everything."""
        return pack(self, ARRAYS)

    def load_state_dict(self, state: dict) -> None:
        """Restores everything."""
        unpack(self, state)
