"""`python -m benchmarks`: the questions run, and JSON, Markdown and charts come of them."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import choose, main
from benchmarks.contest import Contest, Contestant, Figure, summary
from benchmarks.questions import QUESTIONS
from benchmarks.report import NAME, markdown, number, write

PNG = b"\x89PNG\r\n\x1a\n"


def test_the_command_writes_everything(tmp_path: Path, capsys: pytest.CaptureFixture):
    main(["round_trip", "--turns=1", "--seconds=0.05", "--only=Pipe of integers", f"--out={tmp_path}"])
    result = json.loads((tmp_path / "round_trip.json").read_text())
    rows = [row for contest in result["contests"] for row in contest["results"]]
    assert [row["name"] for row in rows] == ["Pipe of integers"] * 2
    assert all(row["status"] == "measured" and row["median"] > 0 for row in rows)
    assert result["machine"]["cores"] >= 1 and "torch" in result["machine"]["packages"]
    assert (tmp_path / "round_trip.png").read_bytes().startswith(PNG)
    text = (tmp_path / NAME).read_text()
    assert "![round_trip](round_trip.png)" in text and f"| Pipe of integers | {number(rows[0]['median'])} |" in text
    assert "Pipe of integers" in capsys.readouterr().out


MACHINE = {"date": "", "processor": "", "cores": 2, "load_before": 0, "kernel": "", "python": "", "packages": {}}


def result_of(*contests: dict, text: str = "Why?\n\nSo.") -> dict:
    """Returns a result as JSON has it."""
    return {"text": text, "turns": 1, "seconds": 1.0, "machine": MACHINE, "contests": list(contests)}


def test_results_of_several_runs_are_put_together(tmp_path: Path):
    contestants = [
        Contestant(f"{series}, {place}", "x:y", kind=kind, series=series, place=place)
        for series, kind in (("ours", "ours"), ("limit", "limit"))
        for place in (1, 64, 4096)
    ]
    values = {
        entry.name: {"status": "measured", "values": [float(entry.place)], "note": "1 | 2"} for entry in contestants
    }
    values["limit, 64"] = {"status": "failed", "values": [], "note": "why"}
    lines = summary(Contest("lines", "steps/s", contestants, axis="lanes"), values)
    bars = summary(Contest("bars", "steps/s", contestants), values)
    write(tmp_path, "scaling", result_of(lines, bars, text="What of lines?"), QUESTIONS)
    write(tmp_path, "slow", result_of(bars, text="What of bars?"), QUESTIONS)
    text = (tmp_path / NAME).read_text()
    assert text.index("## What of bars?") < text.index("## What of lines?")  # the order of QUESTIONS
    assert (
        "| **ours, 4096** | 4,100 | 4,100 to 4,100 | 1 \\| 2 |" in text and "| limit, 64 |  |  | failed: why |" in text
    )
    assert all((tmp_path / f"{name}.png").read_bytes().startswith(PNG) for name in ("scaling", "slow"))


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["transports"])
    assert "transports" in capsys.readouterr().err


def test_only_leaves_out_figures_that_cannot_be_made():
    contest = Contest(
        "x", "y", [Contestant(name, "x:y") for name in "abc"], [Figure("1", "a", "b"), Figure("2", "a", "c")]
    )
    (chosen,) = choose([contest], re.compile("[ab]"))
    assert [entry.name for entry in chosen.contestants] == ["a", "b"]
    assert [figure.text for figure in chosen.figures] == ["1"]
    assert choose([contest], re.compile("z")) == []


def test_bounds_are_printed_first():
    figure = {"unit": "", "at_least": 60.0, "at_most": None, "quoted": [], "missing": []}
    figures = [
        {**figure, "text": "kept", "value": 61.26, "met": True},
        {**figure, "text": "broken", "value": 12.0, "met": False, "quoted": ["peer"]},
        {**figure, "text": "unknown", "value": None, "met": None, "missing": ["peer"]},
        {**figure, "text": "free", "value": 3.0, "at_least": None, "met": None},
    ]
    contest = {"title": "t", "unit": "u", "better": "higher", "axis": None, "results": [], "figures": figures}
    text = markdown({"q": result_of(contest)})
    first = text.partition("## Why?")[0]
    assert "| kept | 61.3 | at least 60 | yes |" in first
    assert "| broken | 12 (with a quoted figure: peer) | at least 60 | **no** |" in first
    assert "| unknown | not known without peer | at least 60 |  |" in first
    assert "free" not in first and "| free | 3 |  |  |" in text


@pytest.mark.parametrize(
    "value, text", [(0.1234, "0.123"), (12.0, "12"), (999.0, "999"), (1234.0, "1,230"), (1_669_999.0, "1,670,000")]
)
def test_three_digits(value: float, text: str):
    assert number(value) == text


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_runs(question: str, tmp_path: Path):
    main([question, "--turns=1", "--seconds=0.05", f"--out={tmp_path}"])
    result = json.loads((tmp_path / f"{question}.json").read_text())
    rows = [row for contest in result["contests"] for row in contest["results"]]
    assert not {row["name"]: row["note"] for row in rows if row["status"] == "failed"}
    assert all(row["median"] > 0 for row in rows if row["status"] == "measured")
    figures = [figure for contest in result["contests"] for figure in contest["figures"]]
    assert not [figure["text"] for figure in figures if figure["value"] is None and not figure["missing"]]
