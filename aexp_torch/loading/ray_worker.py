"""RayWorker: an actor that runs slots, on whichever machine of a Ray cluster it is placed, as the trainer sees it.

The memory of a slot is there twice, at the actor and here. A call of the actor carries the answer there; its result is the
block that the actor has written, in one piece, which is copied into the block here. Control words, lending, restarts and
states are those of worker processes. Calls are sent when a timestep is answered, so actors step while the trainer works.

Ray pickles environments and results between the machines of its cluster. States are tensors and primitives here, too.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
import torch
from ray import ObjectRef, cloudpickle
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from aexp_torch.errors import AexpError, SpecError
from aexp_torch.loading.layout import ERROR_START, Layout
from aexp_torch.loading.remote import Failure, RemoteWorker
from aexp_torch.loading.shared import SharedMemory
from aexp_torch.loading.worker import (
    ANSWERED,
    BAD_SAMPLES,
    BLOCK,
    DONE,
    ERROR,
    REQUEST,
    SOURCE,
    STEP,
    Line,
    Runner,
    pack,
    reply,
    unpack,
)

__all__ = ["RayWorker", "ray_workers"]

ATTRIBUTE = re.compile(r"\t\w+: ")  # of an actor, a line each in Ray's messages
COLOURS = re.compile(r"\x1b\[\d*m")
START_SECONDS = 300.0  # for a place on the cluster, the process and its imports
TOLD = (SOURCE, STEP, BAD_SAMPLES)
OURS = ("concurrency_groups", "lifetime", "max_concurrency", "max_restarts", "max_task_retries")


def ray_workers(count: int, options: dict | Sequence[dict] | None, step_timeout: float) -> "list[RayWorker]":
    """Returns workers that start together when the first of them is asked for a step.

    Args:
      count: how many.
      options: of `actor.options`, for all of them or a list of one each.
      step_timeout: seconds that each may take for a step.
    """
    each = [options or {}] * count if options is None or isinstance(options, dict) else list(options)
    if len(each) != count or not all(isinstance(one, dict) for one in each):
        raise SpecError(
            f"Loader: expected ray_options as a dict for all actors or a list of num_workers={count} dicts, got"
            f" {options!r}."
        )
    taken = sorted({name for one in each for name in OURS if name in one})
    if taken:
        raise SpecError(
            f"Loader: expected ray_options that say where actors run, got {taken}: when they are started again, and for"
            " how long they live, the Loader says (max_restarts=, close)."
        )
    inbox = Inbox()
    inbox.workers = [RayWorker(number, one, step_timeout, inbox) for number, one in enumerate(each)]
    return inbox.workers


class SlotActor:
    """Is what runs on the cluster: steps its slots as they are asked for.

    Args:
      slots: for each the place of its recipe, then place, number and specs as in `Line`.
      recipes: pickled environments; as bytes, since arrays that Ray itself takes from its store are read-only.
    """

    def __init__(self, slots: list[tuple[int, dict, int, dict]], *recipes: bytes):
        torch.set_num_threads(1)  # as in worker processes
        envs = [cloudpickle.loads(recipe) for recipe in recipes]
        self._runners, self._layouts = [], []
        for recipe, place, number, specs in slots:
            layout = Layout(specs, num_blocks=1)
            memory = SharedMemory(layout.size, f"slot {number}")
            self._runners.append(Runner(Line(envs[recipe], place, number, specs, 1, memory)))
            self._layouts.append(layout)

    def step(self, line: int, answered: int, answer: np.ndarray | None) -> tuple[list[int], np.ndarray]:
        """Takes a step.

        Args:
          line: the slot's place.
          answered: the control word.
          answer: uint8, as it lies in the slot's memory; None where there is none.

        Returns:
          The control words that the slot has written, and the block, uint8; or no words and the text of an error.
        """
        runner, layout = self._runners[line], self._layouts[line]
        words, memory = runner.words, runner.memory.array
        words[ANSWERED], words[BLOCK], words[ERROR] = answered, 0, 0
        if answer is not None:
            memory[layout.answers] = answer
        runner.step()
        if words[ERROR]:
            return [], memory[ERROR_START : ERROR_START + words[ERROR]]
        return [words[word] for word in TOLD], memory[layout.span(0)]

    def exchange(self, message: bytes) -> bytes:
        """Does what is not a step; messages are tensors and primitives."""
        return pack(reply(self._runners, unpack(message)))


class Inbox:
    """Knows which results the actors of a loader owe, and puts them where their slots look for them."""

    def __init__(self):
        self.workers: list[RayWorker] = []
        self._due: dict[ObjectRef, tuple[RayWorker, int]] = {}
        self._recipes: dict[int, ObjectRef] = {}

    def recipe(self, line: Line) -> ObjectRef:
        """Returns the line's environment in the object store, where it is put once for all slots and restarts."""
        if id(line.env) not in self._recipes:
            self._recipes[id(line.env)] = ray.put(cloudpickle.dumps(line.env))
        return self._recipes[id(line.env)]

    def expect(self, result: ObjectRef, worker: "RayWorker", line: int) -> None:
        """Waits for the result of a step, from now on."""
        self._due[result] = worker, line

    def forget(self, worker: "RayWorker") -> None:
        """Waits no longer for a worker that is gone."""
        self._due = {result: due for result, due in self._due.items() if due[0] is not worker}

    def empty(self) -> None:
        """Takes the environments out of the object store once no worker runs."""
        if not any(worker.running for worker in self.workers):
            self._recipes = {}

    def receive(self, timeout: float) -> bool:
        """Puts the next result that comes within `timeout` seconds in its place; returns whether one came."""
        results, _ = ray.wait(list(self._due), timeout=max(0.0, timeout))
        for result in results:
            worker, line = self._due.pop(result)
            worker.deliver(line, result)
        return bool(results)


