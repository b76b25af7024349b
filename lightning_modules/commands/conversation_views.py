"""Views of a conversation: a line of progress, plain lines, or a full screen; some of them ask a person what to say."""

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.control import Control
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from aexp_torch.commai import Conversation
from aexp_torch.commai.grid_world import GridWorld
from aexp_torch.commai.human import HumanLearner
from aexp_torch.commai.running import Session, rewarded
from aexp_torch.commai.transcript import Instance, Transcript

__all__ = ["VIEWS", "ConsoleView", "ConversationView", "LinesView", "ProgressView", "View", "Watched", "unit"]

EVERY = 0.1  # seconds between two drawings
LINES = 1.0  # seconds between two lines of progress where there is no terminal
MILLISECOND = 0.001
NARROWEST = 8  # columns for a line of the conversation
KEYS = 64  # that are read at once
SILENCE = "·"
MARKS = {"+": "bold green", "-": "bold red", "0": "red"}


class View:
    """Shows a session.

    Args:
      console: to print on.
      conversation: to look at.
      title: of the configuration.
      delay: seconds to wait after every symbol.
      shows_world: draws the grid world.
    """

    def __init__(self, console: Console, conversation: Conversation, title: str, delay: float, shows_world: bool):
        self.console, self.conversation, self.title = console, conversation, title
        self.pace, self.shows_world = Pace(delay), shows_world

    def begin(self, task: str) -> None:
        """Is told of an instance that begins."""

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Runs the session to its end."""
        raise NotImplementedError

    def world(self) -> GridWorld | None:
        """Returns the world to draw."""
        task = self.conversation.sessions.tasks[0]
        world = None if task is None else task.world
        return world if self.shows_world and isinstance(world, GridWorld) else None


class Pace:
    """Waits after every symbol; in a terminal the keys + and - make it a millisecond shorter and longer, 0 as it was."""

    def __init__(self, delay: float):
        self._first = self.delay = delay
        self._keys = False

    @contextlib.contextmanager
    def keys(self) -> Iterator[None]:
        """Within, keys are heard as they are pressed, and are not shown."""
        if not sys.stdin.isatty():
            yield
            return
        import termios
        import tty

        before = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._keys = True
        try:
            yield
        finally:
            self._keys = False
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def look(self) -> None:
        """Takes the keys that were pressed."""
        if not self._keys or not select.select([sys.stdin], [], [], 0)[0]:
            return
        pressed = os.read(sys.stdin.fileno(), KEYS).decode("latin-1")
        self._keys = bool(pressed)
        for key in pressed:
            if key == "0":
                self.delay = self._first
            elif key in "+-":
                self.delay = max(0.0, self.delay + (MILLISECOND if key == "-" else -MILLISECOND))

    def wait(self) -> None:
        """Waits."""
        if self.delay > 0:
            time.sleep(self.delay)


class Watched:
    """Is a learner, with a view that is told of every symbol and reward."""

    def __init__(self, learner: Any, view: "LinesView | _Conversing"):
        self._learner, self._view, self._rewarded = learner, view, rewarded(learner)

    def __getattr__(self, name: str) -> Any:
        """Returns what else the learner has, like `test_mode`."""
        return getattr(self._learner, name)

    def try_reward(self, reward: float | None) -> None:
        """Passes a reward on."""
        self._view.rewarded(reward)
        self._rewarded(reward)

    def reward(self, reward: float) -> None:
        """Passes a reward on."""
        self.try_reward(reward)

    def next(self, symbol: str) -> str:
        """Passes a symbol on, and the answer back."""
        self._view.said(symbol)
        answer = self._learner.next(symbol)
        self._view.heard(answer)
        self._view.pace.wait()
        return answer


class ProgressView(View):
    """Tells where an automatic learner is: one line that changes in a terminal, otherwise a line a second."""

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Runs slices of a tenth of a second, so that nothing is done at every symbol."""
        session, size, done, self._began = Session(self.conversation, learner), 1, 0, time.monotonic()
        live = Live(console=self.console, auto_refresh=False, transient=True)
        printed = self._began
        with live if self.console.is_terminal else contextlib.nullcontext(), self.pace.keys():
            while not self.conversation.over and (max_steps is None or done < max_steps):
                before = time.monotonic()
                done += session.go(min(size, max_steps - done if max_steps is not None else size))
                self.pace.look()
                self.pace.wait()
                now = time.monotonic()
                size = 1 if self.pace.delay else _fitting(size, now - before)
                if self.console.is_terminal:
                    live.update(self._line(done), refresh=True)
                elif now - printed > LINES:
                    printed = now
                    self.console.print(self._line(done), soft_wrap=True)

    def _line(self, steps: int) -> Text:
        results, task = self.conversation.so_far(), type(self.conversation.sessions.tasks[0]).__name__
        solved = sum(counts.solved for counts in results.tasks.values())
        finished = sum(counts.finished for counts in results.tasks.values())
        rate = steps / max(time.monotonic() - self._began, 1e-9)
        parts = [f"Time {results.steps:,}", f"Current task: {task}", f"Reward {results.reward:,.10g}"]
        parts += [f"{solved:,} of {finished:,} solved", f"{rate:,.0f} {unit(self.conversation)}/s"]
        text = Text("; ".join(parts) + ".", no_wrap=True, overflow="ellipsis")
        text.highlight_words([task], "bold cyan")
        return text


