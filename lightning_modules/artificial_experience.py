"""ArtificialExperience for Trainer.fit: the ready-made experience to train on, and each of its tasks alone to evaluate."""

import importlib
import inspect
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from aexp_torch import AEEnv, Env, GymnasiumEnv, SpecError
from aexp_torch.catalog import Entry, Filter, entries, matches
from aexp_torch.catalog.roster import FAILURES
from lightning_modules.datamodule import ExperienceDataModule

__all__ = ["ArtificialExperience"]

SIMULATOR = "kind:simulator"


class ArtificialExperience(ExperienceDataModule):
    """Feeds the ready-made experience: many tasks of many domains, one at a time, switching at random, without end.

    Training goes through the catalogue as `aexp_torch.AEEnv` does (`aexp list` shows it). Validation and testing take each
    task by itself: of data the part that is not for training, of simulators whole episodes. What cannot be opened is left
    out. `aexp fit --data ArtificialExperience` trains a Generalist on it; `--data.include image` narrows it down.

    Args:
      include: tags (`image`, `"text.classification"`), `"key:value"`, or names of the catalogue: what takes part. None: all
        that needs nothing but the core of this library.
      exclude: likewise, what does not.
      extras: whether what needs an extra takes part, where it is installed; by default where `include` is given.
      download: whether data may be downloaded.
      weights: how often tasks come relative to each other, by tag, `"key:value"` or name; the last that fits counts, others
        have 1. None: all alike.
      num_envs: lanes of simulators.
      steps: timesteps of a visit to a simulator at most; it ends before, when each lane has ended an episode.
      minibatches: of a visit to data.
      num_steps: T: a training step gets T timesteps of a simulator, gathered over visits.
      steps_per_epoch: training steps an epoch: minibatches of data, trajectories of simulators.
      episodes: of every simulator in validation and testing.
      max_episode_steps: of an episode in validation and testing at most; what cannot be kept to it is not evaluated.
      num_workers: processes that step the experiences of a rank; 0: its own does. Everything is opened beforehand then.
      in_flight: experiences that go on side by side; by default one, or two per worker.
      seed: S of all seeds.

    Raises:
      SpecError: filters that fit nothing, or nothing that can be opened; several ranks, which would not be in the same
        task at the same time.
    """

    def __init__(
        self,
        include: str | list[str] | None = None,
        exclude: str | list[str] | None = None,
        *,
        extras: bool | None = None,
        download: bool = False,
        weights: dict[str, float] | None = None,
        num_envs: int = 8,
        steps: int = 256,
        minibatches: int = 24,
        num_steps: int = 32,
        steps_per_epoch: int = 5000,
        episodes: int = 20,
        max_episode_steps: int = 500,
        num_workers: int = 0,
        in_flight: int | None = None,
        seed: int = 0,
    ):
        extras = include is not None if extras is None else extras
        known = [entry for entry in entries() if extras or entry.extra is None]
        chosen = Filter(_predicates(include, known, "include"), _predicates(exclude, known, "exclude") or ())
        self.entries = [entry for entry in known if chosen.admits(entry) and entry.why_not(download) is None]
        if not self.entries:
            reasons = {entry.name: entry.why_not(download) for entry in known if chosen.admits(entry)}
            why = (
                "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:3])
                or "nothing fits both filters"
            )
            raise SpecError(
                f"ArtificialExperience: expected something that can be opened here with include={include!r},"
                f" exclude={exclude!r}, got nothing ({why}). `aexp list` shows what there is."
            )
        env = AEEnv(
            [_with_lanes(entry, num_envs) for entry in self.entries],
            steps=Lengths([steps if _is_simulator(entry) else minibatches for entry in self.entries]),
            next_env_fn="random"
            if weights is None
            else Draw([_weight(entry, weights) for entry in self.entries], seed),
            download=download,
            name="ArtificialExperience",
        )
        alone = {
            entry.name: alone
            for entry in self.entries
            if (alone := _alone(entry, episodes, max_episode_steps)) is not None
        }
        super().__init__(
            env,
            val=alone or None,
            test=alone or None,
            num_steps=num_steps,
            steps_per_epoch=steps_per_epoch,
            episodes=episodes,
            num_workers=num_workers,
            in_flight=in_flight,
            seed=seed,
        )

    def setup(self, stage: str) -> None:
        """Refuses several ranks."""
        if self.trainer is not None and self.trainer.world_size > 1:
            raise SpecError(
                f"ArtificialExperience: expected one rank, got {self.trainer.world_size}: each would be in another task,"
                " and ranks learn of the same one together. Mix them in a Loader, whose draws all ranks share:"
                " ExperienceDataModule({name: env, ...})."
            )


