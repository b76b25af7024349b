"""CommAIEnv: conversations as a stream, one symbol of each per step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.results import Results
from aexp_torch.commai.schedulers import Scheduler
from aexp_torch.commai.serializers import Mode, Serializer, rules_for
from aexp_torch.commai.sessions import Sessions
from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["CommAIEnv"]

PLACES = np.arange(7, -1, -1, dtype=np.uint8)  # the most significant bit comes first


class CommAIEnv(Env):
    """Is B conversations with the tasks of CommAI-env or of the General AI Challenge.

    Each step the environment says a symbol, and the answer is the learner's. Each lane has its own session: tasks,
    scheduler and generator.

    Observation: `symbol` uint8 [B]: a bit, or a byte, as of a character.  Action: `symbol` uint8 [B], likewise.
    Reward: what the last answers were worth, in -1, 0, 1. A conversation goes on for ever: FIRST comes once. Only a
    scheduler that runs out of tasks ends its lane (LAST, terminated), which begins again.

    One space stands between two instances, two after a time-out without a word, as in the first CommAI-env; micro-tasks have
    none. Some defects of the originals are mended, unless `compat` is set. With it, in both modes:

    - What is said while the feedback is spoken still counts, and so does what ends in the step of the time-out: that may
      turn the reward, and who speaks all the time may never hear the end.
    - A question that is asked again after every wrong answer is asked again when the time is over, too.
    - The reward of an instance is booked on the next task: in the results, and for `max_reward_per_task`.
    - CountingInventoryGivingTask takes the learner's things for the teacher's, and can rarely be solved in an old world;
      RepeatingCharTask never hears its answer.

    With it in bit mode, which is then CommAI-env as it was first published, to the bit:

    - The last bit before the space between two instances is lost, and what follows is heard across symbols.
    - A scheduler hears of an instance when the next one has been drawn, so that what is unlocked depends on the next task;
      IncrementalTaskScheduler counts failures, too.
    - Six tasks about objects ignore wrong answers, which are otherwise told and asked again. The one about all baskets wants
      the objects that they share, and `none`. Properties that are no words are rarer.
    - VerbTask hears while it speaks.

    With it in byte mode, the Challenge's: the session ends before the last reward is given. What crashed does not in any.

    Args:
      config: a preset (`"commai"`: the tasks of CommAI-env; `"nano"`, `"small_comp"`, `"lookup"`: its later ones; `"micro"`,
        `"mini"`, `"challenge"`: those of the Challenge), a configuration file of either (JSON or Python), or a dict.
      mode: `"bit"`, CommAI-env's: eight steps for a character; `"byte"`, the Challenge's: one step, and a reward in any.
        The default is `"bit"` for the presets of CommAI-env, else `"byte"`.
      num_envs: number of lanes B.
      max_reward_per_task: what a lane can earn in all instances of a task; None for no limit.
      scramble: words are said, and heard, as invented ones, so that English is of no help; each lane has its own.
      serializer: of bit mode: `"standard"`; `"identity"`: a character is one symbol, and one step, as the later tasks need
        it. None: `"identity"` for their presets, else `"standard"`.
      test_mode: an IntervalTaskScheduler takes its tests.
      compat: keeps the defects of the originals, above, for learners and figures that depend on them.
      name: names the source.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Raises:
      SpecError: a configuration that does not fit.

    >>> env = CommAIEnv("mini", num_envs=2, on_missing="sample")
    >>> "".join(chr(timestep.observation["symbol"][0]) for timestep, _ in zip(env, range(12)))
    'description:'

    Source: Mikolov et al. 2016, A Roadmap towards Machine Intelligence; Rosa et al. 2017, the General AI Challenge.
    """

    episodic = False

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] = "commai",
        mode: Mode | None = None,
        num_envs: int = 1,
        *,
        max_reward_per_task: float | None = None,
        scramble: bool = False,
        serializer: Serializer | str | None = None,
        test_mode: bool = False,
        compat: bool = False,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(name, **options)
        if not isinstance(num_envs, int) or num_envs < 1:
            raise SpecError(f"CommAIEnv: expected num_envs of at least 1, got {num_envs!r}.")
        scheduler_maker(config)  # says now what does not fit
        self.config, self.num_envs = config, num_envs
        self.given_mode, self.serializer, self.test_mode, self.compat = mode, serializer, test_mode, compat
        self.mode, self._rules = rules_for(config, mode, serializer, compat)
        self._in_bits = self._rules.steps > 1
        self.max_reward_per_task, self.scramble = max_reward_per_task, scramble

    @property
    def name(self) -> str:
        """The given name, or that of the preset or the file."""
        return self._name or ("CommAI" if isinstance(self.config, Mapping) else Path(self.config).stem)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    @property
    def lane_control(self) -> bool:
        """Whether there is but one lane."""
        return self.num_envs == 1

    @property
    def results(self) -> Results:
        """What came of the tasks so far, on all lanes."""
        self.open()
        return self._sessions.results

    def on_open(self) -> None:
        """Makes the sessions."""
        self._make_scheduler = scheduler_maker(self.config)
        self._start()

    def _make(self) -> Scheduler:
        scheduler = self._make_scheduler()
        scheduler.test_mode = self.test_mode
        return scheduler

    def _start(self) -> None:
        lanes = range(self.num_envs)
        seeds = [int(self.seeds(lane).generate_state(2, np.uint64)[0]) for lane in lanes]
        limit = float("inf") if self.max_reward_per_task is None else self.max_reward_per_task
        self._sessions = Sessions([self._make() for _ in lanes], self._rules, seeds, limit, scrambles=self.scramble)
        self._phase = 0  # the bit of the symbol that is being said
        self._said = np.zeros(self.num_envs, np.uint8)
        self._heard = np.zeros(self.num_envs, np.uint8)
        self._over = np.zeros(self.num_envs, bool)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes a symbol."""
        count = 2 if self._in_bits else 256
        symbol = {"symbol": specs.DiscreteArray(count, np.uint8, "symbol")}
        kind = {"symbol": Modality("flat", "categorical", "text")}
        return {
            self.name: EnvSpec(symbol, symbol, modalities={"observation": kind, "action": kind}, num_envs=self.num_envs)
        }

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts all sessions over."""
        self._start()
        self._said, _ = self._sessions.step(None)
        return self._timestep(np.full(self.num_envs, StepType.FIRST, np.int8), np.zeros(self.num_envs, np.float32))

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Hears a symbol and says the next."""
        heard = action["symbol"].numpy()
        reward, step_type = np.zeros(self.num_envs, np.float32), np.full(self.num_envs, StepType.MID, np.int8)
        if not self._in_bits:
            return self._converse(heard, step_type, reward)
        self._heard = (self._heard << 1) | heard
        self._phase = (self._phase + 1) % 8
        if self._phase == 0:
            return self._converse(self._heard, step_type, reward)
        return self._timestep(step_type, reward)

    def _converse(self, heard: np.ndarray, step_type: np.ndarray, reward: np.ndarray) -> TimeStep:
        sessions = self._sessions
        for lane in np.flatnonzero(self._over).tolist():
            sessions.restart(lane, self._make())
        before = self._over
        self._said, given = sessions.step(heard)
        self._over = sessions.over.copy()
        np.copyto(reward, given, where=~np.isnan(given))
        step_type[self._over], step_type[before] = StepType.LAST, StepType.FIRST
        reward[before] = 0
        return self._timestep(step_type, reward)

    def _timestep(self, step_type: np.ndarray, reward: np.ndarray) -> TimeStep:
        symbol = (self._said >> PLACES[self._phase]) & 1 if self._in_bits else self._said
        discount = (step_type != StepType.LAST).astype(np.float32)
        signals = from_numpy(step_type), from_numpy(reward), from_numpy(discount)
        return TimeStep(*signals, {"symbol": from_numpy(symbol)})

    def state_dict(self) -> dict:
        """Adds the sessions, mid-word."""
        self.open()
        return super().state_dict() | {
            "sessions": self._sessions.state_dict(),
            "phase": self._phase,
            **{name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in ("said", "heard", "over")},
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on amid the word."""
        super().load_state_dict(state)
        self._sessions.load_state_dict(state["sessions"])
        self._phase = state["phase"]
        for name in ("said", "heard", "over"):
            setattr(self, f"_{name}", state[name].numpy().copy())
