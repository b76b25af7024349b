"""A learner in another process, over ZeroMQ; written in C, and one that misbehaves."""

import ctypes.util
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aexp_torch.commai import run
from aexp_torch.commai.learners import SampleRepeatingLearner
from aexp_torch.commai.remote import RemoteLearner
from aexp_torch.errors import FeedbackError, SpecError

pytest.importorskip("zmq")
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
        ("hangs", "within 5.0 s, nothing came"),
        ("long", "within 5.0 s, nothing came|has ended"),
    ],
)
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
