"""StarCraft2Env: StarCraft II, as PySC2 shows it."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from dm_env import specs

from aexp_torch.errors import ActionError, SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes, Simulator, SingleLanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec, Modality

__all__ = ["StarCraft2Env"]

LAYERS = {"feature_screen": "SCREEN_FEATURES", "feature_minimap": "MINIMAP_FEATURES"}
IMAGES = ("rgb_screen", "rgb_minimap")
MADE_AGAIN = zlib.crc32(b"game")  # sets the seeds of games that are made anew apart
NO_OP = 0  # the function that is always available, with no arguments
LAST = 2


class StarCraft2Env(SimulatorEnv):
    """Plays StarCraft II through PySC2, one agent in each lane, with one game process each.

    It is written over PySC2 4.0's documented interface and tested against a fake that speaks it; its calls are those that
    PySC2's own `actions` and `features` take. It has not met the game, which PySC2 does not start on current versions of
    Python. What PySC2 needs is its own to say: the game below SC2PATH, and maps in it.

    Observation: PySC2's own keys. `feature_screen` and `feature_minimap`: int32 [layers, H, W], each layer from 0 to its
    scale - 1 (what is larger, as units of later versions, is shown as that). `rgb_screen` and `rgb_minimap`: uint8
    [H, W, 3], where they are asked for. `available_actions`: int8 [number of functions], 1 where a function can be called.
    Whatever else has a fixed size (`player`, `score_cumulative`, `control_groups` ...): int32. Lists of any length are left
    out.
    Action: `function`, int64, its number; and one key for each type of argument, of which those are used that the function
    takes: points (`screen`, `minimap`, `screen2`) are int64 [2], x and y; all others (`queued`, `select_add` ...) int64.
    Episodes end with the game (discount 0), or at `game_steps_per_episode` (discount 1).

    Args:
      map_name: `"MoveToBeacon"`, `"Simple64"`; or a function that makes a PySC2 environment of one agent, given `step_mul`,
        `game_steps_per_episode`, `random_seed` and `kwargs`; or a live one (num_envs=1, this process only).
      num_envs: number of lanes B; games run at the same time.
      race: of the agent, on a map that is named: `"random"`, `"terran"`, `"zerg"`, `"protoss"`.
      opponent: race and difficulty of the game's own player, `("zerg", "easy")`, where a map needs one.
      feature_screen: height and width of the screen's layers.
      feature_minimap: of the minimap's.
      step_mul: frames of the game in a step, 22.4 a second.
      game_steps_per_episode: frames until an episode is cut off; 0 for no limit, None for the map's own.
      unavailable: what becomes of a function that is not available: the function 0 in its place, which does nothing
        ("no_op"), or an ActionError ("raise").
      name: names the source; the default is the map's name.
      seed: S of the seeds of the games.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of a game that raises, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      kwargs: for `pysc2.env.sc2_env.SC2Env`, or the function. `agent_interface_format` and `players` take the place of what
        is said above.

    Raises:
      MissingDependencyError: PySC2 is not installed.
      SpecError: several agents, or raw units instead of layers.

    Source: Vinyals et al. 2017, StarCraft II: A New Challenge for Reinforcement Learning.
    """

    def __init__(
        self,
        map_name: str | Callable[..., Any] | Any,
        num_envs: int = 1,
        *,
        race: str = "random",
        opponent: tuple[str, str] | None = None,
        feature_screen: int = 84,
        feature_minimap: int = 64,
        step_mul: int = 8,
        game_steps_per_episode: int | None = None,
        unavailable: Literal["no_op", "raise"] = "no_op",
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **kwargs: Any,
    ):
        options: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(num_envs, name, on_broken=on_broken, max_broken=max_broken, **options)
        if unavailable not in ("no_op", "raise"):
            raise SpecError(f"StarCraft2Env: expected unavailable='no_op' or 'raise', got {unavailable!r}.")
        self.map_name, self.race, self.opponent = map_name, race, opponent
        self.feature_screen, self.feature_minimap = feature_screen, feature_minimap
        self.step_mul, self.game_steps_per_episode = step_mul, game_steps_per_episode
        self.unavailable, self.kwargs = unavailable, kwargs
        if not isinstance(map_name, str) and not callable(map_name):
            if not all(hasattr(map_name, method) for method in ("reset", "step", "observation_spec", "action_spec")):
                raise SpecError(
                    f"StarCraft2Env: expected a map's name, a function or a PySC2 environment, got {map_name!r}."
                )
            self.keep_live(map_name)

    @property
    def name(self) -> str:
        """The given name, or the map's."""
        if self._name is not None or not isinstance(self.map_name, str):
            return self._name or getattr(self.map_name, "__name__", type(self.map_name).__name__)
        return self.map_name

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    def open_lanes(self) -> Lanes:
        """Starts the games."""
        self._made = [0] * self.num_envs
        games: list[Game] = []
        try:
            for lane in range(self.num_envs):
                games.append(self._make(lane))
        except BaseException:
            for game in games:
                game.close()
            raise
        self._game_spec = games[0].make_spec(self.num_envs)
        return SingleLanes(games, make=self._make, at_once=True)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates what PySC2 says about shapes and functions."""
        return {self.name: self._game_spec}

    def _make(self, lane: int) -> "Game":
        key = (lane,) if not self._made[lane] else (lane, MADE_AGAIN, self._made[lane])
        self._made[lane] += 1
        return Game(self, self._start(int(self.seeds(*key).generate_state(1)[0])))

    def _start(self, seed: int) -> Any:
        if self.live is not None:
            return self.live
        options: dict[str, Any] = {
            "step_mul": self.step_mul,
            "game_steps_per_episode": self.game_steps_per_episode,
            "random_seed": seed,
        }
        if callable(self.map_name):
            return self.map_name(**options | self.kwargs)
        sc2_env = import_provider("pysc2.env.sc2_env", "starcraft", f"StarCraft2Env({self.map_name!r})")
        flags = import_provider("absl.flags", "starcraft", "StarCraft2Env").FLAGS
        if not flags.is_parsed():  # PySC2 asks for them, and there may be no command line
            flags.mark_as_parsed()
        players = [sc2_env.Agent(sc2_env.Race[self.race])]
        if self.opponent is not None:
            race, difficulty = self.opponent
            players.append(sc2_env.Bot(sc2_env.Race[race], sc2_env.Difficulty[difficulty]))
        dimensions = sc2_env.Dimensions(screen=self.feature_screen, minimap=self.feature_minimap)
        interface = sc2_env.AgentInterfaceFormat(feature_dimensions=dimensions)
        options |= {"map_name": self.map_name, "players": players, "agent_interface_format": interface}
        return sc2_env.SC2Env(**options | self.kwargs)


class Game(Simulator):
    """Is one PySC2 environment, in which one agent plays."""

    def __init__(self, source: StarCraft2Env, env: Any):
        self.env, self._name, self._is_live = env, source.name, source.live is not None
        self._raises = source.unavailable == "raise"
        self._function_call = import_provider("pysc2.lib.actions", "starcraft", "StarCraft2Env").FunctionCall
        observation, action = env.observation_spec(), env.action_spec()
        if len(observation) != 1:
            raise SpecError(
                f"{self._name}: expected one agent, got {len(observation)}. Let the game play the others:"
                " opponent=('random', 'easy')."
            )
        self._shapes, (self._types, self._functions) = observation[0], action[0]
        if "available_actions" not in self._shapes:
            raise SpecError(
                f"{self._name}: expected available_actions among the observations, got {sorted(self._shapes)}. Use the"
                " action space of features or of RGB pixels, not that of raw units."
            )
        self._scales = self._read_scales()
        self._available = np.zeros(len(self._functions), np.int8)

    def _read_scales(self) -> dict[str, np.ndarray]:
        """Returns the largest value of each layer, [layers, 1, 1]."""
        features = import_provider("pysc2.lib.features", "starcraft", "StarCraft2Env")
        return {
            key: np.array([layer.scale - 1 for layer in getattr(features, layers)], np.int32)[:, None, None]
            for key, layers in LAYERS.items()
            if key in self._shapes
        }

    def make_spec(self, num_envs: int) -> EnvSpec:
        """Describes observations and actions."""
        observation: dict[str, specs.Array] = {}
        kinds: dict[str, Modality] = {}
        for key, shape in self._shapes.items():
            shape = tuple(map(int, shape))
            if key in self._scales:
                observation[key] = specs.BoundedArray(shape, np.int32, 0, self._scales[key])
                kinds[key] = Modality("grid", "integer", "computer")
            elif key in IMAGES:
                observation[key] = specs.BoundedArray(shape, np.uint8, 0, 255)
                kinds[key] = Modality("grid", "integer", "computer")
            elif shape and 0 not in shape:
                observation[key] = specs.Array(shape, np.int32)
                kinds[key] = Modality("flat", "integer", "computer")
        observation["available_actions"] = specs.BoundedArray((len(self._functions),), np.int8, 0, 1)
        kinds["available_actions"] = Modality("flat", "binary", "computer")
        action: dict[str, specs.Array] = {"function": specs.DiscreteArray(len(self._functions), np.int64)}
        action |= {each.name: _argument_spec(each.sizes) for each in self._types}
        points = {key: Modality("flat", "integer", "computer") for key, leaf in action.items() if leaf.shape}
        return EnvSpec(observation, action, modalities={"observation": kinds, "action": points}, num_envs=num_envs)

    def reset(self, seed: int | None) -> dict:
        """Begins a game; its seed was given when it was made."""
        return self._read(self.env.reset()[0].observation)

    def step(self, action: dict) -> tuple[dict, float, bool, float]:
        """Calls a function."""
        timestep = self.env.step([self._call(action)])[0]
        ended = int(timestep.step_type) == LAST
        return self._read(timestep.observation), float(timestep.reward), ended, float(timestep.discount)

    def _call(self, action: dict) -> Any:
        number = int(action["function"])
        if not self._available[number]:
            if self._raises:
                raise ActionError(
                    f"{self._name}: expected a function that is available, got {number}"
                    f" ({self._functions[number].name}). Choose where available_actions is 1, or use unavailable='no_op'."
                )
            number = NO_OP
        arguments = [np.atleast_1d(action[each.name]).tolist() for each in self._functions[number].args]
        return self._function_call(self._functions[number].id, arguments)

    def _read(self, found: Any) -> dict:
        self._available = np.zeros(len(self._functions), np.int8)
        self._available[np.asarray(found["available_actions"], np.int64)] = 1
        observation: dict[str, np.ndarray] = {}
        for key, shape in self._shapes.items():
            if key in self._scales:
                observation[key] = np.clip(np.asarray(found[key], np.int32), 0, self._scales[key])
            elif key in IMAGES:
                observation[key] = np.asarray(found[key], np.uint8)
            elif shape and 0 not in tuple(shape):
                observation[key] = np.asarray(found[key], np.int32)
        return observation | {"available_actions": self._available}

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state."""
        return f"{self._name!r} is a game of StarCraft II in another process, which gives no state"

    def close(self) -> None:
        """Ends the game; a live one stays open."""
        if not self._is_live:
            self.env.close()


def _argument_spec(sizes: Sequence[int]) -> specs.Array:
    if len(sizes) == 1:
        return specs.DiscreteArray(int(sizes[0]), np.int64)
    return specs.BoundedArray((len(sizes),), np.int64, 0, [int(size) - 1 for size in sizes])
