"""Lanes of the Challenge: one of many goes like one alone, and what costs whoever talks out of turn or too late."""

import re

import numpy as np
import pytest

from aexp_torch.commai import run
from aexp_torch.commai.configuration import scheduler_maker
from aexp_torch.commai.sessions import BYTES, Sessions
from aexp_torch.commai.words import POSITIVE
from tests.commai.challenge_solvers import SOLVERS, SymbolPlayer, clumsy, silent, wrong
from tests.commai.transcripts import MOST_STEPS, configuration


def test_talking_out_of_turn_costs_one_each_time():
    """The symbols of the prompt but the last, and those of the feedback, are not to be talked over."""

    class Chatterbox:
        rewards = []

        def reward(self, reward):
            self.rewards.append(reward)

        def next(self, symbol):
            return "x"

    run(configuration("Micro7Sub1Task", 1), Chatterbox(), mode="byte", max_steps=50)
    assert Chatterbox.rewards == [0] + [-1] * 6 + [0] * 43  # `say: k` costs; the answer never ends


def lanes(name: str, seed: int) -> list:
    return [SOLVERS[name](), wrong(name), silent(name), clumsy(name, 0.2, seed), clumsy(name, 0.5, seed + 1)]


def transcript(name: str, players: list, seeds: list[int], steps: int) -> list[tuple[str, list]]:
    """Returns, of each lane, what was said and the rewards."""
    make = scheduler_maker(configuration(name, 1_000_000))
    talks = Sessions([make() for _ in players], BYTES, seeds)
    heard, said, rewards = None, [], []
    for _ in range(steps):
        symbols, reward = talks.step(heard)
        said.append(symbols)
        rewards.append(np.nan_to_num(reward))
        for player, one in zip(players, rewards[-1].tolist()):
            player.reward(one)
        answers = [player.next(chr(symbol)) for player, symbol in zip(players, symbols.tolist())]
        heard = np.frombuffer("".join(answers).encode(), np.uint8)
    return [(bytes(lane).decode(), given.tolist()) for lane, given in zip(np.array(said).T, np.array(rewards).T)]


@pytest.mark.parametrize("name", SOLVERS)
def test_one_lane_of_many_goes_like_a_lane_alone(name):
    steps = 2000 if issubclass(SOLVERS[name], SymbolPlayer) else 500
    seeds = [11, 12, 13, 14, 15]
    together = transcript(name, lanes(name, 0), seeds, steps)
    for lane, seed in enumerate(seeds):
        (alone,) = transcript(name, [lanes(name, 0)[lane]], [seed], steps)
        assert alone == together[lane]


def in_the_step_of_the_time_out(name: str, others: int) -> tuple[str, list, Sessions]:
    """Answers, with the last symbol in the step in which the time is over; other lanes are silent."""
    make = scheduler_maker(configuration(name, 3))
    talks = Sessions([make() for _ in range(1 + others)], BYTES, list(range(5, 6 + others)))
    said, rewards = "", []
    answer, heard = "", None
    most = MOST_STEPS if name.startswith("Micro") else 3000
    for step in range(most + 200):
        symbols, reward = talks.step(heard)
        said += chr(symbols[0])
        rewards.append(float(np.nan_to_num(reward[0])))
        if not answer and said.endswith("."):
            answer = SOLVERS[name]().answer(said)
        place = step - (most - len(answer))
        symbol = answer[place] if answer and 0 <= place < len(answer) else " "
        heard = np.frombuffer(symbol.encode().ljust(1 + others), np.uint8)
    return said[most:], rewards, talks


@pytest.mark.parametrize("others", [0, 2])
def test_an_answer_in_the_step_of_the_time_out_is_still_heard(others):
    """It is judged, and the next question asked to its end; then the next instance begins. In words, both feedbacks come."""
    said, rewards, talks = in_the_step_of_the_time_out("Micro14Task", others)
    question = r"after \w comes what:\."
    assert re.fullmatch(rf"wrong! \w\.;{question}{question} +", said)  # for the spaces before
    assert (rewards.index(-1.0), sum(rewards)) == (MOST_STEPS, -1)
    assert talks.results.tasks["Micro14Task"].solved == 0
    said, rewards, talks = in_the_step_of_the_time_out("TaskSet1", others)
    praise = "|".join(map(re.escape, POSITIVE))
    assert re.match(rf"Wrong\. The right answer is: (true|false)\.({praise}) description: ", said)
    assert (rewards.index(1.0), sum(rewards)) == (3000 + said.index(" desc") + 1, 1)
    assert talks.results.tasks["TaskSet1"].solved == 1


@pytest.mark.parametrize("name", ["Micro7Sub1Task", "Micro5Sub1Task"])
@pytest.mark.parametrize("others", [0, 1])
def test_talking_over_feedback_costs_one_and_the_streak(name, others):
    """Whoever talks once over what is said after its ninth right answer in a row needs ten more."""
    make = scheduler_maker(configuration(name, 2))
    talks = Sessions([make() for _ in range(1 + others)], BYTES, list(range(8, 9 + others)))
    player, heard, rewards, streak, rude_at = SOLVERS[name](), None, [], 0, None
    while talks.results.tasks[name].finished == 0 if rewards else True:
        symbols, reward = talks.step(heard)
        rewards.append(float(np.nan_to_num(reward[0])))
        player.reward(rewards[-1] if rude_at is None or len(rewards) - 2 != rude_at else 0)
        streak = streak + 1 if rewards[-1] > 0 else 0 if rewards[-1] < 0 else streak
        answer = player.next(chr(symbols[0]))
        if streak == 9 and rude_at is None and answer == " " and rewards[-1] > 0:
            answer, rude_at = "x", len(rewards) - 1
            player.streak = 0
        heard = np.frombuffer(answer.encode().ljust(1 + others), np.uint8)
    given = [reward for reward in rewards if reward]
    assert rewards[rude_at + 1] == -1
    assert given[-10:] == [1] * 10
    assert given[-20:-11][-9:] == [1] * 9
    assert given[-11] == -1


@pytest.mark.parametrize(
    "name", ["Micro1Task", "Micro2Task", "Micro4Task", "Micro5Sub1Task", "Micro19Task", "TaskSet5"]
)
def test_a_state_goes_on_amid_a_drill(name):
    """Sessions that are saved and restored every few steps go like those that are not."""
    make = scheduler_maker(configuration(name, 1_000_000))

    def begun() -> Sessions:
        return Sessions([make() for _ in range(5)], BYTES, [1, 2, 3, 4, 5])

    talks, restored, players, heard = begun(), begun(), lanes(name, 3), None
    for step in range(800):
        (symbols, reward), got = talks.step(heard), restored.step(heard)
        np.testing.assert_array_equal(symbols, got[0])
        np.testing.assert_array_equal(reward, got[1])
        if step % 13 == 0:
            state, restored = restored.state_dict(), begun()
            restored.load_state_dict(state)
        for player, one in zip(players, np.nan_to_num(reward).tolist()):
            player.reward(one)
        answers = [player.next(chr(symbol)) for player, symbol in zip(players, symbols.tolist())]
        heard = np.frombuffer("".join(answers).encode(), np.uint8)
    assert restored.results == talks.results
