"""random_pipeline: any seed gives a pipeline, of any stages and compositions over sources of four kinds."""

import copy
from typing import Any, NamedTuple

from aexp_torch.composition import Multitasking, SynEnv
from aexp_torch.composition.composition import JoinedComposition
from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.loading.trainer_side import border_of
from aexp_torch.testing.dice import Dice
from aexp_torch.testing.random_components import COMPOSITIONS, STAGES
from aexp_torch.testing.random_sources import SOURCES

__all__ = ["RandomPipeline", "Refusal", "random_pipeline"]

MOST_DRAWS = 200  # for one place, before this is taken for a mistake


class Refusal(NamedTuple):
    """Is a combination that a component refused.

    Args:
      component: the class.
      text: what was tried.
      error: what it said.
    """

    component: type[Env]
    text: str
    error: str


class RandomPipeline(NamedTuple):
    """Is what a seed gives.

    Args:
      env: the recipe.
      text: how it was built, for people; sources stand with their kind, name and number of lanes.
      components: the classes of its stages and compositions, and the kinds of its sources (str).
      independent: no lane's stream depends on when others were held.
      refused: what was drawn before and refused.
    """

    env: Env
    text: str
    components: list[type[Env] | str]
    independent: bool
    refused: list[Refusal]


def random_pipeline(seed: int, max_components: int = 6) -> RandomPipeline:
    """Builds a pipeline of one to `max_components` stages and compositions, the same one for the same seed.

    Sources are small: a few lanes, short episodes, a few samples. A combination that a component refuses (SpecError, at
    construction or when it is opened) is left out, and another one is drawn.

    Args:
      seed: everything follows from it.
      max_components: the most stages and compositions, at least 1.

    >>> from aexp_torch.testing import check_env, random_pipeline
    >>> pipeline = random_pipeline(seed=0)
    >>> check_env(pipeline.env, independent_lanes=pipeline.independent)
    """
    dice = Dice(seed)
    builder = _Builder(dice)
    env, text = builder.grow(dice.number(1, max_components), None)
    rows = [STAGES.get(component) or COMPOSITIONS.get(component) for component in builder.components]
    independent = not any(row.shared for row in rows if row is not None)
    return RandomPipeline(env, text, builder.components, independent, builder.refused)


class _Builder:
    def __init__(self, dice: Dice):
        self.dice = dice
        self.components: list[Any] = []
        self.refused: list[Refusal] = []

    def grow(self, budget: int, num_envs: int | None, joined: bool = False) -> tuple[Env, str]:
        """Builds an environment of `budget` components, and its text.

        Args:
          budget: how many stages and compositions.
          num_envs: lanes of its sources; None for any number.
          joined: shows one source.
        """
        above = self.dice.number(0, budget)
        if above < budget and self.dice.chance(0.7):
            env, text = self._compose(budget - above - 1, num_envs, joined)
        else:
            env, text = self._source(num_envs or self.dice.number(1, 3))
            above = budget
        for _ in range(above):
            env, text = self._stack(env, text, joined)
        return env, text

    def _source(self, num_envs: int) -> tuple[Env, str]:
        kind = self.dice(*SOURCES)
        env = SOURCES[kind](self.dice, num_envs)
        self.components.append(kind)
        return env, f"{kind} {env.name!r} [{num_envs}]"

    def _stack(self, env: Env, text: str, joined: bool) -> tuple[Env, str]:
        """Puts a stage around an environment."""
        for _ in range(MOST_DRAWS):
            weights = {cls: row.weight for cls, row in STAGES.items() if row.fits(env)}
            if border_of(env) is not None:  # in a trainer's process there are hooks alone
                weights = {cls: weight for cls, weight in weights.items() if _has_hooks_alone(cls)}
            cls = self.dice.weighted(weights)
            options = STAGES[cls].options(self.dice, env)
            env.close()
            if joined and options.get("mode") == "mix":
                continue  # that shows several sources
            tried = f"{text}.pipe({_call(cls, options)})"
            try:
                return self._opened(cls(copy.copy(env), **options), cls), tried
            except SpecError as error:
                self.refused.append(Refusal(cls, tried, str(error)))
        raise AssertionError(f"random_pipeline: no stage of {list(STAGES)} works above {text}.")

    def _compose(self, budget: int, num_envs: int | None, joined: bool) -> tuple[Env, str]:
        """Puts a composition around two or three environments of `budget` components together."""
        choices = [cls for cls in COMPOSITIONS if not joined or issubclass(cls, JoinedComposition)]
        cls = self.dice(*choices)
        if num_envs is None and (joined or cls is Multitasking):
            num_envs = self.dice.number(1, 3)
        elif num_envs is None and cls is SynEnv:
            num_envs = self.dice(None, 1, 1)
        members, texts = [], []
        for left in range(self.dice.number(2, 3), 0, -1):
            share = budget if left == 1 else self.dice.number(0, budget)
            budget -= share
            env, text = self.grow(share, num_envs, issubclass(cls, JoinedComposition))
            members.append(env)
            texts.append(text)
        for _ in range(MOST_DRAWS):
            options = COMPOSITIONS[cls].options(self.dice, members)
            if "batch_size" in options and num_envs is not None:
                options["batch_size"] = num_envs
            tried = _call(cls, options, texts)
            try:
                return self._opened(cls([copy.copy(env) for env in members], **options), cls), tried
            except SpecError as error:
                self.refused.append(Refusal(cls, tried, str(error)))
            cls = self.dice(*choices)
        raise AssertionError(f"random_pipeline: no composition of {list(COMPOSITIONS)} works above {texts}.")

    def _opened(self, env: Env, cls: type[Env]) -> Env:
        """Opens an environment, which may refuse, and makes it a recipe again."""
        try:
            env.open()
            assert list(env.specs.values())  # lazy ones are made, too
        finally:
            env.close()
        self.components.append(cls)
        return env


def _has_hooks_alone(cls: type[Env]) -> bool:
    return cls.reset is Stage.reset and cls.step is Stage.step


def _call(cls: type[Env], options: dict[str, Any], texts: list[str] | None = None) -> str:
    """Writes a call; functions stand with their names."""
    given = [f"{key}={getattr(value, '__name__', repr(value))}" for key, value in options.items()]
    if texts is not None:
        return f"{cls.__name__}([{', '.join(texts)}]{''.join(f', {item}' for item in given)})"
    return ", ".join([cls.__name__, *given])
