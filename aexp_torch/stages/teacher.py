"""Teacher: sometimes the environment goes back to where performance rose most."""

import copy
import zlib
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import AexpError, SpecError
from aexp_torch.sources.restorable import Restorable
from aexp_torch.specs import EnvSpec, Modality, map_tree
from aexp_torch.specs.infer import with_sides
from aexp_torch.stages.archive import Archive, Choice
from aexp_torch.stages.early_end import EarlyEnd, end_early
from aexp_torch.stages.lane_control import require_lane_control
from aexp_torch.stages.performance import Performance
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Teacher"]

KEY = "teacher:restored_step"
FIRST, MID, LAST = (np.int8(kind) for kind in StepType)

Score = Literal["return"] | Callable[[TimeStep], Tensor]
Buffer = Literal["rolling", "top_k"] | Callable[[TimeStep, Tensor], Tensor]


class Teacher(EarlyEnd):
    """Stores places where performance rose, and sometimes has an episode begin there: go back, then explore.

    The score of a timestep is how much the performance has risen over the last `window` steps of its episode. FIRST and
    MID are stored, together with the simulator and its generators, so that the same actions would lead to the same
    timesteps again; the places of a source are shared by its lanes. A restored episode is one like any other: it begins
    with FIRST, which shows the stored observation, and counts its own length. Its performance goes on from what it was at
    that place. The fresh episode after it is the one that would have come without it.

    Observation: gains `teacher:restored_step`, int64 [B]: on a FIRST that was restored the steps since the episode's fresh
    start, through all restores; elsewhere it is absent.
    Action: unchanged.

    Args:
      env: the environment below, of sources that can store single lanes: `GymnasiumEnv` with one lane or
        `vectorization="sync"` (classic control, toy text, MuJoCo, Atari with `repeat_action_probability=0`), `DatasetEnv`
        with `batch_size=1`.
      buffer: "rolling" keeps the newest places whose score is above 0, "top_k" the best of them (the newest, of equal
        ones). A function from a timestep and its scores, float64 [N], says by bool [N] what is to be stored; the newest
        are kept.
      capacity: the most places that are kept, per source.
      window: steps over which a rise is taken, back to FIRST at most; None: the performance itself is the score.
      score: the performance: "return" is the discounted return so far, or a function of a timestep that returns [N]. It
        gets each timestep once, as it comes from below, with the N lanes that move. What has `state_dict` and
        `load_state_dict` is part of the state; every slot has a copy of its own.
      gamma: discount of the return, per step.
      p_revert: probability of going back, in [0, 1].
      when: "reset": after LAST, or where a lane is reset. "step": after any MID, which becomes LAST (truncated); that needs
        lane control.
      choose: "best" goes back to the highest score, the newest of equal ones; "proportional" draws in proportion to
        scores, as far as they are above 0.

    Raises:
      SpecError: a source that cannot store single lanes, with the reason; options out of range; a key that is taken.

    >>> import torch, aexp_torch as ae
    >>> env = ae.GymnasiumEnv("FrozenLake-v1", 2, "sync", is_slippery=False)
    >>> env = env.pipe(ae.Teacher, score=lambda timestep: timestep.observation["observation"], p_revert=1.0)
    >>> timestep = env.reset()
    >>> for _ in range(4):  # down and right; down is the way into a hole
    ...     timestep = env.step(torch.tensor([1, 2]))
    >>> timestep.step_type, timestep.observation["observation"], timestep.observation["teacher:restored_step"]
    (tensor([0, 1], dtype=torch.int8), tensor([8, 3]), tensor([2, 0]))

    Source: `Teacher` of the artificial-experience project; Go-Explore, Ecoffet et al. 2021.
    """

    def __init__(
        self,
        env: Env,
        buffer: Buffer = "rolling",
        capacity: int = 100,
        window: int | None = 1,
        score: Score = "return",
        gamma: float = 1.0,
        p_revert: float = 0.5,
        when: Literal["reset", "step"] = "reset",
        choose: Choice = "best",
    ):
        super().__init__(env)
        if not (buffer in ("rolling", "top_k") or callable(buffer)) or not (score == "return" or callable(score)):
            raise SpecError(
                "Teacher: expected buffer 'rolling', 'top_k' or a function, and score 'return' or a function, got"
                f" {buffer!r}, {score!r}."
            )
        if when not in ("reset", "step") or choose not in ("best", "proportional"):
            raise SpecError(
                f"Teacher: expected when 'reset' or 'step' and choose 'best' or 'proportional', got {when!r}, {choose!r}."
            )
        counts = capacity if window is None else min(capacity, window)
        if not isinstance(counts, int) or counts < 1 or not 0 <= p_revert <= 1 or not 0 <= gamma <= 1:
            raise SpecError(
                "Teacher: expected capacity and window of at least 1 (window=None for none), p_revert and gamma in [0, 1],"
                f" got {capacity!r}, {window!r}, {p_revert!r}, {gamma!r}."
            )
        for source in env.sources:
            _restorable(source)
        if when == "step":
            require_lane_control(env, "Teacher")
        self.buffer, self.capacity, self.window, self.score, self.gamma = buffer, capacity, window, score, gamma
        self.p_revert, self.when, self.choose = p_revert, when, choose

    def on_open(self) -> None:
        """Starts with nothing stored."""
        self._memories: dict[str, Memory] = {}
        for source in map(_restorable, self.env.sources):
            num_envs = self.env.specs[source.name].num_envs
            performance = Performance(num_envs, self.gamma, self.window)
            archive = Archive(self.capacity, self.buffer == "top_k", self.choose)
            generator = np.random.default_rng(self.seeds(zlib.crc32(b"Teacher"), source=source.name))
            self._memories[source.name] = Memory(source, performance, archive, generator)
        self._specs = self.make_specs()  # a key that is taken is refused before the first timestep
        # Functions may remember: each running pipeline has its own.
        self._score = copy.deepcopy(self.score)
        self._should_store = copy.deepcopy(self.buffer)

    @property
    def stream_length(self) -> int | None:
        """Not known: it depends on how often it goes back."""
        return None

    @property
    def pass_length(self) -> int | None:
        """Not known: it depends on how often it goes back."""
        return None

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds the key."""
        if KEY in spec.observation:
            raise SpecError(
                f"Teacher: expected a free key, {KEY!r} is in the observation already ({sorted(spec.observation)}). Use one"
                " Teacher."
            )
        new = with_sides(spec, observation={**spec.observation, KEY: specs.Array((), np.int64, KEY)})
        new.modalities["observation"][KEY] = Modality("flat", "integer", optional=True)
        return new

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Resets the environment below; lanes that are in the middle of an episode may go back, too."""
        for memory in self._memories.values() if self.when == "reset" else ():
            if memory.source._outstanding is not None:
                memory.revert(~memory.over if lanes is None else lanes.numpy() & ~memory.over, self.p_revert)
        return super().reset(lanes)

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Stores what is worth it, decides which lanes go back, and tells which have."""
        memory, step_type = self._memories[timestep.source], timestep.step_type.numpy()
        moving = np.ones(len(step_type), bool) if self.held is None else ~self.held.numpy()
        first = (step_type == FIRST) & moving
        restored = memory.begin(first)
        score = self._rise(memory, timestep, moving, first)
        ended = moving & (step_type == LAST)
        cut = memory.revert(
            ended & ~memory.over if self.when == "reset" else moving & (step_type == MID), self.p_revert
        )
        memory.over = np.where(moving, ended, memory.over)
        self._store(memory, timestep, score, moving & ~ended)
        shown = _shown(memory.performance.step, restored)
        timestep = timestep._replace(observation={**timestep.observation, **shown})
        return end_early(timestep, from_numpy(cut)) if self.when == "step" and cut.any() else timestep

    def _rise(self, memory: "Memory", timestep: TimeStep, moving: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Returns the scores, float64 [B]."""
        performance, going = memory.performance, moving & ~first
        performance.step += going
        if callable(self._score):
            values = self._score(_rows(timestep, moving))
            performance.now[moving] = _checked(values, int(moving.sum()), "score", timestep.source).double().numpy()
        else:
            performance.earn(going, timestep.reward.numpy())
        return performance.rise(first, going)

    def _store(self, memory: "Memory", timestep: TimeStep, score: np.ndarray, lanes: np.ndarray) -> None:
        """Stores some of `lanes` (bool [B])."""
        if not lanes.any():
            return
        if callable(self._should_store):
            values = self._should_store(_rows(timestep, lanes), from_numpy(score[lanes]))
            lanes[lanes] = _checked(values, int(lanes.sum()), "buffer", timestep.source).bool().numpy()
        else:
            lanes = lanes & (score > 0)
        memory.store(lanes, score)

    def go_on_after(self, steps: dict[str, int], origin: dict | None = None) -> None:
        """Has data start over: restored episodes are among its steps, so nobody knows how far it had come."""
        super().go_on_after({}, origin)

    def state_dict(self) -> dict:
        """Adds what is stored and known of each lane, by source, and the states of functions that have one."""
        self.open()
        return super().state_dict() | {
            "memories": {name: memory.state_dict() for name, memory in self._memories.items()},
            "functions": [_state_of(function) for function in (self._score, self._should_store)],
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores all of it."""
        super().load_state_dict(state)
        for name, memory in self._memories.items():
            memory.load_state_dict(state["memories"][name])
        for function, own in zip((self._score, self._should_store), state["functions"], strict=True):
            if own is not None:
                function.load_state_dict(own)  # type: ignore[union-attr]


class Memory:
    """Is what a Teacher knows of one source.

    Args:
      source: the source itself, which is stored and restored.
      performance: of its lanes.
      archive: of its places.
      generator: decides who goes back, and where.
    """

    def __init__(self, source: Restorable, performance: Performance, archive: Archive, generator: np.random.Generator):
        self.source, self.performance, self.archive, self.generator = source, performance, archive, generator
        self.over = np.zeros(len(performance.now), bool)  # was LAST
        self._awaited: dict[int, dict] = {}  # by lane: the place where its next episode is to begin

    def begin(self, first: np.ndarray) -> np.ndarray:
        """Starts the episodes of lanes at FIRST (bool [B]); returns which of them are restored."""
        restored = np.zeros_like(first)
        if not first.any():
            return restored
        for lane in np.flatnonzero(first).tolist():
            place = None if lane in self.source.restoring else self._awaited.pop(lane, None)
            restored[lane] = place is not None
            self.performance.begin(lane, place)
        return restored

    def revert(self, lanes: np.ndarray, probability: float) -> np.ndarray:
        """Draws which of `lanes` (bool [B]) go back, and where; returns these."""
        reverted = np.zeros_like(lanes)
        if not lanes.any():
            return reverted
        chosen = np.flatnonzero(lanes)
        for lane in chosen[self.generator.random(len(chosen)) < probability].tolist():
            place = self.archive.choose(self.generator)
            if place is not None:
                self.source.restore(place["snapshot"], lane)
                self._awaited[lane] = place["start"]
                reverted[lane] = True
        return reverted

    def store(self, lanes: np.ndarray, score: np.ndarray) -> None:
        """Stores `lanes` (bool [B]) as far as the archive wants them."""
        if not lanes.any():
            return
        over = self.source._outstanding.last()  # a stage may show a lane late that has ended by then
        for lane in np.flatnonzero(lanes & ~over.numpy()).tolist():
            if self.archive.wants(float(score[lane])):
                place = {"start": self.performance.place(lane), "snapshot": self.source.snapshot(lane)}
                self.archive.add({"score": float(score[lane]), **place})

    def state_dict(self) -> dict:
        """Returns all of it but the source's."""
        return {
            "performance": self.performance.state_dict(),
            "archive": self.archive.state_dict(),
            "generator": pack_generator(self.generator),
            "over": from_numpy(self.over.copy()),
            "awaited": dict(self._awaited),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores it."""
        self.performance.load_state_dict(state["performance"])
        self.archive.load_state_dict(state["archive"])
        self.generator = unpack_generator(state["generator"])
        self.over, self._awaited = state["over"].numpy().copy(), dict(state["awaited"])


def _restorable(source: Env) -> Restorable:
    """Returns a source; raises a SpecError where its single lanes cannot be stored."""
    who = f"Teacher: expected sources that can store single lanes, {source.name!r} ({type(source).__name__}) cannot"
    if not (isinstance(source, Restorable) and source.snapshots):
        raise SpecError(
            f"{who}. Use vectorization='sync' for a Gymnasium environment, batch_size=1 for a dataset; put Teacher below"
            " TrainerSide and what replays or joins environments (ReplayBuffer, Multitasking, SynEnv), around each member."
        )
    if source._recipe is not None and not source.resumable:
        try:
            source.state_dict()
        except AexpError as error:
            raise SpecError(f"{who}: {error}") from error
    return source


def _shown(step: np.ndarray, restored: np.ndarray) -> dict[str, Any]:
    """Returns the key, with its mask where only some lanes have it."""
    if not restored.any():
        return {KEY: None}
    shown = {KEY: from_numpy(np.where(restored, step, 0))}
    return shown if restored.all() else shown | {f"mask:{KEY}": from_numpy(restored)}


def _rows(timestep: TimeStep, lanes: np.ndarray) -> TimeStep:
    """Returns a timestep with some lanes (bool [B]) only."""
    if lanes.all():
        return timestep
    chosen = from_numpy(lanes)
    observation = map_tree(lambda leaf: None if leaf is None else leaf[chosen], timestep.observation)
    signals = timestep.step_type[chosen], timestep.reward[chosen], timestep.discount[chosen]
    return TimeStep(*signals, observation, timestep.ticket)


def _checked(values: Any, count: int, option: str, source: str) -> Tensor:
    """Requires what a function must return: finite numbers, one per lane."""
    if not isinstance(values, Tensor) or values.shape != (count,) or not values.isfinite().all():
        came = f"{values.dtype} {list(values.shape)} {values}" if isinstance(values, Tensor) else repr(values)
        raise SpecError(
            f"Teacher: expected a tensor of {count} finite numbers from {option}= for {source!r}, one per lane, got {came}."
        )
    return values.detach().cpu()


def _state_of(function: Any) -> dict | None:
    stateful = hasattr(function, "state_dict") and hasattr(function, "load_state_dict")
    return function.state_dict() if stateful else None
