"""What is promised about sources, stages and compositions, as code that anyone can run on a class of their own.

Every check takes a recipe (an Env, or a function that makes one), runs copies of it, and fails with an AssertionError
that says who broke which promise, where, and what to do; `check_env` runs all of them.
To add one: a function `check_<promise>` in the file whose idea it shares, a line in `check_env` and one here.
What needs a mock, a network or an exemption list does not belong here.
"""

from aexp_torch.testing.check_answers import check_answers, check_missing_answer, check_nothing_mutated
from aexp_torch.testing.check_env import check_env
from aexp_torch.testing.check_streams import (
    check_close,
    check_lane_control,
    check_no_global_generator,
    check_recipe,
    check_restore,
    check_seeds,
    check_spawn,
)
from aexp_torch.testing.check_timesteps import check_data, check_episodes, check_signals, validate
from aexp_torch.testing.counting import CountingEnv
from aexp_torch.testing.fake_dm import FakeDmEnv
from aexp_torch.testing.fake_gym import FakeGymEnv
from aexp_torch.testing.random_pipeline import RandomPipeline, random_pipeline
from aexp_torch.testing.timeline import timeline
from aexp_torch.testing.torch_cartpole import TorchCartPole

__all__ = [
    "CountingEnv",
    "FakeDmEnv",
    "FakeGymEnv",
    "RandomPipeline",
    "TorchCartPole",
    "check_answers",
    "check_close",
    "check_data",
    "check_env",
    "check_episodes",
    "check_lane_control",
    "check_missing_answer",
    "check_no_global_generator",
    "check_nothing_mutated",
    "check_recipe",
    "check_restore",
    "check_seeds",
    "check_signals",
    "check_spawn",
    "random_pipeline",
    "timeline",
    "validate",
]