class RayWorker(RemoteWorker):
    """Is one actor, or the next one in its place.

    Args:
      number: names it in messages.
      options: of `actor.options`.
      step_timeout: seconds that it may take for a step.
      inbox: of all workers of a loader.
    """

    _actor: Any = None

    def __init__(self, number: int, options: dict, step_timeout: float, inbox: Inbox):
        super().__init__(number, step_timeout)
        self._options = {"num_cpus": 1, **options}
        self._inbox = inbox
        self._layouts: dict[int, Layout] = {}

    @property
    def running(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._actor is not None

    def start(self) -> None:
        """Has Ray start the actor, and those of the other workers; does not wait for them."""
        for worker in self._inbox.workers:
            worker._start()

    def _start(self) -> None:
        if self._actor is not None or not self._lines:
            return
        recipes = list(dict.fromkeys(self._inbox.recipe(line) for line in self._lines))
        slots = [(recipes.index(self._inbox.recipe(line)), line.place, line.number, line.specs) for line in self._lines]
        options = {**self._options, "max_restarts": 0, "max_task_retries": 0}  # a new one has to be told where to go on
        self._actor = ray.remote(SlotActor).options(**options).remote(slots, *recipes)
        self._ready: ObjectRef | None = self._actor.__ray_ready__.remote()
        self._lost: RayError | None = None

    def ask(self, line: int) -> None:
        """Has a slot take the step that its control words describe; starts the worker where that is needed."""
        if self._actor is None:
            self.start()
        memory = self._lines[line].memory
        answered, answer = memory.words[ANSWERED], None
        if answered >= 0:
            answer = memory.array[self._layout(line).answers]
        self._inbox.expect(self._actor.step.remote(line, answered, answer), self, line)

    def _layout(self, line: int) -> Layout:
        layout = self._layouts.get(line)
        if layout is None:
            layout = self._layouts[line] = Layout(self._lines[line].specs, self._lines[line].num_blocks)
        return layout

    def deliver(self, line: int, result: ObjectRef) -> None:
        """Puts the result of a step in the memory of its slot."""
        try:
            told, data = ray.get(result, timeout=self.step_timeout)
        except RayError as error:  # whoever waits for this worker hears of it
            self._lost = error
            return
        memory = self._lines[line].memory
        words = memory.words
        if told:
            for word, value in zip(TOLD, told):
                words[word] = value
            memory.array[self._layout(line).span(words[BLOCK])] = data
        else:
            memory.array[ERROR_START : ERROR_START + len(data)] = data
            words[ERROR] = len(data)
        words[DONE] = words[REQUEST]

    def wait_for(self, ready: Callable[[], Any], who: str) -> None:
        """Waits until `ready()`.

        Raises:
          Failure: the actor has ended, or `step_timeout` seconds are over.
          AexpError: it could not be started.
        """
        deadline = 0.0
        while not ready():
            if self._lost is not None:
                raise self._failure(who, self._lost)
            self._wait_for_start(who)
            now = time.monotonic()
            deadline = deadline or now + self.step_timeout
            if not self._inbox.receive(deadline - now):
                raise self.too_slow(who)

    def exchange(self, message: bytes, who: str) -> bytes:
        """Sends a message and returns the reply."""
        self.start()
        self._wait_for_start(who)
        try:
            return ray.get(self._actor.exchange.remote(message), timeout=self.step_timeout)
        except GetTimeoutError:
            raise self.too_slow(who) from None
        except RayError as error:
            raise self._failure(who, error) from None

    def _wait_for_start(self, who: str) -> None:
        if self._ready is None:
            return
        try:
            ray.get(self._ready, timeout=START_SECONDS)
        except GetTimeoutError:
            asked = {name: value for name, value in self._options.items() if value}
            raise AexpError(
                f"{who}: expected Ray to start {self} within {START_SECONDS:g} s, asked for {asked}, it has not. The"
                f" cluster has {_numbers(ray.cluster_resources())}, of which {_numbers(ray.available_resources())} are"
                " free. Ask for less (ray_options=, num_workers=), or add nodes."
            ) from None
        except RayError as error:
            raise self._failure(who, error) from None
        self._ready = None

    def _failure(self, who: str, error: RayError) -> Failure | AexpError:
        """Returns what to raise where an actor is lost."""
        text = COLOURS.sub("", str(error))
        if isinstance(error, RayActorError) and error.actor_init_failed:
            return Failure(who, f"expected {self} to start as a Ray actor, it failed.", text).error(
                " Every node needs the same packages (Ray's runtime_env can bring them)."
            )
        reason = " ".join(line.strip() for line in text.splitlines() if not ATTRIBUTE.match(line))
        return Failure(who, f"expected {self} to run, its Ray actor was lost: {reason.partition(' Some common')[0]}")

    def kill(self) -> None:
        """Ends it at once."""
        if self._actor is not None:
            actor, self._actor = self._actor, None
            self._inbox.forget(self)
            ray.kill(actor)

    def stop(self) -> None:
        """Ends it, if this process has started it."""
        if self._owner == os.getpid() and ray.is_initialized():  # else Ray has ended it
            self.kill()
        self._actor = None
        self._inbox.forget(self)
        self._inbox.empty()

    def __del__(self):
        self.stop()


def _numbers(resources: dict[str, float]) -> dict[str, float]:
    """Leaves out what names a node or counts bytes."""
    return {name: value for name, value in resources.items() if not name.startswith("node:") and "memory" not in name}
