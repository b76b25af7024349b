"""TorchEnv: simulators that step many environments at once as tensors, on a GPU or anywhere."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.sources.torch_lanes import TorchLanes
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import TimeStep

__all__ = ["BatchedSimulator", "TorchEnv"]


class BatchedSimulator(Protocol):
    """Is what a `TorchEnv` steps: a Gymnasium-style environment of B lanes, all of whose data are tensors `[B, ...]`.

    Environments of Isaac Lab, of ManiSkill and of mjlab (MuJoCo Warp) are such; `aexp_torch.testing.TorchCartPole` is a
    small one. An observation is a tensor, or a nested dict of tensors; so is an action.

    It may have more:

    - `single_observation_space` and `single_action_space`: Gymnasium's spaces for one lane, from which the specs follow.
    - `metadata["autoreset_mode"]`: Gymnasium's `AutoresetMode`, or its value.
    - `state_dict()` and `load_state_dict(state)`: everything that it needs to go on exactly, its generators included, as
      tensors and primitives. It makes the `TorchEnv` resumable.
    - `close()`.
    """

    num_envs: int
    device: torch.device | str

    def reset(self, *, seed: int | None = None) -> Any:
        """Begins an episode in every lane: `(observation, extras)`, or the observation alone."""

    def step(self, action: Any) -> tuple[Any, Tensor, Tensor, Tensor, dict]:
        """Returns observation, reward [B], terminated bool [B], truncated bool [B] and extras.

        Next-step autoreset: the step after a lane has ended ignores its action and returns the first observation of its
        next episode. Same-step autoreset: the step in which a lane ends returns that observation at once, and the final
        one, with the rows of the other lanes filled with anything, as `extras["final_observation"]` or
        `extras["final_obs"]`.
        """


class TorchEnv(SimulatorEnv):
    """Runs the lanes of a batched simulator; tensors in and out stay on its device, and nothing waits for it.

    Observation: the simulator's, in memory of its own; a tensor without a name is `observation`.
    Action: likewise; a tensor without a name is `action`.
    Keys, shapes and dtypes are checked; values of answers and rewards are not on a device other than the CPU, since that
    would wait for it at every step.

    A lane that ends shows its final observation on LAST; its next timestep is FIRST. Terminated is discount 0, truncated
    discount 1. Where a simulator resets within the step (same-step autoreset):

    - Its lanes cannot wait while LAST is shown: the first step of a new episode is taken with an action of zeros, and
      FIRST shows what comes after it. What the agent answers to LAST changes nothing.
    - One that gives no final observation (Isaac Lab gives none by itself) has lost it: LAST then repeats the observation
      before, never that of the next episode.

    One seed, that of lane 0, is for the whole batch. Around a live simulator it runs in this process only. `ObserveReward`,
    `Lambda`, functions, `Interleave` and `Loader` leave everything on the device. Stages that look at observations in
    NumPy (`FrameStack`, `NormalizeObservation` ...) and replay buffers want the CPU, above
    `env.pipe(lambda timestep: timestep.to("cpu"))`; `Loader(num_workers=...)` wants a simulator on the CPU.

    Args:
      simulator: a `BatchedSimulator`, or a function that makes one.
      num_envs: number of lanes B, with which the function is called; None: 1, or those of a live simulator.
      specs: what the simulator's data are, where it has no spaces; its `device` and `num_envs` do not matter.
      autoreset: when it resets lanes; `"auto"`: as its `metadata` says, else `"same_step"`.
      name: names the source; the default is the simulator's class, or the function's name.
      seed: S of the seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      options: for the function.

    Raises:
      SpecError: the simulator is none, or (at the first steps) its data do not fit its specs.

    >>> from aexp_torch.testing import TorchCartPole
    >>> env = TorchEnv(TorchCartPole, num_envs=4096, device="cpu")
    >>> timestep = env.reset()
    >>> env.step(torch.ones(4096, dtype=torch.int64, device=timestep.reward.device)).observation["observation"].shape
    torch.Size([4096, 4])
    """

    vectorization = "own"
    snapshots = False
    _lanes: TorchLanes
    _done: Any  # a tensor: bool [B], on the device

    def __init__(
        self,
        simulator: BatchedSimulator | Callable[..., BatchedSimulator],
        num_envs: int | None = None,
        *,
        specs: EnvSpec | None = None,
        autoreset: Literal["auto", "same_step", "next_step"] = "auto",
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        **options: Any,
    ):
        live = hasattr(simulator, "step") and not isinstance(simulator, type)
        if not (live or callable(simulator)):
            raise SpecError(f"TorchEnv: expected a simulator, or a function that makes one, got {simulator!r}.")
        if autoreset not in ("auto", "same_step", "next_step"):
            raise SpecError(f"TorchEnv: expected autoreset 'auto', 'same_step' or 'next_step', got {autoreset!r}.")
        made = type(simulator).__name__ if live else getattr(simulator, "__name__", type(simulator).__name__)
        count = TorchLanes(simulator, made, specs).num_envs if live else 1
        settings: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(count if num_envs is None else num_envs, name or made, **settings)
        self.simulator, self.given_specs, self.autoreset, self.options = simulator, specs, autoreset, options
        if live:
            self.keep_live(simulator, count)

    def open_lanes(self) -> TorchLanes:
        """Makes the simulator."""
        simulator = self.live
        if simulator is None:
            simulator = self.simulator(num_envs=self.num_envs, **self.options)  # type: ignore[operator]
        lanes = TorchLanes(simulator, self.name, self.given_specs, self.autoreset)
        if lanes.num_envs != self.num_envs:
            raise SpecError(f"TorchEnv: expected {self.num_envs} lanes of {self.name!r}, it made {lanes.num_envs}.")
        return lanes

    def on_open(self) -> None:
        """Makes the simulator."""
        super().on_open()
        self._done = torch.zeros(self.num_envs, dtype=torch.bool, device=self._lanes.device)
        self._unchecked = 2  # the first reset and the first step are looked at

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes the simulator's data."""
        return {self.name: self._lanes.spec}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts new episodes; the first reset seeds the simulator."""
        seeds = None if self._seeded else [int(self.seeds(0).generate_state(1)[0])]
        self._seeded = True
        observation = self._lanes.reset(seeds, None)
        self._done = torch.zeros_like(self._done)
        reward = torch.zeros(self.num_envs, device=self._done.device)
        return self._checked(TimeStep(self._done.to(torch.int8), reward, torch.ones_like(reward), observation))

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Steps all lanes; those that ended before start a new episode instead."""
        before = self._done
        outcome: Any = self._lanes.step(action, before, None)
        self._done = outcome.done
        step_type = self._done.to(torch.int8) - before.to(torch.int8) + 1
        return self._checked(TimeStep(step_type, outcome.reward, outcome.discount, outcome.observation))

    def _checked(self, timestep: TimeStep) -> TimeStep:
        if self._unchecked:
            self._unchecked -= 1
            self._lanes.check(timestep)
        return timestep

    def load_state_dict(self, state: dict) -> None:
        """Restores the simulator."""
        super().load_state_dict(state)
        self._done = torch.from_numpy(self._done).to(self._lanes.device)
        if self._outstanding is not None:
            self._outstanding = self._outstanding.to(self._lanes.device)
        self._lanes.shown = {} if self._outstanding is None else self._outstanding.observation
