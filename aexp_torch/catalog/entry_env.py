"""EntryEnv: an entry of the catalogue as an Env that is built when it is opened."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from aexp_torch.catalog.entry import Entry
from aexp_torch.composition.composition import unique_names
from aexp_torch.env import Env
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import TimeStep

__all__ = ["EntryEnv"]


class EntryEnv(Env):
    """Is what an entry describes; nothing is imported, read or built before it is opened.

    Args:
      entry: what to build.
      options: for its factory.
    """

    opens_children = False
    _built: Env | None = None

    def __init__(self, entry: Entry, **options: Any):
        super().__init__(entry.name)
        self.entry, self.options = entry, options
        self.tags, self.version, self.instruction = entry.tags, entry.version, entry.instruction

    @property
    def built(self) -> Env:
        """The environment; asking opens it."""
        self.open()
        assert self._built is not None
        return self._built

    @property
    def children(self) -> tuple[Env, ...]:
        """The environment, while it is open."""
        return () if self._built is None else (self._built,)

    @property
    def lane_control(self) -> bool:
        """Whether single lanes can be reset and stepped."""
        return self.built.lane_control

    @property
    def resumable(self) -> bool:
        """Whether `state_dict` can be taken."""
        return self.built.resumable

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST, sooner or later."""
        return self.built.episodic

    @property
    def max_episode_steps(self) -> int | None:
        """The longest episode, in transitions, where the environment says so."""
        return self.built.max_episode_steps

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps, where they end."""
        return self.built.stream_length

    @property
    def pass_length(self) -> int | None:
        """The number of timesteps of one pass over the data."""
        return self.built.pass_length

    def on_open(self) -> None:
        """Builds and opens the environment, in this one's place."""
        built = self.entry.make(**self.options)
        unique_names([built], [self.name])
        built.place(
            seed=self.seed,
            slot=self.slot,
            num_slots=self.num_slots,
            seed_prefix=self.seed_prefix,
            world_size=self.world_size,
            uneven=self.uneven,
            restarts=self.restarts,
        )
        built.open()
        self._built = built

    def on_close(self) -> None:
        """Closes the environment."""
        self.built.close()

    def make_specs(self) -> Mapping[str, EnvSpec]:
        """Returns those of the environment."""
        return self.built.specs

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Resets the environment."""
        return self.built.reset() if lanes is None else self.built.reset(lanes)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Steps the environment."""
        return self.built.step(action) if lanes is None else self.built.step(action, lanes)

    def classes_below(self, source: str) -> list[type]:
        """Returns the classes of the environment, and of what is below it."""
        return [type(self.built), *self.built.classes_below(source)]

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Tells the environment; it begins to be built here."""
        self.built.go_on_after(steps, None if origin is None else origin["children"][0])

    def load_state_dict(self, state: dict) -> None:
        """Builds the environment, and restores it."""
        self.open()
        super().load_state_dict(state)
