"""The way back: every way to get it wrong, and every loader that may sit in between."""

import contextlib
import copy
import gc
import itertools
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import torch
from dm_env import specs
from torch.utils.data import DataLoader

import aexp_torch as ae
from aexp_torch.errors import ActionError, FeedbackError, SpecError
from aexp_torch.specs import EnvSpec
from aexp_torch.testing import CountingEnv
from aexp_torch.timestep import restart, truncation

pytestmark = pytest.mark.timeout(60)


def answer(*values):
    return torch.tensor(values or (1, 2))


class Actions(ae.Env):
    """Takes any action spec; every second timestep is LAST."""

    def __init__(self, action, num_envs=2, **options):
        super().__init__(**options)
        self.action, self.num_envs = action, num_envs

    def on_open(self):
        self.received = []
        self._odd = False

    def make_specs(self):
        return {self.name: EnvSpec({"zero": specs.Array((), np.float32)}, self.action, num_envs=self.num_envs)}

    def reset(self, lanes=None):
        self._odd = False
        return restart({"zero": torch.zeros(self.num_envs)}, self.num_envs)

    def step(self, action, lanes=None):
        self.received.append(action)
        self._odd = not self._odd
        zeros = torch.zeros(self.num_envs)
        return truncation({"zero": zeros}, zeros) if self._odd else restart({"zero": zeros}, self.num_envs)


# Answers that do not fit


def test_no_answer_is_an_error_at_once_that_names_all():
    stream = iter(CountingEnv(name="counter", feedback_timeout=60))
    next(stream).reply(answer())
    next(stream)
    start = time.monotonic()
    with pytest.raises(FeedbackError, match=r"'counter' \(slot 0\): expected an answer to step 1 .*reply\(action\)"):
        next(stream)
    assert time.monotonic() - start < 1


def test_the_same_answer_again_is_accepted_until_the_stream_moves_on():
    env = CountingEnv()
    timestep = env.reset()
    for _ in range(3):
        timestep.reply(answer())
        timestep.reply({"action": answer()})
    following = env.step(answer())
    assert following.reward.tolist() == [1, 2]
    with pytest.raises(FeedbackError, match="expected the answer to step 1, got one to step 0"):
        timestep.reply(answer())


def test_another_answer_is_refused_and_the_first_counts():
    env = CountingEnv()
    timestep = env.reset()
    timestep.reply(answer())
    with pytest.raises(FeedbackError, match="step 0 was answered before with other values"):
        timestep.reply(answer(1, 3))
    with pytest.raises(FeedbackError, match="step 0 was answered before with other values"):
        env.step(answer(1, 3))
    stream = iter(env)
    assert next(stream).reward.tolist() == [1, 2]


def test_equal_answers_that_hold_nan_are_the_same():
    env = Actions({"a": specs.Array((2,), np.float32), "b": specs.Array((), bool)})
    timestep = env.reset()
    action = {"a": torch.tensor([[0.0, torch.nan], [torch.inf, 1]]), "b": torch.tensor([True, False])}
    timestep.reply(action)
    timestep.reply(copy.deepcopy(action))
    with pytest.raises(FeedbackError, match="other values"):
        timestep.reply(action | {"b": torch.tensor([True, True])})
    with pytest.raises(FeedbackError, match="other values"):
        timestep.reply(action | {"a": torch.zeros(2, 2)})


def test_an_answer_is_copied_when_it_is_given():
    env = CountingEnv()
    action = answer()
    env.reset().reply(action)
    action += 1
    assert next(iter(env)).reward.tolist() == [1, 2]


@pytest.mark.parametrize("how", ["close", "reset", "load"])
def test_an_answer_to_a_stream_that_has_gone_is_refused(how):
    env = CountingEnv(name="counter")
    timestep = env.reset()
    state = env.state_dict()
    timestep = env.step(answer())
    {"close": env.close, "reset": env.reset, "load": lambda: env.load_state_dict(state)}[how]()
    with pytest.raises(FeedbackError, match=r"'counter' \(slot 0\): expected .*step 1"):
        timestep.reply(answer())


