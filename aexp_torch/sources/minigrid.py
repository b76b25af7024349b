"""MiniGridEnv: the grid worlds of MiniGrid and BabyAI, with their missions as text."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from aexp_torch.provider import import_provider
from aexp_torch.sources.gymnasium import GymnasiumEnv, registered
from aexp_torch.sources.lanes import Lanes
from aexp_torch.specs import EnvSpec, Modality

if TYPE_CHECKING:
    import gymnasium

__all__ = ["MiniGridEnv"]


class MiniGridEnv(GymnasiumEnv):
    """Runs `num_envs` lanes of an environment of MiniGrid or BabyAI, one after the other.

    Observation: `image`, uint8 [7, 7, 3], what the agent sees, one cell each: the kind of thing (0..10), its colour (0..5)
    and its state (0..3), numbered as MiniGrid does; `direction`, int64, 0 right, 1 down, 2 left, 3 up; and
    `text:instruction`, uint8 [L], the mission of the episode in UTF-8, zero-padded. What a wrapper of MiniGrid makes of
    them (pixels, the whole grid) keeps its own shape and bounds.
    Action: int64 in 0..6: turn left, turn right, forward, pick up, drop, toggle, done.

    Episodes end (discount 0) when the mission is fulfilled or failed, and are cut off (discount 1) by MiniGrid's own limit.

    Args:
      id_or_factory: a registered id (`"MiniGrid-DoorKey-5x5-v0"`, `"BabyAI-GoToObj-v0"`; nobody needs to import minigrid
        before), a function that makes one environment, or a live one (num_envs=1, this process only).
      num_envs: number of lanes B.
      max_instruction: L, in bytes. None: the longest mission that the environment can set, where it lists them; else 321,
        which is the longest sentence of BabyAI's grammar.
      name: names the source; the default is the environment's id.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of an environment that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      kwargs: for `gymnasium.make` or the factory, `max_steps=100` for one.

    Raises:
      MissingDependencyError: minigrid is not installed.
      SpecError: unknown id, or (while stepping) a mission that is longer than L.

    Source: Chevalier-Boisvert et al. 2023, "Minigrid & Miniworld"; Chevalier-Boisvert et al. 2019, "BabyAI".
    """

    def __init__(
        self,
        id_or_factory: "str | Callable[..., Any] | gymnasium.Env",
        num_envs: int = 1,
        max_instruction: int | None = None,
        *,
        name: str | None = None,
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
        on_broken: Literal["raise", "restart"] = "raise",
        max_broken: int | None = 10,
        **kwargs: Any,
    ):
        options: dict[str, Any] = {"seed": seed, "on_missing": on_missing, "feedback_timeout": feedback_timeout}
        options |= {"on_broken": on_broken, "max_broken": max_broken}
        super().__init__(id_or_factory, num_envs, "sync", name=name, **options, **kwargs)
        self.max_instruction = max_instruction

    def _choose(self, vectorization: str) -> str:
        # Whether an id exists is known when minigrid is imported, which is when the source is opened.
        return "sync" if isinstance(self.id_or_factory, str) else super()._choose(vectorization)

    @property
    def max_episode_steps(self) -> int | None:
        """The limit that was given; MiniGrid's own is known to the environment alone."""
        return self.kwargs.get("max_episode_steps") or self.kwargs.get("max_steps")

    def open_lanes(self) -> Lanes:
        """Registers MiniGrid's environments and makes some."""
        import_provider("minigrid", "minigrid", f"MiniGridEnv({self.name!r})")
        if isinstance(self.id_or_factory, str):
            registered(self.id_or_factory, "MiniGridEnv")
        return super().open_lanes()

    def prepare(self, env: "gymnasium.Env") -> "gymnasium.Env":
        """Wraps an environment, so that its missions are texts of a known length."""
        from aexp_torch.sources.minigrid_mission import Instructed

        return Instructed(env, self.max_instruction)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Adds what is known of MiniGrid to the translated spaces."""
        from aexp_torch.sources.minigrid_mission import is_symbolic

        spec = super().make_specs()[self.name]
        kinds = dict(spec.modalities["observation"])
        if "text:instruction" in kinds:
            kinds["text:instruction"] = Modality("sequence", "categorical", "text:en")
        for key in kinds.keys() & {"image", "observation"}:
            if is_symbolic(spec.observation[key]):
                kinds[key] = Modality("grid", "categorical", "computer")
        modalities = {**spec.modalities, "observation": kinds}
        return {self.name: EnvSpec(spec.observation, spec.action, modalities=modalities, num_envs=self.num_envs)}
