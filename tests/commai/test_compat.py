"""What both originals did wrong, kept where that is asked for."""

import random
from dataclasses import replace

import numpy as np
import pytest

from aexp_torch.commai import BaseLearner, CommAIEnv, Conversation, channels, run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.learners import SampleRepeatingLearner, SampleSilentLearner
from aexp_torch.commai.presets import COMMAI
from aexp_torch.commai.sessions import BITS, BYTES, CHARACTERS, Sessions
from aexp_torch.commai.tasks import repetition, sample
from aexp_torch.commai.tasks.baskets import BASKETS
from aexp_torch.testing import check_env
from tests.commai.bitwise import Bitwise, as_bits
from tests.commai.dialogues import replay, sessions, talk
from tests.commai.solvers import Player, until
from tests.commai.test_competition import CASES, ends_late, played, saying

OLD_BITS, OLD_CHARACTERS, OLD_BYTES = (rules.with_defects() for rules in (BITS, CHARACTERS, BYTES))
CLASSES = {name: f"tasks.competition.{module}.{name}" for module, names in COMMAI.items() for name in names.split()}
CLASSES["RepeatWhatISay2Task"] = "tasks.competition.repetition.RepeatWhatISay2Task"
WORDS = [".", "yes.", "no.", "Yes.", "No.", "I turn left.", "I look.", "I move forward.", "0.", "one.", "red.", "none."]


def config(*names, scheduler="SequentialTaskScheduler", **arguments):
    return {
        "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
        "tasks": {name: {"type": CLASSES[name], "world": "gw"} for name in names},
        "scheduler": {"type": f"core.scheduler.{scheduler}", "args": {"tasks": list(names), **arguments}},
    }


def babble(rng: random.Random) -> str:
    """Says nothing for a while, then a word, or letters, or periods."""
    return rng.choice([" " * rng.randint(1, 60), rng.choice(WORDS), rng.choice("./nsx!") * rng.randint(1, 3)])


def compared(one: dict, compat: bool, bits: int, seed: int) -> None:
    """Checks what is said and paid against the description, under random words."""
    ours, theirs = Conversation(one, "bit", seed=seed, compat=compat), Bitwise(scheduler_maker(one), seed, compat)
    rng, bit, pending = random.Random(seed), None, ""
    for step in range(bits):
        expected, got = theirs.next(bit), ours.next(bit)
        assert got == expected, f"bit {step}"
        pending = pending or as_bits(babble(rng))
        bit, pending = pending[0], pending[1:]


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_it_goes_bit_by_bit_as_described(name, compat):
    compared(config(name), compat, 4000, 0)


@pytest.mark.parametrize("compat", [False, True])
def test_the_whole_session_goes_bit_by_bit_as_described(compat):
    compared(config(*CLASSES), compat, 60_000, 1)


@pytest.mark.slow
@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_it_goes_on_bit_by_bit_as_described(name, compat):
    compared(config(name), compat, 100_000, 2)


@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_it_is_a_source(mode):
    check_env(lambda: CommAIEnv("commai", mode, num_envs=3, compat=True))


@pytest.mark.parametrize(
    "preset, rules",
    [("commai", OLD_BITS), ("nano", OLD_CHARACTERS), ("lookup", OLD_CHARACTERS), ("challenge", OLD_BYTES)],
)
def test_nothing_grows_under_random_symbols(preset, rules):
    make, rng = scheduler_maker(preset), np.random.default_rng(0)
    talks = Sessions([make() for _ in range(8)], rules, range(8))
    talks.step(None)
    for symbols in rng.integers(0, 256, (4000, 8)).astype(np.uint8):
        talks.step(symbols)
    assert talks.channels._out.shape[1] <= 1024
    assert talks.channels._heard.shape[1] <= 8192


@pytest.mark.parametrize("preset, rules", [("commai", OLD_BYTES), ("challenge", OLD_BYTES)])
def test_a_lane_alone_goes_like_one_of_many(preset, rules):
    make = scheduler_maker(preset)
    alone, both = Sessions([make()], rules, [3]), Sessions([make(), make()], rules, [3, 99])
    rng, pending, expected, got = random.Random(4), "", alone.step(None), both.step(None)
    for _ in range(4000):
        assert (expected[0][0], str(expected[1][0])) == (got[0][0], str(got[1][0]))
        pending = pending or babble(rng)
        symbol, pending = ord(pending[0]), pending[1:]
        expected, got = alone.step(np.array([symbol], np.uint8)), both.step(np.array([symbol, 46], np.uint8))


