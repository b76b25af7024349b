"""Composition: the base of everything that is an Env around several."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec

__all__ = ["Composition", "unique_names"]


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

    def make_specs(self) -> dict[str, EnvSpec]:
        """Collects the specs of the children, which name different sources."""
        return {name: spec for env in self.environments for name, spec in env.specs.items()}


def independent(envs: Sequence[Env] | Mapping[str, Env], who: str) -> tuple[Env, ...]:
    """Returns the environments, copied where one object stands for two."""
    members = list(envs.values()) if isinstance(envs, Mapping) else list(envs)
    if not members or not all(isinstance(env, Env) for env in members):
        raise SpecError(f"{who}: expected one or more Envs (a list, or a mapping of names), got {envs!r}.")
    return tuple(copy.copy(env) if env in members[:place] else env for place, env in enumerate(members))


def sources_of(env: Env) -> list[Env]:
    """Returns the environments that name the timesteps: those without children."""
    return [source for child in env.children for source in sources_of(child)] or [env]


def unique_names(envs: Sequence[Env], keys: Sequence[str | None]) -> None:
    """Renames the sources of siblings so that no two are equal.

    Args:
      envs: the siblings.
      keys: a name for each; a sibling with several sources puts it in front of theirs (`key/source`).
    """
    wanted = []
    for env, key in zip(envs, keys, strict=True):
        sources = sources_of(env)
        alone = len(sources) == 1
        wanted += [(s, s.name if key is None else key if alone else f"{key}/{s.name}") for s in sources]
    total, seen = Counter(name for _, name in wanted), Counter[str]()
    for source, name in wanted:
        seen[name] += 1
        while total[name] > 1 and f"{name}#{seen[name]}" in total:  # given by hand
            seen[name] += 1
        unique = name if total[name] == 1 else f"{name}#{seen[name]}"
        if unique != source.name:
            for env in envs:
                env.close()
            source.name = unique
