"""Ray actors: the same timesteps as in one process, on a real cluster of two nodes, and nothing left behind."""

import gc
import io
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings

import lightning
import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import aexp_torch as ae
from aexp_torch.errors import AexpError, FeedbackError, MissingDependencyError, SpecError
from aexp_torch.loading import ray_worker
from aexp_torch.testing import CountingEnv
from lightning_modules import ExperienceDataModule
from tests.loading.mixed import (
    answer,
    describe,
    episodes,
    make_loader,
    rewards_with_few_answers,
    run,
    slot_by_slot,
    trajectories,
)

ANSWER = torch.tensor([1, 2])
BOTH_NODES = [{"resources": {"one": 1}}, {"resources": {"two": 1}}]
NODE = {"include_dashboard": False, "object_store_memory": 80 * 2**20, "num_cpus": 4}


@pytest.fixture(scope="module")
def cluster():
    with (
        tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_TMPDIR", folder)  # a short name: there will be sockets
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "resources": {"one": 9}})
        try:
            cluster.add_node(**NODE, resources={"two": 9})
            ray.init(address=cluster.address, log_to_driver=False)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="module")
def alone() -> list[tuple]:
    return run(make_loader(0))


def on_ray(num_actors: int = 2, **options) -> ae.Loader:
    return make_loader(num_actors, backend="ray", ray_options=BOTH_NODES[:num_actors], **options)


def counting(env: ae.Env | None = None, **options) -> ae.Loader:
    options = {"num_workers": 1, "in_flight": 1, "steps_per_epoch": 9, **options}
    return ae.Loader(env or CountingEnv(), backend="ray", **options)


def in_actor(loader: ae.Loader, number: int, function):
    """Returns what `function` gives in an actor."""
    return ray.get(loader._workers[number]._actor.__ray_call__.remote(lambda _: function()), timeout=60)


def kill_actor(loader: ae.Loader) -> None:
    pid = in_actor(loader, 0, os.getpid)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)


def gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + 20
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, f"still there: {pids}"
        time.sleep(0.05)


def steps(loader: ae.Loader, kill_at: tuple[int, ...] = (), action=ANSWER) -> list[ae.TimeStep]:
    """Runs an epoch; before the answer to these timesteps the actor is killed."""
    seen = []
    for timestep in loader:
        seen.append(timestep)
        if len(seen) - 1 in kill_at:
            kill_actor(loader)
        if loader.specs[timestep.source].action:
            timestep.reply(action)
    return seen


def test_the_same_timesteps_from_two_nodes_and_nothing_left_behind(cluster, alone):
    loader = on_ray()
    assert run(loader) == alone
    nodes = {in_actor(loader, number, lambda: ray.get_runtime_context().get_node_id()) for number in (0, 1)}
    assert len(nodes) == 2
    pids = [in_actor(loader, number, os.getpid) for number in (0, 1)]
    loader.close()
    wait_until_gone(*pids)


