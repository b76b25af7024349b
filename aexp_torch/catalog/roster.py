"""Roster: the base of compositions over a catalogue: who takes part, who cannot, and what those that can promise."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from dm_env import specs as dm_specs
from torch.utils.data import DataLoader

from aexp_torch.catalog.entry import Entry
from aexp_torch.catalog.entry_env import EntryEnv
from aexp_torch.catalog.registry import entries, find
from aexp_torch.catalog.selection import reason_of, select, summary
from aexp_torch.catalog.tags import Filter, FilterItem
from aexp_torch.composition.composition import Composition, numbered, sources_of
from aexp_torch.env import Env
from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.sources.recognize import to_source
from aexp_torch.specs import EnvSpec
from aexp_torch.specs.lazy import LazySpecs

__all__ = ["FAILURES", "Roster"]

FAILURES = (Exception, SystemExit)  # what a provider that does not work raises


class Roster(Composition):
    """Is a composition of which only what is needed is opened, and of which what cannot be opened is left out.

    Args:
      envs: what `AEEnv` takes.
      include: what takes part.
      exclude: what does not.
      batch_size: rows of a minibatch of data that comes without.
      download: whether data may be downloaded.
      name: names the composition itself.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.
    """

    opens_children = False
    _failed: Mapping[int, str] = {}  # by place, why it could not be opened, or broke
    _warned: bool = False
    _places: Mapping[str, int] = {}  # by source

    def __init__(
        self,
        envs: Sequence[Any] | Mapping[str, Any] | None,
        include: Iterable[FilterItem] | None,
        exclude: Iterable[FilterItem] | None,
        batch_size: int,
        download: bool,
        name: str | None,
        **options: Any,
    ):
        who = type(self).__name__
        members, self._absent, self._missing = _gathered(envs, batch_size, download, who)
        if not members:
            text = summary(who, 0, 0, self._missing)
            raise SpecError(f"{who}: expected at least one environment that can be opened here, got none.\n{text}")
        super().__init__(members, name, **options)
        self.batch_size, self.download = batch_size, download
        self.set_filters(include, exclude)
        if set(self._missing) - {entry.name for entry in self._absent}:
            warnings.warn(f"{who}: some could not be made.\n{self.summary()}", stacklevel=3)

    # Filters.

    @property
    def include(self) -> tuple[FilterItem, ...] | None:
        """What takes part; set it anew at any time."""
        return self._include

    @include.setter
    def include(self, items: Iterable[FilterItem] | None) -> None:
        self.set_filters(items, self._exclude)

    @property
    def exclude(self) -> tuple[FilterItem, ...]:
        """What does not; set it anew at any time."""
        return self._exclude

    @exclude.setter
    def exclude(self, items: Iterable[FilterItem] | None) -> None:
        self.set_filters(self._include, items)

    def set_filters(self, include: Iterable[FilterItem] | None, exclude: Iterable[FilterItem] | None) -> None:
        """Sets both at once.

        Raises:
          SpecError: nothing would remain, or no item of `include` fits anything; the filters stay as they were.
        """
        who, chosen = type(self).__name__, Filter(include, exclude or ())
        admitted = select(chosen, self.environments, self._absent, who)
        if not any(admitted[place] for place in range(len(admitted)) if place not in self._failed):
            raise SpecError(
                f"{who}: expected filters that leave something that can be opened, got include={chosen.include!r},"
                f" exclude={chosen.exclude!r}.\n{summary(who, 0, admitted.count(False), self.left_out)}"
            )
        for attribute, value in (("_include", chosen.include), ("_exclude", chosen.exclude), ("_admitted", admitted)):
            self._keep(attribute, value)

    def _keep(self, name: str, value: Any) -> None:
        """Sets an attribute of the recipe, even while it runs."""
        setattr(self, name, value)
        if self._recipe is not None:
            self._recipe[name] = value

    @property
    def admitted(self) -> list[int]:
        """Places in `environments` of those that filters admit."""
        return [place for place, admitted in enumerate(self._admitted) if admitted]

    @property
    def available(self) -> list[int]:
        """Places in `environments` of those that take part: that are admitted, and not known to fail."""
        return [place for place in self.admitted if place not in self._failed]

    # What is left out.

    @property
    def names(self) -> list[str]:
        """Of the environments: what `left_out` and states call them."""
        return numbered([env.name for env in self.environments])

    @property
    def left_out(self) -> dict[str, str]:
        """`{name: reason}` of what cannot be opened here, or broke: what is known beforehand, and what has been tried."""
        names = self.names
        return {**self._missing, **{names[place]: reason for place, reason in self._failed.items()}}

    def summary(self) -> str:
        """Says in a few lines how many environments take part, and what has to be done for the others."""
        count = len(self.available)
        excluded = len(self.environments) - count - len(self._failed)
        return summary(type(self).__name__, count, excluded, self.left_out)

    def leave_out(self, place: int, error: BaseException, quietly: bool = False) -> None:
        """Has an environment that does not work take part no more.

        There is one warning, for the first that should have worked: with a provider that is not installed, there is none.
        """
        member = self.environments[place]
        self._failed = {**self._failed, place: reason_of(error)}
        with suppress(*FAILURES):  # what does not work may not close either
            member.close()
        if not quietly and not self._warned and not isinstance(error, MissingDependencyError):
            self._warned = True
            warnings.warn(f"{member.name!r} could not be opened.\n{self.summary()}", stacklevel=2)

    def nothing_left(self) -> SpecError:
        """Returns the error that says so."""
        return SpecError(
            f"{type(self).__name__}: expected an environment that can be opened, none is left.\n{self.summary()}"
        )

    # Specs.

    def on_open(self) -> None:
        """Starts with nothing opened."""
        self._failed = {}
        self._warned = False
        self._known_specs: dict[int, Mapping[str, EnvSpec]] = {}
        self._places = {}

    def make_specs(self) -> Mapping[str, EnvSpec]:
        """Returns the specs of all that take part, each made when it is asked for."""
        return LazySpecs(self._live_sources, self._spec_of)

    def _live_sources(self) -> list[str]:
        names = [source for place in self.available for source in self.specs_at(place)]
        if not names:
            raise self.nothing_left()
        return names

    def _spec_of(self, source: str) -> EnvSpec:
        place = self.place_of(source)
        found = {} if place is None else self.specs_at(place)
        return found[source]

    def _any_spec(self) -> EnvSpec:
        for place in self.available:
            for spec in self.specs_at(place).values():
                return spec
        raise self.nothing_left()

    def reward_spec(self) -> dm_specs.Array:
        """Returns the reward of one lane: float32 scalar; opens one environment at most."""
        return self._any_spec().reward

    def discount_spec(self) -> dm_specs.BoundedArray:
        """Returns the discount of one lane: float32 scalar in [0, 1]; opens one environment at most."""
        return self._any_spec().discount

    def place_of(self, source: str) -> int | None:
        """Returns the place of the environment that a source belongs to; opens nothing."""
        known = self._places
        if source not in known:
            named = [
                place for place, env in enumerate(self.environments) if source in (part.name for part in env.sources)
            ]
            below = [place for place, env in enumerate(self.environments) if source.startswith(f"{env.name}/")]
            if not named and not below:
                return None
            known = {**known, source: (named or below)[0]}
            if self._recipe is not None:
                self._places = known
        return known[source]

    def read_specs(self, place: int) -> Mapping[str, EnvSpec]:
        """Returns the specs of one environment, which is opened; raises what that raises."""
        if place not in self._known_specs:
            specs = self.environments[place].specs
            self._known_specs[place] = {source: self.with_own(spec, place) for source, spec in specs.items()}
        return self._known_specs[place]

    def with_own(self, spec: EnvSpec, place: int) -> EnvSpec:
        """Says what the composition adds to the spec of an environment."""
        return spec

    def specs_at(self, place: int) -> Mapping[str, EnvSpec]:
        """Returns the specs of one environment; nothing where it cannot be opened. What was closed remains so."""
        self.open()
        if place in self._known_specs:
            return self._known_specs[place]
        if place in self._failed:
            return {}
        try:
            return self._asked(place, lambda member: self.read_specs(place))
        except FAILURES as error:
            self.leave_out(place, error)
            return {}

    def _asked(self, place: int, question: Callable[[Env], Any]) -> Any:
        """Returns what an environment answers while it is open; what was closed remains so."""
        member = self.environments[place]
        was_open = member._recipe is not None
        try:
            return question(member)
        finally:
            if not was_open:
                member.close()

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST, sooner or later, in all that take part; opens them."""
        opened = [place for place in self.available if self.specs_at(place)]
        return all(self._asked(place, lambda member: member.episodic) for place in opened)

    def classes_below(self, source: str) -> list[type]:
        """Returns the classes of what stands between this and a source, the source's included."""
        place = self.place_of(source)
        if place is None:
            return []
        return [type(self.environments[place]), *self._asked(place, lambda member: member.classes_below(source))]


