"""CommAI: the communication tasks of CommAI-env and of the General AI Challenge, as streams.

A conversation is one lane: the environment says a symbol, the learner another, and now and then there is a reward.
To add a task: see `tasks`.
"""
