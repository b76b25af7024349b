"""Interleave: a pattern says which environment has its turn."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aexp_torch.composition.composition import Composition, one_source_each, with_lane_control
from aexp_torch.composition.episodes import AfterDone, Done, check_done, cut_off, ending, joined
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.timestep import TimeStep, pack_timestep, unpack_timestep

__all__ = ["Interleave"]

MOST_TURNS = 10_000  # that a pattern may give to environments that are done, one after the other


class Interleave(Composition):
    """Takes step t from the environment at place t of a pattern, and gives it the answer to that step.

    Each environment's next timestep waits for its next turn, so the reward for an action comes back there, on the same
    `timestep.source`. Timesteps pass as they are: episodes begin and end per environment and lane. An environment whose
    stream ends starts over.

    With `done`, the composition has episodes, too. An environment is done in one when each of its lanes has been LAST, or
    its stream has ended. "first": when one is done, each of the others that is within an episode shows its waiting
    timestep as LAST, truncated. "all": environments that are done lose their turns until the last one is done. Then
    pattern and environments start over.

    Observation: each child's own.  Action: each child's own.

    Args:
      envs: the environments, or `{name: environment}`.
      pattern: places, names or environments from `envs`, cycled; or a function from the step (from 0) to a place. The
        default is each in turn.
      name: names the composition itself.
      done: when an episode of the composition ends; None: there is none.
      after_done: with `done="all"`, what becomes of an environment that is done while others are not: it loses its turns
        ("skip", the default); it and each of its lanes that has ended repeat LAST with reward 0 ("freeze", which needs lane
        control); or it starts over ("reset").
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Raises:
      SpecError: a pattern that names no environment, options that do not fit together.

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
        *,
        done: Done = None,
        after_done: AfterDone = None,
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
        self.given_after_done = after_done
        self.done, self.after_done = check_done(done, after_done, "Interleave")
        if self.done is not None:
            one_source_each(self.environments, "Interleave")
        if self.after_done == "freeze":
            with_lane_control(self.environments, "Interleave", "for after_done='freeze'", "after_done='skip'")

    def on_open(self) -> None:
        """Starts at the beginning of the pattern."""
        self._turn = 0
        self._had: list[int] = []  # the places that had the last two turns
        self._waiting = [False] * len(self.environments)  # has a timestep for its next turn
        self._ended: dict[int, Tensor] = {}  # bool [B], by place: lanes that were LAST in this episode
        self._done: set[int] = set()  # places all of whose lanes were
        self._shown: dict[int, TimeStep] = {}  # by place, with done: the last timestep
        self._closing: list[int] | None = None  # the episode is over; these still end theirs

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts the pattern and every environment over."""
        self.on_open()
        return self._emit()

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Answers the environment that had its turn and returns the timestep of the next one."""
        place = self._had[-1]
        if self._waiting[place]:  # not where its episode was cut off
            try:
                self._answer(place, action)
            except EndOfStream:
                self._waiting[place] = False
                if self.done is not None:
                    self._note_ends(place, torch.ones_like(self._outstanding.step_type, dtype=torch.bool))
        self._turn += 1
        return self._emit()

    def _answer(self, place: int, action: dict) -> None:
        env, ended = self.environments[place], self._ended.get(place)
        if self.after_done != "freeze" or ended is None or not ended.any():
            env.step(action)
        else:
            env.step(action, ~ended)

    def _place(self, turn: int) -> int:
        if not callable(self.pattern):
            return self.pattern[turn % len(self.pattern)]
        return _place(self.pattern(turn), list(self.environments), [env.name for env in self.environments])

    def _emit(self) -> TimeStep:
        if self.done is not None:
            return self._emit_in_episode()
        place = self._place(self._turn)
        self._had = [*self._had[-1:], place]
        return self._next_of(place)

    def _next_of(self, place: int) -> TimeStep:
        env = self.environments[place]
        if not self._waiting[place]:
            self._waiting[place] = True
            return env.reset()
        return env._outstanding

    def _emit_in_episode(self) -> TimeStep:
        """Returns the next timestep, cut off where the composition's episode is over."""
        if self._closing == []:
            self._begin()
        closes = self._closing is not None
        place = self._closing.pop(0) if self._closing else self._next_place()
        self._had = [*self._had[-1:], place]
        before = self._shown.get(place)
        if before is not None and not self._waiting[place] and not before.last().any():
            timestep = ending(before)._replace(
                ticket=before.ticket._address.issue()
            )  # its stream ended within an episode
        else:
            timestep = self._next_of(place)
            if self.after_done == "freeze":
                frozen = self._ended.get(place, torch.zeros_like(timestep.first()))
                timestep = timestep._replace(reward=timestep.reward.masked_fill(frozen, 0.0))
            elif before is not None:
                timestep = joined(before, timestep)
            self._note_ends(place, timestep.last())
            if (closes or self._is_cut(place)) and not timestep.last().all():
                timestep = cut_off(timestep)
                self._waiting[place] = False  # starts over when it has its next turn
        self._shown[place] = timestep
        return timestep

    def _is_cut(self, place: int) -> bool:
        """Tells whether the lanes of an environment end with it: it is the last one of the episode, or loses its turns."""
        return place in self._done and (self._closing is not None or self.after_done == "skip")

    def _members(self) -> list[int]:
        return list(range(len(self.environments))) if callable(self.pattern) else sorted(set(self.pattern))

    def _note_ends(self, place: int, lanes: Tensor) -> None:
        """Takes note of lanes (bool [B]) that are LAST, and ends the episode of the composition where that is due."""
        before = self._ended.get(place)
        ended = self._ended[place] = lanes if before is None else lanes | before
        if place in self._done or not ended.all():
            return
        self._done.add(place)
        if self._closing is None and (self.done == "first" or self._done.issuperset(self._members())):
            over = not self._waiting[place]  # its stream is, and what it showed last was no end
            self._closing = [
                member
                for member in self._members()
                if member in self._ended and (over or member != place) and not self._shown[member].last().all()
            ]

    def _begin(self) -> None:
        """Starts the next episode of the composition."""
        self._turn, self._closing = 0, None
        for place, env in enumerate(self.environments):
            unseen = self._waiting[place] and bool(env._outstanding.first().all())
            self._waiting[place] = unseen and (place not in self._ended or bool(self._shown[place].last().all()))
        self._ended, self._done = {}, set()

    def _next_place(self) -> int:
        for _ in range(MOST_TURNS):
            place = self._place(self._turn)
            if self.after_done != "skip" or place not in self._done:
                return place
            self._turn += 1
        raise SpecError(
            f"Interleave: expected a pattern that comes to every environment, {MOST_TURNS} turns in a row were given to"
            " environments that are done. Let it come to the others, or use after_done='reset'."
        )

    def unseen_below(self, state: dict, unseen: int) -> list[int]:
        """Counts what waits for its turn, and the last `unseen` turns."""
        counts = [int(waiting) for waiting in state["waiting"]]
        if state["had"]:
            counts[state["had"][-1]] = 0  # this one had its turn
        for place in state["had"][max(0, len(state["had"]) - unseen) :]:
            counts[place] += 1
        return counts

    def state_dict(self) -> dict:
        """Adds the place in the pattern, and the episode of the composition."""
        return super().state_dict() | {
            "turn": self._turn,
            "had": list(self._had),
            "waiting": list(self._waiting),
            "ended": dict(self._ended),
            "shown": {place: pack_timestep(timestep) for place, timestep in self._shown.items()},
            "closing": None if self._closing is None else list(self._closing),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the place in the pattern, and the episode of the composition."""
        super().load_state_dict(state)
        self._turn, self._had, self._waiting = state["turn"], list(state["had"]), list(state["waiting"])
        self._ended = dict(state["ended"])
        self._done = {place for place, ended in self._ended.items() if ended.all()}
        self._closing = None if state["closing"] is None else list(state["closing"])
        mailboxes = {box.source: box for box in self._mailboxes()}
        self._shown = {place: unpack_timestep(packed, mailboxes) for place, packed in state["shown"].items()}


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
