"""People who talk: when each learner asks for a line, and how it is said."""

import numpy as np
import pytest

from aexp_torch.commai import Conversation
from aexp_torch.commai import human as learners
from aexp_torch.commai.grid_world import GridWorld
from aexp_torch.commai.running import Session
from aexp_torch.commai.sessions import BITS, BYTES
from aexp_torch.commai.text_codes import StandardSerializer
from aexp_torch.commai.transcript import COLUMNS, INSTANCES, Transcript
from aexp_torch.errors import FeedbackError, SpecError

REPEAT = {
    "worlds": {},
    "tasks": {"repeat": {"type": "tasks.competition.repetition.RepeatWhatISayTask"}},
    "scheduler": {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["repeat"]}},
}
ONE_CHARACTER = {
    "worlds": {},
    "tasks": {"echo": {"type": "tasks.challenge.round1.challenge_micro.Micro4Task"}},
    "scheduler": {"type": "core.scheduler.SequentialTaskScheduler", "args": {"tasks": ["echo"]}},
}
MODES = ["bit", "byte"]
RULES = {"bit": BITS, "byte": BYTES}
ALL = [name for name in learners.__all__ if name.endswith("HumanLearner")]


class Person:
    """Types lines, and writes down what had been said when each was asked for; is the learner, too."""

    def __init__(self, config, kind, mode, lines, steps=3000, **options):
        self.lines, self.asked, self.skips = list(lines), [], 0
        self.transcript = Transcript(RULES[mode])
        self.learner = getattr(learners, kind)(RULES[mode])
        self.learner.set_view(self)
        self.conversation = Conversation(config, mode, **options)
        self.conversation.sessions.on_task = lambda lane, task: (
            self.transcript.begin(task),
            self.learner.begin(task),
        )
        session = Session(self.conversation, self)
        try:
            self.steps = session.go(steps)
        except EOFError:
            self.steps = self.transcript.time
        self.said, self.heard = (
            "|".join(getattr(one, name) for one in self.transcript.instances) for name in ("said", "heard")
        )

    def get_input(self):
        self.asked.append(self.transcript.instances[-1].said)
        if not self.lines:
            raise EOFError
        line = self.lines.pop(0)
        return line(self.asked[-1]) if callable(line) else line

    def waits(self):
        return self.conversation.sessions.waits(0)

    def skip(self):
        self.skips += 1
        self.conversation.sessions.skip(0)

    def try_reward(self, reward):
        self.transcript.rewarded(reward)
        self.learner.try_reward(reward)

    def reward(self, reward):
        self.try_reward(reward)

    def next(self, symbol):
        self.transcript.said(symbol)
        answer = self.learner.next(symbol)
        self.transcript.heard(answer)
        return answer


def phrase(prompt):
    """What `say cat.` or `repeat cat.` wants."""
    return prompt.strip().partition(" ")[2]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["HumanLearner", "TurnHumanLearner", "HaltOnDotHumanLearner"])
def test_a_line_is_said_whole_and_earns_its_reward(kind, mode):
    """Also where every step has a reward."""
    person = Person(REPEAT, kind, mode, [phrase, "", ""], steps=1000)
    results = person.conversation.results.tasks["RepeatWhatISayTask"]
    assert (results.solved, results.reward) == (1, 1)  # a line after the feedback is of no use
    answer = phrase(person.asked[0])
    assert answer in person.heard.split("|")[0] and person.transcript.instances[0].rewards.strip() == "+"


@pytest.mark.parametrize("mode", MODES)
def test_when_each_asks(mode):
    """Two spaces; the last thing said; a period; every character."""
    prompt = Person(REPEAT, "TurnHumanLearner", mode, []).said
    assert prompt.endswith(".") and prompt.count(".") == 1
    assert Person(REPEAT, "HumanLearner", mode, []).asked == [prompt + "  "]
    assert Person(REPEAT, "HaltOnDotHumanLearner", mode, []).asked == [prompt]
    for kind in ("ManualHumanLearner", "ImmediateHumanLearner"):
        person = Person(REPEAT, kind, mode, ["ab", "c", ""], steps=3000)
        assert person.asked == [prompt[:1], prompt[:3], prompt[:4], prompt[:5]]
        assert person.heard == (" " if mode == "bit" else "") + "abc "


@pytest.mark.parametrize("kind", ["TurnHumanLearner", "ImmediateHumanLearner"])
def test_questions_of_one_character(kind):
    """A line of several characters answers several questions; no line outlives its instance."""
    person = Person(
        ONE_CHARACTER, kind, "byte", [lambda said: said[-1]] * 10 + [lambda said: said[-1] + "xyz", "q"], 14
    )
    results = person.conversation.results.tasks["Micro4Task"]
    assert (results.solved, results.finished) == (1, 1)
    assert person.heard.split("|")[1][1:4] == "xyz"
    first, second = list(person.transcript.instances)[:2]
    assert first.rewards == " " + "+" * 10  # the last came with the first character of the next instance
    lines = [lambda said: said[-1]] * 9 + [lambda said: said[-1] + "zzz", "a"]
    assert Person(ONE_CHARACTER, kind, "byte", lines, 11).heard.split("|")[1] == "a"


