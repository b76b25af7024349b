"""CommAIEnv, and what runs a learner of the originals."""

import zlib

import numpy as np
import pytest
import torch

from aexp_torch.commai import CommAIEnv, Conversation, run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.learners import SampleMemorizingLearner, SampleRepeatingLearner, SampleSilentLearner
from aexp_torch.commai.sessions import BITS, BYTES, Sessions
from aexp_torch.errors import EndOfStream, SpecError
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
            said += [int(rng.choice([32, 32, 46, 49, 97, 195, 169]))] * int(rng.integers(1, 12))
    return said[:length]


@pytest.mark.parametrize("config, mode", [*PRESETS, ("challenge", "bit"), ("micro", "bit")])
@pytest.mark.parametrize("seed", range(3))
def test_a_lane_alone_goes_like_one_of_many(config, mode, seed):
    """The only lane is stepped without arithmetic over lanes."""
    make, rules = scheduler_maker(config), BITS if mode == "bit" else BYTES
    alone = Sessions([make()], rules, [seed])
    both = Sessions([make(), make()], rules, [seed, 99])
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
    assert one.next(None) == other.next(None)
    said = [one.next(str(bit)) for bit in bits[:2000]] + [one.next(int(bit)) for bit in bits[2000:]]
    assert said == [other.next(bit) for bit in bits]


def test_a_conversation_has_a_beginning_and_an_end():
    task = {"type": "tasks.challenge.round1.challenge_micro.Micro1Task"}
    scheduler = {"type": "core.scheduler.ConsecutiveTaskScheduler", "args": {"tasks": ["one"], "success_threshold": 1}}
    one = Conversation({"worlds": {}, "tasks": {"one": task}, "scheduler": scheduler}, "byte")
    with pytest.raises(SpecError, match="expected None at the beginning, as the environment speaks first, got ' '"):
        one.next(" ")
    said, _ = one.next(None)
    while not one.over:
        said, _ = one.next(" ")
    with pytest.raises(EndOfStream, match="the conversation is over"):
        one.next(" ")


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


@pytest.mark.parametrize("other", [{"mode": "byte"}, {"num_envs": 3}, {"scramble": True}, {"compat": True}])
def test_a_state_of_other_conversations_is_refused(other):
    env = CommAIEnv("commai", "bit", num_envs=2)
    env.reset()
    (name,) = other
    with pytest.raises(SpecError, match=f"expected a state of 'commai' with .*, got one with {{'{name}': "):
        CommAIEnv("commai", **{"mode": "bit", "num_envs": 2, "name": env.name} | other).load_state_dict(
            env.state_dict()
        )


def test_the_seed_of_a_lane_is_the_one_that_is_documented():
    env = CommAIEnv("mini", "byte", num_envs=2, seed=5, name="talk", on_missing="repeat")
    said = [timestep.observation["symbol"][1] for timestep, _ in zip(env, range(300))]
    spawn_key = zlib.crc32(b"talk"), 0, 1
    one = Conversation("mini", "byte", int(np.random.SeedSequence(5, spawn_key=spawn_key).generate_state(1)[0]))
    assert "".join(map(chr, said)) == one.next(None)[0] + "".join(one.next("\0")[0] for _ in range(299))


@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_learners_hear_whole_rewards_as_integers(mode):
    class Learner(SampleRepeatingLearner):
        heard = []

        def reward(self, reward):
            self.heard.append(reward)

    run("challenge" if mode == "byte" else "commai", Learner(), mode=mode, max_steps=20_000)
    assert set(map(type, Learner.heard)) == {int}


def needing(threshold: float) -> dict:
    """Returns a configuration in which turning depends on silence."""
    tasks = {
        "silent": {"type": "tasks.competition.repetition.BeSilentTask"},
        "count": {"type": "tasks.competition.counting.SimpleCountingTask"},
    }
    arguments = {
        "tasks": list(tasks),
        "tasks_dependencies": [["silent", "count"]],
        "unlock_threshold": threshold,
    }
    scheduler = {"type": "core.scheduler.DependenciesTaskScheduler", "args": arguments}
    return {"worlds": {}, "tasks": tasks, "scheduler": scheduler}


@pytest.mark.parametrize(
    "threshold, limit, instances", [(0, None, 0), (2.0, None, 2), (1.5, None, 2), (3, 3, 3), (3, 2, 99)]
)
def test_what_unlocks_a_task(threshold, limit, instances):
    """What the limit takes away does not count, as CommAI-env has it."""
    names = []
    run(
        needing(threshold),
        SampleSilentLearner,
        mode="bit",
        max_steps=30_000,
        max_reward_per_task=limit,
        on_task=names.append,
    )
    assert len(names) > 10
    assert min(len(names), names.index("SimpleCountingTask") if "SimpleCountingTask" in names else 99) >= min(
        instances, 10
    )
    assert ("SimpleCountingTask" in names) == (instances < 99)