def unit(conversation: Conversation) -> str:
    """Returns what its symbols are called."""
    return "bytes" if conversation.mode == "byte" else "bits" if conversation.sessions.rules.steps > 1 else "characters"


def _fitting(size: int, seconds: float) -> int:
    """Returns how many steps take about as long as there is between two drawings."""
    return max(1, int(size * min(max(EVERY / max(seconds, 1e-9), 0.5), 2.0)))


class LinesView(View):
    """Prints a line at every change of the reward, every 1,000 steps, and at every change of the task."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._time, self._reward, self._task = 0, 0.0, ""

    def begin(self, task: str) -> None:
        """Prints a change of the task."""
        if task != self._task:
            self._task = task
            self._print(f"Change of a current task to: {task} in time {self._time}")

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Runs the session."""
        with self.pace.keys():
            Session(self.conversation, Watched(learner, self)).go(max_steps)

    def rewarded(self, reward: float | None) -> None:
        """Prints what changes the total."""
        if reward:
            self._reward += reward
            self._tell()

    def said(self, symbol: str) -> None:
        """Does nothing."""

    def heard(self, symbol: str) -> None:
        """Counts."""
        self._time += 1
        if self._time % 1000 == 0:
            self.pace.look()
            self._tell()

    def _tell(self) -> None:
        self._print(f"Time {self._time}; Current task: {self._task}; Reward {self._reward:.10g}.")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Conversing(View):
    """Keeps a transcript, and asks for lines."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.transcript = Transcript(self.conversation.sessions.rules)
        self.human: HumanLearner | None = None

    def begin(self, task: str) -> None:
        """Takes it into the transcript, and tells a human learner."""
        self.transcript.begin(task)
        if self.human is not None:
            self.human.begin(task)

    def rewarded(self, reward: float | None) -> None:
        """Takes it into the transcript."""
        self.transcript.rewarded(reward)

    def said(self, symbol: str) -> None:
        """Takes it into the transcript."""
        self.transcript.said(symbol)

    def heard(self, symbol: str) -> None:
        """Takes it into the transcript."""
        self.transcript.heard(symbol)

    def skip(self) -> None:
        """Has the instance time out."""
        self.conversation.sessions.skip(0)

    def waits(self) -> bool:
        """Tells whether it is the learner's turn."""
        return self.conversation.sessions.waits(0)

    def get_input(self) -> str:
        """Asks a person for a line."""
        raise NotImplementedError

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Runs the session; a learner that asks for lines gets them from here."""
        self.human = learner if isinstance(learner, HumanLearner) else None
        if callable(getattr(learner, "set_view", None)):
            learner.set_view(self)
        Session(self.conversation, Watched(learner, self)).go(max_steps)


class ConversationView(_Conversing):
    """Prints what was said since the last line, then asks for the next: for pipes, files, and readers of screens."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._printed: dict[int, tuple[int, int]] = {}  # columns and answers, by the time of an instance's beginning

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Prints, at the end, what came after the last line."""
        try:
            super().show(learner, max_steps)
        finally:
            self._tell()

    def said(self, symbol: str) -> None:
        """Prints, where nobody is asked, an instance that is over."""
        if not self.human and not self.transcript.instances[-1].said and not self.transcript.partial[0]:
            self._tell()
        super().said(symbol)

    def get_input(self) -> str:
        """Reads a line; where nobody types, it is printed, too."""
        self._tell()
        world = self.world()
        if world is not None:
            self._print(world.picture())
        if sys.stdin.isatty() and sys.stdout.isatty():
            return input("> ")
        line = sys.stdin.readline()
        self._print(f"> {line.rstrip(chr(10))}")
        if not line:
            raise EOFError
        return line.rstrip("\r\n")

    def _tell(self) -> None:
        kept = self.transcript.instances
        for instance in kept:
            start, answered = (max(count - instance.dropped, 0) for count in self._printed.get(instance.time, (0, 0)))
            said, heard = map(self.transcript.readable, (instance.said, instance.heard))
            said, rewards = (" " * (start - answered) + text[start:] for text in (said, instance.rewards))
            heard = heard[answered:]
            if not (said.strip() or heard or rewards.strip()):
                continue
            reward = f"reward: {self.transcript.reward:.10g}"
            self.console.print(Rule(style="none", characters="-"))
            self._print(f"{instance.task}; time: {self.transcript.time}; {reward}")
            for name, text in (("environment: ", said), ("learner:     ", heard), ("rewards:     ", rewards)):
                if text.strip() or name[0] != "r":
                    self._print((name + text).rstrip())
            columns = max(len(instance.said), len(instance.rewards)), len(instance.heard)
            self._printed[instance.time] = instance.dropped + columns[0], instance.dropped + columns[1]
        self._printed = {instance.time: self._printed.get(instance.time, (0, 0)) for instance in kept}

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class ConsoleView(_Conversing):
    """Fills the terminal: the conversation column by column, the world, and a line to type in."""

    def show(self, learner: Any, max_steps: int | None) -> None:
        """Draws ten times a second, and before every line that is asked for."""
        asks, self._drawn = isinstance(learner, HumanLearner), 0.0
        with self.console.screen(hide_cursor=not asks) as self._screen:
            with contextlib.nullcontext() if asks else self.pace.keys():
                super().show(learner, max_steps)
                self._draw()

    def heard(self, symbol: str) -> None:
        """Draws, where it is time to."""
        super().heard(symbol)
        if time.monotonic() - self._drawn > EVERY or self.pace.delay > EVERY:
            self.pace.look()
            self._draw()

    def get_input(self) -> str:
        """Asks at the bottom of the screen."""
        with contextlib.suppress(ImportError):
            import readline  # lines can be edited, and those before come back

            readline.parse_and_bind("set horizontal-scroll-mode on")
        self._draw()
        self.console.control(Control.move_to(0, self.console.height - 2))
        return input("\x01\x1b[1;33m\x02you > \x01\x1b[0m\x02")

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self.console.control(Control.home())
        self._screen.update(self.frame())

    def frame(self) -> Layout:
        """Returns what fills the screen."""
        width, height = self.console.size
        world = self.world()
        beside = 29 if world is not None and width >= 70 else 0
        body = Layout(name="body")
        score = self._score(width - beside - 4, height - 6)
        parts = [Layout(Panel(Group(*score), border_style="dim", title="conversation", title_align="left"))]
        if beside:
            parts.append(
                Layout(Panel(_drawn(world), border_style="dim", title="world", title_align="left"), size=beside)
            )
        body.split_row(*parts)
        hint = "Enter says the line, alone a space · SKIP: time-out · QUIT: end" if self.human else self._pace_text()
        frame = Layout()
        frame.split_column(
            Layout(self._head(), size=1), body, Layout(Text(" "), size=2), Layout(Text(hint, "dim"), size=1)
        )
        return frame

    def _pace_text(self) -> str:
        return f"{self.pace.delay * 1000:g} ms a symbol · + faster · - slower · 0 as at first · Ctrl-C: end"

    def _head(self) -> Table:
        counts = self.conversation.results.tasks.values()
        solved, finished = sum(task.solved for task in counts), sum(task.finished for task in counts)
        table = Table.grid(expand=True)
        table.add_column(no_wrap=True, ratio=1)
        table.add_column(no_wrap=True, justify="right")
        numbers = f"{solved} of {finished} solved   reward {self.transcript.reward:g}   time {self.transcript.time:,} "
        table.add_row(Text(f" {self.title}", "bold"), numbers, style="white on blue")
        return table

    def _score(self, width: int, height: int) -> list[Text]:
        """Returns the last lines that fit: for each instance its name, then what was said, heard and earned."""
        names = ("env ", "you ") if self.human else ("environment ", "learner     ")
        lines: list[Text] = []
        for place, instance in enumerate(reversed(self.transcript.instances)):
            partial = self.transcript.partial if place == 0 and not self.human else ["", ""]
            lines = [*self._lines(instance, partial, names, width), *([Text("")] if lines else []), *lines]
            if len(lines) >= height:
                break
        shown = lines[-max(height, 1) :]
        return shown if shown[:1] != [Text("")] else shown[1:]

    def _lines(self, instance: Instance, partial: list[str], names: tuple[str, str], width: int) -> list[Text]:
        title = Text(instance.task, "bold cyan").append(f"  at time {instance.time:,}", "not bold dim")
        lines, room, silent = [title], max(width - len(names[0]), NARROWEST), 0
        said, heard = map(self.transcript.readable, (instance.said, instance.heard))
        rewards = instance.rewards.rstrip()
        length = max(len(said), len(heard), len(rewards), 1)
        for start in range(0, length, room):
            row = [text[start : start + room] for text in (said, heard, rewards)]
            last = start + room >= length
            if start and not last and not "".join(row).strip():
                silent += room
                continue
            if silent:
                lines.append(Text(f"{' ' * len(names[0])}({silent} characters of silence)", "dim italic"))
                silent = 0
            lines.append(Text(names[0], "dim").append(_visible(row[0]), "not dim"))
            lines.append(Text(names[1], "dim").append(_visible(row[1]).replace(" ", SILENCE), "not dim yellow"))
            lines[-1].highlight_regex(SILENCE, "dim default")
            if last and any(partial):
                for line, bits in zip(lines[-2:], partial):
                    line.append(bits, "dim italic")
            if row[2].strip():
                lines.append(Text(" " * len(names[0])))
                for mark in row[2]:
                    lines[-1].append(mark, MARKS.get(mark, ""))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return lines


def _visible(text: str) -> str:
    """Returns a text in which what cannot be printed takes one column, too."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _drawn(world: GridWorld) -> Text:
    """Draws the grid: thin lines, the learner in colour."""
    first, *lines = world.picture().splitlines()
    text = Text(first, "dim", no_wrap=True)
    for number, line in enumerate(lines):
        left, middle, right = ("┌┬┐", "├┼┤", "└┴┘")[(number > 0) + (number == len(lines) - 1)]
        rule = line.strip("+- ") == ""
        drawn = (
            left + line.strip(" +").replace("+", middle).replace("-", "─") + right if rule else line.replace("|", "│")
        )
        text.append("\n" + (drawn.rjust(len(line)) if rule else drawn), "dim" if rule else "not dim")
    text.highlight_regex("│", "dim")
    text.highlight_regex(r"\b(NNN|EEE|SSS|WWW)\b", "bold yellow")
    return text


VIEWS = {  # as both originals name them
    "BaseView": ProgressView,
    "PlainView": LinesView,
    "StdOutView": LinesView,
    "StdInOutView": ConversationView,
    "ConsoleView": ConsoleView,
}
