"""TimeStep: one minibatch of a stream. Ticket: its return address.

The first four fields are dm_env's, batched over lanes; the fifth says where the answer goes.
"""

from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aexp_torch.errors import FeedbackError
from aexp_torch.specs.tree import map_tree

if TYPE_CHECKING:
    from tensordict import TensorDict

__all__ = [
    "StepType",
    "Ticket",
    "TimeStep",
    "pack_timestep",
    "restart",
    "select_lanes",
    "termination",
    "transition",
    "truncation",
    "unpack_timestep",
]


class StepType(IntEnum):
    """Places a timestep in its episode (dm_env's numbers)."""

    FIRST = 0
    MID = 1
    LAST = 2


_FIRST, _MID, _LAST = map(int, StepType)  # torch compares with an int faster than with an IntEnum


class Ticket:
    """Says which stream, slot and step a timestep is, and where its answer goes.

    A plain class, so that Lightning and torch move it between devices and processes untouched. Copies, pickled ones
    too, share the address: the stream is answered once, from wherever.

    Args:
      source: name of the source that made the timestep; `(source, slot)` names a stream for life.
      slot: which running copy of the pipeline.
      step: number of the timestep in its stream, from 0.
    """

    __slots__ = ("_address", "slot", "source", "step")

    def __init__(self, source: str, slot: int, step: int, address: Any):
        self.source = source
        self.slot = slot
        self.step = step
        self._address = address

    def __repr__(self) -> str:
        return f"Ticket({self.source!r}, slot={self.slot}, step={self.step})"

    def __copy__(self) -> "Ticket":
        return self

    def __deepcopy__(self, memo: dict) -> "Ticket":
        return self

    def __reduce__(self):
        return Ticket, (self.source, self.slot, self.step, self._address.export())


