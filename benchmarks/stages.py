"""What does a stage cost, in microseconds per step of 64 lanes?

The bare source and the same source with the stage step in turns in one process, a few steps at a time, with the same
seed and answers; a figure is the median of the differences. Run `python -m benchmarks.stages --out docs/benchmarks`.
"""

import argparse
import gc
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dm_env import specs
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

import aexp_torch as ae
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing import CountingEnv
from benchmarks.machine import describe
from benchmarks.payloads import PayloadEnv
from benchmarks.report import number, table

__all__ = ["CHAIN", "CHAIN_MICROSECONDS", "EMPTY_MICROSECONDS", "STAGES", "Cost", "main", "measure"]

LANES = 64
EMPTY_MICROSECONDS, CHAIN_MICROSECONDS = 3.0, 150.0  # the most that they may cost
EMPTY, TEN = "empty stage", "ten cheap stages"
Answer = dict[str, Any]
Build = Callable[[ae.Env], ae.Env]


class Empty(ae.Stage):
    """Has no hooks."""


class Torques(PayloadEnv):
    """Takes real numbers within bounds."""

    def make_specs(self) -> dict[str, ae.EnvSpec]:
        """Replaces the action."""
        action = {"action": specs.BoundedArray((1,), np.float32, -2.0, 2.0)}
        modalities: dict[str, Any] = {}
        return {
            name: replace(spec, action=action, modalities=modalities) for name, spec in super().make_specs().items()
        }


SOURCES: dict[str, Callable[[], ae.Env]] = {
    "CartPole-v1": lambda: ae.GymnasiumEnv("CartPole-v1", LANES),
    "counters": lambda: CountingEnv(LANES, [200] * LANES),  # they can be held lane by lane
    "nested counters": lambda: CountingEnv(LANES, [200] * LANES, nested=True),  # with a choice of 64
    "torques": lambda: Torques("vector"),  # actions are real numbers
    "colours": lambda: PayloadEnv("colours"),  # uint8 [84, 84, 3]
    "frames": lambda: PayloadEnv("frames"),  # uint8 [84, 84]
}


def halved(observation: dict) -> dict:
    """Is a user's function."""
    return {**observation, "half": observation["observation"] * 0.5}


def nothing(timestep: ae.TimeStep, scores: torch.Tensor) -> torch.Tensor:
    """Is a Teacher's buffer that nothing enters: a snapshot costs what the simulator makes it."""
    return torch.zeros(len(scores), dtype=torch.bool)


def keep_ratio(answer: Answer) -> Answer:
    """Asks for one agent step per environment step."""
    return {**answer, "ratio": torch.ones(LANES)}


def on(source: str, stage: type[ae.Env], **options: Any) -> tuple[str, Build]:
    """Names a source and the stage above it."""
    return source, lambda env: env.pipe(stage, **options)


CART = "CartPole-v1"
CHAIN: tuple[tuple[type[ae.Env], dict[str, Any]], ...] = (
    (ae.ObserveReward, {}),
    (ae.ObserveActions, {}),
    (ae.Advantage, {}),
    (ae.PenalizeCompute, {}),
    (ae.ClipReward, {"min_reward": -1, "max_reward": 1}),
    (ae.NormalizeReward, {}),
    (ae.ClipObservation, {"minimum": -10, "maximum": 10, "keys": "observation"}),
    (ae.Noisy, {"std": 0.01, "keys": "observation"}),
    (ae.Dropout, {"p": 0.05, "keys": "observation"}),
    (ae.FrameStack, {"keys": "observation"}),
)


def chain(env: ae.Env) -> ae.Env:
    """Puts all of CHAIN around a source."""
    for stage, options in CHAIN:
        env = env.pipe(stage, **options)
    return env


STAGES: dict[str, tuple[str, Build]] = {
    EMPTY: on(CART, Empty),
    TEN: (CART, chain),
    "Advantage": on(CART, ae.Advantage),
    "Augment": on(CART, ae.Augment),
    "ClipAction": on("torques", ae.ClipAction),
    "ClipObservation": on(CART, ae.ClipObservation, minimum=-10, maximum=10),
    "ClipReward": on(CART, ae.ClipReward, min_reward=-1, max_reward=1),
    "DropKeyValue": on(CART, ae.DropKeyValue),
    "Dropout": on(CART, ae.Dropout),
    "Dropout, rows": on(CART, ae.Dropout, granularity="row"),
    "DynamicTimescaled, ratio 1": on("counters", ae.DynamicTimescaled),
    "Flatten": on("nested counters", ae.Flatten),
    "FrameSkip, 1 frame": on("counters", ae.FrameSkip, skip=1),
    "FrameStack": on(CART, ae.FrameStack),
    "Grayscale": on("colours", ae.Grayscale),
    "Lambda": on(CART, ae.Lambda, obs=halved),
    "Noisy": on(CART, ae.Noisy),
    "NormalizeObservation": on(CART, ae.NormalizeObservation),
    "NormalizeReward": on(CART, ae.NormalizeReward),
    "ObserveActions": on(CART, ae.ObserveActions),
    "ObserveActions, executed": on(CART, ae.ObserveActions, which="executed"),
    "ObserveReward": on(CART, ae.ObserveReward),
    "ObserveReward, history of 4": on(CART, ae.ObserveReward, history=4),
    "OneHot": on("nested counters", ae.OneHot, keys="where/lane"),
    "PenalizeCompute": on(CART, ae.PenalizeCompute),
    "PredictInputs": on(CART, ae.PredictInputs),
    "Repeat": on(CART, ae.Repeat),
    "ReplayBuffer": on(CART, ae.ReplayBuffer, capacity=100_000),
    "RescaleAction": on("torques", ae.RescaleAction),
    "Resize to 42 x 42": on("frames", ae.Resize, shape=(42, 42)),
    "StaticTimescaled, ratio 1": on("counters", ae.StaticTimescaled),
    "StaticTimescaled, ratio 2": on("counters", ae.StaticTimescaled, ratio=2),
    "Teacher": on("counters", ae.Teacher, buffer=nothing, p_revert=0.0),  # of which it stores nothing
    "TimeLimit": on("counters", ae.TimeLimit, max_episode_steps=500),
    "TrainerSide": on(CART, ae.TrainerSide),
}
BOUNDS = {EMPTY: EMPTY_MICROSECONDS, TEN: CHAIN_MICROSECONDS}


