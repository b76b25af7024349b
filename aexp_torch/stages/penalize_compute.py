"""PenalizeCompute: thinking costs reward."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from dm_env import specs
from torch import from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import ActionError, SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.specs.infer import with_sides
from aexp_torch.timestep import StepType, TimeStep

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

__all__ = ["PenalizeCompute"]

COMPUTE, OBSERVED = "compute", "compute:last"
FIRST = np.int8(StepType.FIRST)
METERS = ("agent_steps", "flops", "seconds", "action")


class PenalizeCompute(Stage):
    """Takes `coef` times the compute that an answer needed off the reward for it.

    | meter | what is counted | unit |
    |---|---|---|
    | "agent_steps" | every timestep that is answered; above a time scale that is every step of thought | steps |
    | "flops" | what torch's FlopCounterMode has a formula for (matrix products, convolutions), in this thread | FLOP |
    | "seconds" | time on `clock` | seconds |
    | "action" | the agent's own figure, `action["compute"]`, lane by lane | its own |
    | a function | the difference of what it returns, a running total | its own |

    FLOPs, seconds and functions are read when a timestep passes here and again when its answer does, for all lanes together:
    each lane pays the whole. What else the process computes in between counts too: learning, and with several slots in one
    process the answers to others. So these meters belong where the agent is: in the trainer's process, above `TrainerSide`
    where there are workers. FIRST costs nothing.

    Observation: gains `compute:last`, float32 [B], in the meter's units, if asked for; 0 on FIRST.
    Action: gains `compute`, float32 [B], at least 0, with meter "action"; else unchanged.

    Args:
      env: the environment below.
      coef: reward per unit of compute.
      meter: as above.
      clock: seconds since any moment, for meter "seconds"; the default is `time.perf_counter`.
      observe: adds `compute:last`.

    Raises:
      SpecError: wrong options, a key that is taken.
      ActionError: the agent's own figure is not finite.

    >>> import torch, aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=2, vectorization="sync").pipe(ae.StaticTimescaled, ratio=2)
    >>> env = env.pipe(ae.PenalizeCompute, coef=0.125)
    >>> _ = env.reset()
    >>> [env.step(torch.tensor([0, 1])).reward.tolist() for _ in range(2)]  # a step of thought, and CartPole's reward of 1
    [[-0.125, -0.125], [0.875, 0.875]]

    Source: `PenalizeCompute` of the artificial-experience project; the ponder cost of Graves (2016).
    """

    def __init__(
        self,
        env: Env,
        coef: float = 0.01,
        meter: Literal["agent_steps", "flops", "seconds", "action"] | Callable[[], float] = "agent_steps",
        clock: Callable[[], float] | None = None,
        observe: bool = False,
    ):
        super().__init__(env)
        if not callable(meter) and meter not in METERS:
            raise SpecError(
                f"PenalizeCompute: expected meter to be one of {METERS}, or a function that returns a running total, got"
                f" {meter!r}."
            )
        if clock is not None and (meter != "seconds" or not callable(clock)):
            raise SpecError(
                f"PenalizeCompute: expected clock= to be a function, with meter='seconds', got {clock!r} with {meter!r}."
            )
        if not np.isfinite(coef):
            raise SpecError(f"PenalizeCompute: expected a finite coef, got {coef!r}.")
        self.coef, self.meter, self.clock, self.observe = float(coef), meter, clock, observe

    def on_open(self) -> None:
        """Starts with nothing owed."""
        self._owed: dict[str, np.ndarray] = {}  # float32 [B]: the compute of the answer to the last timestep, by source
        self._running: Reading | None = None  # since the timestep that is to be answered
        self._total: Callable[[], float] | None = None
        if self.meter == "seconds":
            self._total = self.clock or time.perf_counter
        elif self.meter == "flops":
            self._total = FLOPS.total
        elif callable(self.meter):
            self._total = self.meter

    def _read(self, spent: float = 0.0) -> None:
        self._running = None  # ends one that was never asked for
        if self._total is not None:
            self._running = Reading(self._total, spent, FLOPS if self.meter == "flops" else None)

    def on_close(self) -> None:
        """Ends what is counted."""
        self._running = None

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Counts, and takes the agent's own figure off."""
        source = timestep.source
        if self._total is not None:
            spent = 0.0 if self._running is None else self._running.spent()
            self._owed[source] = np.full(len(timestep.reward), spent, np.float32)
            self._running = None
        elif self.meter == "action":
            action = dict(action)
            self._owed[source] = figure = action.pop(COMPUTE).numpy()
            if not np.isfinite(figure).all():
                raise ActionError(
                    f"{source!r} (slot {self.slot}): expected a finite 'compute' in the answer to step"
                    f" {timestep.ticket.step}, got {figure.tolist()}."
                )
        else:
            self._owed[source] = np.ones(len(timestep.reward), np.float32)
        return action

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Takes what is owed off the reward."""
        going = timestep.step_type.numpy() != FIRST
        owed = self._owed.pop(timestep.source, 0.0) * going.astype(np.float32)
        timestep = timestep._replace(reward=from_numpy(timestep.reward.numpy() - self.coef * owed))
        if self.observe:
            timestep = timestep._replace(observation={**timestep.observation, OBSERVED: from_numpy(owed)})
        self._read()
        return timestep

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds the keys."""
        added: dict[str, dict] = {"observation": {}, "action": {}}
        if self.observe:
            added["observation"][OBSERVED] = specs.Array((), np.float32, OBSERVED)
        if self.meter == "action":
            added["action"][COMPUTE] = specs.BoundedArray((), np.float32, 0.0, np.inf, COMPUTE)
        sides = {}
        for side, leaves in added.items():
            tree = getattr(spec, side)
            if leaves.keys() & tree.keys():
                raise SpecError(
                    f"PenalizeCompute: expected free keys, {sorted(leaves.keys() & tree.keys())} is in the {side} already"
                    f" ({sorted(tree)}). Rename it below with Lambda."
                )
            sides[side] = {**tree, **leaves}
        new = with_sides(spec, **sides)
        for side, leaves in added.items():
            for key in leaves:
                new.modalities[side][key] = Modality("flat", "real", "compute")
        return new

    def state_dict(self) -> dict:
        """Adds what is owed, and what was spent on the answer that is awaited."""
        spent = None if self._running is None else float(self._running.spent())
        return super().state_dict() | {
            "owed": {source: from_numpy(owed) for source, owed in self._owed.items()},
            "spent": spent,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores what is owed; the answer that is awaited goes on to be counted from here."""
        super().load_state_dict(state)
        self._owed, self._running = {source: owed.numpy() for source, owed in state["owed"].items()}, None
        if state["spent"] is not None:
            self._read(state["spent"])


class FlopCount(threading.local):
    """Counts the FLOPs of this thread while anyone wants to know."""

    def __init__(self):
        self._mode: FlopCounterMode | None = None
        self._wanted = 0
        self._before = 0

    def start(self) -> None:
        """Counts from here, until as many have stopped as have started."""
        if self._wanted == 0:
            from torch.utils.flop_counter import FlopCounterMode  # a third of what importing this package would cost

            self._mode = FlopCounterMode(display=False)
            self._mode.__enter__()
        self._wanted += 1

    def stop(self) -> None:
        """Ends what `start` began."""
        self._wanted -= 1
        if self._wanted == 0:
            self._before += self._mode.get_total_flops()
            self._mode.__exit__(None, None, None)
            self._mode = None

    def total(self) -> int:
        """Returns the FLOPs that were counted, a running total."""
        return self._before + (0 if self._mode is None else self._mode.get_total_flops())


FLOPS = FlopCount()


class Reading:
    """Tells how much a running total has grown since; what has to run for that ends with it.

    Args:
      total: returns the running total.
      spent: what counts as spent already.
      flops: is started, and stopped when this object goes.
    """

    def __init__(self, total: Callable[[], float], spent: float, flops: FlopCount | None):
        self._flops, self._thread = flops, threading.get_ident()
        if flops is not None:
            flops.start()
        self._total, self._start = total, total() - spent

    def spent(self) -> float:
        """Returns the growth, in the units of the total."""
        return self._total() - self._start

    def __del__(self):
        if self._flops is not None and self._thread == threading.get_ident():
            self._flops.stop()
