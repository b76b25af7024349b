"""ForwardingMailbox: the way back for timesteps that were numbered elsewhere and are answered here."""

from collections.abc import Callable
from typing import Any

from aexp_torch.feedback import Mailbox
from aexp_torch.timestep import Ticket

__all__ = ["ForwardingMailbox"]


class ForwardingMailbox(Mailbox):
    """Sends an answer on as soon as it has been checked.

    Args:
      source: name of the source whose timesteps are answered here.
      slot: the running copy of the pipeline.
      owner: says how answers are checked and what follows where none comes, as an Env does.
      forward: takes the checked answer.
    """

    def __init__(self, source: str, slot: int, owner: Any, forward: Callable[[dict], None]):
        super().__init__(source, slot)
        self.owner, self._forward = owner, forward

    def ticket(self, step: int) -> Ticket:
        """Moves on to a step and returns its ticket."""
        self.previous, self.action, self.step = self.action, None, step
        return Ticket(self.source, self.slot, step, self)

    def _keep(self, step: int, action: dict) -> None:
        new = self.action is None and step == self.step
        super()._keep(step, action)
        if new:
            self._forward(self.action)
