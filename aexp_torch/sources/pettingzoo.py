"""PettingZooEnv: several agents in one environment, at once or in turn, each under its own name."""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec

if TYPE_CHECKING:
    import pettingzoo

__all__ = ["PettingZooEnv"]


class PettingZooEnv(SimulatorEnv):
    """Runs `num_envs` lanes of an environment of PettingZoo, parallel or turn-based (AEC), one after the other.

    Observation:
      - `<agent>`: what each of the environment's `possible_agents` sees, a leaf or a nested dict (`observation`,
        `action_mask`, which is 1 where a move is legal). An agent that sees nothing in this timestep has None, or False in
        the masks. Parallel: those that are alive see something. Turn-based: the agent at turn. In both: an agent whose
        episode has just ended, and on LAST all that were left.
      - `reward:<agent>`: float32, what this step gave to the agent; 0 on FIRST and where it has ended.
      - `discount:<agent>`: float32, 0 from where the agent terminated on, else 1.
      - `turn` (turn-based only): int64, the agent whose action comes next, an index into `possible_agents`.
    Action: `<agent>` for each; those of agents that are not alive, or not at turn, are ignored.

    Turn-based: one timestep for each turn. Agents that have ended are taken out without a timestep.
    The reward of a lane is the sum over all agents (0 in a zero-sum game: then name the agent that you train).
    An episode ends when all agents have ended: discount 0 if one of the last was terminated, 1 if time was up for them.

    Args:
      id_or_factory: an id (`"classic/tictactoe-v3"`), or a module as PettingZoo names them (`"atari.mario_bros_v3"`,
        `"pettingzoo.classic.chess_v6"`, `"mpe.simple_spread_v3"`), a function that makes one environment, or a live one
        (num_envs=1, this process only). Atari games find the ROMs that `ale-py` brings, unless
        `auto_rom_install_path=` says otherwise.
      num_envs: number of lanes B.
      api: `"parallel"` or `"aec"` (turn-based); `"auto"`: parallel where the environment has it.
      reward: the lane's reward: `"sum"`, or the name of an agent.
      illegal: what to do where `action_mask` forbids a move: `"lose"` hands it to PettingZoo, which ends the game against
        the mover; `"error"` raises before it gets there.
      name: names the source; the default is the last part of the id.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of an environment that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      kwargs: for the environment.

    Raises:
      MissingDependencyError: PettingZoo, or what this environment needs, is not installed.
      SpecError: unknown id, agents that are not known beforehand.
      ActionError: an illegal move with `illegal="error"`.

    Source: Terry et al. 2021, "PettingZoo"; `reward:` and `discount:` per agent are dm_env's, by name.
    """

    def __init__(
        self,
        id_or_factory: "str | Callable[..., Any] | pettingzoo.AECEnv | pettingzoo.ParallelEnv",
        num_envs: int = 1,
        api: Literal["auto", "parallel", "aec"] = "auto",
        *,
        reward: str = "sum",
        illegal: Literal["lose", "error"] = "lose",
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
        for option, value, choices in (
            ("api", api, ("auto", "parallel", "aec")),
            ("illegal", illegal, ("lose", "error")),
        ):
            if value not in choices:
                raise SpecError(f"PettingZooEnv: expected {option} to be one of {choices}, got {value!r}.")
        given: Any = id_or_factory
        self.id_or_factory: Any = given.__name__ if isinstance(given, ModuleType) else given
        self.api, self.reward, self.illegal, self.kwargs = api, reward, illegal, kwargs
        if not isinstance(given, str | ModuleType | type) and hasattr(given, "possible_agents"):
            self.keep_live(given)
        elif not (isinstance(given, str | ModuleType) or callable(given)):
            raise SpecError(
                f"PettingZooEnv: expected an id, a function or an environment of PettingZoo with possible_agents, got"
                f" {given!r}."
            )

    @property
    def name(self) -> str:
        """The given name, or the last part of the environment's id."""
        if self._name is not None:
            return self._name
        if isinstance(self.id_or_factory, str):
            return self.id_or_factory.replace("/", ".").rpartition(".")[2]
        metadata = getattr(self.id_or_factory, "metadata", None) or {}
        return metadata.get("name") or getattr(self.id_or_factory, "__name__", type(self.id_or_factory).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    def open_lanes(self) -> Lanes:
        """Makes the environments."""
        import_provider("pettingzoo", "pettingzoo", f"PettingZooEnv({self.name!r})")
        from aexp_torch.sources.pettingzoo_lanes import open_lanes

        lanes, self._agents = open_lanes(self)
        return lanes

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the spaces of all agents."""
        return {self.name: self._agents.spec(self.num_envs)}
