"""Contestants for tests of contests: the standard library alone, so that they start at once."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.turns import Turns


def steady(turns: Turns, pause: float, units: int = 1) -> None:
    """Does `units` after every pause."""
    turns.note("steady")
    while True:
        time.sleep(pause)
        turns(units)


def counted(turns: Turns, file: str) -> None:
    """Writes when it works: its name in the file, at the beginning of every step."""
    while True:
        with open(file, "a") as record:
            record.write(f"{os.getpid()}\n")
        time.sleep(0.002)
        turns()


def lapped(turns: Turns, pause: float) -> None:
    """Tells the time of a step."""
    while True:
        time.sleep(pause)
        turns.lap()


def shown(turns: Turns, value: float) -> None:
    """Gives a value of its own."""
    while True:
        time.sleep(0.001)
        turns.show(value)


def breaks(turns: Turns, after: int) -> None:
    """Fails in the middle of its turn."""
    print("this is no answer")
    for step in itertools.count():
        if step == after:
            raise RuntimeError("the wheel came off")
        time.sleep(0.001)
        turns()


def silent(turns: Turns) -> None:
    """Never gets ready."""
    time.sleep(3600)


def stubborn(turns: Turns, file: str) -> None:
    """Starts a process that ignores everything that can be ignored, and ends without it."""
    code = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(3600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    Path(file).write_text(f"{os.getpid()} {child.pid}")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(0.001)
        turns()


def hold_for_ever(file: str) -> None:
    """Holds a contest that does not end by itself: the program of a parent that is killed."""
    from benchmarks.contest import Contest, Contestant, hold

    racers = [Contestant(name, f"{__name__}:stubborn", {"file": f"{file}-{name}"}) for name in ("one", "two", "three")]
    hold(Contest("killed", "steps/s", racers), turns=1000, seconds=0.1)
