"""run: a learner of either original, run as it was run there."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aexp_torch.commai.conversation import Conversation
from aexp_torch.commai.results import Results
from aexp_torch.commai.serializers import Mode, Serializer
from aexp_torch.errors import SpecError

__all__ = ["run"]


def run(
    config: str | Path | Mapping[str, Any],
    learner: Any,
    *,
    mode: Mode = "bit",
    max_steps: int | None = None,
    on_task: Callable[[str], Any] | None = None,
    seed: int = 0,
    max_reward_per_task: float | None = None,
    scramble: bool = False,
    serializer: Serializer | str | None = None,
    compat: bool = False,
) -> Results:
    """Runs a session: in every step the learner hears its reward, then a symbol, and answers with one.

    Args:
      config: as for CommAIEnv.
      learner: an object with `next(symbol)` and `reward(r)`, a class of such, or the dotted path of one. While it has a
        true `test_mode`, an IntervalTaskScheduler takes its tests.
      mode: "bit" or "byte".
      max_steps: ends the session; None: the scheduler does.
      on_task: called with the class name of a task when an instance begins.
      scramble: words are said, and heard, as invented ones.
      seed: of everything that is drawn.
      max_reward_per_task: what all instances of a task may earn together; None for no limit.
      serializer: of bit mode: "standard", eight bits for a character; "identity", one symbol, the character itself;
        None: as the preset is made for, else "standard".
      compat: keeps the defects of the originals; CommAIEnv tells which.

    Returns:
      What came of the tasks.

    Raises:
      SpecError: a configuration, a learner or a symbol that is none.
    """
    learner = _learner(learner)
    conversation = Conversation(config, mode, seed, max_reward_per_task, on_task, scramble, serializer, compat)
    scheduler, may_test = conversation.sessions.schedulers[0], hasattr(learner, "test_mode")
    hear = getattr(learner, "try_reward", None) or _passing_on(learner)
    symbol, steps = None, 0
    while max_steps is None or steps < max_steps:
        if may_test:
            scheduler.test_mode = bool(learner.test_mode)
        said, reward = conversation.next(symbol)
        if conversation.over and compat:
            break
        hear(reward)
        if conversation.over:
            break
        symbol = learner.next(said)
        steps += 1
    return conversation.results


def _passing_on(learner: Any) -> Callable[[float | None], None]:
    return lambda reward: None if reward is None else learner.reward(reward)


def _learner(learner: Any) -> Any:
    if isinstance(learner, str):
        module, _, name = learner.rpartition(".")
        try:
            learner = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SpecError(
                f"commai: expected the dotted path of a learner's class, got {learner!r}: {error}."
            ) from error
    if isinstance(learner, type):
        learner = learner()
    missing = [name for name in ("next", "reward") if not callable(getattr(learner, name, None))]
    if missing:
        raise SpecError(f"commai: expected a learner with the methods next and reward, {learner!r} lacks {missing}.")
    return learner
