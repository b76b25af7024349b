"""check_env: every promise at once."""

from aexp_torch.testing.check_answers import check_answers, check_missing_answer, check_nothing_mutated
from aexp_torch.testing.check_streams import (
    check_close,
    check_lane_control,
    check_no_global_generator,
    check_recipe,
    check_restore,
    check_seeds,
    check_spawn,
)
from aexp_torch.testing.check_timesteps import check_data, check_episodes, check_signals
from aexp_torch.testing.rollout import Make

__all__ = ["check_env"]


def check_env(
    make: Make,
    *,
    random: bool = False,
    partial_ends: bool = False,
    independent_lanes: bool = True,
    spawn: bool = False,
    restore_steps: int = 10,
) -> None:
    """Runs every conformance check on a source, a stage or a composition.

    Args:
      make: a recipe, or a function without arguments that makes one.
      random: the stream depends on the seed.
      partial_ends: some lanes end while others go on, and that has to show.
      independent_lanes: no generator is shared between lanes, so that holding one changes nothing for it.
      spawn: starts a worker process too, which takes seconds.
      restore_steps: at how many steps it is restored, which takes most of the time.

    Raises:
      AssertionError: who broke which promise, where, and what to do.

    >>> import aexp_torch as ae
    >>> from aexp_torch.testing import CountingEnv, check_env
    >>> check_env(CountingEnv(num_envs=3).pipe(ae.ObserveReward), partial_ends=True)
    """
    check_data(make)
    check_signals(make)
    check_episodes(make, partial_ends=partial_ends)
    check_nothing_mutated(make)
    check_answers(make)
    check_missing_answer(make)
    check_seeds(make, random=random)
    check_restore(make, restore_steps)
    check_recipe(make)
    check_close(make)
    check_lane_control(make, independent=independent_lanes)
    check_no_global_generator(make)
    if spawn:
        check_spawn(make)
