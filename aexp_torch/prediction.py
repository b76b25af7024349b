"""Predictions of the next timestep: what they look like, what they are worth, and what they say.

| what is predicted | prediction, [B, ...] | loss, a lane's mean | says |
|---|---|---|---|
| real values | float32, of the same shape | squared error | itself, within bounds |
| integers | float32, of the same shape | squared error | the nearest integer within bounds |
| categorical values, C choices | float32 logits, C is one more axis at the end | cross-entropy | the likeliest, or a draw |
| binary values | float32 logits, of the same shape | binary cross-entropy | the likelier, or a draw |

In an action they are `predict:<key>`, and the context of their modality begins with `next`. That tells them from the
answer to a question (`predict:y` of a dataset), whose truth is revealed beside the next question.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor
from torch.nn import functional

from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, path_name, unflatten
from aexp_torch.specs.check import torch_dtype
from aexp_torch.timestep import TimeStep

__all__ = [
    "HIDDEN_REWARD",
    "REWARD",
    "Loss",
    "Path",
    "Target",
    "asked_targets",
    "find_targets",
    "revealed_keys",
    "without_predictions",
]

Path = tuple[str, ...]
Loss = Callable[[Tensor, Tensor], Tensor]
PREFIX, NEXT = "predict:", "next"
REWARD, HIDDEN_REWARD = "predict:reward", "next:reward:hidden"  # where the reward that is handed out is another one
SIGNALS = ("reward", "discount")
EXACT = 2**53  # integers up to here are exact in float64


class Target:
    """Is one thing to predict: where it is found, what a prediction looks like, what it is worth, and what it says.

    Args:
      path: of the observation's leaf; None for a signal.
      leaf: its spec.
      modality: its modality.
      loss: a function instead of the one that fits the modality.
      signal: a field of the timestep instead.
      who: asks for it, for messages.
    """

    def __init__(
        self,
        path: Path | None,
        leaf: specs.Array,
        modality: Modality,
        loss: Loss | None = None,
        signal: str | None = None,
        who: str = "PredictInputs",
    ):
        self.path, self.signal, self.loss, self.who, self.leaf = path, signal, loss, who, leaf
        self.kind = modality.representation
        shape = leaf.shape
        self.low: Any = 0
        self.missing: Tensor | None = None  # choices that some elements do not have, bool [..., C]
        if self.kind == "categorical":
            self.low, counts = self._choices()
            shape = (*shape, int(counts.max()))
            missing = np.arange(shape[-1]) >= np.broadcast_to(counts, leaf.shape)[..., None]
            self.missing = torch.from_numpy(missing) if missing.any() else None
        self.spec = specs.Array(shape, np.float32, leaf.name)
        self.modality = Modality(modality.structure, "real", ":".join(filter(None, (NEXT, modality.context))))
        self.dtype = torch_dtype(leaf)
        self._bounds = self._find_bounds()

    @property
    def name(self) -> str:
        """Names it for people."""
        return self.signal or path_name(self.path)

    @property
    def num_draws(self) -> int:
        """How many random numbers a draw of one lane takes."""
        return int(np.prod(self.leaf.shape, dtype=int)) if self.kind in ("categorical", "binary") else 0

    def _choices(self) -> tuple[Tensor, np.ndarray]:
        low, high = getattr(self.leaf, "minimum", None), getattr(self.leaf, "maximum", None)
        if low is None or high is None:
            raise SpecError(
                f"{self.who}: expected bounds for {self.name!r}, one logit for every choice, got {describe(self.leaf)}."
                " Tell the source how many choices there are, or leave it out (keys= of PredictInputs)."
            )
        low, high = np.array(low, np.int64), np.array(high, np.int64)
        return torch.from_numpy(low), high - low + 1

    def _find_bounds(self) -> tuple[Tensor, Tensor] | None:
        """Returns the smallest and the largest value; integers always have them."""
        low, high = getattr(self.leaf, "minimum", None), getattr(self.leaf, "maximum", None)
        dtype = np.dtype(self.leaf.dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            bounds = (limits.min if low is None else low), (limits.max if high is None else high)
            low, high = (np.clip(np.float64(bound), -EXACT, EXACT) for bound in bounds)
        elif dtype.kind != "f" or low is None or high is None:
            return None
        low, high = (torch.as_tensor(np.array(bound)).expand(self.leaf.shape) for bound in (low, high))
        return None if low.isneginf().all() and high.isposinf().all() else (low, high)

    def find(self, timestep: TimeStep) -> tuple[Tensor | None, Tensor | None]:
        """Returns the value, and the rows (bool [B]) that have it; None for all of them."""
        if self.signal is not None:
            return getattr(timestep, self.signal), None
        node: Any = timestep.observation
        rows: Tensor | None = None
        for key in self.path:
            mask = node.get(f"mask:{key}")
            if mask is not None:
                rows = mask if rows is None else rows & mask
            node = node.get(key)
            if node is None:
                return None, None
        return node, rows

    def score(self, prediction: Tensor, value: Tensor, source: str) -> Tensor:
        """Returns the loss, float32 [B]."""
        if self.kind == "categorical":
            value = value.long() - self.low.to(value.device)
        elif self.kind == "binary" or value.dtype is not torch.float32:
            value = value.float()
        if self.loss is not None:
            return self._checked(self.loss(prediction, value), len(value), source)
        if self.kind == "categorical":
            choices = prediction.shape[-1]
            value = value.clamp(0, choices - 1)  # rows without a value may hold anything
            loss = functional.cross_entropy(prediction.reshape(-1, choices), value.reshape(-1), reduction="none")
        elif self.kind == "binary":
            loss = functional.binary_cross_entropy_with_logits(prediction, value, reduction="none")
        else:
            loss = (prediction - value).square()
        return loss.reshape(len(value), -1).mean(1)

    def _checked(self, loss: Any, num_envs: int, source: str) -> Tensor:
        if not isinstance(loss, Tensor) or loss.shape != (num_envs,) or not loss.is_floating_point():
            came = f"{loss.dtype} {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise SpecError(
                f"{self.who}: expected loss= to return float32 [{num_envs}] for {self.name!r} of {source!r}, got {came}."
            )
        return loss.detach().to(torch.float32)

    def value(self, prediction: Tensor, draws: Tensor | None = None) -> Tensor:
        """Returns what a prediction says, [B, ...] in the dtype and within the bounds of what is predicted.

        Args:
          prediction: float32 [B, ...].
          draws: float32 [B, num_draws] in [0, 1), from which choices are drawn; None for the likeliest.
        """
        if draws is not None and self.num_draws:
            draws = draws.view(len(draws), *self.leaf.shape)
        if self.kind == "categorical":
            logits = prediction if self.missing is None else prediction.masked_fill(self.missing, -torch.inf)
            return (self._choose(logits, draws) + self.low).to(self.dtype)
        if self.kind == "binary":
            yes = prediction > 0 if draws is None else draws < prediction.sigmoid()
            return yes.to(self.dtype)
        if not self.dtype.is_floating_point:
            return prediction.double().round().clamp(*self._bounds).to(self.dtype)
        value = prediction.to(self.dtype)
        return value if self._bounds is None else value.clamp(*self._bounds)

    def _choose(self, logits: Tensor, draws: Tensor | None) -> Tensor:
        if draws is None:
            return logits.argmax(-1)
        below = logits.softmax(-1).cumsum(-1) <= draws[..., None]
        possible = logits.isfinite().cumsum(-1).argmax(-1)  # the last that there is, should rounding leave none
        return torch.minimum(below.sum(-1), possible)


def find_targets(
    spec: EnvSpec,
    wanted: Callable[[str], bool] | None = None,
    signals: bool = False,
    loss: Callable[[str], Loss | None] | None = None,
    who: str = "PredictInputs",
) -> dict[Path, Target]:
    """Returns what is predicted of a source, by the place of the prediction in the action.

    Args:
      spec: of the source.
      wanted: whether the leaf of that name is predicted; None for all.
      signals: reward and discount, too.
      loss: the loss of the leaf of that name, where it is not the usual one.
      who: asks, for messages.

    Raises:
      SpecError: categorical values without bounds, or a leaf that has the name of a signal.
    """
    modalities = dict(flatten(spec.modalities["observation"]))
    found = {}
    for path, leaf in flatten(spec.observation):
        name = path_name(path)
        if wanted is None or wanted(name):
            own = None if loss is None else loss(name)
            found[f"{PREFIX}{path[0]}", *path[1:]] = Target(path, leaf, modalities[path], own, who=who)
    for signal in SIGNALS if signals else ():
        if any(path[0] == f"{PREFIX}{signal}" for path in found):
            raise SpecError(
                f"{who}: expected no observation {signal!r} with signals=True, there is one, and it is predicted as well."
                " Give it another key, leave it out with keys=, or ask for no signals."
            )
        real = Modality("flat", "real", signal)
        found[(f"{PREFIX}{signal}",)] = Target(None, getattr(spec, signal), real, signal=signal, who=who)
    return found


def _asked(spec: EnvSpec) -> dict[Path, Modality]:
    """Returns where an action asks what the next timestep shows, with the modality of each prediction."""
    return {path: modality for path, modality in flatten(spec.modalities["action"]) if _is_next(path, modality)}


def _is_next(path: Path, modality: Modality) -> bool:
    return path[0].startswith(PREFIX) and modality.context.split(":")[0] == NEXT


def asked_targets(spec: EnvSpec, who: str) -> dict[Path, Target]:
    """Returns what an action asks about the next timestep, by the place of the prediction; see `find_targets`.

    Args:
      spec: of a source, its predictions included.
      who: asks, for messages.
    """
    asked = _asked(spec)
    discount = asked.get((f"{PREFIX}discount",))
    signals = discount is not None and discount.context == f"{NEXT}:discount"
    names = {
        path_name(path)
        for path, _ in flatten(spec.observation)
        if (f"{PREFIX}{path[0]}", *path[1:]) in asked and not (signals and path_name(path) in SIGNALS)
    }
    return find_targets(without_predictions(spec), names.__contains__, signals, who=who)


def without_predictions(spec: EnvSpec) -> EnvSpec:
    """Returns a spec without the predictions of the next timestep in its action."""
    asked = _asked(spec)
    action = [(path, leaf) for path, leaf in flatten(spec.action) if path not in asked]
    kinds = [(path, modality) for path, modality in flatten(spec.modalities["action"]) if path not in asked]
    modalities = {**spec.modalities, "action": unflatten(kinds) or {}}
    return replace(spec, action=unflatten(action) or {}, modalities=modalities)


def revealed_keys(spec: EnvSpec) -> set[str]:
    """Returns the keys of an observation that only tell the truth about the question before.

    They are what an action calls `predict:<key>` without asking for the next timestep: a dataset's y, where x and y take
    turns.
    """
    kinds = flatten(spec.modalities["action"])
    questions = [path[0] for path, kind in kinds if path[0].startswith(PREFIX) and not _is_next(path, kind)]
    return {key.removeprefix(PREFIX) for key in questions}
