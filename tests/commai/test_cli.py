"""aexp commai: run and play, their options, their results file, and what they say where something is wrong."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from rich.console import Console

from aexp_torch.commai import Conversation, Results
from lightning_modules.__main__ import main
from lightning_modules.commands import commai as command
from lightning_modules.commands.conversation_views import ConsoleView

pytest.importorskip("pexpect")
pytest.importorskip("pyte")
from tests.commai.terminal import ROOT, Terminal

REPETITION, NAVIGATION = "tasks.competition.repetition", "tasks.competition.navigation"
MICRO = "tasks.challenge.round1.challenge_micro"
CONVENTIONS = [name for name in command.HUMANS if name != "ManualHumanLearner"]

COMMAND = "sh -c 'echo $$ > pid.new; mv pid.new pid; sleep 1000'"

LEARNERS = """
import os, signal, time
from learners.base import BaseLearner

class Dots(BaseLearner):
    def next(self, symbol):
        return "."

class Stops(BaseLearner):
    steps = 0
    def next(self, symbol):
        self.steps += 1
        return "." if self.steps < 700 else 1 / 0

class Echo:
    def __init__(self):
        self.rewards = 0
    def next(self, symbol):
        return symbol
    def reward(self, reward):
        self.rewards += reward

class Told(Echo):
    def next(self, symbol):
        self.rewards += 1
        if self.rewards == 5:
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        return symbol

class Tested(Echo):
    test_mode = True

class Wanders(Dots):
    def next(self, symbol):
        os.chdir("/")
        return "."

class Slow(Echo):
    def next(self, symbol):
        open("begun", "w").close()
        return symbol
    def close(self):
        open("closing", "w").close()
        time.sleep(1)
        open("closed", "w").close()

class Demanding:
    def __init__(self, what):
        pass

class Lame:
    def next(self, symbol):
        return "."
"""

CLIENT = """
import sys, zmq
link = zmq.Context().socket(zmq.PAIR)
link.connect(f"tcp://127.0.0.1:{sys.argv[-1]}")
link.send(b"hello")
while True:
    reward, symbol = link.recv(), link.recv()
    link.send(symbol)
