"""aexp commai: runs a learner on the tasks of CommAI-env and the General AI Challenge, or has a person talk with them."""

import argparse
import importlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aexp_torch.commai import Conversation, Results, human
from aexp_torch.commai.curves import write_curves
from aexp_torch.commai.human import HumanLearner
from aexp_torch.commai.presets import PRESETS
from aexp_torch.commai.running import learner_class
from aexp_torch.commai.serializers import SERIALIZERS, rules_for
from aexp_torch.errors import AexpError, SpecError
from lightning_modules.commands.conversation_views import VIEWS, ConversationView, View, unit

__all__ = ["add_arguments", "run"]

HUMANS = [name for name in human.__all__ if name.endswith("HumanLearner")]
HOMES = [f"aexp_torch.commai.{module}" for module in ("learners", "human", "remote")]
MOST_REWARD = {"bit": 10.0, "byte": None}  # for all instances of a task, as in the originals
NAME, NARROW = 12, 50  # columns: of a task's name at least, of a terminal in which a table has fewer
ENDED_BY_SIGNAL = 128  # and its number, as shells have it
ENDINGS = (signal.SIGTERM, signal.SIGHUP)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `run` and `play`, with the options of both originals."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run a learner")
    play = commands.add_parser("play", help="talk with the environment yourself")
    for one in (run, play):
        _add_options(one, plays=one is play)
    run.add_argument("--learner-cmd", metavar="CMD", help="start a learner that connects over ZeroMQ")
    remote = run.add_argument_group("of learners in other processes")
    remote.add_argument("--learner-port", type=int, default=5556, metavar="PORT", help="(default: 5556)")
    remote.add_argument("--learner-address", default="127.0.0.1", metavar="IP", help="to bind (default: this machine)")
    remote.add_argument(
        "--learner-timeout", type=float, default=60.0, metavar="SECONDS", help="to wait for an answer (default: 60)"
    )


def _add_options(parser: argparse.ArgumentParser, plays: bool) -> None:
    add = parser.add_argument
    add("config", metavar="CONFIG", help=f"a .json or .py file, a preset ({', '.join(PRESETS)}), or a task")
    if plays:
        add("-l", "--learner", default="TurnHumanLearner", help=f"when to ask you: {', '.join(HUMANS)}")
    else:
        add("-l", "--learner", metavar="CLASS", help="path.to.Learner, or one of ours: SampleRepeatingLearner")
    add("-v", "--view", metavar="VIEW", help=f"how to show it: {', '.join(VIEWS)}")
    add("--curses", dest="view", action="store_const", const="ConsoleView", help="like --view ConsoleView")
    add("-w", "--show-world", action="store_true", help="draw the grid world")
    add("-d", "--time-delay", type=float, default=0.0, metavar="SECONDS", help="wait after every symbol")
    add(
        "-o", "--output", default="results.out", metavar="FILE", help="for the results (default: results.out; - prints)"
    )
    add(
        "--curves",
        type=Path,
        metavar="FOLDER",
        help="write there how every task went: CSV, a picture, the gradual score",
    )
    add("--mode", choices=("bit", "byte"), help="a symbol is a bit, or a byte (default: as the tasks were made for)")
    add("--bit-mode", dest="mode", action="store_const", const="bit", help="like --mode bit")
    add("--byte-mode", dest="mode", action="store_const", const="byte", help="like --mode byte")
    serializers = ", ".join(SERIALIZERS)
    add("-s", "--serializer", metavar="NAME", help=f"in bit mode, what a character is: {serializers} (one symbol)")
    add("--scramble", "--scrambled", action="store_true", help="say invented words instead of English")
    add("--compat", action="store_true", help="keep the defects of the originals")
    limit = "what all instances of a task pay together (default: 10 in bit mode, else no limit)"
    add("--max-reward-per-task", type=float, metavar="R", help=limit)
    add("--max-steps", type=int, metavar="N", help="end after so many symbols")
    add("--seed", type=int, help=f"of all that is drawn (default: {'another every time' if plays else 0})")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Runs the session; however it ends, the results are written."""
    folder = Path.cwd()  # before a learner goes elsewhere
    sys.path.insert(0, str(folder))  # where learners, and modules of configurations, are
    _check(arguments)
    mode, _ = rules_for(arguments.config, arguments.mode, arguments.serializer, arguments.compat)
    wanted = _learner_class(arguments)
    kind = _view_class(arguments, isinstance(wanted, type) and issubclass(wanted, HumanLearner), console)
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().randrange(10**6) if arguments.command == "play" else 0
    limit = MOST_REWARD[mode] if arguments.max_reward_per_task is None else arguments.max_reward_per_task
    conversation = Conversation(
        arguments.config,
        mode,
        seed,
        limit,
        scramble=arguments.scramble,
        serializer=arguments.serializer,
        compat=arguments.compat,
    )
    title = f"{Path(arguments.config).stem} · {mode} mode · seed {seed}"
    view = kind(console, conversation, title, arguments.time_delay, arguments.show_world)
    conversation.sessions.on_task = lambda lane, task: view.begin(task)
    with _terminated():
        learner = _made(wanted, arguments, conversation, console)
        start = time.monotonic()
        try:
            view.show(learner, arguments.max_steps)
        except EOFError:
            pass  # the person has nothing more to say
        except (AexpError, BrokenPipeError):
            raise
        except Exception as error:
            _tell_where(error)
        finally:
            with _undisturbed():
                try:
                    _write(conversation, arguments, folder, time.monotonic() - start, console)
                finally:
                    if callable(getattr(learner, "close", None)):
                        learner.close()
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Says at once what would be found out at the end only."""
    for name in ("max_steps", "max_reward_per_task"):
        value = getattr(arguments, name)
        if value is not None and not value > 0:
            raise SpecError(f"--{name.replace('_', '-')}: expected more than 0, got {value}")
    if not 0 <= arguments.time_delay < 3600:
        raise SpecError(f"--time-delay: expected seconds, not less than 0, got {arguments.time_delay}")
    if arguments.curves and arguments.curves.exists() and not arguments.curves.is_dir():
        raise SpecError(f"--curves: expected a folder, got {str(arguments.curves)!r}")
    folder = Path(arguments.output).absolute().parent
    if arguments.output != "-" and (Path(arguments.output).is_dir() or not os.access(folder, os.W_OK)):
        raise SpecError(f"--output: expected a file that can be written, got {arguments.output!r}")


