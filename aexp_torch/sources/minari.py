"""MinariEnv: a Minari dataset as the stream that was recorded (extra `minari`)."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aexp_torch.env import Env, seed_sequence
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.replay.player import RECORDED, recorded_observation, recorded_tree
from aexp_torch.specs import EnvSpec, flatten, map_tree, unflatten
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["MinariEnv"]


class Episode(NamedTuple):
    """Is one recorded episode of T steps.

    Args:
      number: among those of the dataset.
      observation: tree of tensors [T + 1, ...].
      action: tree of tensors [T, ...].
      reward: float32 [T].
      terminated: whether its last observation is the end of the task.
    """

    number: int
    observation: dict[str, Any]
    action: dict[str, Any]
    reward: Tensor
    terminated: bool


class MinariEnv(Env):
    """Shows recorded episodes, for offline reinforcement learning; answers are checked and ignored.

    A lane that is free takes the next episode of the order, for ever; slots deal the episodes out among each other. An
    episode is read when its turn comes, and is kept while it is shown.

    Observation: as recorded, with `action:recorded`, the answer that was given to this timestep, and
    `mask:action:recorded` (bool [B], False on LAST).  Action: as recorded.
    LAST has discount 0 where the recorded episode was terminated, else 1.

    Args:
      data: a `minari.MinariDataset`; or the id of one that Minari has on this machine, or a function that returns one:
        loaded, or called, where the Env is opened.
      num_envs: lanes B.
      shuffle: another order of episodes in each pass, from the seed.
      name: names the source; the default is the dataset's id.
      seed: S of the order.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.

    Raises:
      SpecError: no episodes, or spaces that cannot be described.
      MissingDependencyError: Minari is not installed.

    `import_minari` makes a ReplayBuffer of the same data, which is sampled from.

    Source: Younis et al. 2024, Minari.
    """

    lane_control = True

    def __init__(
        self,
        data: Any,
        num_envs: int = 1,
        *,
        shuffle: bool = False,
        name: str | None = None,
        seed: int = 0,
        on_missing: Any = "error",
        feedback_timeout: float = 60.0,
    ):
        if num_envs < 1:
            raise SpecError(f"MinariEnv: expected num_envs of at least 1, got {num_envs!r}.")
        given = data if isinstance(data, str) else getattr(data, "id", "minari")
        super().__init__(name or given, seed=seed, on_missing=on_missing, feedback_timeout=feedback_timeout)
        self.data, self.num_envs, self.shuffle = data, num_envs, shuffle

    def on_open(self) -> None:
        """Opens the dataset."""
        minari = import_provider("minari", "minari", f"MinariEnv({self.name!r})")
        from aexp_torch.specs.space_data import batch_reader

        data = minari.load_dataset(self.data) if isinstance(self.data, str) else self.data
        self._dataset = data() if callable(data) else data
        self._numbers = np.asarray(self._dataset.episode_indices, np.int64)
        if not len(self._numbers):
            raise SpecError(f"MinariEnv({self.name!r}): expected at least one episode, got none.")
        self._read_observation = batch_reader(self._dataset.observation_space, "observation")
        self._read_action = batch_reader(self._dataset.action_space, "action")
        self._order_seed = int(seed_sequence(self.seed, self.seed_prefix + self.name).generate_state(1)[0])
        self._orders: dict[int, np.ndarray] = {}
        self._taken = 0  # episodes that lanes of this slot have begun
        self._episodes: list[Episode | None] = [None] * self.num_envs
        self._steps = [0] * self.num_envs

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes the recorded spaces."""
        from aexp_torch.specs.spaces import space_modalities, space_to_spec

        spaces = {"observation": self._dataset.observation_space, "action": self._dataset.action_space}
        trees = {side: space_to_spec(space, side) for side, space in spaces.items()}
        modalities = {side: dict(space_modalities(space, side)) for side, space in spaces.items()}
        recorded = recorded_tree(modalities["action"])
        modalities["observation"][RECORDED] = map_tree(lambda each: replace(each, optional=True), recorded)
        observation = {**trees["observation"], RECORDED: recorded_tree(trees["action"])}
        return {self.name: EnvSpec(observation, trees["action"], modalities=modalities, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Takes new episodes."""
        if lanes is None:
            self._taken = 0
        for lane in range(self.num_envs):
            if lanes is None or lanes[lane]:
                self._begin(lane)
        return self._timestep()

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Shows the next steps."""
        for lane, episode in enumerate(self._episodes):
            if lanes is not None and not lanes[lane]:
                continue
            if self._steps[lane] == len(episode.reward):
                self._begin(lane)
            else:
                self._steps[lane] += 1
        return self._timestep()

    def _begin(self, lane: int) -> None:
        place = self._taken * self.num_slots + self.slot
        self._taken += 1
        self._episodes[lane], self._steps[lane] = self._read(self._number(place)), 0

    def _number(self, place: int) -> int:
        """Returns the number of an episode in the order that is common to all slots."""
        pass_number, place = divmod(place, len(self._numbers))
        if not self.shuffle:
            return int(self._numbers[place])
        if pass_number not in self._orders:
            generator = np.random.default_rng(np.random.SeedSequence(self._order_seed, spawn_key=(pass_number,)))
            self._orders = {pass_number: generator.permutation(self._numbers)}
        return int(self._orders[pass_number][place])

    def _read(self, number: int) -> Episode:
        (found,) = self._dataset.storage.get_episodes([number])
        found = found if isinstance(found, dict) else vars(found)
        return Episode(
            number,
            self._read_observation(found["observations"]),
            self._read_action(found["actions"]),
            torch.from_numpy(np.array(found["rewards"], np.float32)),
            bool(found["terminations"][-1]),
        )

    def _timestep(self) -> TimeStep:
        shown = list(zip(self._episodes, self._steps))
        last = torch.tensor([step == len(episode.reward) for episode, step in shown])
        first = torch.tensor([step == 0 for _, step in shown])
        step_type = torch.where(first, StepType.FIRST, torch.where(last, StepType.LAST, StepType.MID)).to(torch.int8)
        reward = torch.stack([episode.reward[step - 1] if step else torch.zeros(()) for episode, step in shown])
        terminated = torch.tensor([episode.terminated for episode, _ in shown])
        discount = torch.where(last & terminated, 0.0, 1.0)
        observation = _rows([(episode.observation, step) for episode, step in shown])
        # On LAST no answer was recorded: what stands there is covered by the mask.
        answers = [(episode.action, min(step, len(episode.reward) - 1)) for episode, step in shown]
        observation |= recorded_observation(_rows(answers), ~last, self.specs[self.name])
        return TimeStep(step_type, reward, discount, observation)

    def state_dict(self) -> dict:
        """Adds the episodes and steps that lanes show, and how many were begun."""
        self.open()
        return super().state_dict() | {
            "episodes": [-1 if episode is None else episode.number for episode in self._episodes],
            "steps": list(self._steps),
            "taken": self._taken,
            "order_seed": self._order_seed,
        }

    def load_state_dict(self, state: dict) -> None:
        """Goes on where `state` was taken, with the same dataset."""
        super().load_state_dict(state)
        self._taken, self._order_seed, self._orders = state["taken"], state["order_seed"], {}
        self._steps = list(state["steps"])
        self._episodes = [None if number < 0 else self._read(number) for number in state["episodes"]]


def _rows(chosen: list[tuple[dict, int]]) -> dict:
    """Returns one row of each tree, as a tree of tensors [B, ...]."""
    leaves = [(dict(flatten(tree)), row) for tree, row in chosen]
    return unflatten([(path, torch.stack([leaf[path][row] for leaf, row in leaves])) for path in leaves[0][0]])
