"""Worker processes: the same timesteps as in one process, lent without a copy, and nothing left behind."""

import gc
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import joblib
import numpy as np
import pytest
import torch
from dm_env import specs

import aexp_torch as ae
from aexp_torch.errors import AexpError, FeedbackError, SpecError
from aexp_torch.lending import Lease, Lender
from aexp_torch.loading.shared import free_memory
from aexp_torch.specs import EnvSpec, flatten
from aexp_torch.testing import CountingEnv
from tests.loading.mixed import answer, describe, episodes, make_loader, rewards_with_few_answers, run, trajectories


@pytest.fixture(scope="module")
def alone() -> list[tuple]:
    return run(make_loader(0))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_same_timesteps_for_every_number_of_workers(alone, num_workers):
    gc.collect()  # loaders that other tests have left
    loader = make_loader(num_workers)
    assert run(loader) == alone
    loader.close()
    assert not multiprocessing.active_children()


def test_more_workers_than_cores_are_capped_with_a_warning(alone):
    many = joblib.cpu_count() + 1
    with pytest.warns(UserWarning, match=rf"num_workers={many} is more than the {many - 1} cores"):
        loader = make_loader(many, in_flight=4)
    assert run(loader) == alone
    loader.close()


CAPPED = """
    import warnings, multiprocessing, torch, aexp_torch as ae
    from aexp_torch.testing import CountingEnv
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader = ae.Loader(CountingEnv(), num_workers=2, steps_per_epoch=8)
    for timestep in loader:
        timestep.reply(torch.tensor([1, 2]))
    print(len(caught), len(multiprocessing.active_children()), timestep.ticket.slot)
    loader.close()
"""


def test_the_cap_knows_of_limits_besides_the_number_of_processors():
    environment = {**os.environ, "LOKY_MAX_CPU_COUNT": "1"}
    command = [sys.executable, "-c", textwrap.dedent(CAPPED)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["1", "1", "3"]  # one warning, one worker, and the four slots that two would have


class Uneven(CountingEnv):
    """Takes its time in slot 0."""

    def step(self, action, lanes=None):
        if self.slot == 0:
            time.sleep(0.05)
        return super().step(action, lanes)


def test_without_order_whoever_is_ready_is_first():
    def run_slots(ordered: bool) -> list[int]:
        loader = ae.Loader(Uneven(), num_workers=2, in_flight=2, steps_per_epoch=60, ordered=ordered)
        seen = []
        for timestep in loader:
            seen.append((timestep.ticket.slot, timestep.ticket.step))
            timestep.reply(torch.tensor([1, 2]))
        loader.close()
        for slot in (0, 1):  # each stream is what it always is
            steps = [step for number, step in seen if number == slot]
            assert steps == list(range(len(steps)))
        return [slot for slot, _ in seen]

    assert run_slots(ordered=True) == [0, 1] * 30
    assert run_slots(ordered=False).count(1) > 40


def test_without_order_a_pass_over_data_still_has_each_sample_once():
    env = ae.DatasetEnv({"x": torch.arange(24.0)[:, None]}, batch_size=2, epochs=1, shuffle=True)
    loader = ae.Loader(env, num_workers=2, in_flight=4, ordered=False)
    for _ in range(2):
        seen = [x for timestep in loader for x in timestep.observation["x"][:, 0].tolist()]
        assert sorted(seen) == [float(number) for number in range(24)]
    loader.close()


@pytest.mark.slow
@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_every_way_to_start_a_process(alone, context):
    loader = make_loader(2, context=context)
    assert run(loader) == alone
    loader.close()


@pytest.mark.every(3)
@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0), (2, 1), (1, 1)])
@pytest.mark.parametrize("stop", [1, 7, 33, 119])
def test_a_state_goes_on_exactly_under_any_number_of_workers(alone, before, after, stop):
    loader = make_loader(before)
    assert run(loader, stop) == alone[:stop]
    buffer = io.BytesIO()
    torch.save(loader.state_dict(), buffer)
    loader.close()
    buffer.seek(0)
    resumed = make_loader(after)
    resumed.load_state_dict(torch.load(buffer, weights_only=True))
    assert run(resumed) == alone[stop:]
    resumed.close()


@pytest.mark.every(7)
@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("stop", [1, 2, 9, 28, 53])
def test_a_step_that_was_not_completed_is_handed_out_once_more(alone, num_workers, answered, stop):
    loader = make_loader(num_workers)
    for number, timestep in enumerate(loader, start=1):
        if answered or number < stop:
            answer(loader, timestep)
        if number == stop:
            break
    for _ in range(2):  # the second time at the very step that is handed out once more
        buffer = io.BytesIO()
        torch.save(loader.state_dict(replay=True), buffer)
        loader.close()
        loader = make_loader(num_workers)
        buffer.seek(0)
        loader.load_state_dict(torch.load(buffer, weights_only=True))
        timestep = next(iter(loader))
        assert describe(timestep) == alone[stop - 1]
        if answered:
            answer(loader, timestep)
    state = loader.state_dict(replay=True)
    loader.close()
    loader = make_loader(num_workers)
    loader.load_state_dict(state)
    assert run(loader) == alone[stop - 1 :]
    loader.close()