def _learner_class(arguments: argparse.Namespace) -> Any:
    path = arguments.learner or ("RemoteLearner" if getattr(arguments, "learner_cmd", None) else None)
    if path is None:
        raise SpecError(
            "run: expected a learner: -l path.to.Learner, or --learner-cmd CMD. `aexp commai play` asks you"
        )
    if "." not in path:
        for home in HOMES:
            if hasattr(importlib.import_module(home), path):
                return learner_class(f"{home}.{path}")
    try:
        return learner_class(path)
    except AexpError:
        raise
    except Exception as error:  # what a module does when it is imported
        _tell_where(error)


def _view_class(arguments: argparse.Namespace, human: bool, console: Console) -> type[View]:
    default = "ConsoleView" if human or arguments.show_world else "BaseView"
    name = (arguments.view or default).rpartition(".")[2]
    if name not in VIEWS:
        raise SpecError(f"--view: expected one of {', '.join(VIEWS)}, got {arguments.view!r}")
    if human and not issubclass(VIEWS[name], ConversationView | VIEWS["ConsoleView"]):
        raise SpecError(f"--view: expected ConsoleView or StdInOutView, which ask for lines, got {arguments.view!r}")
    full_screen = console.is_terminal and not console.is_dumb_terminal
    if name == "ConsoleView" and not (full_screen and (sys.stdin.isatty() or not human)):
        return ConversationView
    return VIEWS[name]


def _made(wanted: Any, arguments: argparse.Namespace, conversation: Conversation, console: Console) -> Any:
    if not isinstance(wanted, type):
        return wanted
    given: tuple = ()
    if issubclass(wanted, HumanLearner):
        given = (conversation.sessions.rules,)
    elif "RemoteLearner" in wanted.__name__ and arguments.command == "run":
        address, port = arguments.learner_address, arguments.learner_port
        if not arguments.learner_cmd:
            console.print(f"waiting for a learner at {address}:{port}", highlight=False)
        given = (arguments.learner_cmd, port, address, arguments.learner_timeout)
    try:
        return wanted(*given)
    except AexpError:
        raise
    except Exception as error:
        _tell_where(error)


def _tell_where(error: Exception) -> NoReturn:
    """Raises an error of a learner, or of a task, as one that says in one line where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = "" if last.filename == __file__ else f"{Path(last.filename).name}, line {last.lineno}; "
    raise SpecError(f"{type(error).__name__}: {error} ({where}--traceback shows all)") from error


@contextmanager
def _terminated() -> Iterator[None]:
    """Within, a process that is told to end, or whose terminal is closed, ends by an exception."""

    def end(number: int, _: Any) -> NoReturn:
        raise SystemExit(ENDED_BY_SIGNAL + number)

    before = {number: signal.signal(number, end) for number in ENDINGS if signal.getsignal(number) is signal.SIG_DFL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within, nothing ends the process: what is left to do takes some seconds."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, *ENDINGS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(
    conversation: Conversation, arguments: argparse.Namespace, folder: Path, seconds: float, console: Console
) -> None:
    results, symbols, output = conversation.so_far(), unit(conversation), arguments.output
    if not results.steps:
        return
    if output != "-":
        (folder / output).write_text(results.text())
    drawn = arguments.curves and any(task.finished for task in results.tasks.values())
    if drawn:
        write_curves(results, folder / arguments.curves)
    if output == "-":  # the terminal may be gone: what is printed comes last
        console.print(results.text(), end="", markup=False, highlight=False, soft_wrap=True)
        return
    console.print(_table(results, symbols, console.width))
    rate = f"{results.steps:,} {symbols} in {seconds:.1f} s, reward {results.reward:,.10g}; results in {output}"
    rate += f"; no curves in {arguments.curves}, as no instance has ended" if arguments.curves and not drawn else ""
    console.print(rate, markup=False, highlight=False, soft_wrap=True)


def _table(results: Results, symbols: str, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", overflow="fold", min_width=NAME)
    columns = ["instances", "solved", "reward", symbols]
    for column in columns[width < NARROW :]:
        table.add_column(column, justify="right", no_wrap=True)
    for name, task in results.tasks.items():
        style = "green" if task.finished and task.solved == task.finished else "yellow" if task.solved else ""
        solved = Text(f"{task.solved:,} of {task.finished:,}", style)
        cells: list[str | Text] = [f"{task.instances:,}", solved, f"{task.reward:,.10g}", f"{task.steps:,}"]
        table.add_row(Text(name, "bold"), *cells[width < NARROW :])
    return table
