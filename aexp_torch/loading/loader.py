"""Loader: mixes streams, runs their slots, and counts epochs of an exact length."""

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import torch

from aexp_torch.composition.composition import sources_of, unique_names
from aexp_torch.env import Env, union_of_indices
from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.loading.episodes import EpisodeQuota
from aexp_torch.loading.mixture import Mixture, Weights
from aexp_torch.loading.remote import RemoteWorker
from aexp_torch.loading.shared import Bell
from aexp_torch.loading.slots import Slots, SlotTurns
from aexp_torch.loading.trainer_side import TrainerSideSlots, border_of
from aexp_torch.loading.trajectory import Actor, Drive
from aexp_torch.loading.worker_process import Worker
from aexp_torch.loading.worker_slots import WorkerSlots
from aexp_torch.sources.broken import check_broken_options
from aexp_torch.sources.dataset import DatasetEnv, check_bad_sample_options
from aexp_torch.sources.dataset_reading.bad_samples import too_many
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec
from aexp_torch.specs.lazy import joined_specs
from aexp_torch.timestep import TimeStep

__all__ = ["Loader"]

UNBOUNDED = 2**31 - 1
Take = Callable[[SlotTurns, int], Any]


class Loader:
    """Hands the timesteps of one or several streams to a trainer, an exact number an epoch.

    At every step a source is drawn by the weights, and its next slot gives a timestep; the slot goes on when it is asked
    again, with the answer it was given. An epoch is a stretch of `steps_per_epoch` steps of streams that persist: a
    second `iter` goes on where the first stopped. Finite streams start over within it.

    Args:
      env: one environment, or `{name: environment}` to mix supervised data and reinforcement learning.
      weights: relative weights by name (or in order), or a function from the step to such; equal by default.
      num_workers: processes that step the slots; 0: this one does. Not more than the processor's cores that it may use.
        With `backend="ray"` the number of actors, at least 1.
      backend: where workers run: processes on this machine, or actors on a Ray cluster (extra `ray`). Call `ray.init`
        before, with the address of your cluster; otherwise Ray connects or starts one as it does by default.
      ray_options: what `actor.options` takes, for all actors or a list of one each: `num_cpus` (1 by default),
        `resources`, `scheduling_strategy` with a placement group, `runtime_env` ...
      context: how worker processes start.
      step_timeout: seconds that a step in a worker may take; a worker that takes longer is replaced.
      max_restarts: how often a slot is started again within any 100 of its steps when its worker is killed or hangs, or
        when it raises; None for no limit, 0 for an error at once. Its lanes show LAST, as at a time limit, then FIRST.
      pin_memory: copies timesteps into page-locked memory where there is a GPU, from which `to(device,
        non_blocking=True)`, and so Lightning, copies asynchronously.
      ordered: False takes whichever slot of the source is ready first (with workers): quicker where steps take unequal
        times, but another order in every run.
      in_flight: number of slots per source on all ranks; by default one per rank, or two per worker.
      steps_per_epoch: timesteps an epoch. None: the exact length where all sources are finite.
      episodes: for evaluation: an epoch is the first N episodes of every source, in the order (round, slot, lane) over
        the slots of all ranks, and one whole pass of every finite stream; it starts afresh, as with resume_epochs=False.
      seed: S of all seeds.
      until: what ends an epoch without a given length: the first source that is over, or all of them.
      resume_epochs: False starts every epoch afresh, with the same seeds.
      rank: which trainer process this is: slot s belongs to rank `s % world_size`.
      world_size: number of trainer processes.
      uneven: what becomes of a pass over a dataset whose minibatches are no multiple of `world_size`: its first ones
        come once more ("cycle"), minibatches come whose rows are all masked ("pad"), or the rest is dropped ("stop"). So
        every rank has the same number of steps and all begin the next pass together. With `episodes=`, where no sample
        may count twice, "cycle" is "pad".
      on_bad_sample: what becomes of samples of datasets that cannot be read, as for `DatasetEnv`; by default each
        dataset's own.
      max_bad_samples: with `on_bad_sample`: how many may be left out, per source on this rank, whichever slot meets them.
      on_broken: what becomes of simulators that raise while they run, as for every `SimulatorEnv`; by default each
        source's own.
      max_broken: with `on_broken`: how many of them may break in a slot.
      on_missing: for timesteps that are not answered, as for every Env; by default each Env's own.
      feedback_timeout: seconds to wait for an answer that another thread may still give; by default each Env's own.
      seed_prefix: put before source names in seeds (`"val/"`), so that evaluation runs other episodes.

    Raises:
      SpecError: no length, weights that do not fit, an `in_flight` that `world_size` does not divide.

    >>> import torch, aexp_torch as ae
    >>> loader = ae.Loader(ae.GymnasiumEnv("CartPole-v1", num_envs=2), steps_per_epoch=3)
    >>> for timestep in loader:
    ...     timestep.reply(torch.zeros(2, dtype=torch.int64))
    >>> len(loader)
    3
    """

    def __init__(
        self,
        env: Env | Mapping[str, Env],
        *,
        weights: Weights | None = None,
        num_workers: int = 0,
        backend: Literal["process", "ray"] = "process",
        ray_options: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        context: Literal["fork", "spawn", "forkserver"] = "fork",
        step_timeout: float = 300.0,
        max_restarts: int | None = 3,
        pin_memory: bool = False,
        ordered: bool = True,
        in_flight: int | None = None,
        steps_per_epoch: int | None = None,
        episodes: int | None = None,
        seed: int = 0,
        until: Literal["first", "all"] = "first",
        resume_epochs: bool = True,
        rank: int = 0,
        world_size: int = 1,
        uneven: Literal["cycle", "pad", "stop"] = "cycle",
        on_bad_sample: Literal["raise", "skip"] | None = None,
        max_bad_samples: int | None = 100,
        on_broken: Literal["raise", "restart"] | None = None,
        max_broken: int | None = 10,
        on_missing: Literal["error", "repeat", "sample"] | None = None,
        feedback_timeout: float | None = None,
        seed_prefix: str = "",
    ):
        if not isinstance(num_workers, int) or num_workers < 0:
            raise SpecError(f"Loader: expected num_workers of at least 0, got {num_workers!r}.")
        if in_flight is None:
            in_flight = world_size * max(1, 2 * num_workers)
        numbers = _slot_numbers(in_flight, rank, world_size)
        if context not in ("fork", "spawn", "forkserver"):
            raise SpecError(f"Loader: expected context='fork', 'spawn' or 'forkserver', got {context!r}.")
        if not isinstance(step_timeout, int | float) or not step_timeout > 0:
            raise SpecError(f"Loader: expected step_timeout in seconds, more than 0, got {step_timeout!r}.")
        if max_restarts is not None and (not isinstance(max_restarts, int) or max_restarts < 0):
            raise SpecError(f"Loader: expected max_restarts of at least 0, or None, got {max_restarts!r}.")
        if uneven not in ("cycle", "pad", "stop"):
            raise SpecError(f"Loader: expected uneven='cycle', 'pad' or 'stop', got {uneven!r}.")
        if episodes is not None and uneven == "cycle":
            uneven = "pad"
        self._rank, self.world_size, self.backend = rank, world_size, backend
        self.episodes, self.until = episodes, until
        self.resume_epochs = resume_epochs and episodes is None
        envs = _named(env, {"on_missing": on_missing, "feedback_timeout": feedback_timeout})
        self._pin_memory = pin_memory and torch.cuda.is_available()
        if on_bad_sample is not None:
            _set_bad_sample_options(envs, on_bad_sample, max_bad_samples)
        if on_broken is not None:
            _set_broken_options(envs, on_broken, max_broken)
        self._bad_samples = {name: 0 for name, member in envs.items() if member.skips_bad_samples}
        self.in_flight = len(numbers) * world_size
        self._mixture = Mixture(list(envs), weights, seed)
        self._workers: Sequence[RemoteWorker]
        if backend == "process" and ray_options is None:
            bell = Bell() if num_workers else None
            self._workers = [Worker(number, context, step_timeout, bell) for number in range(_processes(num_workers))]
        else:
            self._workers = _actors(backend, num_workers, ray_options, step_timeout)
        place: dict[str, Any] = {
            "seed": seed,
            "numbers": numbers,
            "num_slots": self.in_flight,
            "seed_prefix": seed_prefix,
            "world_size": world_size,
            "uneven": uneven,
        }

        def in_workers(env: Env) -> SlotTurns:
            return WorkerSlots(env, **place, workers=self._workers, max_restarts=max_restarts, ordered=ordered)

        def run(env: Env) -> SlotTurns:
            if not self._workers:
                return Slots(env, **place)
            return in_workers(env) if border_of(env) is None else TrainerSideSlots(env, in_workers, **place)

        self._slots = {name: run(member) for name, member in envs.items()}
        self._specs: Mapping[str, EnvSpec] | None = None
        self.steps_per_epoch = self._check_length(steps_per_epoch)
        self._position = 0
        self._resumed = False
        self._turn: tuple[str, int] | None = None  # drawn, not handed out yet
        self._current: tuple[str, int, dict | None] | None = None  # handed out last
        self._replay: tuple[str, int, dict | None] | None = None  # to be handed out once more

    @property
    def environments(self) -> dict[str, Env]:
        """`{name: environment}` of what is mixed: that of the first slot."""
        return {name: slots.envs[0] for name, slots in self._slots.items()}

    @property
    def specs(self) -> Mapping[str, EnvSpec]:
        """`{source name: EnvSpec}` of everything that is mixed."""
        if self._specs is None:
            self._specs = joined_specs(env.specs for env in self.environments.values())
        return self._specs

    @property
    def shares(self) -> dict[str, float]:
        """The share of the steps that each of them has, by the weights of this step; together 1."""
        return self._mixture.shares

    @property
    def num_workers(self) -> int:
        """How many processes, or actors, step the slots; 0: this one does."""
        return len(self._workers)

    @property
    def restarts(self) -> int:
        """How often workers, or slots in them, were started again after they were lost."""
        return sum(worker.restarts for worker in self._workers)

    def __len__(self) -> int:
        """The number of timesteps an epoch; with `episodes=` an upper bound."""
        return self.steps_per_epoch

    @property
    def position(self) -> int:
        """How many timesteps of the epoch have been handed out."""
        return self._position

    def __iter__(self) -> Iterator[TimeStep]:
        if self._pin_memory:
            return self.epoch(lambda slots, place: slots.next(place).pin_memory())
        return self.epoch(lambda slots, place: slots.next(place))

    @property
    def bad_samples(self) -> int:
        """How many samples of datasets were left out on this rank, each counted once (`on_bad_sample="skip"`)."""
        return sum(len(found) for name in self._bad_samples for found in self._found_bad(name).values())

    @property
    def broken(self) -> dict[str, int]:
        """How many simulators broke and were made anew on this rank (`on_broken="restart"`), by source."""
        total: Counter[str] = Counter()
        for slots in self._slots.values():
            for noted in slots.read("broken"):
                total.update(noted)
        return dict(total)

    @property
    def statistics(self) -> dict[str, dict[int, dict]]:
        """What sources count of their own (see `Env`) in this rank's slots: `{source: {number of the slot: counts}}`.

        Workers are asked, and waited for. A slot that was answered may be a step ahead there.
        """
        found: dict[str, dict[int, dict]] = {}
        for slots in self._slots.values():
            for number, noted in zip(slots.numbers, slots.read("statistics"), strict=True):
                for source, counts in noted.items():
                    found.setdefault(source, {})[number] = counts
        return found

    def _found_bad(self, name: str) -> dict[str, set[int | str]]:
        return union_of_indices(self._slots[name].read("bad_samples"))

    def _check_bad_samples(self, name: str) -> None:
        """Sees to it that slots together leave out no more samples than one of them may."""
        slots = self._slots[name]
        count = slots.num_bad_samples()
        if count == self._bad_samples[name]:
            return
        self._bad_samples[name] = count
        found = self._found_bad(name)
        for source in sources_of(slots.envs[0]):
            limit, number = getattr(source, "max_bad_samples", None), len(found.get(source.name, ()))
            if limit is not None and number > limit:
                raise SpecError(too_many(f"Loader: {source.name}", number, limit, "in all slots together"))

    def drive(self, actor: Actor, num_steps: int) -> Drive:
        """Returns a sized, stateful iterable of trajectories; see `Drive`."""
        return Drive(self, actor, num_steps)

    def epoch(self, take: Take) -> Iterator[Any]:
        """Yields what `take(slots, place)` gives, from the sources and slots whose turn it is, for one epoch."""
        if not self.resume_epochs:
            self.restart()
        if self.episodes is not None:
            yield from self._episodes(take)
            return
        if not self._resumed:
            self._position = 0
        self._resumed = False
        for slots in self._slots.values():
            slots.again()  # the loop before may have been left without an answer
        while self._position < self.steps_per_epoch:
            if self._replay is not None:
                (name, place, packed), self._replay = self._replay, None
                self._current = (name, place, packed)
                slots = self._slots[name]
                item = slots.show_again(place) if packed is None else slots.hand_out_again(place, packed)
            else:
                name, place = self._turn = self._turn or self._next_turn()
                item = take(self._slots[name], place)
                if name in self._bad_samples:
                    self._check_bad_samples(name)
                self._turn, self._current = None, (name, place, None)
            self._position += 1
            yield item

    def _next_turn(self) -> tuple[str, int]:
        name = self._mixture.draw()
        return name, self._slots[name].turn()

    def _episodes(self, take: Take) -> Iterator[Any]:
        """Yields whole passes of finite streams and the first N episodes of the others, source after source."""
        for name, slots in self._slots.items():
            left = [env.stream_length for env in slots.envs]
            quotas = {
                source: EpisodeQuota(self.episodes, spec.num_envs, self.in_flight, slots.numbers)
                for source, spec in slots.envs[0].specs.items()
            }
            while True:
                waiting = [place for place, length in enumerate(left) if _wants_more(place, length, quotas)]
                if not waiting:
                    break
                for place in waiting:
                    timestep = take(slots, place)
                    if name in self._bad_samples:
                        self._check_bad_samples(name)
                    if left[place] is None:
                        timestep = quotas[timestep.source].filter(timestep, place)
                    else:
                        left[place] -= 1
                    yield timestep

    def restart(self) -> None:
        """Starts every stream over with the same seeds."""
        self._mixture.restart()
        for slots in self._slots.values():
            slots.restart()
        self._position, self._resumed = 0, False
        self._turn = self._current = self._replay = None

    def close(self) -> None:
        """Closes every slot."""
        for slots in self._slots.values():
            slots.close()

    def _check_length(self, steps_per_epoch: int | None) -> int:
        if self.until not in ("first", "all"):
            raise SpecError(f"Loader: expected until='first' or 'all', got {self.until!r}.")
        for name, given in (("steps_per_epoch", steps_per_epoch), ("episodes", self.episodes)):
            if given is not None and (not isinstance(given, int) or given < 1):
                raise SpecError(f"Loader: expected {name} of at least 1, got {given!r}.")
        if self.episodes is not None:
            return self._episodes_bound()
        self._given_length = steps_per_epoch is not None
        if steps_per_epoch is not None:
            return steps_per_epoch
        lengths = {name: slots.stream_length for name, slots in self._slots.items()}  # the same on every rank
        endless = [name for name, length in lengths.items() if length is None]
        if endless:
            raise SpecError(
                f"Loader: expected steps_per_epoch=, since {endless} never end. Any number does: an epoch is a stretch"
                " of streams that persist."
            )
        return self._steps_until(lengths)

    def _steps_until(self, lengths: dict[str, int]) -> int:
        """Counts the draws until the first source, or the last of all, is over."""
        drawn = dict.fromkeys(lengths, 0)
        over: set[str] = set()
        steps = 0
        while len(over) < (1 if self.until == "first" else len(lengths)):
            if steps > 1000 * sum(lengths.values()):
                raise SpecError(
                    f"Loader: expected weights under which {sorted(set(lengths) - over)} come to an end. Give"
                    " steps_per_epoch=, or larger weights."
                )
            name = self._mixture.draw()
            drawn[name] += 1
            steps += 1
            if drawn[name] == lengths[name]:
                over.add(name)
        self._mixture.restart()
        return steps

    def _episodes_bound(self) -> int:
        """Returns a number of timesteps that N episodes do not exceed, as far as the environments say."""
        total = 0
        for slots in self._slots.values():
            for env in slots.envs:
                length = env.stream_length
                if length is None and not env.episodic:
                    raise SpecError(
                        f"Loader: expected episodes that end for episodes={self.episodes}, {env.name!r} never shows"
                        " LAST. Give it epochs=1, or use steps_per_epoch."
                    )
                if length is None:
                    lanes = min(spec.num_envs for spec in env.specs.values()) * self.in_flight
                    rounds = -(-self.episodes // lanes)
                    if env.max_episode_steps is None:
                        return UNBOUNDED
                    length = rounds * (env.max_episode_steps + 1)
                total += length
        return total

    def state_dict(self, replay: bool = False) -> dict:
        """Returns everything needed to go on exactly, as tensors and primitives.

        Args:
          replay: the timestep that was handed out last is to be handed out once more, its training step was not
            completed.
        """
        repeat = self._replay
        if replay and self._current is not None:
            name, place, packed = self._current
            repeat = (name, place, packed or self._slots[name].left_behind(place))
        return {
            "rank": self._rank,
            "world_size": self.world_size,
            "in_flight": self.in_flight,
            "steps_per_epoch": self.steps_per_epoch,
            "position": self._position - int(replay and self._current is not None),
            "turn": self._turn,
            "replay": repeat,
            "mixture": self._mixture.state_dict(),
            "sources": {name: slots.state_dict() for name, slots in self._slots.items()},
        }

    def load_state_dict(self, state: dict | Sequence[dict]) -> None:
        """Goes on from `state_dict`: the next `iter` yields the rest of that epoch.

        With the same `world_size` and `in_flight` that is exact, for any number of workers. With others, datasets go on
        with what is left of the passes under way: minibatches that were handed out (in modes delayed and split: whose y
        was) do not come again, all others do, those that waited in a slot included; then passes are as always. Stages and
        patterns begin afresh there. The draws of sources go on, counted in steps of a rank. The place in the epoch is the
        same share of it, or where the epoch is all passes of one dataset, such that it ends with them.

        Args:
          state: one rank's, or those of all ranks, in any order.

        Raises:
          SpecError: other sources or other data; slots of environments, which cannot be divided anew; missing ranks.
        """
        states = [state] if isinstance(state, Mapping) else list(state)
        for each in states:
            if list(each["sources"]) != list(self._slots):
                raise SpecError(
                    f"Loader.load_state_dict: expected the sources {list(self._slots)}, got {list(each['sources'])}."
                )
        own = self.own_part(states)
        if own is not None:
            self._go_on(states[own])
        else:
            self._divide_anew(sorted(states, key=lambda each: each["rank"]))

    def own_part(self, states: Sequence[dict]) -> int | None:
        """Returns the place of the state that this loader goes on from exactly; None if it needs all of them."""
        own = self._rank, self.world_size, self.in_flight
        found = [(each["rank"], each["world_size"], each["in_flight"]) for each in states]
        return found.index(own) if own in found else None

    def _go_on(self, state: dict) -> None:
        self._mixture.load_state_dict(state["mixture"])
        for name, slots in self._slots.items():
            slots.load_state_dict(state["sources"][name])
        self._position = state["position"]
        self._resumed = 0 < self._position < self.steps_per_epoch
        self._turn, self._replay, self._current = state["turn"], state["replay"], None

    def _divide_anew(self, states: list[dict]) -> None:
        before = states[0]["world_size"], states[0]["in_flight"]
        found = [each["rank"] for each in states]
        if found != list(range(before[0])) or len({(each["world_size"], each["in_flight"]) for each in states}) > 1:
            raise SpecError(
                f"Loader.load_state_dict: expected the state of rank {self._rank} of {self.world_size} with"
                f" in_flight={self.in_flight}, or the states of all ranks of another division, got those of ranks"
                f" {found} of {before[0]} with in_flight={before[1]}. Give a list with the state of every rank."
            )
        self._check_divisible(before)
        pending = [each["replay"] or each["turn"] for each in states if each["replay"] or each["turn"]]
        for name, slots in self._slots.items():
            again = {
                each["rank"] + each["replay"][1] * each["world_size"]
                for each in states
                if each["replay"] is not None and each["replay"][0] == name
            }
            slots.divide_anew([each["sources"][name] for each in states], again)
        self._mixture.load_state_dict(states[0]["mixture"])
        self._position = self._same_place(states[0])
        self._resumed = 0 < self._position < self.steps_per_epoch
        self._turn = self._replay = self._current = None
        if pending:  # its source has been drawn already
            self._turn = pending[0][0], self._slots[pending[0][0]].turn()

    def _check_divisible(self, before: tuple[int, int]) -> None:
        fixed = [
            source.name
            for slots in self._slots.values()
            for source in sources_of(slots.envs[0])
            if not source.divisible
        ]
        if fixed:
            numbers = next(iter(self._slots.values())).numbers
            raise SpecError(
                f"Loader.load_state_dict: expected the state of slots {numbers}, got {list(range(before[1]))}, taken with"
                f" world_size={before[0]}, in_flight={before[1]}. Datasets are divided anew, but the slots of {fixed} are"
                " copies of an environment, and what goes on in one cannot be divided. Resume with the same world_size"
                " and in_flight, or without this state."
            )

    def _same_place(self, state: dict) -> int:
        """Returns the place in an epoch of this loader that corresponds to one of another division."""
        if len(self._slots) == 1 and not self._given_length:
            (slots,) = self._slots.values()
            left = slots.left_in_stream()
            if left is not None:
                return max(0, self.steps_per_epoch - left) % self.steps_per_epoch
        return state["position"] * self.steps_per_epoch // state["steps_per_epoch"]


def _wants_more(place: int, length: int | None, quotas: dict[str, EpisodeQuota]) -> bool:
    return not all(quota.met(place) for quota in quotas.values()) if length is None else length > 0


def _processes(num_workers: int) -> int:
    """Returns how many worker processes are of use: one per core that this process may run on."""
    if num_workers < 2:
        return num_workers
    import joblib  # knows of affinity and of the limits of containers (cgroups)

    cores = joblib.cpu_count()
    if num_workers > cores:
        warnings.warn(
            f"Loader: num_workers={num_workers} is more than the {cores} cores that this process may use; {cores} worker"
            " processes are started. The streams are the same.",
            stacklevel=3,
        )
    return min(num_workers, cores)


def _actors(backend: str, num_workers: int, options: Any, step_timeout: float) -> Sequence[RemoteWorker]:
    if backend != "ray":
        also = "" if options is None else f" with ray_options={options!r}"
        raise SpecError(f"Loader: expected backend='process' or 'ray', got {backend!r}{also}.")
    if num_workers < 1:
        raise SpecError(
            "Loader: expected num_workers of at least 1 with backend='ray', got 0. It is the number of actors."
        )
    try:
        from aexp_torch.loading.ray_worker import ray_workers
    except ImportError as error:
        raise MissingDependencyError(
            "Loader(backend='ray'): expected the package ray, it is not installed. Install it:"
            ' pip install "aexp-torch[ray]"'
        ) from error
    return ray_workers(num_workers, options, step_timeout)


def _slot_numbers(in_flight: int, rank: int, world_size: int) -> list[int]:
    if not 0 <= rank < world_size:
        raise SpecError(f"Loader: expected 0 <= rank < world_size, got rank={rank!r}, world_size={world_size!r}.")
    if not isinstance(in_flight, int) or in_flight < 1 or in_flight % world_size:
        raise SpecError(
            f"Loader: expected in_flight as a multiple of world_size={world_size}, got {in_flight!r}: every rank runs"
            " the same number of slots."
        )
    return list(range(rank, in_flight, world_size))


def _named(env: Env | Mapping[str, Env], options: dict[str, Any]) -> dict[str, Env]:
    """Returns copies of the environments by name, with unequal source names and the loader's options."""
    if isinstance(env, Env):
        given: dict[str | None, Env] = {None: env}
    elif isinstance(env, Mapping) and env and all(isinstance(member, Env) for member in env.values()):
        given = dict(env)
    else:
        raise SpecError(f"Loader: expected an Env, or a mapping of names to Envs, got {env!r}.")
    members = [_recipe(member) for member in given.values()]
    unique_names(members, list(given))
    for member in members:
        for option, value in options.items():
            if value is not None:
                setattr(member, option, value)
    return {name or member.name: member for name, member in zip(given, members, strict=True)}


def _set_bad_sample_options(envs: dict[str, Env], on_bad_sample: Any, max_bad_samples: int | None) -> None:
    check_bad_sample_options(on_bad_sample, max_bad_samples, "Loader")
    datasets = [source for env in envs.values() for source in sources_of(env) if isinstance(source, DatasetEnv)]
    if not datasets:
        raise SpecError(
            f"Loader: expected a dataset among {list(envs)} for on_bad_sample={on_bad_sample!r}, got none. Leave it out."
        )
    for env in envs.values():
        env.close()
    for source in datasets:
        source.on_bad_sample, source.max_bad_samples = on_bad_sample, max_bad_samples


def _set_broken_options(envs: dict[str, Env], on_broken: Any, max_broken: int | None) -> None:
    check_broken_options(on_broken, max_broken, "Loader")
    simulators = [source for env in envs.values() for source in sources_of(env) if isinstance(source, SimulatorEnv)]
    if not simulators:
        raise SpecError(
            f"Loader: expected a simulator among {list(envs)} for on_broken={on_broken!r}, got none. Leave it out."
        )
    for env in envs.values():
        env.close()
    for source in simulators:
        source.on_broken, source.max_broken = on_broken, max_broken


def _recipe(env: Env) -> Env:
    try:
        return copy.copy(env)
    except SpecError:  # around a live object
        return env
