"""ReplayBuffer: a stage that records what passes, and shows it again."""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.replay.mix import Mix
from aexp_torch.replay.player import Player
from aexp_torch.replay.samplers import Sampler, UniformSampler
from aexp_torch.replay.store import Record, Replay
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import TimeStep

__all__ = ["ReplayBuffer"]

MODES = ("record", "replay", "mix")


class ReplayBuffer(Stage):
    """Stores timesteps and answers, per source and lane; samples from them, and shows stored episodes again.

    - `"record"`: everything passes unchanged and is stored. Lanes that are held are not stored twice.
    - `"replay"`: stored episodes are shown, one after the other in each lane and in the order in which they began (a
      recording of one slot is shown as it was), for ever; see `Player`. Answers are checked and ignored.
    - `"mix"`: records, and with probability `p` the next timestep is a stored one, of a source of its own called
      `replay/<source>`. Each waits for its next turn, as in `Interleave`.

    Without `path` rows are kept in memory, in the process that runs the stage, until it is closed. With `path` they are
    on disk, one file per field in `path/<source>/<slot>`, to which one process writes and any number read, meanwhile or
    later: `ReplayBuffer(path=path)` reads all slots. A process that is killed loses nothing that has passed.

    Observation: unchanged; stored episodes gain `action:recorded`, the answer that was given to this timestep, with
    `mask:action:recorded` (bool [B], False on LAST).  Action: unchanged.

    Args:
      env: the environment below. None: stored episodes are shown; what is stored comes from `path`, or from `append`.
      capacity: rows (a timestep of one lane each) that count, per source; the oldest make room. None: all, which needs a
        path; files keep every row, whatever the capacity.
      mode: the default is `"record"`, or without an environment `"replay"`.
      p: probability of a stored timestep, in [0, 1], with `"mix"`.
      sampler: what `sample` does: `UniformSampler`, `PrioritizedSampler` or `SequenceSampler`.
      path: a folder.
      on_append: one or several functions that are called with a `Record` after everything that is stored.
      source: which of the recorded sources is shown, if there are several.
      shuffle: shows episodes in random order.
      options: `name`, `seed` and so on, as for every Env, where nothing is below.

    Raises:
      SpecError: an unknown mode, no capacity in memory, somebody else records to the same folder, or something else was
        recorded there.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1", num_envs=4, on_missing="sample").pipe(ae.ReplayBuffer, capacity=1000)
    >>> for timestep, _ in zip(env, range(50)):
    ...     pass
    >>> batch = env.sample(32)
    >>> batch.observation["observation"].shape, batch.reward.shape
    (torch.Size([32, 4]), torch.Size([32]))

    Source: `ReplayBuffer` of the artificial-experience project; Lin 1992, "Self-improving reactive agents".
    """

    def __init__(
        self,
        env: Env | None = None,
        capacity: int | None = None,
        mode: Literal["record", "replay", "mix"] | None = None,
        *,
        p: float = 0.5,
        sampler: Sampler | None = None,
        path: str | Path | None = None,
        on_append: Callable[[Record], Any] | Sequence[Callable[[Record], Any]] = (),
        source: str | None = None,
        shuffle: bool = False,
        **options: Any,
    ):
        mode = mode or ("replay" if env is None else "record")
        hooks = (on_append,) if callable(on_append) else tuple(on_append)
        check_arguments(env, capacity, mode, p, path, options)
        self.capacity, self.mode, self.p, self.hooks = capacity, mode, p, hooks
        self.sampler = sampler or UniformSampler()
        self.path = None if path is None else Path(path).absolute()
        self.source = source
        if mode == "replay":
            if env is not None:
                options = {"seed": env.seed, "on_missing": env.on_missing, "feedback_timeout": env.feedback_timeout}
                self.source = source or env.name
            env = Player(shuffle, **{"name": self.source or "replay", **options})
        elif mode == "mix":
            names = [each.name for each in env.sources]
            env = Mix(env, [Player(shuffle, name=f"replay/{name}") for name in names], p)
        super().__init__(env)

    def _players(self) -> list[Player]:
        """Returns those that show what is stored."""
        if isinstance(self.env, Mix):
            return [env for env in self.env.environments if isinstance(env, Player)]
        return [self.env] if isinstance(self.env, Player) else []

    def on_open(self) -> None:
        """Opens what is stored."""
        reads = self.mode == "replay"
        seeds = self.seeds(zlib.crc32(b"ReplayBuffer"))
        slot = None if reads and self.path is not None else self.slot
        live = self.env.environments[0] if isinstance(self.env, Mix) else self.env
        self._recorded: dict[str, EnvSpec] = {} if reads else dict(live.specs)
        self.replay = Replay(self.capacity, self.sampler, self.path, slot, seeds, self.hooks, self._recorded)
        for place, player in enumerate(self._players()):
            player.replay = self.replay
            player.recorded = self.source if reads else list(self._recorded)[place]

    def on_close(self) -> None:
        """Closes files."""
        self.replay.close()

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Stores it."""
        if timestep.source in self._recorded:
            self.replay.add(timestep, None if self.held is None else ~self.held)
        return timestep

    def on_action(self, action: dict, timestep: TimeStep) -> dict:
        """Keeps it, to store it with the timestep that it leads to."""
        if timestep.source in self._recorded:
            self.replay.answer(timestep, action)
        return action

    def append(self, timestep: TimeStep, action: Any, spec: EnvSpec | None = None) -> None:
        """Stores a timestep and the answer that was given to it, where an agent keeps a buffer of its own.

        Args:
          timestep: of any source and slot; those of one stream in order.
          action: dict of tensors [B, ...], or the bare tensor; None where no answer was due.
          spec: of its source; without it, it is learned from the first timestep and answer, and has no bounds.
        """
        self.open()
        self.replay.append(timestep, action, spec)

    def sample(self, batch_size: int, source: str | None = None) -> Any:
        """Returns `batch_size` draws, in memory that is used again once nobody holds any tensor of the batch.

        Args:
          batch_size: N.
          source: which source; None for the only one that was recorded.

        Returns:
          `Transitions`, or `Sequences` from a SequenceSampler.

        Raises:
          SpecError: nothing was recorded of that source, or there are several and none is named.
        """
        self.open()
        if batch_size < 1:
            raise SpecError(f"ReplayBuffer.sample: expected a batch_size of at least 1, got {batch_size!r}.")
        return self.replay.sample(batch_size, source)

    def update_priorities(self, rows: Tensor, priorities: Tensor, source: str | None = None) -> None:
        """Sets the priorities of what was sampled.

        Args:
          rows: int64 [N], `rows` of a batch.
          priorities: at least 0, [N]: absolute errors.
          source: as for `sample`.
        """
        self.open()
        self.replay.update_priorities(rows, priorities, source)

    @property
    def num_timesteps(self) -> dict[str, int]:
        """How many rows count, by source."""
        self.open()
        return self.replay.num_timesteps()

    def flush(self) -> None:
        """Waits until everything is on the disk, so that it survives a failure of the machine, too."""
        self.open()
        self.replay.flush()

    def state_dict(self) -> dict:
        """Adds what is stored, or where and how much, and the generators."""
        return super().state_dict() | {"replay": self.replay.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Restores what is stored; on disk, what was written since is left out and will be written over.

        Raises:
          SpecError: the rows are in another folder, or have been written over.
        """
        self.check_state(state)
        self.open()
        self.replay.load_state_dict(state["replay"])  # first: it may refuse
        super().load_state_dict(state)


def check_arguments(
    env: Env | None, capacity: int | None, mode: str, p: float, path: Any, options: dict[str, Any]
) -> None:
    """Refuses what cannot work."""
    if mode not in MODES:
        raise SpecError(f"ReplayBuffer: expected mode to be one of {MODES}, got {mode!r}.")
    if not 0 <= p <= 1 or (capacity is not None and capacity < 2):
        raise SpecError(f"ReplayBuffer: expected p in [0, 1] and capacity of at least 2, got {p!r} and {capacity!r}.")
    if capacity is None and path is None:
        raise SpecError("ReplayBuffer: expected capacity= in memory (rows, one per lane and timestep), got None.")
    if env is None and mode != "replay":
        raise SpecError(f"ReplayBuffer: expected an environment with mode={mode!r}, got None. Leave mode= out.")
    if env is not None and options:
        raise SpecError(f"ReplayBuffer: expected {sorted(options)} to be given to the environment below.")
    if env is not None and mode == "replay" and path is None:
        raise SpecError("ReplayBuffer: expected path= with mode='replay': what was recorded there is shown, got None.")
