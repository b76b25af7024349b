"""An exception on all ranks leaves a whole checkpoint; one on a rank alone leaves the last as it was, and says so."""

import os
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from runs import EPOCHS, STEPS, free_port, on_ranks, results, train

from lightning_modules import ranks

RUN = STEPS * EPOCHS


def run(folder, **options):
    return on_ranks(train, 2, folder=folder, strategy="ddp", devices=2, saves=True, **options)


def test_on_every_rank(tmp_path):
    errors = run(tmp_path, kind="dqn", fail_at=8)
    assert "boom on rank 0" in errors[0] and "boom on rank 1" in errors[1]
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    one, other = saved["ExperienceDataModule"]["train"]
    assert one["sources"]["cart"]["slots"].keys() == {"0", "2"} and other["sources"]["cart"]["slots"].keys() == {
        "1",
        "3",
    }
    one, other = saved["agent"]
    assert not torch.equal(one["generator"], other["generator"])


@pytest.mark.parametrize("alone", [0, 1])
def test_on_one_rank(alone, tmp_path):
    began = time.monotonic()
    errors = run(tmp_path, kind="mixed", fail_at=8, fail_on=[alone], patience=2)
    assert time.monotonic() - began < 30
    assert f"boom on rank {alone}" in errors[alone] and "boom" not in errors[1 - alone]
    assert f"No checkpoint was written on this exception: rank {alone} raised it in batch 3 of epoch 1" in errors[alone]
    assert f"rank {1 - alone} did not. Resume from the last checkpoint" in errors[alone]
    assert errors[1 - alone]
    # The end of the epoch is the last checkpoint of all ranks, and from there the run goes on.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch=0.ckpt", "last.ckpt"]
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder, ckpt_path in ((whole, None), (resumed, tmp_path / "last.ckpt")):
        folder.mkdir()
        options = {"folder": folder, "strategy": "ddp", "devices": 2, "ckpt_path": ckpt_path}
        assert on_ranks(train, 2, kind="mixed", **options) == ["", ""]
    for before, after in zip(results(whole), results(resumed), strict=True):
        assert after["trained"] == before["trained"][STEPS:]
        for name, value in before["weights"].items():
            assert torch.equal(after["weights"][name], value), name


@pytest.mark.timeout(60)
def test_in_forked_ranks(tmp_path):
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="boom"):
        train("classifier", tmp_path, "ddp_fork", 2, saves=True, fail_at=8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch=0.ckpt", "last.ckpt"]


class Interrupted:
    """What `all_ranks` asks of a trainer that an exception ends."""

    interrupted, world_size, global_step, current_epoch = True, 2, 5, 0

    def __init__(self, rank, step):
        self.global_rank = rank
        self.fit_loop = self.epoch_loop = self.batch_progress = self.current = self
        self.ready = step


def exchange(folder, port, size, late):
    rank = int(os.environ["RANK"])
    ranks.SECONDS = 3
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    if rank == 1:
        time.sleep(late)
    try:
        raise ValueError("ends the run")
    except ValueError:
        parts = ranks.all_ranks({"rank": rank, "state": torch.full((size,), rank)}, Interrupted(rank, 1))
    assert [part["rank"] for part in parts] == [0, 1]
    assert all(len(part["state"]) == size and (part["state"] == part["rank"]).all() for part in parts)
    Path(folder, f"done{rank}").touch()
    torch.distributed.barrier()


@pytest.mark.parametrize("size", [1, 3_000_000])
def test_states_of_any_size_are_exchanged(size, tmp_path):
    assert on_ranks(exchange, folder=tmp_path, port=free_port(), size=size, late=0) == ["", ""]


@pytest.mark.slow
def test_who_comes_too_late_does_not_save_either(tmp_path):
    errors = on_ranks(exchange, folder=tmp_path, port=free_port(), size=1, late=5)
    assert all("ends the run" in error and "No checkpoint was written" in error for error in errors)
    assert not list(tmp_path.iterdir())