def _gathered(envs: Any, batch_size: int, download: bool, who: str) -> tuple[Any, tuple[Entry, ...], dict[str, str]]:
    """Returns the environments, entries that cannot be built here, and by name what is left out and why."""
    if envs is not None and (isinstance(envs, str | Env) or not isinstance(envs, Mapping | Iterable)):
        raise SpecError(f"{who}: expected a list of environments, or a mapping of names to them, got {envs!r}.")
    given = (
        envs.items()
        if isinstance(envs, Mapping)
        else ((None, thing) for thing in (entries() if envs is None else envs))
    )
    found: list[tuple[str | None, Env]] = []
    absent: list[Entry] = []
    missing: dict[str, str] = {}
    for key, thing in given:
        made = _named(thing) if isinstance(thing, str) else thing
        if isinstance(made, Entry):
            reason = _why_not(made, download)
            if reason is None and envs is None and made.programs:
                reason = "starts programs on this machine: name it in envs="
            if reason is None:
                found.append((key, EntryEnv(made, download=download)))
            else:
                absent.append(made)
                missing[key or made.name] = reason
        elif isinstance(made, BaseException):
            missing[key or str(thing)] = reason_of(made)
        else:
            found.append((key, _with_batches(to_source(made), batch_size)))
    members = dict(found) if isinstance(envs, Mapping) else [env for _, env in found]
    return members, tuple(absent), missing


def _with_batches(env: Env, batch_size: int) -> Env:
    """Gives data that comes without minibatches some."""
    for source in sources_of(env):
        if isinstance(source, DatasetEnv) and source.batch_size is None and not isinstance(source.data, DataLoader):
            env.close()
            source.batch_size = batch_size
    return env


def _named(text: str) -> Any:
    """Returns the entry of a name, the environment of an id, or the error that says that it is neither."""
    try:
        return find(text)
    except SpecError as unknown:
        try:
            return to_source(text)
        except FAILURES as error:
            return SpecError(f"{unknown} {error}")


def _why_not(entry: Entry, download: bool) -> str | None:
    try:
        return entry.why_not(download)
    except FAILURES as error:  # a package that does not even say what is in it
        return reason_of(error)
