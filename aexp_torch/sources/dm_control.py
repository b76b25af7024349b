"""The environments of dm_control by name, and how it draws where there is no display."""

import os
import sys
from typing import Any

import dm_env

from aexp_torch.errors import SpecError
from aexp_torch.provider import import_provider

__all__ = ["load", "prefer_egl"]

OPTIONS = ("environment_kwargs", "visualize_reward")  # of `suite.load` itself


def load(name: str, seed: int, kwargs: dict[str, Any]) -> dm_env.Environment:
    """Makes an environment by name: `"cartpole/swingup"`, `"manipulation/stack_2_bricks_features"`.

    Args:
      name: domain and task of the suite, or `manipulation/` and its name.
      seed: of its random numbers.
      kwargs: for the task, and `environment_kwargs` and `visualize_reward`.

    Raises:
      SpecError: there is none of that name.
    """
    domain, _, task = name.removeprefix("dm_control/").partition("/")
    if domain == "manipulation":
        manipulation = import_provider("dm_control.manipulation", "dm_control", f"DmEnv({name!r})")
        _check(name, task, manipulation.ALL)
        return manipulation.load(task, seed=seed, **kwargs)
    suite = import_provider("dm_control.suite", "dm_control", f"DmEnv({name!r})")
    _check(name, f"{domain}/{task}", [f"{domain}/{task}" for domain, task in suite.ALL_TASKS])
    options = {key: kwargs[key] for key in OPTIONS if key in kwargs}
    task_kwargs = {"random": seed, **{key: value for key, value in kwargs.items() if key not in OPTIONS}}
    return suite.load(domain, task, task_kwargs=task_kwargs, **options)


def _check(name: str, task: str, known: Any) -> None:
    if task not in known:
        domain = task.partition("/")[0]
        close = [one for one in known if one.startswith(f"{domain}/")] or known
        raise SpecError(f"DmEnv: expected 'domain/task' of dm_control, got {name!r}. Known: {', '.join(close)}.")


def prefer_egl() -> None:
    """Has dm_control draw with EGL where there is no display, unless `MUJOCO_GL` says how, or it is imported already.

    It takes the first way that imports, which is a window (GLFW), and finds only when it draws that there is no display.
    """
    chosen = "MUJOCO_GL" in os.environ or "dm_control._render" in sys.modules
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if chosen or display or not sys.platform.startswith("linux"):
        return
    os.environ["MUJOCO_GL"] = "egl"
    try:
        import dm_control._render  # noqa: F401
    except Exception:  # no EGL, or no dm_control: what comes next says what is missing
        pass
    finally:
        del os.environ["MUJOCO_GL"]


def _refuse_to_draw(*args: Any, **kwargs: Any) -> None:
    raise SpecError(
        "DmEnv: expected a process that was not forked where dm_control draws, OpenGL does not survive that. Start workers"
        " with spawn: Loader(..., context='spawn'), DataLoader(..., multiprocessing_context='spawn')."
    )


def _after_fork() -> None:
    """Has the child of a fork refuse to draw: OpenGL was ready when dm_control was imported, and it would wait for ever."""
    drawing = sys.modules.get("dm_control._render")
    if drawing is not None and getattr(drawing, "BACKEND", None) in ("egl", "glfw"):
        drawing.Renderer = _refuse_to_draw  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
