"""Env and Stage: an environment to step and a stream to iterate, which is the same thing.

An `Env` is a recipe until it is opened, by the first `reset`, `step` or question for a spec. What it handed out last
(`_outstanding`) is all that the two styles share: `step(action)` answers it, `for timestep in env` yields it.
"""

import copy
import functools
import zlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import dm_env
import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.feedback import ConsumerGone, Mailbox
from aexp_torch.recipe import Recipe
from aexp_torch.specs.check import Check, action_checker, union_checker
from aexp_torch.specs.env_spec import EnvSpec
from aexp_torch.specs.infer import infer_spec, with_sides
from aexp_torch.specs.lazy import map_specs
from aexp_torch.specs.sample import sample_action
from aexp_torch.specs.union import union_of
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import TimeStep, pack_timestep, restart, select_lanes, unpack_timestep

__all__ = ["Env", "Stage", "origin_of", "seed_sequence", "union_of_indices"]

_new_tuple = tuple.__new__  # half the time of TimeStep(...)


def seed_sequence(seed: int, source: str, *key: int) -> np.random.SeedSequence:
    """Returns the seeds of a source under `seed`; `key` is the slot, then the lane."""
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(source.encode()), *key))


def _hands_out(method: Callable) -> Callable:
    """Makes `reset` or `step` of a subclass remember what it returned, with a ticket to answer it by."""

    @functools.wraps(method)
    def reset(self: "Env", lanes: Tensor | None = None) -> TimeStep:
        self.open()
        lanes = self._check_lanes(lanes)
        if lanes is None:
            timestep = method(self)
        elif self.children or lanes.any():
            timestep = method(self, lanes)
        else:
            return self._hand_out(self._repeat())
        if self._observer is not None:
            self._observer(None, lanes, timestep)
        return self._hand_out(timestep)

    @functools.wraps(method)
    def step(self: "Env", action: Any, lanes: Tensor | None = None) -> TimeStep:
        outstanding = self._outstanding
        if outstanding is None:
            return self.reset()
        action = outstanding.ticket._address.settle(self, outstanding, action)
        try:
            if lanes is None or (lanes := self._check_lanes(lanes)) is None:
                timestep = method(self, action)
            elif self.children or lanes.any():
                timestep = method(self, action, lanes)
            else:
                return self._hand_out(self._repeat())
        except EndOfStream:
            self._outstanding = None
            raise
        if self._observer is not None:
            self._observer(action, lanes, timestep)
        return self._hand_out(timestep)

    return reset if method.__name__ == "reset" else step


