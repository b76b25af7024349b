"""How the lanes of a PettingZooEnv are stepped: all agents at once, or the agent at turn.

This module imports PettingZoo: import it where a source is open.
"""

import importlib.util
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pettingzoo
import torch
from dm_env import specs
from gymnasium import spaces
from pettingzoo.env_registry.exceptions import FailedToImport
from pettingzoo.utils.env_logger import EnvLogger

from aexp_torch.errors import ActionError, MissingDependencyError, SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes, Simulator, SingleLanes
from aexp_torch.sources.object_state import restore, snapshot, why_not_resumable
from aexp_torch.specs import EnvSpec, map_tree
from aexp_torch.specs.sample import zeros
from aexp_torch.specs.space_data import action_lane_writer, lane_stacker
from aexp_torch.specs.spaces import space_modalities, space_to_spec
from aexp_torch.state import pack_generator, unpack_generator

if TYPE_CHECKING:
    from aexp_torch.sources.pettingzoo import PettingZooEnv

__all__ = ["Agents", "ParallelSimulator", "TurnSimulator", "open_lanes"]

ENGINES = ("chess", "rlcard")  # whose plain objects PettingZoo's games consist of


class Seen(NamedTuple):
    """Holds what one lane shows: observations of some agents, rewards and discounts of all, and the agent at turn."""

    observations: dict[str, Any]
    rewards: dict[str, float]
    discounts: dict[str, float]
    turn: int


class Agents:
    """Knows the agents of an environment: their specs, and how several lanes are stacked.

    Args:
      env: any environment of PettingZoo.
      turns: whether they act in turn.
    """

    def __init__(self, env: Any, turns: bool):
        self.names = list(map(str, env.possible_agents))
        self._turns = turns
        own = list(zip(self.names, env.possible_agents, strict=True))
        self._spaces = spaces.Dict(OrderedDict((name, env.observation_space(agent)) for name, agent in own))
        self._actions = spaces.Dict(OrderedDict((name, env.action_space(agent)) for name, agent in own))
        self._stackers = {
            name: lane_stacker(spaces.Dict({name: space}), "") for name, space in self._spaces.spaces.items()
        }
        tree = space_to_spec(self._spaces, "")
        self._blank = {name: zeros({name: tree[name]}, 1) for name in self.names}
        self.write = action_lane_writer(self._actions, "")

    def spec(self, num_envs: int) -> EnvSpec:
        """Describes one lane."""
        observation: dict[str, Any] = space_to_spec(self._spaces, "")
        kinds: dict[str, Any] = space_modalities(self._spaces, "")
        kinds = map_tree(lambda modality: replace(modality, optional=True), kinds)
        for name in self.names:
            observation[f"reward:{name}"] = specs.Array((), np.float32, f"reward:{name}")
            observation[f"discount:{name}"] = specs.BoundedArray((), np.float32, 0, 1, f"discount:{name}")
        if self._turns:
            observation["turn"] = specs.DiscreteArray(len(self.names), np.int64, "turn")
        modalities = {"observation": kinds, "action": space_modalities(self._actions, "")}
        return EnvSpec(observation, space_to_spec(self._actions, ""), modalities=modalities, num_envs=num_envs)

    def stack(self, lanes: list[Seen]) -> dict[str, Any]:
        """Stacks what single lanes show."""
        tree: dict[str, Any] = {}
        for name in self.names:
            there = [lane for lane, seen in enumerate(lanes) if name in seen.observations]
            if len(there) == len(lanes):
                tree |= self._stackers[name]([{name: seen.observations[name]} for seen in lanes])
            elif there:
                some = self._stackers[name]([{name: lanes[lane].observations[name]} for lane in there])
                tree |= _with_masks(_scattered(some, there, len(lanes)), there, len(lanes))
            else:
                tree |= map_tree(lambda leaf: None, self._blank[name])
        for name in self.names:
            tree[f"reward:{name}"] = torch.tensor([seen.rewards.get(name, 0.0) for seen in lanes])
            tree[f"discount:{name}"] = torch.tensor([seen.discounts[name] for seen in lanes])
        if self._turns:
            tree["turn"] = torch.tensor([seen.turn for seen in lanes])
        return tree


