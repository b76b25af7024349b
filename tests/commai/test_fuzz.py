"""Learners that say anything, to every task: nothing raises, nothing grows, and every instance ends."""

import importlib
import io
import pkgutil
import random

import numpy as np
import pytest
import torch

from aexp_torch.commai import Task, tasks
from aexp_torch.commai.channels import MOST_HEARD, MOST_SAID, Channels
from aexp_torch.commai.grid_world import MOST_THINGS, GridWorld
from aexp_torch.commai.presets import PRESETS
from aexp_torch.commai.schedulers import SequentialTaskScheduler
from aexp_torch.commai.scrambling import MOST_WORDS, Scrambler
from aexp_torch.commai.sessions import BITS, BYTES, CHARACTERS, Sessions
from aexp_torch.commai.tasks import lookup_tables
from tests.commai.dialogues import made

LANES, FEW_LANES = 64, 16
LONGEST_MESSAGE = 512  # symbols, of a message that may have been begun when the time was over, and of the feedback
ROOM = 2000  # bytes by which a task may remember more at one time than at another
BYTES_OF_A_THING = 100  # in the state of a world
MANY = 1_000_000  # symbols
LOOKUP_TASKS = (  # some of thousands
    *(
        ("lookup_tables", name)
        for name in ("LookupTaskR2D1", "FuncLookupTaskR3D1_2", "CatLookupTaskR8D1_2_3_4_5_6_7_8")
    ),
    *(("split_lookup_tables_1", name) for name in ("FuncLookupTestTaskR2D1_2", "ProcLookupTaskR3D1_2_3")),
    ("split_lookup_tables_1_rename", "CatLookupTaskR3D1_2"),
)
WORDS = (
    *("yes.", "no.", "true.", "false.", "none.", "nobody.", "zero.", "one.", "2.", "apple.", "banana.", "a.", "ab."),
    *(
        "I turn left.",
        "I turn right.",
        "I move forward.",
        "I look.",
        "I jump.",
        "I sing.",
        "please tell me the number.",
    ),
    *(
        "I pick up the apple.",
        "I pick up the pear.",
        "I give you an apple.",
        "I give you a pear.",
        "99999999999999999999.",
    ),
    *(".", " . ", "?", "!", "-", "#", "\x00", "\xff.", "²."),
)


def concrete_tasks() -> dict[str, type[Task]]:
    """Returns `{module.Class: class}` of the tasks that can be begun."""
    found = {}
    for module in pkgutil.walk_packages(tasks.__path__, f"{tasks.__name__}."):
        own = [
            kind
            for kind in vars(importlib.import_module(module.name)).values()
            if isinstance(kind, type)
            and issubclass(kind, Task)
            and kind.__module__ == module.name
            and not is_form(kind)
        ]
        found |= {f"{module.name.rpartition('.')[2]}.{kind.__name__}": kind for kind in own}
    del found["lookup_tables.LookupTask"]  # it is made by name
    return found | {f"{family}.{name}": lookup_tables.task(family, name) for family, name in LOOKUP_TASKS}


def is_form(kind: type[Task]) -> bool:
    """Whether it is only there to be derived from, and cannot begin."""
    if not kind.__subclasses__():
        return False
    try:
        sessions_of(kind, BYTES, 1).step(None)
    except (NotImplementedError, AttributeError, ValueError):
        return True
    return False


def sessions_of(kind: type[Task], rules, lanes: int = LANES, **options) -> Sessions:
    schedulers = [SequentialTaskScheduler([made(kind)]) for _ in range(lanes)]
    return Sessions(schedulers, rules, list(range(lanes)), **options)


TASKS = concrete_tasks()


class Babbler:
    """Says words and single symbols, another in every lane."""

    def __init__(self, rng: np.random.Generator, lanes: int):
        words = [*(word.encode("latin-1") for word in WORDS), *(bytes([symbol]) for symbol in range(256))]
        weights = np.array([8.0] * len(WORDS) + [1.0] * 256)
        weights[len(WORDS) + ord(" ")] = 100
        chosen = rng.choice(len(words), 16_000, p=weights / weights.sum())
        self.text = np.frombuffer(b"".join(words[number] for number in chosen), np.uint8)
        self.place = rng.integers(0, len(self.text), lanes)

    def __call__(self, said: np.ndarray) -> np.ndarray:
        self.place = (self.place + 1) % len(self.text)
        return self.text[self.place]


PRINTABLE = np.frombuffer(bytes(range(32, 127)) + b" " * 40 + b"." * 40, np.uint8)
LEARNERS = {
    "bytes": lambda rng, lanes: lambda said: rng.integers(0, 256, lanes, np.uint8),
    "printable": lambda rng, lanes: lambda said: rng.choice(PRINTABLE, lanes),
    "bits": lambda rng, lanes: lambda said: rng.integers(48, 50, lanes, np.uint8),  # the characters 0 and 1
    "words": Babbler,
    "periods": lambda rng, lanes: lambda said: np.full(lanes, ord("."), np.uint8),
    "spaces": lambda rng, lanes: lambda said: np.full(lanes, ord(" "), np.uint8),
    "echo": lambda rng, lanes: lambda said: said,
}


