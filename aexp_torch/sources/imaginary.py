"""Imaginary: an environment that a predicting agent imagines."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.prediction import Path, Target, find_targets, without_predictions
from aexp_torch.specs import EnvSpec, describe, flatten, map_tree, path_name, unflatten
from aexp_torch.specs.check import torch_dtype
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["Imaginary"]

Predictor = Callable[[dict[str, Any], dict[str, Any]], Mapping[str, Any]]
Start = Callable[[np.random.Generator, int], dict[str, Any]]


class Imaginary(Env):
    """Lets a predictor, such as an agent trained under `PredictInputs`, stand for the environment that it has learned.

    Every lane starts from an observation of the real environment. From then on, what is predicted is what happens:

    | prediction | becomes |
    |---|---|
    | `predict:<key>` of real numbers or integers | the observation, within its bounds |
    | `predict:<key>` of categorical and binary values (logits) | the likeliest value, or with `stochastic` a draw |
    | `predict:reward` | the reward |
    | `predict:discount` below the threshold | LAST, discount 0: terminated |
    | `predict:discount` otherwise | the discount, in [0, 1] |

    After `horizon` transitions a lane is truncated. Real numbers and signals are never drawn: a prediction by squared
    error is a mean, without a spread. What the real environment may leave out is always there.

    Observation: as in `specs`.  Action: as in `specs`, without the predictions.

    Args:
      predictor: `predictor(observation, action)`, trees of tensors [B, ...] on the CPU, returns `predict:<key>` for every
        key of the observation (trees where these are), `predict:reward` and `predict:discount`; float32 [B, ...] as
        `PredictInputs` asks for. Other keys are ignored. It is called without gradient. A module is copied here and now,
        onto the CPU and in eval mode: what it learns later does not reach this environment. Or an agent that gives one
        by `agent.predictor()`, such as `WorldModel`.
      start: real observations to begin with: a tree of tensors [N, ...] from which each lane draws uniformly
        (`replay_buffer.sample(1000).observation` is one), or a function of a `numpy.random.Generator` and n that returns
        n of them.
      horizon: transitions of an episode, at most.
      stochastic: draws categorical and binary values, from a generator per lane.
      specs: of the real environment, with or without `PredictInputs` around it, or a dict with that one entry; the default
        is `predictor.specs`.
      num_envs: number of lanes B; the default is that of `specs`.
      threshold: a lane ends where the predicted discount is below it, in (0, 1].
      name: names the source; an agent that is to act in the real environment needs its name, here or there.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.

    Raises:
      SpecError: wrong options; starts that do not fit the specs; while stepping, predictions that are missing, have a
        wrong shape, or are not finite.

    >>> import torch, aexp_torch as ae
    >>> real = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    >>> def drift(observation, action):  # the cart goes where it is pushed, and that is all
    ...     push = (2 * action["action"] - 1)[:, None] * torch.tensor([0.1, 0, 0, 0])
    ...     ones = torch.ones(len(push))
    ...     moved = observation["observation"] + push
    ...     return {"predict:observation": moved, "predict:reward": ones, "predict:discount": ones}
    >>> env = ae.Imaginary(drift, start={"observation": torch.zeros(1, 4)}, horizon=3, specs=real.specs)
    >>> timesteps = [env.reset()] + [env.step(torch.tensor([0, 1])) for _ in range(3)]
    >>> [timestep.observation["observation"][1, 0].item() for timestep in timesteps]
    [0.0, 0.10..., 0.20..., 0.30...]
    >>> timesteps[-1].truncated()
    tensor([True, True])

    Source: `Imaginary` of the artificial-experience project; Sutton 1991, "Dyna"; Ha and Schmidhuber 2018, "World models".
    """

    lane_control = True

    def __init__(
        self,
        predictor: Any,
        start: dict[str, Any] | Start,
        horizon: int,
        stochastic: bool = False,
        specs: EnvSpec | Mapping[str, EnvSpec] | None = None,
        num_envs: int | None = None,
        threshold: float = 0.5,
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
    ):
        super().__init__(name, seed=seed, on_missing=on_missing, feedback_timeout=feedback_timeout)
        if hasattr(predictor, "predictor"):
            predictor = predictor.predictor()
        if not callable(predictor):
            raise SpecError(
                "Imaginary: expected a function of observation and action, or an agent that predicts (WorldModel), got"
                f" {predictor!r}."
            )
        self.real_spec = _real_spec(getattr(predictor, "specs", None) if specs is None else specs)
        num_envs = self.real_spec.num_envs if num_envs is None else num_envs
        whole = all(isinstance(number, int) and number >= 1 for number in (horizon, num_envs))
        if not whole or not 0 < threshold <= 1:
            raise SpecError(
                "Imaginary: expected horizon and num_envs of at least 1 and a threshold in (0, 1], got"
                f" {horizon!r}, {num_envs!r}, {threshold!r}."
            )
        self.predictor = _frozen(predictor)
        self.horizon, self.num_envs, self.threshold, self.stochastic = horizon, num_envs, threshold, stochastic
        find_targets(self.real_spec, signals=True, who="Imaginary")  # what cannot be predicted is refused at once
        self.start = start
        if not callable(start):
            _check_observations(start, None, self.real_spec, "start=")
            self.start = map_tree(lambda leaf: leaf.detach().cpu(), start)

    @property
    def max_episode_steps(self) -> int:
        """The horizon."""
        return self.horizon

    def on_open(self) -> None:
        """Prepares a generator for each lane."""
        self._targets = find_targets(self.real_spec, signals=True, who="Imaginary")
        self._draws = sum(target.num_draws for target in self._targets.values()) if self.stochastic else 0
        self._generators = [np.random.default_rng(self.seeds(lane)) for lane in range(self.num_envs)]
        self._observation: dict[str, Any] | None = None  # what every lane shows
        self._age = torch.zeros(self.num_envs, dtype=torch.int64)  # transitions since FIRST

    def make_specs(self) -> dict[str, EnvSpec]:
        """Returns the specs of the real environment."""
        return {self.name: replace(self.real_spec, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts from real observations."""
        moving = torch.ones(self.num_envs, dtype=torch.bool) if lanes is None else lanes
        return self._show(moving, moving, None)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Asks the predictor what happens; lanes that were LAST start again."""
        moving = torch.ones(self.num_envs, dtype=torch.bool) if lanes is None else lanes
        begin = self._outstanding.last() & moving
        imagined = moving & ~begin
        return self._show(moving, begin, self._imagine(action, imagined) if imagined.any() else None)

    def _show(self, moving: Tensor, begin: Tensor, imagined: dict[Path, Tensor] | None) -> TimeStep:
        """Puts together what lanes that begin, lanes that go on and lanes that are held show.

        Args:
          moving: bool [B].
          begin: bool [B], within `moving`.
          imagined: what happens, by place of the prediction; None where no lane goes on.
        """
        reward, discount = torch.zeros(self.num_envs), torch.ones(self.num_envs)
        ended = torch.zeros(self.num_envs, dtype=torch.bool)
        observation = self._observation
        self._age = torch.where(begin, 0, self._age + moving)
        if imagined is not None:
            goes_on = moving & ~begin
            reward = torch.where(goes_on, imagined.pop(("predict:reward",)), reward)
            discount = torch.where(goes_on, imagined.pop(("predict:discount",)), discount)
            terminated = discount < self.threshold
            discount = discount.masked_fill(terminated, 0.0)
            ended = terminated | (goes_on & (self._age >= self.horizon))
            leaves = [((path[0].removeprefix("predict:"), *path[1:]), leaf) for path, leaf in imagined.items()]
            observation = unflatten(leaves) if goes_on.all() else _mix(goes_on, unflatten(leaves), observation)
        if begin.any():
            observation = self._begin(begin, observation)
        self._observation = observation
        step_type = torch.where(begin, StepType.FIRST, torch.where(ended, StepType.LAST, StepType.MID)).to(torch.int8)
        shown = map_tree(Tensor.clone, observation)  # whoever writes into it does not change what is imagined next
        timestep = TimeStep(step_type, reward, discount, shown)
        return timestep if moving.all() else select_lanes(moving, timestep, self._outstanding)

    def _begin(self, lanes: Tensor, observation: dict | None) -> dict:
        """Returns the observation with real ones in `lanes` (bool [B]); None for an observation means in all of them."""
        chosen = lanes.nonzero().flatten()
        generators = [self._generators[lane] for lane in chosen.tolist()]
        if callable(self.start):
            given = [self.start(generator, 1) for generator in generators]
            for tree in given:
                _check_observations(tree, 1, self.real_spec, "start=")
            leaves = [dict(flatten(tree)) for tree in given]
            rows = {path: torch.cat([each[path] for each in leaves]) for path, _ in flatten(self.real_spec.observation)}
        else:
            known = dict(flatten(self.start))
            count = len(next(iter(known.values())))
            drawn = torch.tensor([int(generator.integers(count)) for generator in generators])
            rows = {path: known[path][drawn] for path, _ in flatten(self.real_spec.observation)}
        if len(chosen) == self.num_envs:
            return unflatten(list(rows.items()))
        old = dict(flatten(observation))
        return unflatten([(path, old[path].index_copy(0, chosen, row)) for path, row in rows.items()])

    def _imagine(self, action: dict, lanes: Tensor) -> dict[Path, Tensor]:
        """Returns what the predictor says happens, by place of the prediction; it counts in `lanes` (bool [B])."""
        try:
            with torch.no_grad():
                predicted = self.predictor(self._observation, action)
        except Exception as error:
            error.add_note(f"while {self._who()} asked its predictor what follows step {self._outstanding.ticket.step}")
            raise
        if not isinstance(predicted, Mapping):
            raise SpecError(
                f"{self._who()}: expected the predictor to return a dict of predictions, got {type(predicted).__name__}."
            )
        found = dict(flatten(dict(predicted)))
        missing = [path_name(path) for path in self._targets if path not in found]
        if missing:
            raise SpecError(
                f"{self._who()}: expected predictions {[path_name(path) for path in self._targets]}, missing {missing}."
                " PredictInputs(env, signals=True) asks an agent for all of them."
            )
        draws = self._draw(lanes) if self._draws else {}
        happens = {}
        for path, target in self._targets.items():
            prediction = self._checked(path_name(path), found[path], target, lanes)
            happens[path] = target.value(prediction, draws.get(path))
        return happens

    def _checked(self, name: str, prediction: Any, target: Target, lanes: Tensor) -> Tensor:
        shape = (self.num_envs, *target.spec.shape)
        if not isinstance(prediction, Tensor) or prediction.shape != shape or not prediction.is_floating_point():
            is_tensor = isinstance(prediction, Tensor)
            came = f"{prediction.dtype} {list(prediction.shape)}" if is_tensor else type(prediction).__name__
            raise SpecError(f"{self._who()}: expected {name!r} as float32 {list(shape)}, got {came}.")
        prediction = prediction.detach().cpu().float()
        finite = prediction.isfinite()
        if not finite.all():
            wrong = lanes & ~finite.view(self.num_envs, -1).all(1)
            if wrong.any():
                lane = int(wrong.nonzero()[0])
                raise SpecError(
                    f"{self._who()}: expected finite predictions, {name!r} of what follows step"
                    f" {self._outstanding.ticket.step} has {prediction[lane][~finite[lane]][0].item()} in lane {lane}."
                    " Imagine fewer steps (horizon=), or train the predictor on more of what it meets here."
                )
            prediction = prediction.nan_to_num(0.0, 0.0, 0.0)  # in lanes that do not count
        return prediction

    def _draw(self, lanes: Tensor) -> dict[Path, Tensor]:
        """Returns random numbers for each prediction that is drawn, float32 [B, num_draws]."""
        numbers = np.zeros((self.num_envs, self._draws), np.float32)
        for lane in lanes.nonzero().flatten().tolist():
            self._generators[lane].random(out=numbers[lane], dtype=np.float32)
        counts = [target.num_draws for target in self._targets.values()]
        return dict(zip(self._targets, torch.from_numpy(numbers).split(counts, 1), strict=True))

    def _who(self) -> str:
        return f"{self.name!r} (Imaginary, slot {self.slot})"

    def state_dict(self) -> dict:
        """Adds what every lane shows, how old it is, and the generators; the predictor belongs to the recipe."""
        return super().state_dict() | {
            "observation": self._observation,
            "age": self._age,
            "generators": [pack_generator(generator) for generator in self._generators],
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the lanes."""
        super().load_state_dict(state)
        self._observation, self._age = state["observation"], state["age"]
        self._generators = [unpack_generator(packed) for packed in state["generators"]]