@pytest.mark.parametrize("stop", [7, 33])
def test_a_restored_state_that_was_not_gone_on_from_is_the_same_state(alone, stop):
    loader = make_loader(2)
    assert run(loader, stop) == alone[:stop]
    for num_workers in (1, 0):
        state = loader.state_dict()
        loader.close()
        loader = make_loader(num_workers)
        loader.load_state_dict(state)
    assert run(loader) == alone[stop:]


def test_taking_a_state_disturbs_nothing(alone):
    loader = make_loader(2)
    seen = []
    for timestep in loader:
        seen.append(describe(timestep))
        if len(seen) % 10 == 3:
            loader.state_dict()
        answer(loader, timestep)
        if len(seen) % 10 == 7:
            loader.state_dict()
    assert seen == alone
    loader.close()


class SlowToTell(CountingEnv):
    """Takes long over its state, so that one can break it off."""

    def state_dict(self):
        time.sleep(0.5)
        return super().state_dict()


def test_the_reply_to_a_call_that_was_broken_off_is_not_taken_for_another():
    def interrupt(*_):
        raise KeyboardInterrupt

    loader = ae.Loader(SlowToTell(), num_workers=1, in_flight=1, steps_per_epoch=3)
    for timestep in loader:
        timestep.reply(torch.tensor([1, 2]))
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            loader.state_dict()
        assert loader.broken == {} and loader.statistics == {}
        state = loader.state_dict()["sources"]["SlowToTell"]["slots"]["0"]
        assert state["type"] == "SlowToTell"
    finally:
        signal.signal(signal.SIGALRM, before)
        loader.close()


def test_a_timestep_is_never_written_over_while_somebody_holds_it():
    loader = ae.Loader(CountingEnv(num_envs=4), num_workers=1, in_flight=2, steps_per_epoch=200)
    kept, views = [], []
    for timestep in loader:
        kept.append(timestep)
        views.append(timestep.observation["observation"][1:2].view(1, 1))  # a view alone keeps its memory, too
        timestep.reply(torch.zeros(4, dtype=torch.int64))
    for slot in (0, 1):
        counts = [t.observation["observation"].tolist() for t in kept if t.ticket.slot == slot]
        assert counts == [[float(step)] * 4 for step in range(100)]
    steps = [timestep.ticket.step for timestep in kept]
    del kept, timestep
    gc.collect()
    assert [view.item() for view in views] == steps
    loader.close()


def test_nothing_of_ours_runs_when_a_block_comes_back():
    memory = np.zeros(8, np.uint8).view(Lease)
    lender, calls = Lender(1), []
    block = lender.free.pop()
    lease = memory[:4]
    lender.lend(block, lease)
    sys.setprofile(lambda frame, event, argument: calls.append((event, frame.f_code.co_name)))
    del lease  # Python that runs here would swallow a Ctrl-C
    sys.setprofile(None)
    assert not [name for event, name in calls if event == "call"]
    assert lender.free == [block]


def test_blocks_come_back_when_their_timesteps_have_gone():
    loader = ae.Loader(CountingEnv(num_envs=4), num_workers=1, in_flight=1, steps_per_epoch=300)
    places = set()
    for timestep in loader:
        places.add(timestep.reward.data_ptr())
        timestep.reply(torch.zeros(4, dtype=torch.int64))
    assert len(places) <= 6
    loader.close()


def test_sources_of_one_slot_share_blocks_and_keep_their_keys():
    def keys(num_workers):
        with_rewards = CountingEnv(2, [1, 4], nested=True).pipe(ae.ObserveReward)
        env = ae.Interleave({"a": with_rewards, "b": CountingEnv(1, [2])}, lambda step: step * step % 5 % 2)
        loader = ae.Loader(env, num_workers=num_workers, in_flight=2, steps_per_epoch=60)
        seen = []
        for timestep in loader:
            seen.append((timestep.source, sorted(path for path, _ in flatten(timestep.observation))))
            timestep.reply(torch.ones(len(timestep.reward), dtype=torch.int64))
        loader.close()
        return seen

    assert keys(2) == keys(0)


def test_a_missing_answer_is_known_at_once():
    loader = ae.Loader(CountingEnv(), num_workers=1, in_flight=1, steps_per_epoch=5)
    start = time.monotonic()
    with pytest.raises(FeedbackError, match="expected an answer to step 0"):
        list(loader)
    assert time.monotonic() - start < 5
    loader.close()


@pytest.mark.parametrize("on_missing", ["repeat", "sample"])
def test_streams_that_go_on_without_an_answer_do_so_in_workers(on_missing):
    zero, one = (rewards_with_few_answers(CountingEnv(), num_workers=count, on_missing=on_missing) for count in (0, 1))
    assert zero == one


