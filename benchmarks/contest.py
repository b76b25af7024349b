"""Contest: contestants take turns, and medians and ratios come of it.

Each contestant is a process group. All but the one whose turn it is are stopped (SIGSTOP), so that nobody's spinning or
prefetching is paid by somebody else. If this process is killed, the kernel ends the groups: a stopped group that loses
its parent gets SIGHUP.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

__all__ = ["Contest", "Contestant", "Figure", "Quote", "hold"]

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0  # beyond the length of a turn
END_SECONDS = 10.0
WARM_SHARE = 0.2  # of a turn, before it is measured


class Quote(NamedTuple):
    """Stands in for a contestant that is not installed.

    Args:
      ratio: its rate over that of another contestant, measured elsewhere.
      of: the other contestant.
      where: what was measured, and on what.
    """

    ratio: float
    of: str
    where: str


@dataclass(frozen=True)
class Contestant:
    """Is one way to do what a contest asks for.

    Args:
      name: as in tables.
      run: `module:function`; the function gets a `Turns` and the arguments, and works until `Over` is raised.
      arguments: JSON.
      kind: what it is to us.
      needs: modules without which it is not installed.
      python: interpreter of a Python environment of its own.
      quote: stands in where it is not installed.
      series: with `place`: it is a point of a line in the chart.
      place: where on the line.
    """

    name: str
    run: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["ours", "peer", "limit"] = "peer"
    needs: tuple[str, ...] = ()
    python: Path | None = None
    quote: Quote | None = None
    series: str | None = None
    place: int | None = None

    def installed(self) -> bool:
        """Whether it can run here."""
        if self.python is not None:
            return self.python.exists()
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


@dataclass(frozen=True)
class Figure:
    """Is a number made of medians: a ratio, or a difference.

    Args:
      text: what it says.
      of: a contestant, or several, of which the best counts.
      over: what it is divided by, likewise.
      minus: what is subtracted from it, likewise; instead of `over`.
      per: a number by which a difference is divided.
      unit: of a difference.
      at_least: the bound that it should keep.
      at_most: likewise.
    """

    text: str
    of: str | Sequence[str]
    over: str | Sequence[str] | None = None
    minus: str | Sequence[str] | None = None
    per: float = 1.0
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None

    def value(self, medians: Mapping[str, float], best: Callable = max) -> float | None:
        """Returns the number, or None where a median that it needs is missing."""
        other = self.over if self.over is not None else self.minus
        one, two = (_best(names, medians, best) for names in (self.of, other))
        if one is None or two is None:
            return None
        return one / two if self.over is not None else (one - two) / self.per

    def met(self, value: float) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def names(self) -> set[str]:
        """Returns the contestants that it looks at."""
        groups = [group for group in (self.of, self.over, self.minus) if group is not None]
        return {name for group in groups for name in ([group] if isinstance(group, str) else group)}


@dataclass(frozen=True)
class Contest:
    """Is a list of contestants that do the same work.

    Args:
      title: what the work is.
      unit: of the medians.
      contestants: in the order of the table.
      figures: what is made of the medians.
      better: whether more or less of the unit is better.
      longer: how many times as long as others its turns are.
      axis: name of the contestants' `place`, where the chart has lines.
    """

    title: str
    unit: str
    contestants: Sequence[Contestant]
    figures: Sequence[Figure] = ()
    better: Literal["higher", "lower"] = "higher"
    longer: float = 1.0
    axis: str | None = None

    def __post_init__(self):
        names = [contestant.name for contestant in self.contestants]
        unknown = set[str]().union(*(figure.names() for figure in self.figures)) - set(names)
        if unknown or len(set(names)) < len(names):
            raise ValueError(f"Contest {self.title!r}: expected figures over unequal names of {names}, got {unknown}.")


def _best(names: str | Sequence[str] | None, medians: Mapping[str, float], best: Callable) -> float | None:
    there = [medians[name] for name in ([names] if isinstance(names, str) else names or ()) if name in medians]
    return best(there) if there else None


class Failed(Exception):
    """A contestant ended, or does not answer."""


class Running:
    """Is a contestant that runs; stopped when it has started, and after every turn.

    Args:
      contestant: what to run.
      folder: where it runs and writes what it has to say.
    """

    def __init__(self, contestant: Contestant, folder: Path):
        folder.mkdir()
        self._errors = folder / "stderr"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])] if contestant.python is None else [str(ROOT)]
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONWARNINGS": "ignore",
        }
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [
                    str(contestant.python or sys.executable),
                    "-m",
                    "benchmarks.turns",
                    contestant.run,
                    json.dumps(dict(contestant.arguments)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                cwd=folder,
                env=environment,
                process_group=0,
            )
        self._text = b""

    def start(self) -> None:
        """Waits until it is ready, and stops it."""
        self._answer(START_SECONDS)
        self._signal(signal.SIGSTOP)

    def turn(self, warm: float, seconds: float) -> dict[str, Any]:
        """Lets it work, and returns its answer."""
        self._signal(signal.SIGCONT)
        try:
            self._process.stdin.write(f"{warm} {seconds}\n".encode())
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        answer = self._answer(warm + seconds + ANSWER_SECONDS)
        self._signal(signal.SIGSTOP)
        return answer

    def _answer(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._text:
            if select.select([self._process.stdout], [], [], 0.2)[0]:
                text = os.read(self._process.stdout.fileno(), 65536)
                if not text:
                    raise Failed(self._last_words())
                self._text += text
            elif self._process.poll() is not None:
                raise Failed(self._last_words())
            elif time.monotonic() > deadline:
                raise Failed(f"no answer within {seconds:.0f} s")
        line, _, self._text = self._text.partition(b"\n")
        return json.loads(line)

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else f"ended with exit code {self._process.poll()}"

    def dismiss(self) -> None:
        """Lets it clean up and end."""
        self._signal(signal.SIGCONT)
        self._process.stdin.close()

    def end(self, deadline: float) -> None:
        """Waits for its end until `deadline` (of `time.monotonic`), then ends every process of its group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # nobody is left
            os.killpg(self._process.pid, number)


