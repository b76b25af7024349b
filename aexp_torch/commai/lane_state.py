"""The plain objects of a conversation (its tasks, worlds and scheduler) as primitives, and back."""

import random
from typing import Any

import numpy as np
import torch

from aexp_torch.commai.schedulers import Scheduler
from aexp_torch.commai.task import Task
from aexp_torch.commai.world import World
from aexp_torch.errors import SpecError
from aexp_torch.sources.plain_state import Decoder, Encoder, Unstorable

__all__ = ["load_random_state", "load_scheduler_state", "random_state", "scheduler_state"]

LINKS = ("world", "sessions", "rng", "tasks", "lane")


def scheduler_state(scheduler: Scheduler) -> dict[str, Any]:
    """Returns the attributes of a scheduler, of its tasks, and of their worlds."""
    return {
        "scheduler": _attributes(scheduler),
        "tasks": [_attributes(task) for task in scheduler.tasks],
        "worlds": [_attributes(world) for world in _worlds(scheduler.tasks)],
    }


def load_scheduler_state(scheduler: Scheduler, state: dict[str, Any]) -> None:
    """Puts them back into a scheduler that was made of the same configuration."""
    owners = [scheduler, *scheduler.tasks, *_worlds(scheduler.tasks)]
    states = [state["scheduler"], *state["tasks"], *state["worlds"]]
    if len(owners) != len(states):
        raise SpecError(
            f"commai: expected the state of {len(owners)} tasks, worlds and schedulers, got {len(states)}. Load it with the"
            " configuration that it was taken with."
        )
    for owner, one in zip(owners, states, strict=True):
        decode = Decoder(_refuse_to_decode)
        vars(owner).update({name: decode(value, vars(owner).get(name)) for name, value in one.items()})


def random_state(rng: random.Random) -> dict[str, Any]:
    """Returns the state of a generator."""
    version, numbers, gauss = rng.getstate()
    return {"version": version, "numbers": torch.from_numpy(np.array(numbers, np.int64)), "gauss": gauss}


def load_random_state(rng: random.Random, state: dict[str, Any]) -> None:
    """Puts it back."""
    rng.setstate((state["version"], tuple(state["numbers"].tolist()), state["gauss"]))


def _worlds(tasks: list[Task]) -> list[World]:
    """Returns every world once."""
    return list({id(task.world): task.world for task in tasks if task.world is not None}.values())


def _attributes(owner: Any) -> dict[str, Any]:
    encode = Encoder(_refuse)
    try:
        state = {name: encode(value) for name, value in vars(owner).items() if name not in LINKS}
    except Unstorable as error:
        raise SpecError(
            f"commai: expected plain attributes of {type(owner).__name__}, whose state is to be taken: {error.reason}."
        ) from error
    encode.finish()
    return state


def _refuse(value: Any) -> dict:
    raise Unstorable(value)


def _refuse_to_decode(encoded: dict, existing: Any) -> Any:
    raise SpecError(f"commai: expected plain attributes in a state, got {encoded!r}.")