class Lengths:
    """Tells how long a visit is, by the number of the environment."""

    def __init__(self, lengths: Sequence[int]):
        self.lengths = tuple(lengths)

    def __call__(self, number: int) -> int:
        return self.lengths[number]


class Draw:
    """Draws the next environment by weights, from a generator that the step alone decides on, so that it has no state."""

    def __init__(self, weights: Sequence[float], seed: int):
        if not all(np.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
            raise SpecError(f"ArtificialExperience: expected weights >= 0, not all of them 0, got {list(weights)}.")
        self.weights, self.seed = np.array(weights, float), seed

    def __call__(self, step: int, current: int, available: Tensor) -> int:
        weights = np.where(available.numpy() >= 0, self.weights, 0.0)
        if not weights.sum():
            return current
        key = (zlib.crc32(b"Draw"), step, current + 1)
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        return int(generator.choice(len(weights), p=weights / weights.sum()))


def _is_simulator(entry: Entry) -> bool:
    return SIMULATOR in entry.tags


def _with_lanes(entry: Entry, num_envs: int) -> Entry:
    return replace(entry, arguments={**entry.arguments, "num_envs": num_envs}) if _is_simulator(entry) else entry


def _fits(item: str, entry: Entry) -> bool:
    return item == entry.name or matches(item, entry)


def _predicates(
    items: str | list[str] | None, known: Sequence[Entry], what: str
) -> list[Callable[[Entry], bool]] | None:
    """Returns filters by tags or names; what fits nothing is an error."""
    if items is None:
        return None
    items = [items] if isinstance(items, str) else items
    idle = [item for item in items if not any(_fits(item, entry) for entry in known)]
    if idle:
        tags = sorted({tag.partition(".")[0] for entry in known for tag in entry.tags if ":" not in tag})
        raise SpecError(
            f"ArtificialExperience: expected tags or names of the catalogue for {what}, nothing fits"
            f" {', '.join(map(repr, idle))}. Among others there are {', '.join(tags)}; `aexp list` shows all."
        )
    return [partial(_fits, item) for item in items]


def _weight(entry: Entry, weights: dict[str, float]) -> float:
    return [1.0, *(float(weight) for item, weight in weights.items() if _fits(item, entry))][-1]


def _alone(entry: Entry, episodes: int, max_episode_steps: int) -> Env | None:
    """Returns a task by itself for evaluation.

    None where it does not end in time, where nothing is set aside that is not for training, and where it does not open.
    """
    try:
        if not _is_simulator(entry):
            set_aside = _takes(entry, "split") and not entry.download
            return entry.make(split="test", epochs=1, shuffle=False) if set_aside else None
        env = entry.make(num_envs=episodes)
        limits = isinstance(env, GymnasiumEnv) or _takes(entry, "max_episode_steps")
        if not _ends_within(env, max_episode_steps) and limits:
            env = entry.make(num_envs=episodes, max_episode_steps=max_episode_steps)
        if not env.episodic or not _ends_within(env, max_episode_steps):
            return None
        if entry.extra is not None:  # a provider that is installed may not work: in training it is left out, too
            dict(env.specs)
            env.close()
        return env
    except FAILURES:
        return None


def _ends_within(env: Env, steps: int) -> bool:
    return env.max_episode_steps is not None and env.max_episode_steps <= steps


def _takes(entry: Entry, option: str) -> bool:
    factory = entry.factory
    if isinstance(factory, str):
        module, _, function = factory.partition(":")
        factory = getattr(importlib.import_module(module), function)
    return option in inspect.signature(factory).parameters