def test_what_is_said_while_it_praises_turns_the_reward():
    said, rewards = replay(repetition.RepeatCharacterTask, "say N.  cwrong! sa", "      N..", OLD_BITS)
    assert said.startswith("say N.  cwrong! ")
    assert rewards.strip() == "0"
    said, rewards = replay(repetition.RepeatCharacterTask, "say N.  congratulations. sa", "      N..")
    assert rewards.strip() == "+"


def test_the_last_bit_before_the_next_instance_is_lost():
    """A slash without it is a period, which is judged; the verdict takes the place of the second space."""
    learner = "      N." + " " * 9 + "/"
    said, rewards = replay(repetition.RepeatCharacterTask, "say N.  nice work. you failed!sa", learner, OLD_BITS)
    assert said.startswith("say N.  nice work. you failed!")
    assert rewards.strip() == "0"
    assert rewards.index("0") == 30


class SaysPeriods(BaseLearner):
    """Says nothing but periods."""

    def __init__(self):
        self.place = -1

    def next(self, symbol):
        self.place = (self.place + 1) % 8
        return as_bits(".")[self.place]


STUCK = [
    (SaysPeriods, "RepeatCharacterTask"),
    (SampleRepeatingLearner, "ObjectExistenceTask2"),
    (SampleRepeatingLearner, "SimpleCountingTask"),
]


@pytest.mark.parametrize("learner, name", STUCK)
def test_who_speaks_all_the_time_hears_no_end(learner, name, monkeypatch):
    monkeypatch.setattr(channels, "MOST_HEARD", 512)
    conversation, mind, bit = Conversation(config(name), "bit", compat=True), learner(), None
    for _ in range(30_000):
        bit = mind.next(conversation.next(bit)[0])
    assert conversation.results.tasks[name].finished == 0
    assert conversation.sessions.channels._heard.shape[1] == 512
    assert conversation.sessions.channels._out.shape[1] <= 512
    assert run(config(name), learner, max_steps=30_000).tasks[name].finished > 1


@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_rewards_are_booked_on_the_next_task(mode):
    two, steps = config("BeSilentTask", "RepeatWhatISayTask"), 8000
    right, wrong = (
        run(two, SampleSilentLearner, mode=mode, max_steps=steps, compat=compat) for compat in (False, True)
    )
    assert right.tasks["BeSilentTask"].reward == right.tasks["BeSilentTask"].finished > 2
    assert right.tasks["RepeatWhatISayTask"].reward == 0
    assert wrong.tasks["BeSilentTask"].reward == 0
    assert wrong.tasks["RepeatWhatISayTask"].reward == wrong.tasks["BeSilentTask"].finished > 2
    capped = run(two, SampleSilentLearner, mode=mode, max_steps=steps, compat=True, max_reward_per_task=2)
    assert capped.tasks["RepeatWhatISayTask"].reward == 2


@pytest.mark.parametrize("compat", [False, True])
def test_two_spaces_follow_a_time_out_without_a_word(compat):
    conversation, learner, bit, rewards = (
        Conversation(config("LookTask"), compat=compat),
        SampleSilentLearner(),
        None,
        [],
    )
    for _ in range(1100):
        symbol, reward = conversation.next(bit)
        rewards.append(reward)
        bit = learner.next(symbol)
    assert [at for at, reward in enumerate(rewards) if reward is not None] == [1016]


@pytest.mark.parametrize("rules", [OLD_BITS, None])
def test_an_answer_in_the_step_of_the_time_out(rules):
    options = {} if rules is None else {"rules": rules}
    talks = sessions(lambda: repetition.RepeatCharacterTask(), 0, **options)
    said, _ = talk(sessions(lambda: repetition.RepeatCharacterTask(), 0, **options), "", 12)
    answer = said.split()[1]
    said, rewards = talk(talks, " " * 123 + answer, 145)  # 125 symbols are 1000 bits
    assert rewards.strip() == ("0" if rules is None else "+")


def test_failures_count_as_successes():
    def order(compat):
        names = []
        one = config("TurningTask", "LookTask", scheduler="IncrementalTaskScheduler", success_threshold=2)
        run(one, SampleSilentLearner, max_steps=8000, on_task=names.append, compat=compat)
        return "".join(name[0] for name in names)

    assert set(order(False)) == {"T"}
    assert order(True).startswith("TTTLLTTL")  # it is told once the next one has been drawn


