"""Workers that are killed, raise or hang: their slots go on, and nothing else is disturbed."""

import itertools
import multiprocessing
import os
import signal
import time
import warnings

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import AexpError
from aexp_torch.testing import CountingEnv
from tests.loading.mixed import slot_by_slot

ANSWER = torch.tensor([1, 2])


def kill_worker(loader: ae.Loader) -> None:
    worker = loader._workers[0]._process.process
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()


def steps(loader: ae.Loader, kill_at: tuple[int, ...] = (), action=ANSWER) -> list[ae.TimeStep]:
    """Runs an epoch; before the answer to these timesteps the worker is killed."""
    seen = []
    for timestep in loader:
        seen.append(timestep)
        if len(seen) - 1 in kill_at:
            kill_worker(loader)
        if loader.specs[timestep.source].action:
            timestep.reply(action)
    return seen


def well_formed(step_types: list[int]) -> bool:
    """Whether a lane shows FIRST first and after LAST, and nowhere else."""
    return step_types[0] == 0 and all((now == 0) == (before == 2) for before, now in itertools.pairwise(step_types))


def test_lanes_of_a_killed_worker_are_cut_off_and_start_again():
    loader = ae.Loader(ae.GymnasiumEnv("CartPole-v1", num_envs=2), num_workers=1, in_flight=1, steps_per_epoch=30)
    with pytest.warns(UserWarning, match=r"'CartPole-v1' \(slot 0\).* exit code -9, SIGKILL") as caught:
        seen = steps(loader, kill_at=(4,), action=torch.tensor([0, 1]))
    assert len(caught) == 1 and loader.restarts == 1
    lost, last, first = seen[4:7]
    assert last.step_type.tolist() == [2, 2] and first.step_type.tolist() == [0, 0]
    assert last.reward.tolist() == [0, 0] and last.discount.tolist() == [1, 1]
    assert torch.equal(last.observation["observation"], lost.observation["observation"])
    assert not torch.equal(first.observation["observation"], seen[0].observation["observation"])  # a new seed
    assert [timestep.ticket.step for timestep in seen] == list(range(30))
    loader.close()


def test_the_restarted_streams_seed_has_the_number_of_restarts_in_its_key():
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=8, seed=5)
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(loader, kill_at=(2,), action=torch.tensor([0, 1]))
    env.place(seed=5, restarts=1)
    assert torch.equal(seen[4].observation["observation"], env.reset().observation["observation"])
    loader.close()


@pytest.mark.parametrize("env", ["own vector form", "sync"])
@pytest.mark.parametrize("kill_at", range(3, 25, 3))
def test_lanes_that_had_ended_go_straight_to_first(env, kill_at):
    vectorization = "auto" if env == "own vector form" else env
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=6, vectorization=vectorization)
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=60)
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(loader, kill_at=(kill_at,), action=torch.tensor([0, 0, 0, 1, 1, 0]))
    kinds = torch.stack([timestep.step_type for timestep in seen])
    assert all(well_formed(kinds[:, lane].tolist()) for lane in range(6))
    before, after = seen[kill_at], seen[kill_at + 1]
    assert (after.step_type == torch.where(before.last(), 0, 2)).all()
    assert (after.discount == 1).all() and (after.reward == 0).all()
    loader.close()


def test_other_workers_are_not_disturbed():
    with pytest.warns(UserWarning, match="Restarted"):
        with_kill = slot_by_slot(kill_worker)
    without = slot_by_slot()
    assert with_kill[1] == without[1]
    assert with_kill[0] != without[0]


@pytest.mark.parametrize("num_slots", [1, 2])
@pytest.mark.parametrize("epochs", [3, None])
def test_data_goes_on_at_its_next_unread_minibatch(num_slots, epochs):
    data = {"x": torch.arange(21.0)[:, None]}
    env = ae.DatasetEnv(data, batch_size=2, epochs=epochs, shuffle=True, drop_last=True)
    options = {"num_workers": 1, "in_flight": num_slots, "steps_per_epoch": 30}
    alone, killed = ae.Loader(env, **options), ae.Loader(env, **options)
    wanted = [timestep.observation["x"].tolist() for timestep in steps(alone)]
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(killed, kill_at=(3, 17))
    assert [timestep.observation["x"].tolist() for timestep in seen] == wanted
    assert killed.restarts >= 1
    alone.close()
    killed.close()


@pytest.mark.every(5)
@pytest.mark.parametrize("mode", ["delayed", "split"])
@pytest.mark.parametrize("episode", ["pass", "batch", None])
@pytest.mark.parametrize("kill_at", [0, 3, 4, 5, 6, 7])
def test_supervised_streams_repeat_no_minibatch(mode, episode, kill_at):
    data = {"x": torch.arange(10.0)[:, None], "y": torch.arange(10) % 3}
    env = ae.DatasetEnv(data, batch_size=2, mode=mode, loss="correct", episode=episode)
    loader = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=9)
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(loader, kill_at=(kill_at,))
    shown = [
        timestep.observation["x"][0].item()
        for timestep in seen
        if timestep.observation.get("x") is not None and not timestep.last().any()  # where it is shown once more
    ]
    assert shown == [float(2 * number % 10) for number in range(len(shown))]
    assert well_formed([timestep.step_type[0].item() for timestep in seen])
    loader.close()


