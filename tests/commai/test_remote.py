"""A learner in another process, over ZeroMQ; written in C, and one that misbehaves."""

import ctypes.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from aexp_torch.commai import remote, run
from aexp_torch.commai.learners import SampleRepeatingLearner
from aexp_torch.commai.remote import RemoteLearner
from aexp_torch.errors import FeedbackError, SpecError

zmq = pytest.importorskip("zmq")
HERE = Path(__file__).parent
HAS_LIBRARY = Path("/usr/include/zmq.h").exists() and ctypes.util.find_library("zmq") and shutil.which("cc")

MISBEHAVES = """
import sys, time, zmq
what, port = sys.argv[1], sys.argv[-1]
link = zmq.Context().socket(zmq.PAIR)
link.setsockopt(zmq.LINGER, 1000)
link.connect(f"tcp://127.0.0.1:{port}")
link.send(b"good day" if what == "rude" else b"hello")
for step in range(10**9):
    link.recv(), link.recv()
    if step == 20 and what == "dies":
        link.close(); sys.exit(3)
    if step == 20 and what == "hangs":
        time.sleep(3600)
    link.send({"two": b"01", "empty": b"", "long": b"0" * 1000}.get(what, b"0") if step == 20 else b"0")
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def nobody_is_left(monkeypatch):
    """No process of those that were started, nor of those that they started, is there at the end."""
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)

    monkeypatch.setattr(remote.subprocess, "Popen", Noted)
    yield
    assert started
    until = time.monotonic() + 10
    while time.monotonic() < until and any(map(is_group, started)):
        time.sleep(0.05)
    assert not any(map(is_group, started))


def is_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def misbehaving(tmp_path):
    path = tmp_path / "learner.py"
    path.write_text(MISBEHAVES)
    return lambda what: f"{sys.executable} {path} {what}"


@pytest.mark.skipif(not HAS_LIBRARY, reason="needs the Debian package libzmq3-dev, and a C compiler")
@pytest.mark.parametrize("config, mode", [("commai", "bit"), ("mini", "byte")])
def test_a_learner_in_c(tmp_path, config, mode):
    program = tmp_path / "learner"
    subprocess.run(["cc", "-o", str(program), str(HERE / "learner.c"), "-lzmq"], check=True, timeout=60)
    with RemoteLearner(str(program), free_port(), timeout=20) as learner:
        remote = run(config, learner, mode=mode, max_steps=3000)
        process = learner._process
    assert process.poll() is not None
    assert remote == run(config, SampleRepeatingLearner, mode=mode, max_steps=3000)


@pytest.mark.parametrize(
    "what, message",
    [
        ("rude", "expected 'hello' as the first message, got b'good day'"),
        ("two", "expected one symbol .*, got b'01'"),
        ("empty", "expected one symbol .*, got b''"),
        ("dies", "has ended with exit code 3"),
        pytest.param("hangs", "within 5.0 s, nothing came", marks=pytest.mark.slow),
        pytest.param("long", "within 5.0 s, nothing came|has ended", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("nobody_is_left")
def test_what_goes_wrong_is_said(misbehaving, what, message):
    began = time.monotonic()
    with pytest.raises(FeedbackError, match=message):
        with RemoteLearner(misbehaving(what), free_port(), timeout=5.0) as learner:
            run("commai", learner, max_steps=1000)
    assert time.monotonic() - began < 30


def test_nobody_comes():
    with pytest.raises(FeedbackError, match="expected 'hello' within 0.3 s, nothing came"):
        RemoteLearner(port=free_port(), timeout=0.3)


def test_what_cannot_begin():
    with pytest.raises(SpecError, match="expected a port in 1..65535, got 0"):
        RemoteLearner(port=0)
    with pytest.raises(SpecError, match="expected a command that starts, 'no-such-program' does not"):
        RemoteLearner("no-such-program", free_port())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SpecError, match="Choose another port"):
            RemoteLearner(port=taken.getsockname()[1])


def patience(message: str) -> float:
    """Returns how long to wait, in seconds: short where nothing else is to be found out."""
    return 1.0 if "within 1.0 s" in message else 20.0


class Peer(threading.Thread):
    """Is a learner on the other side, in this process: sends some messages, then answers every step, until it is told."""

    def __init__(self, port: int, first: list, answers: list):
        super().__init__(daemon=True)
        self.port, self.first, self.answers, self.over = port, first, answers, threading.Event()
        self.start()

    def run(self):
        with zmq.Context() as context, context.socket(zmq.PAIR) as link:
            link.setsockopt(zmq.LINGER, 0)
            link.connect(f"tcp://127.0.0.1:{self.port}")
            for message in self.first:
                self.send(link, message)
            for answer in self.answers:
                for _ in range(2):
                    while not link.poll(20):
                        if self.over.is_set():
                            return
                    link.recv()
                late, message = answer if isinstance(answer, tuple) else (0, answer)
                self.over.wait(late)
                self.send(link, message)
            self.over.wait(20)

    def send(self, link, message):
        if isinstance(message, list):
            link.send_multipart(message)
        else:
            link.send(message)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.over.set()
        self.join(20)
        assert not self.is_alive()


@pytest.mark.parametrize(
    "first, message",
    [
        ([b""], "'hello' as the first message, got b''"),
        ([b"he"], "'hello' as the first message, got b'he'"),
        ([b"hello\x00"], r"got b'hello\\x00'"),
        ([b"hello\n"], r"got b'hello\\n'"),
        ([b"\xff\xfe"], r"got b'\\xff\\xfe'"),
        ([[b"hello", b""]], "'hello' in a message of one part, got several"),
        ([[b"hell", b"o"]], "'hello' in a message of one part, got several"),
        ([b"hello" * 1000], "expected 'hello' within 1.0 s, nothing came"),
        ([b"hello", b"hello"], "expected one symbol as the answer to .*, got b'hello'"),
    ],
)
def test_greetings_that_are_none(first, message):
    port = free_port()
    with Peer(port, first, []), pytest.raises(FeedbackError, match=message):
        with RemoteLearner(port=port, timeout=patience(message)) as learner:
            run("mini", learner, mode="byte", max_steps=5)


@pytest.mark.parametrize(
    "answer, message",
    [
        (b"", "got b''"),
        (b"ab", "got b'ab'"),
        (b"\xff\xfe", r"got b'\\xff\\xfe'"),
        (b"\xc3(", r"got b'\\xc3\('"),
        ([b"a", b"b"], "an answer in a message of one part, got several"),
        ([b"", b""], "an answer in a message of one part, got several"),
        (b"x" * 65, "an answer within 1.0 s, nothing came|takes messages"),
        ((30, b"a"), "an answer within 1.0 s, nothing came"),
    ],
)
def test_answers_that_are_none(answer, message):
    port = free_port()
    with Peer(port, [b"hello"], [b"a"] * 7 + [answer]), pytest.raises(FeedbackError, match=message):
        with RemoteLearner(port=port, timeout=patience(message)) as learner:
            run("mini", learner, mode="byte", max_steps=50)


@pytest.mark.parametrize("answer, mode", [("\u20ac".encode(), "byte"), (b"a", "bit"), (b"2", "bit")])
def test_symbols_that_are_none(answer, mode):
    port = free_port()
    with Peer(port, [b"hello"], [answer]), pytest.raises(SpecError, match=f"from the learner in {mode} mode"):
        with RemoteLearner(port=port, timeout=5.0) as learner:
            run("mini", learner, mode=mode, max_steps=50)


def test_all_bytes_are_symbols():
    port = free_port()
    answers = [chr(code).encode() for code in range(256)] + [bytes([code]) for code in range(128, 256)]
    with Peer(port, [b"hello"], answers), RemoteLearner(port=port, timeout=5.0) as learner:
        said = []
        for _ in answers:
            learner.try_reward(0)
            said.append(learner.next("a"))
    assert said == [chr(code) for code in (*range(256), *range(128, 256))]


def test_who_is_slow_is_waited_for():
    answers, port = [b"a", (0.3, b"b"), b"c", (0.3, b"d")], free_port()
    with Peer(port, [b"hello"], answers), RemoteLearner(port=port, timeout=5.0) as learner:
        said = []
        for _ in answers:
            learner.try_reward(0)
            said.append(learner.next("x"))
    assert said == list("abcd")


@pytest.mark.parametrize(
    "command, message",
    [
        ("sh -c 'exit 7'", "expected 'hello', the learner that was started has ended with exit code 7"),
        ("true", "has ended with exit code 0"),
        ("sh -c 'kill -9 $$'", "has ended with exit code -9"),
        ("sh -c 'sleep 1000 & sleep 1000'", "expected 'hello' within 1.0 s"),
    ],
)
@pytest.mark.usefixtures("nobody_is_left")
def test_commands_that_are_no_learners(command, message):
    with pytest.raises(FeedbackError, match=message):
        RemoteLearner(command, free_port(), timeout=patience(message))


@pytest.mark.usefixtures("nobody_is_left")
def test_a_learner_that_does_not_want_to_end(monkeypatch):
    monkeypatch.setattr(remote, "GRACE", 0.3)
    with pytest.raises(FeedbackError, match="within 1.0 s"):
        RemoteLearner("sh -c 'trap : TERM; while true; do sleep 0.1; done'", free_port(), timeout=1.0)


@pytest.mark.parametrize("command", ["", "'", "/", "no such program"])
def test_commands_that_do_not_start(command):
    with pytest.raises(SpecError, match="expected a command that starts"):
        RemoteLearner(command, free_port(), timeout=1.0)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", None])
def test_waits_that_are_none(timeout):
    with pytest.raises(SpecError, match="expected a timeout of 0 to"):
        RemoteLearner(port=free_port(), timeout=timeout)


def test_the_port_is_free_again():
    port = free_port()
    for _ in range(3):
        with pytest.raises(FeedbackError):
            RemoteLearner(port=port, timeout=0.1)
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))


@pytest.mark.usefixtures("nobody_is_left")
def test_a_learner_that_dies_between_two_steps(misbehaving):
    """It is found out long before the time is over, though it was to be told something next."""
    began = time.monotonic()
    with RemoteLearner(misbehaving("dies"), free_port(), timeout=60) as learner:
        process = learner._process
        with pytest.raises(FeedbackError, match="has ended with exit code 3"):
            for _ in range(100):
                learner.try_reward(0)
                learner.next("0")
        process.wait(20)
        with pytest.raises(FeedbackError, match="expected a learner that takes messages, .* exit code 3"):
            for _ in range(100):
                learner.try_reward(0)
    assert time.monotonic() - began < 50
