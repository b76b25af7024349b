"""What random pipelines are made of: every stage and composition, with a function that draws sensible options for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.catalog import AEEnv
from aexp_torch.composition import Interleave, Multitasking, SynEnv
from aexp_torch.env import Env, Stage
from aexp_torch.loading.trainer_side import border_of
from aexp_torch.replay import ReplayBuffer
from aexp_torch.specs import Modality, flatten, map_tree, path_name
from aexp_torch.specs.modality import is_choice, is_image, is_number, is_real
from aexp_torch.stages import (
    Advantage,
    Augment,
    ClipAction,
    ClipObservation,
    ClipReward,
    DropKeyValue,
    Dropout,
    DynamicTimescaled,
    Flatten,
    FrameSkip,
    FrameStack,
    Grayscale,
    Lambda,
    Noisy,
    NormalizeObservation,
    NormalizeReward,
    ObserveActions,
    ObserveReward,
    OneHot,
    PenalizeCompute,
    PredictInputs,
    Repeat,
    RescaleAction,
    Resize,
    StaticTimescaled,
    Teacher,
    TimeLimit,
    TrainerSide,
)
from aexp_torch.testing.dice import Dice
from aexp_torch.timestep import TimeStep

__all__ = ["COMPOSITIONS", "STAGES", "Component"]

POOLS = ("last", "mean", "max", "min", "random")
SIDES = ("observation", "action", "both")


@dataclass(frozen=True)
class Component:
    """Says how a component is drawn.

    Args:
      options: from dice and the environment below to keyword arguments; for a composition, from dice and its members.
      fits: whether it has a meaning above an environment.
      weight: how often it is drawn, where it fits.
      shared: its lanes share a generator or statistics, so that holding one changes what others show later.
    """

    options: Callable[[Dice, Any], dict[str, Any]]
    fits: Callable[[Env], bool] = lambda env: True
    weight: float = 1.0
    shared: bool = False


# What options are made of. Functions are those of a module, so that a pipeline that has them can be pickled.


def leaves(env: Env, side: str) -> Iterator[tuple[tuple[str, ...], specs.Array, Modality]]:
    """Yields path, spec and modality of every leaf of one side, over all sources."""
    for spec in env.specs.values():
        modalities = dict(flatten(spec.modalities[side]))
        for path, leaf in flatten(getattr(spec, side)):
            yield path, leaf, modalities[path]


def has(predicate: Callable[[specs.Array, Modality], bool], side: str = "observation") -> Callable[[Env], bool]:
    """Returns a test that some leaf is as `predicate` says."""
    return lambda env: any(predicate(leaf, modality) for _, leaf, modality in leaves(env, side))


def some_keys(dice: Dice, env: Env, side: str = "observation") -> str:
    """Draws a glob: everything, or one leaf whose name does not depend on that of a source, which may be renamed."""
    names = [name for path, _, _ in leaves(env, side) if "@" not in (name := path_name(path))]
    return dice("*", dice(*names)) if names else "*"


def free_key(env: Env, key: str) -> str:
    """Returns a key that no observation has."""
    taken = {path[0] for path, _, _ in leaves(env, "observation")}
    return next(name for name in (key, *(f"{key}:{number}" for number in range(2, 100))) if name not in taken)


def sided(dice: Dice, env: Env, **options: Any) -> dict[str, Any]:
    """Draws a side, and keys that are there."""
    side = dice(*SIDES)
    return {"side": side, "keys": some_keys(dice, env, "observation" if side == "both" else side), **options}


def halved(values: Tensor, timestep: TimeStep) -> Tensor:
    """Is a baseline."""
    return values / 2


def rounded(observation: dict) -> dict:
    """Rounds what is real."""
    return map_tree(lambda leaf: leaf.round() if leaf is not None and leaf.is_floating_point() else leaf, observation)


def copied(action: dict) -> dict:
    """Is a function of an answer."""
    return map_tree(torch.clone, action)


def stopped() -> float:
    """Is a clock."""
    return 0.0


def one_or_two(generator: Any, count: int) -> Any:
    """Draws lengths of spells."""
    return generator.integers(1, 3, count)


def mean_of_all(values: Tensor, valid: Tensor) -> Tensor:
    """Pools, whatever is valid."""
    return values.float().mean(0).to(values.dtype)


def onwards(step: int, current: Tensor, available: Tensor) -> Tensor:
    """Sends every row on at every third step."""
    count = available.shape[1]
    return (current + 1) % count if step % 3 == 2 else torch.full_like(current, -1)


def largest(rewards: dict[str, Tensor]) -> Tensor:
    """Is a reward of several."""
    return torch.stack(list(rewards.values())).amax(0)


def has_bounds(leaf: specs.Array, modality: Modality) -> bool:
    """Tells whether it is a real number within bounds."""
    return isinstance(leaf, specs.BoundedArray) and is_real(modality) and abs(leaf.minimum).max() < 1e9


def is_colour(leaf: specs.Array, modality: Modality) -> bool:
    """Tells whether it is an image of three channels."""
    return is_image(modality) and len(leaf.shape) >= 3 and leaf.shape[-1] == 3


def is_number_leaf(leaf: specs.Array, modality: Modality) -> bool:
    """Tells whether it is a number."""
    return is_number(modality)


def timescaled(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws what both time scales have."""
    return {
        "hold": dice("repeat", "noop"),
        "input": dice("repeat", "drop"),
        "pool_observation": dice("last", *POOLS, mean_of_all),
        "pool_action": dice("last", *POOLS),
        "observe_phase": dice(True, False),
    }


