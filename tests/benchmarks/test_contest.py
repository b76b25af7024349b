"""Contests: turns, medians, ratios, contestants that are missing or fail, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pytest

from benchmarks import contest as contest_module
from benchmarks.contest import ROOT, Contest, Contestant, Figure, Quote, hold, summary

RACERS = "tests.benchmarks.racers"


def racer(name: str, function: str, **arguments) -> Contestant:
    """Returns a contestant of `racers`."""
    return Contestant(name, f"{RACERS}:{function}", arguments)


def by_name(result: dict) -> dict[str, dict]:
    """Returns the results of a contest by contestant."""
    return {row["name"]: row for row in result["results"]}


def test_rates_and_ratios():
    contestants = [racer("slow", "steady", pause=0.02), racer("fast", "steady", pause=0.002, units=64)]
    figures = [Figure("fast over slow", "fast", "slow", at_least=1.0)]
    told: list[str] = []
    result = hold(Contest("a race", "units/s", contestants, figures), turns=3, seconds=0.1, tell=told.append)
    rows = by_name(result)
    assert len(told) == len(contestants) * (3 + 2)
    assert [len(row["values"]) for row in rows.values()] == [3, 3]
    assert 0 < rows["slow"]["median"] <= 1 / 0.02 and 0 < rows["fast"]["median"] <= 64 / 0.002
    assert rows["slow"]["median"] == sorted(rows["slow"]["values"])[1] and rows["slow"]["note"] == "steady"
    (figure,) = result["figures"]
    assert figure["value"] == rows["fast"]["median"] / rows["slow"]["median"]
    assert figure["met"] is True and figure["quoted"] == figure["missing"] == []


def test_one_at_a_time(tmp_path: Path):
    file = tmp_path / "record"
    contestants = [racer(name, "counted", file=str(file)) for name in ("one", "two", "three")]
    hold(Contest("turns", "steps/s", contestants), turns=2, seconds=0.1)
    turns = [(who, len(list(steps))) for who, steps in groupby(file.read_text().split())]
    turns = [who for who, steps in turns if steps > 3]  # without the first step of each
    one, two, three = sorted(set(turns), key=turns.index)
    assert turns == [one, two, three, two, three, one, three, one, two]


def test_laps_and_values_of_ones_own():
    contestants = [racer("lap", "lapped", pause=0.005), racer("shown", "shown", value=17.5)]
    rows = by_name(hold(Contest("answers", "µs", contestants), turns=1, seconds=0.1))
    assert rows["lap"]["median"] >= 5000
    assert rows["shown"]["median"] == 17.5


def test_who_is_missing_or_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contest_module, "START_SECONDS", 2.0)
    monkeypatch.setattr(contest_module, "END_SECONDS", 0.2)
    contestants = [
        racer("steady", "steady", pause=0.001),
        racer("breaks at once", "breaks", after=0),
        racer("breaks later", "breaks", after=30),
        racer("silent", "silent"),
        Contestant("module", f"{RACERS}:steady", needs=("a_module_that_nobody_has",)),
        Contestant("environment", f"{RACERS}:steady", python=Path("/nonexistent/python")),
    ]
    figures = [Figure("steady over silent", "steady", "silent", at_least=1.0)]
    result = hold(Contest("failures", "steps/s", contestants, figures), turns=2, seconds=0.1)
    rows = by_name(result)
    assert {name: row["status"] for name, row in rows.items()} == {
        "steady": "measured",
        "breaks at once": "failed",
        "breaks later": "failed",
        "silent": "failed",
        "module": "not installed",
        "environment": "not installed",
    }
    assert rows["breaks at once"]["note"] == rows["breaks later"]["note"] == "RuntimeError: the wheel came off"
    assert rows["silent"]["note"] == "no answer within 2 s"
    (figure,) = result["figures"]
    assert figure["value"] is None and figure["met"] is None and figure["missing"] == ["silent"]


def test_quotes_stand_in():
    contestants = [Contestant("limit", "x:y"), Contestant("absent", "x:y", quote=Quote(0.25, "limit", "measured once"))]
    figures = [Figure("limit over absent", "limit", "absent", at_least=5.0)]
    results = {
        "limit": {"status": "measured", "values": [100.0, 300.0, 200.0], "note": ""},
        "absent": {"status": "not installed", "values": [], "note": ""},
    }
    result = summary(Contest("quotes", "steps/s", contestants, figures), results)
    row = by_name(result)["absent"]
    assert (row["status"], row["median"]) == ("quoted", 50.0) and "measured once" in row["note"]
    (figure,) = result["figures"]
    assert figure["value"] == 4.0 and figure["met"] is False and figure["quoted"] == ["absent"]


@pytest.mark.parametrize(
    "figure, best, value",
    [
        (Figure("ratio", "a", "b"), max, 2.0),
        (Figure("best of several", ("a", "c"), ("b", "c")), max, 5.0 / 5.0),
        (Figure("least of several", "a", ("b", "c")), min, 2.0),
        (Figure("one of them is missing", "a", ("b", "z")), max, 2.0),
        (Figure("all are missing", "a", "z"), max, None),
        (Figure("difference", "c", minus="a"), max, 3.0),
        (Figure("per", "c", minus="b", per=2), max, 2.0),
    ],
)
def test_figures(figure: Figure, best, value: float | None):
    assert figure.value({"a": 2.0, "b": 1.0, "c": 5.0}, best) == value


@pytest.mark.parametrize("bounds, met", [({}, None), ({"at_least": 2.0}, True), ({"at_most": 1.9}, False)])
def test_bounds(bounds: dict, met: bool | None):
    assert Figure("x", "a", "b", **bounds).met(2.0) is met


def test_a_figure_over_nobody_is_refused():
    with pytest.raises(ValueError, match="nobody"):
        Contest("x", "y", [Contestant("a", "x:y")], [Figure("x", "a", "nobody")])


def alive(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(processes: list[int]) -> bool:
    """Waits until all have ended, for 20 s at most."""
    deadline = time.monotonic() + 20
    while any(map(alive, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, processes))


def test_no_process_is_left(tmp_path: Path):
    file = tmp_path / "processes"
    hold(Contest("end", "steps/s", [racer("stubborn", "stubborn", file=str(file))]), turns=1, seconds=0.05)
    processes = [int(process) for process in file.read_text().split()]
    assert len(processes) == 2 and gone(processes)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_contestant_survives_a_parent_that_is_stopped(tmp_path: Path, number: signal.Signals):
    code = f"from {RACERS} import hold_for_ever; hold_for_ever({str(tmp_path / 'racer')!r})"
    files = [tmp_path / f"racer-{name}" for name in ("one", "two", "three")]
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as parent:
        deadline = time.monotonic() + 30
        while not all(file.exists() for file in files) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)  # now some are stopped, and one works
        parent.send_signal(number)
    leaders = [int(file.read_text().split()[0]) for file in files]
    children = [int(file.read_text().split()[1]) for file in files]
    try:
        assert gone(leaders)
        if number == signal.SIGINT:  # then the contest itself ends them, even those that ignore everything
            assert gone(children)
    finally:
        for child in filter(alive, children):
            os.kill(child, signal.SIGKILL)
