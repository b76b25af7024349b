"""Stages on the trainer's side: the same timesteps and states as where all of a pipeline runs in one place."""

import os
import signal

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.testing import CountingEnv
from tests.loading.mixed import ROWS, answer, rewards_with_few_answers, run, through_disk


class Flip(ae.Stage):
    """Turns action 0 into 1 and back, and remembers where it ran."""

    pids = set()

    def on_action(self, action, timestep):
        self.pids.add(os.getpid())
        return {"action": 1 - action["action"]}


def make_loader(num_workers: int, **options) -> ae.Loader:
    cartpole = ae.GymnasiumEnv("CartPole-v1", num_envs=3).pipe(ae.ObserveReward)
    envs = {
        "cartpole": cartpole.pipe(ae.TrainerSide).pipe(Flip).pipe(ae.Noisy, std=0.01).pipe(ae.ObserveReward, key="r"),
        "joint": ae.DatasetEnv(ROWS, batch_size=4, epochs=1, shuffle=True)
        .pipe(ae.TrainerSide)
        .pipe(ae.Noisy, keys="x"),
        "both": ae.Interleave([CountingEnv(num_envs=1, name="one", num_actions=2), CountingEnv(3, num_actions=2)])
        .pipe(ae.TrainerSide)
        .pipe(Flip),
    }
    return ae.Loader(envs, num_workers=num_workers, **{"in_flight": 2, "steps_per_epoch": 90, "seed": 3, **options})


@pytest.fixture(scope="module")
def alone() -> list[tuple]:
    return run(make_loader(0))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_same_timesteps_wherever_a_stage_runs(alone, num_workers):
    Flip.pids.clear()
    loader = make_loader(num_workers)
    assert run(loader) == alone
    assert Flip.pids == {os.getpid()}
    loader.restart()
    assert run(loader) == alone
    loader.close()


@pytest.mark.every(5)
@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (1, 2)])
@pytest.mark.parametrize("stop", [1, 2, 7, 33, 50, 89])
def test_a_state_goes_on_exactly(alone, before, after, stop):
    loader = make_loader(before)
    assert run(loader, stop) == alone[:stop]
    state = through_disk(loader.state_dict())
    assert str(loader.state_dict()) == str(state)  # taking it changes nothing
    loader.close()
    for _ in range(2):
        loader = make_loader(after)
        loader.load_state_dict(state)
        state = through_disk(loader.state_dict())
        loader.close()
    loader = make_loader(after)
    loader.load_state_dict(state)
    assert run(loader) == alone[stop:]
    loader.close()


@pytest.mark.every(7)
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("stop", [1, 2, 9, 28, 53])
def test_a_step_that_was_not_completed_is_handed_out_once_more(alone, num_workers, answered, stop):
    loader = make_loader(num_workers)
    for number, timestep in enumerate(loader, start=1):
        if answered or number < stop:
            answer(loader, timestep)
        if number == stop:
            break
    state = through_disk(loader.state_dict(replay=True))
    loader.close()
    loader = make_loader(num_workers)
    loader.load_state_dict(state)
    assert run(loader) == alone[stop - 1 :]
    loader.close()


@pytest.mark.parametrize("on_missing", ["repeat", "sample"])
def test_streams_go_on_without_an_answer(on_missing):
    def rewards(num_workers: int) -> list:
        env = CountingEnv(num_actions=2).pipe(ae.TrainerSide).pipe(Flip)
        return rewards_with_few_answers(env, num_workers=num_workers, on_missing=on_missing)

    assert rewards(0) == rewards(1)


def test_answers_are_checked_and_required_here_too():
    loader = make_loader(1, steps_per_epoch=20)
    stream = iter(loader)
    timestep = next(timestep for timestep in stream if timestep.source == "cartpole")
    with pytest.raises(ae.ActionError, match=r"int64 \[3\]"):
        timestep.reply(torch.zeros(2, dtype=torch.int64))
    timestep.reply(torch.zeros(3, dtype=torch.int64))
    timestep.reply(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ae.FeedbackError, match="answered before with other values"):
        timestep.reply(torch.ones(3, dtype=torch.int64))
    loader.close()
    loader = make_loader(1, steps_per_epoch=20)
    with pytest.raises(ae.FeedbackError, match="expected an answer"):
        list(loader)
    loader.close()


def test_a_worker_below_that_is_lost_is_replaced():
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.TrainerSide).pipe(ae.ObserveReward)
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=12)

    def kinds() -> list[int]:
        seen = []
        for number, timestep in enumerate(loader):
            seen.append(timestep.step_type[0].item())
            if number == 4:
                os.kill(loader._workers[0].pid, signal.SIGKILL)
            timestep.reply(torch.tensor([0, 1]))
        return seen

    with pytest.warns(UserWarning, match="SIGKILL"):
        assert kinds()[:8] == [0, 1, 1, 1, 1, 2, 0, 1]
    loader.close()


def test_a_stage_with_steps_of_its_own_is_refused_above_the_border():
    class Twice(ae.Stage):
        def step(self, action, lanes=None):
            self.env.step(action)
            return self.env.step(action)

    env = CountingEnv().pipe(ae.TrainerSide).pipe(Twice)
    with pytest.raises(SpecError, match="Twice has a reset or step of its own"):
        ae.Loader(env, num_workers=1, steps_per_epoch=9)
    ae.Loader(env, steps_per_epoch=9)


def test_stages_of_one_class_on_both_sides_draw_as_in_one_process():
    drops = {"p": 0.5, "n": 2}
    env = CountingEnv(2).pipe(ae.DropKeyValue, **drops).pipe(ae.TrainerSide).pipe(ae.DropKeyValue, **drops)
    seen = []
    for num_workers in (0, 1):
        loader = ae.Loader(env, num_workers=num_workers, in_flight=1, steps_per_epoch=20)
        seen.append(run(loader))
        loader.close()
    assert seen[0] == seen[1]
