"""The agents learn what `benchmarks.learning` says they do."""

import pytest
import torch

from benchmarks.learning import RUNS, TARGETS, run

SEEDS = {"ppo": 5, "dqn": 5, "classifier": 3, "dqn_digits": 3, "ppo_digits": 3, "generalist": 3}


def test_every_run_has_a_target():
    assert set(RUNS) == set(TARGETS) == set(SEEDS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name, seed", [(name, seed) for name, count in SEEDS.items() for seed in range(count)])
def test_reaches_its_target(name, seed):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        (result,) = run(name, [seed])
    finally:
        torch.set_num_threads(threads)
    assert result["met"], result
