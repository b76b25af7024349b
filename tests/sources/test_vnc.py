"""VNCEnv and a real server with a real program in it: what is keyed and pointed arrives, what is drawn is seen."""

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import SpecError
from aexp_torch.sources.keysyms import KEYS, keysyms
from aexp_torch.sources.rfb import RemoteDesktop
from aexp_torch.sources.vnc_password import answer_challenge, encrypt_block

pytestmark = pytest.mark.timeout(60)
needs_xvnc = pytest.mark.skipif(
    not (shutil.which("Xvnc") and shutil.which("xterm")),
    reason="needs the Debian packages tigervnc-standalone-server and xterm",
)
SERVER = ["Xvnc", ":{display}", "-rfbport", "{port}", "-localhost", "-depth", "24", "-geometry", "320x200"]
OPEN = [*SERVER, "-SecurityTypes", "None"]


def terminal(*words: str) -> list[str]:
    return ["xterm", "-geometry", "60x20+0+0", "-bc", "-e", "sh", "-c", *words]


def desktop(*programs: list[str], num_envs: int = 1, **options) -> ae.VNCEnv:
    return ae.VNCEnv(num_envs=num_envs, start_command=[OPEN, *programs], **{"step_seconds": 0.02, **options})


def answer(env, pointer=(5, 5), buttons=(), key=None, lanes=1) -> dict:
    buttons = [int(place in buttons) for place in range(env.num_buttons)]
    return {
        "pointer": torch.tensor([pointer] * lanes),
        "buttons": torch.tensor([buttons] * lanes, dtype=torch.int8),
        "key": torch.tensor([0 if key is None else env.keys.index(key) + 1] * lanes),
    }


def wait_for(condition, env, lanes=1) -> ae.TimeStep:
    """Steps without doing anything until a condition of the timestep holds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        timestep = env.step(answer(env, lanes=lanes))
        if condition(timestep):
            return timestep
    raise AssertionError("it did not happen")


def gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def groups_of(env) -> list[int]:
    """Returns the process groups of a source's programs, and their guards."""
    programs = [lane._programs for lane in env._lanes._simulators if lane._programs]
    started = [started.process.pid for each in programs for started in each._started]
    return started + [each._guard.pid for each in programs]


@needs_xvnc
def test_what_is_keyed_and_pointed_arrives(tmp_path):
    """A terminal that reports the mouse writes down what it gets."""
    got = tmp_path / "got"
    mouse = terminal(rf"stty raw -echo; printf '\033[?1006h\033[?1000h'; printf '\033[30;47m\033[2J'; cat > {got}")
    env = desktop(mouse, num_buttons=5)
    env.reset()
    wait_for(lambda timestep: timestep.observation["screen"][0, 50, 50].min() > 100, env)  # white: it is there
    env.step(answer(env))
    for key in ("h", "E", "+", "ctrl+a", "Left", "Return", "h", "h"):
        env.step(answer(env, key=key))
    for buttons, place in [
        ((0,), (9, 9)),
        ((0,), (40, 30)),
        ((), (40, 30)),
        ((2,), (100, 9)),
        ((), (100, 9)),
        ((3,), (9, 9)),
    ]:
        env.step(answer(env, place, buttons))
    keys, mouse = rb"hE\+\x01\x1b\[D\rhh", rb"\x1b\[<%d;(\d+);(\d+)%s"
    expected = keys + mouse % (0, b"M") + mouse % (0, b"m") + mouse % (2, b"M") + mouse % (2, b"m") + mouse % (64, b"M")
    wait_for(lambda _: re.search(rb"\x1b\[<64", got.read_bytes()), env)
    found = re.match(expected, got.read_bytes())
    assert found, got.read_bytes()
    pressed, released = tuple(map(int, found.groups()[:2])), tuple(map(int, found.groups()[2:4]))
    assert pressed[0] < released[0] and pressed[1] < released[1], "dragged to the right, and down"
    env.close()