@dataclass(frozen=True)
class Cost:
    """Says what one stage costs.

    Args:
      name: of the stage.
      source: what is below it.
      microseconds: per step, the median of the differences.
      quartiles: of the differences, in microseconds.
      bare: microseconds per step of the bare source.
      at_most: the bound that it should keep.
    """

    name: str
    source: str
    microseconds: float
    quartiles: tuple[float, float]
    bare: float
    at_most: float | None = None


class Stepped:
    """Is an environment with the answers that it is given in turn.

    Args:
      env: one source.
      change: what becomes of a random answer.
    """

    def __init__(self, env: ae.Env, change: Callable[[Answer], Answer]):
        self.env = env
        env.reset()
        ((_, spec),) = env.specs.items()
        generator = np.random.default_rng(0)
        self.answers = [change(sample_action(spec.action, spec.num_envs, generator)) for _ in range(97)]
        self.place = 0

    def seconds(self, steps: int) -> float:
        """Returns how long so many steps take, per step."""
        step, answers, place = self.env.step, self.answers, self.place
        begin = time.perf_counter()
        for _ in range(steps):
            step(answers[place])
            place = (place + 1) % 97
        end = time.perf_counter()
        self.place = place
        return (end - begin) / steps


def measure(name: str, rounds: int, steps: int, tell: Callable[[], None] = lambda: None) -> Cost:
    """Measures one stage.

    Args:
      name: a key of STAGES.
      rounds: how often both work; the first tenth does not count.
      steps: of a turn.
      tell: called after every round.
    """
    source, build = STAGES[name]
    change = keep_ratio if name.startswith("DynamicTimescaled") else dict
    bare, staged = Stepped(SOURCES[source](), dict), Stepped(build(SOURCES[source]()), change)
    found = []
    gc.disable()
    try:
        for turn in range(rounds + max(2, rounds // 10)):
            order = (bare, staged) if turn % 2 else (staged, bare)
            seconds = {each: each.seconds(steps) for each in order}
            found.append((seconds[staged] - seconds[bare], seconds[bare]))
            tell()
    finally:
        gc.enable()
        bare.env.close()
        staged.env.close()
    differences, alone = np.array(found[-rounds:]).T * 1e6
    low, middle, high = np.quantile(differences, (0.25, 0.5, 0.75))
    return Cost(name, source, float(middle), (float(low), float(high)), float(np.median(alone)), BOUNDS.get(name))


def markdown(costs: Iterable[Cost]) -> str:
    """Returns the table."""
    head = (f"stage ({LANES} lanes)", "source", "µs per step", "quartiles", "the source alone", "asked")
    rows = []
    for cost in costs:
        asked = ""
        if cost.at_most is not None:
            asked = f"at most {cost.at_most:g}: {'yes' if cost.microseconds <= cost.at_most else '**no**'}"
        spread = " to ".join(map(number, cost.quartiles))
        rows.append((cost.name, cost.source, number(cost.microseconds), spread, number(cost.bare), asked))
    return table(head, rows)


def main(arguments: list[str] | None = None) -> list[Cost]:
    """Measures what is asked for, prints the table, and writes `stages.json` and `stages.md` where --out says so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--only", default="", help="a regular expression: only stages whose name has it")
    parser.add_argument("--rounds", type=int, default=300, help="how often both work (%(default)s)")
    parser.add_argument("--steps", type=int, default=25, help="steps of a turn (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder for stages.json and stages.md")
    options = parser.parse_args(arguments)
    names = [name for name in STAGES if re.search(options.only, name)]
    if not names or options.rounds < 1 or options.steps < 1:
        parser.error(f"expected --only to match some of {list(STAGES)}, and --rounds and --steps of at least 1.")
    torch.set_num_threads(1)
    machine, costs = describe(), []
    rounds = options.rounds + max(2, options.rounds // 10)
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(names) * rounds)
        for name in names:
            progress.update(task, description=f"{name:28}")
            costs.append(measure(name, options.rounds, options.steps, lambda: progress.advance(task)))
    Console().print(Markdown(markdown(costs)))
    if options.out is not None:
        write(options.out, costs, {"machine": machine, "rounds": options.rounds, "steps": options.steps})
    return costs


def write(out: Path, costs: list[Cost], conditions: dict[str, Any]) -> None:
    """Writes JSON and Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    result = {"text": __doc__, **conditions, "costs": [asdict(cost) for cost in costs]}
    (out / "stages.json").write_text(json.dumps(result, indent=1) + "\n")
    headline, _, text = __doc__.partition("\n")
    machine = conditions["machine"]
    where = (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores (load {machine['load_before']} before)."
    )
    (out / "stages.md").write_text("\n\n".join([f"# {headline}", text.strip(), where, markdown(costs)]) + "\n")


if __name__ == "__main__":
    main()
