"""The originals' dialogues, symbol by symbol: what is said, when, and when the reward comes."""

import numpy as np
import pytest

from aexp_torch.commai.sessions import BYTES
from aexp_torch.commai.tasks import counting, micro, mini, navigation, objects, repetition
from aexp_torch.commai.words import POSITIVE
from tests.commai.dialogues import replay, sessions, talk

# The last words belong to the next instance: they show when it begins, and may be others.
COMMAI = [
    (repetition.BeSilentTask, "do not say anything. incorrect. do n", "                    spam.", 256, "0"),
    (repetition.RepeatCharacterTask, "say N.  nice work. repe", "      N.", 152, "+"),
    (repetition.RepeatCharacterTask, "say N.     incorrect. repe", "      spam.", 176, "0"),
    (repetition.RepeatWhatISayTask, "repeat banana.       congratulations. repe", "              banana.", 304, "+"),
    (repetition.RepeatWhatISayTask, "sayyou failed! repeat", "  .", 120, "0"),
    (
        repetition.RepeatWhatISay2Task,
        "say hello world and you will solve this problem.            correct. say",
        "                                                hello world.",
        None,
        "+",
    ),
    (
        repetition.RepeatWhatISayMultipleTimesTask,
        "say banana 2 times.              congratulations. say",
        "                   banana banana.",
        None,
        "+",
    ),
    (
        repetition.RepeatWhatISayMultipleTimesTask,
        "say banana 2 times.     you failed! correct answer is: banana banana. say",
        "                   spam.",
        None,
        "0",
    ),
    (
        repetition.RepeatWhatISayMultipleTimesSeparatedByCommaTask,
        "say hello world two times separated by comma (,).                         congratulations. say",
        "                                                 hello world, hello world.",
        None,
        "+",
    ),
    (
        repetition.RepeatWhatISayDisjunction,
        "say banana or apple.      nice work. say",
        "                    apple.",
        None,
        "+",
    ),
    (repetition.VerbTask, "Say 'I jump' to jump.       You jumped. Say", "                     I jump.", None, "+"),
    (
        counting.SimpleCountingTask,
        "I have an onion, a potato, a potato, a pear, a pineapple, a banana, a pineapple, a mango, a pear and a beet."
        " How many beets do I have?    correct. I ha",
        " " * 134 + "one.",
        None,
        "+",
    ),
    (
        objects.ObjectExistenceTask1,
        "Let's play game with objects. I have tomato. Do I have pineapple?   Correct! Let'",
        " " * 65 + "no.",
        None,
        "+",
    ),
    (
        objects.ObjectExistenceTask2,
        "I have an onion, a potato, an asparagus, a pineapple and an onion. Do I have a pineapple?    nice work. I ha",
        " " * 89 + "Yes.",
        None,
        "+",
    ),
    (
        objects.AssociateObjectWithPropertyTask,
        "pineapple in john's basket is hard. how is pineapple?     correct. cucu",
        " " * 53 + "hard.",
        None,
        "+",
    ),
    (
        navigation.TurningTask,
        "Turn right.             You turned right, you are now facing east. Turn",
        "           I turn right.",
        536,
        "+",
    ),
    (navigation.TurningTask, "Turn right." + " " * 61 + "too bad, time out! Turn", "", 728, "0"),
    (navigation.MovingTask, "Move forward.               You moved. Move", "             I move forward.", None, "+"),
    (
        navigation.MovingRelativeTask,
        "Move right.             You turned right, you are now facing east.               You moved. Move",
        "           I turn right.                                          I move forward.",
        None,
        "+",
    ),
    (
        navigation.MovingAbsoluteTask,
        "You are facing north, move east.             You turned right, you are now facing east."
        "               You moved. You",
        "                                I turn right.                                          I move forward.",
        None,
        "+",
    ),
    (
        navigation.PickUpTask,
        "You have an avocado in front of you. Pick up the avocado.                      You picked up the avocado. You",
        " " * 57 + "I pick up the avocado.",
        None,
        "+",
    ),
    (
        navigation.GivingTask,
        'I gave you an asparagus. Give it back to me by saying "I give you an asparagus".'
        "                        You gave me an asparagus. I ga",
        " " * 80 + "I give you an asparagus.",
        None,
        "+",
    ),
    (
        navigation.PickUpAroundAndGiveTask,
        "There is an avocado north from you. Pick it up and give it to me.                      You picked up the avocado."
        "                      You gave me an avocado. Th",
        " " * 65 + "I pick up the avocado." + " " * 26 + "I give you an avocado.",
        None,
        "+",
    ),
    (navigation.CountingInventoryTask, "How many pears do you have?  Correct! How", " " * 27 + "0.", None, "+"),
    (
        navigation.CountingInventoryGivingTask,
        "How many cucumbers do you have?  nice work. I gave you a cucumber. How many cucumbers do you have now?    good job."
        " Now give the cucumber back to me.                      Good! You gave me a cucumber. How many cucumbers do you"
        " have now?     congratulations. How",
        " " * 31 + "0." + " " * 69 + "one." + " " * 43 + "I give you a cucumber." + " " * 65 + "zero.",
        None,
        "+",
    ),
    (
        navigation.LookTask,
        "Look to the north, you are currently facing north.       Congratulations! You are looking in the right direction."
        " Look",
        " " * 50 + "I look.",
        None,
        "+",
    ),
    (
        navigation.LookAroundTask,
        "Look around. You are facing north.       3 directions to go.       2 directions to go.       1 directions to go."
        "       Congratulations! Look",
        " " * 34 + "I look.I turn left." + "       I look.I turn left." * 2 + "       I look.",
        None,
        "+",
    ),
    (
        navigation.FindObjectAroundTask,
        "Pick the avocado next to you.                      Well done! Pick",
        " " * 29 + "I pick up the avocado.",
        None,
        "+",
    ),
]


