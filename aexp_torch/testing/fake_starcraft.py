"""FakeStarCraft: what PySC2 shows of a game, without PySC2 and without the game."""

import sys
import types
from collections import namedtuple
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np

__all__ = ["FakeStarCraft", "fake_starcraft", "install_fake_pysc2", "uninstall_fake_pysc2"]

TimeStep = namedtuple("TimeStep", ["step_type", "reward", "discount", "observation"])
FunctionCall = namedtuple("FunctionCall", ["function", "arguments"])
ValidActions = namedtuple("ValidActions", ["types", "functions"])
Argument = namedtuple("Argument", ["id", "name", "sizes", "fn", "values", "count"])
Function = namedtuple("Function", ["id", "name", "args"])
Layer = namedtuple("Layer", ["index", "name", "scale"])
Agent = namedtuple("Agent", ["race"])
Bot = namedtuple("Bot", ["race", "difficulty"])
AgentInterfaceFormat = namedtuple("AgentInterfaceFormat", ["feature_dimensions"])
Dimensions = namedtuple("Dimensions", ["screen", "minimap"])

Race = IntEnum("Race", ["protoss", "random", "terran", "zerg"])
Difficulty = IntEnum("Difficulty", ["very_easy", "easy"])

SCREEN_FEATURES = [Layer(0, "height_map", 256), Layer(1, "selected", 2), Layer(2, "unit_type", 1962)]
MINIMAP_FEATURES = [Layer(0, "height_map", 256), Layer(1, "camera", 2)]


