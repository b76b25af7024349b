"""Configurations: what a conversation is about: a file of either original, a dict, or the name of a preset."""

import importlib
import importlib.util
import json
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
    if str(config) in PRESETS:
        return _Maker(PRESETS[str(config)](), f"the preset {str(config)!r}")
    alone = of_one_task(str(config))
    if alone is not None:
        return _Maker(alone, f"the task {str(config)!r}")
    path = Path(config)
    if not path.is_file():
        raise SpecError(
            f"commai: expected a configuration: a file, one of the presets {sorted(PRESETS)}, or the name of one of their"
            f" tasks, got {str(config)!r}."
        )
    if path.suffix == ".py":
        return _from_python(path)
    if path.suffix != ".json":
        raise SpecError(f"commai: expected a configuration that ends in .json or .py, got {str(path)!r}.")
    try:
        return _Maker(json.loads(path.read_text()), str(path))
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"commai: expected JSON in {str(path)!r}, {error}.") from error


class _Maker:
    """Makes what a configuration describes, again and again."""

    def __init__(self, config: Mapping[str, Any], where: str):
        self._where = where
        if not isinstance(config, Mapping) or set(config) < set(SECTIONS):
            have = sorted(config) if isinstance(config, Mapping) else type(config).__name__
            raise SpecError(f"commai: expected {', '.join(SECTIONS)} in {where}, got {have}.")
        self._worlds, self._tasks, self._scheduler = (self._section(config, name) for name in SECTIONS)
        for section, kind in ((self._worlds, World), (self._tasks, Task)):
            for name, entry in section.items():
                if not isinstance(entry, Mapping) or "type" not in entry:
                    raise SpecError(f"commai: expected a type for {name!r} in {where}, got {entry!r}.")
                self._class(entry["type"], kind)
        self()  # says now what does not fit

    def _section(self, config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        if not isinstance(config[name], Mapping):
            raise SpecError(f"commai: expected {name!r} in {self._where} to be a dict, got {config[name]!r}.")
        return config[name]

    def _class(self, path: str, kind: type) -> Callable[..., Any]:
        module, _, name = str(path).rpartition(".")
        family = module.removeprefix(MADE_BY_NAME)
        if kind is Task and family != module and lookup_tables.is_family(family):
            return lookup_tables.task(family, name)
        module, name = MODULES.get(module, module), RENAMED.get(name, name)
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise SpecError(
                f"commai: expected the path of a {kind.__name__} class in {self._where}, got {path!r}: {error}."
            ) from error
        if not (isinstance(found, type) and issubclass(found, kind)):
            raise SpecError(f"commai: expected a subclass of {kind.__name__} in {self._where}, {path!r} is {found!r}.")
        return found

    def __call__(self) -> Scheduler:
        worlds = {name: self._made(entry["type"], World) for name, entry in self._worlds.items()}
        tasks = {name: self._task(name, entry, worlds) for name, entry in self._tasks.items()}
        arguments = self._scheduler.get("args", {})
        if not isinstance(arguments, Mapping):
            raise SpecError(f"commai: expected the scheduler's args in {self._where} to be a dict, got {arguments!r}.")
        given = {
            name: self._resolved(value, tasks) if name.startswith("tasks") else value
            for name, value in arguments.items()
        }
        return self._made(self._scheduler.get("type", ""), Scheduler, **given)

    def _task(self, name: str, entry: Mapping[str, Any], worlds: Mapping[str, World]) -> Task:
        arguments = entry.get("args", {})
        if not isinstance(arguments, Mapping):
            raise SpecError(f"commai: expected the args of {name!r} in {self._where} to be a dict, got {arguments!r}.")
        arguments = dict(arguments)
        if "world" in entry:
            if entry["world"] not in worlds:
                raise SpecError(
                    f"commai: expected one of the worlds {sorted(worlds)} for {name!r} in {self._where}, got"
                    f" {entry['world']!r}."
                )
            arguments["world"] = worlds[entry["world"]]
        task = self._made(entry["type"], Task, **arguments)
        if task.needs_world and task.world is None:
            raise SpecError(
                f"commai: expected a world for {name!r} in {self._where}: {type(task).__name__} acts in one."
            )
        return task

    def _made(self, path: str, kind: type, **arguments: Any) -> Any:
        try:
            return self._class(path, kind)(**arguments)
        except TypeError as error:
            raise SpecError(f"commai: expected arguments that fit {path!r} in {self._where}, {error}.") from error

    def _resolved(self, value: Any, tasks: Mapping[str, Task]) -> Any:
        if isinstance(value, list | tuple):
            return [self._resolved(item, tasks) for item in value]
        if not isinstance(value, str):
            return value
        if value not in tasks:
            raise SpecError(f"commai: expected one of the tasks {sorted(tasks)} in {self._where}, got {value!r}.")
        return tasks[value]


def _from_python(path: Path) -> Callable[[], Scheduler]:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        with importable(MODULES, RENAMED):
            spec.loader.exec_module(module)
    except Exception as error:
        raise SpecError(f"commai: expected {str(path)!r} to be imported, {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, "create_tasks", None)):
        raise SpecError(f"commai: expected a function create_tasks() in {str(path)!r}, there is none.")

    def make() -> Scheduler:
        with importable(MODULES, RENAMED):
            return module.create_tasks()

    return make