@pytest.mark.parametrize(
    "kind, environment, learner, bit, reward", COMMAI, ids=lambda row: getattr(row, "__name__", None)
)
def test_commai(kind, environment, learner, bit, reward):
    said, rewards = replay(kind, environment, learner)
    at = len(rewards.rstrip()) - 1
    assert said[:at] == environment[:at]
    assert rewards.strip() == reward
    assert bit is None or at * 8 == bit
    assert environment[at - 1] == " "  # one space stands before the next instance


def test_silence_is_praised_when_the_time_is_over():
    task = repetition.BeSilentTask()
    task.max_time = 415
    said, rewards = talk(sessions(lambda: task), "", 80)
    at, asked = rewards.index("+"), said.index(".") + 1
    praise = said[52:at]  # 52 symbols are 416 bits
    assert said[asked:52].isspace()
    assert praise[:-1] in POSITIVE
    assert praise[-1] == " "


def failures(kind) -> int:
    """Returns after how many wrong answers an instance has failed."""
    talks = sessions(kind, 1, BYTES)
    symbol, _ = talks.step(None)
    wrong = 0
    while not talks.results.tasks[kind.__name__].finished:
        its_turn = kind.hears is None or (talks.channels.is_silent(0) and talks.to_wait[0] <= 1)
        symbol, reward = talks.step(np.array([ord("." if kind.hears else "\1") if its_turn else ord(" ")], np.uint8))
        wrong += int(reward[0] < 0)
    assert not talks.results.tasks[kind.__name__].solved
    return wrong


@pytest.mark.parametrize(
    "kind, questions",
    [
        *[(micro.Micro1Task, 243), (micro.Micro2Task, 157), (micro.Micro4Task, 105), (micro.Micro14Task, 105)],
        *[(micro.Micro7Sub1Task, 105), (micro.Micro19Task, 157), (micro.Micro20Task, 157)],
    ],
)
def test_how_many_questions_an_always_wrong_learner_gets(kind, questions):
    assert failures(kind) == questions


def test_mini():
    talks = sessions(lambda: mini.TaskSet2(), 4, BYTES)
    talks.step(None)
    question = talks.channels._out[0, : talks.channels.tail[0]].tobytes().decode()
    answer = talks.tasks[0].answer
    said, rewards = talk(sessions(lambda: mini.TaskSet2(), 4, BYTES), " " * len(question) + answer, len(question) + 60)
    assert said.startswith(question)
    assert rewards.strip("0 ") == "+"
