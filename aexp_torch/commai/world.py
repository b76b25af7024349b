"""World: what tasks share and change, and what the learner's commands act upon."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aexp_torch.commai.sessions import Sessions

__all__ = ["World"]


class World:
    """Is a place in one conversation: it hears what tasks hear, before them, and goes on from task to task."""

    lane: int
    sessions: "Sessions"

    def begin(self, sessions: "Sessions", lane: int) -> None:
        """Starts it over, because the task before was in another world."""
        self.sessions, self.lane = sessions, lane
        self.restart()

    def restart(self) -> None:
        """Puts everything where it is at the beginning."""
        raise NotImplementedError

    def hear(self, text: str) -> None:
        """Is called at every period, with all that was heard in this instance."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Replies, unless the task is speaking."""
        self.sessions.say(self.lane, text, priority=0)

    def changed(self) -> None:
        """Tells the task that something has changed."""
        self.sessions.look(self.lane)
