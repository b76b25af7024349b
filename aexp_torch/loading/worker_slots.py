"""WorkerSlots: the slots of one environment in worker processes, asked in turn like those in this one.

Each slot has a piece of shared memory: control words, its answer, and blocks for timesteps. A timestep that is handed out
is a view of its block, without a copy; the block is lent until the last tensor on it has gone (a weak reference to the
array under the tensors tells). The worker writes the next timestep into another block. Where all but one are lent, a
timestep is copied instead, so nothing that somebody still holds is ever written over.
"""

import copy
import multiprocessing
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from aexp_torch import errors
from aexp_torch.env import Env
from aexp_torch.errors import AexpError
from aexp_torch.feedback import Mailbox
from aexp_torch.loading.layout import Layout
from aexp_torch.loading.shared import SharedMemory, Signal
from aexp_torch.loading.slots import SlotTurns
from aexp_torch.loading.worker import (
    CONTROL_BYTES,
    MISSING,
    NEXT,
    NOT_DUE,
    Answers,
    Line,
    pack,
    read_error,
    run,
    unpack,
)
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import Ticket, TimeStep

__all__ = ["Worker", "WorkerSlots"]

NUM_BLOCKS = 6
ALIVE_SECONDS = 0.5  # how often a trainer that waits looks whether its worker is still there


class Worker:
    """Is one worker process, started when it is first needed.

    Args:
      number: names it in messages.
      context: `fork`, `spawn` or `forkserver`.
      step_timeout: seconds that it may take for a step.
    """

    def __init__(self, number: int, context: str, step_timeout: float):
        self.number, self.step_timeout = number, step_timeout
        self._context: Any = multiprocessing.get_context(context)
        self._owner = os.getpid()
        self._lines: list[Line] = []
        self._process: Any = None

    def add(self, line: Line) -> int:
        """Gives it one more slot to run, and returns the slot's place."""
        self._lines.append(line)
        return len(self._lines) - 1

    def start(self) -> None:
        """Starts the process; does nothing where it runs."""
        if self._process is None:
            self.work = Signal()
            self.connection, theirs = self._context.Pipe()
            arguments = (self._lines, self.work, theirs)
            self._process = self._context.Process(
                target=run, args=arguments, name=f"aexp-worker-{self.number}", daemon=True
            )
            self._process.start()
            theirs.close()

    @property
    def running(self) -> bool:
        """Whether the process has been started and not stopped."""
        return self._process is not None

    def wait_for(self, ready: Callable[[float], bool], who: str) -> None:
        """Waits until `ready(seconds)` says so, as long as the process lives and for `step_timeout` seconds at most."""
        deadline = time.monotonic() + self.step_timeout
        while not ready(ALIVE_SECONDS):
            self._check_alive(who)
            if time.monotonic() > deadline:
                raise AexpError(
                    f"{who}: expected worker {self.number} to take a step within {self.step_timeout:g} s, it is still at"
                    " it. Give step_timeout= where a step may take longer; num_workers=0 shows where it hangs."
                )

    def _check_alive(self, who: str) -> None:
        if not self._process.is_alive():
            raise AexpError(
                f"{who}: expected worker {self.number} to run, it ended with exit code {self._process.exitcode}. Use"
                " num_workers=0 to see what happens in it."
            )

    def call(self, line: int, method: str, **arguments: Any) -> Any:
        """Has the worker do something that is no step, and returns the result."""
        self.start()
        self.connection.send_bytes(pack({"line": line, "method": method, "arguments": arguments}))
        self.work.set()
        self.wait_for(self.connection.poll, "Loader")
        reply = unpack(self.connection.recv_bytes())
        if "error" in reply:
            raise_again(reply["error"], f"worker {self.number}")
        return reply["result"]

    def __del__(self):
        self.stop()

    def stop(self) -> None:
        """Ends the process."""
        if self._process is not None and self._owner == os.getpid():  # not in a child that was forked meanwhile
            process, self._process = self._process, None
            if process.is_alive():
                try:
                    self.connection.send_bytes(pack({"method": "leave"}))
                    self.work.set()
                except OSError:  # it has just gone
                    pass
            process.join(2.0)
            if process.is_alive():
                process.kill()
                process.join()
            self.connection.close()


