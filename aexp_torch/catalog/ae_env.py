"""AEEnv: a lifelong stream through many environments, chosen by tags, one at a time."""

import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor

from aexp_torch.catalog.choices import NextEnv, Steps, checked_steps, choose, draw, draw_limit, offers_of
from aexp_torch.catalog.entry_env import EntryEnv
from aexp_torch.catalog.lives import Lives
from aexp_torch.catalog.roster import FAILURES, Roster
from aexp_torch.catalog.selection import plain_items, reason_of
from aexp_torch.catalog.tags import Filter, FilterItem
from aexp_torch.catalog.visit import Visit, introduced
from aexp_torch.composition.episodes import cut_off, ending, joined
from aexp_torch.composition.syn import CURRENT, INSTRUCTION, NEXT, NONE, OFFER
from aexp_torch.errors import ActionError, EndOfStream, FeedbackError, SpecError
from aexp_torch.feedback import Mailbox
from aexp_torch.specs import EnvSpec, Modality, map_tree
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import TimeStep, pack_timestep, unpack_timestep

__all__ = ["AEEnv"]

DRAWS = zlib.crc32(b"next_env")


class AEEnv(Roster):
    """Is in one of many environments at a time, for as long as it takes: a lifelong stream that never ends.

    The timesteps of the environment that has its turn pass as they are, with its own batch size and keys;
    `timestep.source` names it. A visit ends when each lane has ended an episode, or after `steps` timesteps, whichever is
    first; lanes that are within an episode then show LAST, truncated. Streams that are finite or have no episodes (data)
    are not cut off, they go on where they were left, and start over at their end; others begin a new episode when they
    are entered.

    Nothing is opened before its turn, except by `specs`, which all that take part have to be opened for once. What cannot
    be opened is left out: see `left_out` and `summary()`. It is an error when nothing remains.

    Observation: each environment's own; with `next_env_fn="agent"` also `all_environments`, int64 [B, N] (at place n the
    number n where that one is offered, else -1), and `current_environments`, int64 [B]; with `instruction_steps` also
    `text:instruction`, uint8 [B, L], UTF-8, padded with 0.
    Action: each environment's own, or what `action_spec()` describes (the union of all: equal specs share a key, unequal
    ones are `key@source`), of which its part is taken; with `next_env_fn="agent"` also `next_environments`, int64 [B], -1
    to stay. Numbers are places in `environments`.

    Args:
      envs: a list or a mapping of names: environments, entries, names of the catalogue, ids of Gymnasium, live environments
        and datasets (see `to_source`). None: the whole catalogue.
      include: tags, their strings, `"key:value"`, or predicates of an Env (of an `Entry`, where it cannot be built here);
        what fits one of them takes part. None: everything. It may be set anew at any time.
      exclude: likewise; what fits one of them does not. It may be set anew at any time.
      next_env_fn: who chooses: "random" (uniform, from a generator of its own; the first one is drawn from those that need
        no extra, so that the stream begins at once); "in_turn"; "agent", whose visits end when it says so, the first lane
        that does not say -1 counts; or a function `(step, current, available) -> index`, called at the end of a visit with
        the number of timesteps shown, the environment (-1 at first) and int64 [N] like `all_environments`. -1, or what is
        not offered, is another visit to the same one. It may be set anew at any time.
      env_transition_fn: called as `env_transition_fn(old, new)` with two numbers on every change, with old -1 at first; it
        may be set anew at any time. Here a policy can be given new inputs and outputs.
      on_excluded: what becomes of an environment that new filters exclude amid a visit: it ends its episode ("finish"; one
        without episodes leaves at once), or its next timestep is LAST, truncated ("switch").
      steps: timesteps of a visit at most: a number, a range `(lowest, highest)` from which it is drawn, a function of the
        environment's number, or None for whole episodes. "agent" does without.
      instruction_steps: timesteps that show the instruction, and nothing else, before the first of a visit to an environment
        that has one (and does not show `text:instruction` itself).
      batch_size: rows of a minibatch of data that comes without.
      download: whether data may be downloaded.
      max_broken: how many environments may raise while they run. Their lanes show LAST, truncated, a warning names them, and
        they are left out; one more is an error.
      max_open: how many remain open after their visits; of others the state is kept. None: all.
      name: names the composition itself.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    An environment whose simulator gives no state is entered with new seeds at each visit. A state that is taken amid such a
    visit says so with a warning: what is resumed from it ends the visit there (LAST, truncated); all else is exact.

    Raises:
      SpecError: nothing can be opened, a filter that fits nothing, options that do not fit together.

    >>> import aexp_torch as ae
    >>> env = ae.AEEnv(["CartPole-v1", "FrozenLake-v1", "digits"], steps=3, next_env_fn="in_turn", on_missing="sample")
    >>> [timestep.source for timestep, _ in zip(env, range(7))]
    ['CartPole-v1', 'CartPole-v1', 'CartPole-v1', 'FrozenLake-v1', 'FrozenLake-v1', 'FrozenLake-v1', 'digits']

    Source: `AEEnv` of the artificial-experience project.
    """

    resumable = True

    def __init__(
        self,
        envs: Sequence[Any] | Mapping[str, Any] | None = None,
        include: Iterable[FilterItem] | None = None,
        exclude: Iterable[FilterItem] | None = None,
        *,
        next_env_fn: NextEnv = "random",
        env_transition_fn: Callable[[int, int], Any] | None = None,
        on_excluded: Literal["finish", "switch"] = "finish",
        steps: Steps = 100,
        instruction_steps: int = 0,
        batch_size: int = 32,
        download: bool = False,
        max_broken: int = 10,
        max_open: int | None = None,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(envs, include, exclude, batch_size, download, name, **options)
        who = type(self).__name__
        if on_excluded not in ("finish", "switch"):
            raise SpecError(f"{who}: expected on_excluded='finish' or 'switch', got {on_excluded!r}.")
        limits = [("instruction_steps", instruction_steps, 0), ("max_broken", max_broken, 0), ("max_open", max_open, 1)]
        for what, number, least in limits:
            if (number is not None or what != "max_open") and (not isinstance(number, int) or number < least):
                raise SpecError(f"{who}: expected {what} of at least {least}, got {number!r}.")
        self._agent_chooses = next_env_fn == "agent"
        self.next_env_fn, self.env_transition_fn = next_env_fn, env_transition_fn
        self.on_excluded, self.steps = on_excluded, checked_steps(steps, who)
        self.instruction_steps, self.max_broken, self.max_open = instruction_steps, max_broken, max_open

    @property
    def next_env_fn(self) -> NextEnv:
        """Who chooses; set it anew at any time."""
        return self._next_env_fn

    @next_env_fn.setter
    def next_env_fn(self, choice: NextEnv) -> None:
        who = type(self).__name__
        if choice not in ("random", "in_turn", "agent") and not callable(choice):
            raise SpecError(f"{who}: expected next_env_fn 'random', 'in_turn', 'agent' or a function, got {choice!r}.")
        if choice == "agent" and not self._agent_chooses:
            raise SpecError(
                f"{who}: expected next_env_fn='agent' from the start, so that next_environments is in the action spec."
                " Build it with next_env_fn='agent'; from there it can be changed to another and back."
            )
        self._keep("_next_env_fn", choice)

    @property
    def env_transition_fn(self) -> Callable[[int, int], Any] | None:
        """What is called on every change; set it anew at any time."""
        return self._env_transition_fn

    @env_transition_fn.setter
    def env_transition_fn(self, function: Callable[[int, int], Any] | None) -> None:
        if function is not None and not callable(function):
            raise SpecError(f"{type(self).__name__}: expected a function of two numbers, got {function!r}.")
        self._keep("_env_transition_fn", function)

    @property
    def current(self) -> int:
        """The place in `environments` of the one that has its turn; -1 for none."""
        return self._visit.index if self._recipe is not None else NONE

    @property
    def visits(self) -> dict[str, int]:
        """How often each environment was entered, by name; nothing for those that were not."""
        counts = self._lives.visits if self._recipe is not None else {}
        return {name: counts[place] for place, name in enumerate(self.names) if place in counts}

    # Specs.

    def with_own(self, spec: EnvSpec, place: int) -> EnvSpec:
        """Adds the keys of the experience."""
        last = len(self.environments) - 1
        one = dm_specs.BoundedArray((), np.int64, NONE, last)
        observation: dict[str, Any] = {}
        modalities: dict[str, Any] = {}
        action = {NEXT: one} if self._agent_chooses else {}
        if self._agent_chooses:
            observation = {OFFER: dm_specs.BoundedArray((last + 1,), np.int64, NONE, last, OFFER), CURRENT: one}
            modalities = {OFFER: Modality("set", "categorical"), CURRENT: Modality("flat", "categorical")}
        seen = spec.modalities["observation"]
        if self.instruction_steps and INSTRUCTION not in spec.observation:
            length = max(len(member.instruction.encode()) for member in self.environments)
            if self.environments[place].instruction:
                seen = map_tree(lambda modality: replace(modality, optional=True), seen)
            observation[INSTRUCTION] = dm_specs.BoundedArray((length,), np.uint8, 0, 255, INSTRUCTION)
            modalities[INSTRUCTION] = Modality("sequence", "categorical", "text", optional=True)
        clash = sorted((set(observation) & set(spec.observation)) | (set(action) & set(spec.action)))
        if clash:
            raise SpecError(
                f"expected an environment without the keys {clash}, which are those of {type(self).__name__}"
            )
        if not observation and not action:
            return spec
        sides = {
            "observation": {**seen, **modalities},
            "action": {**spec.modalities["action"], **{key: Modality("flat", "categorical") for key in action}},
        }
        return replace(
            spec,
            observation={**spec.observation, **observation},
            action={**spec.action, **action},
            modalities=sides,
        )

    # Beginning.

    def on_open(self) -> None:
        """Starts with nothing opened."""
        super().on_open()
        self._boxes: dict[str, Mailbox] = {}
        self._start()

    def _start(self) -> None:
        self._rng = np.random.default_rng(self.seeds(DRAWS))
        self._num_shown = self._num_broken = 0
        self._visit = Visit(NONE, over=True, gone=True)
        self._lives = Lives(self.environments, self.max_open, self.restarts)
        self._before: dict[str, TimeStep] = {}  # by source, what it has shown last, where lanes go on

    def on_close(self) -> None:
        """Refuses later answers."""
        for box in self._boxes.values():
            box.close()

    def _mailboxes(self) -> Iterator[Mailbox]:
        return iter(self._boxes.values())

    # Steps.

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Drops what is under way everywhere, and begins an episode in the next environment."""
        self._visit.over = self._visit.gone = True
        self._before.clear()
        self._lives.waiting.clear()
        return self._next_visit(NONE)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Answers the environment that has its turn, and returns its next timestep, or the first one of another."""
        wanted = NONE
        if self._agent_chooses:
            action = dict(action)
            wanted = self._wish(action.pop(NEXT))
        visit, before = self._visit, self._outstanding
        if visit.gone:
            return self._next_visit(wanted) if visit.over or before.last().all() else self._end(before)
        excluded = not self._admitted[visit.index]
        traits = self._lives.traits[visit.index]
        leaves = wanted != NONE or (excluded and (self.on_excluded == "switch" or not traits.episodic))
        telling = visit.told > 0 and not visit.shown
        if visit.over or (not telling and before.last().all() and (leaves or excluded)):
            return self._next_visit(wanted, action)
        if leaves:
            visit.next = wanted
            if telling and not traits.goes_on:
                return self._end(before)
            if traits.goes_on and not telling:
                return self._next_visit(wanted, action)
        if telling:  # what was shown needs no answer
            return self._introduce(self.environments[visit.index]._outstanding, leaves)
        timestep = self._answer(action)
        if timestep is not None:
            return self._present(timestep, leaves)
        visit.gone = True
        return self._next_visit(wanted) if before.last().all() else self._end(before)

    def _wish(self, choice: Tensor) -> int:
        """Returns what the agent wants next: the first number that stands for a change."""
        if self._next_env_fn != "agent":
            return NONE
        available = set(self.available) - {self.current}
        return next((place for place in choice.tolist() if place in available), NONE)

    def _answer(self, action: dict) -> TimeStep | None:
        """Returns what the environment shows next; None where it breaks. A stream that is over starts over."""
        place = self._visit.index
        member = self.environments[place]
        member._outstanding.ticket._address.action = action or None  # it has been checked
        try:
            try:
                return member.step(action)
            except EndOfStream:
                return member.reset()
        except (ActionError, FeedbackError):
            raise
        except FAILURES as error:
            self._break(place, error)
            return None

    def _break(self, place: int, error: BaseException) -> None:
        """Leaves out an environment that raised while it ran, within the budget."""
        who, name = type(self).__name__, self.environments[place].name
        if self._num_broken >= self.max_broken:
            error.add_note(
                f"{who}: {name!r} raised; more than max_broken={self.max_broken} did. Exclude it, or mend it."
            )
            raise error
        self._num_broken += 1
        self._lives.forget(place)
        self.leave_out(place, error, quietly=True)
        warnings.warn(
            f"{who}: {name!r} {reason_of(error)}. It is left out from now on: number {self._num_broken} of"
            f" max_broken={self.max_broken}.",
            stacklevel=2,
        )

    def _present(self, timestep: TimeStep, cut: bool = False) -> TimeStep:
        """Shows what the environment shows, LAST where the visit ends with it."""
        visit, source = self._visit, timestep.ticket.source
        traits = self._lives.traits[visit.index]
        timestep = self._with_own_keys(timestep, told=False)
        if visit.told and not visit.shown:
            timestep = introduced(timestep, visit.told, telling=False)
        if not traits.goes_on:
            timestep = self._join(timestep)
        visit.note(timestep, self._next_env_fn != "agent" or not self._admitted[visit.index], cut)
        if visit.over and not traits.goes_on:
            if timestep.first().all():
                visit.over = False  # there is nothing to be cut off yet
            else:
                timestep = self._before[source] = cut_off(timestep)
        return self._show(timestep)

    def _join(self, timestep: TimeStep) -> TimeStep:
        """Has FIRST follow LAST in every lane, whatever was cut off before."""
        source = timestep.ticket.source
        before = self._before.get(source)
        if before is not None:
            timestep = joined(before, timestep)
        self._before[source] = timestep
        return timestep

    def _introduce(self, timestep: TimeStep, cut: bool = False) -> TimeStep:
        """Shows the instruction, or, where it has been shown, what the environment shows."""
        visit = self._visit
        if not visit.to_tell:
            return self._present(timestep, cut)
        told = self._with_own_keys(introduced(timestep, visit.told, telling=True), told=True)
        if not self._lives.traits[visit.index].goes_on:
            told = self._join(told)
        visit.to_tell -= 1
        visit.told += 1
        return self._show(told)

    def _end(self, before: TimeStep) -> TimeStep:
        """Shows the last observation once more: LAST in every lane."""
        self._visit.over = True
        self._before.pop(before.ticket.source, None)
        return self._show(ending(before))

    def _show(self, timestep: TimeStep) -> TimeStep:
        source = timestep.ticket.source
        if source not in self._boxes:
            self._boxes[source] = Mailbox(source, self.slot)
        self._num_shown += 1
        return timestep._replace(ticket=self._boxes[source].issue())

    def _with_own_keys(self, timestep: TimeStep, told: bool) -> TimeStep:
        """Adds what the experience shows besides; of an environment that is introduced, nothing else is shown."""
        if not self._agent_chooses and not self.instruction_steps:
            return timestep
        place, count, device = self._visit.index, len(timestep.step_type), timestep.step_type.device
        observation = timestep.observation
        if told:
            observation = map_tree(lambda leaf: None, observation)
        if (
            INSTRUCTION in self._known_specs[place][timestep.ticket.source].observation
            and INSTRUCTION not in observation
        ):
            text = self._text_of(place).expand(count, -1).to(device, copy=True) if told else None
            observation = {**observation, INSTRUCTION: text}
        if self._agent_chooses:
            offers = offers_of(self.available, len(self.environments)).expand(count, -1).to(device, copy=True)
            observation = {**observation, OFFER: offers, CURRENT: torch.full((count,), place, device=device)}
        return timestep._replace(observation=observation)

    def _text_of(self, place: int) -> Tensor:
        """Returns the instruction of an environment, uint8 [L]."""
        length = max(len(member.instruction.encode()) for member in self.environments)
        return torch.tensor(list(self.environments[place].instruction.encode().ljust(length, b"\0")), dtype=torch.uint8)

    # Visits.

    def _next_visit(self, wanted: int, answer: dict | None = None) -> TimeStep:
        """Ends the visit, and begins the next.

        Args:
          wanted: the environment that the agent wants, or -1.
          answer: to the outstanding timestep, for an environment that goes on from it.
        """
        place = self._choose(wanted)
        self._leave(answer)
        while True:
            try:
                timestep = self._lives.enter(place)
                self.read_specs(place)
                break
            except FAILURES as error:
                self._lives.forget(place)
                self.leave_out(place, error)
            place = self._choose(NONE)
        old, self._visit = self.current, Visit(place, self._draw_limit(place))
        if old != place and self._env_transition_fn is not None:
            self._env_transition_fn(old, place)
        member = self.environments[place]
        if member.instruction and INSTRUCTION not in member.specs[timestep.ticket.source].observation:
            self._visit.to_tell = self.instruction_steps
        return self._introduce(timestep)

    def _choose(self, wanted: int) -> int:
        """Returns the place of the environment that is next."""
        available, current, choice = self.available, self.current, self._next_env_fn
        if not available:
            raise self.nothing_left()
        for place in (wanted, self._visit.next):
            if place in available:
                return place
        if choice != "random":
            return choose(choice, available, current, self._num_shown, len(self.environments))
        admitted = self.admitted
        if not self._num_shown:
            at_hand = [place for place in admitted if _is_at_hand(self.environments[place])]
            admitted = at_hand if set(at_hand) & set(available) else admitted
        return draw(self._rng, admitted, available)

    def _draw_limit(self, place: int) -> int | None:
        """Returns how many timesteps a visit has at most."""
        return None if self._next_env_fn == "agent" else draw_limit(self.steps, self._rng, place)

    def _leave(self, answer: dict | None) -> None:
        """Ends the visit: what goes on gets its answer, and its next timestep waits."""
        visit, place = self._visit, self._visit.index
        traits = self._lives.traits.get(place)
        if traits is None:
            return  # there was none before, or it is left out
        if answer is not None and traits.goes_on and not visit.gone:
            visit.over = visit.gone = True
            if self._answer(answer) is None:
                return
            self._lives.waiting.add(place)
        self._before = {source: shown for source, shown in self._before.items() if not shown.last().all()}
        self._lives.leave(place)

    # State.

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Begins anew with other draws; data goes on, at its first visit, at what is unread."""
        self.open()
        self._lives.lost_steps = dict(steps)

    def divide_anew(self, states: list[tuple[dict, int]]) -> dict:
        """Is refused: where an experience has come to cannot be dealt out among others."""
        raise SpecError(
            f"{self.name}: expected as many slots and ranks as the state was taken with. Where one slot of"
            f" {type(self).__name__} has come to cannot be dealt out among others. Resume with the same in_flight and"
            " world_size, or start it afresh."
        )

    def check_state(self, state: dict) -> None:
        """Raises a SpecError where a state was taken from another pipeline; other environments are no other pipeline."""
        mine, theirs = (type(self).__name__, self.name), (state["type"], state["name"])
        if mine != theirs:
            raise SpecError(f"{mine[0]}.load_state_dict: expected the state of (type, name) {mine}, got {theirs}.")

    def state_dict(self) -> dict:
        """Returns everything needed to go on; see the class about environments that give no state."""
        self.open()
        name_of = dict(enumerate(self.names))
        visit = self._visit
        return self._own_state() | {
            "children": [],
            "members": {name_of[place]: state for place, state in self._states().items()},
            "boxes": {source: box.state_dict() for source, box in self._boxes.items()},
            "filters": plain_items(Filter(self._include, self._exclude)),
            "left_out": {name_of[place]: reason for place, reason in self._failed.items()},
            "visit": visit.state_dict() | {"index": name_of.get(visit.index), "next": name_of.get(visit.next)},
            "visits": {name_of[place]: count for place, count in self._lives.visits.items()},
            "waiting": [name_of[place] for place in sorted(self._lives.waiting)],
            "before": {source: pack_timestep(shown) for source, shown in self._before.items()},
            "rng": pack_generator(self._rng),
            "shown": self._num_shown,
            "broken": self._num_broken,
            "warned": self._warned,
            "lost_steps": dict(self._lives.lost_steps),
        }

    def _states(self) -> dict[int, dict]:
        """Returns, by place, the states of the environments that were visited and give one."""
        states = self._lives.states()
        place, before = self.current, self._outstanding
        if place != NONE and place not in states and not self._visit.gone and not before.last().all():
            warnings.warn(
                f"{type(self).__name__}: the state is taken amid a visit to {self.environments[place].name!r}, whose"
                " simulator gives none. What is resumed from it ends the visit there (LAST, truncated); all else is exact.",
                stacklevel=3,
            )
        return states

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`; what was visited is opened at its next turn."""
        self.check_state(state)
        self.open()
        for env in self.environments:
            env.close()
        for box in self._boxes.values():
            box.close()
        self._start()
        places = {name: place for place, name in enumerate(self.names)}
        unknown = sorted(name for name in state["members"] if name not in places)
        if unknown:
            warnings.warn(f"{type(self).__name__}: {unknown} are in the state, but not here any more.", stacklevel=2)
        self._failed = {places[name]: reason for name, reason in state["left_out"].items() if name in places}
        own = plain_items(Filter(self._include, self._exclude))
        if state["filters"] is not None and state["filters"] != own:
            self.set_filters(**state["filters"])
        self._boxes = {source: Mailbox(source, self.slot) for source in state["boxes"]}
        for source, box in self._boxes.items():
            box.load_state_dict(state["boxes"][source])
        self._load_own_state(state)
        self._before = {source: unpack_timestep(packed, self._boxes) for source, packed in state["before"].items()}
        self._rng = unpack_generator(state["rng"])
        self._num_shown, self._num_broken, self._warned = state["shown"], state["broken"], state["warned"]
        lives = self._lives
        lives.lost_steps = dict(state["lost_steps"])
        lives.visits = {places[name]: count for name, count in state["visits"].items() if name in places}
        lives.waiting = {places[name] for name in state["waiting"] if name in places}
        lives.stored = {places[name]: packed for name, packed in state["members"].items() if name in places}
        visit = state["visit"]
        self._visit = Visit(
            **visit | {"index": places.get(visit["index"], NONE), "next": places.get(visit["next"], NONE)}
        )
        self._go_on_with_visit()

    def _go_on_with_visit(self) -> None:
        """Opens the environment that has its turn; without a state of it, its visit ends here."""
        place = self.current
        if place not in self._lives.stored or self._visit.gone:
            self._visit.gone = True
            return
        self._lives.restore(place)
        self.read_specs(place)


def _is_at_hand(env: Any) -> bool:
    return not (isinstance(env, EntryEnv) and env.entry.extra)