class TimeStep(NamedTuple):
    """Holds one step of B lanes; lanes start and end on their own.

    Next-step autoreset: the timestep after LAST is FIRST, and its action is ignored for that lane. LAST carries its
    own final observation.

    Args:
      step_type: int8 [B]; 0 FIRST, 1 MID, 2 LAST.
      reward: float32 [B], for the action before, in the source's units; 0 on FIRST.
      discount: float32 [B] in [0, 1]; on LAST 0 means terminated, more than 0 truncated.
      observation: nested dict of tensors [B, ...]; a value is None where no lane has that key in this timestep.
      ticket: the return address, or None where nothing waits for an answer.
    """

    step_type: Tensor
    reward: Tensor
    discount: Tensor
    observation: dict[str, Any]
    ticket: Ticket | None = None

    @property
    def source(self) -> str:
        """The name of the source that made this timestep."""
        return self.ticket.source if self.ticket is not None else ""

    def first(self) -> Tensor:
        """Returns bool [B]: where an episode starts."""
        return self.step_type == _FIRST

    def mid(self) -> Tensor:
        """Returns bool [B]: where an episode goes on."""
        return self.step_type == _MID

    def last(self) -> Tensor:
        """Returns bool [B]: where an episode ends."""
        return self.step_type == _LAST

    def terminated(self) -> Tensor:
        """Returns bool [B]: where an episode ends for good (no value beyond it)."""
        return self.last() & (self.discount == 0)

    def truncated(self) -> Tensor:
        """Returns bool [B]: where an episode is cut off (bootstrap from its final observation)."""
        return self.last() & (self.discount > 0)

    def reply(self, action: Any) -> None:
        """Sends the answer home, to where this timestep came from.

        Args:
          action: a dict that matches `specs[timestep.source].action`, [B, ...] each, or the bare tensor where that has
            a single leaf; on any device. None or {} where the action spec is empty.

        Raises:
          ActionError: wrong key, shape, dtype or bounds (values are not checked where all lanes are LAST).
          FeedbackError: another answer was given before, the stream has moved on or is closed.
        """
        if self.ticket is None:
            raise FeedbackError(
                "TimeStep.reply: expected a timestep with a ticket, this one has none (it was built by hand or stacked"
                " into a trajectory). Answer the timestep that the stream gave."
            )
        self.ticket._address.answer(self, action)

    def to(self, device: Any, non_blocking: bool = False) -> "TimeStep":
        """Returns a copy on `device` that still answers to the same place."""
        return self._map(lambda leaf: leaf.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "TimeStep":
        """Returns a copy in page-locked memory, from which a GPU copies asynchronously."""
        return self._map(Tensor.pin_memory)

    def to_tensordict(self) -> "TensorDict":
        """Converts to a `tensordict.TensorDict` of batch size [B] with TorchRL's key names (extra `tensordict`)."""
        from aexp_torch.adapters.tensordict import timestep_to_tensordict

        return timestep_to_tensordict(self)

    def _map(self, function: Any) -> "TimeStep":
        observation = map_tree(lambda leaf: None if leaf is None else function(leaf), self.observation)
        signals = (function(self.step_type), function(self.reward), function(self.discount))
        return TimeStep(*signals, observation, self.ticket)


def restart(observation: dict, num_envs: int) -> TimeStep:
    """Starts an episode in every lane: FIRST, reward 0, discount 1."""
    step_type = torch.full((num_envs,), StepType.FIRST, dtype=torch.int8)
    return TimeStep(step_type, torch.zeros(num_envs), torch.ones(num_envs), observation)


def transition(observation: dict, reward: Tensor, discount: Tensor | float = 1.0) -> TimeStep:
    """Goes on in every lane: MID. `reward` is float32 [B]; `discount` float32 [B] or a number for all lanes."""
    return _all_lanes(StepType.MID, observation, reward, discount)


def termination(observation: dict, reward: Tensor) -> TimeStep:
    """Ends every lane for good: LAST with discount 0. `reward` is float32 [B]."""
    return _all_lanes(StepType.LAST, observation, reward, 0.0)


def truncation(observation: dict, reward: Tensor, discount: Tensor | float = 1.0) -> TimeStep:
    """Cuts every lane off: LAST with a discount above 0. `reward` is float32 [B]."""
    return _all_lanes(StepType.LAST, observation, reward, discount)


def _all_lanes(step_type: StepType, observation: dict, reward: Tensor, discount: Tensor | float) -> TimeStep:
    discount = torch.as_tensor(discount, dtype=torch.float32).expand(len(reward)).clone()
    return TimeStep(torch.full((len(reward),), step_type, dtype=torch.int8), reward, discount, observation)


def select_lanes(lanes: Tensor, chosen: TimeStep, other: TimeStep) -> TimeStep:
    """Mixes two timesteps by lane: rows of `chosen` where `lanes` (bool [B]) is True, rows of `other` elsewhere.

    The ticket is that of `chosen`. A key that one of them lacks (None) is 0 in its rows, and `mask:<key>` says so.
    """
    step_type, reward, discount = (_mix(lanes, new, old) for new, old in zip(chosen[:3], other[:3], strict=True))
    return TimeStep(
        step_type, reward, discount, _mix_trees(lanes, chosen.observation, other.observation), chosen.ticket
    )


def _mix_trees(lanes: Tensor, new: dict, old: dict) -> dict:
    mixed: dict[str, Any] = {}
    for key, value in new.items():
        if isinstance(value, dict):
            mixed[key] = _mix_trees(lanes, value, old[key])
        elif not key.startswith("mask:"):
            mixed[key] = _mix(lanes, value, old[key])
            if (value is None) != (old[key] is None):
                mixed[f"mask:{key}"] = torch.where(lanes, _rows_with(key, new, lanes), _rows_with(key, old, lanes))
    for mask in (*new, *old):
        if mask.startswith("mask:"):
            key = mask.removeprefix("mask:")
            mixed[mask] = torch.where(lanes, _rows_with(key, new, lanes), _rows_with(key, old, lanes))
    return mixed


def _mix(lanes: Tensor, new: Tensor | None, old: Tensor | None) -> Tensor | None:
    if new is None and old is None:
        return None
    new = torch.zeros_like(old) if new is None else new
    old = torch.zeros_like(new) if old is None else old
    return torch.where(lanes.view(-1, *[1] * (new.dim() - 1)), new, old)


def _rows_with(key: str, tree: dict, lanes: Tensor) -> Tensor:
    """Returns which rows have a key, bool [B]."""
    mask = tree.get(f"mask:{key}")
    return torch.full_like(lanes, tree.get(key) is not None) if mask is None else mask


def pack_timestep(timestep: TimeStep | None) -> dict | None:
    """Returns a timestep as tensors and primitives, for a `state_dict`."""
    if timestep is None:
        return None
    ticket = timestep.ticket
    return {**dict(zip(TimeStep._fields[:4], timestep[:4], strict=True)), "source": ticket.source, "step": ticket.step}


def unpack_timestep(state: dict | None, mailboxes: dict[str, Any]) -> TimeStep | None:
    """Rebuilds what `pack_timestep` took apart; its ticket answers to the mailbox of its source."""
    if state is None:
        return None
    mailbox = mailboxes[state["source"]]
    ticket = Ticket(state["source"], mailbox.slot, state["step"], mailbox)
    return TimeStep(**{field: state[field] for field in TimeStep._fields[:4]}, ticket=ticket)
