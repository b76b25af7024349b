"""How many symbols a second are said and heard in CommAI's conversations, in one process?

With 256 lanes and with one, in bits and in bytes, for the configurations that the originals ship. The learner repeats
what it hears, as the originals' sample learner does, or is silent. The originals hold one conversation at a time. Their
rates were measured elsewhere, with their own loop and sample learner, on one core of such a machine: 121,000 bits/s of
CommAI-env with its whole sample set, 40,000 to 50,000 bytes/s of the General AI Challenge. They do not take part.
"""

import time
from typing import Any, Literal

import torch

import aexp_torch as ae
from aexp_torch.commai import CommAIEnv, run
from aexp_torch.commai.learners import SampleRepeatingLearner
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS
from benchmarks.turns import Turns

HERE = __name__
LANES = 256
ORIGINAL_BITS, ORIGINAL_BYTES = 121_000, 45_000  # symbols a second; see above
BITS, BYTES = "CommAI-env, one conversation", "General AI Challenge, one conversation"
MANY, ONE = f"{LANES} lanes", "1 lane"
BOUNDS = {  # of the ratios to the original, by lanes and what happens there
    (MANY, "echo"): 10.0,
    (MANY, "silent"): 10.0,
    (MANY, "Loader"): None,
    (ONE, "echo"): 1.0,
    (ONE, "run"): 1.0,
}
PARTS = ("micro", "mini", "commai")  # which are only asked with many lanes


def contests() -> list[Contest]:
    """Returns the contests: bits and bytes."""
    ways = {"challenge": list(BOUNDS)} | dict.fromkeys(PARTS, list(BOUNDS)[:2])
    return [
        Contest(
            "Bits",
            "bits/s",
            [*ours("commai", "bit", list(BOUNDS)), original(BITS, ORIGINAL_BITS)],
            figures("commai", "bits", list(BOUNDS), BITS),
        ),
        Contest(
            "Bytes",
            "bytes/s",
            [*(one for name in ways for one in ours(name, "byte", ways[name])), original(BYTES, ORIGINAL_BYTES)],
            [figure for name in ways for figure in figures(name, "bytes", ways[name], BYTES)],
        ),
    ]


def ours(preset: str, mode: str, ways: list[tuple[str, str]]) -> list[Contestant]:
    """Returns the ways in which one preset is run."""
    found = []
    for lanes, how in ways:
        arguments: dict[str, Any] = {"config": preset, "mode": mode}
        if how != "run":
            arguments["num_envs"] = LANES if lanes == MANY else 1
        if how in ("echo", "silent"):
            arguments["learner"] = how
        function = {"Loader": "loaded", "run": "ran"}.get(how, "stepped")
        found.append(Contestant(f"{preset}, {lanes}, {how}", f"{HERE}:{function}", arguments, "ours"))
    return found


def original(name: str, rate: int) -> Contestant:
    """Returns an original, whose rate is known."""
    return Contestant(name, f"{HERE}:known", {"rate": rate})


def figures(preset: str, symbols: str, ways: list[tuple[str, str]], over: str) -> list[Figure]:
    """Returns the ratios to the original."""
    return [
        Figure(
            f"{preset} in {symbols}, {lanes}, {how}, over the original",
            f"{preset}, {lanes}, {how}",
            over,
            at_least=BOUNDS[lanes, how],
        )
        for lanes, how in ways
    ]


def stepped(
    turns: Turns, config: str, mode: Literal["bit", "byte"], num_envs: int, learner: Literal["echo", "silent"]
) -> None:
    """Steps the environment."""
    env = CommAIEnv(config, mode, num_envs)
    said = env.reset().observation
    space = [
        {"symbol": torch.full((num_envs,), symbol, dtype=torch.uint8)}
        for symbol in ([0, 0, 1, 0, 0, 0, 0, 0] if mode == "bit" else [32] * 8)
    ]
    while True:
        for quiet in space:
            said = env.step(said if learner == "echo" else quiet).observation
            turns(num_envs)


def loaded(turns: Turns, config: str, mode: Literal["bit", "byte"], num_envs: int) -> None:
    """Answers the timesteps of a loader in the same process."""
    streams = ae.Loader(CommAIEnv(config, mode, num_envs), num_workers=0, in_flight=1, steps_per_epoch=NUM_STEPS)
    try:
        for timestep in streams:
            timestep.reply(timestep.observation["symbol"])
            turns(num_envs)
    finally:
        streams.close()


def ran(turns: Turns, config: str, mode: Literal["bit", "byte"]) -> None:
    """Runs a learner as the originals do."""

    class Counted(SampleRepeatingLearner):
        def next(self, symbol: str) -> str:
            turns()
            return symbol

    run(config, Counted(), mode=mode)


def known(turns: Turns, rate: float) -> None:
    """Tells what was measured elsewhere."""
    turns.note("measured elsewhere, on one core of such a machine")
    while True:
        time.sleep(0.01)
        turns.show(rate)
