"""Interleave: a pattern says which environment has its turn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from aexp_torch.composition.composition import Composition
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.timestep import TimeStep

__all__ = ["Interleave"]


class Interleave(Composition):
    """Takes step t from the environment at place t of a pattern, and gives it the answer to that step.

    Each environment's next timestep waits for its next turn, so the reward for an action comes back there, on the same
    `timestep.source`. Timesteps pass as they are: episodes begin and end per environment and lane. An environment whose
    stream ends starts over.

    Observation: each child's own.  Action: each child's own.

    Args:
      envs: the environments, or `{name: environment}`.
      pattern: places, names or environments from `envs`, cycled; or a function from the step (from 0) to a place. The
        default is each in turn.
      name: names the composition itself.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    >>> import aexp_torch as ae
    >>> cart, pole = ae.GymnasiumEnv("CartPole-v1", name="cart"), ae.GymnasiumEnv("CartPole-v1", name="pole")
    >>> env = ae.Interleave([cart, pole], pattern=[0, 1, 1], on_missing="sample")
    >>> [timestep.source for timestep, _ in zip(env, range(5))]
    ['cart', 'pole', 'pole', 'cart', 'pole']

    Source: `Interleave` of the artificial-experience project.
    """

    def __init__(
        self,
        envs: Sequence[Env] | Mapping[str, Env],
        pattern: Sequence[int | str | Env] | Callable[[int], int] | None = None,
        name: str | None = None,
        **options: Any,
    ):
        given = list(envs.values()) if isinstance(envs, Mapping) else list(envs)
        names = list(envs) if isinstance(envs, Mapping) else [env.name for env in given if isinstance(env, Env)]
        super().__init__(envs, name, **options)
        if pattern is None:
            pattern = range(len(given))
        if not callable(pattern):
            if not isinstance(pattern, Sequence) or not len(pattern):
                raise SpecError(f"Interleave: expected a non-empty list or a function of the step, got {pattern!r}.")
            pattern = tuple(_place(item, given, names) for item in pattern)
        self.pattern = pattern

    def on_open(self) -> None:
        """Starts at the beginning of the pattern."""
        self._turn = 0
        self._waiting = [False] * len(self.environments)  # has a timestep for its next turn

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts the pattern and every environment over."""
        self.on_open()
        return self._emit()

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Answers the environment that had its turn and returns the timestep of the next one."""
        place = self._place(self._turn)
        try:
            self.environments[place].step(action)
        except EndOfStream:
            self._waiting[place] = False
        self._turn += 1
        return self._emit()

    def _place(self, turn: int) -> int:
        if not callable(self.pattern):
            return self.pattern[turn % len(self.pattern)]
        return _place(self.pattern(turn), list(self.environments), [env.name for env in self.environments])

    def _emit(self) -> TimeStep:
        place = self._place(self._turn)
        env = self.environments[place]
        if not self._waiting[place]:
            self._waiting[place] = True
            return env.reset()
        return env._outstanding

    def unseen_below(self, state: dict, unseen: int) -> list[int]:
        """Counts what waits for its turn, and the last `unseen` turns."""
        turns = range(state["turn"], state["turn"] - min(unseen, state["turn"] + 1), -1)
        counts = [int(waiting) for waiting in state["waiting"]]
        counts[self._place(state["turn"])] = 0  # this one had its turn
        for turn in turns:
            counts[self._place(turn)] += 1
        return counts

    def state_dict(self) -> dict:
        """Adds the place in the pattern."""
        return super().state_dict() | {"turn": self._turn, "waiting": list(self._waiting)}

    def load_state_dict(self, state: dict) -> None:
        """Restores the place in the pattern."""
        super().load_state_dict(state)
        self._turn, self._waiting = state["turn"], list(state["waiting"])


def _place(item: int | str | Env, envs: list[Env], names: list[str]) -> int:
    """Turns an item of a pattern into a place in `envs`."""
    known: list[Any] = [*names, *envs]
    if not isinstance(item, int) and item in known:
        return known.index(item) % len(envs)
    if isinstance(item, int) and 0 <= item < len(envs):
        return item
    raise SpecError(
        f"Interleave: expected places 0..{len(envs) - 1}, names {names} or the environments themselves in the pattern,"
        f" got {item!r}."
    )
