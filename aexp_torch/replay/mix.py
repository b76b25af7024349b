"""Mix: live timesteps and stored ones, by chance."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from aexp_torch.composition import Composition
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream
from aexp_torch.replay.player import Player
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import TimeStep

__all__ = ["Mix"]


class Mix(Composition):
    """Takes each timestep with probability `p` from a player that has something to show, else from the live environment.

    Each environment's next timestep waits for its next turn, as in `Interleave`.

    Args:
      live: the environment.
      players: of what was stored of its sources.
      p: of a stored timestep, in [0, 1].
      options: as for every Env.
    """

    def __init__(self, live: Env, players: Sequence[Player], p: float, **options: Any):
        super().__init__([live, *players], **options)
        self.p = p

    def on_open(self) -> None:
        """Starts with the live environment."""
        self._turn = 0  # the place whose timestep is outstanding
        self._waiting = [False] * len(self.environments)  # has a timestep for its next turn
        source = next(iter(self.environments[0].specs))
        self._generator = np.random.default_rng(self.seeds(zlib.crc32(b"Mix"), source=source))

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts every environment over, the live one first."""
        self._turn, self._waiting = 0, [False] * len(self.environments)
        return self._emit()

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Answers the environment that had its turn and returns the timestep of the next one."""
        try:
            self.environments[self._turn].step(action)
        except EndOfStream:
            self._waiting[self._turn] = False
        self._turn = self._draw()
        return self._emit()

    def _draw(self) -> int:
        stored = self._generator.random() < self.p
        ready = [place for place, env in enumerate(self.environments) if isinstance(env, Player) and env.ready()]
        if not stored or not ready:
            return 0
        return ready[self._generator.integers(len(ready))]

    def _emit(self) -> TimeStep:
        env = self.environments[self._turn]
        if not self._waiting[self._turn]:
            self._waiting[self._turn] = True
            return env.reset()
        return env._outstanding

    def state_dict(self) -> dict:
        """Adds whose turn it is, and the generator."""
        return super().state_dict() | {
            "turn": self._turn,
            "waiting": list(self._waiting),
            "generator": pack_generator(self._generator),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores whose turn it is, and the generator."""
        super().load_state_dict(state)
        self._turn, self._waiting = state["turn"], list(state["waiting"])
        self._generator = unpack_generator(state["generator"])
