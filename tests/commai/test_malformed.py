"""Configurations that are wrong in every way: a SpecError says where and what, or a session runs."""

import copy
import json
import re

import numpy as np
import pytest

from aexp_torch.commai import CommAIEnv
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.sessions import BYTES, Sessions
from aexp_torch.errors import SpecError

REPETITION, NAVIGATION = "tasks.competition.repetition", "tasks.competition.navigation"
TASKS = {
    "turn": {"type": f"{NAVIGATION}.TurningTask", "world": "gw"},
    "say": {"type": f"{REPETITION}.RepeatWhatISayTask", "args": {"world": None}},
    "verb": {"type": f"{REPETITION}.VerbTask"},
}
WORLDS = {"gw": {"type": "worlds.grid_world.GridWorld"}}
SCHEDULERS = {
    "RandomTaskScheduler": {},
    "SequentialTaskScheduler": {},
    "IncrementalTaskScheduler": {"success_threshold": 2},
    "ConsecutiveTaskScheduler": {"success_threshold": 2, "repeats": True},
    "DependenciesTaskScheduler": {"tasks_dependencies": [["turn", "say"], ["say", "verb"]], "unlock_threshold": 3},
    "IntervalTaskScheduler": {"intervals": [[0, 9], [0, 5], [2, 9]]},
}


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = [
    *(None, True, -1, 0, 3, 1.5, float("nan"), 10**400, "", "say", "no.such.Thing", "json.loads", "."),
    *([], {}, [[]], ["say"], ["say", "say"], [3], [["say", "nobody"]], [["say", "say", "say"]], ["turn", ["say"]]),
    *(
        {"type": 3},
        {"type": None},
        {"type": "."},
        {"type": "worlds.grid_world.GridWorld"},
        {"a": {"type": "os"}},
        nested(20),
    ),
]


def valid(scheduler: str) -> dict:
    arguments = {"tasks": list(TASKS), **SCHEDULERS[scheduler]}
    wanted = {"type": f"core.scheduler.{scheduler}", "args": arguments}
    return copy.deepcopy({"worlds": WORLDS, "tasks": TASKS, "scheduler": wanted})


