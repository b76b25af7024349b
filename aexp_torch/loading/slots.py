"""Slots: the running copies of one environment, asked in turn."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.loading.revival import Revival, unpack_lost
from aexp_torch.timestep import TimeStep

__all__ = ["SlotTurns", "Slots"]


class SlotTurns(ABC):
    """Says whose turn it is among this rank's slots of one environment, wherever they run.

    Args:
      env: the environment; it is copied, slot by slot (one around a live object, which cannot be, is used itself).
      seed: S of all seeds.
      numbers: the slots of this rank.
      num_slots: how many there are on all ranks.
      seed_prefix: put before source names in seeds.
      world_size: number of ranks.
      uneven: what makes the minibatches of a pass a multiple of it, as for `Loader`.
    """

    def __init__(
        self,
        env: Env,
        seed: int,
        numbers: list[int],
        num_slots: int,
        seed_prefix: str,
        world_size: int = 1,
        uneven: str = "cycle",
    ):
        self.numbers = numbers
        self._place: dict[str, Any] = {
            "seed": seed,
            "num_slots": num_slots,
            "seed_prefix": seed_prefix,
            "world_size": world_size,
            "uneven": uneven,
        }
        self.envs = _copies(env, len(numbers))
        self._passes: tuple[list[int], list[int | None]] | None = None
        self._asked_passes = False

    def begin(self) -> None:
        """Makes every environment a recipe with its place, and gives the first slot the turn."""
        for env, number in zip(self.envs, self.numbers, strict=True):
            env.place(slot=number, **self._place)
        self._turn = 0
        self._turns_had = [0] * len(self.envs)  # in this pass
        self._pass = 0  # of the stream
        self._cut: list[list[int]] = []  # turns in the coming passes of which only a rest is left, slot by slot
        self._due: list[int] | None = None  # turns in this pass, slot by slot

    def turn(self) -> int:
        """Returns the place of the slot that is next, and passes the turn on.

        Where the length of a pass over the data is known, a slot that has come to the end of one waits for the others,
        so that all of them, on every rank, are in the same pass.
        """
        if self._due is None:
            self._due = self._turns_due()
        size = len(self.envs)
        places = [(self._turn + ahead) % size for ahead in range(size)]
        if self._due:
            places = self._unfinished(places)
        place = self.choose(places)
        if self._due:
            self._turns_had[place] += 1
        self._turn = (place + 1) % len(self.envs)
        return place

    def _unfinished(self, places: list[int]) -> list[int]:
        """Returns those of the places that have a turn in this pass, or where none has, in the next."""
        while True:
            found = [place for place in places if self._turns_had[place] < self._due[place]]
            if found:
                return found
            if self._cut:
                self._cut.pop(0)
            self._pass, self._turns_had = self._pass + 1, [0] * len(self.envs)
            self._due, places = self._turns_due(), list(range(len(self.envs)))

    def choose(self, places: list[int]) -> int:
        """Returns the one of these places that is next: the first, unless another order is asked for."""
        return places[0]

    def left_behind(self, place: int) -> dict | None:
        """Returns, for a state, the timestep that the slot at `place` handed out last, where its stream has gone on."""
        return None

    def hand_out_again(self, place: int, packed: dict) -> TimeStep:
        """Returns a timestep that `left_behind` gave; an answer to it is checked and dropped."""
        return unpack_lost(packed, self.envs[0], self.numbers[place])

    def _turns_due(self) -> list[int]:
        """Returns how many turns every slot has in this pass; nothing where slots just take turns."""
        if not self._asked_passes:
            self._passes, self._asked_passes = _passes(self.envs), True
        if self._passes is None:
            return []
        if self._cut:
            return self._cut[0]
        lengths, streams = self._passes
        due: list[int] = []
        for length, stream in zip(lengths, streams, strict=True):
            if stream is not None and length:
                self._pass %= -(-stream // length)  # streams that are over start over
                length = min(length, stream - self._pass * length)
            due.append(length)
        return due if any(due) else [1] + due[1:]  # nobody has anything: the first one says so

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps of all slots of this rank, from the beginning; None where they never end."""
        lengths = []
        for env in self.envs:
            lengths.append(env.stream_length)
            if lengths[-1] is None:
                return None
        return sum(lengths)

    def left_in_stream(self) -> int | None:
        """Returns the number of timesteps that all slots of this rank have before all their streams are over."""
        self._due = self._due if self._due is not None else self._turns_due()
        if self._passes is None or None in self._passes[1]:
            return None
        left = sum(self._due) - sum(self._turns_had)
        coming = self._pass + 1
        for due in self._cut[1:]:
            left, coming = left + sum(due), coming + 1
        for length, stream in zip(*self._passes, strict=True):
            left += max(0, (stream or 0) - coming * length)
        return left

    def state_dict(self) -> dict:
        """Returns whose turn it is and the state of every slot, timesteps and answers in flight included."""
        states = dict(zip(map(str, self.numbers), self.states(), strict=True))
        return {
            "turn": self._turn,
            "turns_had": list(self._turns_had),
            "pass": self._pass,
            "cut": [list(due) for due in self._cut],
            "slots": {number: state for number, (state, _) in states.items()},
            "ahead": {number: ahead for number, (_, ahead) in states.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`, taken with the same slots."""
        self.begin()
        self._turn, self._turns_had = state["turn"], list(state["turns_had"])
        self._pass, self._cut = state["pass"], [list(due) for due in state["cut"]]
        self.load_states([(state["slots"][str(number)], state["ahead"][str(number)]) for number in self.numbers])

    def divide_anew(self, states: list[dict], again: set[int]) -> None:
        """Goes on with what is left of the data, from the states of all ranks of another division.

        Args:
          states: of every rank.
          again: slots (of the other division) whose last timestep was handed out but is to come again.

        Raises:
          SpecError: a source cannot be divided.
        """
        unseen = {}
        for state in states:
            for number, slot in state["slots"].items():
                ending = slot.get("revival", {}).get("ending") is not None  # the stream's own timestep follows it
                unseen[number] = slot, int(state["ahead"][number]) + (int(number) in again) + ending
        slots = [unseen[number] for number in sorted(unseen, key=int)]
        self.begin()
        divided = [env.divide_anew(slots) for env in self.envs]
        cut = []
        for env, state in zip(self.envs, divided, strict=True):
            env.load_state_dict(state)
            self._pass, lengths = env.cut_passes
            cut.append(lengths)
            env.close()
        self._cut = [list(due) for due in zip(*cut, strict=True)]
        self.load_states([(state, False) for state in divided])

    @abstractmethod
    def restart(self) -> None:
        """Starts every slot's stream over, with the same seeds."""

    @abstractmethod
    def next(self, place: int) -> TimeStep:
        """Returns the next timestep of the slot at `place`; a finite stream that is over starts over."""

    @abstractmethod
    def again(self, *places: int) -> None:
        """Lets slots (all of them by default) show their outstanding timesteps once more, where they are unanswered."""

    @abstractmethod
    def show_again(self, place: int) -> TimeStep:
        """Returns the outstanding timestep of the slot at `place`; an answer that it was given is dropped."""

    @abstractmethod
    def num_bad_samples(self) -> int:
        """Returns how many samples of datasets the slots have left out; one that two of them met counts twice."""

    @abstractmethod
    def read(self, noted: str) -> list[dict[str, Any]]:
        """Returns what every slot has noted, by source: the property `noted` of its Env.

        That is `bad_samples`, `broken` or `statistics`.
        """

    @abstractmethod
    def states(self) -> list[tuple[dict, bool]]:
        """Returns the state of every slot, and whether its outstanding timestep is still to be handed out."""

    @abstractmethod
    def load_states(self, states: list[tuple[dict, bool]]) -> None:
        """Restores every slot."""

    @abstractmethod
    def close(self) -> None:
        """Ends every stream."""


class Slots(SlotTurns):
    """Runs this rank's slots of one environment in this process and takes their timesteps in turn."""

    def __init__(self, *place: Any, **options: Any):
        super().__init__(*place, **options)
        self.restart()

    def restart(self) -> None:
        """Makes every slot a recipe again: its stream starts over with the same seeds."""
        self.begin()
        self._iterators: list[Iterator[TimeStep] | None] = [None] * len(self.envs)
        self._ahead: dict[int, list[TimeStep]] = {}  # what is to be handed out before a stream is asked for more
        self._revivals: dict[int, Revival] = {}

    def next(self, place: int) -> TimeStep:
        """Returns the next timestep of the slot at `place`; a finite stream that is over starts over."""
        if self._ahead and place in self._ahead:
            return self._take_ahead(place)
        for _ in range(self._place["num_slots"] + 1):  # a pass may have nothing for a slot
            iterator = self._iterators[place]
            if iterator is None:
                iterator = self._iterators[place] = iter(self.envs[place])
            for timestep in iterator:
                return self._join(place, timestep) if self._revivals else timestep
            self._iterators[place] = None
        raise SpecError(
            f"Loader: expected timesteps from {self.envs[place].name!r}, slot {self.numbers[place]} has none (fewer"
            " minibatches than slots?). Use a smaller in_flight or batch_size."
        )

    def _take_ahead(self, place: int) -> TimeStep:
        ahead = self._ahead[place]
        timestep = ahead.pop(0)
        if not ahead:
            del self._ahead[place]
            if place in self._revivals:
                self._revivals[place].ending = None
                self._end_revival(place)
        return timestep

    def _join(self, place: int, timestep: TimeStep) -> TimeStep:
        revival = self._revivals.get(place)
        if revival is None:
            return timestep
        timestep = revival.join(self.envs[place], timestep)
        if revival.ending is not None:
            self._ahead[place] = [self.envs[place]._outstanding]
        self._end_revival(place)
        return timestep

    def _end_revival(self, place: int) -> None:
        if self._revivals[place].over:
            del self._revivals[place]

    def revive(self, place: int, last: dict[str, TimeStep], restarts: int, origin: dict | None = None) -> None:
        """Has the slot at `place` go on, in this process, where one that was lost stood.

        Args:
          place: of the slot.
          last: by source, the timestep that was handed out last.
          restarts: how often this slot was lost.
          origin: of the state that it was restored from.
        """
        env = self.envs[place]
        env.place(slot=self.numbers[place], restarts=restarts, **self._place)
        env.go_on_after({source: timestep.ticket.step for source, timestep in last.items()}, origin)
        self._iterators[place] = None
        self._ahead.pop(place, None)
        self._revivals[place] = Revival(last)

    def answer(self, place: int, action: dict) -> TimeStep:
        """Answers the outstanding timestep of the slot at `place` and returns the next.

        An answer to a stream that was lost is dropped.
        """
        env = self.envs[place]
        outstanding = env._outstanding
        if outstanding is None or place in self._ahead:
            return self.next(place)
        outstanding.ticket._address.action = action
        try:
            timestep = env.step(action)
        except EndOfStream:
            return self.next(place)
        return self._join(place, timestep) if self._revivals else timestep

    def go_on(self, place: int) -> TimeStep:
        """Returns the next timestep of the slot at `place` without an answer, as `on_missing` says."""
        outstanding = self.envs[place]._outstanding
        if outstanding is not None and place not in self._ahead:
            outstanding.ticket._address.go_on()
        return self.next(place)

    def again(self, *places: int) -> None:
        """Lets slots (all of them by default) show their outstanding timesteps once more, where they are unanswered."""
        for place in places or range(len(self.envs)):
            self._iterators[place] = None

    def show_again(self, place: int) -> TimeStep:
        """Returns the outstanding timestep of the slot at `place`; an answer that it was given is dropped."""
        self.again(place)
        revival = self._revivals.get(place)
        if revival is not None and revival.ending is not None:
            self._ahead[place] = [self.envs[place]._outstanding]
            return revival.ending
        self._ahead.pop(place, None)
        timestep = self.envs[place]._outstanding
        timestep.ticket._address.action = None
        return timestep

    def close(self) -> None:
        """Closes every slot."""
        for env in self.envs:
            env.close()
        self._iterators = [None] * len(self.envs)

    def num_bad_samples(self) -> int:
        """Returns how many samples of datasets the slots have left out; one that two of them met counts twice."""
        return sum(len(indices) for env in self.envs for indices in env.bad_samples.values())

    def read(self, noted: str) -> list[dict[str, Any]]:
        """Returns what every slot has noted, by source: the property `noted` of its Env."""
        return [getattr(env, noted) for env in self.envs]

    def states(self) -> list[tuple[dict, bool]]:
        """Returns the state of every slot, and whether its outstanding timestep is still to be handed out."""
        states = []
        for place, env in enumerate(self.envs):
            state, count, revival = env.state_dict(), len(self._ahead.get(place, [])), self._revivals.get(place)
            if revival is not None:
                state["revival"] = revival.state_dict()
                count -= revival.ending is not None  # one is ahead in any case
            states.append((state, count > 0))
        return states

    def load_states(self, states: list[tuple[dict, bool]]) -> None:
        """Restores every slot."""
        self._iterators = [None] * len(self.envs)
        self._ahead, self._revivals = {}, {}
        for place, (state, ahead) in enumerate(states):
            env = self.envs[place]
            env.load_state_dict(state)
            timesteps = [env._outstanding] if ahead else []
            if "revival" in state:
                revival = self._revivals[place] = Revival.from_state(state["revival"], env)
                if revival.ending is not None:
                    timesteps = [revival.ending, env._outstanding] if ahead else [env._outstanding]
            if timesteps:
                self._ahead[place] = timesteps


def _passes(envs: list[Env]) -> tuple[list[int], list[int | None]] | None:
    """Returns the timesteps of a pass and of the whole stream, slot by slot; None where there are no such passes."""
    lengths = []
    for env in envs:
        length = env.pass_length
        if length is None:
            return None
        lengths.append(length)
    return lengths, [env.stream_length for env in envs]


def _copies(env: Env, count: int) -> list[Env]:
    try:
        return [copy.copy(env) for _ in range(count)]
    except SpecError:
        if count > 1:
            raise
        return [env]