@pytest.mark.parametrize(
    "said, fails", [(b"\xff", 0), (b"\xc3", 0), (b"\xc3 ", 0), (b"\xc3\xa9", 1), (b"\xe2\x82\xac", 1), (b"\xc3 a", 1)]
)
def test_letters_of_several_bytes_are_heard_once_they_are_whole(said, fails):
    """What is none is silence."""
    task = {"silent": {"type": "tasks.competition.repetition.BeSilentTask"}}
    scheduler = {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["silent"]}}
    talks = Sessions([scheduler_maker({"worlds": {}, "tasks": task, "scheduler": scheduler})()], BITS, [0])
    talks.step(None)
    for code in said[:-1]:
        talks.step(np.array([code], np.uint8))
        assert not talks.tasks[0].failed
    talks.step(np.array([said[-1]], np.uint8))
    assert talks.tasks[0].failed == fails


def test_wrong_arguments(tmp_path):
    with pytest.raises(SpecError, match="mode 'bit' or 'byte'"):
        CommAIEnv("mini", "word")
    with pytest.raises(SpecError, match="num_envs of at least 1"):
        CommAIEnv("mini", num_envs=0)
    with pytest.raises(SpecError, match="max_reward_per_task of at least 0, got -1"):
        CommAIEnv("mini", max_reward_per_task=-1)
    for symbol, mode in (("2", "bit"), ("ab", "byte"), ("\u2022", "byte"), (None, "byte"), (2, "bit")):
        with pytest.raises(SpecError, match="from the learner in"):
            run("mini", Says(symbol), mode=mode, max_steps=50)
    with pytest.raises(SpecError, match="dotted path"):
        run("mini", "no.such.Learner")
    with pytest.raises(SpecError, match="lacks \\['next', 'reward'\\]"):
        run("mini", object())


def test_the_memorizing_learner_says_what_it_heard_in_bits_too():
    for mode, steps in (("bit", 20_000), ("byte", 3_000)):
        task = run("RepeatWhatISayTask", SampleMemorizingLearner, mode=mode, max_steps=steps).tasks[
            "RepeatWhatISayTask"
        ]
        assert task.solved == task.finished > 20, mode


def test_many_lanes_are_scrambled_like_one():
    config = CommAIEnv("Micro4Task", "byte").config
    alone, many = (CommAIEnv(config, "byte", count, scramble=True, seed=7) for count in (1, 3))
    for one, other in zip(echoed(alone), echoed(many), strict=True):
        assert one == other


def echoed(env, steps=600):
    """What the first lane of an env says to a learner that repeats it, and its rewards."""
    timestep, said = env.reset(), []
    for _ in range(steps):
        timestep = env.step({"symbol": timestep.observation["symbol"]})
        said.append((int(timestep.observation["symbol"][0]), float(timestep.reward[0])))
    return said


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


ONE_SUCCESS = {
    "worlds": {},
    "tasks": {"silent": {"type": "tasks.competition.repetition.BeSilentTask"}},
    "scheduler": {
        "type": "core.scheduler.ConsecutiveTaskScheduler",
        "args": {"tasks": ["silent"], "success_threshold": 1},
    },
}


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_a_scheduler_without_more_tasks_ends_its_lane(mode, num_envs):
    env = CommAIEnv(ONE_SUCCESS, mode, num_envs)
    timestep, ends, total = env.reset(), 0, 0.0
    silence = [32] if mode == "byte" else [0, 0, 1, 0, 0, 0, 0, 0]
    for step in range(4000):
        before = timestep
        timestep = env.step({"symbol": torch.full((num_envs,), silence[step % len(silence)], dtype=torch.uint8)})
        assert torch.equal(timestep.first(), before.last()) and not timestep.truncated().any()
        ends, total = ends + int(timestep.last().sum()), total + float(timestep.reward.sum())
    due = total - ends  # the reward of a symbol's first bit, LAST with its last
    assert 0 <= due <= (num_envs if mode == "bit" else 0) and ends > 3 * num_envs
    results = env.results.tasks["BeSilentTask"]
    assert results.solved == results.finished == total and results.instances <= total + num_envs


@pytest.mark.parametrize("mode, length, shown", [("byte", 20, 20), ("bit", 20, 23), ("bit", 23, 23)])
def test_conversations_are_cut_off(mode, length, shown):
    env = CommAIEnv("commai", mode, num_envs=2, max_episode_steps=length, on_missing="sample")
    assert env.episodic and env.max_episode_steps == shown and not CommAIEnv("commai").episodic
    kinds = torch.stack([timestep.step_type for timestep, _ in zip(env, range(3 * (shown + 1)))])
    assert kinds[:, 0].tolist() == 3 * [0, *[1] * (shown - 1), 2] and torch.equal(kinds[:, 0], kinds[:, 1])


