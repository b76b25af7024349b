"""WorkerSlots: the slots of one environment in workers, asked in turn like those in this one.

Each slot has a piece of shared memory: control words, its answer, and blocks for timesteps. A timestep that is handed out
is a view of its block, without a copy; the block is lent until the last tensor on it has gone (a weak reference to the
array under the tensors tells). The worker writes the next timestep into another block. Where all but one are lent, a
timestep is copied instead, so nothing that somebody still holds is ever written over.

A worker that is lost (killed, hanging) or a slot that raises is replaced; see `Revival` for what its lanes show.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from aexp_torch.env import Env, origin_of
from aexp_torch.lending import Lease, Lender
from aexp_torch.loading.forwarding_mailbox import ForwardingMailbox
from aexp_torch.loading.layout import Layout
from aexp_torch.loading.remote import Failure, RemoteWorker, RestartBudget
from aexp_torch.loading.revival import pack_last
from aexp_torch.loading.shared import SharedMemory
from aexp_torch.loading.slots import SlotTurns
from aexp_torch.loading.worker import (
    ANSWERED,
    BAD_SAMPLES,
    BLOCK,
    DONE,
    ERROR,
    MISSING,
    NOT_DUE,
    REQUEST,
    SHOW_AGAIN,
    SOURCE,
    STEP,
    Line,
    read_error,
)
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import Ticket, TimeStep, pack_timestep

__all__ = ["WorkerSlots"]

PATIENCE = 1000  # steps without order, until a slot has its turn whether it is ready or not
SPARE_BLOCKS = 5  # besides one for each source, whose last timestep is kept


class Stream:
    """Is what an answer is checked by, on this side: specs and settings of a slot that runs elsewhere."""

    def __init__(self, env: Env):
        self.specs: dict[str, EnvSpec] = dict(env.specs)
        self.on_missing, self.feedback_timeout = env.on_missing, env.feedback_timeout
        self.action_check = env.action_check


class RemoteSlot:
    """Is this side of one slot in a worker.

    Args:
      worker: runs it.
      env: its environment, a recipe that slots share.
      place: seed, number of slots and seed prefix.
      number: the slot.
      stream: specs and settings.
      budget: how often it may be restarted.
    """

    def __init__(
        self, worker: RemoteWorker, env: Env, place: dict[str, Any], number: int, stream: Stream, budget: RestartBudget
    ):
        self.worker, self.number, self.budget, self._stream = worker, number, budget, stream
        self.who = f"{env.name!r} (slot {number})"
        num_blocks = SPARE_BLOCKS + len(stream.specs)
        self._layout = Layout(stream.specs, num_blocks)
        self._memory = SharedMemory(self._layout.size, self.who)
        self._views = self._layout.over(self._memory.array)
        self._words = self._memory.words
        self._blocks = self._memory.array.view(Lease)
        self._line = worker.add(Line(env, place, number, stream.specs, num_blocks, self._memory), self)
        self._mailboxes: dict[str, ForwardingMailbox] = {}
        self._lender = Lender(num_blocks)
        self._last: dict[str, TimeStep] = {}
        self._restored: dict | None = None  # what the stream was restored from, until its first timestep
        self._origin: dict | None = None  # where the data of a restored stream began
        self._asked: int | None = None  # the block that the worker is writing
        self.outstanding: TimeStep | None = None

    # Asking the worker.

    def answer(self, action: dict) -> None:
        """Tells the worker to take the next step with an answer that has been checked."""
        self._ask(self._views.write_answer(self.outstanding.ticket.source, action))

    def _ask(self, answered: int = NOT_DUE) -> None:
        words = self._words
        self._asked = words[BLOCK] = self._lender.free.pop()
        words[ANSWERED] = answered
        words[ERROR] = 0
        words[REQUEST] += 1
        self.worker.ask(self._line)

    def _done(self) -> bool:
        words = self._words
        return words[DONE] == words[REQUEST]

    def ready(self) -> bool:
        """Whether a timestep that was asked for is there."""
        return self._asked is not None and self._done()

    def under_way(self) -> bool:
        """Whether the worker makes, or has made, a timestep; the first is asked for here."""
        if self._asked is None and self.outstanding is None:
            self._ask()
        return self._asked is not None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Waits until `ready()`, as long as this slot's own step is within its time."""
        try:
            self.worker.wait_for(ready, self.who)
        except Failure as failure:
            self.worker.replace(failure)

    def next(self, again: bool) -> TimeStep:
        """Returns the next timestep, or the outstanding one once more where it is unanswered."""
        if self._asked is None:
            unanswered = self.outstanding is not None and not self.outstanding.ticket._address.settled()
            if unanswered and again:
                return self.outstanding
            if unanswered and self._stream.on_missing == "error":
                self.outstanding.ticket._address.take()
            self._ask(MISSING if unanswered else NOT_DUE)
        self._wait()
        return self._receive()

    def show_again(self) -> TimeStep:
        """Returns the worker's outstanding timestep once more; an answer that it was given is dropped."""
        self._ask(SHOW_AGAIN)
        self._wait()
        return self._receive()

    def _wait(self) -> None:
        """Waits until the timestep that was asked for is there, from another process if this one is lost."""
        while True:
            try:
                self.worker.wait_for(self._done, self.who)
                error = self._words[ERROR]
                if not error:
                    return
                failure = Failure.from_worker(read_error(self._memory.array, error), self.who)
                if failure.kind is not None:
                    self._take_back()
                    raise failure.error()
                self.worker.restarting([self], failure)
                self.revive()
            except Failure as failure:
                self.worker.replace(failure)

    def _receive(self) -> TimeStep:
        words = self._words
        block, self._asked = self._asked, None
        lease = self._blocks[self._layout.span(block)]
        if self._lender.free:
            self._lender.lend(block, lease)
        else:
            lease = lease.copy()
            self._lender.free.append(block)
        place = words[SOURCE]
        source = self._layout.sources[place]
        timestep = self._layout.read(lease, place, self._ticket(source, words[STEP]))
        self.outstanding = self._last[source] = timestep
        self._restored = None
        self.budget.steps += 1
        if not self._stream.specs[source].action:
            self._ask()
        return timestep

    def _ticket(self, source: str, step: int) -> Ticket:
        mailbox = self._mailboxes.get(source)
        if mailbox is None:
            mailbox = self._mailboxes[source] = ForwardingMailbox(source, self.number, self._stream, self.answer)
        return mailbox.ticket(step)

    def revive(self) -> None:
        """Has a fresh stream go on where the lost one stood, and asks it again for what was asked.

        What the lost one had finished, but not handed out, is lost with it.
        """
        if self._restored is not None:
            self.worker.call_once(self._line, "load_state_dict", self.who, **self._restored)
            again = self._words[ANSWERED]
        else:
            last, restarts = pack_last(self._last), self.budget.restarts
            self.worker.call_once(self._line, "revive", self.who, last=last, restarts=restarts, origin=self._origin)
            again = NOT_DUE
        if self._take_back():
            self._ask(again)

    def _take_back(self) -> bool:
        """Forgets what was asked of the worker; returns whether anything was."""
        asked = self._asked is not None
        if asked:
            self._lender.free.append(self._asked)
            self._asked = None
        self._words[DONE] = self._words[REQUEST]
        self._words[ERROR] = 0
        return asked

    # Everything but steps.

    def state_dict(self) -> tuple[dict, bool]:
        """Returns the environment's state, and whether its outstanding timestep is still to be handed out."""
        if self._asked is not None:
            self._wait()
        state, ahead = self.call("state_dict")
        return state, ahead or self._asked is not None

    @property
    def num_bad_samples(self) -> int:
        """How many samples of datasets were left out, as of the last timestep."""
        return self._words[BAD_SAMPLES]

    def read(self, noted: str) -> dict[str, Any]:
        """Returns what the environment has noted, by source; nothing where no worker runs."""
        return self.call("read", noted=noted) if self.worker.running else {}

    def call(self, method: str, **arguments: Any) -> Any:
        """Has the worker do something that is no step, and returns the result."""
        return self.worker.call(self._line, method, self.who, **arguments)

    def renew(self, method: str, **arguments: Any) -> None:
        """Restarts or restores the stream."""
        if self._asked is not None:
            self.worker.settle(self._done, self.who)
        self.forget()
        if self.worker.running or method != "restart":
            self.call(method, **arguments)
        self._restored = arguments or None
        self._origin = origin_of(arguments["state"]) if arguments else None

    def forget(self) -> None:
        """Starts from nothing, here: the worker's stream was restarted, restored or ended. Later answers are refused."""
        for mailbox in self._mailboxes.values():
            mailbox.close()
        self._mailboxes, self._last, self.outstanding = {}, {}, None
        self._words[BAD_SAMPLES] = 0
        self._take_back()
        self.budget.forget()