def hold(contest: Contest, turns: int, seconds: float, tell: Callable[[str], None] = lambda text: None) -> dict:
    """Holds a contest.

    Args:
      contest: who does what.
      turns: how often each works; the first turn is not counted, it comes in addition.
      seconds: how long a turn is measured.
      tell: called with what is done, `len(contestants) * (turns + 2)` times.

    Returns:
      `{"title", "unit", "better", "axis", "results": [...], "figures": [...]}` as JSON. A result has a `status`:
      `measured`, `not installed` (`quoted`, if there is a quote) or `failed`, and `values` with their `median`.
    """
    results = {entry.name: {"status": "not installed", "values": [], "note": ""} for entry in contest.contestants}
    running: dict[str, Running] = {}
    seconds *= contest.longer
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        try:
            starting: list[str] = []
            for number, entry in enumerate(contest.contestants):
                tell(f"start {entry.name}")
                if entry.installed():
                    running[entry.name] = Running(entry, Path(folder) / str(number))
                    starting.append(entry.name)
                while len(starting) > (1 if entry is not contest.contestants[-1] else 0):  # two at a time
                    _attempt(running, starting.pop(0), results, lambda racer: racer.start())
            for turn in range(turns + 1):
                shift = turn % max(1, len(contest.contestants))  # nobody always follows the same one
                for entry in (*contest.contestants[shift:], *contest.contestants[:shift]):
                    tell(entry.name)
                    if entry.name in running:
                        answer = _attempt(
                            running, entry.name, results, lambda racer: racer.turn(WARM_SHARE * seconds, seconds)
                        )
                        if answer and turn:
                            results[entry.name]["values"].append(answer["value"])
                            results[entry.name]["note"] = answer["note"]
        finally:
            _end(*running.values())
    return summary(contest, results)


def _attempt(running: dict[str, Running], name: str, results: dict[str, dict], work: Callable) -> Any:
    """Does something with a contestant; one that fails is out."""
    try:
        answer = work(running[name])
    except Failed as failure:
        _end(running.pop(name))
        results[name] = {"status": "failed", "values": [], "note": str(failure)}
        return None
    results[name]["status"] = "measured"
    return answer


def _end(*racers: Running) -> None:
    for racer in racers:
        racer.dismiss()
    deadline = time.monotonic() + END_SECONDS
    for racer in racers:
        racer.end(deadline)


def summary(contest: Contest, results: dict[str, dict]) -> dict:
    """Makes medians, quotes and figures of the values of `results`."""
    medians = {name: median(result["values"]) for name, result in results.items() if result["values"]}
    measured = dict(medians)
    for entry in contest.contestants:
        result = results[entry.name]
        if result["status"] == "not installed" and entry.quote is not None and entry.quote.of in measured:
            medians[entry.name] = entry.quote.ratio * measured[entry.quote.of]
            note = f"{entry.quote.ratio:g} times {entry.quote.of}, as {entry.quote.where}"
            results[entry.name] = {"status": "quoted", "values": [], "note": note}
    rows = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "series": entry.series,
            "place": entry.place,
            "median": medians.get(entry.name),
            **results[entry.name],
        }
        for entry in contest.contestants
    ]
    return {
        "title": contest.title,
        "unit": contest.unit,
        "better": contest.better,
        "axis": contest.axis,
        "results": rows,
        "figures": [_figure(figure, medians, measured, contest.better) for figure in contest.figures],
    }


def _figure(figure: Figure, medians: dict[str, float], measured: dict[str, float], better: str) -> dict:
    value = figure.value(medians, max if better == "higher" else min)
    return {
        "text": figure.text,
        "value": value,
        "unit": figure.unit,
        "at_least": figure.at_least,
        "at_most": figure.at_most,
        "met": None if value is None else figure.met(value),
        "quoted": sorted(figure.names() & (medians.keys() - measured.keys())),
        "missing": sorted(figure.names() - medians.keys()),
    }
