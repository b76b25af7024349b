"""benchmarks/lifelong.py in short: the part of the catalogue that the core opens."""

import json

import pytest

import aexp_torch as ae
from benchmarks import lifelong


def needs_no_extra(thing: ae.Env) -> bool:
    return not getattr(thing, "entry", thing).extra


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_experience_visits_everything_and_is_resumed_in_its_middle(capsys):
    result = lifelong.measure(2000, 5, 200, include=[needs_no_extra], exclude=None, max_open=None)
    assert result["never_visited"] == [] and result["visits"] > 400
    assert result["resumed_equal"] == result["compared"] == 200
    assert result["memory_mib_end"] < 1.1 * result["memory_mib_all_visited"]
    lifelong.main(["--steps=60", "--visit_steps=5", "--check_steps=20", "--include", "image.classification"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["steps"] == 60 and printed["resumed_equal"] == 20
