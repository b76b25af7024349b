"""What a worker process does: steps its slots as they are asked for, and writes their timesteps into shared memory."""

import io
import json
import os
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import torch

from aexp_torch.env import Env
from aexp_torch.loading.layout import ERROR_START, Layout
from aexp_torch.loading.revival import unpack_last
from aexp_torch.loading.shared import Bell, SharedMemory
from aexp_torch.loading.slots import Slots
from aexp_torch.specs import EnvSpec

__all__ = [
    "ANSWERED",
    "BAD_SAMPLES",
    "BLOCK",
    "CALL",
    "DONE",
    "ERROR",
    "MISSING",
    "NOT_DUE",
    "NUMBER_BYTES",
    "REQUEST",
    "SHOW_AGAIN",
    "SOURCE",
    "STEP",
    "Line",
    "pack",
    "read_error",
    "reply",
    "run",
    "unpack",
]

# The control words of a slot. The trainer writes the first three, the worker the others.
REQUEST = 0  # number of the timestep that is asked for
BLOCK = 1  # where it is to be written
ANSWERED = 2  # the place of the source whose answer comes with the request, or:
NOT_DUE, MISSING, SHOW_AGAIN = -1, -2, -3
DONE = 3  # number of the request that was done last
ERROR = 4  # bytes of error text instead of a timestep
SOURCE, STEP = 5, 6  # of the timestep
BAD_SAMPLES = 7  # how many samples of datasets were left out

CALL = -1  # on a worker's board, in place of a slot: a message is in the pipe
NUMBER_BYTES = 8  # with which a message begins, and the reply to it
ALIVE_SECONDS = 1.0  # how often a worker that has nothing to do looks whether its trainer is still there


class Line(NamedTuple):
    """Everything that ties one slot in a worker to the trainer.

    Args:
      env: the slot's environment, a recipe.
      place: its seed, number of slots and seed prefix.
      number: the slot.
      specs: of its sources.
      num_blocks: how many timesteps there is room for.
      memory: of the slot, laid out by `Layout`.
    """

    env: Env
    place: dict[str, Any]
    number: int
    specs: dict[str, EnvSpec]
    num_blocks: int
    memory: SharedMemory


class Runner:
    """Runs one slot."""

    def __init__(self, line: Line):
        self.slots = Slots(line.env, numbers=[line.number], **line.place)
        self.counts_bad_samples = self.slots.envs[0].skips_bad_samples
        self.memory = line.memory
        self.words = line.memory.words
        self.views = Layout(line.specs, line.num_blocks).over(line.memory.array)

    def step(self) -> None:
        """Takes the step that is asked for."""
        words = self.words
        answered = words[ANSWERED]
        try:
            if answered >= 0:
                timestep = self.slots.answer(0, self.views.read_answer(answered))
            elif answered == SHOW_AGAIN:
                timestep = self.slots.show_again(0)
            else:
                timestep = self.slots.go_on(0) if answered == MISSING else self.slots.next(0)
            words[SOURCE] = self.views.write(words[BLOCK], timestep)
            words[STEP] = timestep.ticket.step
            if self.counts_bad_samples:
                words[BAD_SAMPLES] = self.slots.num_bad_samples()
        except Exception as error:
            self._fail(error)
        words[DONE] = words[REQUEST]

    def _fail(self, error: Exception) -> None:
        """Tells the trainer what went wrong instead of a timestep."""
        told = _tell(error)
        text = json.dumps(
            {**told, "text": told["text"][:4000], "traceback": told["traceback"][-4000:]}, ensure_ascii=False
        )
        data = text.encode(errors="replace")
        self.memory.array[ERROR_START : ERROR_START + len(data)] = np.frombuffer(data, np.uint8)
        self.words[ERROR] = len(data)

    def call(self, method: str, arguments: dict) -> Any:
        """Does what is not a step: states, restarts and revivals."""
        if method == "state_dict":
            return self.slots.states()[0]
        if method == "read":
            return self.slots.read(arguments["noted"])[0]
        if method == "load_state_dict":
            self.slots.restart()
            self.slots.load_states([(arguments["state"], arguments["ahead"])])
        if method == "restart":
            self.slots.restart()
        if method == "revive":
            last = unpack_last(arguments["last"], self.slots.envs[0])
            self.slots.revive(0, last, arguments["restarts"], arguments["origin"])
        return None


def run(lines: list[Line], board: SharedMemory, work: Bell, trainer: Bell, connection: Connection) -> None:
    """Is the main function of a worker process; ends when the trainer says so, or has gone.

    Args:
      lines: its slots.
      board: word 0 counts what was asked, the other words are a ring of the slots that were asked, in turn.
      work: wakes this process.
      trainer: wakes the trainer.
      connection: for calls that are no steps.
    """
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):  # Ctrl-C and SLURM's signals are the trainer's
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not Lightning's handler, which waits for all ranks
    torch.set_num_threads(1)  # the cores are the workers'
    parent = os.getppid()
    words, size = board.words, len(board.words) - 1
    runners = [Runner(line) for line in lines]
    done = 0
    while True:
        if words[0] == done and not work.wait(lambda: words[0] != done, ALIVE_SECONDS):  # noqa: B023 (the loop's own)
            if os.getppid() != parent:
                return
            continue
        line = words[1 + done % size]
        done += 1
        if line == CALL:
            try:
                data = connection.recv_bytes()
            except EOFError:  # the trainer has gone
                return
            prefix, message = data[:NUMBER_BYTES], unpack(data[NUMBER_BYTES:])
            if message["method"] == "leave":
                return
            connection.send_bytes(prefix + pack(reply(runners, message)))
        else:
            runners[line].step()
        trainer.ring()


def reply(runners: list[Runner], message: dict) -> dict:
    """Does what a message asks for, and returns the result, or what went wrong."""
    try:
        runner = runners[message["line"]]
        return {"result": runner.call(message["method"], message["arguments"])}
    except Exception as error:
        return {"error": _tell(error)}


def _tell(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "text": str(error), "traceback": "".join(traceback.format_exception(error))}


def read_error(memory: np.ndarray, size: int) -> dict[str, str]:
    """Reads what a worker wrote instead of a timestep."""
    return json.loads(memory[ERROR_START : ERROR_START + size].tobytes())


def pack(message: dict) -> bytes:
    """Writes tensors and primitives."""
    buffer = io.BytesIO()
    torch.save(message, buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> dict:
    """Reads tensors and primitives, and nothing else."""
    return torch.load(io.BytesIO(data), weights_only=True)
