"""Specs that are made when they are asked for: those of many sources, of which few are open."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from aexp_torch.specs.env_spec import EnvSpec

__all__ = ["LazySpecs", "joined_specs", "map_specs"]


class LazySpecs(Mapping[str, EnvSpec]):
    """Is `{source name: EnvSpec}`; one source's spec is made without those of the others.

    Args:
      names: the sources that there are; finding out may open them.
      spec_of: makes the spec of one source, or raises a KeyError.
    """

    def __init__(self, names: Callable[[], Iterable[str]], spec_of: Callable[[str], EnvSpec]):
        self._names, self._spec_of = names, spec_of

    def __getitem__(self, source: str) -> EnvSpec:
        return self._spec_of(source)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(list(self._names()))

    def __contains__(self, source: object) -> bool:
        try:
            return isinstance(source, str) and self._spec_of(source) is not None
        except KeyError:
            return False


def map_specs(specs: Mapping[str, EnvSpec], function: Callable[[EnvSpec], EnvSpec]) -> Mapping[str, EnvSpec]:
    """Applies a function to every spec: now, or where they are lazy, to each when it is asked for first."""
    if not isinstance(specs, LazySpecs):
        return {name: function(spec) for name, spec in specs.items()}
    made: dict[str, tuple[EnvSpec, EnvSpec]] = {}

    def spec_of(source: str) -> EnvSpec:
        below = specs[source]
        known = made.get(source)
        if known is None or known[0] is not below:
            known = made[source] = below, function(below)
        return known[1]

    return LazySpecs(specs.__iter__, spec_of)


def joined_specs(parts: Iterable[Mapping[str, EnvSpec]]) -> Mapping[str, EnvSpec]:
    """Returns the specs of several environments in one mapping, lazy where one of them is."""
    parts = list(parts)
    if not any(isinstance(part, LazySpecs) for part in parts):
        return {name: spec for part in parts for name, spec in part.items()}

    def spec_of(source: str) -> EnvSpec:
        for part in sorted(parts, key=lambda part: isinstance(part, LazySpecs)):
            if source in part:
                return part[source]
        raise KeyError(source)

    return LazySpecs(lambda: [name for part in parts for name in part], spec_of)