def test_what_is_said_at_the_end_of_a_conversation_is_not_heard_in_the_next():
    said = []
    for last in (32, 46):
        env = CommAIEnv("micro", "byte", num_envs=2, max_episode_steps=5)
        said.append([env.reset().observation["symbol"].tolist()])
        for step in range(40):
            symbol = last if step % 6 == 5 else 97
            timestep = env.step({"symbol": torch.full((2,), symbol, dtype=torch.uint8)})
            said[-1].append([timestep.reward.tolist(), timestep.observation["symbol"].tolist()])
    assert said[0] == said[1]


@pytest.mark.parametrize("mode", ["bit", "byte"])
def test_instructions_are_what_an_instance_begins_with(mode):
    env = CommAIEnv("commai", mode, num_envs=2, instructions=True)
    timestep, silence = env.reset(), [0, 0, 1, 0, 0, 0, 0, 0] if mode == "bit" else [32]
    told = [bytes(text).rstrip(b"\0").decode() for text in timestep.observation["text:instruction"].numpy()]
    symbols = []
    for step in range(20 * len(silence)):
        symbols.append(timestep.observation["symbol"].numpy())
        timestep = env.step({"symbol": torch.full((2,), silence[step % len(silence)], dtype=torch.uint8)})
    letters = np.array(symbols) if mode == "byte" else np.packbits(symbols, 0)
    for lane, text in enumerate(told):
        assert len(text) > 5 and text[:20] == bytes(letters[: len(text), lane]).decode().strip()
    assert not CommAIEnv("micro", instructions=True).reset().observation["text:instruction"].any()
    restored = CommAIEnv("commai", mode, num_envs=2, instructions=True)
    restored.load_state_dict(env.state_dict())
    action = {"symbol": torch.zeros(2, dtype=torch.uint8)}
    shown = [one.step(action).observation["text:instruction"] for one in (env, restored)]
    assert torch.equal(*shown)


def test_a_state_of_other_tasks_is_refused():
    env = CommAIEnv("Micro4Task", num_envs=2, name="talk")
    env.reset()
    with pytest.raises(
        SpecError, match=r"of 'talk' with \{'tasks': \['Micro1Task', .*\]\}, got one with \{'tasks': \['Micro4Task'\]\}"
    ):
        CommAIEnv("micro", num_envs=2, name="talk").load_state_dict(env.state_dict())


def test_a_conversation_is_shown_as_text():
    env = CommAIEnv("micro", "byte", num_envs=2, render_mode="ansi")
    timestep = env.reset()
    said, rewards = [[], []], [[], []]
    for _ in range(2500):
        for lane in range(2):
            said[lane].append(chr(timestep.observation["symbol"][lane]))
            rewards[lane].append(" +-"[int(timestep.reward[lane])])
        timestep = env.step({"symbol": torch.tensor([120, 46], dtype=torch.uint8)})
    for lane, reply in enumerate("x."):
        lines = env.render(lane, length=101).splitlines()
        assert [line[:2] for line in lines] == ["E|", "L|", "R|", "", "E|", "L|", "R|"]
        assert lines[0][2:] == "".join(said[lane][-100:]).rstrip() and lines[1] == "L|" + reply * 99 + reply
        assert lines[2][2:] == "".join(rewards[lane][-100:]).rstrip()
    assert len(env.render(0, length=10**6)) < 4000
    env.load_state_dict(env.state_dict())
    assert env.render(0) == ""  # what was said before is not known
    with pytest.raises(SpecError, match="a lane below 2, got 2"):
        env.render(2)
    with pytest.raises(SpecError, match="expected render_mode='ansi'"):
        CommAIEnv("micro").render()


def test_wrong_options():
    with pytest.raises(SpecError, match="max_episode_steps of at least 1"):
        CommAIEnv("mini", max_episode_steps=0)
    with pytest.raises(SpecError, match="render_mode 'ansi' or None, got 'human'"):
        CommAIEnv("mini", render_mode="human")


def test_a_task_alone():
    for config in ("TurningTask", "Micro4Task", "TaskSet0"):
        env = CommAIEnv(config, "byte", on_missing="sample")
        assert env.name == config and len([timestep for timestep, _ in zip(env, range(700))]) == 700
        assert set(env.results.tasks) == {config}
    with pytest.raises(SpecError, match="or the name of one of their tasks, got 'Task'"):
        CommAIEnv("Task")


@pytest.mark.parametrize("options", [{}, {"compat": True}, {"compat": True, "num_envs": 1}, {"scramble": True}])
@pytest.mark.parametrize("config", ["commai", "challenge", "nano", "lookup"])
def test_conversations_begin_anew_wherever_they_are_cut_off(config, options):
    options = {"num_envs": 3} | options
    env = CommAIEnv(config, **options, max_episode_steps=77, instructions=True, on_missing="sample")
    ends = sum(int(timestep.last().sum()) for timestep, _ in zip(env, range(3000)))
    assert ends == 3000 // (env.max_episode_steps + 1) * options["num_envs"]