def test_compositions_go_on_source_by_source():
    envs = [CountingEnv(num_envs=2, name="counting"), ae.GymnasiumEnv("CartPole-v1", num_envs=2, name="cartpole")]
    loader = ae.Loader(ae.Interleave(envs, pattern=[0, 1, 1]), num_workers=1, in_flight=2, steps_per_epoch=80)
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(loader, kill_at=(13, 40), action=torch.tensor([1, 1]))
    for slot in (0, 1):
        for source in ("counting", "cartpole"):
            stream = [t for t in seen if t.source == source and t.ticket.slot == slot]
            assert [timestep.ticket.step for timestep in stream] == list(range(len(stream)))
            assert all(well_formed([timestep.step_type[lane].item() for timestep in stream]) for lane in (0, 1))
    loader.close()


def test_an_answer_to_a_lost_timestep_is_accepted_and_dropped():
    loader = ae.Loader(CountingEnv(), num_workers=1, in_flight=1, steps_per_epoch=9)
    stream = iter(loader)
    timestep = next(stream)
    kill_worker(loader)
    timestep.reply(ANSWER)
    timestep.reply(ANSWER)  # the same values once more
    with pytest.warns(UserWarning, match="Restarted"):
        last = next(stream)
    assert last.last().all() and last.reward.tolist() == [0, 0]
    last.reply(ANSWER)
    first = next(stream)
    assert first.first().all()
    first.reply(ANSWER)
    assert next(stream).reward.tolist() == [1, 2]
    loader.close()


class Broken(CountingEnv):
    """Raises at its third step, in its first life."""

    def step(self, action, lanes=None):
        if self._shown == 3 and not self.restarts:
            raise ValueError("the gears are stuck")
        return super().step(action, lanes)


def test_a_slot_that_raises_starts_again_with_the_traceback_shown():
    loader = ae.Loader(Broken(), num_workers=1, in_flight=2, steps_per_epoch=20)
    with pytest.warns(UserWarning, match=r"(?s)ValueError: the gears are stuck.*Traceback.*in step") as caught:
        seen = steps(loader)
    assert len(caught) == 2 and loader.restarts == 2  # one in each slot
    for slot in (0, 1):
        assert well_formed([t.step_type[0].item() for t in seen if t.ticket.slot == slot])
    loader.close()


class AlwaysBroken(CountingEnv):
    """Raises at its third step, in every life."""

    def step(self, action, lanes=None):
        if self._shown == 3:
            raise ValueError("the gears are stuck")
        return super().step(action, lanes)


@pytest.mark.parametrize("max_restarts", [0, 1, 3])
def test_too_many_restarts_are_an_error_with_the_traceback(max_restarts):
    loader = ae.Loader(AlwaysBroken(), num_workers=1, in_flight=1, steps_per_epoch=90, max_restarts=max_restarts)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(AexpError, match="ValueError: the gears are stuck") as error:
            steps(loader)
    assert len(caught) == max_restarts == loader.restarts
    assert "in step" in error.value.__notes__[0]
    assert (f"max_restarts={max_restarts}" in str(error.value)) == (max_restarts > 0)
    loader.close()


def test_restarts_far_apart_are_within_the_budget():
    loader = ae.Loader(CountingEnv(), num_workers=1, in_flight=1, steps_per_epoch=450, max_restarts=1)
    with pytest.warns(UserWarning, match="Restarted"):
        steps(loader, kill_at=(10, 120, 230, 340))
    assert loader.restarts == 4
    loader.close()


class DeadOnArrival(CountingEnv):
    """Ends its process as soon as it is opened there."""

    def on_open(self):
        if multiprocessing.parent_process() is not None:
            os._exit(3)
        super().on_open()


