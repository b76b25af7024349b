"""Does one experience go through everything that is installed, for 100,000 steps, and can it be resumed in its middle?

An agent that acts at random goes through the catalogue, visits at random. Printed as JSON: how often each environment was
visited, steps/s, resident memory when each was visited once and at the end, and whether the state of the middle, loaded
into a fresh experience, gives the same next timesteps bit for bit. Run `python -m benchmarks.lifelong`.
"""

import argparse
import gc
import hashlib
import io
import json
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import torch

import aexp_torch as ae
from aexp_torch.specs import flatten
from benchmarks.questions.memory import MIB, memory_of

SAMPLES = 20  # of memory, at most
BETWEEN = 400  # timesteps between them, at least


def experience(
    visit_steps: int, include: list[str] | None, exclude: list[str] | None, max_open: int | None
) -> ae.AEEnv:
    """Returns what is measured; it answers itself, at random, from a generator whose state is in its own."""
    steps = max(1, visit_steps // 2), visit_steps
    return ae.ArtificialExperience(include, exclude, steps=steps, max_open=max_open, on_missing="sample")


def digest(timestep: ae.TimeStep) -> str:
    """Returns what two timesteps have in common only if they are equal bit for bit."""
    found = hashlib.sha256(f"{timestep.source} {timestep.ticket.step}".encode())
    for path, leaf in flatten(dict(zip(timestep._fields[:4], timestep[:4], strict=True))):
        found.update(repr(path).encode())
        if leaf is not None:
            found.update(leaf.contiguous().numpy().tobytes())
    return found.hexdigest()


def resident() -> float:
    """Returns this process's resident memory in MiB."""
    gc.collect()
    return round(memory_of(os.getpid(), "Rss") / MIB, 1)


def saved(env: ae.AEEnv) -> bytes | None:
    """Returns the state; None amid a visit to an environment that gives none."""
    file = io.BytesIO()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        torch.save(env.state_dict(), file)
    return None if any("amid a visit" in str(each.message) for each in warned) else file.getvalue()


def measure(steps: int, visit_steps: int, check_steps: int, **options: object) -> dict:
    """Goes through everything.

    Args:
      steps: timesteps in all.
      visit_steps: of a visit, at most.
      check_steps: timesteps after the middle that are compared with those of the resumed experience.
      options: for `experience`.
    """
    env = experience(visit_steps, **options)
    began = time.perf_counter()
    stream = iter(env)
    next(stream)
    first_seconds = time.perf_counter() - began
    steps_of: Counter[str] = Counter()
    memory: list[float] = []
    memory_all_visited: float | None = None
    state, expected = None, []
    begin = time.perf_counter()
    for step, timestep in enumerate(islice(stream, steps - 1), 2):
        steps_of[timestep.source] += 1
        if state is not None and len(expected) < check_steps:
            expected.append(digest(timestep))
        if state is None and step >= steps // 2:
            state = saved(env)
        if memory_all_visited is None and step % 50 == 0 and len(env.visits) >= len(env.available) + broken(env):
            memory_all_visited = resident()
        if step % max(BETWEEN, steps // SAMPLES) == 0:
            memory.append(resident())
    seconds = time.perf_counter() - begin
    names = {env.environments[place].name for place in env.available}
    result = {
        "steps": steps,
        "environments": len(env.available),
        "first_timestep_seconds": round(first_seconds, 2),
        "steps_per_second": round(steps / seconds, 1),
        "visits": sum(env.visits.values()),
        "fewest_visits": min(env.visits.values()),
        "never_visited": sorted(names - set(env.visits)),
        "left_out": env.left_out,
        "memory_mib_all_visited": memory_all_visited,
        "memory_mib_end": resident(),
        "memory_mib": memory,
        "state_mib": round(len(state or b"") / MIB, 1),
    }
    env.close()
    del env, stream, timestep
    result["resumed_equal"] = resumed(state, expected, visit_steps, **options) if state else None
    result["compared"] = len(expected)
    return result


def broken(env: ae.AEEnv) -> int:
    """Returns how many were visited, but take part no more."""
    return sum(name in env.visits for name in env.left_out)


def resumed(state: bytes, expected: list[str], visit_steps: int, **options: object) -> int:
    """Returns how many timesteps of a resumed experience are as expected, up to the first that is not."""
    env = experience(visit_steps, **options)
    env.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
    stream: Iterator[ae.TimeStep] = iter(env)
    if env.specs[env._outstanding.source].action:
        next(stream)  # it was not answered: it comes again
    equal = 0
    for timestep, digested in zip(stream, expected, strict=False):
        if digest(timestep) != digested:
            break
        equal += 1
    env.close()
    return equal


def main(arguments: list[str] | None = None) -> None:
    """Prints the measurement as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--visit_steps", type=int, default=40)
    parser.add_argument("--check_steps", type=int, default=1_000)
    parser.add_argument("--include", nargs="*")
    parser.add_argument("--exclude", nargs="*")
    parser.add_argument("--max_open", type=int)
    print(json.dumps(measure(**vars(parser.parse_args(arguments))), indent=2))


if __name__ == "__main__":
    main()