def _scattered(tree: dict, lanes: list[int], num_envs: int) -> dict:
    def scattered(leaf: torch.Tensor) -> torch.Tensor:
        return leaf.new_zeros((num_envs, *leaf.shape[1:])).index_copy(0, torch.tensor(lanes), leaf)

    return map_tree(scattered, tree)


def _with_masks(tree: dict, lanes: list[int], num_envs: int) -> dict:
    """Says beside every leaf which lanes have it."""
    mask = torch.zeros(num_envs, dtype=torch.bool)
    mask[lanes] = True
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out[key] = _with_masks(value, lanes, num_envs) if isinstance(value, dict) else value
        if not isinstance(value, dict):
            out[f"mask:{key}"] = mask.clone()
    return out


class AgentsSimulator(Simulator):
    """Is one environment with several agents: which of them are alive, and what a lane's reward is."""

    def __init__(self, env: Any, source: "PettingZooEnv", agents: Agents):
        self.env, self._source, self._agents = env, source, agents
        self._alive: list[str] = []
        self._discounts: dict[str, float] = {}
        self._generator = np.random.default_rng(0)

    def _seed(self, seed: int | None) -> int:
        """Returns the seed of an episode; not all environments go on with their generator where they get none."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
            return seed % 2**31  # some want a C int
        return int(self._generator.integers(2**31))

    def _begin(self) -> None:
        self._alive = [str(agent) for agent in self.env.agents]
        self._discounts = dict.fromkeys(self._agents.names, 1.0)
        unknown = sorted(set(self._alive) - set(self._agents.names))
        if unknown:
            raise SpecError(
                f"{self._source.name!r}: expected agents of possible_agents {self._agents.names}, got {unknown} too. Name"
                " all that may appear in possible_agents."
            )

    def _ended(self, terminated: dict[str, bool], truncated: dict[str, bool]) -> tuple[bool, float]:
        """Takes out agents whose episodes have ended, and says whether that was the last, and the discount then."""
        ended = [name for name in self._alive if terminated.get(name) or truncated.get(name)]
        self._discounts |= {name: 0.0 for name in ended if terminated.get(name)}
        self._alive = [name for name in self._alive if name not in ended]
        return not (self._alive and self.env.agents), float(not any(terminated.get(name) for name in ended))

    def _reward(self, rewards: dict[str, float]) -> float:
        which = self._source.reward
        return float(sum(rewards.values()) if which == "sum" else rewards.get(which, 0.0))

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state, or None."""
        if self._discounts or self._source.live is not None:
            return why_not_resumable(self.env, ENGINES)
        env = _make(self._source)  # what it holds is known when an episode has begun
        env.reset(seed=0)
        reason = why_not_resumable(env, ENGINES)
        env.close()
        return reason

    def state_dict(self) -> dict:
        """Returns the environment's state, who is alive, and where the seeds of episodes come from."""
        own = {"alive": list(self._alive), "discounts": dict(self._discounts), "seeds": pack_generator(self._generator)}
        return {"env": snapshot(self.env, ENGINES), **own}

    def load_state_dict(self, state: dict) -> None:
        """Restores all of it; what is made when an episode begins, as the screens of some games, is there then."""
        if not self._discounts:
            self.env.reset(seed=0)
        restore(self.env, state["env"], ENGINES)
        self._generator = unpack_generator(state["seeds"])
        self._alive, self._discounts = list(state["alive"]), dict(state["discounts"])

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


class ParallelSimulator(AgentsSimulator):
    """Steps all agents at once."""

    def reset(self, seed: int | None) -> Seen:
        """Begins an episode."""
        observations, _ = self.env.reset(seed=self._seed(seed))
        self._begin()
        return self._seen(observations, {})

    def step(self, action: dict) -> tuple[Seen, float, bool, float]:
        """Steps it with the actions of those that are alive."""
        chosen = {agent: action[str(agent)] for agent in self.env.agents if str(agent) in self._alive}
        observations, rewards, terminated, truncated, _ = self.env.step(chosen)
        given = {name: float(reward) for name, reward in _named(rewards).items() if name in self._alive}
        shown = {agent: value for agent, value in observations.items() if str(agent) in self._alive}
        over, discount = self._ended(_named(terminated), _named(truncated))
        return self._seen(shown, given), self._reward(given), over, discount if over else 1.0

    def _seen(self, observations: dict, rewards: dict[str, float]) -> Seen:
        return Seen(_named(observations), rewards, dict(self._discounts), 0)


