"""A real terminal in which `aexp` is run again and again, by a shell that imports it once."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
LIMIT = 30.0  # seconds

# A line of JSON is a folder and arguments; every command runs in a process of its own, in the foreground.
SHELL = """
import json, os, signal, sys
import lightning_modules.commands.commai
from lightning_modules.__main__ import main
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    folder, arguments = json.loads(line)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        code = 0
        try:
            main(arguments)
        except SystemExit as error:
            code = error.code
        sys.stdout.flush()
        os._exit(code or 0)
    print(f"exit code {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}", flush=True)
"""


class Terminal:
    """Shows a screen of 24 lines and 80 columns, or others."""

    def __init__(self, columns: int = 80, lines: int = 24):
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        settings = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "INPUTRC": os.devnull, "OMP_NUM_THREADS": "1"}
        kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
        self._child = pexpect.spawn(
            sys.executable, ["-c", SHELL], dimensions=(lines, columns), env=kept | settings, timeout=LIMIT
        )
        self._running = False
        self.until("ready")

    def start(self, folder: Path, *arguments: str) -> None:
        """Types a command, after Ctrl-C where a test has left one running."""
        if self._running:
            self.press("\x03")
            self.ends()
        self._running = True
        self._screen.reset()
        self._child.sendline(json.dumps([str(folder), arguments]))

    def line(self, line: str) -> str:
        """Types a line where one is asked for, and waits until the next one is; returns what is on the screen then."""
        before = self._screen.display[0]
        self._child.sendline(line)
        return self._wait(lambda: self._screen.display[0] != before and self.asks(), f"another line after {line!r}")

    def asks(self) -> bool:
        """Tells whether a line is asked for: the cursor is at its beginning, not in a frame that is half drawn."""
        cursor = self._screen.cursor
        return self._screen.display[-2].rstrip() == "you >" and (cursor.y, cursor.x) == (self._screen.lines - 2, 6)

    def asked(self) -> str:
        """Waits until a line is asked for; returns what is on the screen then."""
        return self._wait(self.asks, "a line to be asked for")

    def type(self, line: str) -> None:
        """Types a line."""
        self._child.sendline(line)

    def press(self, keys: str) -> None:
        """Presses keys; Ctrl-C is \\x03, Ctrl-D \\x04."""
        self._child.send(keys)

    def text(self) -> str:
        """Returns what is on the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def until(self, *wanted: str) -> str:
        """Waits for texts; returns what is on the screen then."""
        return self._wait(lambda: all(text in self.text() for text in wanted), f"{wanted}")

    def _wait(self, condition: Callable[[], bool], what: str) -> str:
        end = time.monotonic() + LIMIT
        while not condition():
            assert time.monotonic() < end, f"expected {what}, got\n{self.text()}"
            with contextlib.suppress(pexpect.TIMEOUT):
                self._stream.feed(self._child.read_nonblocking(1 << 16, 0.05))
        return self.text()

    def ends(self) -> int:
        """Waits for the end of the command; returns its exit code."""
        said = self._wait(
            lambda: "exit code " in self.text() and not self._screen.cursor.x, "a whole line of the exit code"
        )
        self._running = False
        return int(said.rpartition("exit code ")[2].split()[0])

    def close(self) -> None:
        """Closes it."""
        self._child.close(force=True)
