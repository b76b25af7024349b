"""The way back: a mailbox per stream.

A `Mailbox` holds one answer for one step. Whoever has the ticket answers into it; the stream takes the answer when it
is asked for its next timestep. How an answer comes from another process is told in `feedback_socket`.
"""

import threading
import time
from multiprocessing import current_process, parent_process
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from typing import TYPE_CHECKING, Any

import torch

from aexp_torch.errors import ActionError, FeedbackError
from aexp_torch.specs.check import Ended
from aexp_torch.specs.tree import flatten
from aexp_torch.timestep import Ticket, TimeStep

if TYPE_CHECKING:
    from aexp_torch.env import Env
    from aexp_torch.feedback_socket import RemoteMailbox

__all__ = ["ConsumerGone", "Mailbox"]

POLL_SECONDS = 0.05  # how soon a waiting stream notices that its consumer has gone


class ConsumerGone(Exception):
    """Tells a stream that whoever asked for its timesteps has gone: the normal end of a worker."""


class Mailbox:
    """Takes the answer to the one outstanding timestep of a stream.

    Args:
      source: name of the source whose timesteps are answered here.
      slot: the running copy of the pipeline.
    """

    def __init__(self, source: str, slot: int):
        self.source = source
        self.slot = slot
        self.step = -1
        self.owner: Env | None = None  # the outermost Env that handed the timestep out: its spec is what counts
        self.action: dict | None = None
        self.previous: dict | None = None
        self._taken: tuple[int, dict] | None = None  # the step that was answered last from outside, and its answer
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._waiting = False
        self._exported = False

    def issue(self) -> Ticket:
        """Moves on to the next step and returns its ticket."""
        if self.action is not None:
            self.previous, self.action = self.action, None
        self.step += 1
        return Ticket(self.source, self.slot, self.step, self)

    def answer(self, timestep: TimeStep, action: Any) -> None:
        """Checks an answer and keeps it until the stream asks for it."""
        self.post(timestep.ticket.step, action, timestep.last)

    def post(self, step: int, action: Any, ended: Ended) -> None:
        """Takes the answer to `step`; see `TimeStep.reply` for what is accepted."""
        owner = self.owner
        if owner is None:
            raise FeedbackError(
                f"{self}: expected an open stream, it was closed before the answer to step {step} came."
            )
        try:
            action = owner.action_check(self.source)(action, ended)
        except ActionError as error:
            raise self._misfit(step, error) from None
        if not action:
            return
        self._keep(step, action)
        if self._waiting:
            self._arrived.set()

    def _misfit(self, step: int, error: ActionError) -> ActionError:
        return ActionError(f"{self}: the answer to step {step} does not fit: {error}")

    def _keep(self, step: int, action: dict) -> None:
        with self._lock:
            if self.action is None and step == self.step:
                self.action = action
            else:
                self._repeat(step, action)

    def _repeat(self, step: int, action: dict) -> None:
        """Accepts the same values once more, and nothing else."""
        # A worker goes on as soon as it is answered; its consumer, who has not asked for more yet, may still repeat.
        # (Its step is not always the one before: some stages take several for one answer.)
        left_behind = step != self.step
        taken_step, taken = self._taken or (None, None)
        if left_behind and not (self._exported and step == taken_step):
            raise FeedbackError(
                f"{self}: expected the answer to step {self.step}, got one to step {step}, which the stream has left"
                " behind. Answer each timestep before asking for the next."
            )
        kept = taken if left_behind else self.action
        if kept is None or not _same(kept, action):
            raise FeedbackError(f"{self}: step {step} was answered before with other values. Answer each step once.")

    def take(self) -> dict:
        """Returns the answer to the outstanding timestep, waiting for it where another thread or process has it."""
        if self.action is None:
            if not self._due():
                return {}
            self.action = self._missing() if self._known_to_be_missing() else self._wait()
        self._taken = self.step, self.action
        return self.action

    def settle(self, env: "Env", timestep: TimeStep, action: Any) -> dict:
        """Returns the answer that `env.step` was given, checked unless it is the one that was checked here already."""
        if action is self.action and action is not None:
            return action
        step = timestep.ticket.step
        try:
            action = env.action_check(self.source)(action, timestep.last)
        except ActionError as error:
            raise self._misfit(step, error) from None
        if env is not self.owner or not action:
            return action
        self._keep(step, action)
        return self.action

    def settled(self) -> bool:
        """Tells whether the outstanding timestep was answered, or needs no answer."""
        return self.action is not None or not self._due()

    def _due(self) -> bool:
        return bool(self.owner.specs[self.source].action)

    def _known_to_be_missing(self) -> bool:
        """Tells whether nobody can still answer: the consumer is this very thread, and it asks for more."""
        if self._exported or threading.current_thread() is not threading.main_thread():
            return False
        return parent_process() is None or torch.distributed.is_initialized()  # a trainer, or one of its ranks

    def _wait(self) -> dict:
        deadline = time.monotonic() + self.owner.feedback_timeout
        self._waiting = True
        while self.action is None:
            self._arrived.clear()
            if self.action is None and not self._arrived.wait(POLL_SECONDS):
                if consumer_has_gone():
                    raise ConsumerGone
                if time.monotonic() > deadline:
                    return self._missing()
        return self.action

    def _missing(self) -> dict:
        """Goes on without an answer, as `on_missing` says."""
        if self.owner.on_missing == "error":
            waited = "" if self._known_to_be_missing() else f" within {self.owner.feedback_timeout:g} s"
            raise FeedbackError(
                f"{self}: expected an answer to step {self.step} before the next timestep is asked for, none came"
                f"{waited}. Call timestep.reply(action) for every timestep, before the loop goes on; a loader that"
                ' reads ahead (an unsized one in Trainer.fit) asks too early. on_missing="repeat" or "sample" lets the'
                " stream go on."
            )
        if self.owner.on_missing == "repeat" and self.previous is not None:
            return self.previous
        return self.owner.sample_action(self.source)

    def go_on(self) -> None:
        """Takes the answer that `on_missing` gives, at once."""
        self.action = self._missing()

    def close(self) -> None:
        """Refuses every later answer."""
        self.owner = None

    def export(self) -> "RemoteMailbox":
        """Returns the address that a pickled ticket carries."""
        from aexp_torch.feedback_socket import PostOffice

        self._exported = True
        return PostOffice.of_this_process().address_of(self)

    def state_dict(self) -> dict:
        """Returns the step and the answers that are under way, as tensors and primitives."""
        return {"step": self.step, "action": self.action, "previous": self.previous}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.step, self.action, self.previous = state["step"], state["action"], state["previous"]

    def __str__(self) -> str:
        return f"{self.source!r} (slot {self.slot})"


def _same(one: dict, other: dict) -> bool:
    pairs = zip(flatten(one), flatten(other), strict=True)
    return all(bool(((mine == yours) | ((mine != mine) & (yours != yours))).all()) for (_, mine), (_, yours) in pairs)


def consumer_has_gone() -> bool:
    """Tells whether the process that started this worker has died, or its DataLoader is shutting its workers down."""
    parent = parent_process()
    if parent is None:
        return False
    # A DataLoader tells its workers to leave by an event among their process's arguments, then joins each for seconds.
    leaving = (argument for argument in getattr(current_process(), "_args", ()) if isinstance(argument, Event))
    return any(event.is_set() for event in leaving) or bool(wait([parent.sentinel], timeout=0))