def test_an_answer_through_a_stage_that_was_closed_is_refused():
    env = CountingEnv().pipe(ae.ObserveReward)
    timestep = env.reset()
    env.close()
    with pytest.raises(FeedbackError, match="it was closed before the answer to step 0 came"):
        timestep.reply(answer())


def test_a_timestep_without_a_ticket_says_so():
    with pytest.raises(FeedbackError, match="expected a timestep with a ticket"):
        restart({}, 2).reply(answer())


BOUNDED = specs.BoundedArray((2,), np.float32, [-1, 0], [1, np.inf])
CHOICE = specs.DiscreteArray(5, np.int64)
NESTED = {"move": CHOICE, "arm": {"turn": BOUNDED}}
WRONG = [
    ({"action": CHOICE}, [1, 2], "expected .*tensor.*, got list"),
    ({"action": CHOICE}, None, "expected a tensor torch.int64"),
    ({"action": CHOICE}, torch.tensor([1.0, 2.0]), r"'action' as torch.int64 \[2\], got .*torch.float32 \[2\]"),
    ({"action": CHOICE}, torch.tensor([1, 2], dtype=torch.int32), "got .*torch.int32"),
    ({"action": CHOICE}, torch.tensor([1]), r"got .*torch.int64 \[1\]"),
    ({"action": CHOICE}, torch.tensor([1, 2, 3]), r"got .*torch.int64 \[3\]"),
    ({"action": CHOICE}, torch.tensor(1), r"got .*torch.int64 \[\]"),
    ({"action": CHOICE}, torch.tensor([[1], [2]]), r"got .*torch.int64 \[2, 1\]"),
    ({"action": CHOICE}, torch.tensor([1, 5]), r"in 0\.\.4, got 5 in lane 1"),
    ({"action": CHOICE}, torch.tensor([-1, 4]), r"in 0\.\.4, got -1 in lane 0"),
    ({"action": CHOICE}, {"move": torch.tensor([1, 2])}, r"missing \['action'\], unknown \['move'\]"),
    ({"action": CHOICE}, {"action": torch.tensor([1, 2]), "x": torch.zeros(2)}, r"missing \[\], unknown \['x'\]"),
    ({"action": CHOICE}, {}, r"missing \['action'\]"),
    ({"action": BOUNDED}, torch.tensor([[0, 0], [1.5, 0]]), "got 1.5 in lane 1"),
    ({"action": BOUNDED}, torch.tensor([[0, 0], [0, -0.1]]), "got -0.1.* in lane 1"),
    ({"action": BOUNDED}, torch.tensor([[0, torch.nan], [0, 0]]), "got nan in lane 0"),
    ({"action": BOUNDED}, torch.zeros(2, 2, dtype=torch.float64), "got .*torch.float64"),
    (NESTED, torch.tensor([1, 2]), r"expected a dict \{move: .*arm/turn: .*got .*torch.int64 \[2\]"),
    (NESTED, {"move": torch.tensor([1, 2])}, r"missing \['arm/turn'\]"),
    (NESTED, {"move": torch.tensor([1, 2]), "arm": torch.zeros(2, 2)}, r"missing \['arm/turn'\], unknown \['arm'\]"),
    (NESTED, {"move": torch.tensor([1, 2]), "arm": {"turn": torch.ones(2, 2) * 2}}, "'arm/turn' .*got 2.0 in lane 0"),
    ({}, torch.tensor([1, 2]), "expected no answer"),
    ({}, {"action": torch.tensor([1, 2])}, "expected no answer"),
]


@pytest.mark.parametrize("way", ["reply", "step", "socket"])
@pytest.mark.parametrize(("spec", "action", "match"), WRONG)
def test_an_answer_that_does_not_fit(spec, action, match, way):
    env = Actions(spec, name="arm")
    timestep = env.reset()
    reply = {"reply": timestep.reply, "step": env.step, "socket": lambda action: remote(timestep).reply(action)}[way]
    with pytest.raises(ActionError, match=match) as caught:
        reply(action)
    assert "'arm' (slot 0)" in str(caught.value)
    assert "step 0" in str(caught.value)
    assert isinstance(caught.value, FeedbackError) and isinstance(caught.value, SpecError)


