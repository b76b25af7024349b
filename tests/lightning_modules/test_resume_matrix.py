"""A run that was stopped and resumed is the run that was not: on every rank, with any workers, wherever it stops."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

import aexp_torch as ae

sys.path.insert(0, str(Path(__file__).parent))
from runs import EPOCHS, SMALL, STEPS, on_ranks, results, train

RUN = STEPS * EPOCHS
QUICK = {("classifier", 1, 1), ("mixed", 2, 0)}
MATRIX = [
    pytest.param(*row, id="-".join(map(str, row)), marks=() if row in QUICK else pytest.mark.slow)
    for row in itertools.product(["dqn", "ppo", "classifier", "mixed", "world"], [1, 2], [0, 1, 2])
]


def run(folder, ranks, **options):
    """Trains on ranks and returns the error of each."""
    folder.mkdir(exist_ok=True)
    if ranks == 2:
        return on_ranks(train, 2, folder=folder, strategy="ddp", devices=2, **options)
    try:
        train(folder=folder, **options)
    except RuntimeError as error:
        return [str(error)]
    return [""]


def stop(folder, ranks, how, **options):
    """Stops a run and returns the checkpoint that it left, and the number of steps that it took."""
    if how == "mid-epoch":
        assert run(folder, ranks, save_after=[4], flags={"max_epochs": 1}, **options) == [""] * ranks
        return folder / "4.ckpt", 4
    if how == "end of epoch":
        assert run(folder, ranks, saves=True, flags={"max_epochs": 1}, **options) == [""] * ranks
        return folder / "epoch=0.ckpt", STEPS
    place = how.split()[-1]
    errors = run(folder, ranks, saves=True, fail_at=STEPS + 2, fail_in=place, **options)
    assert all("boom" in error and "No checkpoint" not in error for error in errors), errors
    return folder / "last.ckpt", STEPS + 2 + (place == "end")


@pytest.mark.filterwarnings("ignore:.*Lines has no state_dict")  # it is read again and skipped
@pytest.mark.parametrize("kind, ranks, workers", MATRIX)
@pytest.mark.timeout(120)
def test_resumed_is_not_stopped(kind, ranks, workers, tmp_path):
    # What is annealed has to know the length of the whole run, also where a run is stopped by its number of epochs.
    options = {"kind": kind, "workers": workers, "annealing_steps": RUN}
    assert run(tmp_path / "whole", ranks, **options) == [""] * ranks
    whole = results(tmp_path / "whole", ranks)
    for how in ("mid-epoch", "end of epoch", "exception at start", "exception at end"):
        path, steps = stop(tmp_path / how, ranks, how, **options)
        torch.load(path, weights_only=True)
        assert run(tmp_path / "resumed", ranks, ckpt_path=path, **options) == [""] * ranks
        for before, after in zip(whole, results(tmp_path / "resumed", ranks), strict=True):
            assert len(after["trained"]) == RUN - steps, how
            assert after["trained"] == before["trained"][steps:], how
            assert after["logged"] == before["logged"], how
            assert after["metrics"] == before["metrics"][-len(after["metrics"]) :], how
            for name, value in before["weights"].items():
                assert torch.equal(after["weights"][name], value), (how, name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Lines has no state_dict")
@pytest.mark.parametrize("kind", ["mixed", "dqn"])
@pytest.mark.timeout(120)
def test_workers_change_nothing_on_two_ranks(kind, tmp_path):
    found = []
    for workers in (0, 1, 2):
        assert run(tmp_path / str(workers), 2, kind=kind, workers=workers, save_after=[4]) == ["", ""]
        found.append(results(tmp_path / str(workers)))
    resumed = tmp_path / "resumed"
    assert run(resumed, 2, kind=kind, workers=1, ckpt_path=tmp_path / "2" / "4.ckpt") == ["", ""]
    for rank in range(2):
        assert found[0][rank]["trained"] == found[1][rank]["trained"] == found[2][rank]["trained"]
        assert results(resumed)[rank]["trained"] == found[0][rank]["trained"][4:]
        for name, value in found[0][rank]["weights"].items():
            assert torch.equal(results(resumed)[rank]["weights"][name], value), name


@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
@pytest.mark.parametrize(
    "how",
    [
        "mid-epoch",
        *(
            pytest.param(how, marks=pytest.mark.slow)
            for how in ("end of epoch", "exception at start", "exception at end")
        ),
    ],
)
@pytest.mark.timeout(120)
def test_datasets_go_on_with_other_ranks(before, after, how, tmp_path):
    options = {"kind": "passes", "in_flight": 2, "annealing_steps": RUN}
    first, second = tmp_path / "first", tmp_path / "second"
    # What the first run got before the checkpoint: all of its only epoch, or so many batches of three rows on each rank.
    if how == "end of epoch":
        assert run(first, before, saves=True, flags={"max_epochs": 1}, **options) == [""] * before
        path, taken = first / "epoch=0.ckpt", [row for rank in results(first, before) for row in rank["rows"]]
    else:
        place = "start" if how == "mid-epoch" else how.split()[-1]
        saving = {"save_after": [3]} if how == "mid-epoch" else {"saves": True}
        assert run(first, before, fail_at=3, fail_in=place, **saving, **options) != [""] * before
        path, steps = first / ("3.ckpt" if how == "mid-epoch" else "last.ckpt"), 3 + (place == "end")
        assert run(first, before, **options) == [""] * before
        taken = [row for rank in results(first, before) for row in rank["rows"][: 3 * steps]]
    assert run(second, after, ckpt_path=path, **options) == [""] * after
    rest = [row for rank in results(second, after) for row in rank["rows"]]
    assert sorted(taken + rest) == sorted(SMALL["x"][:, 0].tolist() * EPOCHS)


def test_environments_need_the_ranks_that_they_had(tmp_path):
    assert run(tmp_path, 2, kind="dqn", save_after=[4]) == ["", ""]
    with pytest.raises(ae.SpecError, match="Resume with the same world_size and in_flight"):
        train("dqn", tmp_path, ckpt_path=tmp_path / "4.ckpt")
