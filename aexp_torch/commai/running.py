"""run: a learner of either original, run as it was run there."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aexp_torch.commai.conversation import Conversation
from aexp_torch.commai.originals import importable
from aexp_torch.commai.results import Results
from aexp_torch.commai.serializers import Mode, Serializer
from aexp_torch.errors import SpecError

__all__ = ["Session", "learner_class", "rewarded", "run"]

# Where the originals have their learners, and what these import, and where it is here.
MODULES = {
    "learners.base": "aexp_torch.commai.learners",
    "learners.sample_learners": "aexp_torch.commai.learners",
    "learners.human_learner": "aexp_torch.commai.human",
    "learners.remote_learner": "aexp_torch.commai.remote",
    "core.serializer": "aexp_torch.commai.text_codes",
}
ELSEWHERE = {"learners.base.RemoteLearner": "aexp_torch.commai.remote.RemoteLearner"}


def run(
    config: str | Path | Mapping[str, Any],
    learner: Any,
    *,
    mode: Mode | None = None,
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
        true `test_mode`, an IntervalTaskScheduler takes its tests. It has to answer: None is no symbol.
      mode: "bit" or "byte"; None: as the tasks were made for.
      max_steps: ends the session; None: the scheduler does.
      on_task: called with the class name of a task when an instance begins.
      scramble: words are said, and heard, as invented ones.
      seed: of everything that is drawn.
      max_reward_per_task: what all instances of a task may earn together; None for no limit.
      serializer: of bit mode: "standard", eight bits for a character; "identity", one symbol, the character itself;
        None: as the preset is made for, else "standard".
      compat: keeps the defects of the originals; CommAIEnv tells which.

    Returns:
      What came of the tasks; the steps and the reward of the instance under way count.

    Raises:
      SpecError: a configuration, a learner or a symbol that is none.
    """
    learner = learner_class(learner) if isinstance(learner, str) else learner
    learner = learner() if isinstance(learner, type) else learner
    conversation = Conversation(config, mode, seed, max_reward_per_task, on_task, scramble, serializer, compat)
    Session(conversation, learner).go(max_steps)
    return conversation.so_far()


class Session:
    """Has a learner take part in a conversation, as long as wanted.

    Args:
      conversation: with the environment.
      learner: has `next` and `reward`; `try_reward` is asked first, where there is one.

    Raises:
      SpecError: a learner that is none.
    """

    def __init__(self, conversation: Conversation, learner: Any):
        missing = [name for name in ("next", "reward") if not callable(getattr(learner, name, None))]
        if missing:
            raise SpecError(
                f"commai: expected a learner with the methods next and reward, {learner!r} lacks {missing}."
            )
        self.conversation, self.learner = conversation, learner
        self._answer: str | None = None

    def go(self, max_steps: int | None = None) -> int:
        """Goes on until the scheduler has no more tasks, or for so many steps; returns how many it were.

        Raises:
          SpecError: an answer that is no symbol.
        """
        conversation, learner, answer = self.conversation, self.learner, self._answer
        scheduler, may_test = conversation.sessions.schedulers[0], hasattr(learner, "test_mode")
        hear, steps, defects_of = rewarded(learner), 0, conversation.sessions.rules.defects_of
        while max_steps is None or steps < max_steps:
            if may_test:
                scheduler.test_mode = bool(learner.test_mode)
            said, reward = conversation.next(answer)
            if conversation.over and defects_of:
                break  # there the last reward was never heard
            hear(reward)
            if conversation.over:
                break
            answer = learner.next(said)
            conversation.unanswered = 0
            steps += 1
        self._answer = answer
        return steps


def rewarded(learner: Any) -> Callable[[float | None], Any]:
    """Returns what a learner hears its rewards with: `try_reward`, or `reward` where there is one to hear."""
    hear = getattr(learner, "try_reward", None)
    return hear or (lambda reward: None if reward is None else learner.reward(reward))


def learner_class(path: str) -> Any:
    """Returns what a dotted path leads to; paths of the originals lead to the classes that took their place.

    Raises:
      SpecError: there is no such class, or its module cannot be imported.
    """
    module, _, name = ELSEWHERE.get(path, path).rpartition(".")
    try:
        with importable(MODULES):
            return getattr(importlib.import_module(MODULES.get(module, module)), name)
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise SpecError(f"commai: expected the dotted path of a learner's class, got {path!r}: {error}.") from error