class TurnSimulator(AgentsSimulator):
    """Steps the agent at turn."""

    def __init__(self, env: Any, source: "PettingZooEnv", agents: Agents):
        super().__init__(env, source, agents)
        self._mask: Any = None  # the legal moves of the agent at turn, where it was shown
        self._loses = any(type(layer).__name__ == "TerminateIllegalWrapper" for layer in _layers(env))

    def reset(self, seed: int | None) -> Seen:
        """Begins an episode."""
        self.env.reset(seed=self._seed(seed))
        self._begin()
        return self._seen([self.env.agent_selection], {})

    def step(self, action: dict) -> tuple[Seen, float, bool, float]:
        """Steps it with the action of the agent at turn, and takes out the agents that have ended."""
        env = self.env
        move = action[str(env.agent_selection)]
        if self._is_illegal(move):
            with _quiet():
                env.step(move)
        else:
            env.step(move)
        rewards = {name: float(reward) for name, reward in _named(env.rewards).items() if name in self._alive}
        alive = set(self._alive)
        over, discount = self._ended(_named(env.terminations), _named(env.truncations))
        ended = [agent for agent in env.agents if str(agent) in alive.difference(self._alive)]
        if over:
            return self._seen(ended, rewards), self._reward(rewards), True, discount
        shown = {agent: env.observe(agent) for agent in ended}  # before they are taken out
        for _ in self._agents.names:
            if not (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
                break
            env.step(None)
        seen = self._seen([env.agent_selection], rewards)
        return seen._replace(observations=_named(shown) | seen.observations), self._reward(rewards), False, 1.0

    def _seen(self, agents: list, rewards: dict[str, float]) -> Seen:
        observations = {agent: self.env.observe(agent) for agent in agents}
        self._mask = _mask_of(observations.get(self.env.agent_selection))
        turn = self._agents.names.index(str(self.env.agent_selection))
        return Seen(_named(observations), rewards, dict(self._discounts), turn)

    def load_state_dict(self, state: dict) -> None:
        """Restores the environment, and looks up what is legal."""
        super().load_state_dict(state)
        if self._alive:
            self._mask = _mask_of(self.env.observe(self.env.agent_selection))

    def _is_illegal(self, move: Any) -> bool:
        """Says whether the move is against the rules, or refuses it."""
        agent, mask = self.env.agent_selection, self._mask
        if mask is None or mask[move]:
            return False
        if self._source.illegal == "error" or not self._loses:
            legal = np.flatnonzero(mask).tolist()
            raise ActionError(
                f"{self._source.name!r}: expected a legal move of {str(agent)!r}, one of {legal}, got {int(move)}. Choose"
                " among the moves whose action_mask is 1"
                + (", or use illegal='lose'." if self._loses else ", or wrap it in TerminateIllegalWrapper.")
            )
        return True


def _mask_of(observation: Any) -> Any:
    return observation.get("action_mask") if isinstance(observation, dict) else None


def open_lanes(source: "PettingZooEnv") -> tuple[Lanes, Agents]:
    """Makes the environments of a source, and says who acts in them."""
    first = _make(source)
    turns = hasattr(first, "agent_iter")
    if not getattr(first, "possible_agents", None):
        raise SpecError(
            f"{source.name!r}: expected an environment that names its agents in possible_agents, {first!r} does not."
            " Give them: keys are known before an episode begins."
        )
    agents = Agents(first, turns)
    if source.reward != "sum" and source.reward not in agents.names:
        raise SpecError(f"{source.name!r}: expected reward='sum' or an agent of {agents.names}, got {source.reward!r}.")
    kind = TurnSimulator if turns else ParallelSimulator
    envs = [first, *(_make(source) for _ in range(source.num_envs - 1))]
    simulators = [kind(env, source, agents) for env in envs]
    return SingleLanes(simulators, agents.write, agents.stack, lambda lane: kind(_make(source), source, agents)), agents


def _make(source: "PettingZooEnv") -> Any:
    if source.live is not None:
        env = source.live
    elif isinstance(source.id_or_factory, str):
        env = _make_by_name(source)
    else:
        env = source.id_or_factory(**source.kwargs)
    turns = hasattr(env, "agent_iter")
    if source.api == ("parallel" if turns else "aec"):
        raise SpecError(
            f"{source.name!r}: expected an environment of the {source.api} API, got a {type(env).__name__} of the other."
            " Use api='auto', or convert it (pettingzoo.utils.conversions)."
        )
    return env


def _make_by_name(source: "PettingZooEnv") -> Any:
    env_id, kwargs = _find_id(source.id_or_factory), dict(source.kwargs)
    if env_id is None:
        return _from_module(source)
    if env_id.startswith("atari/") and "auto_rom_install_path" not in kwargs:
        kwargs["auto_rom_install_path"] = _roms(source.name)
    parallel = env_id in pettingzoo.parallel_registry and source.api != "aec"
    if not parallel and source.api == "parallel":
        raise SpecError(
            f"{source.name!r}: expected an environment of the parallel API, it is turn-based. Use api='aec'."
        )
    try:
        return pettingzoo.make("parallel", env_id, **kwargs) if parallel else pettingzoo.make("aec", env_id, **kwargs)
    except ImportError as error:
        raise _missing(source.name, error, f"pettingzoo[{env_id.partition('/')[0]}]") from error
    except FailedToImport as error:
        raise _missing(source.name, error.__cause__ or error, f"pettingzoo[{env_id.partition('/')[0]}]") from error


def _missing(name: str, error: BaseException, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"PettingZooEnv({name!r}): expected what this environment needs to be installed ({error}). Install it: pip"
        f' install "{package}"'
    )


def _find_id(name: str) -> str | None:
    """Returns the id of PettingZoo's registry that a name means: `atari.mario_bros_v3` is `atari/mario_bros-v3`."""
    path = name.removeprefix("pettingzoo.").replace(".", "/")
    base, _, version = path.rpartition("_v")
    wanted = f"{base}-v{version}" if base and version.isdigit() else path
    known = [
        *pettingzoo.aec_registry,
        *(key for key in pettingzoo.parallel_registry if key not in pettingzoo.aec_registry),
    ]
    if "/" not in wanted:
        wanted = next((key for key in known if key.partition("/")[2] == wanted), wanted)
    if wanted in known:
        return wanted
    if wanted.startswith("mpe/") or ("." in name and _exists(name.partition(".")[0])):
        return None
    close = [key for key in known if path.rpartition("/")[2].rpartition("_v")[0].rpartition("-v")[0] in key][:9]
    raise SpecError(
        f"PettingZooEnv: expected the id of an environment of PettingZoo, or a module with env() or parallel_env(), got"
        f" {name!r}. Known: {', '.join(close or known)}."
    )


def _exists(package: str) -> bool:
    return package != "pettingzoo" and importlib.util.find_spec(package) is not None


def _from_module(source: "PettingZooEnv") -> Any:
    name = source.id_or_factory.removeprefix("pettingzoo.").replace("/", ".")
    name = f"mpe2{name.removeprefix('mpe')}" if name.startswith("mpe.") else name  # it has moved there
    module = import_provider(name, "pettingzoo", f"PettingZooEnv({source.name!r})")
    names = {"auto": ("parallel_env", "env"), "parallel": ("parallel_env",), "aec": ("env",)}[source.api]
    for name in names:
        if hasattr(module, name):
            return getattr(module, name)(**source.kwargs)
    raise SpecError(f"PettingZooEnv: expected {' or '.join(names)} in {module.__name__}, got neither.")


def _roms(name: str) -> str:
    """Returns the folder of the Atari games that come with ale-py."""
    found = importlib.util.find_spec("ale_py")
    if found is None or not found.submodule_search_locations:
        raise _missing(name, ImportError("No module named 'ale_py', which brings the ROMs"), "aexp-torch[pettingzoo]")
    return str(Path(next(iter(found.submodule_search_locations))) / "roms")


def _layers(env: Any) -> list[Any]:
    layers = [env]
    while (inner := vars(layers[-1]).get("env")) is not None and hasattr(inner, "possible_agents"):
        layers.append(inner)
    return layers


def _named(values: dict) -> dict[str, Any]:
    return {str(agent): value for agent, value in values.items() if value is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps PettingZoo from printing every illegal move, and from keeping what it printed."""
    logger = logging.getLogger(EnvLogger.get_logger().name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
        EnvLogger.flush()