def remote(timestep):
    """Makes a timestep answer over the socket, as in another process."""
    from aexp_torch.feedback_socket import RemoteMailbox

    _, (source, slot, step, address) = timestep.ticket.__reduce__()
    assert isinstance(address, RemoteMailbox)
    return timestep._replace(ticket=ae.Ticket(source, slot, step, address))


RIGHT = [
    ({"action": CHOICE}, torch.tensor([0, 4])),
    ({"action": CHOICE}, np.array([0, 4])),
    ({"action": BOUNDED}, torch.tensor([[-1.0, 0], [1, 1e30]])),
    ({"action": specs.Array((2,), np.float32)}, torch.full((2, 2), torch.nan)),
    ({"action": specs.Array((2,), np.float32)}, torch.zeros(2, 2, requires_grad=True)),
    ({"action": specs.Array((3, 2), np.uint8)}, torch.arange(12, dtype=torch.uint8).view(2, 2, 3).transpose(1, 2)),
    ({"deep": {"only": specs.Array((), bool)}}, torch.tensor([True, False])),
    (NESTED, {"arm": {"turn": torch.zeros(2, 2)}, "move": torch.tensor([1, 2])}),
    ({"empty": specs.Array((0,), np.float32)}, torch.zeros(2, 0)),
]


@pytest.mark.parametrize("way", ["reply", "step", "socket"])
@pytest.mark.parametrize(("spec", "action"), RIGHT)
def test_an_answer_that_fits_arrives_as_it_was_given(spec, action, way):
    env = Actions(spec)
    timestep = env.reset()
    if way == "step":
        env.step(action)
    else:
        (timestep if way == "reply" else remote(timestep)).reply(action)
        next(iter(env))
    (received,) = env.received
    leaves = list(flat(received))
    given = list(flat(action)) if isinstance(action, dict) else [torch.as_tensor(action).detach()]
    assert all(isinstance(leaf, torch.Tensor) for leaf in leaves)
    for one, other in zip(sorted(leaves, key=torch.numel), sorted(given, key=torch.numel), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def flat(tree):
    for value in tree.values():
        yield from flat(value) if isinstance(value, dict) else [value]


def test_one_lane_needs_its_axis_over_the_socket_too():
    timestep = CountingEnv(1).reset()
    for copied in (timestep, remote(timestep)):
        with pytest.raises(ActionError, match=r"torch.int64 \[1\], got .*\[\]"):
            copied.reply(torch.tensor(1))


@pytest.mark.parametrize("way", ["reply", "socket"])
def test_where_all_lanes_are_last_values_do_not_matter_but_shape_and_dtype_do(way):
    env = Actions({"action": specs.BoundedArray((), np.int64, 2, 4)})
    env.reset()
    last = env.step(torch.tensor([2, 3]))
    assert last.last().all()
    last = last if way == "reply" else remote(last)
    for wrong in (torch.tensor([9.0, 9.0]), torch.tensor([9]), {"other": torch.tensor([9, 9])}):
        with pytest.raises(ActionError):
            last.reply(wrong)
    last.reply(torch.tensor([9, 9]))
    assert next(iter(env)).first().all()
    assert 2 <= env.received[-1]["action"].min() <= env.received[-1]["action"].max() <= 4


def test_where_some_lanes_are_last_values_matter():
    env = CountingEnv(2, lengths=[1, 2])
    env.reset()
    timestep = env.step(answer())
    assert timestep.last().tolist() == [True, False]
    with pytest.raises(ActionError, match="got 9 in lane 0"):
        timestep.reply(answer(9, 1))


@pytest.mark.parametrize("reply", [None, {}])
def test_with_an_empty_action_spec_no_answer_is_due(reply):
    env = CountingEnv(num_actions=0)
    timestep = env.reset()
    timestep.reply(reply)
    remote(timestep).reply(reply)
    for _, timestep in zip(range(3), env):
        timestep.reply(reply)
    assert timestep.ticket.step == 3
    assert env.step(reply).ticket.step == 4


# Going on without an answer


def test_on_missing_repeat_goes_on_with_the_answer_before():
    env = CountingEnv(on_missing="repeat", lengths=[99, 99])
    stream = iter(env)
    next(stream)
    next(stream).reply(answer(3, 4))
    assert [next(stream).reward.tolist() for _ in range(3)] == [[3, 4]] * 3


def test_on_missing_sample_draws_from_the_seed():
    def received(seed):
        env = CountingEnv(1, lengths=[99], on_missing="sample", seed=seed)
        return [timestep.reward.item() for _, timestep in zip(range(30), env)][1:]

    assert received(0) == received(0) != received(1)
    assert set(received(0)) == {0, 1, 2, 3, 4}


def test_a_stage_and_a_composition_have_their_own_on_missing():
    env = CountingEnv(on_missing="sample").pipe(ae.ObserveReward)
    assert [timestep.ticket.step for _, timestep in zip(range(3), env)] == [0, 1, 2]
    strict = ae.Interleave([CountingEnv(on_missing="sample")])
    with pytest.raises(FeedbackError, match="expected an answer to step 0"):
        list(zip(range(3), strict))
    lenient = ae.Interleave([CountingEnv()], on_missing="repeat")
    assert [timestep.ticket.step for _, timestep in zip(range(3), lenient)] == [0, 1, 2]


def test_on_missing_is_checked():
    with pytest.raises(SpecError, match="expected on_missing='error', 'repeat' or 'sample', got 'wait'"):
        CountingEnv(on_missing="wait")


# Copies, threads


@pytest.mark.parametrize(
    "duplicate",
    [
        copy.copy,
        copy.deepcopy,
        lambda timestep: pickle.loads(pickle.dumps(timestep)),
        lambda timestep: timestep.to("cpu"),
        lambda timestep: timestep._replace(reward=None),
        lambda timestep: torch.utils.data.default_convert(timestep),
    ],
)
def test_a_copy_answers_to_the_same_place(duplicate):
    env = CountingEnv()
    timestep = env.reset()
    copied = duplicate(timestep)
    assert type(copied) is ae.TimeStep
    assert copied.source == timestep.source == "CountingEnv"
    copied.reply(answer())
    timestep.reply(answer())
    with pytest.raises(FeedbackError, match="other values"):
        timestep.reply(answer(0, 0))
    assert next(iter(env)).reward.tolist() == [1, 2]


def test_lightning_moves_a_timestep_as_it_is():
    from lightning.fabric.utilities import move_data_to_device

    env = CountingEnv(nested=True)
    moved = move_data_to_device(env.reset(), torch.device("cpu"))
    moved.reply(answer())
    assert next(iter(env)).reward.tolist() == [1, 2]


def test_a_stream_in_a_thread_waits_for_its_answer():
    env = CountingEnv(lengths=[99, 99])
    rewards, shown = [], []
    arrived = threading.Semaphore(0)

    def run():
        for _, timestep in zip(range(20), env):
            shown.append(timestep)
            rewards.append(timestep.reward[0].item())
            arrived.release()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    for step in range(20):
        assert arrived.acquire(timeout=10)
        shown[-1].reply(answer(step % 5, 0))
    thread.join(10)
    assert not thread.is_alive()
    assert rewards == [0] + [step % 5 for step in range(19)]


def test_a_stream_in_a_thread_gives_up_after_feedback_timeout():
    env = CountingEnv(feedback_timeout=0.2)
    errors = []

    def run():
        try:
            list(zip(range(2), env))
        except FeedbackError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert len(errors) == 1 and "none came within 0.2 s" in errors[0]


def test_a_thread_may_answer_before_the_main_thread_asks():
    env = CountingEnv()
    stream = iter(env)
    timestep = next(stream)
    thread = threading.Thread(target=timestep.reply, args=(answer(),))
    thread.start()
    thread.join()
    assert next(stream).reward.tolist() == [1, 2]


# DataLoader


def follow(loader, num_steps):
    """Answers so that each stream's rewards tell who answered what, and returns them by slot."""
    rewards = {}
    for _, timestep in zip(range(num_steps), loader):
        slot, step = timestep.ticket.slot, timestep.ticket.step
        mine = rewards.setdefault(slot, [])
        assert step == len(mine)
        mine.append(timestep.reward.tolist())
        timestep.reply(answer(step % 5, slot))
    return rewards


def expected_rewards(slot, num_steps):
    return [[0, 0]] + [[step % 5, slot] for step in range(num_steps - 1)]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_a_dataloader_carries_answers_home(num_workers):
    env = CountingEnv(lengths=[99, 99])
    env.reset()
    env.close()
    loader = DataLoader(env, batch_size=None, num_workers=num_workers)
    rewards = follow(loader, 20)
    slots = max(num_workers, 1)
    assert rewards == {slot: expected_rewards(slot, 20 // slots) for slot in range(slots)}
    assert_no_children()


def test_a_dataloader_with_spawned_workers():
    env = CountingEnv(lengths=[99, 99]).pipe(ae.ObserveReward)
    loader = DataLoader(env, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    assert follow(loader, 12) == {slot: expected_rewards(slot, 6) for slot in range(2)}
    assert_no_children()


def test_an_open_env_is_a_recipe_in_forked_workers():
    env = CountingEnv(lengths=[99, 99])
    here = env.reset()
    for _ in range(3):
        here = env.step(answer())
    assert follow(DataLoader(env, batch_size=None, num_workers=2), 8)[1] == expected_rewards(1, 4)
    assert env.step(answer()).ticket.step == here.ticket.step + 1


def test_a_finite_stream_ends_in_every_worker_and_starts_over():
    finite = DataLoader(CountingEnv(stream_length=4), batch_size=None, num_workers=2)
    for _ in range(2):
        assert {slot: len(rewards) for slot, rewards in follow(finite, 99).items()} == {0: 4, 1: 4}
    assert_no_children()


def test_the_stream_of_a_persistent_worker_goes_on():
    loader = DataLoader(CountingEnv(stream_length=3), batch_size=None, num_workers=1, persistent_workers=True)
    steps = []
    for _ in range(2):
        for timestep in loader:
            steps.append((timestep.ticket.step, timestep.observation["observation"][0].item()))
            timestep.reply(answer())
    assert steps == [(step, float(step)) for step in range(6)]
    del loader
    assert_no_children()


def num_connections():
    return sum(
        "socket" in os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    )


def test_connections_to_workers_that_have_gone_are_closed():
    loader = DataLoader(CountingEnv(stream_length=2), batch_size=None, num_workers=1)
    follow(loader, 99)
    before = num_connections()
    for _ in range(3):
        follow(loader, 99)
    assert num_connections() <= before


def test_a_dataset_in_workers_is_dealt_out_once():
    data = torch.arange(10)
    env = ae.DatasetEnv({"x": data}, batch_size=2, epochs=1)
    seen = [timestep.observation["x"].tolist() for timestep in DataLoader(env, batch_size=None, num_workers=2)]
    assert sorted(itertools.chain(*seen)) == list(range(10))
    env = ae.DatasetEnv({"x": data[:2]}, batch_size=2, epochs=1)
    seen = [timestep.observation["x"].tolist() for timestep in DataLoader(env, batch_size=None, num_workers=2)]
    assert seen == [[0, 1]]


def test_wrong_answers_to_a_worker_are_refused_here():
    env = CountingEnv(name="counter")
    for timestep in DataLoader(env, batch_size=None, num_workers=1):
        with pytest.raises(ActionError, match=r"'counter' \(slot 0\): the answer to step 0 .*got 7 in lane 0"):
            timestep.reply(answer(7, 7))
        with pytest.raises(ActionError, match="expected .*tensor.*got list"):
            timestep.reply([1, 2])
        timestep.reply(answer())
        timestep.reply(answer())
        with pytest.raises(FeedbackError, match="step 0 was answered before with other values"):
            timestep.reply(answer(0, 0))
        break
    with pytest.raises(FeedbackError, match=r"'counter' \(slot 0\): expected an open stream.*answer to step 0"):
        timestep.reply(answer())


def test_an_answer_that_never_comes_from_the_consumer_of_a_worker():
    env = CountingEnv(name="counter", feedback_timeout=0.3)
    loader = DataLoader(env, batch_size=None, num_workers=1)
    start = time.monotonic()
    with pytest.raises(FeedbackError, match=r"'counter' \(slot 0\): expected an answer to step 0.* none came\s+within"):
        list(loader)
    assert time.monotonic() - start < 5
    assert_no_children()


def test_leaving_a_loop_over_workers_is_fast():
    loader = DataLoader(CountingEnv(), batch_size=None, num_workers=2)
    stream = iter(loader)
    for _ in range(4):
        next(stream).reply(answer())
    next(stream)
    start = time.monotonic()
    del stream
    assert time.monotonic() - start < 2
    assert_no_children()


def test_an_exception_in_the_loop_leaves_no_worker():
    def train():
        for timestep in DataLoader(CountingEnv(), batch_size=None, num_workers=2):
            raise RuntimeError(f"at {timestep.ticket}")

    start = time.monotonic()
    with pytest.raises(RuntimeError, match=r"at Ticket\('CountingEnv', slot=0, step=0\)"):
        train()
    assert time.monotonic() - start < 5
    assert_no_children()


def assert_no_children():
    gc.collect()  # torch re-raises a worker's error in a frame that refers to itself, and the iterator with it
    deadline = time.monotonic() + 3
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


LOOP = """
    import sys
    import torch
    from torch.utils.data import DataLoader
    from aexp_torch.testing import CountingEnv

    loader = DataLoader(CountingEnv(feedback_timeout=600), batch_size=None, num_workers=2)
    for count, timestep in enumerate(loader):
        if count == 4:
            import multiprocessing
            print(*[child.pid for child in multiprocessing.active_children()], flush=True)
            sys.stdin.read()
        timestep.reply(torch.tensor([1, 2]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_parent_that_dies_leaves_no_worker(number):
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(LOOP)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        workers = [int(pid) for pid in child.stdout.readline().split()]
        assert len(workers) == 2
        child.send_signal(number)
        child.wait(10)
        deadline = time.monotonic() + 15  # one that waits for work looks for its parent every 5 seconds (torch's own)
        while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        left = [pid for pid in workers if is_running(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# The socket


def test_the_socket_refuses_what_is_no_answer():
    import socket

    from aexp_torch.feedback_socket import PostOffice

    env = CountingEnv()
    timestep = env.reset()
    pickle.dumps(timestep)
    for junk in (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 64, b"AEX1" + b"\xff" * 60):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(PostOffice.of_this_process().path)
            connection.sendall(junk)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    remote(timestep).reply(answer())
    assert next(iter(env)).reward.tolist() == [1, 2]


def test_an_address_is_never_used_again():
    env = CountingEnv()
    for _ in range(20):
        stale = remote(env.reset())
        env.close()
        pickle.dumps(env.reset())
        with pytest.raises(FeedbackError, match="closed"):
            stale.reply(answer())
        env.close()


def test_numbers_of_mailboxes_are_never_used_again():
    from aexp_torch.feedback import Mailbox
    from aexp_torch.feedback_socket import PostOffice

    office = PostOffice.of_this_process()
    assert len({office.address_of(Mailbox("counter", 0)).number for _ in range(50)}) == 50
    box = Mailbox("counter", 0)
    assert office.address_of(box).number == office.address_of(box).number
