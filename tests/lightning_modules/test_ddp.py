"""Two ranks under Trainer.fit, in every way that Lightning starts them."""

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from lightning import Trainer

import aexp_torch as ae
from aexp_torch.loading import EpisodeCounter

sys.path.insert(0, str(Path(__file__).parent))
import runs
from runs import EPOCHS, STEPS, finish, free_port, on_ranks, results, torchrun, train

KINDS = ["dqn", "ppo", "classifier", "mixed"]


def check(folder, kind):
    """Asserts what is promised of two ranks."""
    one, other = results(folder)
    assert len(one["trained"]) == len(other["trained"]) == STEPS * EPOCHS
    assert [source for source, *_ in one["trained"]] == [source for source, *_ in other["trained"]]
    assert {slot % 2 for _, slot, _ in one["trained"]} == {0} and {slot % 2 for _, slot, _ in other["trained"]} == {1}
    assert not {key for *_, key in one["trained"]} & {key for *_, key in other["trained"]}
    assert one["weights"].keys() == other["weights"].keys()
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name]), name
    assert one["metrics"] == other["metrics"] and len(one["metrics"]) == EPOCHS
    assert one["validated"] and not {key for *_, key in one["validated"]} & {key for *_, key in other["validated"]}
    assert one["logged"].get("env_steps") == other["logged"].get("env_steps")
    agent, _ = runs.build(kind)
    changed = [name for name, value in agent.state_dict().items() if not torch.equal(value, one["weights"][name])]
    for source in {source for source, *_ in one["trained"]}:
        assert any(source in name for name in changed) or kind == "dqn"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.timeout(60)
def test_fork(kind, tmp_path):
    train(kind, tmp_path, "ddp_fork", 2)
    check(tmp_path, kind)


@pytest.mark.timeout(60)
def test_ranks_that_learn_of_their_sources_as_these_come(tmp_path):
    for kind in ("known", "growing"):
        (tmp_path / kind).mkdir()
        train(kind, tmp_path / kind, "ddp_fork", 2)
    check(tmp_path / "known", "known")
    for known, grown in zip(results(tmp_path / "known"), results(tmp_path / "growing"), strict=True):
        assert known["metrics"] == grown["metrics"] and known["weights"].keys() == grown["weights"].keys()
        for name, value in known["weights"].items():
            assert torch.equal(value, grown["weights"][name]), name


@pytest.mark.timeout(60)
def test_ranks_resume_after_they_have_grown(tmp_path):
    train("growing", tmp_path, "ddp_fork", 2, save_after=[5])
    whole = results(tmp_path)
    train("growing", tmp_path, "ddp_fork", 2, ckpt_path=tmp_path / "5.ckpt")
    for before, after in zip(whole, results(tmp_path), strict=True):
        assert before["trained"][5:] == after["trained"]
        assert all(torch.equal(value, after["weights"][name]) for name, value in before["weights"].items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_spawn(kind, tmp_path):
    train(kind, tmp_path, "ddp_spawn", 2)
    check(tmp_path, kind)


@pytest.mark.slow
def test_spawn_without_validation(tmp_path):
    train("ppo", tmp_path, "ddp_spawn", 2, validates=False)
    assert results(tmp_path)[0]["metrics"] == []


def arguments(kind, folder, **options):
    return json.dumps({"kind": kind, "folder": str(folder), "strategy": "ddp", "devices": 2, **options})


FEW = [*(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[:-1]), KINDS[-1]]


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.timeout(120)
def test_torchrun(kind, tmp_path):
    ((code, output),) = finish(
        torchrun(["--standalone", "--nproc_per_node=2"], runs.__file__, arguments(kind, tmp_path))
    )
    assert code == 0, output
    check(tmp_path, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_nodes(kind, tmp_path):
    meet = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_id=test", "--rdzv_backend=c10d", "--local_addr=127.0.0.1"]
    meet.append(f"--rdzv_endpoint=127.0.0.1:{free_port()}")
    run = arguments(kind, tmp_path, devices=1, num_nodes=2)
    for code, output in finish(*[torchrun(meet, runs.__file__, run) for _ in range(2)]):
        assert code == 0, output
    check(tmp_path, kind)


def returns_alone(weights, episodes, num_slots):
    """Returns what one process finds that runs the slots of all ranks."""
    agent, _ = runs.build("dqn")
    agent.load_state_dict(weights)
    loader = ae.Loader({"cart": runs.cart(1)}, episodes=episodes, in_flight=num_slots, seed_prefix="val/")
    counters, found = defaultdict(EpisodeCounter), []
    for timestep in loader:
        found += [episode.episodic_return for episode in counters[timestep.ticket.slot].update(timestep)]
        timestep.reply(agent.greedy(timestep))
    assert len(found) == episodes
    return sum(found) / len(found)


@pytest.mark.parametrize("episodes", [1, 2, 3])
@pytest.mark.timeout(60)
def test_validation_is_of_all_ranks_even_where_one_has_no_part(episodes, tmp_path):
    train("dqn", tmp_path, "ddp_fork", 2, episodes=episodes, flags={"num_sanity_val_steps": 2})
    ranks = results(tmp_path)
    assert ranks[0]["metrics"] == ranks[1]["metrics"]
    assert bool(ranks[1]["validated"]) == (episodes > 1)
    wanted = returns_alone(ranks[0]["weights"], episodes, 2)
    assert ranks[0]["metrics"][-1]["val/cart/return"] == pytest.approx(wanted)


def evaluate(folder, kind):
    agent, module = runs.build(kind, episodes=1)
    module.test_dataloader = module.val_dataloader
    trainer = Trainer(accelerator="cpu", strategy="ddp", devices=2, logger=False, enable_checkpointing=False)
    for run in (trainer.validate, trainer.test):
        (metrics,) = run(agent, module, verbose=False)
        torch.save(metrics, folder / f"{run.__name__}{trainer.global_rank}.pt")


@pytest.mark.parametrize("kind", ["classifier", "mixed"])
@pytest.mark.timeout(60)
def test_evaluation_alone(kind, tmp_path):
    assert on_ranks(evaluate, folder=tmp_path, kind=kind) == ["", ""]
    for name in ("validate", "test"):
        one, other = (torch.load(tmp_path / f"{name}{rank}.pt") for rank in range(2))
        assert one == other and any(key.endswith("data/accuracy") for key in one)
