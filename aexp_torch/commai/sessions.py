"""Sessions: many conversations at once, each with its own tasks, scheduler and generator.

The environment speaks first. In every step each lane hears a symbol and says the next; Python runs for a lane only when
something happens in it: a symbol that its task waits for, the end of its time, the end of what it had to say.

Two rules of conversation: those of CommAI-env (symbols of eight bits, a new message takes the place of the old one, what
is said after the end is not heard) and those of the General AI Challenge (bytes, messages queue, the next instance begins at
once, a reward in every step).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from aexp_torch.commai.channels import SPACE, Channels
from aexp_torch.commai.drills import Drills
from aexp_torch.commai.lane_state import load_random_state, load_scheduler_state, random_state, scheduler_state
from aexp_torch.commai.results import Results
from aexp_torch.commai.scrambling import Scrambler
from aexp_torch.commai.task import Task
from aexp_torch.commai.world import World
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.sources.plain_state import pack, unpack

__all__ = ["BITS", "BYTES", "CHARACTERS", "Rules", "Sessions"]

NEVER = np.iinfo(np.int64).max
NONE_LANE = -1
PERIOD = ord(".")
NONE = np.float32(np.nan)  # no reward in this step
ONLY = np.ones(1, bool)
WORTH = np.array([-1.0, 1.0])  # of a wrong and a right answer
ARRAYS = [
    *(
        "time",
        "to_wait",
        "streak",
        "asked",
        "over",
        "_deadline",
        "_ended",
        "_separated",
        "_no_separator",
        "_wakes",
        "_least",
        "_blots",
    ),
    *("_strict", "_immediate", "_earned", "_result", "_shifted", "_rest"),
]


@dataclass(frozen=True)
class Rules:
    """Says how a conversation goes.

    Args:
      steps: the environment's steps for one symbol.
      encoding: of texts.
      appends: messages queue.
      hears_after_end: what is said while the feedback is spoken is heard; with `defects_of` it still counts, too.
      switches_at_once: an instance that ends without a word is followed by the next in the same step.
      defects_of: the original whose defects are kept: "commai" for CommAI-env as it was first published, "challenge" for the
        General AI Challenge, None for neither. What that means is told at CommAIEnv.
    """

    steps: int
    encoding: str
    appends: bool
    hears_after_end: bool
    switches_at_once: bool
    defects_of: Literal["commai", "challenge"] | None = None

    def with_defects(self) -> "Rules":
        """Returns the same with the defects of the original that they are from."""
        return replace(self, hears_after_end=True, defects_of="challenge" if self.appends else "commai")


BITS = Rules(steps=8, encoding="utf-8", appends=False, hears_after_end=False, switches_at_once=False)
CHARACTERS = replace(BITS, steps=1, encoding="latin-1")  # a character is a symbol, as the identity serializer has it
BYTES = Rules(steps=1, encoding="latin-1", appends=True, hears_after_end=True, switches_at_once=True)


class Sessions:
    """Runs N conversations.

    Args:
      schedulers: one for each lane, with tasks of its own.
      rules: how a conversation goes.
      seeds: one for each lane.
      max_reward_per_task: what all instances of a task may earn together in a lane; from then on it pays nothing.
      on_task: called as `on_task(lane, name)` when an instance begins.
      scrambles: words are said, and heard, as invented ones; each lane has its own.
    """

    def __init__(
        self,
        schedulers: Sequence[Any],
        rules: Rules,
        seeds: Sequence[int],
        max_reward_per_task: float = float("inf"),
        on_task: Callable[[int, str], Any] | None = None,
        scrambles: bool = False,
    ):
        count = len(schedulers)
        _check_apart(schedulers)
        if not isinstance(max_reward_per_task, int | float) or not max_reward_per_task >= 0:
            raise SpecError(f"commai: expected max_reward_per_task of at least 0, got {max_reward_per_task!r}.")
        self.schedulers, self.rules, self.on_task = list(schedulers), rules, on_task
        self.max_reward_per_task = max_reward_per_task
        self.rngs = [random.Random(seed) for seed in seeds]
        self._scramblers = [Scrambler(rng) for rng in self.rngs] if scrambles else []
        self.channels = Channels(count, rules.appends)
        self.results = Results()
        self.tasks: list[Task | None] = [None] * count
        self.time = np.zeros(count, np.int64)  # steps of the instance
        self._deadline = np.full(count, NEVER)
        self._ended = np.zeros(count, bool)
        self._separated = np.zeros(count, bool)  # the space between two instances has been said
        self._no_separator = np.zeros(count, bool)
        self._wakes = np.zeros((count, 256), bool)  # the symbols at which the task is asked
        self._least = np.zeros(count, np.int64)  # symbols that have to be heard before the task is asked
        self._blots = np.zeros(count, bool)
        self._shifted = np.zeros(count, bool)  # a bit was dropped, so that every symbol is heard across two
        self._rest = np.zeros(count, np.uint8)  # the bits of the last symbol that were not heard yet
        self._strict = np.zeros(count, bool)  # who speaks out of turn is punished
        self.to_wait = np.zeros(count, np.int64)  # symbols until the answer may begin
        self.streak = np.zeros(count, np.int64)  # right answers in a row
        self.asked = np.zeros(count, np.int64)  # questions that were answered
        self.drills = Drills(count)
        self.drills.useful &= not scrambles  # what they prepare is in no other words
        self._stored: list[float] = [0.0] * count  # the reward at the end of the instance
        self._immediate = np.full(count, NONE)  # a reward that comes with the next symbol
        self._no_reward = np.full(count, NONE)
        self._earned = np.zeros(count)  # by the task under way
        self._earned_by: list[dict[str, float]] = [{} for _ in range(count)]  # by the name of a task, at its last end
        self._result = np.zeros(count, bool)
        self._worlds: list[World | None] = [None] * count
        self._timing_out = NONE_LANE
        self._lanes = np.arange(count)
        self._wake_rows = self._lanes * 256
        self.over = np.zeros(count, bool)  # its scheduler has no more tasks
        for scheduler, rng in zip(schedulers, self.rngs, strict=True):
            scheduler.rng, scheduler.counts_all = rng, rules.defects_of == "commai"

    def step(self, symbols: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Hears a symbol in every lane, and says the next.

        Args:
          symbols: uint8 [N]; None at the beginning.

        Returns:
          What is said, uint8 [N]; and the rewards, float32 [N], NaN where there is none.
        """
        channels, rules = self.channels, self.rules
        reward = self._no_reward.copy()
        if symbols is None:
            for lane in range(len(self.tasks)):
                self._switch(lane)
            return self._emit(reward)
        if len(self.tasks) == 1 and rules.defects_of != "commai":
            return self._step_alone(int(symbols[0]), reward)
        if rules.defects_of == "commai" and self._shifted.any():
            self._hear_shifted(symbols)
        ended, empty = self._ended.copy(), channels.empty()
        over = ended & empty
        closing = over & (self._separated | self._no_separator)
        late = empty & (self.time >= self._deadline) & ~ended
        listening = ~over if rules.hears_after_end else ~(ended | late)
        if rules.defects_of == "commai":
            listening &= ~self._shifted
        speaks = symbols != SPACE
        heeded = listening
        if np.count_nonzero(self._strict):
            strict, speaking = self._strict & listening, channels.speaking()
            self.to_wait -= strict
            rude = strict & speaking & speaks
            if np.count_nonzero(rude):
                self._earn(rude, -1.0)
                self.streak[rude] = 0
            heeded = listening & ~(strict & (speaking | (self.to_wait > 1)))
        channels.hear(symbols, heeded)
        events = heeded & self._wakes.ravel().take(self._wake_rows + symbols) & (channels.length >= self._least)
        if rules.defects_of is None:
            events &= ~ended
        drilled = (heeded & self.drills.active).nonzero()[0]
        if len(drilled):
            events[drilled] = False
            events[self._drill(symbols, drilled)] = True
        separate = over & ~closing
        if np.count_nonzero(separate):
            channels.say_space(separate)
            self._separated |= separate
            if rules.defects_of == "commai" and rules.steps > 1:
                self._shifted |= separate
                self._rest[separate] = symbols[separate] >> 1
        for lane in (events | late | closing).nonzero()[0].tolist():
            if late[lane]:
                self._time_out(lane, bool(events[lane]))
            elif events[lane]:
                self._hear(lane)
            if closing[lane]:
                reward[lane] = self._switch(lane)
            elif rules.switches_at_once and self._ended[lane] and not ended[lane] and channels.waiting(lane) == 0:
                reward[lane] = self._switch(lane) or NONE
        blotted = heeded & self._blots & speaks
        if np.count_nonzero(blotted):
            channels.blot(blotted & channels.speaking())
        return self._emit(reward)

    def _step_alone(self, symbol: int, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Does the same in the only lane, without the arithmetic over lanes: a tenth of the time."""
        channels, rules = self.channels, self.rules
        ended, empty = bool(self._ended[0]), channels.head[0] == channels.tail[0]
        if ended and empty:
            if self._separated[0] or self._no_separator[0]:
                reward[0] = self._switch(0)
            else:
                channels.say_space(ONLY)
                self._separated[0] = True
            return self._emit_alone(reward)
        late = bool(empty and not ended and self.time[0] >= self._deadline[0])
        heeded = rules.hears_after_end or not (ended or late)
        if self._strict[0] and heeded:
            self.to_wait[0] -= 1
            speaking = not channels.is_silent(0)
            if speaking and symbol != SPACE:
                self.reward_now(0, -1.0)
                self.streak[0] = 0
            heeded = not (speaking or self.to_wait[0] > 1)
        if heeded:
            channels.hear_alone(symbol)
        event = heeded and self._wakes[0, symbol] and channels.length[0] >= self._least[0]
        if late:
            self._time_out(0, bool(event))
        elif event:
            self._hear(0)
        if rules.switches_at_once and not ended and self._ended[0] and channels.head[0] == channels.tail[0]:
            reward[0] = self._switch(0) or NONE
        elif heeded and symbol != SPACE and self._blots[0] and not channels.is_silent(0):
            channels.blot(ONLY)
        return self._emit_alone(reward)

    def _emit_alone(self, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.time[0] += self.rules.steps
        self.results.time += self.rules.steps
        if reward[0] != reward[0]:  # there is none
            reward[0], self._immediate[0] = self._immediate[0], NONE
        return self.channels.emit_alone(), reward

    def _drill(self, symbols: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        """Judges answers of one symbol in lanes (int64 [M]) and asks what comes next; returns the lanes that are over."""
        drills = self.drills
        if self.rules.encoding == "utf-8":
            lanes = self._with_characters(symbols, lanes)
        answer = drills.answer[lanes]
        right = symbols[lanes] == answer
        streak = self.streak[lanes] = (self.streak[lanes] + 1) * right
        asked = self.asked[lanes] = self.asked[lanes] + 1
        self._earn(lanes, WORTH.take(right))
        over = drills.are_over(lanes, right, streak, asked)
        done, lanes, answer = lanes[over], lanes[~over], answer[~over]
        for lane in drills.empty(lanes).tolist():
            drills.fill(lane, *self.tasks[lane].coming())
        question, told = drills.next_questions(lanes), drills.tells[lanes]
        if np.count_nonzero(told):
            self.channels.say_symbols(lanes[told], answer[told], question[told])
            self.channels.say_symbols(lanes[~told], question[~told])
        else:
            self.channels.say_symbols(lanes, question)
        self.to_wait[lanes] = 1
        self.channels.length[lanes] = 0
        return done

    def _with_characters(self, symbols: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        """Returns the lanes, among some (int64 [M]), that have heard a whole character; a byte may be a part of one."""
        whole = symbols[lanes] < 128
        for place in (~whole).nonzero()[0].tolist():
            whole[place] = self._text(int(lanes[place])) != ""
        return lanes[whole]

    def _emit(self, reward: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.time += self.rules.steps
        self.results.time += self.rules.steps
        now = np.isnan(reward)
        np.copyto(reward, self._immediate, where=now)
        self._immediate[now] = NONE
        return self.channels.emit(), reward

    def _earn(self, lanes: np.ndarray, reward: float | np.ndarray) -> None:
        """Has rewards come with the next symbol; a task that has earned enough pays nothing."""
        earned = self._earned[lanes]
        paid = np.where(earned < self.max_reward_per_task, reward, 0.0)
        self._immediate[lanes], self._earned[lanes] = paid, earned + paid

    def _hear_shifted(self, symbols: np.ndarray) -> None:
        """Hears what the bits of two symbols make, where the last bit of one was dropped with the end of the feedback."""
        lanes, heard = self._shifted.copy(), (self._rest << 1) | (symbols >> 7)
        self._rest[lanes] = symbols[lanes] & 0x7F
        self.channels.hear(heard, lanes)
        for lane in np.flatnonzero(lanes & self._wakes[self._lanes, heard]).tolist():
            self._hear(lane)
        self.channels.blot(lanes & self._blots & self.channels.speaking() & (heard != SPACE))

    def _hear(self, lane: int) -> None:
        task, world = self.tasks[lane], self._worlds[lane]
        still = self._timing_out == lane or self.rules.defects_of is not None  # though the instance may have ended
        if self._ended[lane] and not still:
            return
        text = self._text(lane)
        if self._scramblers:
            text = self._scramblers[lane].unscramble(text)
        if world is not None and text.endswith("."):
            world.hear(text)
        if still or not self._ended[lane]:
            task.hear(text)

    def _text(self, lane: int) -> str:
        return self.channels.text(lane).decode(self.rules.encoding, "ignore")

    def _time_out(self, lane: int, hears: bool) -> None:
        """Ends an instance; what is said in this very step may still count."""
        self._timing_out = lane
        self.tasks[lane].time_out()
        self._ended[lane] = True
        if hears:
            self._hear(lane)
        self._timing_out = NONE_LANE

    def _switch(self, lane: int) -> float:
        """Ends the instance and begins the next; returns the reward of the one that ends."""
        task, scheduler, late = self.tasks[lane], self.schedulers[lane], self.rules.defects_of is not None
        reward, stored, solved = 0.0, self._stored[lane], bool(self._result[lane])
        if task is not None:
            task.end()
            if not late:
                reward = self._book(lane, stored)
            self._close(lane, type(task).__name__)
            if self.rules.defects_of != "commai":
                unpaid = stored > 0 and not reward and not self.rules.appends  # which CommAI-env takes for a failure
                scheduler.result(solved and not unpaid)
        try:
            self._begin(lane, scheduler.next_task())
        except EndOfStream:
            self.over[lane] = True
            if late:
                self._immediate[lane] = NONE  # nobody hears it any more
        else:
            if task is not None and late:
                reward = self._book(lane, stored)  # as that of the task that begins
                if self.rules.defects_of == "commai":
                    scheduler.result(reward > 0)
        return reward

    def _book(self, lane: int, reward: float) -> float:
        """Returns what the task under way may earn of a reward, and counts it."""
        reward = reward if self._earned[lane] < self.max_reward_per_task else 0.0
        self._earned[lane] += reward
        return reward

    def restart(self, lane: int, scheduler: Any) -> None:
        """Begins a lane anew in the next step, which hears nothing, with a scheduler and tasks that were made for it."""
        self.schedulers[lane], scheduler.rng = scheduler, self.rngs[lane]
        scheduler.counts_all = self.rules.defects_of == "commai"
        self.tasks[lane] = self._worlds[lane] = None
        self.over[lane], self._immediate[lane], self._earned_by[lane] = False, NONE, {}
        self.channels.clear(lane)
        self._ended[lane] = self._separated[lane] = True
        self._shifted[lane] = False

    def _close(self, lane: int, name: str) -> None:
        """Books an instance that is over."""
        earned = self._earned_by[lane]
        gained = float(self._earned[lane]) - earned.get(name, 0.0)
        earned[name] = float(self._earned[lane])
        steps, questions = int(self.time[lane]), int(self.asked[lane])
        self.results.add(name, bool(self._result[lane]), gained, steps, questions, lane)

    def _begin(self, lane: int, task: Task) -> None:
        name = type(task).__name__
        self.tasks[lane] = task
        if task.world is not self._worlds[lane]:
            self._worlds[lane] = task.world
            if task.world is not None:
                task.world.begin(self, lane)
        self.channels.clear(lane)
        self.time[lane] = self.to_wait[lane] = self.streak[lane] = self.asked[lane] = self._least[lane] = 0
        self.drills.stop(lane)
        self._ended[lane] = self._separated[lane] = self._shifted[lane] = False
        self._stored[lane], self._result[lane] = 0.0, False
        self._earned[lane] = self._earned_by[lane].get(name, 0.0)
        task.lane, task.sessions, task.rng = lane, self, self.rngs[lane]
        self._no_separator[lane], self._strict[lane] = not task.separator, not task.patient
        self._blots[lane] = task.blots
        self.channels.quiet[lane] = ord(task.default_output)
        self.listen(lane, task.hears)
        self._deadline[lane] = NEVER  # not that of the one before
        task.start()
        self._deadline[lane] = task.max_time
        self.results.begin(name)
        if self.on_task is not None:
            self.on_task(lane, name)

    # What a task does.

    def listen(self, lane: int, hears: bytes | None) -> None:
        """Sets the symbols at which the task under way is asked; None: any."""
        self._wakes[lane] = hears is None
        if hears:
            self._wakes[lane, list(hears)] = True
        if self._worlds[lane] is not None:
            self._wakes[lane, PERIOD] = True

    def say(self, lane: int, text: str, priority: int = 1) -> None:
        """Says something; nothing that would begin when the time is over, so that it can end."""
        self._say(lane, self._scrambled(lane, text), priority)

    def _say(self, lane: int, text: str, priority: int = 1) -> None:
        if self._ended[lane] or lane == self._timing_out or self.rules.defects_of is not None or self._in_time(lane):
            self.channels.say(lane, self._encoded(lane, text), priority, bool(self._shifted[lane]))

    def _in_time(self, lane: int) -> bool:
        """Tells whether something that is said now would begin before the time is over."""
        waiting = self.channels.waiting(lane) * self.rules.steps if self.rules.appends else 0
        return self.time[lane] + waiting < self._deadline[lane]

    def _scrambled(self, lane: int, text: str) -> str:
        return self._scramblers[lane].scramble(text) if self._scramblers else text

    def _encoded(self, lane: int, text: str) -> bytes:
        try:
            return text.encode(self.rules.encoding)
        except UnicodeEncodeError as error:
            raise SpecError(
                f"{type(self.tasks[lane]).__name__}: expected text that symbols below 256 can carry, got {text!r}. Only bits"
                " with the standard serializer carry all letters."
            ) from error

    def finish(self, lane: int, reward: float, result: bool, text: str) -> None:
        """Ends the instance under way; a second call does nothing, unless it is a right answer in the step of the time-out.

        The originals let more of them count.
        """
        defects_of, other = self.rules.defects_of, result != self._result[lane]
        in_time = lane == self._timing_out and result
        again = defects_of == "commai" or (other and (in_time or defects_of == "challenge"))
        if self._ended[lane] and not again:
            return
        self._ended[lane], self._stored[lane], self._result[lane] = True, reward, result
        self.drills.stop(lane)
        if text:
            self.say(lane, text)

    def reward_now(self, lane: int, reward: float) -> None:
        """Gives a reward with the next symbol."""
        self._immediate[lane] = self._book(lane, reward)

    def ask(self, lane: int, question: str, feedback: str = "", least: int = 0) -> None:
        """Asks something, after the feedback; the answer begins with the reply to its last symbol.

        The task is not asked before `least` symbols of the answer were heard.
        """
        # no word goes from one to the other
        self._say(lane, self._scrambled(lane, feedback) + self._scrambled(lane, question))
        self.channels.forget(lane)
        self.to_wait[lane], self._least[lane] = len(question), least
        self.drills.stop(lane)

    def judged(self, lane: int, right: bool) -> None:
        """Rewards an answer, and counts it."""
        self.reward_now(lane, 1.0 if right else -1.0)
        self.streak[lane] = self.streak[lane] + 1 if right else 0
        self.asked[lane] += 1

    def look(self, lane: int) -> None:
        """Tells the task under way that its world has changed."""
        if not self._ended[lane] or self.rules.defects_of is not None:
            self.tasks[lane].look()

    def skip(self, lane: int) -> None:
        """Has the instance time out."""
        self._deadline[lane] = min(self.time[lane], self._deadline[lane])

    def earned(self, lane: int) -> float:
        """Returns what the instance under way has earned so far."""
        return float(self._earned[lane]) - self._earned_by[lane].get(type(self.tasks[lane]).__name__, 0.0)

    def waits(self, lane: int) -> bool:
        """Tells whether it is the learner's turn: an instance is under way, and all has been said."""
        return not self._ended[lane] and self.channels.is_silent(lane)

    def state_dict(self) -> dict:
        """Returns everything that changes, as tensors and primitives."""
        return {
            "arrays": pack(self, ARRAYS),
            "channels": self.channels.state_dict(),
            "drills": self.drills.state_dict(),
            "schedulers": [scheduler_state(scheduler) for scheduler in self.schedulers],
            "current": [
                None if task is None else self.schedulers[lane].tasks.index(task)
                for lane, task in enumerate(self.tasks)
            ],
            "in_world": [world is not None for world in self._worlds],
            "rngs": [random_state(rng) for rng in self.rngs],
            "stored": list(self._stored),
            "earned_by": [dict(earned) for earned in self._earned_by],
            "results": self.results.state_dict(),
            "invented": [dict(scrambler.invented) for scrambler in self._scramblers],
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes back to a state of sessions with the same configuration."""
        unpack(self, state["arrays"])
        self.channels.load_state_dict(state["channels"])
        self.drills.load_state_dict(state["drills"])
        self.results.load_state_dict(state["results"])
        self._stored = list(state["stored"])
        for scrambler, invented in zip(self._scramblers, state["invented"], strict=True):
            scrambler.invented = dict(invented)
        self._earned_by = [dict(earned) for earned in state["earned_by"]]
        for lane, scheduler in enumerate(self.schedulers):
            load_random_state(self.rngs[lane], state["rngs"][lane])
            load_scheduler_state(scheduler, state["schedulers"][lane])
            for task in scheduler.tasks:
                task.lane, task.sessions, task.rng = lane, self, self.rngs[lane]
                if task.world is not None:
                    task.world.lane, task.world.sessions = lane, self
            current = state["current"][lane]
            task = self.tasks[lane] = None if current is None else scheduler.tasks[current]
            self._worlds[lane] = task.world if state["in_world"][lane] else None


def _check_apart(schedulers: Sequence[Any]) -> None:
    """Raises where two lanes would talk about the same objects."""
    owned = [
        owner
        for scheduler in schedulers
        for owner in {*scheduler.tasks, *(task.world for task in scheduler.tasks)} - {None}
    ]
    if len(set(owned)) < len(owned):
        raise SpecError(
            "commai: expected tasks and worlds of its own for every lane, two lanes share some. Have create_tasks() make new"
            " ones at every call."
        )
