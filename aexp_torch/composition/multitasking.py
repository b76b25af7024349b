"""Multitasking: one step is one step in every environment at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs as dm_specs
from torch import Tensor

from aexp_torch.composition.composition import JoinedComposition, with_lane_control
from aexp_torch.composition.episodes import AfterDone, Done, check_done
from aexp_torch.composition.joined import leaves_of, spec_of
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.specs import EnvSpec, Modality, map_tree, unflatten
from aexp_torch.specs.env_spec import DISCOUNT, REWARD
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["Multitasking"]

Rewards = dict[str, Tensor]
STEP_TYPE = dm_specs.BoundedArray((), np.int8, int(StepType.FIRST), int(StepType.LAST), "step_type")


class Multitasking(JoinedComposition):
    """Steps every environment at once: the agent sees all observations and gives all actions.

    Observation: `{name: observation}` of every environment, and for each `reward:<name>` and `discount:<name>`, float32
    [B], and `step_type:<name>`, int8 [B]: its own signals, always there. Where an environment has nothing to show (see
    `after_done`), its values are None, or masked where that is so in some lanes only, and its reward is 0.
    Action: `{name: action}` of every environment that has actions.

    | `done` | a lane of the composition |
    |---|---|
    | None | shows FIRST once, then MID for ever; the environments' episodes show in `step_type:<name>` |
    | "first" | is LAST where one environment is; the others end there, truncated |
    | "all" | is LAST where the last of them is done |

    After LAST all of them start over. LAST has the smallest discount of those that end there. An environment whose stream
    ends is done; with `done=None` it starts over.

    Args:
      envs: the environments, or `{name: environment}`; one source each, all with equally many lanes.
      name: names the composition, and with it its timesteps.
      done: when an episode of the composition ends, lane by lane; needs environments with lane control.
      after_done: with `done="all"`, what becomes of an environment that is done while others are not: it shows nothing
        ("skip", the default), shows its last observation ("freeze"), or starts over ("reset").
      reward: of the composition: "sum" or "mean" of theirs, 0 ("dict": they stand in the observation), or a function from
        `{name: float32 [B]}` to float32 [B].
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Raises:
      SpecError: unequal numbers of lanes, no lane control, an environment with several sources.

    >>> import torch, aexp_torch as ae
    >>> pair = {"left": ae.GymnasiumEnv("CartPole-v1"), "right": ae.GymnasiumEnv("CartPole-v1")}
    >>> env = ae.Multitasking(pair)
    >>> timestep = env.reset()
    >>> push = torch.tensor([1])
    >>> env.step({"left": {"action": push}, "right": {"action": push}}).reward
    tensor([2.])

    Source: `Multitasking` of the artificial-experience project.
    """

    def __init__(
        self,
        envs: Sequence[Env] | Mapping[str, Env],
        name: str | None = None,
        *,
        done: Done = None,
        after_done: AfterDone = None,
        reward: Literal["sum", "mean", "dict"] | Callable[[Rewards], Tensor] = "sum",
        **options: Any,
    ):
        super().__init__(envs, name, **options)
        self.given_after_done = after_done
        self.done, self.after_done = check_done(done, after_done, "Multitasking")
        if reward not in ("sum", "mean", "dict") and not callable(reward):
            raise SpecError(f"Multitasking: expected reward 'sum', 'mean', 'dict' or a function, got {reward!r}.")
        self.reward = reward
        if self.done is not None:
            why = f"for done={self.done!r}, where lanes start over on their own"
            with_lane_control(self.environments, "Multitasking", why, "done=None")
        self.names = tuple(envs) if isinstance(envs, Mapping) else tuple(env.name for env in self.environments)

    @property
    def lane_control(self) -> bool:
        """Whether all of them have it."""
        return all(env.lane_control for env in self.environments)

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST: with `done`, where its rule is met sooner or later."""
        if self.done is None:
            return False
        return (any if self.done == "first" else all)(env.episodic for env in self.environments)

    def on_open(self) -> None:
        """Starts with nobody done."""
        counts = {name: spec_of(env).num_envs for name, env in self._members()}
        if len(set(counts.values())) > 1:
            raise SpecError(
                f"Multitasking: expected environments with equally many lanes, got {counts}. Give them the same num_envs or"
                " batch_size, or use Interleave, whose environments take turns."
            )
        self._num_envs = next(iter(counts.values()))
        self._finished = torch.zeros(len(counts), self._num_envs, dtype=torch.bool)  # [N, B], in this episode
        self._specs = self.make_specs()  # what does not fit together is refused before the first timestep

    def _members(self) -> zip:
        return zip(self.names, self.environments, strict=True)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Puts the environments' specs side by side, and adds their signals."""
        members = {name: spec_of(env) for name, env in self._members()}
        signals: dict[str, Any] = {}
        for name in members:
            signals |= {f"reward:{name}": REWARD, f"step_type:{name}": STEP_TYPE, f"discount:{name}": DISCOUNT}
        clash = sorted(set(signals) & set(members))
        if clash:
            raise SpecError(f"Multitasking: expected names unlike those of signals, got {clash}. Rename them.")
        modalities = {
            "observation": {name: self._observed(spec) for name, spec in members.items()},
            "action": {name: spec.modalities["action"] for name, spec in members.items()},
        }
        modalities["observation"] |= {
            key: Modality("flat", "real", "reward") for key in signals if key[:7] == "reward:"
        }
        observation = {name: spec.observation for name, spec in members.items()} | signals
        action = {name: spec.action for name, spec in members.items() if spec.action}
        return {self.name: EnvSpec(observation, action, modalities=modalities, num_envs=self._num_envs)}

    def _observed(self, spec: EnvSpec) -> dict:
        """Returns the modalities of what an environment shows: optional where it may have nothing to show."""
        if self.done is None or self.after_done == "reset":
            return spec.modalities["observation"]
        return map_tree(lambda modality: replace(modality, optional=True), spec.modalities["observation"])

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts every environment over."""
        moving = torch.ones(self._num_envs, dtype=torch.bool) if lanes is None else lanes
        self._finished = self._finished & ~moving
        for env in self.environments:
            _reset(env, moving)
        before = self._outstanding
        timestep = self._join(StepType.FIRST, moving)
        return timestep if lanes is None else select_lanes(lanes, timestep, before)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Steps every environment with its part of the action."""
        if self.done is None:
            for name, env in self._members():
                try:
                    env.step(action.get(name, {}), lanes)
                except EndOfStream:
                    env.reset()
            timestep = self._join(StepType.MID, None)
        else:
            moving = torch.ones(self._num_envs, dtype=torch.bool) if lanes is None else lanes
            timestep = self._step_episodes(action, moving)
        return timestep if lanes is None else select_lanes(lanes, timestep, self._outstanding)

    def _step_episodes(self, action: dict, moving: Tensor) -> TimeStep:
        """Steps those that are not done, and starts all of them over where the composition was LAST."""
        begin = moving & self._outstanding.last()
        done = self._finished = self._finished & ~begin
        ended = torch.zeros_like(done)
        for place, (name, env) in enumerate(self._members()):
            go_on = moving & ~begin
            if self.after_done != "reset":
                go_on = go_on & ~done[place]
            ended[place] = _advance(env, action.get(name, {}), go_on, begin)
            if env._outstanding is None and self.done == "all" and self.after_done == "reset":
                env.reset()
        self._finished = done | ended
        by_rule = self._finished.any(0) if self.done == "first" else self._finished.all(0)
        end = moving & ~begin & by_rule
        step_type = torch.where(begin, StepType.FIRST, torch.where(end, StepType.LAST, StepType.MID)).to(torch.int8)
        return self._join(step_type, begin, end, done, ended)

    def _join(
        self,
        step_type: StepType | Tensor,
        begin: Tensor | None,
        end: Tensor | None = None,
        done: Tensor | None = None,
        ended: Tensor | None = None,
    ) -> TimeStep:
        """Puts the environments' outstanding timesteps together.

        Args:
          step_type: of the composition.
          begin: bool [B], where it is FIRST.
          end: bool [B], where it is LAST.
          done: bool [N, B], which environments were done before this step.
          ended: bool [N, B], which of them have ended in it.
        """
        observation: dict[str, Any] = {}
        signals: dict[str, Any] = {}
        rewards: Rewards = {}
        discount = torch.ones(self._num_envs)
        for place, (name, env) in enumerate(self._members()):
            timestep = env._outstanding
            if timestep is None:
                timestep = self._nothing(env)
            own, reward, own_discount, shown, _ = timestep
            if done is not None:
                if self.after_done != "reset":
                    reward = torch.where(done[place], 0.0, reward)
                own = torch.where(end & (own == StepType.MID), StepType.LAST, own).to(torch.int8)
                absent = done[place] if self.after_done == "skip" else torch.zeros_like(done[place])
                if env._outstanding is None:
                    absent = torch.ones_like(absent)
                shown = _without(shown, absent)
                discount = torch.where(end & ended[place], torch.minimum(discount, own_discount), discount)
            observation[name], rewards[name] = shown, reward
            signals |= {f"reward:{name}": reward, f"step_type:{name}": own, f"discount:{name}": own_discount}
        if isinstance(step_type, StepType):
            step_type = torch.full((self._num_envs,), step_type, dtype=torch.int8)
        return TimeStep(step_type, self._total(rewards, begin), discount, {**observation, **signals})

    def _nothing(self, env: Env) -> TimeStep:
        """Stands for an environment whose stream is over: LAST, truncated, without anything to see."""
        last = torch.full((self._num_envs,), StepType.LAST, dtype=torch.int8)
        absent = map_tree(lambda leaf: None, spec_of(env).observation)
        return TimeStep(last, torch.zeros(self._num_envs), torch.ones(self._num_envs), absent)

    def _total(self, rewards: Rewards, begin: Tensor | None) -> Tensor:
        if self.reward == "dict":
            return torch.zeros(self._num_envs)
        if callable(self.reward):
            total = self.reward(rewards)
            if not isinstance(total, Tensor) or total.dtype is not torch.float32 or len(total) != self._num_envs:
                raise SpecError(
                    f"Multitasking: expected float32 [{self._num_envs}] from reward=, got {total!r}. It is given a dict of"
                    " the rewards by name, float32 [B] each."
                )
            return total if begin is None else torch.where(begin, 0.0, total)
        total = reduce(torch.add, rewards.values())
        return total / len(rewards) if self.reward == "mean" else total

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Has data go on at its next unread minibatch; with `done`, where nobody knows that, it starts over."""
        shown = steps.get(self.name)
        if self.done is None and shown is not None:  # one timestep of each for every one of the composition
            steps = steps | {source.name: shown for env in self.environments for source in env.sources}
        super().go_on_after(steps, origin)

    def state_dict(self) -> dict:
        """Adds which environments are done, bool [N, B]."""
        return super().state_dict() | {"finished": self._finished}

    def load_state_dict(self, state: dict) -> None:
        """Restores which environments are done."""
        super().load_state_dict(state)
        self._finished = state["finished"]


def _reset(env: Env, lanes: Tensor) -> None:
    """Starts some lanes over; all of them where the stream is over, or has not begun."""
    if env._outstanding is None or lanes.all():
        env.reset()
    elif lanes.any():
        env.reset(lanes)


def _advance(env: Env, action: dict, go_on: Tensor, begin: Tensor) -> Tensor:
    """Steps the lanes that go on, starts those over that begin, holds the others; returns bool [B]: which have ended."""
    if env._outstanding is None:  # its stream is over
        if begin.any():
            env.reset()
        return torch.zeros_like(go_on)
    ended = env._outstanding.last()
    steps = go_on | (begin & ended)
    try:
        if steps.any():
            env.step(action, steps)
    except EndOfStream:
        if begin.any():
            env.reset()
        return go_on
    _reset(env, begin & ~ended)
    return go_on & env._outstanding.last()


def _without(observation: dict, absent: Tensor) -> dict:
    """Takes some rows out of an observation."""
    if not absent.any():
        return observation
    leaves: list[tuple[tuple, Tensor | None]] = []
    for path, value, mask in leaves_of(observation):
        there = ~absent if mask is None else mask & ~absent
        if value is None or not there.any():
            leaves.append((path, None))
            continue
        rows = there.view(-1, *[1] * (value.dim() - 1))
        leaves += [(path, torch.where(rows, value, torch.zeros_like(value)))]
        leaves += [((*path[:-1], f"mask:{path[-1]}"), there)]
    return unflatten(leaves) or {}