@needs_xvnc
def test_what_is_drawn_is_seen():
    env = desktop(terminal(r"printf '\033[41m\033[2J'; read line; printf '\033[42m\033[2J'; sleep 60"))
    spec = env.specs["VNCEnv"]
    assert spec.observation["screen"].shape == (200, 320, 3)
    assert spec.action["pointer"].maximum.tolist() == [319, 199]
    assert spec.modalities["observation"]["screen"] == ae.Modality("grid", "integer", "computer")
    env.reset()

    def main_colour(timestep):
        return timestep.observation["screen"][0, 100, 100].argmax().item()

    red = wait_for(lambda timestep: timestep.observation["screen"][0, 100, 100].sum() > 100, env)
    assert main_colour(red) == 0
    env.step(answer(env, key="Return"))
    wait_for(lambda timestep: main_colour(timestep) == 1, env)
    pointer = env.step(answer(env, (200, 150))).observation["screen"][0].int()
    elsewhere = env.step(answer(env, (100, 50))).observation["screen"][0].int()
    changed = (pointer - elsewhere).abs().sum(-1).nonzero()
    assert ((changed - torch.tensor([150, 200])).abs().amax(1) < 20).any(), "the pointer is seen"
    assert ((changed - torch.tensor([50, 100])).abs().amax(1) < 20).any()
    env.close()


@needs_xvnc
def test_episodes_lanes_rewards_and_seeds():
    """The command of a reset colours the desktop by its seed; the reward is what is red in it."""
    paint = "xterm -geometry 60x20+0+0 -bg \"#$(printf '%06x' $(({seed} % 16777216)))\" -e sleep 60 & sleep 0.3"

    def episodes(seed):
        env = desktop(
            num_envs=2,
            reset_command=["sh", "-c", paint],
            reward_fn=lambda screen: screen[150, 100, 0] / 255,
            done_fn=lambda screen: screen[150, 100, 1] > 250,
            max_episode_steps=3,
            seed=seed,
        )
        timesteps = [env.reset()] + [env.step(answer(env, lanes=2)) for _ in range(5)]
        groups = groups_of(env)
        assert len(groups) == 4
        env.close()
        assert all(map(gone, groups))
        return timesteps

    timesteps, again = episodes(1), episodes(1)
    assert [timestep.step_type[0].item() for timestep in timesteps] == [0, 1, 1, 2, 0, 1]
    assert timesteps[3].truncated().all()
    colours = [timestep.observation["screen"][:, 150, 100].tolist() for timestep in timesteps]
    assert colours[0][0] != colours[0][1], "lanes have seeds of their own"
    assert colours[0] == colours[3] != colours[4], "so has each episode"
    for timestep, colour in zip(timesteps[1:4], colours[1:4], strict=True):
        assert timestep.reward.tolist() == pytest.approx([lane[0] / 255 for lane in colour])
    assert colours == [timestep.observation["screen"][:, 150, 100].tolist() for timestep in again]


@needs_xvnc
def test_done_ends_for_good():
    env = desktop(done_fn=lambda screen: True, max_episode_steps=1)
    env.reset()
    assert env.step(answer(env)).terminated().all()
    assert env.step(answer(env)).first().all()
    env.close()


@needs_xvnc
def test_thirty_frames_a_second():
    env = ae.VNCEnv(start_command=[*OPEN, "-geometry", "640x480"], step_seconds=0)
    env.reset()
    taken = []
    for step in range(100):
        started = time.monotonic()
        env.step(answer(env, (step, step)))
        taken.append(time.monotonic() - started)
    assert min(sum(taken[place : place + 10]) for place in range(0, 100, 10)) < 10 / 30, "whatever else is running"
    env.close()


@needs_xvnc
def test_lanes_run_at_the_same_time():
    env = desktop(num_envs=4, step_seconds=0.2)
    env.reset()
    started = time.monotonic()
    env.step(answer(env, lanes=4))
    assert time.monotonic() - started < 0.6
    env.close()


