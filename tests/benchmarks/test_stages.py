"""`python -m benchmarks.stages`: every stage is measured beside its source, and JSON and Markdown come of it."""

import json
from pathlib import Path

import pytest

import aexp_torch as ae
from benchmarks import stages
from benchmarks.stages import CHAIN, EMPTY, STAGES, TEN, Cost, main, markdown


def test_the_command_writes_json_and_markdown(tmp_path: Path, capsys: pytest.CaptureFixture):
    main(["--only=^empty|^TimeLimit|^DynamicTimescaled", "--rounds=3", "--steps=2", f"--out={tmp_path}"])
    result = json.loads((tmp_path / "stages.json").read_text())
    assert [cost["name"] for cost in result["costs"]] == [EMPTY, "DynamicTimescaled, ratio 1", "TimeLimit"]
    assert [cost["source"] for cost in result["costs"]] == ["CartPole-v1", "counters", "counters"]
    assert all(low <= cost["microseconds"] <= high for cost in result["costs"] for low, high in [cost["quartiles"]])
    assert all(cost["bare"] > 0 for cost in result["costs"]) and result["machine"]["cores"] >= 1
    assert "| TimeLimit | counters |" in (tmp_path / "stages.md").read_text()
    assert "TimeLimit" in capsys.readouterr().out


def test_bounds_are_told():
    costs = [
        Cost(EMPTY, "CartPole-v1", 0.4, (0.3, 0.5), 40.0, stages.EMPTY_MICROSECONDS),
        Cost(TEN, "CartPole-v1", 151.0, (140.0, 160.0), 40.0, stages.CHAIN_MICROSECONDS),
        Cost("Noisy", "CartPole-v1", 12.0, (11.0, 13.0), 40.0),
    ]
    empty, ten, noisy = markdown(costs).splitlines()[2:]
    assert empty.endswith("| at most 3: yes |") and ten.endswith("| at most 150: **no** |") and noisy.endswith("|  |")


def test_every_stage_is_measured():
    measured = {name.replace(",", " ").split()[0] for name in STAGES}
    exported = {member for member in vars(ae).values() if isinstance(member, type) and issubclass(member, ae.Stage)}
    missing = sorted(stage.__name__ for stage in exported - {ae.Stage} if stage.__name__ not in measured)
    assert not missing, f"add a line to STAGES in benchmarks/stages.py for {missing}"
    assert len(CHAIN) == len({stage for stage, _ in CHAIN}) == 10


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit):
        main(["--only=nothing of the kind"])
    assert "empty stage" in capsys.readouterr().err


@pytest.mark.slow
def test_every_row_runs():
    costs = main(["--rounds=2", "--steps=2"])
    assert [cost.name for cost in costs] == list(STAGES)