def test_the_second_of_a_pair_needs_the_first():
    names = []
    order = {"tasks_dependencies": [["VerbTask", "TurningTask"]], "unlock_threshold": 1}
    one = config("VerbTask", "TurningTask", scheduler="DependenciesTaskScheduler", **order)
    run(one, SampleSilentLearner, mode="bit", max_steps=20_000, on_task=names.append)
    assert set(names) == {"VerbTask"}  # which is never solved


def test_what_was_earned_unlocks_for_the_next_task():
    names = ["BeSilentTask", "TurningTask", "LookTask"]
    needs = {"tasks_dependencies": [["TurningTask", "LookTask"]], "unlock_threshold": 1}
    one = config(*names, scheduler="DependenciesTaskScheduler", **needs)
    locked, unlocked = (
        run(one, SampleSilentLearner, max_steps=40_000, compat=compat).tasks for compat in (False, True)
    )
    assert set(locked) == {"BeSilentTask", "TurningTask"}
    assert set(unlocked) == set(names)


@pytest.mark.parametrize("compat", [False, True])
def test_the_challenge_ends_before_its_last_reward(compat):
    class Silent(BaseLearner):
        def next(self, symbol):
            return " "

        def reward(self, reward):
            heard.append(reward)

    heard = []
    one = config("BeSilentTask", scheduler="ConsecutiveTaskScheduler", success_threshold=2)
    results = run(one, Silent(), mode="byte", compat=compat)
    assert results.tasks["BeSilentTask"].solved == 2
    assert sum(heard) == (1 if compat else 2)


OBJECTS = {
    "ListObjectsWithACertainPropertyTask": "the right objects are",
    "NameAnObjectWithAPropertyTask": "one right answer is",
    "HowManyObjectsHaveACertainPropertyTask": "the right answer is",
    "WhoHasACertainObjectWithACertainPropertyTask": "the right baskets are",
    "ListThePropertiesThatAnObjectHasInABasketOnlyTask": "the right properties are",
    "ListThePropertiesThatAnObjectHasInAllBasketsTask": "the right properties are",
}


@pytest.mark.parametrize("name", OBJECTS)
def test_tasks_about_objects_ignore_wrong_answers(name):
    case = replace(CASES[name], late=rf"(?<!slow\. ){OBJECTS[name]}: [\w ]+\.")
    for lane in played(name, [Player(saying("spam.", True)) for _ in range(4)], 2, OLD_BITS):
        for instance in lane:
            assert instance.reward == 0
            assert "try again" not in instance.environment
            assert "slow" not in instance.environment
            assert ends_late(case, instance)


def test_what_all_baskets_share_are_objects():
    def solver(player):
        yield until(r"in all baskets\?$")
        yield " ".join([*(set(BASKETS["john"]) & set(BASKETS["mary"])), "none"]) + "."

    name = "ListThePropertiesThatAnObjectHasInAllBasketsTask"
    rewards = [
        {
            instance.reward
            for lane in played(name, [Player(solver) for _ in range(5)], 2, *rules)
            for instance in lane
            if "mango" not in instance.environment  # which shares nothing
        }
        for rules in ([], [OLD_BITS])
    ]
    assert rewards == [{0}, {1}]


def test_how_often_a_property_is_no_word():
    shares = []
    for rules in (OLD_BITS, None):
        schedulers = [scheduler_maker(config("HowManyObjectsHaveACertainPropertyTask"))() for _ in range(1000)]
        talks = Sessions(schedulers, rules or BITS, range(1000))
        talks.step(None)
        shares.append(np.mean(["0" in task.answers for task in talks.tasks]))
    assert abs(shares[0] - 1 / 30) < 0.02
    assert abs(shares[1] - 6 / 35) < 0.04


def test_an_answer_without_a_period_is_never_heard():
    for rules, heard in ((BITS, True), (OLD_BITS, False), (BYTES, True), (OLD_BYTES, False)):
        asked, _ = talk(sessions(sample.RepeatingCharTask, 0, rules), "", 1)
        _, rewards = talk(sessions(sample.RepeatingCharTask, 0, rules), " " + asked, 110)
        assert ("+" in rewards) == heard


def test_an_echo_passes_for_an_answer_where_the_task_hears_while_it_speaks():
    for rules, reward in ((BITS, "0"), (OLD_BITS, "+")):
        prompt, _ = talk(sessions(lambda: repetition.VerbTask(), 0, rules), "", 30)
        _, rewards = talk(sessions(lambda: repetition.VerbTask(), 0, rules), prompt, 60)
        assert rewards.strip() == reward