@needs_xvnc
def test_in_forked_workers():
    marked = [*OPEN, "-desktop", f"test {os.getpid()}"]
    env = ae.VNCEnv(num_envs=2, start_command=marked, step_seconds=0)
    loader = ae.Loader(env, num_workers=2, in_flight=2, steps_per_epoch=8)
    env = loader.environments["VNCEnv"]
    assert loader.specs["VNCEnv"].num_envs == 2, "opened here before the workers are forked"
    for timestep in loader:
        assert timestep.observation["screen"].shape == (2, 200, 320, 3)
        timestep.reply(answer(env, lanes=2))
    assert len(servers(marked[-1])) == 6, "two lanes in each worker, and here"
    loader.close()
    deadline = time.monotonic() + 10
    while servers(marked[-1]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not servers(marked[-1])


def servers(title: str) -> list[Path]:
    """Returns the processes that have a title among their words."""
    found = []
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if title.encode() in words.read_bytes().split(b"\0"):
                found.append(words.parent)
    return found


@needs_xvnc
def test_it_says_why_it_cannot_be_resumed():
    env = desktop()
    env.reset()
    assert not env.resumable
    with pytest.raises(SpecError, match="runs on in real time"):
        env.state_dict()
    env.close()


# What goes wrong


@needs_xvnc
def test_a_password(tmp_path):
    secret = tmp_path / "password"
    made = subprocess.run(["vncpasswd", "-f"], input=b"open sesame", capture_output=True, check=True)
    secret.write_bytes(made.stdout)
    server = [*SERVER, "-SecurityTypes", "VncAuth", "-rfbauth", str(secret)]
    env = ae.VNCEnv(start_command=server, password="open sesame", step_seconds=0)
    assert env.reset().first().all()
    address = env._lanes._simulators[0]._address
    with pytest.raises(PermissionError, match="refused the password: .*[Aa]uthentication"):
        ae.VNCEnv(address, password="open barley").reset()
    with pytest.raises(PermissionError, match="expected a password, got none. Give password="):
        ae.VNCEnv(address).reset()
    env.close()


def test_no_server():
    with socket.create_server(("127.0.0.1", 0)) as trial:
        address = f"::{trial.getsockname()[1]}"
    with pytest.raises(
        ConnectionError, match=f"server at {address}: expected a connection, got ConnectionRefusedError"
    ):
        ae.VNCEnv(address).reset()


def test_a_server_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="expected a connection within 0.3 s, it does not answer"):
            ae.VNCEnv(f"::{silent.getsockname()[1]}", timeout=0.3).reset()
        assert time.monotonic() - started < 5


@needs_xvnc
def test_a_server_that_dies_or_hangs_in_a_step():
    env = desktop(timeout=1.0)
    env.reset()
    (server, _) = groups_of(env)
    os.kill(server, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match="expected the screen within 1 s"):
        env.step(answer(env))
    os.kill(server, signal.SIGCONT)
    env.close()
    env.reset()
    (server, _) = groups_of(env)
    os.kill(server, signal.SIGKILL)
    with pytest.raises((ConnectionError, ChildProcessError), match="closed the connection|exit status -9|Reset|Broken"):
        for _ in range(20):
            env.step(answer(env))
    display = env._lanes._simulators[0]._words["display"]
    assert os.path.exists(f"/tmp/.X{display}-lock")
    env.close()
    assert not os.path.exists(f"/tmp/.X{display}-lock") and not os.path.exists(f"/tmp/.X11-unix/X{display}")


@needs_xvnc
def test_a_broken_desktop_is_started_anew():
    env = desktop(num_envs=2, on_broken="restart")
    before = env.reset()
    os.kill(groups_of(env)[0], signal.SIGKILL)
    time.sleep(0.2)
    with pytest.warns(UserWarning, match="(?s)lane 0 raised .* Its simulator is made anew"):
        timestep = env.step(answer(env, lanes=2))
    assert timestep.truncated().tolist() == [True, False] and env.broken == {"VNCEnv": 1}
    assert torch.equal(timestep.observation["screen"][0], before.observation["screen"][0])
    timestep = env.step(answer(env, lanes=2))
    assert timestep.first().tolist() == [True, False]
    env.close()


def test_commands_that_fail():
    with pytest.raises(ChildProcessError, match="expected to start 'no-such-server', got FileNotFoundError"):
        ae.VNCEnv(start_command=["no-such-server"]).reset()
    with pytest.raises(
        ChildProcessError, match=r"'sh -c echo no screen >&2; exit 3'.*exit status 3. Its output: no screen"
    ):
        ae.VNCEnv(start_command=["sh", "-c", "echo no screen >&2; exit 3"]).reset()


