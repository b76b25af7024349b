"""Task: what the environment says, what it listens to, and what that is worth."""

import random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from aexp_torch.commai.sessions import Sessions
    from aexp_torch.commai.world import World

__all__ = ["Task"]


class Task:
    """Is a task in one conversation: made once, begun again for every instance.

    A subclass implements `start`, which says something, and `hear`; and `time_out` where it has something to say then. Its
    attributes are plain data. All that it draws comes from `self.rng`.

    Attributes:
      max_time: steps (bits in bit mode) after which an instance times out. Nothing new is said from then on.
      hears: the symbols at which `hear` is called; None: every symbol. With a world it is called at periods, too.
      blots: what the learner says while the environment speaks is a space in what was heard.
      needs_world: made with the world as its argument; `look` is called whenever that changes.
      patient: hears while the environment speaks; otherwise that is punished, and not heard.
      separator: a space stands between this instance and the next.
      default_output: the symbol that the environment says when it has nothing to say.
      usual_mode: in which it is spoken where nobody says otherwise; any such task makes that of its configuration "byte".
      usual_serializer: likewise, in bit mode; any such task makes it "identity".
      instructs: what an instance begins with says what to do in it.
    """

    max_time: int = 1000
    hears: bytes | None = b"."
    blots: bool = True
    needs_world: bool = False
    patient: bool = True
    separator: bool = True
    default_output: str = " "
    usual_mode: Literal["bit", "byte"] = "bit"
    usual_serializer: Literal["standard", "identity"] = "standard"
    instructs: bool = True
    lane: int
    sessions: "Sessions"
    rng: random.Random

    def __init__(self, world: "World | None" = None):
        self.world = world

    def start(self) -> None:
        """Begins an instance."""
        raise NotImplementedError

    def hear(self, text: str) -> None:
        """Is called when one of `hears` was heard, with all that was heard in this instance."""

    def look(self) -> None:
        """Is called when the world has changed."""

    def time_out(self) -> None:
        """Is called when the time is over; the instance ends in any case."""

    def end(self) -> None:
        """Is called once at the end, before the next task: the place to clear away."""

    @property
    def as_first_published(self) -> bool:
        """Whether the task goes as in the first CommAI-env, with its defects (`compat`)."""
        return self.sessions.rules.defects_of == "commai"

    # What a task does.

    def say(self, text: str, priority: int = 1) -> None:
        """Says something; in bit mode in place of what was still to be said."""
        self.sessions.say(self.lane, text, priority)

    def listen(self, hears: bytes | None) -> None:
        """Changes, for the rest of the instance, the symbols at which `hear` is called; None: every symbol."""
        self.sessions.listen(self.lane, hears)

    def finish(self, reward: float = 0, text: str = "") -> None:
        """Ends the instance: says `text`, then gives the reward, with the first symbol of the next instance."""
        self.sessions.finish(self.lane, reward, bool(reward > 0), text)

    def pick(self, *choices: Any) -> Any:
        """Returns one of several."""
        return self.rng.choice(choices)
