"""AtariEnv: Atari games through ALE's own vector environment, which steps and preprocesses all lanes in C++."""

import difflib
import inspect
from typing import TYPE_CHECKING, Any, Literal

from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec

if TYPE_CHECKING:
    from ale_py.vector_env import AtariVectorEnv

__all__ = ["AtariEnv"]

NOT_OPTIONS = ("self", "game", "num_envs", "batch_size", "autoreset_mode")


class AtariEnv(SimulatorEnv):
    """Runs `num_envs` lanes of an Atari game in threads of ALE (extra `atari`, which carries the games).

    Observation: `observation` uint8 [B, stack_num, img_height, img_width], oldest frame first; with `grayscale=False`
    [B, stack_num, img_height, img_width, 3].
    Action: `action` int64 [B], among those that the game uses; with `continuous=True` float32 [B, 3]: radius, angle, fire.
    A lane that ends shows its final observation on LAST; its next timestep is FIRST. Terminated is discount 0, truncated
    (after `max_num_frames_per_episode`) discount 1. Rewards are in the game's own points.

    Every lane has a seed of its own. What ALE keeps in C++ gives no state: `resumable` is False. Where a run must be
    resumed exactly, `GymnasiumEnv("ALE/Pong-v5", vectorization="sync", repeat_action_probability=0)` can be, with the
    stages `FrameSkip`, `Grayscale`, `Resize` and `FrameStack` around it.

    | option | default | |
    |---|---|---|
    | `frameskip` | 4 | frames for which an action is held; the last two give the maximum (`maxpool=True`) |
    | `stack_num` | 4 | frames in an observation, the first of an episode after black ones |
    | `img_height`, `img_width` | 84 | pixels |
    | `grayscale` | True | |
    | `repeat_action_probability` | 0.0 | sticky actions; 0.25 is the benchmark's standard |
    | `full_action_space` | False | all 18 actions |
    | `episodic_life` | False | a lost life terminates the episode |
    | `noop_max` | 30 | an episode begins after up to as many frames without action |
    | `use_fire_reset` | True | where a game waits for the fire button, an episode begins with it |
    | `reward_clipping` | False | rewards as signs; `ClipReward` does it anywhere |
    | `max_num_frames_per_episode` | 108000 | frames until truncation |
    | `num_threads` | 0 | threads; 0: as many as there are cores, or lanes if they are fewer |

    Args:
      game: name of the game in snake case: `"pong"`, `"ms_pacman"`.
      num_envs: number of lanes B.
      name: names the source; the default is the game.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of a simulator that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      options: see above, and `ale_py.vector_env.AtariVectorEnv`.

    Raises:
      SpecError: unknown game or option, when it is opened.

    Source: Machado et al. 2018, "Revisiting the Arcade Learning Environment".

    >>> env = AtariEnv("pong", num_envs=2, frameskip=2)
    >>> env.reset().observation["observation"].shape
    torch.Size([2, 4, 84, 84])
    """

    vectorization = "own"
    resumable = False
    snapshots = False

    def __init__(
        self,
        game: str,
        num_envs: int = 1,
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **options: Any,
    ):
        settings: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(num_envs, name or game, on_broken=on_broken, max_broken=max_broken, **settings)
        self.game, self.options = game, {"reward_clipping": False, **options}

    def open_lanes(self) -> Lanes:
        """Starts ALE's threads."""
        import_provider("ale_py", "atari", f"AtariEnv({self.game!r})")
        from aexp_torch.sources.gymnasium_lanes import AtariLanes

        self._vector = self._make()
        return AtariLanes(self, self._vector)

    def _make(self) -> "AtariVectorEnv":
        from ale_py import roms
        from ale_py.vector_env import AtariVectorEnv

        games = roms.get_all_rom_ids()
        if self.game not in games:
            wanted = self.game.rpartition("/")[2].partition("-")[0]
            near = difflib.get_close_matches("".join(wanted.split("_")).lower(), games, 3, 0.5)
            raise SpecError(
                f"AtariEnv: expected the name of a game in snake case, got {self.game!r}. Near it: {near}; all are in"
                " ale_py.roms.get_all_rom_ids(). GymnasiumEnv takes ids such as 'ALE/Pong-v5'."
            )
        known = [name for name in inspect.signature(AtariVectorEnv.__init__).parameters if name not in NOT_OPTIONS]
        unknown = sorted(self.options.keys() - set(known))
        if unknown:
            raise SpecError(f"AtariEnv: expected options among {known}, got {unknown}.")
        return AtariVectorEnv(self.game, self.num_envs, **self.options)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the spaces."""
        from aexp_torch.specs.spaces import space_to_spec

        observation = space_to_spec(self._vector.single_observation_space, "observation")
        action = space_to_spec(self._vector.single_action_space, "action")
        return {self.name: EnvSpec(observation, action, num_envs=self.num_envs)}
