"""The originals' dialogues, symbol by symbol: what is said, when, and when the reward comes."""

import re

import pytest
import torch

from aexp_torch.commai import BaseLearner, CommAIEnv, Task, run
from aexp_torch.commai.grid_world import GridWorld
from aexp_torch.commai.schedulers import SequentialTaskScheduler
from aexp_torch.commai.sessions import BITS, BYTES, Sessions
from aexp_torch.commai.tasks import counting, navigation, objects, repetition
from tests.commai.dialogues import replay, sessions, talk


class SilentFor415(repetition.BeSilentTask):
    """Lasts as long as in the transcript."""

    def start(self):
        self.max_time = 415
        super().start()


# The last words belong to the next instance: they show when it begins, and may be others.
COMMAI = [
    (SilentFor415, f"do not say anything.{' ' * 32}nice work. do n", "", 504, "+"),
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
        objects.ListPropertiesOfAnObjectTask,
        "which properties does pineapple have in john's basket?" + " " * 42 + "good job. which",
        " " * 54 + "brown, exotic, hard, rough, sweet, yellow.",
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


GO_ON = [
    (
        objects.ListObjectsWithACertainPropertyTask,
        "which objects are large in john's basket?     the right objects are: beet. please try again. which objects are"
        " large in john's basket?",
        " " * 41 + "spam.",
    ),
    (navigation.CountingInventoryTask, "How many pears do you have?  you failed! You have 0 pears.", " " * 27 + "3."),
]


@pytest.mark.parametrize("kind, environment, learner", GO_ON)
def test_what_goes_on(kind, environment, learner):
    said, rewards = replay(kind, environment, learner)
    assert said == environment
    assert not rewards.strip()


def test_a_scrambled_dialogue():
    environment, learner = "yvybys ceh.    ojeroluhaquheda. ", "           ceh."
    invented = {"repeat": "yvybys", "cat": "ceh", "congratulations": "ojeroluhaquheda"}
    for seed in range(3000):
        talks = sessions(repetition.RepeatWhatISayTask, seed, scrambles=True)
        talks._scramblers[0].invented = invented | {other: word for word, other in invented.items()}
        said, rewards = talk(talks, learner, 40)
        if said.startswith(environment):
            break
    assert said.startswith(environment)
    assert rewards.index("+") == len(environment)


ONE_LETTER = {
    "worlds": {},
    "tasks": {"one": {"type": "tasks.competition.repetition.RepeatCharacterTask"}},
    "scheduler": {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["one"]}},
}


class Timeline(BaseLearner):
    """Says the letter at the end of the question and a period at once, and writes down what it is called with."""

    def __init__(self):
        self.calls, self.heard = [], ""

    def reward(self, reward):
        self.calls.append(("reward", reward))

    def next(self, symbol):
        self.calls.append(("next", symbol))
        self.heard += symbol
        if len(self.heard) % 8 == 1:
            asked = bytes(int(self.heard[at : at + 8], 2) for at in range(0, len(self.heard) - 1, 8)).decode()
            question, period, rest = asked.partition(".")
            said = f"{question[-1]}."[len(rest) :][:1] if period else ""
            self.speech = f"{ord(said or ' '):08b}"
        return self.speech[(len(self.heard) - 1) % 8]


@pytest.mark.parametrize("compat", [False, True])
def test_when_a_bit_is_said_and_when_the_reward_comes(compat):
    """The letter and the period are the bits 48 to 63; then come the praise, a space, and the reward with the next bit."""
    for seed in range(100):
        learner = Timeline()
        run(ONE_LETTER, learner, max_steps=160, seed=seed, compat=compat)
        text = bytes(int(learner.heard[at : at + 8], 2) for at in range(0, 160, 8)).decode()
        if text.startswith("say") and "nice work." in text:
            break
    assert re.fullmatch(r"say \w\.  nice work\. [sr]", text)
    assert learner.calls.count(("reward", 1.0)) == 1
    assert len(learner.calls) == 161
    at = learner.calls.index(("reward", 1.0))
    assert at == 152  # calls of next: those with the bits 0 to 151
    assert learner.calls[at + 1] == ("next", learner.heard[152])
    assert [call for call in learner.calls if call[0] == "reward"] == [("reward", 1.0)]