def penalized(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws a meter that depends neither on the machine nor on what else the process computes, as FLOPs do."""
    meter = dice("agent_steps", "agent_steps", "seconds", "action")
    return {"meter": meter, "observe": dice(True, False), "clock": stopped if meter == "seconds" else None}


def bounds(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws bounds for observations."""
    return dice({"minimum": 0, "maximum": 3}, {"minimum": -1}, {"maximum": 2})


def reward_bounds(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws bounds for rewards, some of which leave out 0."""
    return dice({"min_reward": -1, "max_reward": 1}, {"min_reward": 0.5}, {"max_reward": -0.5})


def recorded(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws a buffer in memory."""
    lanes = max(spec.num_envs for spec in env.specs.values())
    return {
        "capacity": lanes * dice.number(2, 9),
        "mode": dice("record", "mix"),
        "p": 0.5,
        "shuffle": dice(True, False),
    }


def lambda_options(dice: Dice, env: Env) -> dict[str, Any]:
    """Draws functions."""
    return {"obs": dice(None, rounded), "action": dice(None, copied), "reward": dice(None, torch.neg)}


def interleaved(dice: Dice, envs: list[Env]) -> dict[str, Any]:
    """Draws a pattern, and when episodes end."""
    places = [*range(len(envs)), *(dice.number(0, len(envs) - 1) for _ in range(dice.number(0, 2)))]
    drawn = episodes(dice)
    if drawn["after_done"] == "freeze":
        drawn["after_done"] = "skip"  # ended lanes would be held at LAST, where check_episodes expects FIRST
    return {"pattern": dice(None, places), **drawn}


def episodes(dice: Dice) -> dict[str, Any]:
    """Draws when the episodes of a composition end."""
    done = dice(None, None, "first", "all")
    return {"done": done, "after_done": dice(None, "skip", "freeze", "reset") if done == "all" else None}


def multitasked(dice: Dice, envs: list[Env]) -> dict[str, Any]:
    """Draws when episodes end, and what they are worth."""
    return {"reward": dice("sum", "mean", "dict", largest), **episodes(dice)}


def syn(dice: Dice, envs: list[Env]) -> dict[str, Any]:
    """Draws who chooses, and instructions."""
    told = {"instruction_steps": dice.number(1, 2), "instructions": ["é" * (n + 1) for n in range(len(envs))]}
    return {
        "batch_size": dice.number(1, 4),
        "transition": dice("agent", "agent", "on_done", onwards),
        **dice({}, {}, told),
    }


def experienced(dice: Dice, envs: list[Env]) -> dict[str, Any]:
    """Draws who chooses, and for how long."""
    taken = {key for env in envs for spec in env.specs.values() for key in (*spec.observation, *spec.action)}
    own = {"all_environments", "current_environments", "next_environments"}
    return {
        "next_env_fn": dice("random", "random", "in_turn", another, *([] if taken & own else ["agent", "agent"])),
        "steps": dice(None, dice.number(1, 6), (1, 5)),
        "max_open": dice(None, None, 1),
    }


def another(step: int, current: int, available: Tensor) -> int:
    """Goes two on after every other visit."""
    return -1 if step % 2 else (current + 2) % len(available)


# The tables. A component that is added here is part of random pipelines from then on.

STAGES: dict[type[Env], Component] = {
    Stage: Component(lambda dice, env: {}, weight=0.5),
    Advantage: Component(
        lambda dice, env: {
            "order": dice(1, 2),
            "baseline": dice("ema", "difference", halved),
            "key": free_key(env, "advantage"),
            "last_only": dice(True, False),
            "reset": dice(True, False),
        }
    ),
    Augment: Component(lambda dice, env: sided(dice, env, p=dice(0.5, 1.0)), weight=0.5, shared=True),
    ClipAction: Component(lambda dice, env: {}, has(has_bounds, "action"), weight=5),
    ClipObservation: Component(bounds, has(is_number_leaf)),
    ClipReward: Component(reward_bounds),
    DropKeyValue: Component(
        lambda dice, env: {"p": dice(0.3, 0.9), "n": dice(1, 2, "geometric"), "keys": some_keys(dice, env)}, shared=True
    ),
    Dropout: Component(
        lambda dice, env: sided(
            dice, env, p=dice(0.2, 0.8), value=dice(0, 0, 0, 1), granularity=dice("key", "row", "element")
        ),
        shared=True,
    ),
    DynamicTimescaled: Component(
        lambda dice, env: timescaled(dice, env) | dice({}, {"max_ratio": 2.0}, {"min_ratio": 0.0, "max_skip": 3}),
        shared=True,
    ),
    Flatten: Component(
        lambda dice, env: dice({"key": free_key(env, "flat")}, {"key": "flat", "keys": some_keys(dice, env)})
    ),
    FrameSkip: Component(lambda dice, env: {"skip": dice(1, 2, 3), "keys": dice("*", is_image)}),
    FrameStack: Component(
        lambda dice, env: {
            "stack_size": dice(1, 2, 3),
            "padding_type": dice("reset", "zero"),
            "keys": some_keys(dice, env),
        }
    ),
    Grayscale: Component(lambda dice, env: {"keep_dim": dice(True, False)}, has(is_colour), weight=6),
    Lambda: Component(lambda_options),
    Noisy: Component(
        lambda dice, env: sided(
            dice, env, p=dice(0.5, 1.0), dist=dice("normal", "uniform"), clip=dice(True, True, False)
        ),
        shared=True,
    ),
    NormalizeObservation: Component(lambda dice, env: {"keys": dice(is_real, is_number)}, shared=True),
    NormalizeReward: Component(lambda dice, env: {"gamma": dice(0.9, 1.0)}, shared=True),
    ObserveActions: Component(
        lambda dice, env: {
            "which": dice("sent", "executed") if border_of(env) is None else "sent",
            "history": dice(1, 1, 3),
            "prefix": free_key(env, "action") + ":",
        }
    ),
    ObserveReward: Component(lambda dice, env: {"key": free_key(env, "reward"), "history": dice(1, 3)}),
    OneHot: Component(lambda dice, env: {}, has(lambda leaf, modality: is_choice(modality))),
    PenalizeCompute: Component(penalized),
    PredictInputs: Component(
        lambda dice, env: {
            "keys": some_keys(dice, env),
            "horizon": dice(1, 1, 3),
            "signals": dice(True, False),
            "mode": dice("add", "replace"),
        }
    ),
    Repeat: Component(
        lambda dice, env: sided(dice, env, p=dice(0.3, 0.7), n=dice(1, 2, "geometric", one_or_two)), shared=True
    ),
    ReplayBuffer: Component(recorded, weight=1.5, shared=True),
    RescaleAction: Component(
        lambda dice, env: {"min_action": dice(-1, 0), "max_action": dice(1, 3)}, has(has_bounds, "action"), weight=16
    ),
    Resize: Component(
        lambda dice, env: {"shape": dice((2, 3), (5, 7))}, has(lambda leaf, kind: is_image(kind)), weight=5
    ),
    StaticTimescaled: Component(
        lambda dice, env: timescaled(dice, env) | {"ratio": dice(0, 0.4, 0.5, 1, 1.5, 2, 3, float("inf"))},
        weight=1.5,
        shared=True,
    ),
    Teacher: Component(
        lambda dice, env: {
            "buffer": dice("rolling", "top_k"),
            "capacity": dice.number(1, 4),
            "window": dice(None, 1, 2),
            "p_revert": dice(0.5, 1.0),
            "when": dice("reset", "step"),
            "choose": dice("best", "proportional"),
        },
        lambda env: all(getattr(source, "snapshots", False) for source in env.sources),
        weight=3,
        shared=True,
    ),
    TimeLimit: Component(lambda dice, env: {"max_episode_steps": dice.number(1, 5)}),
    TrainerSide: Component(lambda dice, env: {}, weight=0.5),
}

COMPOSITIONS: dict[type[Env], Component] = {
    AEEnv: Component(experienced),
    Interleave: Component(interleaved),
    Multitasking: Component(multitasked),
    SynEnv: Component(syn, shared=True),
}
