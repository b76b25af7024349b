"""Presets: the configurations that both originals ship, parts of them, and the tasks that came later."""

from typing import Any

__all__ = ["PRESETS", "of_one_task"]

COMMAI = {
    "repetition": (
        "BeSilentTask RepeatCharacterTask RepeatWhatISayTask RepeatWhatISayMultipleTimesTask"
        " RepeatWhatISayMultipleTimes2Task RepeatWhatISayMultipleTimesSeparatedByCommaTask"
        " RepeatWhatISayMultipleTimesSeparatedByAndTask RepeatWhatISayMultipleTimesSeparatedByCATask"
        " RepeatWhatISayDisjunction RepeatWhatISayConjunctionNegation VerbTask"
    ),
    "counting": "SimpleCountingTask",
    "objects_properties": (
        "ObjectExistenceTask1 ObjectExistenceTask2 AssociateObjectWithPropertyTask VerifyThatObjectHasPropertyTask"
        " ListPropertiesOfAnObjectTask NameAPropertyOfAnObjectTask HowManyPropertiesDoesAnObjectHaveTask"
        " ListObjectsWithACertainPropertyTask NameAnObjectWithAPropertyTask HowManyObjectsHaveACertainPropertyTask"
        " WhoHasACertainObjectWithACertainPropertyTask ListThePropertiesThatAnObjectHasInABasketOnlyTask"
        " ListThePropertiesThatAnObjectHasInAllBasketsTask"
    ),
    "navigation": (
        "TurningTask MovingTask MovingRelativeTask MovingAbsoluteTask PickUpTask PickUpAroundTask PickUpInFrontTask"
        " GivingTask PickUpAroundAndGiveTask CountingInventoryTask CountingInventoryGivingTask LookTask LookAroundTask"
        " FindObjectAroundTask"
    ),
}
SUBTASKS = {5: 18, 7: 3, 9: 3, 13: 2}
NUMBERS = (*range(1, 17), 19, 20)
SMALL_COMP = (
    "ReverseXTask OddReverseXTask EvenReverseXTask FlipXTask RepeatNXTask OddRepeatNXTask EvenRepeatNXTask RotateRXTask"
    " RotateR1Task RotateR2Task RotateL1Task RotateL2Task ConcatenateXYTask ReverseRepeatNXTask ReverseRotateRXTask"
    " ReverseConcatenateXYTask RepeatNReverseXTask RepeatNRotateRXTask RepeatNConcatenateXYTask RotateRReverseXTask"
    " RotateRRepeatNXTask RotateRConcatenateXYTask ConcatenateReverseXReverseYTask ConcatenateRepeatNXRepeatMYTask"
    " ConcatenateRotateRXRotateSYTask"
)
TABLES = range(1, 9)  # of the preset "lookup"
COMPOSED_FROM, LAST = 5_000, 1_000_000  # instances


def _config(classes: dict[str, str], scheduler: str, world_for: str | None = None, **arguments: Any) -> dict[str, Any]:
    """Returns a configuration; tasks whose path has `world_for` in it share a world."""
    shared = {"world": "gw"}
    tasks = {
        name: {"type": path, **(shared if world_for and world_for in path else {})} for name, path in classes.items()
    }
    return {
        "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
        "tasks": tasks,
        "scheduler": {"type": f"core.scheduler.{scheduler}", "args": {"tasks": list(tasks), **arguments}},
    }


def _commai() -> dict[str, Any]:
    classes = {name: f"tasks.competition.{module}.{name}" for module, names in COMMAI.items() for name in names.split()}
    return _config(classes, "RandomTaskScheduler", "competition")


def _micro_classes() -> dict[str, str]:
    names = {}
    for number in NUMBERS:
        count = SUBTASKS.get(number)
        if count is None:
            names[f"micro{number}"] = f"Micro{number}Task"
        else:
            names |= {f"micro{number}.{part}": f"Micro{number}Sub{part}Task" for part in range(1, count + 1)}
    return {name: f"tasks.challenge.round1.challenge_micro.{kind}" for name, kind in names.items()}


def _mini_classes() -> dict[str, str]:
    return {f"mini{number}": f"tasks.challenge.round1.challenge_mini.TaskSet{number}" for number in range(6)}


def _micro() -> dict[str, Any]:
    return _config(_micro_classes(), "RandomTaskScheduler")


def _mini() -> dict[str, Any]:
    return _config(_mini_classes(), "RandomTaskScheduler", "challenge_mini")


def _challenge() -> dict[str, Any]:
    classes = _micro_classes() | _mini_classes()
    return _config(classes, "ConsecutiveTaskScheduler", "challenge_mini", success_threshold=5)


def _nano() -> dict[str, Any]:
    return _config(
        {name: f"tasks.micro.nano.{name}" for name in ("Task0", "Task1", "Task11", "Task10")}, "RandomTaskScheduler"
    )


def _small_comp() -> dict[str, Any]:
    classes = {name: f"tasks.micro.small_comp.{name}" for name in SMALL_COMP.split()}
    return _config(classes, "RandomTaskScheduler")


def _lookup() -> dict[str, Any]:
    """Returns eight tables of three bits, from some time on two of them one after the other; tests ask for held-out bits."""
    pairs = [f"{one}_{two}" for one in TABLES for two in TABLES]
    names = {f"{number}": f"LookupTaskR3D{number}" for number in TABLES} | {
        pair: f"FuncLookupTaskR3D{pair}" for pair in pairs
    }
    tests = {f"test {pair}": f"FuncLookupTestTaskR3D{pair}" for pair in pairs}
    classes = {name: f"tasks.micro.split_lookup_tables_1.{kind}" for name, kind in (names | tests).items()}
    intervals = [(COMPOSED_FROM if name in pairs else 0, LAST) for name in names]
    config = _config(classes, "IntervalTaskScheduler", intervals=intervals, tasks_test=list(tests))
    config["scheduler"]["args"]["tasks"] = list(names)
    return config


PRESETS = {
    "commai": _commai,
    "micro": _micro,
    "mini": _mini,
    "challenge": _challenge,
    "nano": _nano,
    "small_comp": _small_comp,
    "lookup": _lookup,
}


def of_one_task(name: str) -> dict[str, Any] | None:
    """Returns the configuration of a task of a preset alone, by the name of its class; None where there is no such task.

    >>> of_one_task("TurningTask")["tasks"]
    {'TurningTask': {'type': 'tasks.competition.navigation.TurningTask', 'world': 'gw'}}
    """
    for make in PRESETS.values():
        config = make()
        for task in config["tasks"].values():
            if task["type"].rpartition(".")[2] == name:
                scheduler = {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": [name]}}
                return {**config, "tasks": {name: task}, "scheduler": scheduler}
    return None
