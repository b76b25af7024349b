"""Revival: joins the stream of a slot that was lost with its process to the new one that goes on in its place."""

import torch
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.feedback import Mailbox
from aexp_torch.timestep import StepType, Ticket, TimeStep, pack_timestep, select_lanes, unpack_timestep

__all__ = ["Revival", "pack_last", "unpack_last", "unpack_lost"]


class Revival:
    """Ends the episodes that were lost, then lets the new stream begin.

    A source's lanes repeat their last observation as LAST with reward 0 and discount 1, as after a time limit. Lanes
    that had shown LAST go straight to FIRST; where both meet in a batch, those that were cut off show FIRST one step
    later, at whatever their new episode has come to. A source that goes on within an episode, as data does, is let be.

    Args:
      last: by source, the timestep that was handed out last.
    """

    def __init__(self, last: dict[str, TimeStep]):
        self.last = dict(last)
        self.ending: TimeStep | None = None  # handed out; the stream's own timestep follows
        self._starting: dict[str, Tensor] = {}  # bool [B]: show FIRST next

    def join(self, env: Env, timestep: TimeStep) -> TimeStep:
        """Takes a timestep that the new stream `env` has handed out.

        Returns:
          What to hand out, numbered on from the lost stream: the timestep, or `ending`, which it follows.
        """
        before = self.last.pop(timestep.source, None)
        if before is None:
            starting = self._starting.pop(timestep.source, None)
            if starting is not None:
                step_type, reward, discount, observation, ticket = timestep
                timestep = env._outstanding = TimeStep(
                    step_type.masked_fill(starting, StepType.FIRST),
                    reward.masked_fill(starting, 0.0),
                    discount.masked_fill(starting, 1.0),
                    observation,
                    ticket,
                )
            return timestep
        cut = timestep.first() & ~before.last()
        timestep = self._hand_out(env, timestep, before.ticket.step + 1)
        if not cut.any():
            return timestep
        last = before._replace(
            step_type=torch.full_like(before.step_type, StepType.LAST),
            reward=torch.zeros_like(before.reward),
            discount=torch.ones_like(before.discount),
            ticket=_ticket(timestep.source, before.ticket.step + 1, env, env.slot),
        )
        if cut.all():
            self._hand_out(env, timestep, last.ticket.step + 1)
            self.ending = last
            return last
        self._starting[timestep.source] = cut
        env._outstanding = select_lanes(cut, last, timestep)
        return env._outstanding

    def _hand_out(self, env: Env, timestep: TimeStep, step: int) -> TimeStep:
        mailbox = timestep.ticket._address
        mailbox.step = step
        ticket = Ticket(timestep.source, timestep.ticket.slot, step, mailbox)
        env._outstanding = timestep._replace(ticket=ticket)
        return env._outstanding

    @property
    def over(self) -> bool:
        """Whether there is nothing left to join."""
        return not self.last and not self._starting and self.ending is None

    def state_dict(self) -> dict:
        """Returns what is left to join, as tensors and primitives."""
        return {
            "last": pack_last(self.last),
            "ending": pack_timestep(self.ending),
            "starting": dict(self._starting),
        }

    @classmethod
    def from_state(cls, state: dict, env: Env) -> "Revival":
        """Builds it from `state_dict`, to join the stream `env`."""
        revival = cls(unpack_last(state["last"], env))
        revival.ending = state["ending"] and unpack_lost(state["ending"], env, env.slot)
        revival._starting = dict(state["starting"])
        return revival


def pack_last(last: dict[str, TimeStep]) -> dict[str, dict]:
    """Returns timesteps by source as tensors and primitives."""
    return {source: pack_timestep(timestep) for source, timestep in last.items()}


def unpack_last(packed: dict[str, dict], env: Env) -> dict[str, TimeStep]:
    """Rebuilds what `pack_last` took apart."""
    return {source: unpack_lost(state, env, env.slot) for source, state in packed.items()}


def unpack_lost(packed: dict, env: Env, slot: int) -> TimeStep:
    """Rebuilds a timestep whose stream has gone on: an answer to it is checked by the specs of `env`, and dropped."""
    ticket = _ticket(packed["source"], packed["step"], env, slot)
    return unpack_timestep(packed, {ticket.source: ticket._address})


def _ticket(source: str, step: int, env: Env, slot: int) -> Ticket:
    mailbox = Mailbox(source, slot)
    mailbox.step, mailbox.owner = step, env
    return Ticket(source, slot, step, mailbox)
