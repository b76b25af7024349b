"""CommAIEnv: conversations as a stream, one symbol of each per step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.last_symbols import LastSymbols
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
KEPT = ("said", "over", "instruction")
MID, LAST = int(StepType.MID), int(StepType.LAST)
MAX_INSTRUCTION = 256  # bytes; the longest of the presets have some 150


class CommAIEnv(Env):
    """Is B conversations with the tasks of CommAI-env or of the General AI Challenge.

    Each step the environment says a symbol, and the answer is the learner's. Each lane has its own session: tasks,
    scheduler and generator.

    Observation: `symbol` uint8 [B]: a bit, or a byte, as of a character; with `instructions` also `text:instruction` uint8
    [B, 256].
    Action: `symbol` uint8 [B], likewise.
    Reward: what the last answers were worth, in -1, 0, 1. A conversation goes on for ever: FIRST comes once. Only a
    scheduler that runs out of tasks ends its lane (LAST, terminated), which begins again, and `max_episode_steps` cuts all
    lanes off (LAST, truncated). In bit mode LAST is the last bit of a character.

    One space stands between two instances, two after a time-out without a word in bit mode, as in the first CommAI-env; none
    in micro-tasks, `"nano"`, `"small_comp"` and `"lookup"`, nor in byte mode after a time-out without a word.

    Some defects of the originals are mended, unless `compat` is set. With it, in both modes:

    - What is said while the feedback is spoken still counts, and in bit mode what ends in the step of the time-out (in
      byte mode it always does): that may turn the reward, and who speaks all the time may never hear the end.
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
        `"mini"`, `"challenge"`: those of the Challenge), one of their tasks by the name of its class
        (`"TurningTask"`), a configuration file of either original (JSON or Python), or a dict.
      mode: `"bit"`, CommAI-env's: eight steps for a character; `"byte"`, the Challenge's: one step, and a reward in any.
        The default is `"byte"` where there is a task of the Challenge, else `"bit"`.
      num_envs: number of lanes B.
      max_reward_per_task: what a lane can earn in all instances of a task, until it begins again; None for no limit.
      scramble: words are said, and heard, as invented ones, so that English is of no help; each lane has its own. In byte
        mode, too, where the original did nothing.
      serializer: of bit mode: `"standard"`; `"identity"`: a character is one symbol, and one step, as the later tasks need
        it. None: `"identity"` for their presets, else `"standard"`.
      test_mode: an IntervalTaskScheduler takes its tests.
      compat: keeps the defects of the originals, above, for learners and figures that depend on them.
      max_episode_steps: conversations are cut off after so many steps (in bit mode at the end of the character), and begin
        again; None: they go on for ever.
      instructions: shows with every symbol what the task under way began with, `"repeat apple."`, as UTF-8, padded with 0
        and cut at 256 bytes; nothing in a micro-task, whose rule is to be found.
      render_mode: `"ansi"` keeps the last symbols of every lane for `render`.
      name: names the source.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Raises:
      SpecError: a configuration that does not fit.

    >>> env = CommAIEnv("mini", num_envs=2, on_missing="sample")
    >>> "".join(chr(timestep.observation["symbol"][0]) for timestep, _ in zip(env, range(12)))
    'description:'

    Source: Mikolov et al. 2016, A Roadmap towards Machine Intelligence; Rosa et al. 2017, the General AI Challenge.
    """

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
        max_episode_steps: int | None = None,
        instructions: bool = False,
        render_mode: Literal["ansi"] | None = None,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(name, **options)
        if not isinstance(num_envs, int) or num_envs < 1:
            raise SpecError(f"CommAIEnv: expected num_envs of at least 1, got {num_envs!r}.")
        if max_reward_per_task is not None and not max_reward_per_task >= 0:
            raise SpecError(f"CommAIEnv: expected max_reward_per_task of at least 0, got {max_reward_per_task!r}.")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SpecError(f"CommAIEnv: expected max_episode_steps of at least 1, got {max_episode_steps!r}.")
        if render_mode not in ("ansi", None):
            raise SpecError(f"CommAIEnv: expected render_mode 'ansi' or None, got {render_mode!r}.")
        self.config, self.num_envs = config, num_envs
        self.serializer, self.test_mode, self.compat = serializer, test_mode, compat
        self.mode, self._rules = rules_for(config, mode, serializer, compat)  # says now what does not fit
        self._in_bits = self._rules.steps > 1
        self.max_reward_per_task, self.scramble = max_reward_per_task, scramble
        self.instructions, self.render_mode = instructions, render_mode
        self._last_phase = 7 if self._in_bits else 0  # a symbol is complete
        if max_episode_steps is not None and self._in_bits:
            max_episode_steps += -(max_episode_steps + 1) % 8
        self.max_episode_steps = max_episode_steps

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
    def episodic(self) -> bool:
        """Whether conversations are cut off."""
        return self.max_episode_steps is not None

    @property
    def results(self) -> Results:
        """What came of the tasks so far, on all lanes."""
        self.open()
        return self._sessions.results

    @property
    def statistics(self) -> dict[str, dict]:
        """The state of `results`."""
        return {} if self._recipe is None else {self.name: self.results.state_dict()}

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
        seeds = [int(self.seeds(lane).generate_state(1)[0]) for lane in lanes]
        limit = float("inf") if self.max_reward_per_task is None else self.max_reward_per_task
        announce = self._note_instruction if self.instructions else None
        self._instruction = np.zeros((self.num_envs, MAX_INSTRUCTION), np.uint8)
        schedulers = [self._make() for _ in lanes]
        self._sessions = Sessions(schedulers, self._rules, seeds, limit, announce, scrambles=self.scramble)
        self._said = np.zeros(self.num_envs, np.uint8)
        self._answer: list[Tensor] = []  # bits heard while a symbol is being said
        self._over = np.zeros(self.num_envs, bool)
        self._steps, self._cut = 0, False
        self._forget_symbols()

    def _note_instruction(self, lane: int, name: str) -> None:
        text = self._sessions.channels.pending(lane) if self._sessions.tasks[lane].instructs else b""
        text = text.decode(self._sessions.rules.encoding, "ignore").strip().encode()[:MAX_INSTRUCTION]
        self._instruction = self._instruction.copy()  # the old one has been handed out
        self._instruction[lane] = np.frombuffer(text.ljust(MAX_INSTRUCTION, b"\0"), np.uint8)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes a symbol."""
        count = 2 if self._in_bits else 256
        symbol = {"symbol": specs.DiscreteArray(count, np.uint8, "symbol")}
        kind = {"symbol": Modality("flat", "categorical", "text")}
        shown, kinds = dict(symbol), dict(kind)
        if self.instructions:
            shown["text:instruction"] = specs.BoundedArray((MAX_INSTRUCTION,), np.uint8, 0, 255, "text:instruction")
            kinds["text:instruction"] = Modality("sequence", "categorical", "text:en")
        modalities = {"observation": kinds, "action": kind}
        return {self.name: EnvSpec(shown, symbol, modalities=modalities, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts all sessions over."""
        self._start()
        said, _ = self._sessions.step(None)
        reward = np.zeros(self.num_envs, np.float32)
        if self._last_symbols is not None:
            self._last_symbols.say(said, reward)
        return self._show(said, np.zeros(self.num_envs, np.int8), reward)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Hears a symbol and says the next."""
        self._steps += 1
        if not self._in_bits:
            return self._converse(action["symbol"].numpy())
        self._answer.append(action["symbol"])
        phase = len(self._answer)
        if phase < 8:
            step_type, reward, discount = self._signals[phase]
            return TimeStep(step_type, reward, discount, self._observation(self._bits[phase]))
        heard = np.packbits(torch.stack(self._answer).numpy(), 0)[0]
        self._answer.clear()
        return self._converse(heard)

    def _converse(self, heard: np.ndarray) -> TimeStep:
        """Passes a whole symbol on."""
        sessions, ended = self._sessions, self._over | self._cut
        for lane in ended.nonzero()[0].tolist():
            sessions.restart(lane, self._make())
        if self._cut:
            self._steps = 0
        said, reward = sessions.step(heard)
        reward[np.isnan(reward) | ended] = 0
        if self._last_symbols is not None:
            self._last_symbols.hear(heard)
            self._last_symbols.say(said, reward)
        return self._show(said, (~ended).astype(np.int8), reward)

    def _show(self, said: np.ndarray, step_type: np.ndarray, reward: np.ndarray) -> TimeStep:
        """Shows a symbol (step_type FIRST or MID), or its first bit."""
        self._over = self._sessions.over.copy()
        self._cut = self._steps + self._last_phase == self.max_episode_steps
        self._prepare(said)
        if self._in_bits:
            signals = from_numpy(step_type), from_numpy(reward), torch.ones(self.num_envs)
            return TimeStep(*signals, self._observation(self._bits[0]))
        step_type[self._over | self._cut] = LAST
        signals = from_numpy(step_type), from_numpy(reward), from_numpy((~self._over).astype(np.float32))
        return TimeStep(*signals, self._observation(from_numpy(said)))

    def _prepare(self, said: np.ndarray) -> None:
        """Makes what the bits of a symbol need, so that most steps do nothing; only the last bit can be LAST."""
        self._said = said
        if not self._in_bits:
            return
        self._bits = from_numpy((said >> PLACES[:, None]) & 1).unbind()  # 8 of [B]
        shape = len(PLACES), len(said)
        step_type, reward, discount = np.ones(shape, np.int8), np.zeros(shape, np.float32), np.ones(shape, np.float32)
        ends = self._over | self._cut
        if ends.any():
            step_type[-1] = np.where(ends, LAST, MID)
            discount[-1] = ~self._over
        self._signals = list(zip(*(from_numpy(rows).unbind() for rows in (step_type, reward, discount)), strict=True))

    def _observation(self, symbol: Tensor) -> dict[str, Tensor]:
        if self.instructions:
            return {"symbol": symbol, "text:instruction": from_numpy(self._instruction)}
        return {"symbol": symbol}

    def _forget_symbols(self) -> None:
        self._last_symbols = None if self.render_mode is None else LastSymbols(self.num_envs)

    def render(self, lane: int = 0, length: int = 300) -> str:
        """Returns the end of a conversation as text, one column for a character.

        Line `E` is what the environment says, `L` the replies, `R` the rewards (`+`, `-`), each of which is for a reply
        before it. What was said before a restored state is not known.

        Args:
          lane: of which.
          length: columns, up to 1,000; a line has 100.

        Raises:
          SpecError: there is no `render_mode`, or no such lane.
        """
        if self.render_mode is None:
            raise SpecError("CommAIEnv: expected render_mode='ansi' to render, got None. Say it when it is made.")
        if not 0 <= lane < self.num_envs:
            raise SpecError(f"CommAIEnv: expected a lane below {self.num_envs}, got {lane!r}.")
        self.open()
        return self._last_symbols.text(lane, length)

    def _kind(self) -> dict:
        steps = {"mode": self.mode, "steps_per_symbol": self._rules.steps}
        said = {"scramble": self.scramble, "compat": self.compat}
        tasks = dict.fromkeys(type(task).__name__ for task in self._sessions.schedulers[0].tasks)
        return {"num_envs": self.num_envs, **steps, **said, "tasks": list(tasks)}

    def check_state(self, state: dict) -> None:
        """Raises where a state was taken from another kind of conversations, too."""
        super().check_state(state)
        self.open()
        theirs = state["kind"]
        other = {name: value for name, value in self._kind().items() if value != theirs[name]}
        if other:
            came = {name: theirs[name] for name in other}
            raise SpecError(
                f"CommAIEnv.load_state_dict: expected a state of {self.name!r} with {other}, got one with {came}. Make the"
                " same conversations as when the state was saved."
            )

    def state_dict(self) -> dict:
        """Adds the sessions, mid-word."""
        self.open()
        return super().state_dict() | {
            "kind": self._kind(),
            "sessions": self._sessions.state_dict(),
            "answer": torch.stack([*self._answer, torch.zeros(self.num_envs, dtype=torch.uint8)])[:-1],
            "steps": self._steps,
            "cut": self._cut,
            **{name: torch.from_numpy(getattr(self, f"_{name}").copy()) for name in KEPT},
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on amid the word."""
        super().load_state_dict(state)
        self._sessions.load_state_dict(state["sessions"])
        self._answer = list(state["answer"].clone())
        self._steps, self._cut = state["steps"], state["cut"]
        for name in KEPT:
            setattr(self, f"_{name}", state[name].numpy().copy())
        self._prepare(self._said)
        self._forget_symbols()
