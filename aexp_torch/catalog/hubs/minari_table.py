"""Datasets of Minari: recorded episodes, for offline reinforcement learning."""

from functools import partial

from aexp_torch.catalog.entry import Entry
from aexp_torch.catalog.hubs.minari import is_here

__all__ = ["ENTRIES"]

GOAL = "observation:{} achieved_goal:2 desired_goal:2"

# name, versions, sizes of observation and action, what it is
ADROIT = [
    ("door", "observation:39", 28, "a hand opens a door"),
    ("hammer", "observation:46", 26, "a hand drives a nail"),
    ("pen", "observation:45", 24, "a hand turns a pen"),
    ("relocate", "observation:39", 30, "a hand moves a ball"),
]
MUJOCO = [
    ("halfcheetah", "observation:17", 6, "half a cheetah runs"),
    ("hopper", "observation:11", 3, "one leg hops"),
    ("walker2d", "observation:17", 6, "two legs walk"),
    ("ant", "observation:105", 8, "four legs walk"),
    ("humanoid", "observation:348", 17, "a person walks"),
    ("humanoidstandup", "observation:348", 17, "a person stands up"),
    ("swimmer", "observation:8", 2, "three links swim"),
    ("reacher", "observation:10", 2, "an arm reaches a place"),
    ("pusher", "observation:23", 7, "an arm pushes a thing to its place"),
    ("invertedpendulum", "observation:4", 1, "a pole is balanced"),
    ("inverteddoublependulum", "observation:9", 1, "two poles are balanced"),
]
MAZES = [
    ("pointmaze", "v2", GOAL.format(4), 2, ("open", "umaze", "medium", "large"), "a ball finds its way"),
    (
        "antmaze",
        "v1",
        GOAL.format(27),
        8,
        ("umaze", "umaze-diverse", "medium-play", "medium-diverse", "large-play", "large-diverse"),
        "four legs find their way",
    ),
]
D4RL, FARAMA = "Fu et al. 2020, arXiv:2004.07219; Younis et al. 2024, Minari", "Younis et al. 2024, Minari"


def _entry(dataset: str, tags: tuple[str, ...], spaces: str, about: str, source: str) -> Entry:
    return Entry(
        f"minari-{dataset.replace('/', '-').lower()}",
        (*tags, "kind:dataset", "hub:minari"),
        "aexp_torch.catalog.hubs.minari:from_minari",
        {"dataset": dataset, "spaces": spaces, "licence": "CC-BY-4.0"},
        version=int(dataset.rpartition("-v")[2]),
        extra="minari",
        modules=("minari",),
        licence="CC-BY-4.0",
        download=True,
        here=partial(is_here, dataset),
        instruction="Act as well as those who were recorded, or better.",
        about=f"{about}: recorded episodes",
        source=source,
    )


def _listed() -> list[Entry]:
    hands = [
        _entry(
            f"D4RL/{name}/{who}-v2",
            ("offline.adroit", "control.continuous.adroit"),
            f"{seen} action:{size}",
            about,
            D4RL,
        )
        for name, seen, size, about in ADROIT
        for who in ("human", "cloned", "expert")
    ]
    mazes = [
        _entry(
            f"D4RL/{name}/{maze}-{version}",
            ("offline.maze", "control.continuous.maze"),
            f"{seen} action:{size}",
            about,
            D4RL,
        )
        for name, version, seen, size, places, about in MAZES
        for maze in places
    ]
    bodies = [
        _entry(
            f"mujoco/{name}/{who}-v0",
            ("offline.mujoco", "control.continuous.mujoco"),
            f"{seen} action:{size}",
            about,
            FARAMA,
        )
        for name, seen, size, about in MUJOCO
        for who in ("medium", "expert")
    ]
    return hands + mazes + bodies


ENTRIES = _listed()