@pytest.mark.slow
def test_a_worker_that_never_comes_to_a_step_is_an_error_even_without_a_limit():
    others = set(multiprocessing.active_children())  # of loaders that nobody has collected yet
    loader = ae.Loader(DeadOnArrival(), num_workers=1, in_flight=1, steps_per_epoch=9, max_restarts=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(AexpError, match="exit code 3"):
            steps(loader)
    loader.close()
    assert not set(multiprocessing.active_children()) - others


class DiesTwice(CountingEnv):
    """Takes its process along once more, as it is told where to go on."""

    def go_on_after(self, steps, origin=None):
        if self.restarts == 1:
            os._exit(4)
        super().go_on_after(steps, origin)


def test_a_worker_that_is_lost_again_while_it_is_replaced_is_replaced_again():
    loader = ae.Loader(DiesTwice(lengths=[50, 50]), num_workers=1, in_flight=1, steps_per_epoch=20)
    with pytest.warns(UserWarning, match="Restarted") as caught:
        seen = steps(loader, kill_at=(4,))
    assert "exit code 4" in str(caught[1].message) and loader.restarts == 2
    assert [timestep.step_type[0].item() for timestep in seen[3:8]] == [1, 1, 2, 0, 1]
    loader.close()


class Slow(CountingEnv):
    """Never comes back from its third step, in its first life."""

    def step(self, action, lanes=None):
        if self._shown == 3 and not self.restarts:
            time.sleep(60)
        return super().step(action, lanes)


def test_a_worker_that_hangs_is_replaced_after_step_timeout():
    others = set(multiprocessing.active_children())  # of loaders that nobody has collected yet
    loader = ae.Loader(Slow(), num_workers=1, in_flight=1, steps_per_epoch=9, step_timeout=1.0)
    start = time.monotonic()
    with pytest.warns(UserWarning, match=r"expected worker 0 to take a step within 1 s"):
        seen = steps(loader)
    assert time.monotonic() - start < 20
    assert [timestep.step_type[0].item() for timestep in seen][2:6] == [1, 2, 0, 1]
    loader.close()
    assert not set(multiprocessing.active_children()) - others


class Verbose(CountingEnv):
    """Fails at length, in letters that take several bytes."""

    def step(self, action, lanes=None):
        raise ValueError("\N{SNOWMAN}" * 20000)


def test_a_long_error_stays_within_its_place():
    loader = ae.Loader(Verbose(), num_workers=1, in_flight=1, steps_per_epoch=9, max_restarts=0)
    with pytest.raises(AexpError) as caught:
        steps(loader)
    assert "ValueError: \N{SNOWMAN}\N{SNOWMAN}" in str(caught.value)
    loader.close()


@pytest.mark.parametrize("stop", range(4, 9))
@pytest.mark.parametrize("after", [0, 1])
def test_a_state_taken_around_a_restart_goes_on_exactly(stop, after):
    def make(num_workers: int) -> ae.Loader:
        env = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
        return ae.Loader(env, num_workers=num_workers, in_flight=1, steps_per_epoch=20)

    action = torch.tensor([1, 0])

    def run_on(loader: ae.Loader) -> tuple[dict, list[ae.TimeStep]]:
        state, rest = {}, []
        for number, timestep in enumerate(loader):
            if state:
                rest.append(timestep)
            if number == 4:
                kill_worker(loader)
            timestep.reply(action)
            if number == stop:
                state = loader.state_dict()
        return state, rest

    loader = make(1)
    with pytest.warns(UserWarning, match="Restarted"):
        state, rest = run_on(loader)
    loader.close()
    resumed = make(after)
    resumed.load_state_dict(state)
    again = steps(resumed, action=action)
    assert [(t.step_type.tolist(), t.observation["observation"].tolist(), t.ticket.step) for t in again] == [
        (t.step_type.tolist(), t.observation["observation"].tolist(), t.ticket.step) for t in rest
    ]
    resumed.close()


@pytest.mark.parametrize("make", ["environment", "data"])
def test_a_restored_slot_that_is_lost_before_its_first_timestep_is_restored_again(make):
    def make_loader() -> ae.Loader:
        data = ae.DatasetEnv({"x": torch.arange(24.0)[:, None]}, batch_size=2, shuffle=True, epochs=None)
        env = ae.GymnasiumEnv("CartPole-v1", num_envs=2) if make == "environment" else data
        return ae.Loader(env, num_workers=1, in_flight=2, steps_per_epoch=12)

    def describe(timesteps: list[ae.TimeStep]) -> list:
        return [(t.ticket.slot, t.ticket.step, t.step_type.tolist(), str(t.observation)) for t in timesteps]

    action = torch.tensor([1, 0])
    loader = make_loader()
    alone = steps(loader, action=action)
    loader.close()
    loader = make_loader()
    stream = iter(loader)
    for _ in range(5):
        timestep = next(stream)
        if loader.specs[timestep.source].action:
            timestep.reply(action)
    state = loader.state_dict()
    loader.close()
    loader = make_loader()
    loader.load_state_dict(state)
    kill_worker(loader)
    with pytest.warns(UserWarning, match="Restarted"):
        assert describe(steps(loader, action=action)) == describe(alone[5:])
    loader.close()


def test_a_restart_leaks_neither_descriptors_nor_processes():
    others = set(multiprocessing.active_children())  # of loaders that nobody has collected yet
    loader = ae.Loader(CountingEnv(), num_workers=1, in_flight=2, steps_per_epoch=10**6, max_restarts=None)
    stream = iter(loader)
    open_files = []

    def take_and_kill() -> None:
        for _ in range(6):
            next(stream).reply(ANSWER)
        open_files.append(len(os.listdir("/proc/self/fd")))
        kill_worker(loader)

    take_and_kill()
    for _ in range(12):
        with pytest.warns(UserWarning, match="Restarted"):
            take_and_kill()
    assert max(open_files[2:]) == open_files[2] and len(set(multiprocessing.active_children()) - others) <= 1
    loader.close()
    assert not set(multiprocessing.active_children()) - others