class WorkerSlots(SlotTurns):
    """Runs this rank's slots of one environment in workers and takes their timesteps in turn.

    Args:
      env: the environment; it is copied, slot by slot.
      workers: processes or actors; slot s goes to worker `(s // world_size) % len(workers)`.
      max_restarts: of a slot, within any 100 of its steps; None for no limit.
      ordered: whether slots have their turns one after the other; else whichever is ready first.
      place: seed, numbers, num_slots, seed_prefix, world_size and uneven, as for `SlotTurns`.
    """

    def __init__(
        self, env: Env, *, workers: Sequence[RemoteWorker], max_restarts: int | None, ordered: bool, **place: Any
    ):
        super().__init__(env, **place)
        self.begin()
        recipe, stream = copy.copy(self.envs[0]), Stream(self.envs[0])
        self._workers, self._ordered = workers, ordered
        self._passed_over = 0
        self._slots = [
            RemoteSlot(
                workers[(number // self._place["world_size"]) % len(workers)],
                recipe,
                self._place,
                number,
                stream,
                RestartBudget(max_restarts),
            )
            for number in self.numbers
        ]
        self._show_again: set[int] = set()

    def restart(self) -> None:
        """Makes every slot a recipe again: its stream starts over with the same seeds."""
        self.begin()
        for slot in self._slots:
            slot.renew("restart")

    def choose(self, places: list[int]) -> int:
        """Returns the first of these places, or where no order is asked for, the first that is ready.

        Every so often it is the first in any case, so that one that is slow, or lost, is not passed over for ever.
        """
        if self._ordered:
            return places[0]
        under_way = [place for place in places if self._slots[place].under_way()]
        if not under_way:
            return places[0]
        first, self._passed_over = self._slots[under_way[0]], self._passed_over + 1
        while self._passed_over < PATIENCE:
            for place in under_way:
                if self._slots[place].ready():
                    return place
            first.wait_until(lambda: any(self._slots[place].ready() for place in under_way))
        self._passed_over = 0
        return under_way[0]

    def next(self, place: int) -> TimeStep:
        """Returns the next timestep of the slot at `place`; a finite stream that is over starts over."""
        again = place in self._show_again
        self._show_again.discard(place)
        return self._slots[place].next(again)

    def again(self, *places: int) -> None:
        """Lets slots (all of them by default) show their outstanding timesteps once more, where they are unanswered."""
        self._show_again.update(places or range(len(self._slots)))

    def show_again(self, place: int) -> TimeStep:
        """Returns the outstanding timestep of the slot at `place`; an answer that it was given is dropped."""
        return self._slots[place].show_again()

    def left_behind(self, place: int) -> dict | None:
        """Returns the timestep that was handed out last, where the worker was asked for the next."""
        slot = self._slots[place]
        return pack_timestep(slot.outstanding) if slot.under_way() else None

    def close(self) -> None:
        """Ends the workers."""
        for worker in self._workers:
            worker.stop()
        for slot in self._slots:
            slot.forget()
        for env in self.envs:
            env.close()

    def num_bad_samples(self) -> int:
        """Returns how many samples of datasets the slots have left out; one that two of them met counts twice."""
        return sum(slot.num_bad_samples for slot in self._slots)

    def read(self, noted: str) -> list[dict[str, Any]]:
        """Returns what every slot has noted, by source: the property `noted` of its Env."""
        return [slot.read(noted) for slot in self._slots]

    def states(self) -> list[tuple[dict, bool]]:
        """Returns the state of every slot, and whether its outstanding timestep is still to be handed out."""
        return [slot.state_dict() for slot in self._slots]

    def load_states(self, states: list[tuple[dict, bool]]) -> None:
        """Restores every slot."""
        for slot, (state, ahead) in zip(self._slots, states, strict=True):
            slot.renew("load_state_dict", state=state, ahead=ahead)
