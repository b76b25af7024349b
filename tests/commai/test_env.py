"""CommAIEnv, and what runs a learner of the originals."""

import numpy as np
import pytest
import torch

from aexp_torch.commai import CommAIEnv, Conversation, run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.learners import SampleRepeatingLearner, SampleSilentLearner
from aexp_torch.commai.sessions import BITS, BYTES, Sessions
from aexp_torch.errors import SpecError
from aexp_torch.testing import check_env

PRESETS = [("commai", "bit"), ("commai", "byte"), ("micro", "byte"), ("mini", "byte"), ("challenge", "byte")]
WORDS = [b"yes.", b"no.", b"I turn left.", b"I look.", b"true.", b"I pick up the apple.", b"banana.", b"none."]


@pytest.mark.parametrize("config, mode", PRESETS)
@pytest.mark.parametrize("options", [{"num_envs": 3}, {"num_envs": 1, "scramble": True}])
def test_it_is_a_source(config, mode, options):
    check_env(lambda: CommAIEnv(config, mode, **options))


def babble(seed: int, length: int):
    """Says words, spaces and single symbols."""
    rng, said = np.random.default_rng(seed), []
    while len(said) < length:
        if rng.random() < 0.3:
            said += WORDS[rng.integers(len(WORDS))]
        else:
            said += [int(rng.choice([32, 32, 46, 49, 97]))] * int(rng.integers(1, 12))
    return said[:length]


@pytest.mark.parametrize("config, mode", PRESETS)
@pytest.mark.parametrize("seed", range(3))
def test_a_lane_alone_goes_like_one_of_many(config, mode, seed):
    """The only lane is stepped without arithmetic over lanes."""
    make, rules = scheduler_maker(config), BITS if mode == "bit" else BYTES
    alone = Sessions([make()], rules, [seed])
    both = Sessions([make(), make()], rules, [seed, 99])
    both.drills.useful = False  # they draw questions in advance
    expected, got = alone.step(None), both.step(None)
    for symbol in babble(seed, 4000):
        np.testing.assert_array_equal(expected[0][0], got[0][0])
        np.testing.assert_array_equal(expected[1][0], got[1][0])
        expected = alone.step(np.array([symbol], np.uint8))
        got = both.step(np.array([symbol, 32], np.uint8))


def test_bits_are_those_of_the_symbols():
    bits, symbols = Conversation("commai", "bit", seed=4), Conversation("commai", "bit", seed=4)
    said, bit = "", None
    for _ in range(64):
        symbol, _ = bits.next(bit)
        said, bit = said + symbol, "0"
    heard, text = None, ""
    for _ in range(8):
        code, _ = symbols._step(heard)
        text, heard = text + chr(code), 0
    assert "".join(f"{ord(letter):08b}" for letter in text) == said


def test_bits_may_be_numbers():
    one, other = Conversation("commai", "bit"), Conversation("commai", "bit")
    bits = np.random.default_rng(0).integers(0, 2, 4000)
    said = [one.next(str(bit)) for bit in bits[:2000]] + [one.next(int(bit)) for bit in bits[2000:]]
    assert said == [other.next(bit) for bit in bits]


def test_rewards_come_as_in_the_originals():
    bits = Conversation("commai", "bit")
    assert {bits.next("0" if step else None)[1] for step in range(200)} == {None}
    assert {Conversation("mini", "byte").next(None)[1]} == {0}


def test_a_learner_hears_the_reward_first_then_the_symbol():
    class Learner:
        heard = []

        def reward(self, reward):
            self.heard.append(("reward", reward))

        def next(self, symbol):
            self.heard.append(("next", symbol))
            return "."

    tasks = []
    results = run("mini", Learner(), mode="byte", max_steps=500, on_task=tasks.append)
    kinds = [kind for kind, _ in Learner.heard]
    assert kinds == ["reward", "next"] * 500
    assert len(tasks) == sum(task.instances for task in results.tasks.values())
    assert set(tasks) == set(results.tasks)


@pytest.mark.parametrize("config, mode", PRESETS)
@pytest.mark.parametrize("learner", [SampleRepeatingLearner, SampleSilentLearner])
def test_sample_learners(config, mode, learner):
    results = run(config, learner, mode=mode, max_steps=30_000)
    assert sum(task.finished for task in results.tasks.values()) > 0


def test_the_original_configuration_is_read(tmp_path):
    path = tmp_path / "tasks_config.json"
    path.write_text(
        """{"worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
            "tasks": {"m1": {"type": "tasks.competition.navigation.TurningTask", "world": "gw"},
                      "a1": {"type": "tasks.competition.objects_properties.ListPropertiesofAnObjectTask"}},
            "scheduler": {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["m1", "a1"]}}}"""
    )
    results = run(path, SampleSilentLearner, max_steps=20_000)
    assert set(results.tasks) == {"TurningTask", "ListPropertiesOfAnObjectTask"}


