"""200 random pipelines keep every promise, each fifth in fast runs; `random_pipeline(seed)` draws a failing one again."""

import functools
import inspect
import re
from collections import Counter

import pytest
import torch

import aexp_torch as ae
from aexp_torch.testing import RandomPipeline, check_env, random_pipeline
from aexp_torch.testing.random_components import COMPOSITIONS, STAGES
from aexp_torch.testing.random_sources import SOURCES
from aexp_torch.testing.rollout import difference
from tests.loading.mixed import snapshots, through_disk

pytestmark = pytest.mark.timeout(120)
SEEDS = range(200)
GROUPS = [range(start, start + 20) for start in range(0, len(SEEDS), 20)]  # pipelines that share a loader


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are so small that threads only wait for each other
    yield
    torch.set_num_threads(threads)


@functools.cache
def drawn(seed: int) -> RandomPipeline:
    return random_pipeline(seed)


@pytest.mark.every(5)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise(seed: int):
    pipeline = drawn(seed)
    try:
        check_env(pipeline.env, independent_lanes=pipeline.independent, restore_steps=7)
    except Exception as error:
        error.add_note(f"random_pipeline({seed}): {pipeline.text}")
        raise


def loader(seeds: range, num_workers: int) -> ae.Loader:
    envs = {f"{seed}": drawn(seed).env for seed in seeds}
    return ae.Loader(envs, num_workers=num_workers, in_flight=2, steps_per_epoch=16 * len(seeds), seed=1)


def same(where: str, expected: list[ae.TimeStep], came: list[ae.TimeStep]) -> None:
    assert [timestep.source for timestep in came] == [timestep.source for timestep in expected]
    for ours, theirs in zip(expected, came):
        found = difference(ours, theirs)
        assert found is None, f"{where}, at {ours.ticket}: {found}"


@pytest.mark.every(len(GROUPS))
@pytest.mark.parametrize("seeds", GROUPS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_two_workers_give_the_streams_of_one_process(seeds: range):
    alone, workers, other = (loader(seeds, num_workers) for num_workers in (0, 2, 0))
    try:
        expected = snapshots(alone, len(alone))
        half = len(expected) // 2 + 1
        shown = snapshots(workers, half)
        other.load_state_dict(through_disk(workers.state_dict()))
        same("with two workers", expected, shown + snapshots(workers, len(expected) - half))
        same("in one process, from the state of two workers", expected[half:], snapshots(other, len(expected) - half))
    finally:
        for each in (alone, workers, other):
            each.close()


def test_every_component_is_in_several_pipelines():
    count = Counter(component for seed in SEEDS for component in set(drawn(seed).components))
    rare = {part: count[part] for part in (*STAGES, *COMPOSITIONS, *SOURCES) if count[part] < 8}
    assert not rare
    sizes = Counter(sum(part not in SOURCES for part in drawn(seed).components) for seed in SEEDS)
    assert sorted(sizes) == [1, 2, 3, 4, 5, 6]
    nested = [seed for seed in SEEDS if sum(part in COMPOSITIONS for part in drawn(seed).components) > 1]
    assert len(nested) > 20


def test_every_exported_stage_and_composition_is_drawn():
    exported = {member for member in vars(ae).values() if inspect.isclass(member) and issubclass(member, ae.Env)}
    sources = {member for member in exported if not issubclass(member, ae.Stage | ae.Composition)} | {ae.Composition}
    missing = sorted(
        member.__name__ for member in exported - sources - {ae.ArtificialExperience} - set(STAGES) - set(COMPOSITIONS)
    )
    assert not missing, f"add a line to aexp_torch/testing/random_components.py for {missing}"


def test_refusals_are_few_and_say_what_to_do():
    refused = [refusal for seed in SEEDS for refusal in drawn(seed).refused]
    accepted = sum(part not in SOURCES for seed in SEEDS for part in drawn(seed).components)
    assert len(refused) < accepted / 2
    for refusal in refused:  # who: expected ..., got .... What to do.
        assert re.fullmatch(r"\w+: .*expected .+(\.|: |: .+\.) ?[A-Zk].+\.", refusal.error), refusal


def test_a_seed_gives_the_same_pipeline_again():
    again = random_pipeline(5)
    assert again.text == drawn(5).text != drawn(6).text
    assert again.components == drawn(5).components
