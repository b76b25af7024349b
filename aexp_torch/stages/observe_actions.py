"""ObserveActions: the agent sees what it has just done."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, flatten, map_tree, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.specs.sample import zeros
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["ObserveActions"]

FIRST = np.int8(StepType.FIRST)


class ObserveActions(Stage):
    """Puts the last actions of the episode into the observation.

    Observation: gains a copy of the action under `prefix`: `action` is shown as `action:action`, with the spec and the
    modality of the action, [B, ...]; with a history, [B, history, ...], the newest last. A lane at FIRST has not acted: its
    row is 0 (the smallest value where 0 is out of bounds) and `mask:<key>` False; the value is None where that holds
    for all lanes. So are the entries of a history that lie before the episode.
    Action: unchanged.

    Args:
      env: the environment below.
      which: "sent" is what the agent answered, as it comes to this stage. "executed" is what reached the source last, below
        all stages that change answers (`Noisy`, `Repeat`, time scales): its specs are those of the source's own actions.
        It is absent until something has reached the source in this episode.
      history: how many actions to show.
      prefix: put before the names of the actions.

    Raises:
      SpecError: a history below 1, a key that is taken, or "executed" where the source runs in another process (while
        stepping) or is opened at its turn only (`AEEnv`).

    >>> import torch, aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.ObserveActions)
    >>> print(env.reset().observation["action:action"])
    None
    >>> env.step(torch.tensor([0, 1])).observation["action:action"]
    tensor([0, 1])

    Source: `ObserveActions` of the artificial-experience project; previous actions as inputs in RL^2 (Duan et al. 2016).
    """

    def __init__(
        self, env: Env, which: Literal["sent", "executed"] = "sent", history: int = 1, prefix: str = "action:"
    ):
        super().__init__(env)
        if which not in ("sent", "executed") or not isinstance(history, int) or history < 1:
            raise SpecError(
                f"ObserveActions: expected which 'sent' or 'executed' and history of at least 1, got {which!r},"
                f" {history!r}."
            )
        self.which, self.history, self.prefix = which, history, prefix

    def on_open(self) -> None:
        """Starts with nothing seen, and watches the sources where that is needed."""
        self._given: dict[str, dict] = {}  # by source: the answer to its last timestep, and its lanes (None: all)
        self._seen: dict[
            str, dict
        ] = {}  # by source: what is shown, "actions" [B, ...] and "lanes" [B], or [B, history]
        self._blanks: dict[str, dict[tuple, Tensor]] = {}
        self._answered: str | None = None
        sources = self.env.sources if self.which == "executed" else ()
        if sources and _opens_late(self.env):
            raise SpecError(
                f"ObserveActions: expected environments that are open from the start for which='executed', those of"
                f" {self.env.name!r} are opened at their turn. Use which='sent', or put ObserveActions(which='executed')"
                " around each of them."
            )
        self._watched = {source.name: Executed.of(source) for source in sources}

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Remembers what is sent."""
        self._answered = timestep.source
        if self.which == "sent":
            self._given[timestep.source] = {"action": action, "lanes": None}
        return action

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Adds the keys."""
        if self._watched:
            self._look(timestep.source)
        source, going = timestep.source, timestep.step_type.numpy() != FIRST
        given = self._given.get(source)
        if given is None or given["action"] is None:
            given = {"action": self._blank(source, len(going)), "lanes": None}
            going = np.zeros_like(going)
        elif given["lanes"] is not None:
            going = going & given["lanes"].numpy()
        seen = self._seen[source] = self._shift(self._seen.get(source), given["action"], going, timestep)
        return timestep._replace(observation={**timestep.observation, **self._shown(seen, source)})

    def _blank(self, source: str, num_envs: int) -> dict:
        return zeros(self._shown_spec(source).action, num_envs)

    def _blanks_of(self, source: str) -> dict[tuple, Tensor]:
        """Returns what stands for no action, [1, ...] by path."""
        if source not in self._blanks:
            self._blanks[source] = dict(flatten(self._blank(source, 1)))
        return self._blanks[source]

    def _look(self, source: str) -> None:
        """Takes what has reached the source that was answered."""
        if self._watched[source].lanes is None:
            raise SpecError(
                f"ObserveActions: expected to see what reaches {source!r}, it runs in another process. Put"
                " ObserveActions(which='executed') below TrainerSide, or use which='sent'."
            )
        if self._answered is not None:
            self._given[self._answered] = self._watched[self._answered].state_dict()
        self._answered = None

    def _shift(self, before: dict | None, action: dict, going: np.ndarray, timestep: TimeStep) -> dict:
        """Takes one more action into the history, in the lanes that move; without a history, in its place."""
        newest, lanes = action, from_numpy(going)
        if self.history > 1:
            if before is None:
                before = {
                    "actions": map_tree(self._no_history, action),
                    "lanes": lanes.new_zeros(len(lanes), self.history),
                }
            newest = map_tree(lambda old, new: torch.cat([old[:, 1:], new[:, None]], 1), before["actions"], action)
            lanes = torch.cat([before["lanes"][:, 1:] & ~timestep.first()[:, None], lanes[:, None]], 1)
        if self.held is not None and before is not None:
            newest = map_tree(lambda new, old: torch.where(_rows(self.held, new), old, new), newest, before["actions"])
            lanes = torch.where(_rows(self.held, lanes), before["lanes"], lanes)
        return {"actions": newest, "lanes": lanes}

    def _no_history(self, leaf: Tensor) -> Tensor:
        return torch.zeros_like(leaf)[:, None].expand(-1, self.history, *leaf.shape[1:])

    def _shown(self, seen: dict, source: str) -> dict:
        """Returns the new keys."""
        there = seen["lanes"].numpy()  # [B], or [B, history]
        if there.all():
            return {self.prefix + key: tree for key, tree in seen["actions"].items()}
        acted = there if self.history == 1 else there.any(1)
        nobody, everybody = not acted.any(), acted.all()
        blanks = {} if nobody else self._blanks_of(source)
        leaves: list[tuple[tuple, Tensor | None]] = []
        for path, value in flatten(seen["actions"]):
            shown = (self.prefix + path[0], *path[1:])
            if nobody:
                leaves.append((shown, None))
                continue
            blank = blanks[path] if self.history == 1 else blanks[path][:, None]
            rows = seen["lanes"].view(*there.shape, *[1] * (value.dim() - there.ndim))
            leaves.append((shown, torch.where(rows, value, blank)))
            if not everybody:
                leaves.append(((*shown[:-1], f"mask:{shown[-1]}"), from_numpy(acted)))
        return unflatten(leaves) or {}

    # Specs.

    def make_specs(self) -> dict[str, EnvSpec]:
        """Adds copies of the actions that are shown."""
        return {name: self._with_actions(spec, self._shown_spec(name)) for name, spec in self.env.specs.items()}

    def _shown_spec(self, source: str) -> EnvSpec:
        """Returns the spec whose actions are shown."""
        return self._watched[source].spec if self._watched else self.env.specs[source]

    def _with_actions(self, spec: EnvSpec, shown: EnvSpec) -> EnvSpec:
        copies = {self.prefix + key: map_tree(self._leaf, tree) for key, tree in shown.action.items()}
        taken = sorted(copies.keys() & spec.observation.keys())
        if taken:
            raise SpecError(
                f"ObserveActions: expected free keys, {taken} are in the observation already ({sorted(spec.observation)})."
                " Give another prefix=."
            )
        new = with_sides(spec, observation={**spec.observation, **copies})
        for key, tree in shown.modalities["action"].items():
            copies = map_tree(lambda modality: replace(modality, optional=True), tree)
            new.modalities["observation"][self.prefix + key] = copies
        return new

    def _leaf(self, leaf: specs.Array) -> specs.Array:
        if self.history == 1:
            return leaf
        shape = (self.history, *leaf.shape)
        if not isinstance(leaf, specs.BoundedArray):
            return specs.Array(shape, leaf.dtype, leaf.name)
        return specs.BoundedArray(shape, leaf.dtype, leaf.minimum, leaf.maximum, leaf.name)

    # State.

    def state_dict(self) -> dict:
        """Adds what was given and what is shown, by source."""
        return super().state_dict() | {
            "given": dict(self._given),
            "seen": dict(self._seen),
            "executed": {name: watched.state_dict() for name, watched in self._watched.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores what was seen."""
        super().load_state_dict(state)
        self._given, self._seen, self._answered = dict(state["given"]), dict(state["seen"]), None
        for name, watched in self._watched.items():
            watched.load_state_dict(state["executed"][name])