def raise_again(error: dict[str, str], where: str) -> None:
    """Raises what a worker reported, as the same type where it is one of ours."""
    kind = getattr(errors, error["type"], None)
    raised = (kind or AexpError)(error["text"] if kind else f"{error['type']}: {error['text']}")
    raised.add_note(f"in {where}:\n{error['traceback']}")
    raise raised


class Stream:
    """Is what an answer is checked by, on this side: specs and settings of a slot that runs elsewhere."""

    def __init__(self, env: Env):
        self.specs: dict[str, EnvSpec] = env.specs
        self.on_missing, self.feedback_timeout = env.on_missing, env.feedback_timeout
        self.action_check = env.action_check


class SlotMailbox(Mailbox):
    """Sends an answer on to the worker as soon as it has been checked."""

    def __init__(self, source: str, slot: int, line: "RemoteSlot"):
        super().__init__(source, slot)
        self._line = line

    def post(self, step: int, action: Any, ended: Any) -> None:
        """Takes the answer to `step`; see `TimeStep.reply`."""
        new = self.action is None
        super().post(step, action, ended)
        if new and self.action is not None:
            self._line.ask(self.action)


class Lease(np.ndarray):
    """Is shared memory of which a slice lives as long as any array on it.

    An array keeps alive the last of its bases that is of its own class; between plain arrays, a slice is skipped.
    """


class RemoteSlot:
    """Is this side of one slot in a worker.

    Args:
      worker: runs it.
      env: its environment, a recipe.
      place: seed, number of slots and seed prefix.
      number: the slot.
      stream: specs and settings.
    """

    def __init__(self, worker: Worker, env: Env, place: dict[str, Any], number: int, stream: Stream):
        self.worker, self.number, self._stream = worker, number, stream
        self._layout, self._answers = Layout(stream.specs), Answers(stream.specs)
        size = self._answers.end + NUM_BLOCKS * self._layout.size
        self._memory = SharedMemory(size, f"{env.name!r}, slot {number}")
        self._blocks = self._memory.array.view(Lease)
        self._control = self._memory.array[:CONTROL_BYTES].view(np.int64)
        self._ready = Signal()
        self._line = worker.add(Line(env, place, number, stream.specs, self._memory, self._ready))
        self._mailboxes: dict[str, SlotMailbox] = {}
        self._free = deque(range(NUM_BLOCKS))
        self._lent: dict[int, weakref.ref] = {}
        self._asked: int | None = None  # the block that the worker is writing
        self.outstanding: TimeStep | None = None

    def ask(self, action: dict | None, source: int = NOT_DUE) -> None:
        """Tells the worker to take the next step, with an answer if one was due."""
        self.worker.start()
        block = self._asked = self._free.popleft()
        if action is not None:
            source = self._answers.sources.index(self.outstanding.source)
            self._answers.write(self._memory.array, source, action)
        self._control[1:4] = block, source, 0
        self._control[0] = NEXT
        self.worker.work.set()

    def wait(self) -> None:
        """Waits until the timestep that was asked for is there."""
        self.worker.wait_for(self._ready.wait, f"slot {self.number}")
        failed = int(self._control[3])
        if failed:
            self._control[3] = 0
            self._free.append(self._asked)
            self._asked = None
            raise_again(read_error(self._memory.array, failed), f"worker {self.worker.number}")

    def next(self, again: bool) -> TimeStep:
        """Returns the next timestep, or the outstanding one once more where it is unanswered."""
        if self._asked is None:
            unanswered = self.outstanding is not None and not self.outstanding.ticket._address.settled()
            if unanswered and again:
                return self.outstanding
            if unanswered and self._stream.on_missing == "error":
                self.outstanding.ticket._address.take()
            self.ask(None, MISSING if unanswered else NOT_DUE)
        self.wait()
        return self._receive()

    def show_again(self) -> TimeStep:
        """Returns the worker's outstanding timestep once more; an answer that it was given is dropped."""
        self._asked = self._free.popleft()
        self._control[3] = 0
        self.worker.call(self._line, "show_again", block=self._asked)
        self.wait()
        return self._receive()

    def _receive(self) -> TimeStep:
        block, self._asked = self._asked, None
        start = self._answers.end + block * self._layout.size
        lease = self._blocks[start : start + self._layout.size]
        if self._free:
            free, lent = self._free, self._lent

            def give_back(_: Any) -> None:
                lent.pop(block)
                free.append(block)

            self._lent[block] = weakref.ref(lease, give_back)
        else:
            lease = lease.copy()
            self._free.append(block)
        self.outstanding = self._layout.read(lease, self._ticket)
        if not self._stream.specs[self.outstanding.source].action:
            self.ask(None)
        return self.outstanding

    def _ticket(self, source: str, step: int) -> Ticket:
        mailbox = self._mailboxes.get(source)
        if mailbox is None:
            mailbox = self._mailboxes[source] = SlotMailbox(source, self.number, self)
            mailbox.owner = cast(Env, self._stream)
        mailbox.previous, mailbox.action, mailbox.step = mailbox.action, None, step
        return Ticket(source, self.number, step, mailbox)

    def state_dict(self) -> tuple[dict, bool]:
        """Returns the environment's state, and whether its outstanding timestep is still to be handed out."""
        ahead = self._asked is not None
        if ahead:
            self.wait()
            self._ready.set()  # what was waited for stays there
        return self.worker.call(self._line, "state_dict"), ahead

    def call(self, method: str, **arguments: Any) -> None:
        """Restarts or restores the stream."""
        if self._asked is not None:
            self.wait()
        self.worker.call(self._line, method, **arguments)
        self.forget()

    def forget(self) -> None:
        """Starts from nothing, here: the worker's stream was restarted, restored or ended. Later answers are refused."""
        for mailbox in self._mailboxes.values():
            mailbox.close()
        self._mailboxes = {}
        if self._asked is not None:
            self._free.append(self._asked)
        self._asked, self.outstanding = None, None
        self._control[:4] = 0
        while self._ready.wait(0):  # a timestep that nobody has taken
            pass


