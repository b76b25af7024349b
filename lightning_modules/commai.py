"""CommAIDataModule: the conversations of CommAI-env and of the General AI Challenge for Trainer.fit."""

import inspect
from typing import Any, Literal

from aexp_torch import CommAIEnv, SpecError
from lightning_modules.datamodule import ExperienceDataModule

__all__ = ["CommAIDataModule"]


class CommAIDataModule(ExperienceDataModule):
    """Feeds conversations: many at once, each with its own tasks, one symbol of each per step.

    Training conversations go on for ever, over epochs and from task to task, so that an agent with a memory may learn from
    one task for the next. Validation and testing are the same tasks with seeds of their own; every conversation begins
    afresh there and is cut off after `eval_steps`, and its return is the sum of its rewards.
    `aexp fit --data CommAIDataModule --data.config mini` trains on them.

    Args:
      config: a preset (`"micro"`, `"mini"`, `"challenge"`: the tasks of the Challenge; `"commai"`: those of CommAI-env), one
        of their tasks by name (`"Micro4Task"`), a configuration file of either, or a dict.
      mode: `"bit"` (CommAI-env's) or `"byte"` (the Challenge's); by default that of the preset.
      num_envs: conversations in a slot, B.
      scramble: words are said, and heard, as invented ones.
      env_options: what else `CommAIEnv` takes, such as `{instructions: true}`, for agents that read texts.
      num_steps: T: a training step gets T symbols of each conversation.
      steps_per_epoch: training steps an epoch.
      eval_steps: steps of a conversation in validation and testing.
      episodes: conversations in validation and testing, side by side.
      num_workers: processes that step the training conversations of a rank; 0: its own does.
      in_flight: slots on all ranks; by default one per rank, or two per worker.
      seed: S of all seeds.

    Raises:
      SpecError: a configuration that does not fit.
    """

    def __init__(
        self,
        config: str | dict[str, Any] = "micro",
        mode: Literal["bit", "byte"] | None = None,
        num_envs: int = 32,
        *,
        scramble: bool = False,
        env_options: dict[str, Any] | None = None,
        num_steps: int = 64,
        steps_per_epoch: int = 500,
        eval_steps: int = 4000,
        episodes: int = 20,
        num_workers: int = 0,
        in_flight: int | None = None,
        seed: int = 0,
    ):
        if episodes < 1:
            raise SpecError(f"CommAIDataModule: expected episodes of at least 1, got {episodes!r}.")
        options = {"scramble": scramble, **_checked(env_options or {})}
        alone = CommAIEnv(config, mode, episodes, **{**options, "max_episode_steps": eval_steps})
        super().__init__(
            CommAIEnv(config, mode, num_envs, **options),
            val=alone,
            test=alone,
            num_steps=num_steps,
            steps_per_epoch=steps_per_epoch,
            episodes=episodes,
            num_workers=num_workers,
            in_flight=in_flight,
            seed=seed,
        )


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    known = [name for name, each in inspect.signature(CommAIEnv).parameters.items() if each.kind is each.KEYWORD_ONLY]
    unknown = sorted(set(options) - {*known, "on_missing", "feedback_timeout"})
    if unknown:
        raise SpecError(f"CommAIDataModule: expected env_options among {known}, got {unknown}.")
    return options
