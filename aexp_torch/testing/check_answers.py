"""The way back: each answer reaches the step that it was given to, and nothing that is handed over changes."""

from typing import Any

from aexp_torch.catalog.roster import Roster
from aexp_torch.env import Env, Stage
from aexp_torch.errors import FeedbackError
from aexp_torch.specs import flatten, unflatten
from aexp_torch.testing.require import require
from aexp_torch.testing.rollout import (
    Make,
    answer_to,
    fresh,
    next_timestep,
    rollout,
    snapshot,
    streams_differ,
    values_differ,
)
from aexp_torch.timestep import TimeStep

__all__ = ["check_answers", "check_missing_answer", "check_nothing_mutated"]


def check_answers(make: Make, num_steps: int = 16, unchanged: bool | None = None) -> None:
    """Checks that what a source's `step` gets is the answer to the timestep that this source showed last.

    Where a stage numbers timesteps anew, as time scales do, it is that stage which is looked at.

    Args:
      make: a recipe, or a function that makes an environment.
      num_steps: timesteps to answer.
      unchanged: no stage changes answers, so that values are compared; by default, where no `on_action` has done more than
        take keys away.
    """
    env = fresh(make)
    timestep = env.reset()
    got: list[tuple[Env, int, dict]] = []
    changed: list[Env] = []
    for stage in _stages(env) if unchanged is None else ():
        _spy_on_action(stage, changed)
    for below in _all(env):
        _spy(below, lambda below, action: got.append((below, below._outstanding.ticket.step, snapshot(action))))
    for _ in range(num_steps):
        got.clear()
        changed.clear()
        answer, ticket = answer_to(env, timestep), timestep.ticket
        due, given = bool(env.specs[timestep.source].action), snapshot(answer)
        if due:
            timestep.reply(answer)
        timestep = next_timestep(env, timestep)
        mine = [item for item in got if item[0]._mailbox is ticket._address]
        where = f"after the answer to step {ticket.step} of {ticket.source!r}"
        do = "Pass each answer to the environment whose timestep it answers, before that environment goes on."
        came = [(item[0].name, item[1]) for item in mine]
        at_place = not mine or mine[0][1] == ticket.step
        require(at_place, env, f"the source to be at step {ticket.step}", where, came, do)
        others = [(item[0].name, item[1]) for item in got if item[0] in env.sources and item[0].name != ticket.source]
        require(not others, env, "no other source to be answered", where, others, do)
        if mine and due and not changed and unchanged is not False:
            found = values_differ(given if unchanged else _only(given, mine[0][2]), mine[0][2])
            require(found is None, env, "the values that were given", where, found, do)
    env.close()


def check_missing_answer(make: Make) -> None:
    """Checks that an unanswered timestep is shown again by `iter`, and that asking for the next one is an error."""
    env = fresh(make)
    timestep = env.reset()
    due = bool(env.specs[timestep.source].action)
    if due:
        again = next(iter(env))
        found = streams_differ([timestep], [again])
        require(found is None, env, "the outstanding timestep again", "from iter()", found, "iter() never resets.")
    if due and env.on_missing == "error":
        stream = iter(env)
        next(stream)
        try:
            next(stream)
        except FeedbackError as error:
            text = str(error)
            named = timestep.source in text and str(timestep.ticket.step) in text
            require(named, env, "the source and the step", "in the error", text, "Let Mailbox write it.")
        else:
            require(False, env, "a FeedbackError", "when an answer is missing", "the next timestep", "Ask for it.")
    env.close()


def check_nothing_mutated(make: Make, num_steps: int = 12) -> None:
    """Checks that answers, timesteps from below, and timesteps that were handed out stay as they were."""
    env = fresh(make)
    env.open()
    kept: list[tuple[str, Any, Any]] = []
    below = [env]
    while below:
        child = below.pop()
        below += _opened(child)
        _watch(child, kept)
    timesteps = rollout(env, num_steps)
    kept += [("a timestep that was handed out", timestep, snapshot(timestep)) for timestep in timesteps]
    rollout(env, num_steps, timesteps[-1])
    for what, value, before in kept:
        now = value if isinstance(value, dict) else _fields(value)
        found = values_differ(before if isinstance(before, dict) else _fields(before), now)
        do = "Build new dicts and tensors: timestep._replace(observation={**timestep.observation, ...})."
        require(found is None, env, f"{what} unchanged", "after later steps", found, do)
    env.close()


def _watch(env: Env, kept: list) -> None:
    """Keeps copies of all that goes through an open environment's `reset` and `step`."""
    reset, step, name = env.reset, env.step, type(env).__name__

    def watched_reset(*lanes: Any) -> TimeStep:
        timestep = reset(*lanes)
        kept.append((f"a timestep of {name}", timestep, snapshot(timestep)))
        return timestep

    def watched_step(action: Any, *lanes: Any) -> TimeStep:
        kept.append((f"an answer to {name}", action, snapshot(action)))
        timestep = step(action, *lanes)
        kept.append((f"a timestep of {name}", timestep, snapshot(timestep)))
        return timestep

    env.__dict__.update(reset=watched_reset, step=watched_step)  # running state: close() takes it away
    if isinstance(env, Stage):
        on_action = env.on_action

        def watched_on_action(action: dict, timestep: TimeStep) -> dict:
            kept.append((f"an answer to {name}", action, snapshot(action)))
            return on_action(action, timestep)

        env.__dict__["on_action"] = watched_on_action


def _spy(env: Env, tell: Any) -> None:
    step = env.step

    def watched(action: Any, *lanes: Any) -> TimeStep:
        tell(env, action)
        return step(action, *lanes)

    env.__dict__["step"] = watched


def _spy_on_action(stage: Stage, changed: list[Env]) -> None:
    on_action = stage.on_action

    def watched(action: dict, timestep: TimeStep) -> dict:
        given, result = snapshot(action), on_action(action, timestep)
        if values_differ(_only(given, result), result):
            changed.append(stage)
        return result

    stage.__dict__["on_action"] = watched


def _only(tree: dict, other: dict) -> dict:
    """Returns the part of a tree whose leaves are in another, too."""
    wanted = {path for path, _ in flatten(other)}
    return unflatten([(path, leaf) for path, leaf in flatten(tree) if path in wanted]) or {}


def _opened(env: Env) -> list[Env]:
    """Opens an environment, and returns its children that have turns; some would be opened at their turn only."""
    env.open()
    return [env.environments[place] for place in env.admitted] if isinstance(env, Roster) else list(env.children)


def _all(env: Env) -> list[Env]:
    return [env] + [below for child in _opened(env) for below in _all(child)]


def _stages(env: Env) -> list[Stage]:
    own = [env] if isinstance(env, Stage) else []
    return own + [stage for child in env.children for stage in _stages(child)]


def _fields(timestep: TimeStep) -> dict:
    return dict(zip(TimeStep._fields[:4], timestep))
