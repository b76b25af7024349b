"""The graph of a pipeline: boxes, what goes into them, and what passes on the edges."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from aexp_torch.catalog.entry_env import EntryEnv
from aexp_torch.catalog.roster import Roster
from aexp_torch.composition import Composition
from aexp_torch.drawing.words import arguments_of, brief, printable
from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.loading import Loader
from aexp_torch.specs import EnvSpec, flatten, path_name
from aexp_torch.specs.lazy import LazySpecs

__all__ = ["Edge", "Flow", "Leaf", "Node", "graph_of"]

MOST_MEMBERS = 8  # of a catalogue that are drawn

Kind = Literal["source", "stage", "composition", "loader", "agent"]


@dataclass(frozen=True)
class Leaf:
    """Is a key on an edge; `new` where the box that it comes from has added or changed it."""

    key: str
    text: str
    new: bool = False


@dataclass(frozen=True)
class Flow:
    """Is what passes on an edge for one source: observations one way, actions the other."""

    source: str
    num_envs: int
    observation: tuple[Leaf, ...]
    action: tuple[Leaf, ...]

    @property
    def head(self) -> str:
        """The name of the source and its lanes."""
        return f"{self.source}, {self.num_envs} lane{'s' * (self.num_envs != 1)}"


@dataclass(frozen=True)
class Node:
    """Is a box: a class, its arguments, and the edges that lead into it."""

    title: str
    kind: Kind
    arguments: tuple[str, ...] = ()
    edges: tuple["Edge", ...] = ()


@dataclass(frozen=True)
class Edge:
    """Leads from a box to the next one on the way to the agent."""

    node: Node
    flows: tuple[Flow, ...]
    note: str = ""


def graph_of(what: Env | Loader | Mapping[str, Env]) -> Node:
    """Returns the box of the agent, with everything that leads there; see `draw`."""
    if isinstance(what, Env):
        return _agent([_edge(what)])
    if isinstance(what, Loader):
        edges = _members(what.environments)
        if len(edges) > 1:
            edges = [_with_note(edge, share) for edge, share in zip(edges, _shares(what), strict=True)]
        flows = tuple(flow for edge in edges for flow in edge.flows)
        return _agent([Edge(Node("Loader", "loader", _loader_arguments(what), tuple(edges)), flows)])
    if isinstance(what, Mapping) and what and all(isinstance(env, Env) for env in what.values()):
        return _agent(_members(what))
    raise SpecError(f"draw: expected an Env, a Loader, or a mapping of names to Envs, got {type(what).__name__}.")


def _agent(edges: Iterable[Edge]) -> Node:
    return Node("agent", "agent", edges=tuple(edges))


def _members(envs: Mapping[str, Env]) -> list[Edge]:
    edges = [(name, _edge(env)) for name, env in envs.items()]
    return [edge if [flow.source for flow in edge.flows] == [name] else _with_note(edge, name) for name, edge in edges]


def _with_note(edge: Edge, note: str) -> Edge:
    return Edge(edge.node, edge.flows, ", ".join(filter(None, [edge.note, printable(note)])))


def _edge(env: Env) -> Edge:
    if isinstance(env, EntryEnv):
        env = env.built
    sources = _sources(env)  # opens what is below, too
    edges = tuple(_edge(child) for child in _children(env))
    kind: Kind = "source" if not edges else "stage" if len(edges) == 1 else "composition"
    if isinstance(env, Roster) and len(env.available) > MOST_MEMBERS:
        edges = (*edges, Edge(Node("…", "source"), (), f"and {len(env.available) - MOST_MEMBERS} more"))
    before = {flow.source: flow for flow in edges[0].flows} if kind == "stage" else {}
    flows = tuple(_flow(name, env.specs[name], before.get(name)) for name in sources)
    return Edge(Node(printable(type(env).__name__), kind, tuple(arguments_of(env)), edges), flows)


def _children(env: Env) -> Sequence[Env]:
    if isinstance(env, Roster):
        can_be_opened = (env.environments[place] for place in env.available if env.specs_at(place))
        return list(islice(can_be_opened, MOST_MEMBERS))
    return env.environments if isinstance(env, Composition) else env.children


def _sources(env: Env) -> list[str]:
    """Returns the names of the sources that are drawn."""
    if isinstance(env, Roster):
        found: list[str] = []
        for member in _children(env):
            found += [source for source in member.specs if source in env.specs]
        return found
    if not isinstance(env.specs, LazySpecs):
        return list(env.specs)
    return [source for child in _children(env) for source in _sources(child)]


def _flow(name: str, spec: EnvSpec, before: Flow | None) -> Flow:
    def leaves(side: str, below: tuple[Leaf, ...]) -> tuple[Leaf, ...]:
        known = {(leaf.key, leaf.text) for leaf in below}
        optional = {path: modality.optional for path, modality in flatten(spec.modalities[side])}
        found = []
        for path, leaf in flatten(getattr(spec, side)):
            key, text = printable(path_name(path)), brief(leaf) + ", optional" * optional[path]
            found.append(Leaf(key, text, before is not None and (key, text) not in known))
        return tuple(found)

    sides: Any = (before.observation, before.action) if before is not None else ((), ())
    return Flow(printable(name), spec.num_envs, leaves("observation", sides[0]), leaves("action", sides[1]))


def _loader_arguments(loader: Loader) -> tuple[str, ...]:
    numbers = {
        "in_flight": loader.in_flight,
        "num_workers": loader.num_workers,
        "steps_per_epoch": len(loader) if loader.episodes is None else None,
        "episodes": loader.episodes,
        "world_size": loader.world_size if loader.world_size > 1 else None,
    }
    backend = ["backend='ray'"] * (loader.backend == "ray")
    return (*(f"{name}={number}" for name, number in numbers.items() if number is not None), *backend)


def _shares(loader: Loader) -> list[str]:
    return [f"{100 * share:.3g} % of steps" for share in loader.shares.values()]
