"""Timescaled: what static and dynamic time scales share (no stage of its own)."""

import zlib
from abc import abstractmethod
from dataclasses import replace
from typing import Literal

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality, flatten, map_tree, unflatten
from aexp_torch.specs.infer import with_sides
from aexp_torch.specs.sample import zeros
from aexp_torch.stages.pooling import Pool, check_pool, pool_trees
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["Timescaled"]

PHASE = "timescale:phase"
LONGEST_SKIP = 1_000_000  # environment steps that nobody is told of, before this is taken for a mistake
TOLERANCE = 1e-6  # ratios are summed up
FIRST, MID, LAST = (np.int8(kind) for kind in StepType)


class Timescaled(Stage):
    """Lets agent and environment step at different rates, lane by lane.

    A lane's ratio is agent steps per environment step. Where it is above 1 an observation is shown several times and
    what the agent answers is pooled; where it is below 1 several environment steps follow one answer and what they show
    is pooled. `_carry` is the part of an agent step that is left over from the observations before, so that each lane
    keeps to its ratio over time; `_shown` counts how often the observation has been shown.

    Args:
      env: the environment below, with lane control.
      hold: what the environment gets after the first of several steps.
      input: whether an observation that was shown before is shown again, or absent.
      pool_observation: makes one observation of those of several environment steps.
      pool_action: makes one answer of those that were given to one observation.
      observe_phase: adds the key `timescale:phase`.
      max_skip: the most environment steps after one answer.
    """

    own_keys: tuple[str, ...] = (PHASE,)
    _ratio: np.ndarray  # float64 [B]: in effect for the answer to the outstanding timestep

    def __init__(
        self,
        env: Env,
        hold: Literal["repeat", "noop"],
        input: Literal["repeat", "drop"],
        pool_observation: Pool,
        pool_action: Pool,
        observe_phase: bool,
        max_skip: int | None = None,
    ):
        super().__init__(env)
        who = type(self).__name__
        if hold not in ("repeat", "noop") or input not in ("repeat", "drop"):
            raise SpecError(
                f"{who}: expected hold 'repeat' or 'noop' and input 'repeat' or 'drop', got {hold!r}, {input!r}."
            )
        check_pool(pool_observation, "pool_observation", who)
        check_pool(pool_action, "pool_action", who)
        if not env.lane_control:
            raise SpecError(
                f"{who}: expected an environment that steps single lanes, since lanes end at different times;"
                f" {type(env).__name__} {env.name!r} has no lane control. Use num_envs=1 (batch_size=1 for a dataset) or"
                f" GymnasiumEnv(..., vectorization='sync'); put {who} around each environment of a composition."
            )
        self.hold, self.input, self.observe_phase, self.max_skip = hold, input, observe_phase, max_skip
        self.pool_observation, self.pool_action = pool_observation, pool_action

    @abstractmethod
    def first_ratio(self) -> float:
        """Returns the ratio at the start of an episode."""

    def split_answer(self, action: dict) -> tuple[dict, np.ndarray | None]:
        """Returns what goes to the environment, and the ratios (float64 [B]) that are asked for; None keeps them."""
        return action, None

    def longest(self) -> float:
        """Returns the most agent steps per environment step."""
        return self.first_ratio()

    # Which stream this is.

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST: not if the environment may never be stepped."""
        return self.env.episodic and np.isfinite(self.longest())

    @property
    def max_episode_steps(self) -> int | None:
        """The longest episode as the agent counts it."""
        below, ratio = self.env.max_episode_steps, self.longest()
        if below is None or not np.isfinite(ratio):
            return None
        return max(1, int(np.floor(below * ratio + TOLERANCE) if ratio >= 1 else np.ceil(below * ratio - TOLERANCE)))

    @property
    def stream_length(self) -> int | None:
        """Not known: it depends on where episodes end."""
        return None

    @property
    def pass_length(self) -> int | None:
        """Not known: it depends on where episodes end."""
        return None

    # Specs.

    def on_open(self) -> None:
        """Starts every lane at its first ratio."""
        if len(self.env.specs) != 1:
            raise SpecError(
                f"{type(self).__name__}: expected one source below, got {sorted(self.env.specs)}. Put"
                f" {type(self).__name__} around each of them."
            )
        (self._spec,) = self.env.specs.values()
        self._begin()
        self._generators = {side: self._generator(side) for side in ("observation", "action")}

    def _generator(self, side: str) -> np.random.Generator:
        below, depth = self.env, 0
        while isinstance(below, Stage):
            depth, below = depth + isinstance(below, Timescaled), below.env
        return np.random.default_rng(self.seeds(zlib.crc32(b"Timescaled"), depth, zlib.crc32(side.encode())))

    def _begin(self) -> None:
        num_envs = self._spec.num_envs
        self._ratio = np.full(num_envs, self.first_ratio(), np.float64)
        self._carry = np.zeros(num_envs)
        self._shown = np.ones(num_envs, np.int64)
        self._answers: list[tuple[dict, Tensor]] = []  # to the observation that is shown, and in which lanes

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds `timescale:phase`; what may be dropped is optional."""
        if self.input == "drop" and self.longest() > 1:
            optional = map_tree(lambda modality: replace(modality, optional=True), spec.modalities["observation"])
            spec = replace(spec, modalities={**spec.modalities, "observation": optional})
        if not self.observe_phase:
            return spec
        self.refuse_taken(PHASE, spec.observation, "observation")
        most = self.longest()
        high = max(int(np.ceil(most)) - 1, 0) if np.isfinite(most) else np.iinfo(np.int64).max
        leaf = specs.BoundedArray((), np.int64, 0, high, PHASE)
        new = with_sides(spec, observation={**spec.observation, PHASE: leaf})
        new.modalities["observation"][PHASE] = Modality("flat", "integer", "time")
        return new

    def refuse_taken(self, key: str, tree: dict, side: str) -> None:
        """Raises a SpecError where a key is there already."""
        if key in tree:
            raise SpecError(
                f"{type(self).__name__}: expected a free key, {key!r} is in the {side} already ({sorted(tree)}). Rename"
                " it below with Lambda."
            )

    # Stepping. What is counted per lane is in arrays, which are new each time: state_dict hands them out.

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts new episodes."""
        before = self._outstanding
        if lanes is None:
            self._begin()
            return self._show(self.env.reset())
        self._start(lanes.numpy())
        self._answers = [(answer, counts & ~lanes) for answer, counts in self._answers]
        return select_lanes(lanes, self._show(self.env.reset(lanes)), before)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Shows the same observation again, or steps the environment until it is the agent's turn, lane by lane."""
        before, ratio, extra = self._outstanding, self._ratio, self._shown - 1
        going = before.step_type.numpy() != LAST
        again = going & (self._shown < np.floor(self._carry + ratio + TOLERANCE))
        run = ~again
        if lanes is not None:
            again, run, going = again & lanes.numpy(), run & lanes.numpy(), going & lanes.numpy()
        action, wanted = self.split_answer(action)
        if self.pool_action != "last":
            action = self._pooled_answer(action, again, run)
        self._shown = np.where(run, 1, self._shown + again)
        if wanted is not None:
            self._ratio = np.where(going, wanted, ratio)
        if not run.any():
            return self._show(self._repeated(before, again))
        timestep = self._advance(action, run, ratio, extra)
        begun = run & (timestep.step_type.numpy() == FIRST)
        if begun.any():
            self._start(begun)
        if not run.all():
            timestep = select_lanes(from_numpy(run), timestep, self._repeated(before, again))
        return self._show(timestep)

    def _start(self, lanes: np.ndarray) -> None:
        self._ratio = np.where(lanes, self.first_ratio(), self._ratio)
        self._carry = np.where(lanes, 0.0, self._carry)
        self._shown = np.where(lanes, 1, self._shown)

    def _advance(self, action: dict, run: np.ndarray, ratio: np.ndarray, extra: np.ndarray) -> TimeStep:
        """Steps the environment in some lanes, each until it is the agent's turn or its episode begins or ends.

        Rewards are summed up, weighted by the discounts before them; discounts are multiplied. `extra` counts the agent
        steps that were spent on the observation before besides the first.
        """
        progress = np.maximum(self._carry + ratio - extra, np.minimum(ratio, 1.0))
        moving, seen = run, []
        for number in range(1, LONGEST_SKIP + 1):
            timestep = self.env.step(action) if moving.all() else self.env.step(action, from_numpy(moving))
            if number == 1:
                reward, discount = timestep.reward.numpy(), timestep.discount.numpy()
            else:
                reward = np.where(moving, reward + discount * timestep.reward.numpy(), reward)
                discount = np.where(moving, discount * timestep.discount.numpy(), discount)
            if self.pool_observation != "last":
                seen.append((timestep.observation, from_numpy(moving)))
            moving = moving & (timestep.step_type.numpy() == MID) & (progress < 1 - TOLERANCE)
            if number == self.max_skip or not moving.any():
                self._carry = np.where(run, np.clip(progress - 1, 0.0, 1.0), self._carry)
                if number == 1:
                    return timestep
                shown = self._pooled(seen, timestep)
                return TimeStep(timestep.step_type, from_numpy(reward), from_numpy(discount), shown, timestep.ticket)
            progress = np.where(moving, progress + ratio, progress)
            if number == 1 and self.hold == "noop":
                action = zeros(self._spec.action, self._spec.num_envs)
        raise SpecError(
            f"{type(self).__name__}: expected lanes {np.flatnonzero(moving).tolist()} of {self.name!r} to end their"
            f" episodes, they went on for {LONGEST_SKIP} steps without the agent. Use a higher ratio, or a time limit below."
        )

    def _pooled(self, seen: list, timestep: TimeStep) -> dict:
        if self.pool_observation == "last":
            return timestep.observation
        trees, counts = zip(*seen, strict=True)
        sides = self._spec.modalities["observation"], self._generators["observation"]
        return pool_trees(self.pool_observation, list(trees), list(counts), *sides, type(self).__name__)

    def _pooled_answer(self, action: dict, again: np.ndarray, run: np.ndarray) -> dict:
        """Adds an answer to those to the same observation, and makes one of them in the lanes that run."""
        if not np.isfinite(self.first_ratio()):
            return action  # which the environment will never see
        answers = [*self._answers, (action, from_numpy(again | run))]
        if len(answers) > 1 and run.any():
            trees, counts = zip(*answers, strict=True)
            sides = self._spec.modalities["action"], self._generators["action"]
            action = pool_trees(self.pool_action, list(trees), list(counts), *sides, type(self).__name__)
        waiting = [(answer, counts & from_numpy(~run)) for answer, counts in answers]
        self._answers = [(answer, counts) for answer, counts in waiting if counts.any()]
        return action

    def _repeated(self, before: TimeStep, again: np.ndarray) -> TimeStep:
        """Returns the outstanding timestep; in some lanes it is shown again to an agent that goes on."""
        rows, observation = from_numpy(again), before.observation
        if not again.any():
            return before
        if self.input == "drop":
            own = set(self.own_keys) - self._spec.observation.keys()  # one below may show a key of that name
            below = {key: value for key, value in observation.items() if key not in own}
            observation = without_rows(below, rows)
        return TimeStep(
            before.step_type.masked_fill(rows, StepType.MID),
            before.reward.masked_fill(rows, 0.0),
            before.discount.masked_fill(rows, 1.0),
            observation,
        )

    def _show(self, timestep: TimeStep) -> TimeStep:
        observation = timestep.observation
        if self.observe_phase:
            observation = {**observation, PHASE: from_numpy(self._shown - 1)}
        return timestep._replace(observation=observation, ticket=None)

    # State.

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Goes on where a lost process stood; how many steps the environment had made is reckoned from the ratio."""
        ratio = self.first_ratio()
        below = {source: int(step / ratio) if 0 < ratio < np.inf else min(step, 0) for source, step in steps.items()}
        super().go_on_after(below, origin)

    def state_dict(self) -> dict:
        """Adds, per lane, the ratio, what is left over of an agent step, how often and with what it was answered."""
        return super().state_dict() | {
            "ratio": from_numpy(self._ratio),
            "carry": from_numpy(self._carry),
            "times_shown": from_numpy(self._shown),
            "answers": [{"answer": answer, "lanes": lanes} for answer, lanes in self._answers],
            "generators": {side: pack_generator(generator) for side, generator in self._generators.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the place of every lane."""
        super().load_state_dict(state)
        self._ratio, self._carry, self._shown = (state[key].numpy() for key in ("ratio", "carry", "times_shown"))
        self._answers = [(item["answer"], item["lanes"]) for item in state["answers"]]
        self._generators = {side: unpack_generator(packed) for side, packed in state["generators"].items()}


def without_rows(observation: dict, rows: Tensor) -> dict:
    """Returns the observation without what some rows (bool [B]) show: 0 and masked there, None where that is all."""
    given = dict(flatten(observation))
    leaves: list[tuple[tuple, Tensor | None]] = []
    for path, value in given.items():
        if path[-1].startswith("mask:"):
            continue
        mask_path = (*path[:-1], f"mask:{path[-1]}")
        there = given.get(mask_path, ~rows) & ~rows
        if value is None or not there.any():
            leaves.append((path, None))
        else:
            leaves.append((path, value.masked_fill(rows.view(-1, *[1] * (value.dim() - 1)), 0)))
            leaves.append((mask_path, there))
    return unflatten(leaves) or {}