"""


def config(*classes: str, scheduler: str = "SequentialTaskScheduler", **arguments) -> str:
    """A configuration of either original."""
    return json.dumps(
        {
            "worlds": {"gw": {"type": "worlds.grid_world.GridWorld"}},
            "tasks": {
                path: {"type": path, **({"world": "gw"} if path.startswith(NAVIGATION) else {})} for path in classes
            },
            "scheduler": {"type": f"core.scheduler.{scheduler}", "args": {"tasks": list(classes), **arguments}},
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with learners and configurations."""
    (tmp_path / "mine.py").write_text(LEARNERS)
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "repeat.json").write_text(config(f"{REPETITION}.RepeatWhatISayTask"))
    (tmp_path / "turn.json").write_text(config(f"{NAVIGATION}.TurningTask"))
    (tmp_path / "echo.json").write_text(config(f"{MICRO}.Micro4Task", scheduler="ConsecutiveTaskScheduler"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    yield tmp_path
    sys.modules.pop("mine", None)


def aexp(capsys, *arguments, code=0) -> tuple[str, str]:
    """Runs `aexp commai`; returns what it printed, and its errors."""
    if code:
        with pytest.raises(SystemExit) as raised:
            main(["commai", *arguments])
        assert raised.value.code == code
    else:
        main(["commai", *arguments])
    captured = capsys.readouterr()
    return captured.out, captured.err


def tables(text: str) -> dict[str, dict[str, float]]:
    """Reads a results file."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if line.startswith("* "):
            rows = found[line[2:]] = {}
        else:
            name, value = re.fullmatch(r"([\w ]+): (-?[\d.e-]+)", line).groups()
            rows[name] = float(value)
    return found


# run


def test_a_learner_from_a_file_of_the_users(folder, capsys):
    out, err = aexp(capsys, "run", "mini", "-l", "mine.Dots", "--max-steps", "3000")
    assert err == "" and "3,000 bytes in" in out and "results in results.out" in out and "TaskSet5" in out
    found = tables((folder / "results.out").read_text())
    assert list(found) == [
        "General results",
        "Average reward per task",
        "Total reward per task",
        "Total time per task",
        "Number of trials per task",
    ]
    assert found["General results"] == {"Average reward": 0, "Total time": 3000, "Total reward": 0}
    assert sum(found["Total time per task"].values()) == 3000
    assert list(found["Total time per task"].values()) == sorted(found["Total time per task"].values())
    assert "learners.base" not in sys.modules


def test_curves(folder, capsys):
    aexp(capsys, "run", "mini", "-l", "mine.Dots", "--max-steps", "3000", "--curves", "so/far")
    assert sorted(path.name for path in (folder / "so" / "far").iterdir()) == [
        "curves.csv",
        "curves.png",
        "gradual.json",
    ]
    assert (folder / "results.out").exists()
    out, _ = aexp(capsys, "run", "mini", "-l", "mine.Dots", "--max-steps", "3", "--curves", "curves")
    assert "no curves in curves, as no instance has ended" in out


def test_the_results_file_to_the_letter():
    results = Results()
    for name, solved, reward, steps in (("A", True, 3.0, 30), ("B", False, -1.0, 8), ("A", False, 0.0, 10)):
        results.begin(name)
        results.add(name, solved, reward, steps)
    results.begin("C")
    expected = """\
* General results
Average reward: 0.041666666666666664
Total time: 48
Total reward: 2
* Average reward per task
C: 0
B: -0.125
A: 0.075
* Total reward per task
A: 3
C: 0
B: -1
* Total time per task
C: 0
B: 8
A: 40
* Number of trials per task
B: 1
C: 1
A: 2
"""
    assert results.text() == expected


@pytest.mark.parametrize(
    "path", ["SampleRepeatingLearner", "learners.sample_learners.SampleRepeatingLearner", "mine.Echo"]
)
def test_learners_by_any_name(folder, capsys, path):
    """The echo solves Micro4; the scheduler ends the session, and the last reward is heard."""
    out, _ = aexp(capsys, "run", "echo.json", "--learner", path, "-o", "-", "--seed", "4")
    assert tables(out)["Number of trials per task"] == {"Micro4Task": 2}
    assert tables(out)["Total reward per task"] == {"Micro4Task": 20}
    assert not (folder / "results.out").exists()


@pytest.mark.parametrize("options, most", [(["--bit-mode"], 10), (["--mode", "bit"], 10), (["--byte-mode"], None)])
def test_what_a_task_can_earn(folder, capsys, options, most):
    """At most 10 in bit mode, as in CommAI-env; a limit can be given."""
    (folder / "echo.json").write_text(config(f"{MICRO}.Micro4Task"))
    arguments = ["run", "echo.json", "-l", "mine.Echo", "-o", "-", "--max-steps", "4000", *options]
    earned = tables(aexp(capsys, *arguments)[0])["General results"]["Total reward"]
    assert earned == most if most else earned > 1000
    limited = tables(aexp(capsys, *arguments, "--max-reward-per-task", "7")[0])
    assert limited["General results"]["Total reward"] == 7


def test_seeds_and_scrambling_change_what_is_said(folder, capsys):
    def said(*options):
        return aexp(
            capsys, "run", "repeat.json", "-l", "mine.Echo", "-v", "ConsoleView", "--max-steps", "400", *options
        )[0]

    first = re.search(r"environment: (\w+ .*)\.", said())[1]
    assert first == re.search(r"environment: (\w+ .*)\.", said("--seed", "0"))[1]
    assert len({re.search(r"environment: (\w+ .*)\.", said("--seed", str(seed)))[1] for seed in range(6)}) > 1
    for flag in ("--scramble", "--scrambled"):
        invented = re.search(r"environment: (\w+ .*)\.", said(flag))[1]
        assert not {"say", "repeat", "apple", "banana", "cat", "hello", "world"} & set(invented.split())


@pytest.mark.parametrize("name", ["identity", "core.serializer.IdentitySerializer"])
def test_a_character_may_be_a_symbol(folder, capsys, name):
    out, _ = aexp(capsys, "run", "repeat.json", "-l", "mine.Echo", "-s", name, "--max-steps", "400")
    assert "400 characters in" in out
    assert "expected one of the serializers" in aexp(capsys, "run", "mini", "-l", "mine.Echo", "-s", "x", code=2)[1]


@pytest.mark.parametrize("name", ["StdOutView", "views.base_view.PlainView"])
def test_lines_of_progress_as_in_the_challenge(folder, capsys, name):
    out, _ = aexp(capsys, "run", "echo.json", "-l", "mine.Echo", "-v", name, "--seed", "4", "-d", "0.0001")
    lines = out.splitlines()
    assert lines[0] == "Change of a current task to: Micro4Task in time 0"
    assert lines[1] == "Time 1; Current task: Micro4Task; Reward 1." and lines[20].endswith("Reward 20.")
    out, _ = aexp(capsys, "run", "turn.json", "-l", "mine.Echo", "-v", name, "--max-steps", "2500")
    assert "Time 2000; Current task: TurningTask; Reward 0." in out


def test_a_client_in_another_process(folder, capsys):
    pytest.importorskip("zmq")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = str(one.getsockname()[1])
    arguments = ["--learner-cmd", f"{sys.executable} client.py", "--learner-port", port, "--learner-timeout", "30"]
    out, _ = aexp(capsys, "run", "echo.json", *arguments, "-o", "-")
    assert tables(out)["Total reward per task"] == {"Micro4Task": 20}
    (folder / "client.py").write_text("raise SystemExit(3)")
    _, err = aexp(capsys, "run", "echo.json", *arguments, code=2)
    assert "the learner that was started has ended with exit code 3" in err


def test_a_learner_that_imports_what_the_original_has(folder, capsys):
    """It finds words among the bits, and answers in bits."""
    (folder / "wordy.py").write_text(
        "from core.serializer import IdentitySerializer, StandardSerializer\n"
        "from learners.base import BaseLearner\n"
        "class Repeats(BaseLearner):\n"
        "    def __init__(self):\n"
        "        self.code, self.heard, self.bits = StandardSerializer(), '', []\n"
        "    def next(self, bit):\n"
        "        answer = self.bits.pop(0) if self.bits else None\n"
        "        self.heard += bit\n"
        "        text = self.code.to_text(self.heard)\n"
        "        if not self.bits and len(self.heard) % 8 == 0:\n"
        "            self.bits = list(self.code.to_binary(' '))\n"
        "            if text.endswith('.') and text.startswith(('say ', 'repeat ')):\n"
        "                self.bits = list(self.code.to_binary(text.partition(' ')[2]))\n"
        "        return answer or self.code.to_binary(' ')[len(self.heard) % 8 - 1]\n"
        "    def reward(self, reward):\n"
        "        self.heard = ''\n"
    )
    out, _ = aexp(capsys, "run", "repeat.json", "-l", "wordy.Repeats", "-o", "-", "--max-steps", "6000")
    assert tables(out)["Total reward per task"]["RepeatWhatISayTask"] == 10  # the most


def test_a_python_configuration_that_was_written_for_the_original(folder, capsys):
    (folder / "ours.py").write_text(
        "from core.scheduler import IncrementalTaskScheduler\n"
        "from tasks.competition.navigation import TurningTask\n"
        "from tasks.competition.objects_properties import ListPropertiesofAnObjectTask\n"
        "from worlds.grid_world import GridWorld\n"
        "def create_tasks():\n"
        "    import tasks.competition.repetition as repetition\n"
        "    return IncrementalTaskScheduler([TurningTask(GridWorld()), repetition.RepeatWhatISayTask()])\n"
    )
    out, _ = aexp(capsys, "run", "ours.py", "-l", "mine.Echo", "-o", "-", "--max-steps", "2000")
    assert list(tables(out)["Number of trials per task"]) == ["TurningTask"]


def test_a_learner_that_fails_leaves_results(folder, capsys):
    out, err = aexp(capsys, "run", "mini", "-l", "mine.Stops", code=2)
    assert re.fullmatch(
        r"aexp: ZeroDivisionError: division by zero \(mine.py, line \d+; --traceback shows all\)\n", err
    )
    assert tables((folder / "results.out").read_text())["General results"]["Total time"] == 699


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_told_to_end_leaves_results(folder, capsys, monkeypatch, number):
    monkeypatch.setenv("SIGNAL", str(int(number)))
    found = signal.signal(number, signal.SIG_DFL)
    try:
        aexp(capsys, "run", "mini", "-l", "mine.Told", code=128 + number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, found)
    assert tables((folder / "results.out").read_text())["General results"]["Total time"] == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_learner_that_was_started_ends_with_the_command(folder, number):
    """Also while it was still waited for."""
    source = (
        f"from lightning_modules.__main__ import main; main({['commai', 'run', 'mini', '--learner-cmd', COMMAND]!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", source], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    until = time.monotonic() + 60
    while not (folder / "pid").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_a_second_signal_changes_nothing(folder):
    """What is left to do is done."""
    arguments = ["commai", "run", "mini", "-l", "mine.Slow"]
    source = f"from lightning_modules.__main__ import main; main({arguments!r})"
    process = subprocess.Popen([sys.executable, "-c", source], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)})
    for name in ("begun", "closing"):
        until = time.monotonic() + 60
        while not (folder / name).exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert (folder / "closed").exists()
    assert tables((folder / "results.out").read_text())["General results"]["Total time"] > 0


def test_files_are_written_where_the_command_was_called(folder, capsys):
    aexp(capsys, "run", "mini", "-l", "mine.Wanders", "--max-steps", "3000", "--curves", "so")
    assert (folder / "results.out").exists() and (folder / "so" / "curves.csv").exists()


@pytest.mark.parametrize("view", ["BaseView", "StdOutView", "ConsoleView"])
def test_learners_are_tested_in_every_view(folder, capsys, view):
    aexp(capsys, "run", "lookup", "-l", "mine.Tested", "--view", view, "--max-steps", "500")
    names = tables((folder / "results.out").read_text())["Number of trials per task"]
    assert names and all(name.startswith("FuncLookupTest") for name in names)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["run", "nothing", "-l", "mine.Echo"], "one of the presets .*, got 'nothing'"),
        (["run", "empty.py", "-l", "mine.Echo"], r"expected a function create_tasks\(\) in 'empty.py'"),
        (["run", "broken.json", "-l", "mine.Echo"], "expected JSON in 'broken.json'"),
        (["run", "mini"], "run: expected a learner: -l path.to.Learner, or --learner-cmd CMD"),
        (["run", "mini", "-l", "mine.Nobody"], "module 'mine' has no attribute 'Nobody'"),
        (["run", "mini", "-l", "nowhere.Nobody"], "No module named 'nowhere'"),
        (["run", "mini", "-l", "Nobody"], "expected the dotted path of a learner's class, got 'Nobody'"),
        (["run", "mini", "-l", "mine.Demanding"], "TypeError: .*missing 1 required positional argument: 'what'"),
        (["run", "mini", "-l", "mine.Lame"], r"lacks \['reward'\]"),
        (["run", "mini", "-l", "broken.Learner"], r"NameError: name 'nobody' is not defined \(broken.py, line 1"),
        (["run", "commai", "-l", "mine.Dots"], "expected '0' or '1' from the learner in bit mode, got '.'"),
        (["run", "mini", "-l", "mine.Echo", "--max-steps", "0"], "--max-steps: expected more than 0, got 0"),
        (["run", "mini", "-l", "mine.Echo", "-d", "-1"], "--time-delay: expected seconds"),
        (["run", "mini", "-l", "mine.Echo", "-o", "no/such/folder"], "--output: expected a file that can be written"),
        (["run", "mini", "-l", "mine.Echo", "-v", "MyView"], "--view: expected one of BaseView, .*, got 'MyView'"),
        (["run", "mini", "-l", "RemoteLearner", "--learner-port", "0"], "expected a port in 1..65535, got 0"),
        (["run", "mini", "-l", "mine.Echo", "--speed", "3"], "unrecognized arguments: --speed 3"),
        (["run", "mini", "-l", "mine.Echo", "--seed", "x"], "run: argument --seed: invalid int value: 'x'"),
        (["play", "mini", "-v", "BaseView"], "--view: expected ConsoleView or StdInOutView, which ask for lines"),
        (["talk"], "invalid choice: 'talk'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, capsys, arguments, message):
    (folder / "broken.json").write_text("{")
    (folder / "broken.py").write_text("nobody")
    (folder / "empty.py").write_text("")
    out, err = aexp(capsys, *arguments, code=2)
    assert err.startswith("aexp: ") and err.count("\n") == 1 and re.search(message, err), err


# play, where there is no terminal


def play(monkeypatch, capsys, lines, *arguments) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    out, err = aexp(capsys, "play", *arguments)
    assert err == "" and "\x1b" not in out
    return out


def test_a_pipe(folder, capsys, monkeypatch):
    out = play(monkeypatch, capsys, "cat.\nSKIP\n", "repeat.json", "--seed", "1")
    assert re.match(
        r"-{80}\nRepeatWhatISayTask; time: \d+; reward: 0\nenvironment: \w+ [\w ]+\.\nlearner:\n> cat\.\n", out
    )
    assert out.count("learner:     cat.") == 1 and out.count("rewards:") == 2  # of cat., and of the time-out
    assert out.count("\n> ") == 3 and "results in results.out" in out  # the end of the input came third
    assert tables((folder / "results.out").read_text())["Number of trials per task"]["RepeatWhatISayTask"] == 3


def test_letters_of_several_bytes_are_shown(folder, capsys, monkeypatch):
    (folder / "letter.json").write_text(
        json.dumps(
            {
                "worlds": {},
                "tasks": {"letter": {"type": "tasks.sample.sample_tasks.UnicodeTask"}},
                "scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["letter"]}},
            }
        )
    )
    out = play(monkeypatch, capsys, "h\xe9llo \u05d0\n", "letter.json", "--bit-mode")
    assert "environment: Please, say \u05d0" in out and "h\xe9 llo \u05d0" in out


def test_a_pipe_shows_all_that_was_said(folder, capsys, monkeypatch):
    """In byte mode what is asked is a character ahead of what is answered; the columns stay one below the other."""
    out = play(monkeypatch, capsys, "true.\n", "mini", "--seed", "5")
    assert re.search(r"environment:  +(Wrong|[a-z ]+\.).*\nlearner:     true\.\n", out)


def test_a_pipe_with_a_world(folder, capsys, monkeypatch):
    out = play(monkeypatch, capsys, "I turn left.\nQUIT\nx", "turn.json", "--show-world")
    assert "|NNN|" in out and "|WWW|" in out and "> x" not in out


# play, in a terminal


@pytest.fixture(scope="module")
def terminal():
    one = Terminal()
    yield one
    one.close()


@pytest.mark.parametrize("mode", ["bit", "byte"])
@pytest.mark.parametrize("learner", CONVENTIONS)
def test_each_convention_in_a_terminal(folder, terminal, mode, learner):
    """An answer, its reward, a time-out, the end."""
    terminal.start(folder, "commai", "play", "repeat.json", "-l", learner, "--mode", mode, "--seed", "3")
    screen = terminal.asked()
    if learner == "ImmediateHumanLearner":  # it has asked at the first character
        screen = terminal.line(" " * 40)
    assert f"repeat · {mode} mode · seed 3" in screen and "0 of 0 solved   reward 0" in screen
    phrase = re.search(r"env (?:say|repeat) ([\w ]+\.)", screen)[1]
    terminal.line(phrase)
    screen = terminal.line(" " * 20)
    assert "1 of 1 solved   reward 1" in screen and phrase.replace(" ", "·") in screen
    assert re.search(r"│ +\+ +│", screen)
    terminal.line("SKIP")
    assert "1 of 2 solved   reward 1" in terminal.line(" " * 40)
    terminal.type("QUIT")
    assert terminal.ends() == 0
    found = tables((folder / "results.out").read_text())
    assert found["Total reward per task"] == {"RepeatWhatISayTask": 1}
    assert found["Number of trials per task"] == {"RepeatWhatISayTask": 3}


@pytest.mark.parametrize("keys, code", [("\x03", 130), ("\x04", 0)])
def test_keys_that_end_it(folder, terminal, keys, code):
    terminal.start(folder, "commai", "play", "repeat.json", "--seed", "3")
    terminal.asked()
    terminal.press(keys)
    assert terminal.ends() == code and ("aexp: interrupted" in terminal.text()) == (code == 130)
    assert "Number of trials per task\nRepeatWhatISayTask: 1" in (folder / "results.out").read_text()


def test_lines_can_be_edited(folder, terminal):
    """The line before comes back, and a long one does not spoil the screen."""
    terminal.start(folder, "commai", "play", "repeat.json", "--seed", "3")
    terminal.asked()
    terminal.line("nonsense " * 12)
    terminal.press("\x1b[A\x15cat\x02\x02\x08b")  # up, away with it, then into `cat` from the right
    screen = terminal.line("")
    assert "bat" in screen and screen.splitlines()[0].startswith(" repeat") and screen.count("conversation") == 1
    terminal.type("QUIT")
    assert terminal.ends() == 0


def test_the_world_in_a_terminal(folder, terminal):
    terminal.start(folder, "commai", "play", "turn.json", "-w", "--seed", "0")
    screen = terminal.asked()
    assert "│NNN│" in screen and "┌───┬" in screen and "─ world ─" in screen
    assert "│WWW│" in terminal.line("I turn left.")
    terminal.type("QUIT")
    assert terminal.ends() == 0


def test_invented_words_can_be_said(folder, terminal):
    terminal.start(folder, "commai", "play", "repeat.json", "--scramble", "--seed", "3")
    verb, phrase = re.search(r"env (\w+) ([\w ]+\.)", terminal.asked()).groups()
    assert verb not in ("say", "repeat")
    assert "1 of 1 solved   reward 1" in terminal.line(phrase)
    terminal.type("QUIT")
    assert terminal.ends() == 0


def test_questions_of_one_character_in_a_terminal(folder, terminal):
    """An instance is ten right answers in a row; the scheduler ends the session after two."""
    terminal.start(folder, "commai", "play", "echo.json", "--seed", "3")
    screen = terminal.asked()
    for number in range(20):
        said = [line for line in screen.splitlines() if line.startswith("│ env ")][-1][6:78].rstrip() or " "
        heard = [line for line in screen.splitlines() if line.startswith("│ you ")][-1][6:78].rstrip()
        answer = said[len(heard)] if len(heard) < len(said) else " "
        if number == 19:
            terminal.type(answer)
        else:
            screen = terminal.line(answer)
    assert terminal.ends() == 0
    assert tables((folder / "results.out").read_text())["Total reward per task"] == {"Micro4Task": 20}


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (40, 10), (12, 4), (1, 1)])
def test_a_screen_of_any_size(size):
    """Nothing is wider or higher than it; the last words are on it where there is room for any."""
    width, height = size
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    conversation = Conversation("commai", seed=2)
    view = ConsoleView(console, conversation, "commai", 0.0, True)
    conversation.sessions.on_task = lambda lane, task: view.begin(task)
    bit = None
    for _ in range(20000):  # echoes
        bit, reward = conversation.next(bit)
        view.rewarded(reward)
        view.transcript.said(bit)
        view.transcript.heard(bit)
    console.print(view.frame(), end="")
    lines = console.file.getvalue().splitlines()
    assert len(lines) == height and max(map(len, lines)) <= width
    if width >= 40:
        assert "learner " in "".join(lines) and "environment " in "".join(lines)


def test_an_automatic_learner_in_a_terminal(folder, terminal):
    """The delay follows the keys; Ctrl-C leaves results."""
    arguments = ["run", "turn.json", "-l", "mine.Echo", "-w", "-d", "0.0001"]
    terminal.start(folder, "commai", *arguments)
    terminal.until("environment", "learner", "world", "0.1 ms a symbol")
    terminal.press("--")
    terminal.until("2.1 ms a symbol")
    terminal.press("+")
    terminal.until("1.1 ms a symbol")
    terminal.press("0")
    terminal.until("0.1 ms a symbol")
    terminal.press("\x03")
    assert terminal.ends() == 130
    assert tables((folder / "results.out").read_text())["Number of trials per task"]["TurningTask"] >= 1


def test_progress_in_a_terminal(folder, terminal):
    terminal.start(folder, "commai", "run", "mini", "-l", "mine.Dots")
    terminal.until("Current task: TaskSet", "Reward 0", "solved")
    terminal.until(",")  # a time of four digits
    terminal.press("\x03")
    assert terminal.ends() == 130 and "aexp: interrupted" in terminal.text()
    assert tables((folder / "results.out").read_text())["General results"]["Total time"] > 100
