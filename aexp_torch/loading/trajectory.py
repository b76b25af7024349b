"""Trajectories: an actor runs T steps of a slot, a training step gets them all."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.specs.tree import flatten, map_tree, unflatten
from aexp_torch.timestep import TimeStep

if TYPE_CHECKING:
    from aexp_torch.loading.loader import Loader
    from aexp_torch.loading.slots import SlotTurns

__all__ = ["Drive", "Trajectory"]

Actor = Callable[[TimeStep], Any]


class Trajectory(NamedTuple):
    """Holds T steps of one stream, time first.

    Args:
      timesteps: a TimeStep of [T + 1, B, ...]; the last is the first of this slot's next trajectory. A key that only
        some of them have is 0 elsewhere, and `mask:<key>` (bool [T + 1, B]) says where it is.
      action: [T, B, ...], as the actor gave them; `action[t]` answers `timesteps[t]`.
      extras: [T, B, ...] trees of what else the actor gave (log-probabilities, values), or None.
      source: name of the source.
      slot: which running copy.
    """

    timesteps: TimeStep
    action: Any
    extras: Any
    source: str
    slot: int


class Drive:
    """Runs an actor over a loader's slots: `len(loader)` items an epoch, each a Trajectory of `num_steps` steps.

    A source whose action spec is empty gives its timestep as it is. The actor runs here, without gradient, and nothing
    of an item is acted before the consumer asks for it. Where a slot goes from source to source (Interleave, AEEnv), the T
    steps of each are gathered over its turns; those that wait for more were acted when they came.

    Args:
      loader: whose slots are run.
      actor: from a TimeStep to an action, or to (action, extras).
      num_steps: T.
    """

    def __init__(self, loader: "Loader", actor: Actor, num_steps: int):
        if not callable(actor):
            raise SpecError(f"Loader.drive: expected a function of a timestep as actor, got {actor!r}.")
        if num_steps < 1:
            raise SpecError(f"Loader.drive: expected num_steps of at least 1, got {num_steps!r}.")
        self.loader, self.actor, self.num_steps = loader, actor, num_steps
        self._last: Trajectory | None = None  # handed out last
        self._replay: Trajectory | None = None  # to be handed out once more
        self._partial: dict[str, list[tuple[TimeStep, Any, Any]]] = {}

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Trajectory | TimeStep]:
        for item in self.loader.epoch(self._collect):
            if self._replay is not None and isinstance(item, TimeStep) and self.loader.specs[item.source].action:
                item, self._replay = self._replay, None
            self._last = item if isinstance(item, Trajectory) else None
            yield item

    def _collect(self, slots: "SlotTurns", place: int) -> Trajectory | TimeStep:
        slots.again(place)  # the end of the last trajectory is unanswered: it begins this one
        while True:
            timestep = slots.next(place)
            if not self.loader.specs[timestep.source].action:
                return timestep
            key = f"{timestep.source}/{timestep.ticket.slot}"
            steps = self._partial.setdefault(key, [])
            if len(steps) == self.num_steps:
                return _stack(self._partial.pop(key), timestep)
            action, extras = self._act(timestep)
            timestep.reply(action)
            steps.append((timestep, action, extras))

    def _act(self, timestep: TimeStep) -> tuple[Any, Any]:
        with torch.no_grad():
            result = self.actor(timestep)
        return result if isinstance(result, tuple) else (result, None)

    def state_dict(self, replay: bool = False) -> dict:
        """Returns the loader's state and the trajectories that are under way; `replay` as in `Loader.state_dict`."""
        partial = {
            key: [
                {"timestep": tuple(timestep[:4]), "action": action, "extras": extras}
                for timestep, action, extras in steps
            ]
            for key, steps in self._partial.items()
        }
        last = self._last if replay else self._replay
        packed = None if last is None else {**last._asdict(), "timesteps": tuple(last.timesteps[:4])}
        return {"loader": self.loader.state_dict(replay), "partial": partial, "replay": packed}

    def load_state_dict(self, state: dict | Sequence[dict]) -> None:
        """Goes on from `state_dict`, or from those of all ranks; see `Loader.load_state_dict`.

        Raises:
          SpecError: as there; or another division while trajectories of datasets are under way.
        """
        states = [state] if isinstance(state, Mapping) else list(state)
        loaders = [each["loader"] for each in states]
        exact = self.loader.own_part(loaders)
        if exact is None and any(each["partial"] or each["replay"] for each in states):
            raise SpecError(
                "Loader.drive: expected a state between two trajectories to go on with other slots, got one in the middle"
                " of some. Resume with the same world_size and in_flight."
            )
        self.loader.load_state_dict(loaders)
        own = {"partial": {}, "replay": None} if exact is None else states[exact]
        self._partial = {
            key: [(TimeStep(*step["timestep"]), step["action"], step["extras"]) for step in steps]
            for key, steps in own["partial"].items()
        }
        packed = own["replay"]
        self._replay = packed and Trajectory(**{**packed, "timesteps": TimeStep(*packed["timesteps"])})


def _stack(steps: list[tuple[TimeStep, Any, Any]], last: TimeStep) -> Trajectory:
    timesteps = [timestep for timestep, _, _ in steps] + [last]
    step_type, reward, discount = (torch.stack(field) for field in list(zip(*timesteps, strict=True))[:3])
    observation = _stack_observations([timestep.observation for timestep in timesteps], len(last.step_type))
    actions = [action for _, action, _ in steps]
    extras = [extra for _, _, extra in steps]
    return Trajectory(
        timesteps=TimeStep(step_type, reward, discount, observation),
        action=map_tree(lambda *leaves: torch.stack(leaves), *actions),
        extras=None if extras[0] is None else map_tree(lambda *leaves: torch.stack(leaves), *extras),
        source=last.source,
        slot=last.ticket.slot,
    )


def _stack_observations(observations: list[dict], num_envs: int) -> dict:
    rows = [dict(flatten(observation)) for observation in observations]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    leaves: list[tuple[tuple, Tensor | None]] = []
    masks: list[tuple[tuple, Tensor]] = []
    for path in paths:
        values = [row.get(path) for row in rows]
        present = [value for value in values if value is not None]
        if not present:
            leaves.append((path, None))
        elif path[-1].startswith("mask:"):
            everywhere = torch.ones(num_envs, dtype=torch.bool)  # where a timestep has none; see below for its own key
            leaves.append((path, torch.stack([everywhere if value is None else value for value in values])))
        elif len(present) == len(values):
            leaves.append((path, torch.stack(values)))
        else:
            blank = torch.zeros_like(present[0])
            leaves.append((path, torch.stack([blank if value is None else value for value in values])))
            masks.append(_mask(path, rows, values, num_envs))
    return unflatten(leaves + masks)


def _mask(path: tuple, rows: list[dict], values: list, num_envs: int) -> tuple[tuple, Tensor]:
    """Says where a key is present; a mask that the stream gave itself goes into it."""
    name = (*path[:-1], f"mask:{path[-1]}")
    masks = []
    for row, value in zip(rows, values, strict=True):
        own = row.get(name)
        masks.append(own if own is not None else torch.full((num_envs,), value is not None))
    return name, torch.stack(masks)
