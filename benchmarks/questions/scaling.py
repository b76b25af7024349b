"""What do more lanes cost, and more workers?

CartPole-v1 through the Loader and through Gymnasium's own vector form, with 1 to 4,096 lanes; then 64 lanes with 0 to 8
workers asked for. More workers than the process may use cores are not started: the last column says how many ran.
"""

import multiprocessing
import warnings

import torch

import aexp_torch as ae
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.payloads import NUM_STEPS
from benchmarks.questions import cartpole
from benchmarks.turns import Turns

HERE = __name__
LANES = (1, 4, 16, 64, 256, 1024, 4096)
SERIES = {
    "aexp_torch, in process": (f"{cartpole.__name__}:loader", {"num_workers": 0, "in_flight": 1}),
    "aexp_torch, 1 worker": (f"{cartpole.__name__}:loader", {"num_workers": 1, "in_flight": 2}),
    "Gymnasium, own vector form": (f"{cartpole.__name__}:gymnasium_loop", {"form": "vector_entry_point"}),
}


def contests() -> list[Contest]:
    """Returns a contest over lanes and one over workers."""
    return [lanes(), workers()]


def lanes() -> Contest:
    """Returns the contest over lanes."""
    contestants = [
        Contestant(
            entry_name(series, count),
            function,
            {**arguments, "num_envs": count},
            "ours" if series.startswith("aexp") else "limit",
            series=series,
            place=count,
        )
        for series, (function, arguments) in SERIES.items()
        for count in LANES
    ]
    figures = [
        Figure(
            f"{lanes_of(count)}: {series.partition(', ')[2]} over Gymnasium's own vector form",
            entry_name(series, count),
            entry_name("Gymnasium, own vector form", count),
        )
        for series in list(SERIES)[:2]
        for count in (1, 64, 4096)
    ]
    return Contest("CartPole-v1, 1 to 4,096 lanes", "env steps/s", contestants, figures, axis="lanes")


def entry_name(series: str, count: int) -> str:
    """Names a contestant."""
    return f"{series}, {lanes_of(count)}"


def lanes_of(count: int) -> str:
    """Returns a number of lanes in words."""
    return f"{count:,} lane{'s' * (count > 1)}"


def workers() -> Contest:
    """Returns the contest over workers."""
    contestants = [
        Contestant(
            f"aexp_torch, {count} worker{'s' * (count != 1)} asked for",
            f"{HERE}:loader",
            {"num_workers": count},
            "ours",
            series="aexp_torch",
            place=count,
        )
        for count in range(9)
    ]
    return Contest("CartPole-v1, 64 lanes, 0 to 8 workers", "env steps/s", contestants, axis="workers asked for")


def loader(turns: Turns, num_workers: int) -> None:
    """Answers every timestep, and says how many workers run."""
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=64)
    action = torch.zeros(64, dtype=torch.int64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        streams = ae.Loader(env, num_workers=num_workers, steps_per_epoch=NUM_STEPS)
    capped = ", capped with a warning" if caught else ""
    try:
        for number, timestep in enumerate(streams):
            timestep.reply(action)
            if number == 100:  # every slot has been asked
                turns.note(f"{len(multiprocessing.active_children())} running{capped}")
            turns(64)
    finally:
        streams.close()
