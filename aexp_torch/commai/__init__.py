"""CommAI: the communication tasks of CommAI-env and of the General AI Challenge, as streams.

A conversation is one lane: the environment says a symbol, the learner another, and now and then there is a reward.
To add a task: see `tasks`. How an agent learns does not belong here.
"""

from aexp_torch.commai.conversation import Conversation
from aexp_torch.commai.env import CommAIEnv
from aexp_torch.commai.learners import BaseLearner
from aexp_torch.commai.results import Results
from aexp_torch.commai.running import run
from aexp_torch.commai.task import Task
from aexp_torch.commai.world import World

__all__ = ["BaseLearner", "CommAIEnv", "Conversation", "Results", "Task", "World", "run"]
