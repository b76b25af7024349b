"""PredictInputs: the agent says what it will see next, and is paid for being right."""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatch
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor
from torch.nn import functional

from aexp_torch.env import Env, Stage
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs import EnvSpec, Modality, describe, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.timestep import TimeStep

__all__ = ["PredictInputs"]

Path = tuple[str, ...]
Loss = Callable[[Tensor, Tensor], Tensor]
SIGNALS = ("reward", "discount")


class PredictInputs(Stage):
    """Asks for predictions of what the next timestep shows, and takes the loss off its reward.

    | what is predicted | prediction, [B, ...] | loss, the mean over a lane's elements |
    |---|---|---|
    | real and integer values | float32, of the same shape | squared error |
    | categorical values, C choices | float32 logits, with C as one more axis at the end | cross-entropy |
    | binary values | float32 logits, of the same shape | binary cross-entropy |

    With horizon h, the answer to timestep t is about timestep t + h. The reward of that timestep changes by -weight times
    the sum of the losses of all keys. Nothing is scored across FIRST: predictions of what would come after LAST are
    dropped, those for LAST itself count. What is absent (None, or masked in a row) is not scored.

    Observation: unchanged.
    Action: gains `predict:{key}` for every key that is predicted (`predict:a` holds `b` where the key is `a/b`), and with
    `signals` `predict:reward` and `predict:discount`, float32 [B], scored by squared error.

    Args:
      env: the environment below.
      keys: glob, or several, over the names of observation leaves (`a/b` for nested ones).
      loss: other losses: a function of prediction [B, ...] and target [B, ...] that returns float32 [B], or
        `{name of a leaf: function}`. A categorical target is given as int64 from 0 on, a binary one as float32.
      weight: reward per unit of loss.
      mode: "add" changes the reward, "replace" leaves nothing but -weight times the loss.
      horizon: how many timesteps ahead, at least 1.
      signals: asks for reward (before it is changed here) and discount, too: all that an imagined environment needs.

    Raises:
      SpecError: wrong options; no key fits; a key is in the action already; categorical values without bounds.
      ActionError: a prediction whose loss is not finite.

    >>> import torch, aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1").pipe(ae.PredictInputs, weight=0.5)
    >>> env.action_spec()["predict:observation"].shape
    (4,)
    >>> timestep = env.reset()
    >>> timestep = env.step({"action": torch.tensor([0]), "predict:observation": timestep.observation["observation"]})
    >>> bool(0.9 < timestep.reward < 1)  # almost nothing has changed
    True

    Source: `PredictInputs` of the artificial-experience project.
    """

    def __init__(
        self,
        env: Env,
        keys: str | Sequence[str] = "*",
        loss: Loss | Mapping[str, Loss] | None = None,
        weight: float = 1.0,
        mode: Literal["add", "replace"] = "add",
        horizon: int = 1,
        signals: bool = False,
    ):
        super().__init__(env)
        if mode not in ("add", "replace") or not isinstance(horizon, int) or horizon < 1 or not np.isfinite(weight):
            raise SpecError(
                "PredictInputs: expected mode 'add' or 'replace', horizon of at least 1 and a finite weight, got"
                f" {mode!r}, {horizon!r}, {weight!r}."
            )
        given = list(loss.values()) if isinstance(loss, Mapping) else [] if loss is None else [loss]
        if not all(callable(function) for function in given):
            raise SpecError(f"PredictInputs: expected functions as loss=, got {loss!r}.")
        self.keys = (keys,) if isinstance(keys, str) else tuple(keys)
        self.loss, self.weight, self.mode, self.horizon, self.signals = loss, float(weight), mode, horizon, signals

    def on_open(self) -> None:
        """Starts without predictions."""
        self._pending: dict[str, dict] = {}  # by source: {"predictions": tree [h, B, ...], "lanes": bool [h, B]}
        self._targets: dict[str, dict[Path, Target]] = {}

    def _targets_of(self, source: str) -> "dict[Path, Target]":
        """Returns what is predicted of a source, by place in the prediction."""
        if source not in self._targets:
            self._targets[source] = self._find_targets(self.env.specs[source])
        return self._targets[source]

    def _find_targets(self, spec: EnvSpec) -> "dict[Path, Target]":
        modalities = dict(flatten(spec.modalities["observation"]))
        found = {}
        for path, leaf in flatten(spec.observation):
            name = path_name(path)
            if any(fnmatch(name, pattern) for pattern in self.keys):
                loss = self.loss.get(name) if isinstance(self.loss, Mapping) else self.loss
                found[f"predict:{path[0]}", *path[1:]] = Target(path, leaf, modalities[path], loss)
        names = [path_name(path) for path, _ in flatten(spec.observation)]
        unknown = sorted(set(self.loss) - set(names)) if isinstance(self.loss, Mapping) else []
        if not found or unknown:
            raise SpecError(
                f"PredictInputs: expected keys= and loss= to name some of {names}, got {self.keys} and {unknown or None}."
            )
        for signal in SIGNALS if self.signals else ():
            if (f"predict:{signal}",) in found:
                raise SpecError(
                    f"PredictInputs: expected no observation {signal!r} with signals=True, there is one, and it is predicted"
                    " as well. Leave it out with keys=, or ask for no signals."
                )
            real = Modality("flat", "real", signal)
            found[(f"predict:{signal}",)] = Target(None, getattr(spec, signal), real, None, signal)
        return found

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds the predictions to the action."""
        targets = self._find_targets(spec)
        taken = sorted({path[0] for path in targets} & spec.action.keys())
        if taken:
            raise SpecError(
                f"PredictInputs: expected free keys, {taken} are in the action already ({sorted(spec.action)}). Leave them"
                " out with keys=."
            )
        predictions = unflatten([(path, target.spec) for path, target in targets.items()])
        new = with_sides(spec, action={**spec.action, **predictions})
        kinds = unflatten([(path, target.modality) for path, target in targets.items()])
        new.modalities["action"].update(kinds)
        return new

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Keeps the predictions, takes them off the answer."""
        source, targets = timestep.source, self._targets_of(timestep.source)
        keys = {path[0] for path in targets}
        newest = {key: action[key] for key in action if key in keys}
        self._pending[source] = self._push(self._pending.get(source), newest, ~timestep.last())
        return {key: value for key, value in action.items() if key not in keys}

    def _push(self, before: dict | None, newest: dict, lanes: Tensor) -> dict:
        """Puts predictions last in the queue of those that wait, in the lanes that move."""
        queue, waiting = map_tree(lambda leaf: leaf[None], newest), lanes[None]  # [1, B, ...]
        if before is None and (self.horizon > 1 or self.held is not None):
            blank = map_tree(lambda leaf: torch.zeros_like(leaf).expand(self.horizon, *leaf.shape[1:]), queue)
            before = {"predictions": blank, "lanes": torch.zeros(self.horizon, len(lanes), dtype=torch.bool)}
        if self.horizon > 1:
            queue = map_tree(lambda old, new: torch.cat([old[1:], new]), before["predictions"], queue)
            waiting = torch.cat([before["lanes"][1:], waiting])
        if self.held is not None:
            queue = map_tree(self._keep_held, queue, before["predictions"])
            waiting = self._keep_held(waiting, before["lanes"])
        return {"predictions": queue, "lanes": waiting}

    def _keep_held(self, new: Tensor, old: Tensor) -> Tensor:
        return torch.where(self.held.view(1, -1, *[1] * (new.dim() - 2)), old, new)  # [h, B, ...]

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Scores the predictions that were about this timestep."""
        pending, source, first = self._pending.get(timestep.source), timestep.source, timestep.first()
        reward = timestep.reward if self.mode == "add" else torch.zeros_like(timestep.reward)
        if pending is not None:
            scored = pending["lanes"][0] & ~first
            if self.held is not None:
                scored, first = scored & ~self.held, first & ~self.held
            if scored.any():
                reward = reward - self.weight * self._losses(timestep, pending["predictions"], scored)
            self._pending[source] = {**pending, "lanes": pending["lanes"] & ~first}
        return timestep._replace(reward=reward)

    def _losses(self, timestep: TimeStep, predictions: dict, scored: Tensor) -> Tensor:
        total = torch.zeros_like(timestep.reward)
        queue = dict(flatten(predictions))
        for path, target in self._targets_of(timestep.source).items():
            value, rows = target.find(timestep)
            if value is None:
                continue
            loss = target.score(queue[path][0], value, timestep.source)
            loss = torch.where(scored if rows is None else scored & rows, loss, 0.0)
            if not np.isfinite(loss.numpy()).all():
                lane = int(np.flatnonzero(~np.isfinite(loss.numpy()))[0])
                raise ActionError(
                    f"{timestep.source!r} (slot {self.slot}): expected predictions with a finite loss, {path_name(path)!r}"
                    f" for step {timestep.ticket.step} has {loss[lane].item()} in lane {lane}."
                )
            total = total + loss
        return total

    def state_dict(self) -> dict:
        """Adds the predictions that wait for what they are about."""
        return super().state_dict() | {"pending": dict(self._pending)}

    def load_state_dict(self, state: dict) -> None:
        """Restores the predictions."""
        super().load_state_dict(state)
        self._pending = dict(state["pending"])


class Target:
    """Is one thing to predict: where it is found, what a prediction looks like, and what it is worth.

    Args:
      path: of the observation's leaf; None for a signal.
      leaf: its spec.
      modality: its modality.
      loss: a function instead of the one that fits the modality.
      signal: a field of the timestep instead.
    """

    def __init__(
        self, path: Path | None, leaf: specs.Array, modality: Modality, loss: Loss | None, signal: str | None = None
    ):
        self.path, self.signal, self.loss = path, signal, loss
        self.kind = modality.representation
        shape = leaf.shape
        self.low: Any = 0
        if self.kind == "categorical":
            self.low, choices = self._choices(leaf)
            shape = (*shape, choices)
        self.spec = specs.Array(shape, np.float32, leaf.name)
        self.modality = Modality(modality.structure, "real", modality.context)

    def _choices(self, leaf: specs.Array) -> tuple[Tensor, int]:
        low, high = getattr(leaf, "minimum", None), getattr(leaf, "maximum", None)
        if low is None or high is None:
            raise SpecError(
                f"PredictInputs: expected bounds for {path_name(self.path)!r}, one logit for every choice, got"
                f" {describe(leaf)}. Leave it out with keys=, or tell the source how many choices there are."
            )
        low, high = np.array(low, np.int64), np.array(high, np.int64)
        return torch.from_numpy(low), int((high - low).max()) + 1

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
            value = value.long() - self.low
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
                f"PredictInputs: expected loss= to return float32 [{num_envs}] for {path_name(self.path)!r} of {source!r},"
                f" got {came}."
            )
        return loss.detach().to(torch.float32)
