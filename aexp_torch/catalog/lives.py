"""Lives: environments that are opened at their turn, and what they have come to while they are closed."""

from collections.abc import Sequence
from dataclasses import dataclass

from aexp_torch.env import Env
from aexp_torch.timestep import TimeStep

__all__ = ["Lives", "Traits"]

RESTARTS = 2**32  # sets the seeds of visits apart from those of slots that were lost


@dataclass(frozen=True)
class Traits:
    """Says how an environment, which is open, is entered and left.

    Args:
      goes_on: it goes on where it was left: a stream that is finite, has no episodes, or has several sources.
      episodic: its lanes reach LAST.
      resumable: it gives its state. What gives none is entered with new seeds at each visit.
    """

    goes_on: bool
    episodic: bool
    resumable: bool

    @classmethod
    def of(cls, env: Env) -> "Traits":
        """Returns the traits of an environment that is open."""
        goes_on = env.stream_length is not None or not env.episodic or len(env.sources) > 1
        return cls(goes_on and env.resumable, env.episodic, env.resumable)


class Lives:
    """Opens environments, and closes and restores them.

    Args:
      environments: recipes.
      max_open: how many remain open; None for all.
      restarts: how often the slot was lost with its process.
    """

    def __init__(self, environments: Sequence[Env], max_open: int | None, restarts: int):
        self._environments, self._max_open, self._restarts = environments, max_open, restarts
        self.visits: dict[int, int] = {}  # by place, how many there were
        self.traits: dict[int, Traits] = {}  # of those that were open
        self.waiting: set[int] = set()  # places of those that go on with a timestep that nobody has seen
        self.stored: dict[int, dict] = {}  # by place, the state of what is closed
        self.lost_steps: dict[str, int] = {}  # by source, what a process has shown that was lost
        self._recent: list[int] = []  # places of what is open, that of the last visit last

    def enter(self, place: int) -> TimeStep:
        """Opens an environment and returns the timestep with which a visit begins; raises what that raises."""
        env, visits = self._environments[place], self.visits.get(place, 0)
        if place in self.stored:
            self.restore(place)
        elif visits and env._recipe is None:
            env.place(
                seed=env.seed,
                slot=env.slot,
                num_slots=env.num_slots,
                seed_prefix=env.seed_prefix,
                world_size=env.world_size,
                uneven=env.uneven,
                restarts=self._restarts * RESTARTS + visits,
            )
        if self.lost_steps and not visits:
            env.go_on_after(self.lost_steps)
        env.open()
        self._look_at(place)
        timestep = env._outstanding if place in self.waiting else env.reset()
        self.waiting.discard(place)
        self.visits[place] = visits + 1
        self._close_some(place)
        return timestep

    def leave(self, place: int) -> None:
        """Ends a visit; of what gives no state, nothing remains."""
        if not self.traits[place].resumable:
            self._environments[place].close()

    def restore(self, place: int) -> None:
        """Opens an environment at the place where it was stored."""
        env = self._environments[place]
        env.load_state_dict(self.stored[place])
        del self.stored[place]
        self._look_at(place)
        self._close_some(place)

    def _look_at(self, place: int) -> None:
        if place not in self.traits:
            self.traits[place] = Traits.of(self._environments[place])

    def forget(self, place: int) -> None:
        """Forgets one that does not work."""
        self.waiting.discard(place)
        self.stored.pop(place, None)
        self.traits.pop(place, None)
        self._recent = [other for other in self._recent if other != place]

    def _close_some(self, place: int) -> None:
        """Closes what was left longest ago, where more are open than may be; its state is kept."""
        self._recent = [other for other in self._recent if other != place] + [place]
        while self._max_open is not None and len(self._recent) > self._max_open:
            oldest = self._recent.pop(0)
            env = self._environments[oldest]
            if env._recipe is not None:
                self.stored[oldest] = env.state_dict()
                env.close()

    def states(self) -> dict[int, dict]:
        """Returns, by place, the states of all that were visited and give one."""
        live = {place for place, traits in self.traits.items() if traits.resumable} - set(self.stored)
        return {**self.stored, **{place: self._environments[place].state_dict() for place in sorted(live)}}