class WorkerSlots(SlotTurns):
    """Runs this rank's slots of one environment in worker processes and takes their timesteps in turn.

    Args:
      env: the environment; it is copied, slot by slot.
      seed: S of all seeds.
      numbers: the slots of this rank.
      num_slots: how many there are on all ranks.
      seed_prefix: put before source names in seeds.
      workers: the processes; slot s goes to worker `(s // world_size) % len(workers)`.
      world_size: number of ranks.
    """

    def __init__(
        self,
        env: Env,
        seed: int,
        numbers: list[int],
        num_slots: int,
        seed_prefix: str,
        workers: list[Worker],
        world_size: int,
    ):
        super().__init__(env, seed, numbers, num_slots, seed_prefix)
        self.begin()
        stream = Stream(self.envs[0])
        self._workers = workers
        self._slots = [
            RemoteSlot(workers[(number // world_size) % len(workers)], copy.copy(member), self._place, number, stream)
            for number, member in zip(numbers, self.envs, strict=True)
        ]
        self._show_again: set[int] = set()

    def restart(self) -> None:
        """Makes every slot a recipe again: its stream starts over with the same seeds."""
        self.begin()
        for slot in self._slots:
            if slot.worker.running:
                slot.call("restart")

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

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._workers:
            worker.stop()
        for slot in self._slots:
            slot.forget()
        for env in self.envs:
            env.close()

    def states(self) -> list[tuple[dict, bool]]:
        """Returns the state of every slot, and whether its outstanding timestep is still to be handed out."""
        return [slot.state_dict() for slot in self._slots]

    def load_states(self, states: list[tuple[dict, bool]]) -> None:
        """Restores every slot."""
        for slot, (state, ahead) in zip(self._slots, states, strict=True):
            slot.call("load_state_dict", state=state, ahead=ahead)