def places(value, path=()):
    """Yields the path of everything in it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def mutations(config: dict):
    """Yields the same with one thing replaced, left out or added, at every place."""
    for path in places(config):
        for value in VALUES:
            yield path, changed(config, path, lambda parent, key, value=value: parent.__setitem__(key, value))
        if path:
            yield path, changed(config, path, lambda parent, key: parent.__delitem__(key))
            yield path, changed(config, (*path[:-1], "more"), lambda parent, key: add(parent, key))


def add(parent, key) -> None:
    if isinstance(parent, dict):
        parent[key] = "more"
    else:
        parent.append("more")


def changed(config, path, change):
    holder = {"config": copy.deepcopy(config)}
    parent = holder
    for key in ("config", *path)[:-1]:
        parent = parent[key]
    change(parent, ("config", *path)[-1])
    return holder["config"]


def converse(config, lanes: int = 2, steps: int = 1500) -> None:
    """Runs a session in which most of what is said is nothing."""
    make = scheduler_maker(config)
    talks = Sessions([make() for _ in range(lanes)], BYTES, list(range(lanes)))
    said, rng = talks.step(None)[0], np.random.default_rng(0)
    for _ in range(steps):
        said, _ = talks.step(np.where(rng.random(lanes) < 0.5, said, 46).astype(np.uint8))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_place_holds_what_it_should_or_is_refused(scheduler):
    config = valid(scheduler)
    converse(config)
    messages = []
    for path, wrong in mutations(config):
        try:
            converse(wrong, steps=200)
        except SpecError as error:
            messages.append(f"{path} {error}")
    assert len(messages) > 300
    assert [message for message in messages if not re.search(r"\) \w+: expected .*", message)] == []


OWN = "from aexp_torch.commai.schedulers import *\nfrom aexp_torch.commai.tasks.repetition import VerbTask\n"
SHARED = OWN + "tasks = [VerbTask()]\ndef create_tasks():\n    return RandomTaskScheduler(tasks)\n"
FILES = {
    "no.json": ("{", "expected JSON in .*no.json"),
    "nothing.json": ("", "expected JSON"),
    "deep.json": ("[" * 100_000, "expected JSON in .*recursion"),
    "deeper.json": ('{"worlds": {}, "tasks": {}, "scheduler": ' + '{"args":' * 900 + "1" + "}" * 901, "expected"),
    "bytes.json": (b"\xff\xfe\x00{", "expected JSON in .*decode"),
    "list.json": ("[1, 2]", "expected worlds, tasks, scheduler in .*list.json, got 'list'"),
    "number.json": ("NaN", "got 'float'"),
    "two.json": ('{"worlds": {}, "tasks": {}, "more": {}}', r"expected worlds, .* got \['worlds', 'tasks', 'more'\]"),
    "config.yaml": ("", "ends in .json or .py"),
    "config": ("", "ends in .json or .py"),
    "syntax.py": ("def", "to be imported, SyntaxError"),
    "exits.py": ("raise SystemExit(3)", "to be imported, SystemExit: 3"),
    "raises.py": ("1 / 0", "to be imported, ZeroDivisionError"),
    "no_function.py": ("create_tasks = 3", "a function create_tasks"),
    "later.py": ("def create_tasks():\n    raise KeyError('x')", "expected create_tasks.* to return, KeyError"),
    "asks.py": ("def create_tasks(path):\n    pass", "to return, TypeError"),
    "none.py": ("def create_tasks():\n    pass", "expected a Scheduler from create_tasks.*, got None"),
    "kind.py": (OWN + "def create_tasks():\n    return RandomTaskScheduler", "got <class"),
    "world.py": (
        "from aexp_torch.commai.schedulers import *\nfrom aexp_torch.commai.tasks.navigation import TurningTask\n"
        "def create_tasks():\n    return RandomTaskScheduler([TurningTask()])",
        "expected a world for a task in .*world.py: TurningTask",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_wrong_files(tmp_path, name):
    content, message = FILES[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpecError, match=message):
        CommAIEnv(path)


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    for path in (tmp_path / "folder.json", tmp_path / "loop.json", tmp_path / ("x" * 5000), "a\x00b.json", "", "mcro"):
        with pytest.raises(SpecError, match="expected a configuration: a file, one of the presets"):
            CommAIEnv(path)
    for thing in (None, 3, b"micro", ["micro"], object()):
        with pytest.raises(SpecError, match="expected a configuration: a dict, a path or a preset"):
            CommAIEnv(thing)


def test_lanes_do_not_share_tasks(tmp_path):
    path = tmp_path / "shared.py"
    path.write_text(SHARED)
    CommAIEnv(path).reset()
    with pytest.raises(SpecError, match="tasks and worlds of its own for every lane"):
        CommAIEnv(path, num_envs=2).reset()


@pytest.mark.parametrize(
    "pairs, message",
    [
        ([["say", "say"]], "['RepeatWhatISayTask'] wait"),
        (
            [["say", "verb"], ["verb", "turn"], ["turn", "say"]],
            "['RepeatWhatISayTask', 'TurningTask', 'VerbTask'] wait",
        ),
        ([["say"]], "expected tasks_dependencies, a list of pairs of Task"),
        ([["say", "absent"]], "expected one of the tasks ['turn', 'say', 'verb']"),
    ],
)
def test_dependencies_that_cannot_be_met(pairs, message):
    config = valid("DependenciesTaskScheduler")
    config["scheduler"]["args"]["tasks_dependencies"] = pairs
    with pytest.raises(SpecError, match=re.escape(message)):
        CommAIEnv(config)
    del config["tasks"]["turn"]
    config["scheduler"]["args"] |= {"tasks": ["say"], "tasks_dependencies": [["verb", "say"]]}
    with pytest.raises(SpecError, match="or for a task that is not among tasks"):
        CommAIEnv(config)


def test_deep_and_long_values_are_shown_in_part():
    deep, long = nested(100_000), "x" * 100_000
    for value in (deep, long):
        for change in (
            {"worlds": value},
            {"tasks": {"a": value}},
            {"tasks": {"a": {"type": value}}},
            {"scheduler": value},
        ):
            with pytest.raises(SpecError, match="expected .* in the configuration") as caught:
                CommAIEnv(valid("RandomTaskScheduler") | change)
            assert len(str(caught.value)) < 1000
        config = valid("RandomTaskScheduler")
        config["scheduler"]["args"]["tasks"] = value
        with pytest.raises(SpecError) as caught:
            CommAIEnv(config)
        assert len(str(caught.value)) < 1000


def test_a_written_configuration_is_the_same(tmp_path):
    for name in SCHEDULERS:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(valid(name)))
        converse(path)