def fuzz(talks: Sessions, learner, symbols: int) -> None:
    """Says so many symbols, and looks on; begins the conversations where they have not begun."""
    steps, lanes = talks.rules.steps, len(talks.tasks)
    said, _ = talks.step(None if talks.results.time == 0 else np.full(lanes, ord(" "), np.uint8))
    limit = 0
    for step in range(-(-symbols // lanes)):
        said, rewards = talks.step(learner(said))
        given = rewards[~np.isnan(rewards)]
        assert np.all(np.abs(given) <= 1)
        if step % 64 == 0:
            late = talks.time - talks._deadline
            assert late.max() <= LONGEST_MESSAGE * steps, f"{talks.tasks[late.argmax()]} is {late.max()} steps late"
            limit = max(limit, int(talks._deadline.max()) // steps + 2 * LONGEST_MESSAGE)
    assert talks.channels._out.shape[1] <= 2 * limit
    assert talks.channels._heard.shape[1] <= 2 * limit


def state_size(talks: Sessions) -> int:
    """Returns the bytes of everything that tasks, worlds and schedulers remember, without the buffers of symbols."""
    file = io.BytesIO()
    state = talks.state_dict()
    torch.save({name: state[name] for name in ("schedulers", "stored", "earned_by", "invented")}, file)
    return file.tell()


def test_no_task_is_left_out():
    listed = {entry["type"].rpartition(".")[2] for preset in PRESETS.values() for entry in preset()["tasks"].values()}
    assert len(listed) > 39 + 40 + 6
    assert {name for name in listed if "LookupT" not in name} <= {kind.__name__ for kind in TASKS.values()}


def ways(*kinds) -> list:
    """Returns every task with every rule of conversation that can carry what it says."""
    rules = {"bits": BITS, "characters": CHARACTERS, "bytes": BYTES}
    return [
        pytest.param(task, rules[kind], id=f"{name}-{kind}")
        for name, task in TASKS.items()
        for kind in kinds or [own_rules(name)]
        if name != "sample.UnicodeTask" or kind == "bits"
    ]


def own_rules(name: str) -> str:
    module = name.partition(".")[0]
    if module in ("micro", "mini"):
        return "bytes"
    return "bits" if module in ("repetition", "counting", "objects", "navigation", "sample") else "characters"


@pytest.mark.parametrize("task, rules", ways())
def test_a_little_of_anything(task, rules):
    rng = np.random.default_rng(0)
    for learner in LEARNERS.values():
        fuzz(sessions_of(task, rules, FEW_LANES), learner(rng, FEW_LANES), 500)


@pytest.mark.slow
@pytest.mark.parametrize("task, rules", ways("bits", "bytes"))
def test_a_million_random_symbols(task, rules):
    rng, talks = np.random.default_rng(0), sessions_of(task, rules)
    fuzz(talks, LEARNERS["bytes"](rng, LANES), MANY)
    assert all(task.finished >= LANES for task in talks.results.tasks.values())


@pytest.mark.slow
@pytest.mark.parametrize("task, rules", ways("bits", "bytes"))
def test_nothing_grows(task, rules):
    """What a task remembers is as much after seven learners as after the first; a world holds a bounded number of things."""
    rng, talks = np.random.default_rng(0), sessions_of(task, rules, FEW_LANES)
    fuzz(talks, LEARNERS["words"](rng, FEW_LANES), 20_000)
    before = state_size(talks)
    for learner in LEARNERS.values():
        fuzz(talks, learner(rng, FEW_LANES), 20_000)
    room = ROOM + (MOST_THINGS * BYTES_OF_A_THING if task.needs_world else 0)
    assert state_size(talks) <= 1.5 * before + FEW_LANES * room


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["periods", "words", "echo"])
@pytest.mark.parametrize("rules", [BITS, BYTES], ids=["bits", "bytes"])
@pytest.mark.parametrize("name", ["repetition.RepeatWhatISayTask", "objects.ListObjectsWithACertainPropertyTask"])
def test_where_defects_are_kept_instances_may_last_for_ever_but_nothing_grows(name, rules, learner):
    rng, talks = np.random.default_rng(0), sessions_of(TASKS[name], rules.with_defects(), 4)
    say, (said, _) = LEARNERS[learner](rng, 4), talks.step(None)
    for _ in range(4000 if learner == "periods" else 12_000):
        said, _ = talks.step(say(said))
    assert talks.channels._out.shape[1] <= MOST_SAID
    assert talks.channels._heard.shape[1] <= MOST_HEARD


def test_what_is_too_much_is_not_said():
    channels = Channels(1, appends=True)
    while channels.say(0, b"again! " * 1000):
        assert channels.waiting(0) < 2 * MOST_SAID
    assert MOST_SAID - 7000 < channels.waiting(0) <= MOST_SAID
    while channels.waiting(0):
        channels.emit_alone()
    assert channels.say(0, b"again! ")


def test_a_world_holds_a_bounded_number_of_things():
    world = GridWorld()
    world.restart()
    for place in range(3 * MOST_THINGS):
        world.put((place % (2 * MOST_THINGS), 0), "pear")
    assert len(world.entities) == MOST_THINGS
    assert (MOST_THINGS - 1, 0) in world.entities and (MOST_THINGS, 0) not in world.entities


def test_a_scrambler_knows_a_bounded_number_of_words():
    scrambler = Scrambler(random.Random(0))
    frequent = scrambler.scramble("repeat")
    for number in range(MOST_WORDS):
        word = "".join("abcdefghij"[int(digit)] for digit in f"{number:05}")
        said = scrambler.scramble(f"{word} repeat.")
        assert said.endswith(f" {frequent}.")
        assert scrambler.unscramble(said) == f"{word} repeat."
    assert len(scrambler.invented) <= MOST_WORDS
