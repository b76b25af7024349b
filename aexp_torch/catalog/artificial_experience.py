"""ArtificialExperience: all that is ready-made, in one call."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

from aexp_torch.catalog.ae_env import AEEnv, NextEnv, Steps
from aexp_torch.catalog.tags import FilterItem

__all__ = ["ArtificialExperience"]


class ArtificialExperience(AEEnv):
    """Is the ready-made experience: every environment and dataset of the catalogue that can be opened here.

    It needs no network, and no extra; with each extra that is installed there is more. `summary()` says what there is, and
    what to install for the rest. Environments switch at random, after an episode or at most 100 timesteps. See `AEEnv` for
    what can be changed while it runs.

    Observation: each environment's own; see `AEEnv`.  Action: each environment's own, or what `action_spec()` describes.

    Args:
      include: tags, their strings, `"key:value"`, or predicates: what takes part. None: everything.
      exclude: likewise, what does not.
      next_env_fn: who chooses, as for `AEEnv`.
      env_transition_fn: called as `env_transition_fn(old, new)` on every change.
      on_excluded: what becomes of an environment that new filters exclude amid a visit.
      steps: timesteps of a visit at most.
      instruction_steps: timesteps that show what to do, as text, before the first of a visit.
      download: whether data may be downloaded.
      max_broken: how many environments may raise while they run.
      max_open: how many remain open after their visits.
      name: names it.
      options: `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    Raises:
      SpecError: as for `AEEnv`.

    >>> import aexp_torch as ae
    >>> env = ae.ArtificialExperience(include=["image.classification"])
    >>> timestep = env.reset()
    >>> "digits" in [member.name for member in env.environments]
    True

    Source: `ArtificialExperience` of the artificial-experience project.
    """

    def __init__(
        self,
        include: Iterable[FilterItem] | None = None,
        exclude: Iterable[FilterItem] | None = None,
        *,
        next_env_fn: NextEnv = "random",
        env_transition_fn: Callable[[int, int], Any] | None = None,
        on_excluded: Literal["finish", "switch"] = "finish",
        steps: Steps = 100,
        instruction_steps: int = 0,
        download: bool = False,
        max_broken: int = 10,
        max_open: int | None = None,
        name: str | None = None,
        **options: Any,
    ):
        super().__init__(
            None,
            include,
            exclude,
            next_env_fn=next_env_fn,
            env_transition_fn=env_transition_fn,
            on_excluded=on_excluded,
            steps=steps,
            instruction_steps=instruction_steps,
            download=download,
            max_broken=max_broken,
            max_open=max_open,
            name=name,
            **options,
        )