@pytest.mark.parametrize(
    "stop", [7, pytest.param(1, marks=pytest.mark.slow), pytest.param(119, marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_a_state_moves_between_this_process_worker_processes_and_actors(cluster, alone, stop):
    makers = [lambda: make_loader(0), lambda: on_ray(2), lambda: make_loader(1), lambda: on_ray(1)]
    position, state = 0, None
    for make in makers + makers[:1]:
        loader = make()
        if state is not None:
            loader.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        assert run(loader, stop) == alone[position : position + stop]
        position += stop
        if position >= len(alone):
            return loader.close()
        buffer = io.BytesIO()
        torch.save(loader.state_dict(), buffer)
        state = buffer.getvalue()
        loader.close()


def test_what_is_handed_out_is_the_trainers_own(cluster):
    loader = counting(CountingEnv(num_envs=4), in_flight=2, steps_per_epoch=60)
    kept = []
    for timestep in loader:
        timestep.observation["observation"].mul_(1)  # writable
        kept.append(timestep)
        timestep.reply(torch.zeros(4, dtype=torch.int64))
    for slot in (0, 1):
        counts = [t.observation["observation"].tolist() for t in kept if t.ticket.slot == slot]
        assert counts == [[float(step)] * 4 for step in range(30)]
    loader.close()


def test_lanes_of_a_killed_actor_are_cut_off_and_start_again(cluster):
    loader = counting(CountingEnv(lengths=[50, 50]), steps_per_epoch=30)
    with pytest.warns(
        UserWarning, match=r"'CountingEnv' \(slot 0\).*Ray actor was lost: .*died.* in worker 0"
    ) as caught:
        seen = steps(loader, kill_at=(4,))
    assert len(caught) == 1 and loader.restarts == 1
    assert [timestep.step_type[0].item() for timestep in seen[3:8]] == [1, 1, 2, 0, 1]
    last = seen[5]
    assert last.reward.tolist() == [0, 0] and last.discount.tolist() == [1, 1]
    assert torch.equal(last.observation["observation"], seen[4].observation["observation"])
    assert [timestep.ticket.step for timestep in seen] == list(range(30))
    loader.close()


class Broken(CountingEnv):
    """Raises at its third step, in its first life or in every one."""

    def __init__(self, always: bool):
        super().__init__()
        self.always = always

    def step(self, action, lanes=None):
        if self._shown == 3 and (self.always or not self.restarts):
            raise ValueError("the gears are stuck")
        return super().step(action, lanes)


@pytest.mark.slow
def test_a_slot_that_raises_starts_again_until_it_is_too_often(cluster):
    loader = counting(Broken(always=False), in_flight=2, steps_per_epoch=20)
    with pytest.warns(UserWarning, match=r"(?s)ValueError: the gears are stuck.*Traceback.*in step") as caught:
        steps(loader)
    assert len(caught) == 2 and loader.restarts == 2  # one in each slot, in the same actor
    loader.close()
    loader = counting(Broken(always=True), steps_per_epoch=90, max_restarts=1)
    with pytest.warns(UserWarning, match="Restarted"):
        with pytest.raises(AexpError, match=r"ValueError: the gears are stuck.*max_restarts=1") as error:
            steps(loader)
    assert "in step" in error.value.__notes__[0]
    loader.close()


def test_answers_are_checked_where_they_are_given_and_known_to_be_missing(cluster):
    loader = counting()
    stream = iter(loader)
    timestep = next(stream)
    with pytest.raises(ae.ActionError, match=r"\[2\]"):
        timestep.reply(torch.zeros(3, dtype=torch.int64))
    timestep.reply(ANSWER)
    assert next(stream).reward.tolist() == [1, 2]
    with pytest.raises(FeedbackError, match="expected an answer to step 1"):
        next(stream)
    loader.close()
    with pytest.raises(FeedbackError, match="left behind|open stream"):
        timestep.reply(ANSWER)


def test_no_place_for_an_actor_is_an_error_that_says_what_was_asked_for(cluster, monkeypatch):
    monkeypatch.setattr(ray_worker, "START_SECONDS", 1.0)
    loader = counting(ray_options={"resources": {"three": 1}})
    with pytest.raises(AexpError, match=r"within 1 s, asked for .*'three': 1.*The cluster has \{.*'two': 9.*free"):
        next(iter(loader))
    loader.close()


@pytest.mark.slow
def test_a_dropped_loader_leaves_no_actor(cluster):
    loader = counting()
    next(iter(loader))
    pid = in_actor(loader, 0, os.getpid)
    del loader
    gc.collect()
    wait_until_gone(pid)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_workers": 0, "backend": "ray"}, "num_workers of at least 1"),
        ({"num_workers": 1, "backend": "mpi"}, "backend='process' or 'ray', got 'mpi'"),
        ({"num_workers": 1, "ray_options": {"num_cpus": 1}}, "got 'process' with ray_options="),
        ({"num_workers": 2, "backend": "ray", "ray_options": [{}]}, r"a list of num_workers=2 dicts, got \[\{\}\]"),
        ({"num_workers": 1, "backend": "ray", "ray_options": {"max_restarts": 1}}, r"where actors run, got \['max_re"),
    ],
)
def test_options_that_do_not_fit(options, text):
    with pytest.raises(SpecError, match=text):
        ae.Loader(CountingEnv(), steps_per_epoch=9, **options)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aexp_torch.loading.ray_worker", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "aexp-torch\[ray\]"'):
        counting()


class Slow(CountingEnv):
    """Never comes back from its third step, in its first life."""

    def step(self, action, lanes=None):
        if self._shown == 3 and not self.restarts:
            time.sleep(600)
        return super().step(action, lanes)


@pytest.mark.slow
def test_an_actor_that_hangs_is_replaced_after_step_timeout(cluster):
    loader = counting(Slow(), step_timeout=2.0)
    with pytest.warns(UserWarning, match=r"expected worker 0 to take a step within 2 s"):
        seen = steps(loader)
    assert [timestep.step_type[0].item() for timestep in seen][2:6] == [1, 2, 0, 1]
    loader.close()


@pytest.mark.slow
@pytest.mark.parametrize("graceful", [True, False])
def test_the_actors_of_a_lost_node_go_on_elsewhere(cluster, graceful):
    node = cluster.add_node(**NODE)
    there = NodeAffinitySchedulingStrategy(node_id=node.node_id, soft=True)
    loader = counting(
        CountingEnv(lengths=[9999, 9999]), steps_per_epoch=9999, ray_options={"scheduling_strategy": there}
    )
    types: list[int] = []

    def run_until_it_starts_again() -> None:
        for timestep in loader:
            types.append(timestep.step_type[0].item())
            if len(types) == 5:
                assert in_actor(loader, 0, lambda: ray.get_runtime_context().get_node_id()) == node.node_id
                cluster.remove_node(node, allow_graceful=graceful)
            timestep.reply(ANSWER)
            if types.count(0) == 2:
                return
            time.sleep(0.01)  # it may take the actor some seconds to notice

    with pytest.warns(UserWarning, match=r"node has died|unavailable"):
        run_until_it_starts_again()
    assert in_actor(loader, 0, lambda: ray.get_runtime_context().get_node_id()) != node.node_id
    assert types[-2:] == [2, 0] and loader.restarts >= 1
    loader.close()


@pytest.mark.slow
def test_data_goes_on_at_its_next_unread_minibatch(cluster):
    data = {"x": torch.arange(21.0)[:, None]}
    env = ae.DatasetEnv(data, batch_size=2, epochs=3, shuffle=True, drop_last=True)
    wanted = [timestep.observation["x"].tolist() for timestep in steps(ae.Loader(env, in_flight=2))]
    loader = counting(env, in_flight=2, steps_per_epoch=None)
    with pytest.warns(UserWarning, match="Restarted"):
        seen = steps(loader, kill_at=(3, 17))
    assert [timestep.observation["x"].tolist() for timestep in seen] == wanted
    loader.close()


@pytest.mark.slow
def test_other_actors_are_not_disturbed(cluster):
    with pytest.warns(UserWarning, match="Restarted"):
        with_kill = slot_by_slot(kill_actor, backend="ray")
    without = slot_by_slot(backend="ray")
    assert with_kill[1] == without[1]
    assert with_kill[0] != without[0]


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(4, 8))
@pytest.mark.parametrize("backend", ["process", "ray"])
def test_a_state_taken_around_a_restart_goes_on_exactly(cluster, stop, backend):
    env = ae.GymnasiumEnv("CartPole-v1", num_envs=2)
    loader = counting(env, steps_per_epoch=20)

    def run_on() -> tuple[dict, list]:
        state, rest = {}, []
        for number, timestep in enumerate(loader):
            if state:
                rest.append(describe(timestep))
            if number == 4:
                kill_actor(loader)
            timestep.reply(torch.tensor([0, 1]))
            if number == stop:
                state = loader.state_dict()
        return state, rest

    with pytest.warns(UserWarning, match="Restarted"):
        state, rest = run_on()
    loader.close()
    resumed = ae.Loader(env, num_workers=1, in_flight=1, steps_per_epoch=20, backend=backend)
    resumed.load_state_dict(state)
    assert [describe(timestep) for timestep in steps(resumed, action=torch.tensor([0, 1]))] == rest
    resumed.close()


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_have_the_slots_that_they_have_without_ray(cluster, rank):
    options = {"rank": rank, "world_size": 2, "in_flight": 8}
    wanted = run(make_loader(0, **options))
    loader = on_ray(2, **options)
    assert run(loader) == wanted
    loader.close()


