"""Configurations: what a conversation is about: a file of either original, a dict, or the name of a preset."""

import importlib
import importlib.util
import json
import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aexp_torch.commai.originals import importable
from aexp_torch.commai.presets import PRESETS, of_one_task
from aexp_torch.commai.schedulers import Scheduler
from aexp_torch.commai.task import Task
from aexp_torch.commai.tasks import lookup_tables
from aexp_torch.commai.world import World
from aexp_torch.errors import SpecError

__all__ = ["scheduler_maker"]

HERE = "aexp_torch.commai"
# Where the originals have their classes, and where they are here.
MODULES = {
    "core.scheduler": f"{HERE}.schedulers",
    "worlds.grid_world": f"{HERE}.grid_world",
    "tasks.competition.repetition": f"{HERE}.tasks.repetition",
    "tasks.competition.counting": f"{HERE}.tasks.counting",
    "tasks.competition.objects_properties": f"{HERE}.tasks.objects",
    "tasks.competition.navigation": f"{HERE}.tasks.navigation",
    "tasks.competition.to_be_validated": f"{HERE}.tasks.pending",
    "tasks.pending.marco_tasks": f"{HERE}.tasks.pending",
    "tasks.sample.sample_tasks": f"{HERE}.tasks.sample",
    "tasks.micro.micro": f"{HERE}.tasks.repeating",
    "tasks.micro.nano": f"{HERE}.tasks.nano",
    "tasks.micro.small_comp": f"{HERE}.tasks.small_comp",
    "tasks.challenge.round1.challenge_micro": f"{HERE}.tasks.micro",
    "tasks.challenge.round1.challenge_mini": f"{HERE}.tasks.mini",
}
MADE_BY_NAME = "tasks.micro."  # the modules of lookup tables
RENAMED = {"ListPropertiesofAnObjectTask": "ListPropertiesOfAnObjectTask"}
DEEPEST = 9  # lists in lists
LONGEST = 200  # characters of a value in a message
SECTIONS = ("worlds", "tasks", "scheduler")


