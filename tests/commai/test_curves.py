"""Curves and the gradual-learning score: what is noted of a session, how it is written, and what comes of it."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from aexp_torch.commai import CommAIEnv, Results, run
from aexp_torch.commai.curves import MOST_BINS, Curve, write_curves
from aexp_torch.commai.learners import BaseLearner, SampleRepeatingLearner, SampleSilentLearner
from aexp_torch.errors import SpecError

MICRO = "tasks.challenge.round1.challenge_micro"


def tasks_in_order(*names, scheduler="ConsecutiveTaskScheduler", **arguments):
    tasks = {name: {"type": f"{MICRO}.{name}"} for name in names}
    args = {"tasks": list(names), **arguments}
    return {"worlds": {}, "tasks": tasks, "scheduler": {"type": f"core.scheduler.{scheduler}", "args": args}}


class Apprentice(BaseLearner):
    """Says anything until it has said so many symbols that were wrong, and is right from then on."""

    def __init__(self, wrong: int):
        self.wrong = wrong

    def next(self, symbol):
        self.wrong -= 1
        return symbol if self.wrong < 0 else "~"


def test_every_instance_is_a_bin_until_there_are_many():
    rng, curve, instances = np.random.default_rng(0), Curve(), []
    for number in range(5000):
        instance = (number * 10, bool(rng.random() < 0.3), float(rng.integers(-5, 6)), int(rng.integers(1, 99)), 2)
        instances.append(instance)
        curve.add(*instance)
        assert len(curve.bins) <= MOST_BINS
        if number == MOST_BINS - 1:
            assert [one[:5] for one in curve.bins] == [(t, 1, int(s), r, n) for t, s, r, n, _ in instances]
    assert curve.width == 32
    assert {one.instances for one in curve.bins[:-1]} == {32}
    start = 0
    for one in curve.bins:
        own = instances[start : start + one.instances]
        start += one.instances
        assert one.time == own[-1][0]
        assert one.solved == sum(solved for _, solved, *_ in own)
        assert one.reward == sum(reward for _, _, reward, *_ in own)
        assert one.steps == sum(steps for *_, steps, _ in own)
        assert one.solved_steps == sum(steps for _, solved, _, steps, _ in own if solved)
        assert one.questions == 2 * len(own)
    assert start == 5000


@pytest.mark.parametrize("config, mode", [("commai", "bit"), ("challenge", "byte")])
def test_curves_add_up_to_the_counts(config, mode):
    env = CommAIEnv(config, mode, num_envs=8)
    env.reset()
    for symbols in np.random.default_rng(0).integers(0, 2 if mode == "bit" else 256, (16_000, 8)).astype(np.uint8):
        env.step({"symbol": torch.from_numpy(symbols)})
    results = env.results
    assert results.time == (16_008 if mode == "bit" else 16_001)  # the symbol that is being said counts as a whole
    assert sum(task.finished for task in results.tasks.values()) > 10
    for task in results.tasks.values():
        sums = np.array(task.curve.bins).reshape(-1, 7).sum(0)
        assert sums[1:5].tolist() == [task.finished, task.solved, task.reward, task.steps]
        assert sums[6] == task.questions
        assert (task.questions > 0) == (config == "challenge" and task.finished > 0)
        assert np.all(np.diff([one.time for one in task.curve.bins]) >= 0)


def test_they_are_resumed():
    def learn(env, steps, seed):
        for symbols in np.random.default_rng(seed).integers(32, 60, (steps, 5)).astype(np.uint8):
            env.step({"symbol": torch.from_numpy(symbols)})

    env, again = CommAIEnv("micro", num_envs=5), CommAIEnv("micro", num_envs=5)
    env.reset()
    learn(env, 6000, 1)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    file.seek(0)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.results == env.results
    assert any(task.curve.bins for task in env.results.tasks.values())
    for one in (env, again):
        learn(one, 3000, 2)
    assert again.results == env.results


def test_a_score_of_what_was_mastered():
    config = tasks_in_order("Micro4Task", "Micro7Sub1Task", success_threshold=5, repeats=True)
    results = run(config, SampleRepeatingLearner, mode="byte", max_steps=30_000)
    score = results.gradual_score()
    assert score.lanes == 1 and score.tasks == 2
    assert score.mastered == 1
    assert score.share == {"Micro4Task": 1.0, "Micro7Sub1Task": 0.0}
    assert list(score.steps_to_master) == ["Micro4Task"]
    assert 50 <= score.steps == score.steps_to_master["Micro4Task"] <= 60  # five times ten echoes
    assert score.speed_up is None and score.gained == score.lost == []
    assert results.gradual_score(threshold=1).steps <= 11
    for threshold in (0, 11, "5"):
        with pytest.raises(SpecError, match=r"threshold in 1\.\.10, got"):
            results.gradual_score(threshold=threshold)


def test_earlier_tasks_help_or_not():
    """Who comes to the second task from the first knows it; who begins with it has to learn it."""
    alone = tasks_in_order("Micro4Task", success_threshold=5)

    first = run(alone, Apprentice(2000), mode="byte", max_steps=20_000)
    (steps,) = first.gradual_score().steps_to_master.values()
    assert 2000 < steps < 2400
    sequence = Results()
    sequence.begin("Micro1Task")
    for _ in range(5):
        sequence.time += 100
        sequence.add("Micro1Task", True, 10.0, 100, 10)
    sequence.begin("Micro4Task")
    for _ in range(5):
        sequence.time += 10
        sequence.add("Micro4Task", True, 10.0, 10, 10)
    score = sequence.gradual_score([first])
    assert score.mastered == 2 and score.steps == 550
    assert score.speed_up == pytest.approx(steps / 50)
    assert score.gained == ["Micro1Task"] and score.lost == []
    assert first.gradual_score([sequence]).lost == ["Micro1Task"]


def test_lanes_that_are_not_there_yet_count_with_what_they_have_spent():
    results = Results()
    results.begin("one")
    for lane, solved in ((0, [True] * 5), (1, [False] * 20), (2, [True] * 4 + [False] + [True] * 6)):
        for one in solved:
            results.add("one", one, float(one), 10, 1, lane)
    score = results.gradual_score()
    assert score.lanes == 3
    assert score.share["one"] == score.mastered == pytest.approx(2 / 3)
    assert score.steps_to_master["one"] == (50 + 200 + 100) / 2


@pytest.mark.parametrize("num_tasks", [1, 10, pytest.param(46, marks=pytest.mark.slow)])
def test_they_are_written(tmp_path, num_tasks):
    rng, results = np.random.default_rng(0), Results()
    for number in range(num_tasks):
        results.begin(f"Number{number}Task")
    for _ in range(60 * num_tasks):
        results.time += 100
        number = int(rng.integers(num_tasks))
        solved = bool(rng.random() < results.time / (6000 * num_tasks)) and number % 3 != 2
        results.add(f"Number{number}Task", solved, float(solved), int(rng.integers(50, 200)), 3)
    write_curves(results, tmp_path / "curves")
    with (tmp_path / "curves" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60 * num_tasks
    assert {row["task"] for row in rows} == set(results.tasks)
    assert sum(int(row["solved"]) for row in rows) == sum(task.solved for task in results.tasks.values())
    assert json.loads((tmp_path / "curves" / "gradual.json").read_text())["tasks"] == num_tasks
    assert (tmp_path / "curves" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(SpecError, match="at least one finished instance, there is none"):
        write_curves(Results(), tmp_path)
    results = run("mini", SampleSilentLearner, mode="byte", max_steps=4000)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="expected a folder to write to"):
        write_curves(results, tmp_path / "file")
