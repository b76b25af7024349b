"""Pooling: several trees of values along time become one, lane by lane (no stage: what time scales are made of)."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.specs import Modality, flatten, path_name, unflatten

__all__ = ["POOLS", "Pool", "check_pool", "pool_trees"]

POOLS = ("last", "mean", "max", "min", "random")
Pool = Literal["last", "mean", "max", "min", "random"] | Callable[[Tensor, Tensor], Tensor]


def check_pool(pool: Any, name: str, who: str) -> None:
    """Raises a SpecError where `pool` is none."""
    if not callable(pool) and pool not in POOLS:
        raise SpecError(
            f"{who}: expected {name} to be one of {POOLS}, or a function of values [T, B, ...] and valid [T, B], got"
            f" {pool!r}."
        )


def pool_trees(
    pool: Pool, trees: list[dict], counts: list[Tensor], modalities: dict, generator: np.random.Generator, who: str
) -> dict:
    """Pools T trees of tensors [B, ...] into one.

    Categorical values have no order: `mean`, `max` and `min` take the last of them, and `mean` takes the last binary
    value. The mean of integers is rounded. `random` chooses one time per lane, the same for the whole tree.

    Args:
      pool: one of `POOLS`; or a function of values [T, B, ...] and valid (bool [T, B]) that returns [B, ...] of the same
        dtype, and is called for every leaf.
      trees: in the order of time. A leaf may be None, or have `mask:<key>` beside it: what is absent is left out.
      counts: bool [B] for every tree, the lanes that it counts in. A lane that counts nowhere gets the last tree.
      modalities: of the leaves.
      generator: for `random`.
      who: the stage, for messages.

    Returns:
      The tree; a leaf that a lane never had is absent there.
    """
    counted = torch.stack(counts)  # [T, B]
    time = _draw_time(counted, generator) if pool == "random" else None
    kinds = dict(flatten(modalities))
    rows = [dict(flatten(tree)) for tree in trees]
    leaves: list[tuple[tuple, Tensor | None]] = []
    for path in dict.fromkeys(path for row in rows for path in row):
        if path[-1].startswith("mask:"):
            continue
        values, present = _stack(rows, path, counted)
        if values is None:
            leaves.append((path, None))
            continue
        if time is not None:
            pooled, has = _at(values, time), present if present is None else _at(present, time)
        else:
            valid = counted if present is None else counted & present
            pooled, has = _leaf_pool(pool, kinds.get(path))(values, valid), valid.any(0)
            _check_result(pooled, values[0], path, who)
            if not has.all():
                pooled = torch.where(has.view(-1, *[1] * (pooled.dim() - 1)), pooled, values[-1])
            has = None if present is None else has
        there = has is None or bool(has.any())
        leaves.append((path, pooled if there else None))
        if has is not None and there:
            leaves.append(((*path[:-1], f"mask:{path[-1]}"), has))
    return unflatten(leaves) or {}


def _stack(rows: list[dict], path: tuple, counted: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Returns the values of a leaf [T, B, ...] and where they are present (bool [T, B]; None: everywhere)."""
    values = [row.get(path) for row in rows]
    example = next((value for value in values if value is not None), None)
    if example is None:
        return None, None
    stacked = torch.stack([torch.zeros_like(example) if value is None else value for value in values])
    masks = [row.get((*path[:-1], f"mask:{path[-1]}")) for row in rows]
    if all(mask is None for mask in masks) and all(value is not None for value in values):
        return stacked, None
    full = [torch.full_like(counted[0], value is not None) for value in values]
    return stacked, torch.stack([there if mask is None else mask for there, mask in zip(full, masks)])


def _check_result(pooled: Any, example: Tensor, path: tuple, who: str) -> None:
    if not isinstance(pooled, Tensor) or pooled.shape != example.shape or pooled.dtype is not example.dtype:
        came = f"{pooled.dtype} {list(pooled.shape)}" if isinstance(pooled, Tensor) else type(pooled).__name__
        raise SpecError(
            f"{who}: expected the pool function to return {example.dtype} {list(example.shape)} for {path_name(path)!r},"
            f" got {came}. It gets values [T, B, ...] and valid [T, B]."
        )


def _leaf_pool(pool: Any, modality: Modality | None) -> Callable[[Tensor, Tensor], Tensor]:
    if callable(pool):
        return pool
    representation = "real" if modality is None else modality.representation
    if representation == "categorical" or (pool == "mean" and representation == "binary"):
        return _last
    return {"mean": _mean, "max": _max, "min": _min}[pool]


def _spread(valid: Tensor, values: Tensor) -> Tensor:
    return valid.view(*valid.shape, *[1] * (values.dim() - 2))  # [T, B, 1, ...]


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    total = torch.where(_spread(valid, values), values, 0).sum(0, dtype=torch.float64)  # [B, ...]
    number = valid.sum(0).clamp(min=1)
    mean = total / number.view(-1, *[1] * (total.dim() - 1))
    return (mean if values.is_floating_point() else mean.round()).to(values.dtype)


def _max(values: Tensor, valid: Tensor) -> Tensor:
    return _extreme(values, valid, torch.amax)


def _min(values: Tensor, valid: Tensor) -> Tensor:
    return _extreme(values, valid, torch.amin)


def _extreme(values: Tensor, valid: Tensor, which: Callable) -> Tensor:
    last = _last(values, valid)  # stands in for what does not count
    return which(torch.where(_spread(valid, values), values, last), dim=0)


def _last(values: Tensor, valid: Tensor) -> Tensor:
    times = torch.arange(1, len(valid) + 1)[:, None] * valid  # [T, B]
    return _at(values, times.argmax(0))


def _draw_time(counted: Tensor, generator: np.random.Generator) -> Tensor:
    """Returns int64 [B]: for every lane, one of the times that count in it."""
    draws = torch.from_numpy(generator.random(counted.shape[1]))
    nth = (draws * counted.sum(0)).long()
    return ((counted.cumsum(0) == nth + 1) & counted).long().argmax(0)


def _at(values: Tensor, time: Tensor) -> Tensor:
    return values[time, torch.arange(values.shape[1])]  # [B, ...]
