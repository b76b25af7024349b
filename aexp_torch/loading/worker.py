"""What a worker process does: steps its slots when it is told to, and writes their timesteps into shared memory."""

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
from aexp_torch.loading.layout import Layout
from aexp_torch.loading.shared import SharedMemory, Signal
from aexp_torch.loading.slots import Slots
from aexp_torch.specs import EnvSpec, flatten, unflatten

__all__ = ["CONTROL_BYTES", "MISSING", "NEXT", "NOT_DUE", "Answers", "Line", "pack", "read_error", "run", "unpack"]

CONTROL_BYTES = 64  # int64: command, block, source answered, bytes of error text
ERROR_BYTES = 65536  # behind the control words: what went wrong, as JSON of 8,000 characters, up to 6 bytes each
IDLE, NEXT = 0, 1
NOT_DUE, MISSING = -1, -2  # in place of the source answered
ALIVE_SECONDS = 1.0  # how often a worker that has nothing to do looks whether its trainer is still there


class Line(NamedTuple):
    """Everything that ties one slot in a worker to the trainer.

    Args:
      env: the slot's environment, a recipe.
      place: its seed, number of slots and seed prefix.
      number: the slot.
      specs: of its sources.
      memory: control words, the answer, then blocks for timesteps.
      ready: wakes the trainer when a timestep is there.
    """

    env: Env
    place: dict[str, Any]
    number: int
    specs: dict[str, EnvSpec]
    memory: SharedMemory
    ready: Signal


class Answers:
    """Where the leaves of an answer lie behind the control words."""

    def __init__(self, specs: dict[str, EnvSpec]):
        self.sources = list(specs)
        self.fields = [self._fields(spec) for spec in specs.values()]
        ends = [offset + size for fields in self.fields for *_, offset, size in fields]
        self.end = -(-max([CONTROL_BYTES + ERROR_BYTES, *ends]) // 64) * 64

    def _fields(self, spec: EnvSpec) -> list[tuple]:
        fields, offset = [], CONTROL_BYTES + ERROR_BYTES
        for path, leaf in flatten(spec.action):
            shape = (spec.num_envs, *leaf.shape)
            size = int(np.prod(shape)) * leaf.dtype.itemsize
            fields.append((path, leaf.dtype, shape, offset, size))
            offset = -(-(offset + size) // 64) * 64
        return fields

    def write(self, memory: np.ndarray, source: int, action: dict) -> None:
        """Copies a checked answer of the source at place `source`."""
        leaves = dict(flatten(action))
        for path, dtype, shape, offset, _ in self.fields[source]:
            np.ndarray(shape, dtype, memory, offset)[...] = leaves[path].numpy()

    def read(self, memory: np.ndarray, source: int) -> dict:
        """Returns a copy of the answer."""
        items = [
            (path, torch.from_numpy(np.ndarray(shape, dtype, memory, offset).copy()))
            for path, dtype, shape, offset, _ in self.fields[source]
        ]
        return unflatten(items)


class Runner:
    """Runs one slot."""

    def __init__(self, line: Line):
        self.line = line
        self.slots = Slots(line.env, numbers=[line.number], **line.place)
        self.layout, self.answers = Layout(line.specs), Answers(line.specs)
        self.control = line.memory.array[:CONTROL_BYTES].view(np.int64)

    def obey(self) -> None:
        """Takes the step that is asked for, if one is."""
        command, block, answered, _ = self.control[:4].tolist()
        if command != NEXT:
            return
        outstanding = self.slots.envs[0]._outstanding
        if answered >= 0:
            outstanding.ticket._address.action = self.answers.read(self.line.memory.array, answered)
        elif answered == MISSING:
            outstanding.ticket._address.go_on()
        self._show(self.slots.next(0), block)

    def _show(self, timestep: Any, block: int) -> None:
        start = self.answers.end + block * self.layout.size
        self.layout.write(self.line.memory.array[start : start + self.layout.size], timestep)
        self.control[0] = IDLE
        self.line.ready.set()

    def fail(self, error: Exception) -> None:
        """Tells the trainer what went wrong instead of a timestep."""
        told = _tell(error)
        text = json.dumps(
            {**told, "text": told["text"][:4000], "traceback": told["traceback"][-4000:]}, ensure_ascii=False
        )
        data = text.encode(errors="replace")
        self.line.memory.array[CONTROL_BYTES : CONTROL_BYTES + len(data)] = np.frombuffer(data, np.uint8)
        self.control[0], self.control[3] = IDLE, len(data)
        self.line.ready.set()

    def call(self, method: str, arguments: dict) -> Any:
        """Does what is not a step: states and restarts."""
        if method == "state_dict":
            return self.slots.envs[0].state_dict()
        if method == "load_state_dict":
            self.slots.restart()
            self.slots.load_states([(arguments["state"], arguments["ahead"])])
        if method == "restart":
            self.slots.restart()
        if method == "show_again":
            self._show(self.slots.show_again(0), arguments["block"])
        return None


def run(lines: list[Line], work: Signal, connection: Connection) -> None:
    """Is the main function of a worker process; ends when the trainer says so, or has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's
    torch.set_num_threads(1)  # the cores are the workers'
    trainer = os.getppid()
    runners = [Runner(line) for line in lines]
    while os.getppid() == trainer:
        if not work.wait(ALIVE_SECONDS):
            continue
        while connection.poll():
            message = unpack(connection.recv_bytes())
            if message["method"] == "leave":
                return
            connection.send_bytes(pack(_reply(runners, message)))
        for runner in runners:
            try:
                runner.obey()
            except Exception as error:
                runner.fail(error)


def _reply(runners: list[Runner], message: dict) -> dict:
    try:
        runner = runners[message["line"]]
        return {"result": runner.call(message["method"], message["arguments"])}
    except Exception as error:
        return {"error": _tell(error)}


def _tell(error: Exception) -> dict[str, str]:
    return {"type": type(error).__name__, "text": str(error), "traceback": "".join(traceback.format_exception(error))}


def read_error(memory: np.ndarray, size: int) -> dict[str, str]:
    """Reads what `Runner.fail` wrote."""
    return json.loads(memory[CONTROL_BYTES : CONTROL_BYTES + size].tobytes())


def pack(message: dict) -> bytes:
    """Writes tensors and primitives."""
    buffer = io.BytesIO()
    torch.save(message, buffer)
    return buffer.getvalue()


def unpack(data: bytes) -> dict:
    """Reads tensors and primitives, and nothing else."""
    return torch.load(io.BytesIO(data), weights_only=True)
