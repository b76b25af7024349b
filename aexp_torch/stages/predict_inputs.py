"""PredictInputs: the agent says what it will see next, and is paid for being right."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Literal

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.prediction import HIDDEN_REWARD, REWARD, Loss, Path, Target, find_targets
from aexp_torch.specs import EnvSpec, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["PredictInputs"]

FIRST, _, LAST = (np.int8(kind) for kind in StepType)


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
    `signals` `predict:reward` and `predict:discount`, float32 [B], scored by squared error. The context of their modalities
    begins with `next`.

    Args:
      env: the environment below.
      keys: glob, or several, over the names of observation leaves (`a/b` for nested ones).
      loss: other losses: a function of prediction [B, ...] and target [B, ...] that returns float32 [B], or
        `{name of a leaf: function}`. A categorical target is given as int64 from 0 on, a binary one as float32.
      weight: reward per unit of loss.
      mode: "add" changes the reward, "replace" leaves nothing but -weight times the loss.
      horizon: how many timesteps ahead, at least 1.
      signals: asks for reward (before it is changed here) and discount, too: all that an imagined environment needs. An
        agent that learns from what it is shown needs to see that reward: weight 0 leaves it as it is.

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
        self._keys: dict[str, set[str]] = {}

    def _targets_of(self, source: str) -> dict[Path, Target]:
        """Returns what is predicted of a source, by place in the prediction."""
        if source not in self._targets:
            self._targets[source] = self._find_targets(self.env.specs[source])
        return self._targets[source]

    def _keys_of(self, source: str) -> set[str]:
        """Returns the keys of the predictions in an answer."""
        if source not in self._keys:
            self._keys[source] = {path[0] for path in self._targets_of(source)}
        return self._keys[source]

    def _find_targets(self, spec: EnvSpec) -> dict[Path, Target]:
        def wanted(name: str) -> bool:
            return any(fnmatch(name, pattern) for pattern in self.keys)

        def loss(name: str) -> Loss | None:
            return self.loss.get(name) if isinstance(self.loss, Mapping) else self.loss

        names = [path_name(path) for path, _ in flatten(spec.observation)]
        unknown = sorted(set(self.loss) - set(names)) if isinstance(self.loss, Mapping) else []
        if not any(map(wanted, names)) or unknown:
            raise SpecError(
                f"PredictInputs: expected keys= and loss= to name some of {names}, got {self.keys} and {unknown or None}."
                " Name what every source has, or put PredictInputs around each of them."
            )
        return find_targets(spec, wanted, self.signals, loss)

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
        if self.signals and (self.weight or self.mode == "replace"):
            kinds[REWARD] = replace(kinds[REWARD], context=HIDDEN_REWARD)
        new.modalities["action"].update(kinds)
        return new

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Keeps the predictions, takes them off the answer."""
        source, keys = timestep.source, self._keys_of(timestep.source)
        newest = {key: value for key, value in action.items() if key in keys}
        lanes = from_numpy(timestep.step_type.numpy() != LAST)
        self._pending[source] = self._push(self._pending.get(source), newest, lanes)
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
        source, going = timestep.source, timestep.step_type.numpy() != FIRST
        pending = self._pending.get(source)
        reward = timestep.reward if self.mode == "add" else torch.zeros_like(timestep.reward)
        if pending is not None:
            lanes = pending["lanes"].numpy()  # [h, B]
            scored, kept = lanes[0] & going, going
            if self.held is not None:
                held = self.held.numpy()
                scored, kept = scored & ~held, going | held
            if scored.any():
                reward = reward - self.weight * self._losses(timestep, pending["predictions"], from_numpy(scored))
            self._pending[source] = {**pending, "lanes": from_numpy(lanes & kept)}
        return timestep._replace(reward=reward)

    def _losses(self, timestep: TimeStep, predictions: dict, scored: Tensor) -> Tensor:
        total = torch.zeros_like(timestep.reward)
        everywhere = bool(scored.all())
        queue = dict(flatten(predictions))
        for path, target in self._targets_of(timestep.source).items():
            value, rows = target.find(timestep)
            if value is None:
                continue
            loss = target.score(queue[path][0], value, timestep.source)
            if rows is not None or not everywhere:
                loss = torch.where(scored if rows is None else scored & rows, loss, 0.0)
            finite = np.isfinite(loss.numpy())
            if not finite.all():
                lane = int(np.flatnonzero(~finite)[0])
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