def test_answers_are_checked_where_they_are_given():
    loader = ae.Loader(CountingEnv(), num_workers=1, in_flight=1, steps_per_epoch=5)
    stream = iter(loader)
    timestep = next(stream)
    with pytest.raises(ae.ActionError, match=r"\[2\]"):
        timestep.reply(torch.zeros(3, dtype=torch.int64))
    timestep.reply(torch.tensor([1, 2]))
    timestep.reply(torch.tensor([1, 2]))
    with pytest.raises(FeedbackError, match="answered before with other values"):
        timestep.reply(torch.tensor([2, 2]))
    assert next(stream).reward.tolist() == [1, 2]
    with pytest.raises(FeedbackError, match="left behind"):
        timestep.reply(torch.tensor([1, 1]))
    loader.close()
    with pytest.raises(FeedbackError, match="expected an open stream"):
        timestep.reply(torch.tensor([1, 2]))


def test_errors_of_this_library_keep_their_type():
    loader = ae.Loader(
        ae.GymnasiumEnv("CartPole-v1", num_envs=2).pipe(ae.Lambda, reward=lambda reward: reward[:1]),
        num_workers=1,
        steps_per_epoch=5,
    )
    with pytest.raises(SpecError, match="expected reward= to return"):
        list(loader)
    loader.close()


def test_a_loader_that_was_closed_amid_a_step_starts_over(alone):
    loader = make_loader(2)
    for _ in range(2):
        assert run(loader, stop=31) == alone[:31]
        loader.close()
        loader.restart()


def test_drive_and_evaluation_run_in_workers():
    none, two = (trajectories(make_loader(count, steps_per_epoch=30)) for count in (0, 2))
    assert none == two
    assert episodes() == episodes(num_workers=1)


SCRIPT = """
    import os, sys, time, torch, aexp_torch as ae
    from aexp_torch.testing import CountingEnv
    loader = ae.Loader(CountingEnv(), num_workers=2, in_flight=2, steps_per_epoch=10**6)
    for number, timestep in enumerate(loader):
        timestep.reply(torch.tensor([1, 2]))
        if number == 50:
            import multiprocessing
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
        if number > 50 and sys.argv[1] == "raise":
            raise RuntimeError("boom")
        time.sleep(0.001)
"""


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("how", ["raise", "SIGINT", "SIGKILL"])
def test_nothing_is_left_behind(how):
    before = set(os.listdir("/dev/shm"))
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        if how != "raise":
            process.send_signal(getattr(signal, how))
        try:
            process.wait(20)
        finally:
            process.kill()
    deadline = time.monotonic() + 10
    while not all(map(_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert all(map(_gone, workers))
    assert not [name for name in set(os.listdir("/dev/shm")) - before if "aexp" in name]


def test_a_loader_that_is_garbage_ends_its_workers_in_whatever_order_it_is_collected():
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    loader = make_loader(2)
    next(iter(loader))
    loader.itself = loader  # so that its parts are collected together, in an order that nobody knows
    workers = [worker.pid for worker in loader._workers]
    del loader
    gc.collect()  # what a finalizer raises is a failure of this test, too
    assert all(map(_gone, workers))
    assert len(os.listdir("/proc/self/fd")) == descriptors


class Enormous(CountingEnv):
    """Promises an observation of 16 TiB a lane."""

    def make_specs(self):
        """Changes the observation."""
        ((name, spec),) = super().make_specs().items()
        observation = {"x": specs.Array((2**42,), np.float32)}
        return {name: EnvSpec(observation, spec.action, num_envs=spec.num_envs)}


def test_a_slot_that_needs_more_memory_than_there_is_says_how_much():
    with pytest.raises(AexpError, match=r"expected 100,663,296\.\d MiB of shared memory for .*MiB are free.*in_flight"):
        ae.Loader(Enormous(1), num_workers=1, steps_per_epoch=4)
    assert not multiprocessing.active_children()


V1 = {"limit_in_bytes": 4000, "usage_in_bytes": 1500, "stat": "cache 7\ntotal_inactive_file 500"}
V2 = {"max": 4000, "current": 1500, "stat": "anon 7\ninactive_file 500"}


@pytest.mark.parametrize(
    ("group", "folder", "files", "free"),
    [
        ("4:memory:/pod/one", "sys/fs/cgroup/memory/pod/one", V1, 3000),
        ("0::/pod", "sys/fs/cgroup/pod", V2, 3000),
        ("0::/elsewhere", "sys/fs/cgroup", V2, 3000),  # as a container sees its own group
        ("0::/", "sys/fs/cgroup", {**V2, "max": "max"}, 8192),
        ("1:cpu:/pod", "sys/fs/cgroup/cpu/pod", {}, 8192),
    ],
)
def test_memory_is_what_the_control_group_leaves(group, folder, files, free, tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 8 kB\n")
    (tmp_path / "proc/self/cgroup").write_text(f"{group}\n3:pids:/\n")
    (tmp_path / folder).mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / folder / f"memory.{name}").write_text(f"{text}\n")
    assert free_memory(tmp_path) == free