class FakeStarCraft:
    """Shows an agent and a beacon on a screen, in the form of `pysc2.env.sc2_env.SC2Env`.

    Functions: 0 `no_op`; 1 `select_army`, with `select_add`; 2 `Move_screen`, with `queued` and `screen`, available once
    the army is selected. Moving onto the beacon pays 1, and moves the beacon; the game ends for good after 3 beacons. What
    PySC2 would refuse is refused: a wrong number of arguments, values out of range, functions that are not available.

    Args:
      map_name: whatever the map is called.
      players: the first one is the agent.
      agent_interface_format: sizes of screen and minimap.
      step_mul: frames in a step.
      game_steps_per_episode: frames until an episode is cut off with discount 1; None is 80, 0 for no limit.
      random_seed: of the beacons.
      num_agents: how many of them it says there are.
      raw: has no available actions.
      breaks_at: number of the step that raises.
    """

    def __init__(
        self,
        *,
        map_name: str = "Beacons",
        players: Sequence[Any] = (Agent(Race.random),),
        agent_interface_format: AgentInterfaceFormat = AgentInterfaceFormat(Dimensions(8, 6)),  # noqa: B008 (immutable)
        step_mul: int = 8,
        game_steps_per_episode: int | None = None,
        random_seed: int = 0,
        num_agents: int = 1,
        raw: bool = False,
        breaks_at: int | None = None,
    ):
        self.players, self.map_name, self.random_seed = players, map_name, random_seed
        self.screen, self.minimap = agent_interface_format.feature_dimensions
        self.step_mul, self.limit = step_mul, {None: 80, 0: 2**19}.get(game_steps_per_episode, game_steps_per_episode)
        self.generator = np.random.default_rng(random_seed)
        self.num_agents, self.raw, self.breaks_at = num_agents, raw, breaks_at
        self.received: list[FunctionCall] = []
        self.closed, self.steps = False, 0
        size = (self.screen, self.screen)
        queued, where = Argument(1, "queued", (2,), None, None, None), Argument(0, "screen", size, None, None, None)
        add = Argument(2, "select_add", (2,), None, None, None)
        self.types = [where, queued, add]
        self.functions = [
            Function(0, "no_op", []),
            Function(1, "select_army", [add]),
            Function(2, "Move_screen", [queued, where]),
        ]

    def observation_spec(self) -> tuple[dict, ...]:
        """Returns shapes by key, for each agent; 0 is any length."""
        shapes: dict[str, tuple[int, ...]] = {
            "alerts": (0,),
            "map_name": (0,),
            "player": (11,),
            "score_cumulative": (13,),
            "available_actions": (0,),
            "feature_screen": (len(SCREEN_FEATURES), self.screen, self.screen),
            "feature_minimap": (len(MINIMAP_FEATURES), self.minimap, self.minimap),
        }
        if self.raw:
            del shapes["available_actions"]
        return (shapes,) * self.num_agents

    def action_spec(self) -> tuple[ValidActions, ...]:
        """Returns types of arguments and functions, for each agent."""
        return (ValidActions(self.types, self.functions),) * self.num_agents

    def reset(self) -> tuple[TimeStep, ...]:
        """Begins a game: PySC2's first discount is 0."""
        self.frame, self.score, self.selected, self.over = 0, 0, False, False
        self.place = (0, 0)
        self._move_beacon()
        return (TimeStep(0, 0.0, 0.0, self._observation()),)

    def step(self, actions: Sequence[FunctionCall]) -> tuple[TimeStep, ...]:
        """Calls a function; begins anew after the end."""
        if self.over:
            return self.reset()
        self.steps += 1
        if self.steps == self.breaks_at:
            raise ConnectionError("the game has gone")
        (call,) = actions
        self._check(call)
        self.received.append(call)
        self.frame += self.step_mul
        self.selected |= call.function == 1
        reward = 0.0
        if call.function == 2:
            self.place = tuple(call.arguments[1])
            if self.place == self.beacon:
                reward, self.score = 1.0, self.score + 1
                self._move_beacon()
        won = self.score == 3
        self.over = won or self.frame >= self.limit
        return (TimeStep(2 if self.over else 1, reward, 0.0 if won else 1.0, self._observation()),)

    def close(self) -> None:
        """Ends the game."""
        self.closed = True

    def _check(self, call: FunctionCall) -> None:
        function = self.functions[call.function]
        if call.function not in self._available():
            raise ValueError(f"Function {call.function}/{function.name} is currently not available")
        if len(call.arguments) != len(function.args):
            raise ValueError(f"Wrong number of arguments for function: {function}, got: {call.arguments}")
        for kind, argument in zip(function.args, call.arguments):
            if not isinstance(argument, list) or len(argument) != len(kind.sizes):
                raise ValueError(f"Wrong number of values for argument of {function}, got: {call.arguments}")
            if not all(isinstance(value, int) and 0 <= value < size for value, size in zip(argument, kind.sizes)):
                raise ValueError(f"Argument is out of range for {function}, got: {call.arguments}")

    def _available(self) -> list[int]:
        return [0, 1, 2] if self.selected else [0, 1]

    def _move_beacon(self) -> None:
        self.beacon = tuple(self.generator.integers(self.screen, size=2).tolist())

    def _observation(self) -> dict:
        screen = np.zeros((len(SCREEN_FEATURES), self.screen, self.screen), np.int32)
        screen[1, self.place[1], self.place[0]] = self.selected  # rows are y
        screen[2, self.beacon[1], self.beacon[0]] = 5000  # a unit of a later version of the game
        found = {
            "alerts": np.zeros(0, np.int32),
            "map_name": self.map_name,
            "player": np.arange(11, dtype=np.int32),
            "score_cumulative": np.full(13, self.score, np.int32),
            "feature_screen": screen,
            "feature_minimap": np.zeros((len(MINIMAP_FEATURES), self.minimap, self.minimap), np.int32),
        }
        return found if self.raw else {**found, "available_actions": np.array(self._available(), np.int32)}


FakeStarCraft.__module__ = "pysc2.env.sc2_env"  # where PySC2's own is


def fake_starcraft(**kwargs: Any) -> FakeStarCraft:
    """Makes one, and the modules of PySC2 that are asked for besides it."""
    install_fake_pysc2()
    return FakeStarCraft(**kwargs)


def install_fake_pysc2() -> None:
    """Puts modules where those of PySC2 would be; does nothing where there are some."""
    if "pysc2" in sys.modules:
        return
    contents: dict[str, dict[str, Any]] = {
        "pysc2": {"is_fake": True},
        "pysc2.env": {},
        "pysc2.lib": {},
        "pysc2.lib.actions": {"FunctionCall": FunctionCall},
        "pysc2.lib.features": {"SCREEN_FEATURES": SCREEN_FEATURES, "MINIMAP_FEATURES": MINIMAP_FEATURES},
        "pysc2.env.sc2_env": {
            "SC2Env": FakeStarCraft,
            **{each.__name__: each for each in (Agent, Bot, Race, Difficulty, Dimensions, AgentInterfaceFormat)},
        },
    }
    for name, members in contents.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module


def uninstall_fake_pysc2() -> None:
    """Takes them away."""
    if getattr(sys.modules.get("pysc2"), "is_fake", False):
        for name in [name for name in sys.modules if name.partition(".")[0] == "pysc2"]:
            del sys.modules[name]
