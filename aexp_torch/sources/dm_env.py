"""DmEnv: any environment of dm_env, and those of dm_control by name."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import dm_env

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider
from aexp_torch.sources.lanes import Lanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec

__all__ = ["DmEnv"]


class DmEnv(SimulatorEnv):
    """Runs `num_envs` lanes of a `dm_env.Environment`, one after the other.

    Observation: the environment's specs as they are (float64 stays float64), in a nested dict: the members of a tuple or
    list are `"0"`, `"1"`, ...; a single spec is `observation`; a string is uint8 [L], zero-padded UTF-8. With `pixels`, the
    key `pixels` too: uint8 [H, W, 3].
    Action: likewise; a single spec is `action`. A bound that is NaN, or that MuJoCo means as none (1e10), is none.
    Rewards and discounts pass as they are: LAST with discount 0 is a termination, above 0 a truncation, as where the time
    of dm_control is up (1); a discount between, on any step, is kept. No reward (None) is 0.

    Args:
      name_or_factory: of dm_control, `"cartpole/swingup"` (domain and task of its suite) or
        `"manipulation/stack_2_bricks_features"`; a function that makes one environment; or a live one (num_envs=1, this
        process only).
      num_envs: number of lanes B.
      pixels: for `physics.render`: `{"height": 84, "width": 84, "camera_id": 0}`. Without a display MuJoCo draws with EGL.
        Workers that draw are started with `context="spawn"`: OpenGL does not survive a fork.
      text_length: L, in bytes.
      seed_argument: what the function calls the seed of its environment; each lane has its own. `"auto"` is the first of
        `seed`, `random` and `random_state` that it takes, and a warning where it takes none; None: it needs none.
      name: names the source; the default is the given name, or the function's.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.
      on_broken: what becomes of an environment that raises while it runs, as for every `SimulatorEnv`.
      max_broken: with "restart": how many may break.
      kwargs: for the function, or the task: `time_limit=5`, `environment_kwargs={...}`.

    Raises:
      MissingDependencyError: dm_control is not installed.
      SpecError: unknown task, a spec that has no tensor, or (while stepping) values that do not have the spec's shape.

    Source: dm_env (Muldal et al. 2019), dm_control (Tunyasuvunakool et al. 2020).
    """

    def __init__(
        self,
        name_or_factory: str | Callable[..., dm_env.Environment] | dm_env.Environment,
        num_envs: int = 1,
        *,
        pixels: Mapping[str, Any] | None = None,
        text_length: int = 256,
        seed_argument: str | None = "auto",
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
        self.name_or_factory, self.kwargs = name_or_factory, kwargs
        self.pixels, self.text_length, self.seed_argument = pixels, text_length, seed_argument
        if isinstance(name_or_factory, dm_env.Environment) and not isinstance(name_or_factory, Env):
            self.keep_live(name_or_factory)
        elif isinstance(name_or_factory, Env) or not (isinstance(name_or_factory, str) or callable(name_or_factory)):
            raise SpecError(
                f"DmEnv: expected 'domain/task' of dm_control, a function or a dm_env.Environment, got"
                f" {name_or_factory!r}."
            )

    @property
    def name(self) -> str:
        """The given name, or that of the task or the function."""
        if self._name is not None:
            return self._name
        given = self.name_or_factory
        return given if isinstance(given, str) else getattr(given, "__name__", type(given).__name__)

    @name.setter
    def name(self, name: str) -> None:
        self.close()
        self._name = name

    def open_lanes(self) -> Lanes:
        """Makes the environments."""
        from aexp_torch.sources.dm_env_lanes import open_lanes

        who = f"DmEnv({self.name!r})"
        if isinstance(self.name_or_factory, str):
            from aexp_torch.sources.dm_control import prefer_egl

            prefer_egl()
            import_provider("dm_control.suite", "dm_control", who)
        lanes, self._form = open_lanes(self)
        return lanes

    def make_specs(self) -> dict[str, EnvSpec]:
        """Translates the specs."""
        return {self.name: self._form.spec(self.num_envs)}
