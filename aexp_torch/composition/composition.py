"""Composition: the base of everything that is an Env around several."""

import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.feedback import Mailbox
from aexp_torch.specs import EnvSpec
from aexp_torch.specs.lazy import joined_specs

__all__ = [
    "Composition",
    "JoinedComposition",
    "numbered",
    "one_source_each",
    "sources_of",
    "unique_names",
    "with_lane_control",
]


class Composition(Env):
    """Is an Env around several: `environments`, in order, their sources named so that no two are equal.

    Equal names become `name#1`, `name#2`, ...; the keys of a mapping rename.

    Args:
      envs: the environments, or `{name: environment}`. One that stands in the list twice is copied.
      name: names the composition itself.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.
    """

    def __init__(self, envs: Sequence[Env] | Mapping[str, Env], name: str | None = None, **options: Any):
        super().__init__(name, **options)
        self.environments = independent(envs, type(self).__name__)
        keys = list(envs) if isinstance(envs, Mapping) else [None] * len(self.environments)
        unique_names(self.environments, keys)

    @property
    def children(self) -> tuple[Env, ...]:
        """The environments, in order."""
        return self.environments

    @property
    def resumable(self) -> bool:
        """Whether all of them give their state."""
        return all(env.resumable for env in self.environments)

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST, sooner or later, in all of them."""
        return all(env.episodic for env in self.environments)

    def _copy_children(self) -> None:
        self.environments = tuple(copy.copy(env) for env in self.environments)

    def make_specs(self) -> Mapping[str, EnvSpec]:
        """Collects the specs of the children, which name different sources."""
        return joined_specs(env.specs for env in self.environments)


class JoinedComposition(Composition):
    """Is a composition that makes timesteps of its own: its environments, of one source each, are parts of one stream."""

    def __init__(self, envs: Sequence[Env] | Mapping[str, Env], name: str | None = None, **options: Any):
        super().__init__(envs, name, **options)
        one_source_each(self.environments, type(self).__name__)

    @property
    def sources(self) -> tuple[Env, ...]:
        """The composition itself."""
        return (self,)

    def _mailboxes(self) -> Iterator[Mailbox]:
        return iter(() if self._mailbox is None else (self._mailbox,))


def one_source_each(envs: Sequence[Env], who: str) -> None:
    """Refuses environments that show several sources, whose episodes are not one."""
    for env in envs:
        if len(env.sources) > 1:
            raise SpecError(
                f"{who}: expected environments of one source each, {type(env).__name__} has"
                f" {[source.name for source in env.sources]}, whose episodes are their own. Give {who} those one by one, or"
                f" put it inside the {type(env).__name__}."
            )


def with_lane_control(envs: Sequence[Env], who: str, why: str, instead: str) -> None:
    """Refuses environments that cannot hold single lanes."""
    without = [env.name for env in envs if not env.lane_control]
    if without:
        raise SpecError(
            f"{who}: expected lane control {why}, {without} step all lanes at once. Use num_envs=1,"
            f" vectorization='sync' for a Gymnasium environment, or {instead}."
        )


def independent(envs: Sequence[Env] | Mapping[str, Env], who: str) -> tuple[Env, ...]:
    """Returns the environments, copied where one object stands for two."""
    members = list(envs.values()) if isinstance(envs, Mapping) else list(envs)
    if not members or not all(isinstance(env, Env) for env in members):
        raise SpecError(f"{who}: expected one or more Envs (a list, or a mapping of names), got {envs!r}.")
    return tuple(copy.copy(env) if env in members[:place] else env for place, env in enumerate(members))


def sources_of(env: Env) -> list[Env]:
    """Returns the environments that read something outside: those without children."""
    return [source for child in env.children for source in sources_of(child)] or [env]


def unique_names(envs: Sequence[Env], keys: Sequence[str | None]) -> None:
    """Renames the sources of siblings so that no two are equal.

    What a source is made of is named apart, too, since seeds follow from names.

    Args:
      envs: the siblings.
      keys: a name for each; a sibling with several sources puts it in front of theirs (`key/source`).
    """
    wanted, parts = [], []
    for env, key in zip(envs, keys, strict=True):
        sources = env.sources
        alone = len(sources) == 1
        wanted += [(s, s.name if key is None else key if alone else f"{key}/{s.name}") for s in sources]
        parts += [(part, part.name) for s in sources for part in sources_of(s) if part is not s]
    names = numbered([name for _, name in wanted])
    names += numbered([name for _, name in parts], set(names))
    for (source, _), name in zip(wanted + parts, names, strict=True):
        if name != source.name:
            for env in envs:
                env.close()
            source.name = name


def numbered(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Returns names of which no two are equal, nor equal to one that is taken."""
    total, seen = Counter([*names, *taken]), Counter[str]()
    numbered = []
    for name in names:
        seen[name] += 1
        while total[name] > 1 and f"{name}#{seen[name]}" in total:  # given by hand
            seen[name] += 1
        numbered.append(name if total[name] == 1 else f"{name}#{seen[name]}")
    return numbered