@pytest.mark.slow
def test_without_order_every_slot_still_has_its_own_stream(cluster):
    loader = counting(num_workers=2, in_flight=4, steps_per_epoch=400, ordered=False)
    seen: dict[int, list] = {}
    for timestep in loader:
        seen.setdefault(timestep.ticket.slot, []).append(timestep.ticket.step)
        timestep.reply(ANSWER)
    assert set(seen) == {0, 1, 2, 3}
    assert all(numbers == list(range(len(numbers))) for numbers in seen.values())
    loader.close()


@pytest.mark.slow
@pytest.mark.parametrize("on_missing", ["repeat", "sample"])
def test_streams_that_go_on_without_an_answer_do_so_in_actors(cluster, on_missing):
    alone = rewards_with_few_answers(CountingEnv(), on_missing=on_missing)
    assert rewards_with_few_answers(CountingEnv(), on_missing=on_missing, num_workers=2, backend="ray") == alone


@pytest.mark.slow
def test_drive_evaluation_and_a_replayed_timestep(cluster, alone):
    assert trajectories(make_loader(0, steps_per_epoch=30)) == trajectories(on_ray(steps_per_epoch=30))
    assert episodes() == episodes(num_workers=1, backend="ray")


@pytest.mark.slow
@pytest.mark.parametrize("answered", [False, True])
def test_a_step_that_was_not_completed_is_handed_out_once_more(cluster, alone, answered):
    loader = on_ray()
    for number, timestep in enumerate(loader):
        if number == 20 and not answered:
            break
        answer(loader, timestep)
        if number == 20:
            break
    state = loader.state_dict(replay=True)
    loader.load_state_dict(state)
    assert run(loader) == alone[20:]
    loader.close()
    loader.restart()
    assert run(loader, 31) == alone[:31]  # from the start, in other actors
    loader.close()


