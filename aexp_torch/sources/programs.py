"""Programs: starts commands for an environment, and ends them with it, whichever way that ends."""

import os
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress

__all__ = ["Programs"]

GRACE = 3.0  # seconds from being asked to leave to being killed
SHOWN = 2000  # characters of output in an error

# Reads which process groups there are until the owner closes the pipe, or has died, and ends those that are left.
GUARD = """
started= running=
while read -r kind group; do
    case $kind in start) started="$started -$group" ;; run) running="-$group" ;; esac
done
[ -z "$running" ] || kill -s KILL -- $running
[ -z "$started" ] || { kill -s TERM -- $started; sleep 3; kill -s KILL -- $started; }
"""


class Programs:
    """Runs commands, each in a process group of its own.

    They end at `close`, at the latest with this process: a small shell beside them ends them when it is killed.

    Args:
      who: names their owner, for messages.
    """

    def __init__(self, who: str):
        self._who = who
        self._started: list[Started] = []
        self._run_group: int | None = None  # of the last `run`: what it left running
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _forget_in_children, os.getpid(), self._started, self._guard)

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts a program that goes on.

        Args:
          words: the program and its arguments.
          environment: variables, besides those of this process.
        """
        started = Started(self._who, words, environment)
        self._started.append(started)
        self._tell("start", started.process.pid)

    def check(self) -> None:
        """Raises a ChildProcessError where a program that was started has ended, with what it had to say."""
        for started in self._started:
            if started.process.poll() is not None:
                raise started.error("expected it to go on")

    def run(self, words: Sequence[str], environment: Mapping[str, str], timeout: float) -> None:
        """Runs a command to its end. What it leaves running goes on until the next `run`, or `close`.

        Raises:
          ChildProcessError: it failed; the text has its output.
          TimeoutError: it was not done in time, and was killed.
        """
        self._end_run()
        command = Started(self._who, words, environment)
        self._run_group = command.process.pid
        self._tell("run", self._run_group)
        try:
            command.process.wait(timeout)
            if command.process.returncode != 0:
                raise command.error("expected exit status 0")
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{command.what} expected it to be done within {timeout:g} s, it was killed. Its output: {command.output()}"
            ) from None
        finally:
            if command.process.returncode != 0:
                self._end_run()
            command.end()

    def close(self) -> None:
        """Ends what runs: asked to leave, and killed after some seconds."""
        self._end_run()
        self._end()

    def _end_run(self) -> None:
        if self._run_group is not None:
            _signal(self._run_group, signal.SIGKILL)
            self._run_group = None

    def _tell(self, kind: str, group: int) -> None:
        with suppress(OSError):  # somebody has killed the guard
            self._guard.stdin.write(f"{kind} {group}\n".encode())
            self._guard.stdin.flush()


class Started:
    """Is one process, the first of its group; what it prints goes to a file."""

    def __init__(self, who: str, words: Sequence[str], environment: Mapping[str, str]):
        self.what = f"{who}: started {' '.join(words)!r},"
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (read when the process has ended)
        try:
            self.process = subprocess.Popen(
                list(words),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        except OSError as error:
            self._output.close()
            raise ChildProcessError(
                f"{who}: expected to start {' '.join(words)!r}, got {type(error).__name__}: {error}. Is the program"
                " installed?"
            ) from error

    def output(self) -> str:
        """Returns the end of what was printed."""
        with suppress(OSError):
            self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - SHOWN))
        return self._output.read().decode(errors="replace").strip() or "(nothing)"

    def end(self) -> None:
        """Takes note that it has ended, which may take a moment."""
        self.process.wait()
        self._output.close()

    def error(self, expected: str) -> ChildProcessError:
        """Returns what to raise about a process that has ended."""
        status = f"it ended with exit status {self.process.returncode}"
        return ChildProcessError(f"{self.what} {expected}, {status}. Its output: {self.output()}")


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _forget_in_children(owner: int, started: list[Started], guard: subprocess.Popen) -> None:
    """Ends programs where they were started, not in forked children."""
    if os.getpid() == owner:
        _end_all(started, guard)


def _end_all(started: list[Started], guard: subprocess.Popen) -> None:
    for each in reversed(started):  # first what was started last: programs before the server that shows them
        _signal(each.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        with suppress(subprocess.TimeoutExpired):
            each.process.wait(max(0.0, deadline - time.monotonic()))
        _signal(each.process.pid, signal.SIGKILL)
        each.end()
    started.clear()
    guard.kill()  # before its pipe is closed, which would tell it that this process has died
    guard.wait()
    guard.stdin.close()