def test_the_same_in_a_stream():
    """The timestep with the first bit of the next instance has the reward, in the lane that was right."""
    env = CommAIEnv(ONE_LETTER, "bit", num_envs=2)
    learner, timestep, rewards, heard = Timeline(), env.reset(), [], []
    for _ in range(230):
        bits = timestep.observation["symbol"]
        rewards.append(timestep.reward.tolist())
        heard.append(bits.tolist())
        said = [int(learner.next(str(int(bits[0])))), int("00100000"[(len(rewards) - 1) % 8])]
        timestep = env.step({"symbol": torch.tensor(said, dtype=torch.uint8)})
    codes = [int("".join(str(bits[0]) for bits in heard[at : at + 8]), 2) for at in range(0, 224, 8)]
    text = bytes(codes).decode()
    praise = re.match(r"(say|repeat) \w\. +([\w ]+\.) (say|repeat)", text)
    at = 8 * (praise.end() - len(praise[3]))
    assert [index for index, reward in enumerate(rewards) if reward != [0, 0]] == [at]
    assert rewards[at] == [1, 0]


class Idle(Task):
    """Puts things into the world, and only waits."""

    needs_world = True

    def start(self):
        self.world.put((0, -1), "beet")
        self.world.put((1, 0), "block", pickable=False)
        self.world.put((0, 1), "bush", pickable=False, traversable=True)
        self.world.accepts = ["onion"]
        self.say("go.")


COMMANDS = [
    ("I look.", "There is a beet."),
    ("I move forward.", "You can't move."),
    ("I pick up the pear.", "There is no pear here."),
    ("I pick up the beet.", "You picked up the beet."),
    ("I look.", "There is nothing here."),
    ("i look.", ""),
    ("I pick up the beet.", "There is no beet here."),
    ("I give you a beet.", "I haven't asked you for a beet."),
    ("I give you an avocado.", "I haven't asked you for an avocado."),
    ("I give you a onion.", "You gave me an onion."),
    ("I turn right.", "You turned right, you are now facing east."),
    ("I pick up the block.", "You can't pick up the block."),
    ("well, I move forward.", "You can't move."),
    ("I turn right.", "You turned right, you are now facing south."),
    ("I move forward.", "You moved."),
    ("I turn left.", "You turned left, you are now facing east."),
]


class SaysTwice(Task):
    """Has more to say at the beginning than fits into the time of the task before."""

    max_time, hears, separator = 100, b"", False

    def start(self):
        self.say("one. ")
        self.say("two. ")


class Short(Task):
    max_time, hears, separator = 4, b"", False

    def start(self):
        self.say("go.")


def test_a_beginning_has_the_time_of_its_own_task():
    talks = Sessions([SequentialTaskScheduler([Short(), SaysTwice()])], BYTES, [0])
    said, _ = talk(talks, "", 14)
    assert said == "go. one. two. "


@pytest.mark.parametrize("rules", [BITS, BYTES])
def test_feedback_and_question_are_scrambled_one_by_one(rules):
    class Asks(Task):
        max_time = 10_000

        def start(self):
            self.say("x")

        def hear(self, text):
            self.sessions.ask(self.lane, "cd", "ab")

    talks = sessions(Asks, rules=rules, scrambles=True)
    said, _ = talk(talks, " .", 8)
    words = talks._scramblers[0].invented
    assert said[1:].strip() == words["ab"] + words["cd"]


def test_what_the_world_replies():
    """A reply begins with the symbol after the period."""
    learner, environment = " " * 4, "go. "
    for command, reply in COMMANDS:
        environment += " " * len(command) + reply
        learner += command + " " * len(reply)
    task = Idle(GridWorld())
    task.max_time = 10_000
    said, _ = talk(sessions(lambda: task), learner, len(environment))
    assert said == environment
    assert task.world.position == (0, 1)
    assert task.world.inventory == {"beet": 1, "onion": -1}  # nobody counts before something is given
    assert task.world.given == {"onion": 1}
