"""Drills: questions and answers of one symbol, prepared in advance, so that they are judged without asking the task."""

import numpy as np

from aexp_torch.sources.plain_state import pack, unpack

__all__ = ["Drills"]

LENGTH = 64
ARRAYS = ["active", "tells", "until_right", "ask", "right", "place", "count", "limit"]


class Drills:
    """Holds, for each of N lanes, the next questions and their answers.

    Attributes:
      active: bool [N].
      ask: uint8 [N, LENGTH], the questions; the first has been asked.
      right: uint8 [N, LENGTH], the answers.
      tells: bool [N]: the right answer is said before the next question.
      place: int64 [N]: the question that is being answered.
      count: int64 [N]: questions that were prepared.
      until_right: bool [N]: the task has to look at a right answer.
      limit: int64 [N]: when more questions than this were asked, the task has to look.
    """

    def __init__(self, num_lanes: int):
        self.useful = num_lanes > 1  # a lane alone is quicker with its task
        self.active, self.tells, self.until_right = np.zeros((3, num_lanes), bool)
        self.ask, self.right = np.zeros((2, num_lanes, LENGTH), np.uint8)
        self.place, self.count, self.limit = np.zeros((3, num_lanes), np.int64)

    def start(self, lane: int, questions: str, answers: str, tells: bool, limit: int, until_right: bool) -> None:
        """Takes up to LENGTH questions with their answers, a symbol each; the first is being asked."""
        count = self.count[lane] = len(questions)
        self.ask[lane, :count] = np.frombuffer(questions.encode("latin-1"), np.uint8)
        self.right[lane, :count] = np.frombuffer(answers.encode("latin-1"), np.uint8)
        self.active[lane], self.tells[lane], self.place[lane], self.limit[lane] = True, tells, 0, limit
        self.until_right[lane] = until_right

    def stop(self, lane: int) -> None:
        """Ends a lane's drill."""
        self.active[lane] = False

    def asked_since(self, lane: int) -> int:
        """Returns how many questions were asked after the first."""
        return int(self.place[lane]) - 1

    def state_dict(self) -> dict:
        """Returns everything."""
        return pack(self, ARRAYS)

    def load_state_dict(self, state: dict) -> None:
        """Restores everything."""
        unpack(self, state)
