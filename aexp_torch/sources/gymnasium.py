"""GymnasiumEnv: any Gymnasium environment, vectorised its own way where it has one."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from aexp_torch.errors import SpecError
from aexp_torch.sources.lanes import Lanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec

if TYPE_CHECKING:
    import gymnasium

__all__ = ["GymnasiumEnv"]

REGISTRARS = ("ale_py", "minigrid")  # imported where an id is unknown: that registers theirs


class GymnasiumEnv(SimulatorEnv):
    """Runs `num_envs` lanes of a Gymnasium environment.

    Observation: the environment's spaces as a nested dict; a space without names is `observation`.
    Action: likewise; a space without names is `action`.
    A lane that ends shows its final observation on LAST; its next timestep is FIRST. Terminated is discount 0,
    truncated discount 1.

    Args:
      id_or_factory: a registered id (`"CartPole-v1"`, `"ALE/Pong-v5"`, `"package:Name-v0"`), a function that makes one
        `gymnasium.Env` (or a `gymnasium.vector.VectorEnv` of `num_envs` lanes), or a live environment: one lane, or those
        of a `VectorEnv`, in this process only.
      num_envs: number of lanes B.
      vectorization: `"vector_entry_point"` is the environment's own vectorised form, seeded for all lanes at once;
        `"sync"` steps lane after lane, each with a seed of its own, and can reset and step single lanes; `"auto"` takes
        the first where the environment has one, as `gymnasium.make_vec` does. The form of ALE's games shows other things
        than a single game: see `AtariEnv`.
      name: names the source; the default is the environment's id.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of an environment that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      kwargs: for `gymnasium.make` or the factory.

    Raises:
      SpecError: unknown id, a space that has no spec, or (while stepping) a reward that is not finite.

    >>> env = GymnasiumEnv("CartPole-v1", num_envs=16)
    >>> env.reset().observation["observation"].shape
    torch.Size([16, 4])
    """

    def __init__(
        self,
        id_or_factory: "str | Callable[..., Any] | gymnasium.Env",
        num_envs: int = 1,
        vectorization: Literal["auto", "vector_entry_point", "sync"] = "auto",
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **kwargs: Any,
    ):
        if num_envs == 1 and _is_vector(id_or_factory):
            num_envs = id_or_factory.num_envs  # type: ignore[union-attr]
        options: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        super().__init__(num_envs, name, on_broken=on_broken, max_broken=max_broken, **options)
        if vectorization not in ("auto", "vector_entry_point", "sync"):
            raise SpecError(
                f"GymnasiumEnv: expected vectorization 'auto', 'vector_entry_point' or 'sync', got {vectorization!r}."
            )
        self.id_or_factory, self.kwargs = id_or_factory, kwargs
        self.given_vectorization, self.vectorization = vectorization, self._choose(vectorization)

    def _choose(self, vectorization: str) -> str:
        """Checks what can be known before anything runs, and turns "auto" into a choice."""
        if isinstance(self.id_or_factory, str):
            own = registered(self.id_or_factory).vector_entry_point is not None
        elif callable(self.id_or_factory):
            own = False
        elif _is_live(self.id_or_factory):
            self.keep_live(self.id_or_factory, getattr(self.id_or_factory, "num_envs", 1))
            own = False
        else:
            raise SpecError(f"GymnasiumEnv: expected an id, a function or a gymnasium.Env, got {self.id_or_factory!r}.")
        if vectorization == "vector_entry_point" and not own:
            raise SpecError(
                f"GymnasiumEnv: expected an id whose environment has a vectorised form of its own, {self.name!r} has"
                " none. Use vectorization='auto' or 'sync'."
            )
        return ("vector_entry_point" if own else "sync") if vectorization == "auto" else vectorization

    @property
    def name(self) -> str:
        """The given name, or the environment's id."""
        if self._name is not None:
            return self._name
        if isinstance(self.id_or_factory, str):
            return self.id_or_factory.rpartition(":")[2]
        spec = getattr(self.id_or_factory, "spec", None)
        return getattr(spec, "id", None) or getattr(self.id_or_factory, "__name__", type(self.id_or_factory).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    @property
    def max_episode_steps(self) -> int | None:
        """The time limit that the environment is registered with."""
        if isinstance(self.id_or_factory, str):
            return self.kwargs.get("max_episode_steps") or registered(self.id_or_factory).max_episode_steps
        return None

    def open_lanes(self) -> Lanes:
        """Makes the environments."""
        from aexp_torch.sources.gymnasium_lanes import open_lanes

        lanes, self._spaces = open_lanes(self)
        return lanes

    def prepare(self, env: Any) -> Any:
        """Wraps an environment that was made: for subclasses."""
        return env

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the spaces."""
        from aexp_torch.specs.spaces import space_modalities, space_to_spec

        spec = {side: space_to_spec(space, side) for side, space in self._spaces.items()}
        modalities = {side: space_modalities(space, side) for side, space in self._spaces.items()}
        return {self.name: EnvSpec(spec["observation"], spec["action"], modalities=modalities, num_envs=self.num_envs)}


def registered(env_id: str, who: str = "GymnasiumEnv") -> "gymnasium.envs.registration.EnvSpec":
    """Returns what Gymnasium knows of an id, or names it."""
    import gymnasium

    try:
        module, _, name = env_id.rpartition(":")
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        unknown = error
    for package in REGISTRARS if not module else ():
        if package not in sys.modules and importlib.util.find_spec(package) is not None:
            importlib.import_module(package)
            with contextlib.suppress(gymnasium.error.Error):
                return gymnasium.spec(name)
    hint = ' Atari games need ale_py: pip install "aexp-torch[atari]".' if name.startswith("ALE/") else ""
    raise SpecError(
        f"{who}: expected the id of a registered environment, got {env_id!r}: {unknown}. Environments of other"
        f" packages are registered when those are imported: 'package:Name-v0' does it.{hint}"
    ) from unknown


def _is_live(thing: Any) -> bool:
    import gymnasium

    return isinstance(thing, gymnasium.Env) or _is_vector(thing)


def _is_vector(thing: Any) -> bool:
    import gymnasium

    return isinstance(thing, gymnasium.vector.VectorEnv)