def scheduler_maker(config: str | Path | Mapping[str, Any]) -> Callable[[], Scheduler]:
    """Returns a function that makes the scheduler of a conversation, with tasks and worlds of its own.

    Args:
      config: a dict with `worlds`, `tasks` and `scheduler`; the path of a JSON file that holds one; the path of a Python
        file whose `create_tasks()` returns a scheduler; the name of a preset; or the class name of one of their tasks.

    Raises:
      SpecError: no such file or preset, or something in it that does not fit.
    """
    if isinstance(config, Mapping):
        return _Maker(config, "the configuration")
    if not isinstance(config, str | Path):
        raise SpecError(f"commai: expected a configuration: a dict, a path or a preset, got {_shown(config)}.")
    if str(config) in PRESETS:
        return _Maker(PRESETS[str(config)](), f"the preset {str(config)!r}")
    alone = of_one_task(str(config))
    if alone is not None:
        return _Maker(alone, f"the task {str(config)!r}")
    path = Path(config)
    if not _is_file(path):
        raise SpecError(
            f"commai: expected a configuration: a file, one of the presets {sorted(PRESETS)}, or the name of one of their"
            f" tasks, got {_shown(str(config))}."
        )
    if path.suffix == ".py":
        return _from_python(path)
    if path.suffix != ".json":
        raise SpecError(f"commai: expected a configuration that ends in .json or .py, got {str(path)!r}.")
    try:
        read = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError) as error:
        raise SpecError(f"commai: expected JSON in {str(path)!r}, {error}.") from error
    return _Maker(read, str(path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _shown(value: Any) -> str:
    """Returns a value for a message: of long or deep ones, the beginning."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = LONGEST
    return shortened.repr(value)


class _Maker:
    """Makes what a configuration describes, again and again."""

    def __init__(self, config: Any, where: str):
        self._where = where
        if not isinstance(config, Mapping) or not set(SECTIONS) <= set(config):
            have = list(config) if isinstance(config, Mapping) else type(config).__name__
            raise SpecError(f"commai: expected {', '.join(SECTIONS)} in {where}, got {_shown(have)}.")
        self._worlds, self._tasks, self._scheduler = (self._dict(config[name], repr(name)) for name in SECTIONS)
        for section, kind in ((self._worlds, World), (self._tasks, Task)):
            for name, entry in section.items():
                if not isinstance(entry, Mapping) or "type" not in entry:
                    raise SpecError(f"commai: expected a type for {name!r} in {where}, got {_shown(entry)}.")
                self._class(entry["type"], kind)
        self()  # says now what does not fit

    def _dict(self, value: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise SpecError(f"commai: expected {what} in {self._where} to be a dict, got {_shown(value)}.")
        return value

    def _class(self, path: Any, kind: type) -> Callable[..., Any]:
        module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
        family = module.removeprefix(MADE_BY_NAME)
        if kind is Task and family != module and lookup_tables.is_family(family):
            return lookup_tables.task(family, name)
        module, name = MODULES.get(module, module), RENAMED.get(name, name)
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:  # a module that is imported may raise anything
            raise SpecError(
                f"commai: expected the path of a {kind.__name__} class in {self._where}, got {_shown(path)}:"
                f" {str(error)[:LONGEST]}."
            ) from error
        if not (isinstance(found, type) and issubclass(found, kind)):
            raise SpecError(
                f"commai: expected a subclass of {kind.__name__} in {self._where}, {_shown(path)} is {_shown(found)}."
            )
        return found

    def __call__(self) -> Scheduler:
        worlds = {name: self._made(entry["type"], World, {}) for name, entry in self._worlds.items()}
        tasks = {name: self._task(name, entry, worlds) for name, entry in self._tasks.items()}
        arguments = self._dict(self._scheduler.get("args", {}), "the scheduler's args")
        given = {
            name: self._resolved(value, tasks) if name.startswith("tasks") else value
            for name, value in arguments.items()
        }
        return self._made(self._scheduler.get("type", ""), Scheduler, given)

    def _task(self, name: str, entry: Mapping[str, Any], worlds: Mapping[str, World]) -> Task:
        arguments = dict(self._dict(entry.get("args", {}), f"the args of {name!r}"))
        if arguments.get("world") is not None:
            raise SpecError(
                f"commai: expected the world of {name!r} in {self._where} beside its type, not in its args."
            )
        if "world" in entry:
            world = entry["world"]
            if not isinstance(world, str) or world not in worlds:
                raise SpecError(
                    f"commai: expected one of the worlds {sorted(worlds)} for {name!r} in {self._where}, got"
                    f" {_shown(world)}."
                )
            arguments["world"] = worlds[world]
        task = self._made(entry["type"], Task, arguments)
        _check_world(task, repr(name), self._where)
        return task

    def _made(self, path: Any, kind: type, arguments: Mapping[str, Any]) -> Any:
        made = self._class(path, kind)
        try:
            return made(**arguments)
        except SpecError:
            raise
        except Exception as error:  # a constructor that is given what it does not expect may raise anything
            raise SpecError(f"commai: expected arguments that fit {path!r} in {self._where}, {error}.") from error

    def _resolved(self, value: Any, tasks: Mapping[str, Task], depth: int = 0) -> Any:
        if isinstance(value, list | tuple) and depth < DEEPEST:
            return [self._resolved(item, tasks, depth + 1) for item in value]
        if not isinstance(value, str) or value not in tasks:
            raise SpecError(
                f"commai: expected one of the tasks {_shown(list(tasks))} in {self._where}, got {_shown(value)}."
            )
        return tasks[value]


def _check_world(task: Task, name: str, where: str) -> None:
    if task.needs_world and task.world is None:
        raise SpecError(f"commai: expected a world for {name} in {where}: {type(task).__name__} acts in one.")


def _from_python(path: Path) -> Callable[[], Scheduler]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        with importable(MODULES, RENAMED):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise SpecError(f"commai: expected {str(path)!r} to be imported, {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, "create_tasks", None)):
        raise SpecError(f"commai: expected a function create_tasks() in {str(path)!r}, there is none.")

    def make() -> Scheduler:
        try:
            with importable(MODULES, RENAMED):
                scheduler = module.create_tasks()
        except (Exception, SystemExit) as error:
            raise SpecError(
                f"commai: expected create_tasks() of {str(path)!r} to return, {type(error).__name__}: {error}."
            ) from error
        if not isinstance(scheduler, Scheduler):
            raise SpecError(
                f"commai: expected a Scheduler from create_tasks() of {str(path)!r}, got {_shown(scheduler)}."
            )
        for task in scheduler.tasks:
            _check_world(task, "a task", str(path))
        return scheduler

    make()  # says now what does not fit
    return make