def _real_spec(specs: Any) -> EnvSpec:
    """Returns the spec of the only source, without predictions."""
    if isinstance(specs, Mapping) and len(specs) == 1:
        specs = next(iter(specs.values()))
    if not isinstance(specs, EnvSpec):
        came = f"sources {list(specs)}" if isinstance(specs, Mapping) else repr(specs)
        raise SpecError(f"Imaginary: expected the EnvSpec of one source (specs=env.specs[name]), got {came}.")
    if not specs.observation:
        raise SpecError("Imaginary: expected a source with something to observe, its observation is empty.")
    return without_predictions(specs)


def _frozen(predictor: Any) -> Any:
    if not isinstance(predictor, nn.Module):
        return predictor
    return copy.deepcopy(predictor).cpu().eval().requires_grad_(False)


def _mix(lanes: Tensor, new: dict, old: dict) -> dict:
    return map_tree(lambda one, other: torch.where(lanes.view(-1, *[1] * (one.dim() - 1)), one, other), new, old)


def _check_observations(tree: Any, count: int | None, spec: EnvSpec, what: str) -> None:
    """Refuses observations that are not `count` (None for any number) rows of a spec."""
    known = dict(flatten(spec.observation))
    given = dict(flatten(tree)) if isinstance(tree, dict) else {}
    rows = {len(leaf) for leaf in given.values() if isinstance(leaf, Tensor) and leaf.dim()}
    expected = f"{describe(spec.observation)} for each of {'N' if count is None else count} rows"
    if given.keys() != known.keys() or len(rows) != 1 or 0 in rows or (count is not None and rows != {count}):
        came = {path_name(path): list(leaf.shape) if isinstance(leaf, Tensor) else leaf for path, leaf in given.items()}
        raise SpecError(
            f"Imaginary: expected {what} as tensors {expected}, got {came if given else type(tree).__name__}. Keys that are"
            " absent (None) cannot be imagined from: leave them out of specs."
        )
    for path, leaf in given.items():
        low, high = (getattr(known[path], name, None) for name in ("minimum", "maximum"))
        fits = leaf.shape[1:] == known[path].shape and leaf.dtype is torch_dtype(known[path])
        fits = fits and (not leaf.is_floating_point() or bool(leaf.isfinite().all()))
        if fits and low is not None and leaf.dtype is not torch.bool:
            array = leaf.numpy(force=True)
            fits = bool(((array >= low) & (array <= high)).all())
        if not fits:
            extent = f" from {leaf.min().item()} to {leaf.max().item()}" if leaf.numel() else ""
            raise SpecError(
                f"Imaginary: expected {what} with {path_name(path)!r} as {describe(known[path])}, finite and within bounds,"
                f" for every row; got {leaf.dtype} {list(leaf.shape)}{extent}."
            )