class Executed:
    """Holds the last action that reached a source in the episode, lane by lane.

    Args:
      source: the environment that names its timesteps.
    """

    def __init__(self, source: Env):
        self.spec = source.specs[source.name]
        self.action: dict | None = None
        self.lanes: Tensor | None = None  # where there is one; None until anything is told

    @classmethod
    def of(cls, source: Env) -> "Executed":
        """Returns the one that watches an open source, which is shared by all stages."""
        if not isinstance(source._observer, cls):
            source._observer = cls(source)
        return source._observer

    def __call__(self, action: dict | None, lanes: Tensor | None, timestep: TimeStep) -> None:
        """Is told of a step or reset of the source."""
        going = from_numpy(timestep.step_type.numpy() != FIRST)
        if action is not None:
            if lanes is not None and self.action is not None:
                action = map_tree(lambda new, old: torch.where(_rows(lanes, new), new, old), action, self.action)
            self.action = action
        self.lanes = going if lanes is None or self.lanes is None else torch.where(lanes, going, self.lanes)

    def state_dict(self) -> dict:
        """Returns the actions, [B, ...], and bool [B] where there is one in this episode."""
        return {"action": self.action, "lanes": self.lanes}

    def load_state_dict(self, state: dict) -> None:
        """Restores the actions."""
        self.action, self.lanes = state["action"], state["lanes"]


def _opens_late(env: Env) -> bool:
    return not env.opens_children or any(_opens_late(child) for child in env.children)


def _rows(lanes: Tensor, like: Any) -> Tensor:
    return lanes.view(-1, *[1] * (like.dim() - 1))