@needs_xvnc
@pytest.mark.parametrize(
    "command, error, match",
    [
        (["sh", "-c", "echo lost; false"], ChildProcessError, "exit status 1. Its output: lost"),
        (["sh", "-c", "echo slow; sleep 30"], TimeoutError, "done within 0.8 s, it was killed. Its output: slow"),
    ],
)
def test_resets_that_fail(command, error, match):
    env = desktop(reset_command=command, timeout=0.8)
    with pytest.raises(error, match=match):
        env.reset()
    env.close()


@needs_xvnc
def test_a_function_resets_by_the_address():
    asked = []
    env = desktop(reset_command=asked.append)
    env.reset()
    assert asked == [env._lanes._simulators[0]._address]
    other = ae.VNCEnv(asked[0], step_seconds=0)  # a server that is there already stays
    other.reset()
    other.close()
    env.step(answer(env))
    env.close()


@needs_xvnc
def test_nothing_is_left_when_the_process_is_killed():
    code = f"""
        import aexp_torch as ae
        env = ae.VNCEnv(start_command={OPEN!r}, reset_command=["sh", "-c", "sleep 300 &"])
        env.reset()
        programs = env._lanes._simulators[0]._programs
        print(programs._started[0].process.pid, programs._run_group, flush=True)
        input()
    """
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], **options) as process:
        groups = [int(group) for group in process.stdout.readline().split()]
        assert len(groups) == 2 and not any(map(gone, groups))
        process.kill()
    deadline = time.monotonic() + 10
    while not all(map(_ended, groups)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(map(_ended, groups))


def _ended(group: int) -> bool:
    """Returns whether all processes of a group have ended; nobody may have taken note of that."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                return False
    return True


def test_arguments_are_checked():
    for arguments, match in [
        ({}, "the address of a VNC server, or a start_command"),
        ({"address": "host:one"}, "as 'host:display', 'host::port'"),
        ({"address": [":1"], "num_envs": 2}, "expected 2 addresses"),
        ({"address": [":1", ":1"], "num_envs": 2}, "expected 2 addresses"),
        ({"address": ":1", "keys": ["Enter"]}, "expected a key as one character or one of .*'Return'.*, got 'Enter'"),
        ({"address": ":1", "num_buttons": 6}, "num_buttons of 0 to 5"),
        ({"address": ":1", "max_episode_steps": 0}, "max_episode_steps of at least 1"),
        ({"start_command": "Xvnc :1"}, "start_command as a list of words"),
    ]:
        with pytest.raises(SpecError, match=match):
            ae.VNCEnv(**arguments)
    with pytest.raises(SpecError, match="a desktop for each of 2 slots"):
        next(iter(ae.Loader(ae.VNCEnv(":1", timeout=1), in_flight=2, steps_per_epoch=2)))


def test_keys():
    assert len(set(KEYS)) == len(KEYS) == 147
    assert keysyms("ctrl+alt+Delete") == (0xFFE3, 0xFFE9, 0xFFFF) and keysyms("ctrl++") == (0xFFE3, ord("+"))
    assert keysyms("é") == (0xE9,) and keysyms("ж") == (0x1000436,)


def test_des():
    """The example that is in every textbook, and 'weak' keys, under which encrypting twice changes nothing."""
    assert (
        encrypt_block(bytes.fromhex("0123456789abcdef"), bytes.fromhex("133457799bbcdff1")).hex() == "85e813540f0ab405"
    )
    for weak in ("0101010101010101", "fefefefefefefefe", "e0e0e0e0f1f1f1f1"):
        block, key = b"any text", bytes.fromhex(weak)
        assert encrypt_block(encrypt_block(block, key), key) == block
    assert answer_challenge(bytes(16), "eight letters") == answer_challenge(bytes(16), "eight le")


# Servers that speak as no real one here does


HELLO = b"RFB 003.008\n\x01\x01\0\0\0\0" + struct.pack(">HH16sI", 4, 3, bytes(16), 4) + b"name"
CORNER = struct.pack(">HHHHi", 0, 0, 1, 1, 0) + b"\x07\x08\x09\x00"


def update(*rectangles: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)


@contextlib.contextmanager
def scripted(*said: bytes):
    """Is the address of a server that says these things, one after the other, whatever it hears, and listens on."""

    def serve():
        connection, _ = server.accept()
        with connection:
            for each in said:
                connection.sendall(each)
            with contextlib.suppress(OSError):
                while connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"::{server.getsockname()[1]}"
        thread.join(5)
        assert not thread.is_alive()


def test_messages_of_every_kind():
    pixels = bytes(range(48))
    whole = struct.pack(">HHHHi", 0, 0, 4, 3, 0) + pixels
    part = struct.pack(">HHHHi", 2, 1, 2, 1, 0) + b"\xff" * 8
    copied = struct.pack(">HHHHiHH", 1, 1, 3, 2, 1, 0, 0)  # from the corner, overlapping
    same_size = struct.pack(">HHHHi", 0, 0, 4, 3, -223)
    colours = struct.pack(">BxHH", 1, 0, 2) + bytes(12)
    cut_text = struct.pack(">B3xI", 3, 5) + b"hello"
    with scripted(
        HELLO,
        colours,
        b"\x02",
        cut_text,
        update(same_size),
        update(whole),
        update(part, CORNER),
        update(copied, CORNER),
    ) as address:
        client = RemoteDesktop(address, timeout=5)
        assert (client.width, client.height) == (4, 3)
        expected = torch.arange(48, dtype=torch.uint8).view(3, 4, 4)[:, :, :3].clone()
        assert torch.equal(torch.from_numpy(client.look()), expected)
        expected[1, 2:], expected[0, 0] = 255, torch.tensor([7, 8, 9])
        assert torch.equal(torch.from_numpy(client.look()), expected)
        before = expected.clone()
        expected[1:3, 1:4] = before[0:2, 0:3]
        assert torch.equal(torch.from_numpy(client.look()), expected)
        client.close()


def test_an_older_version():
    with scripted(b"RFB 003.007\n\x01\x01" + HELLO[18:], update(CORNER)) as address:
        client = RemoteDesktop(address, timeout=5)
        assert client.look()[0, 0].tolist() == [7, 8, 9]
        client.close()


@pytest.mark.parametrize(
    "said, error, match",
    [
        (b"HTTP/1.1 400", ConnectionError, "a greeting 'RFB 003.008', got b'HTTP/1.1 400'. Is it a VNC server?"),
        (b"RFB 003.003\n", ConnectionError, "version 3.7 of the protocol or a later one"),
        (b"RFB 003.008\n\x00\0\0\0\x04busy", ConnectionError, "refused the connection: busy"),
        (
            b"RFB 003.008\n\x02\x13\x12",
            PermissionError,
            r"security of type 1 \(none\) or 2 \(a password\), .*\[19, 18\]",
        ),
        (b"RFB 003.008\n\x01\x01\0\0\0\x01\0\0\0\x02no", PermissionError, "refused the password: no"),
        (HELLO[:18] + b"\xff" * 24, ConnectionError, "a screen of up to .* pixels, got 65535x65535"),
        (HELLO + b"\x09", ConnectionError, "a message of type 0 to 3, got 9"),
        (HELLO + update(struct.pack(">HHHHi", 3, 0, 2, 1, 0)), ConnectionError, "rectangles within 4x3"),
        (HELLO + update(struct.pack(">HHHHi", 0, 0, 1, 1, 16)), ConnectionError, "of encoding 16"),
        (HELLO + update(struct.pack(">HHHHiHH", 0, 0, 2, 2, 1, 3, 0)), ConnectionError, "copied from 3, 0, outside"),
        (HELLO + update(struct.pack(">HHHHi", 0, 0, 8, 6, -223)), ConnectionError, "of 4x3, .*, it became 8x6"),
    ],
)
def test_servers_that_say_something_else(said, error, match):
    with scripted(said) as address, pytest.raises(error, match=match):
        client = RemoteDesktop(address, timeout=5)
        try:
            client.look()
        finally:
            client.close()


def test_a_server_that_trickles():
    """The limit is one for a whole answer, not for each byte of it."""
    stop = threading.Event()

    def serve():
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(HELLO + update(struct.pack(">HHHHi", 0, 0, 4, 3, 0))[:-1])
            while not stop.wait(0.05):
                connection.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0)) as server, warnings.catch_warnings():
        thread = threading.Thread(target=serve)
        thread.start()
        client = RemoteDesktop(f"::{server.getsockname()[1]}", timeout=0.4)
        with pytest.raises(TimeoutError, match="expected the screen within 0.4 s"):
            client.look()
        client.close()
        stop.set()
        thread.join(5)
