"""Presets: the configurations that both originals ship, and parts of them."""

from typing import Any

__all__ = ["PRESETS"]

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


def _config(classes: dict[str, str], scheduler: str, world_for: str = "", **arguments: Any) -> dict[str, Any]:
    tasks = {name: {"type": path, **({"world": "gw"} if world_for in path else {})} for name, path in classes.items()}
    return {
        "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
        "tasks": tasks,
        "scheduler": {"type": f"core.scheduler.{scheduler}", "args": {"tasks": list(tasks), **arguments}},
    }


def _commai() -> dict[str, Any]:
    classes = {name: f"tasks.competition.{module}.{name}" for module, names in COMMAI.items() for name in names.split()}
    return _config(classes, "RandomTaskScheduler")


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
    return _config(_micro_classes(), "RandomTaskScheduler", "challenge_mini")


def _mini() -> dict[str, Any]:
    return _config(_mini_classes(), "RandomTaskScheduler")


def _challenge() -> dict[str, Any]:
    classes = _micro_classes() | _mini_classes()
    return _config(classes, "ConsecutiveTaskScheduler", "challenge_mini", success_threshold=5)


PRESETS = {"commai": _commai, "micro": _micro, "mini": _mini, "challenge": _challenge}