@pytest.mark.parametrize("mode", MODES)
def test_the_environment_may_react_before_the_next_line(mode):
    person = Person(REPEAT, "TurnHumanLearner", mode, ["well.", "so..."], steps=2000)
    assert person.transcript.instances[0].rewards.strip() == ("0" if mode == "bit" else "")
    assert len(person.asked) == 3 and all(said.count(".") == 1 for said in person.asked)  # once in each instance
    assert person.heard.count("so.") == 1 and ".." not in person.heard


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ALL)
def test_skip_has_the_instance_time_out(kind, mode):
    person = Person(REPEAT, kind, mode, ["SKIP"] * 200, steps=1500)
    first = person.transcript.instances[0]
    assert person.skips >= 1 and first.said.strip().endswith(("wrong!", "failed!", "wrong.", "incorrect."))
    assert person.heard.replace("|", "").strip() == ""
    assert person.conversation.so_far().steps - person.steps in (0, 1)  # the time it took, with a symbol unanswered


@pytest.mark.parametrize("kind", ALL)
def test_quit_and_the_end_of_the_lines_end_the_session(kind):
    for lines in (["QUIT"], []):
        person = Person(REPEAT, kind, "bit", lines)
        assert person.steps < 500


def test_what_cannot_be_said():
    person = Person(REPEAT, "TurnHumanLearner", "byte", ["ä€"], 200)
    assert "ä?" in person.heard


def test_a_learner_that_would_never_ask_says_so():
    learner = learners.HumanLearner(BYTES)
    for _ in range(learners.PATIENCE):
        assert learner.next("a") == " "
    with pytest.raises(FeedbackError, match=r"HumanLearner: expected to ask for a line .* ImmediateHumanLearner asks"):
        learner.next("a")


def test_a_person_needs_a_view():
    learner = learners.ImmediateHumanLearner(BYTES)
    with pytest.raises(SpecError, match="ImmediateHumanLearner: expected a view to ask"):
        learner.next("a")


def test_a_transcript_keeps_the_end():
    transcript = Transcript(BYTES)
    for instance in range(INSTANCES + 5):
        transcript.begin(f"task{instance}")
        transcript.said("a"), transcript.heard(" ")
    assert len(transcript.instances) == INSTANCES
    for number in range(5 * COLUMNS + 1):
        transcript.rewarded(1 if number % 2 else 0)
        transcript.said("b"), transcript.heard("c")
    last = transcript.instances[-1]
    assert last.dropped + len(last.said) == 5 * COLUMNS + 2
    assert COLUMNS <= len(last.said) < 2 * COLUMNS and len(last.said) == len(last.heard)
    assert set(zip(last.said, last.heard)) == {("b", "c")} and set(last.rewards) == {"+", " "}


@pytest.mark.parametrize("text", ["", "a", "hello world.", "ä€", "\x00"])
def test_texts_are_written_in_bits(text):
    codes = StandardSerializer()
    bits = codes.to_binary(text)
    assert len(bits) == 8 * len(text.encode()) and (codes.to_text(bits) or "") == text
    assert codes.can_deserialize(bits) == bool(text) and not codes.can_deserialize(bits[:7])
    assert codes.to_text("1" * 8 + bits + "101") == (text or None)  # what is no text is left out at the beginning
    assert codes.to_text("1" * 8 + bits, strict=True) is None


def test_the_world_is_drawn():
    world = GridWorld()
    world.restart()
    world.position, world.direction = (3, -1), "east"
    world.put((3, -2), "avocado")
    world.put((9, 9), "far")
    lines = world.picture().splitlines()
    assert lines[0] == "       1   2   3   4   5" and len(lines) == 17
    assert lines[5:9] == [
        " -2 |   |   |avo|   |   |",
        "    |   |   |cad|   |   |",
        "    +---+---+---+---+---+",
        " -1 |   |   |EEE|   |   |",
    ]
    assert "far" not in world.picture()


@pytest.mark.parametrize("config, mode, symbols", [("commai", "bit", "01"), ("mini", "byte", " .aM")])
def test_the_rewards_of_a_conversation_are_those_that_are_counted(config, mode, symbols):
    rng, heard = np.random.default_rng(0), []

    class Learner:
        def next(self, symbol):
            return str(rng.choice(list(symbols)))

        def reward(self, reward):
            heard.append(reward)

    conversation = Conversation(config, mode)
    session = Session(conversation, Learner())
    for steps in (1, 2, 7, 1000, 20011):
        assert session.go(steps) == steps
    so_far = conversation.so_far()
    assert so_far.steps == 21021 and so_far.reward == sum(heard)
    assert conversation.results.steps < 21021  # without the instance under way
