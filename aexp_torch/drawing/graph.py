"""The graph of a pipeline: boxes, what goes into them, and what passes on the edges."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aexp_torch.composition import Composition
from aexp_torch.drawing.words import arguments_of, brief, printable
from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.loading import Loader
from aexp_torch.specs import EnvSpec, flatten, path_name

__all__ = ["Edge", "Flow", "Leaf", "Node", "graph_of"]

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
    specs = env.specs  # opens what is below, too
    children = env.environments if isinstance(env, Composition) else env.children
    edges = tuple(_edge(child) for child in children)
    kind: Kind = "source" if not edges else "stage" if len(edges) == 1 else "composition"
    before = {flow.source: flow for flow in edges[0].flows} if kind == "stage" else {}
    flows = tuple(_flow(name, spec, before.get(name)) for name, spec in specs.items())
    return Edge(Node(printable(type(env).__name__), kind, tuple(arguments_of(env)), edges), flows)


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