class Env(Recipe, IterableDataset, dm_env.Environment):
    """Is an environment to step and a stream to iterate: one minibatch is one step.

    A source implements `reset`, `step` and `make_specs`, and if it needs them `on_open`, `on_close`, `state_dict` and
    `load_state_dict`. Attributes that `on_open` and later calls set are running state: `close` takes them away, and
    copying or pickling leaves them out.

    Args:
      name: names the source in `specs`, tickets and seeds; the default is the class's name.
      seed: S of the seeds; no global generator is ever used.
      on_missing: what to do when the next timestep is asked for before the last was answered: raise ("error"), or go
        on with the answer before ("repeat") or a random one ("sample").
      feedback_timeout: seconds to wait for an answer that another thread or process may still give.

    Source: dm_env (Muldal et al. 2019) for `reset`, `step` and the specs.
    """

    lane_control: bool = False
    resumable: bool = True
    divisible: bool = False  # what is left of it can be dealt out among other slots
    episodic: bool = True  # lanes reach LAST, sooner or later
    max_episode_steps: int | None = None
    tags: tuple[str, ...] = ()  # what it is about, for filters: "image.classification"
    version: int = 0
    instruction: str = ""  # what to do, in one sentence
    slot: int = 0
    num_slots: int = 1
    world_size: int = 1
    uneven: Literal["cycle", "pad", "stop"] = "cycle"
    seed_prefix: str = ""
    restarts: int = 0
    seed: int = 0
    on_missing: Literal["error", "repeat", "sample"] = "error"
    feedback_timeout: float = 60.0
    _name: str | None = None
    _outstanding: TimeStep | None = None
    _specs: Mapping[str, EnvSpec] | None = None
    _mailbox: Mailbox | None = None
    _checks: dict[str, Check] | None = None
    _sampler: np.random.Generator | None = None
    _observer: Callable[[dict | None, Tensor | None, TimeStep], None] | None = None  # is told of every step and reset

    def __init__(
        self,
        name: str | None = None,
        *,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
    ):
        if on_missing not in ("error", "repeat", "sample"):
            raise SpecError(
                f"{type(self).__name__}: expected on_missing='error', 'repeat' or 'sample', got {on_missing!r}."
            )
        self._name, self.seed = name, seed
        self.on_missing, self.feedback_timeout = on_missing, feedback_timeout

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in ("reset", "step"):
            if name in vars(cls):
                setattr(cls, name, _hands_out(vars(cls)[name]))

    # What a subclass implements.

    @abstractmethod
    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts a new episode and drops the outstanding timestep.

        Args:
          lanes: bool [B]; only these lanes show FIRST, the others repeat their last timestep and do not move. Needs
            `lane_control`.
        """

    @abstractmethod
    def step(self, action: Any, lanes: Tensor | None = None) -> TimeStep:
        """Answers the outstanding timestep and returns the next; resets first where the environment is fresh.

        Args:
          action: as in `TimeStep.reply`.
          lanes: bool [B]; the other lanes are held. Needs `lane_control`.

        Raises:
          EndOfStream: a finite stream is over; the next `reset`, `step` or `iter` starts over.
        """

    @abstractmethod
    def make_specs(self) -> Mapping[str, EnvSpec]:
        """Returns `{source name: EnvSpec}` of the open environment; asked once."""

    # Which stream this is.

    @property
    def name(self) -> str:
        """The name of the source: it keys specs, tickets and seeds."""
        return self._name or type(self).__name__

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    def _forget(self) -> None:
        for mailbox in (self._mailbox, self._outstanding and self._outstanding.ticket._address):
            if mailbox is not None:
                mailbox.close()
        super()._forget()

    def place(
        self,
        *,
        seed: int,
        slot: int = 0,
        num_slots: int = 1,
        seed_prefix: str = "",
        world_size: int = 1,
        uneven: Literal["cycle", "pad", "stop"] = "cycle",
        restarts: int = 0,
    ) -> None:
        """Says which running copy of the pipeline this is, before it is opened: seeds and data follow from it.

        Args:
          seed: S of the seeds.
          slot: number of this copy.
          num_slots: number of copies on all ranks; they share a pass over a dataset.
          seed_prefix: put before source names in seeds.
          world_size: number of ranks; slot s is run by rank `s % world_size`.
          uneven: what makes the minibatches of a pass a multiple of `world_size`, as for `Loader`.
          restarts: how often the copy was lost with its process.
        """
        self.close()
        self.seed, self.slot, self.num_slots = seed, slot, num_slots
        self.seed_prefix, self.restarts = seed_prefix, restarts
        self.world_size, self.uneven = world_size, uneven
        for child in self.children:
            child.place(
                seed=seed,
                slot=slot,
                num_slots=num_slots,
                seed_prefix=seed_prefix,
                world_size=world_size,
                uneven=uneven,
                restarts=restarts,
            )

    def seeds(self, *key: int, source: str | None = None) -> np.random.SeedSequence:
        """Returns the seeds of this (or another) source in this slot; `key` is the lane, or names a use of its own.

        A slot that was lost with its process starts again from others: the number of its restarts joins the key.
        """
        restarts = (self.restarts,) if self.restarts else ()
        return seed_sequence(self.seed, self.seed_prefix + (source or self.name), self.slot, *key, *restarts)

    @property
    def sources(self) -> tuple["Env", ...]:
        """The environments whose names the timesteps carry: those below, or this one."""
        return tuple(source for child in self.children for source in child.sources) or (self,)

    def classes_below(self, source: str) -> list[type]:
        """Returns the classes of what stands between this environment and a source, the source's included."""
        child = next((child for child in self.children if source in (part.name for part in child.sources)), None)
        return [] if child is None else [type(child), *child.classes_below(source)]

    # Specs.

    @property
    def specs(self) -> Mapping[str, EnvSpec]:
        """`{source name: EnvSpec}`: one entry for a plain source, one per child for a composition."""
        self.open()
        if self._specs is None:
            self._specs = self.make_specs()
        return self._specs

    def observation_spec(self) -> dict[str, Any]:
        """Returns the observation of one lane; unequal specs of several sources become `key@source`."""
        return union_of({name: spec.observation for name, spec in self.specs.items()})

    def action_spec(self) -> dict[str, Any]:
        """Returns the action of one lane; unequal specs of several sources become `key@source`."""
        return union_of({name: spec.action for name, spec in self.specs.items()})

    def reward_spec(self) -> dm_specs.Array:
        """Returns the reward of one lane: float32 scalar."""
        return next(iter(self.specs.values())).reward

    def discount_spec(self) -> dm_specs.BoundedArray:
        """Returns the discount of one lane: float32 scalar in [0, 1]."""
        return next(iter(self.specs.values())).discount

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps of a finite stream in this slot; None where it never ends."""
        return None

    @property
    def pass_length(self) -> int | None:
        """The number of timesteps of one pass over the data in this slot; None where there are no passes, or unequal."""
        return self.stream_length

    @property
    def cut_passes(self) -> tuple[int, list[int]]:
        """The pass of the stream in which it stands, and the timesteps of the passes of which only a rest is left.

        The second is empty except after `divide_anew`.
        """
        return 0, []

    @property
    def skips_bad_samples(self) -> bool:
        """Whether there are datasets whose bad samples are left out."""
        return any(child.skips_bad_samples for child in self.children)

    @property
    def bad_samples(self) -> dict[str, set[int | str]]:
        """Samples of datasets that could not be read and were left out: their indices, by source."""
        return union_of_indices(child.bad_samples for child in self.children)

    @property
    def broken(self) -> dict[str, int]:
        """Simulators that raised while they ran and were made anew (`on_broken="restart"`): their number, by source."""
        return {source: count for child in self.children for source, count in child.broken.items()}

    @property
    def statistics(self) -> dict[str, dict]:
        """What sources count of their own, beside rewards, as tensors and primitives, by source; none until opened."""
        return {source: counts for child in self.children for source, counts in child.statistics.items()}

    # Stepping and iterating.

    def __iter__(self) -> Iterator[TimeStep]:
        worker = get_worker_info()
        if worker is not None and self._recipe is None:  # a DataLoader's worker w is slot w
            self.place(seed=self.seed, slot=worker.id, num_slots=worker.num_workers, seed_prefix=self.seed_prefix)
        timestep = self._outstanding
        if timestep is None:
            try:
                timestep = self.reset()
            except EndOfStream:  # a slot without data
                return
            yield timestep
        elif not timestep.ticket._address.settled():
            yield timestep
        while self._recipe is not None:  # until it is closed, perhaps within the loop
            try:
                timestep = self.step((self._outstanding or timestep).ticket._address.take())
            except (EndOfStream, ConsumerGone):
                return
            yield timestep

    def _hand_out(self, timestep: TimeStep) -> TimeStep:
        if timestep.ticket is None:
            if self._mailbox is None:
                self._mailbox = Mailbox(self.name, self.slot)
            timestep = _new_tuple(TimeStep, (*timestep[:4], self._mailbox.issue()))
        timestep.ticket._address.owner = self
        self._outstanding = timestep
        return timestep

    def _repeat(self) -> TimeStep:
        """Returns the outstanding timestep once more, to be answered anew: every lane is held."""
        return self._outstanding._replace(ticket=None)

    def _check_lanes(self, lanes: Tensor | None) -> Tensor | None:
        """Returns None where all lanes move."""
        if lanes is None or self._outstanding is None:
            return None
        num_envs = len(self._outstanding.step_type)
        if not isinstance(lanes, Tensor) or lanes.dtype is not torch.bool or lanes.shape != (num_envs,):
            came = f"{lanes.dtype} {list(lanes.shape)}" if isinstance(lanes, Tensor) else repr(lanes)
            raise SpecError(f"{self.name}: expected lanes as a bool tensor [{num_envs}], got {came}.")
        if lanes.all():
            return None
        if not self.lane_control:
            raise SpecError(
                f"{self.name}: expected lane control for lanes=, {type(self).__name__} steps all lanes at once."
                " Use num_envs=1, or vectorization='sync' for a Gymnasium environment."
            )
        return lanes

    def action_check(self, source: str) -> Check:
        """Returns the check of answers to timesteps of `source` (see `specs.check`).

        Where there are several sources, an answer by `action_spec()` is taken, too: the part of this one counts.
        """
        if self._checks is None:
            self._checks = {}
        check = self._checks.get(source)
        if check is None:
            spec = self.specs[source]
            check = action_checker(spec.action, spec.num_envs, spec.device)
            if len(self.sources) > 1:
                check = union_checker(check, spec.action, source, self.action_spec)
            self._checks[source] = check
        return check

    def sample_action(self, source: str) -> dict:
        """Draws a random answer for `source` from a generator of its own."""
        if self._sampler is None:
            self._sampler = np.random.default_rng(self.seeds(zlib.crc32(b"sample_action")))
        spec = self.specs[source]
        return sample_action(spec.action, spec.num_envs, self._sampler)

    # State.

    def state_dict(self) -> dict:
        """Returns everything needed to go on exactly, mid-episode and mid-pass, as tensors and primitives.

        Raises:
          SpecError: the provider cannot give its state; the text names what stands in the way.
        """
        self.open()
        return self._own_state() | {"children": [child.state_dict() for child in self.children]}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`, at exactly the same place."""
        self.check_state(state)
        self.open()
        for child, child_state in zip(self.children, state["children"], strict=True):
            child.load_state_dict(child_state)
        self._load_own_state(state)

    def _own_state(self) -> dict:
        return {
            "type": type(self).__name__,
            "name": self.name,
            "outstanding": pack_timestep(self._outstanding),
            "mailbox": None if self._mailbox is None else self._mailbox.state_dict(),
            "sampler": None if self._sampler is None else pack_generator(self._sampler),
        }

    def _load_own_state(self, state: dict) -> None:
        if self._mailbox is not None:
            self._mailbox.close()  # what was handed out before belongs to another stream
        self._mailbox = None
        if state["mailbox"] is not None:
            self._mailbox = Mailbox(self.name, self.slot)
            self._mailbox.load_state_dict(state["mailbox"])
        self._sampler = None if state["sampler"] is None else unpack_generator(state["sampler"])
        self._outstanding = unpack_timestep(state["outstanding"], {box.source: box for box in self._mailboxes()})
        if self._outstanding is not None:
            self._outstanding.ticket._address.owner = self

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Tells a freshly placed environment how far its sources had come in a process that was lost.

        A live source starts anew, data goes on at its next unread minibatch.

        Args:
          steps: by source, the ticket's step of the timestep that was handed out last.
          origin: of the state that the lost one was restored from, where step 0 was in the data; see `origin_of`.
        """
        below = [None] * len(self.children) if origin is None else origin["children"]
        for child, child_origin in zip(self.children, below, strict=True):
            child.go_on_after(steps, child_origin)

    def check_state(self, state: dict) -> None:
        """Raises a SpecError where a state was taken from another pipeline."""
        mine = (type(self).__name__, self.name, len(self.children))
        theirs = (state["type"], state["name"], len(state["children"]))
        if mine != theirs:
            raise SpecError(
                f"{type(self).__name__}.load_state_dict: expected the state of (type, name, children) {mine}, got"
                f" {theirs}. Build the same pipeline as when the state was saved."
            )

    def divide_anew(self, states: list[tuple[dict, int]]) -> dict:
        """Returns the state of this slot, from those of all slots of another division (`num_slots`, `world_size`).

        What no slot has shown of the data is dealt out among the slots of this division. Everything else begins as in
        a fresh slot: stages, patterns and episodes.

        Args:
          states: of all slots, each with the number of timesteps (0, 1 or 2) that were made last but that nobody has
            seen: they do not count as shown.

        Raises:
          SpecError: the state cannot be divided, since it is a simulator's; the text names it.
        """
        if not self.children:
            raise SpecError(
                f"{self.name}: expected as many slots and ranks as the state was taken with. The slots of"
                f" {type(self).__name__} are independent, what goes on in one cannot be dealt out among others. Resume"
                " with the same in_flight and world_size, or start this environment afresh."
            )
        for state, _ in states:
            self.check_state(state)
        unseen = [self.unseen_below(*item) for item in states]
        children = [
            child.divide_anew(
                [(state["children"][place], counts[place]) for (state, _), counts in zip(states, unseen, strict=True)]
            )
            for place, child in enumerate(self.children)
        ]
        return self.state_dict() | {"children": children}

    def unseen_below(self, state: dict, unseen: int) -> list[int]:
        """Returns, for each child, how many of its timesteps nobody has seen, where that holds for `unseen` of this."""
        return [unseen] * len(self.children)

    def _mailboxes(self) -> Iterator[Mailbox]:
        for child in self.children:
            yield from child._mailboxes()
        if self._mailbox is not None:
            yield self._mailbox

    def pipe(self, stage: Any, /, **kwargs: Any) -> "Env":
        """Puts a stage around this environment.

        Args:
          stage: a Stage class, built as `stage(env, **kwargs)`; or a function from TimeStep to TimeStep.

        Returns:
          The pipeline so far, itself an Env.
        """
        if isinstance(stage, type):
            return stage(self, **kwargs)
        return Function(self, functools.partial(stage, **kwargs) if kwargs else stage)


def origin_of(state: dict) -> dict | None:
    """Returns, from the state of an environment, where its streams of data began; None where that is the beginning."""
    children = [origin_of(child) for child in state["children"]]
    own = state.get("origin")
    return None if own is None and not any(children) else {"origin": own, "children": children}


def union_of_indices(found: Iterable[Mapping[str, Iterable[int | str]]]) -> dict[str, set[int | str]]:
    """Returns the indices that any of several slots or environments has found, by source."""
    union: dict[str, set[int | str]] = {}
    for by_source in found:
        for source, indices in by_source.items():
            union.setdefault(source, set()).update(indices)
    return union


class Stage(Env):
    """Is an Env around one Env: changes timesteps on the way down, answers on the way up, and the specs.

    Override the hooks; a stage that changes how many steps there are overrides `reset` and `step` instead. State is
    kept per `timestep.source`, since the environment below may be a composition.

    Args:
      env: the environment below.
    """

    held: Tensor | None = None

    def __init__(self, env: Env):
        if not isinstance(env, Env):
            raise SpecError(
                f"{type(self).__name__}: expected an Env as its first argument, got {type(env).__name__} {env!r}."
                " Wrap it in a source first: GymnasiumEnv, DatasetEnv."
            )
        self.env = env
        self.seed, self.slot, self.num_slots, self.seed_prefix = env.seed, env.slot, env.num_slots, env.seed_prefix
        self.world_size, self.uneven = env.world_size, env.uneven
        self.on_missing, self.feedback_timeout = env.on_missing, env.feedback_timeout

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Changes a timestep on its way down to the agent; must not change what it is given.

        While lanes are held, `self.held` (bool [B], else None) says which: they repeat, and what is counted per lane
        stands still there.
        """
        return timestep

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Changes an answer on its way up.

        Args:
          action: dict of tensors [B, ...], checked against this stage's own action spec.
          timestep: the one that is being answered, as this stage handed it out. `self.held` is as in `on_timestep`.
        """
        return action

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Says what the hooks do to the specs; applied to every entry of `specs`."""
        return spec

    @property
    def lane_control(self) -> bool:
        """Whether single lanes can be reset and stepped."""
        return self.env.lane_control

    @property
    def resumable(self) -> bool:
        """Whether `state_dict` can be taken."""
        return self.env.resumable

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST, sooner or later."""
        return self.env.episodic

    @property
    def max_episode_steps(self) -> int | None:
        """The longest episode, in transitions, where the environment below says so."""
        return self.env.max_episode_steps

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps, as below; a stage that changes how many there are says so here."""
        return self.env.stream_length

    @property
    def pass_length(self) -> int | None:
        """The number of timesteps of one pass over the data, as below."""
        return self.env.pass_length

    @property
    def cut_passes(self) -> tuple[int, list[int]]:
        """The pass of the stream, and the timesteps of passes of which only a rest is left, as below."""
        return self.env.cut_passes

    @property
    def name(self) -> str:
        """The name of the environment below."""
        return self.env.name

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self.env.name = name

    @property
    def children(self) -> tuple[Env, ...]:
        """The environment below."""
        return (self.env,)

    def _copy_children(self) -> None:
        self.env = copy.copy(self.env)

    def make_specs(self) -> Mapping[str, EnvSpec]:
        """Applies `on_spec` to every entry of the specs below."""
        return map_specs(self.env.specs, self.on_spec)

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Resets the environment below and changes what it hands out."""
        if lanes is None:
            return self.on_timestep(self.env.reset())
        before = self._outstanding
        with self._holding(~lanes):
            return select_lanes(lanes, self.on_timestep(self.env.reset(lanes)), before)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Hands the changed answer to the environment below and changes what comes back."""
        before = self._outstanding
        if lanes is None:
            return self.on_timestep(self.env.step(self.on_action(action, before)))
        with self._holding(~lanes):
            timestep = self.env.step(self.on_action(action, before), lanes)
            return select_lanes(lanes, self.on_timestep(timestep), before)

    @contextmanager
    def _holding(self, held: Tensor) -> Iterator[None]:
        self.held = held
        try:
            yield
        finally:
            self.held = None


class Function(Stage):
    """Applies a pure function to every timestep: the form in which `env.pipe(function)` runs.

    Observation: as the function returns it, learned from one call on zeros.  Action: unchanged.
    """

    def __init__(self, env: Env, function: Callable[[TimeStep], TimeStep]):
        super().__init__(env)
        if not callable(function):
            raise SpecError(f"pipe: expected a Stage class or a function of a TimeStep, got {function!r}.")
        self.function = function

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Calls the function; the ticket stays."""
        result = self.function(timestep)
        if not isinstance(result, TimeStep):
            raise SpecError(
                f"pipe: expected {self.function!r} to return a TimeStep, got {type(result).__name__}."
                " Use timestep._replace(...), or Lambda for a function of the observation alone."
            )
        return result._replace(ticket=timestep.ticket)

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Learns the observation spec from one call on zeros."""

        def observation(tree: dict) -> dict:
            return self.on_timestep(restart(tree, spec.num_envs)).observation

        return with_sides(spec, observation=infer_spec(observation, spec.observation, spec.num_envs, "pipe"))