@pytest.mark.slow
def test_stages_on_the_trainers_side_and_bad_samples(cluster):
    class Spoilt(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, index):
            if index in (4, 7):
                raise OSError("truncated file")
            return {"x": torch.tensor([float(index)])}

    envs = {
        "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=3).pipe(ae.TrainerSide).pipe(ae.Noisy, std=0.01),
        "spoilt": ae.DatasetEnv(Spoilt(), batch_size=2, on_bad_sample="skip"),
    }

    def seen(**backend) -> tuple[list, int]:
        loader = ae.Loader(envs, in_flight=2, steps_per_epoch=40, **backend)
        timesteps = run(loader)
        count = loader.bad_samples
        loader.close()
        return timesteps, count

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = seen()
    assert alone[1] == 2
    assert seen(num_workers=2, backend="ray") == alone


@pytest.mark.slow
def test_the_data_module_trains_from_actors(cluster, tmp_path):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer, self.seen = torch.nn.Linear(1, 1), 0

        def training_step(self, timestep, index):
            timestep.reply(ANSWER)
            self.seen += 1
            return self.layer(timestep.reward[:, None]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    data = ExperienceDataModule(
        CountingEnv(), steps_per_epoch=20, num_workers=1, backend="ray", ray_options=BOTH_NODES[1]
    )
    options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    module = Module()
    lightning.Trainer(max_epochs=2, default_root_dir=tmp_path, **options).fit(module, datamodule=data)
    assert module.seen == 40
    data.train_dataloader().streams.close()


SCRIPT = """
    import os, sys, time, ray, torch, aexp_torch as ae
    from aexp_torch.testing import CountingEnv
    ray.init(address=sys.argv[2], log_to_driver=False)
    loader = ae.Loader(CountingEnv(), num_workers=2, backend="ray", in_flight=2, steps_per_epoch=10**6)
    for number, timestep in enumerate(loader):
        timestep.reply(torch.tensor([1, 2]))
        if number == 50:
            calls = [worker._actor.__ray_call__.remote(lambda _: os.getpid()) for worker in loader._workers]
            print(*ray.get(calls), flush=True)
        if number > 50 and sys.argv[1] == "raise":
            raise RuntimeError("boom")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raise", "SIGINT", "SIGKILL"])
def test_no_actor_outlives_its_trainer(cluster, how):
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), how, cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        if how != "raise":
            process.send_signal(getattr(signal, how))
        try:
            process.wait(30)
        finally:
            process.kill()
    wait_until_gone(*pids)


class Unloadable(CountingEnv):
    """Cannot be unpickled."""

    def __setstate__(self, state):
        raise ModuleNotFoundError("No module named 'elsewhere'")


@pytest.mark.slow
def test_an_environment_that_does_not_load_there_is_an_error_at_once(cluster):
    loader = counting(Unloadable())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(AexpError, match="expected worker 0 to start as a Ray actor.*runtime_env") as error:
            next(iter(loader))
    assert "No module named 'elsewhere'" in error.value.__notes__[0]
    loader.close()