def test_a_python_configuration_is_read(tmp_path):
    path = tmp_path / "tasks_config.py"
    path.write_text(
        "from aexp_torch.commai.schedulers import RandomTaskScheduler\n"
        "from aexp_torch.commai.tasks.repetition import VerbTask\n"
        "def create_tasks():\n    return RandomTaskScheduler([VerbTask()])\n"
    )
    assert set(run(path, SampleSilentLearner, max_steps=2000).tasks) == {"VerbTask"}


GOOD = {
    "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
    "tasks": {"m1": {"type": "tasks.competition.navigation.TurningTask", "world": "gw"}},
    "scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["m1"]}},
}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"scheduler": 3}, "expected 'scheduler' .* to be a dict, got 3"),
        ({"tasks": {"m1": {"type": "tasks.competition.navigation.TurningTask"}}}, "expected a world for 'm1'"),
        ({"tasks": {"m1": {}}}, "expected a type for 'm1'"),
        ({"tasks": {"m1": {"type": "os.path.join"}}}, "expected a subclass of Task"),
        ({"tasks": {"m1": {"type": "no.such.Thing"}}}, "expected the path of a Task class"),
        ({"tasks": {"m1": {"type": ""}}}, "expected the path of a Task class"),
        ({"worlds": {"gw": {"type": "tasks.competition.navigation.TurningTask"}}}, "expected a subclass of World"),
        ({"scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["m2"]}}}, "got 'm2'"),
        ({"scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {}}}, "expected arguments that fit"),
        ({"scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": []}}}, "one task or more"),
        ({"scheduler": {"type": "core.scheduler.NoScheduler", "args": {"tasks": ["m1"]}}}, "path of a Scheduler"),
    ],
)
def test_wrong_configurations_are_refused_at_once(wrong, message):
    run(GOOD, SampleSilentLearner, max_steps=10)
    with pytest.raises(SpecError, match=message):
        CommAIEnv(GOOD | wrong)


class Says:
    def __init__(self, symbol):
        self.symbol = symbol

    def reward(self, reward):
        pass

    def next(self, symbol):
        return self.symbol


def test_wrong_files_and_arguments(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "raises.py").write_text("raise ValueError('no')")
    (tmp_path / "nothing.py").write_text("")
    for name, message in {
        "broken.json": "expected JSON",
        "empty.json": "expected worlds, tasks, scheduler",
        "config.toml": "ends in .json or .py",
        "raises.py": "to be imported, ValueError: no",
        "nothing.py": "a function create_tasks",
        "absent.json": "expected a configuration: a file, or one of the presets",
    }.items():
        with pytest.raises(SpecError, match=message):
            CommAIEnv(tmp_path / name)
    with pytest.raises(SpecError, match="mode 'bit' or 'byte'"):
        CommAIEnv("mini", "word")
    with pytest.raises(SpecError, match="num_envs of at least 1"):
        CommAIEnv("mini", num_envs=0)
    for symbol, mode in (("2", "bit"), ("ab", "byte"), ("\u2022", "byte"), (None, "byte"), (2, "bit")):
        with pytest.raises(SpecError, match="from the learner in"):
            run("mini", Says(symbol), mode=mode, max_steps=50)
    with pytest.raises(SpecError, match="dotted path"):
        run("mini", "no.such.Learner")
    with pytest.raises(SpecError, match="lacks \\['next', 'reward'\\]"):
        run("mini", object())


def test_scrambled_words_are_understood_and_no_english():
    plain, scrambled = CommAIEnv("commai", num_envs=4), CommAIEnv("commai", num_envs=4, scramble=True)
    said = []
    for env in (plain, scrambled):
        symbols = [env.reset().observation["symbol"]]
        for _ in range(8 * 40 - 1):
            symbols.append(env.step({"symbol": torch.zeros(4, dtype=torch.uint8)}).observation["symbol"])
        bits = torch.stack(symbols).view(40, 8, 4).numpy()
        said.append(["".join(map(chr, np.packbits(bits[:, :, lane], 1)[:, 0])) for lane in range(4)])
    assert all(a != b for a, b in zip(*said))


@pytest.mark.parametrize("config, mode", PRESETS)
def test_nothing_grows_under_random_symbols(config, mode):
    make = scheduler_maker(config)
    talks = Sessions([make() for _ in range(16)], BITS if mode == "bit" else BYTES, list(range(16)))
    rng = np.random.default_rng(0)
    talks.step(None)
    for symbols in rng.integers(0, 256, (6000, 16)).astype(np.uint8):
        talks.step(symbols)
    assert talks.channels._out.shape[1] <= 1024
    assert talks.channels._heard.shape[1] <= 16_384
