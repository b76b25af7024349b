"""Loader: exact lengths, streams that persist, mixtures that follow from the seed, and states at every step."""

import numpy as np
import pytest
import torch

import aexp_torch as ae
from aexp_torch.errors import FeedbackError, SpecError
from aexp_torch.testing import CountingEnv
from aexp_torch.testing.rollout import answer_to, snapshot, streams_differ
from tests.loading.mixed import snapshots, through_disk

pytestmark = pytest.mark.timeout(60)


def numbers(num_samples=5, **options):
    return ae.DatasetEnv({"x": torch.arange(num_samples)}, name="numbers", **{"batch_size": 1, "epochs": 1, **options})


def endless(**options):
    return CountingEnv(2, lengths=[99, 99], **options)


def places(timesteps):
    return [(timestep.source, timestep.ticket.slot, timestep.ticket.step) for timestep in timesteps]


def xs(timesteps):
    return [timestep.observation["x"].tolist() for timestep in timesteps]


# Length


@pytest.mark.parametrize(
    ("env", "options", "length"),
    [
        (endless(), {"steps_per_epoch": 7}, 7),
        (numbers(), {}, 5),
        (numbers(), {"in_flight": 2}, 5),
        (numbers(), {"in_flight": 9}, 5),
        (numbers(batch_size=2), {}, 3),
        (numbers(batch_size=2, drop_last=True, epochs=3), {}, 6),
        (numbers(), {"in_flight": 2, "world_size": 2}, 3),
        (numbers(), {"in_flight": 2, "world_size": 2, "rank": 1}, 3),
        (numbers(), {"in_flight": 4, "world_size": 2, "rank": 1}, 3),
        (CountingEnv(stream_length=4), {"in_flight": 3}, 12),
        ({"a": numbers(), "b": endless()}, {"steps_per_epoch": 7}, 7),
    ],
)
def test_an_epoch_has_exactly_its_length(env, options, length):
    loader = ae.Loader(env, **options)
    assert len(loader) == length
    for _ in range(3):
        assert len(snapshots(loader)) == length


def test_without_a_length_endless_sources_are_named():
    with pytest.raises(SpecError, match=r"expected steps_per_epoch=, since \['b', 'c'\] never end"):
        ae.Loader({"a": numbers(), "b": endless(), "c": numbers(epochs=None)})


def test_the_length_of_a_mixture_until_the_first_and_until_all_are_over():
    envs = {"a": numbers(4), "b": numbers(12)}
    counts = {}
    for until in ("first", "all"):
        loader = ae.Loader(envs, until=until, seed=3)
        timesteps = snapshots(loader)
        assert len(timesteps) == len(loader)
        counts[until] = {name: sum(timestep.source == name for timestep in timesteps) for name in envs}
        assert timesteps[-1].source in envs and counts[until][timesteps[-1].source] in (4, 12)
    assert counts["first"]["a"] == 4 or counts["first"]["b"] == 12
    assert counts["first"]["a"] <= 4 and counts["first"]["b"] <= 12
    assert counts["all"]["a"] >= 4 and counts["all"]["b"] >= 12
    with pytest.raises(SpecError, match=r"expected weights under which \['a'\] come to an end"):
        ae.Loader(envs, until="all", weights={"a": 0, "b": 1})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps_per_epoch": 0}, "expected steps_per_epoch of at least 1, got 0"),
        ({"steps_per_epoch": 2.5}, "expected steps_per_epoch of at least 1, got 2.5"),
        ({"episodes": 0}, "expected episodes of at least 1, got 0"),
        ({"until": "last"}, "expected until='first' or 'all', got 'last'"),
        ({"in_flight": 3, "world_size": 2}, "expected in_flight as a multiple of world_size=2, got 3"),
        ({"in_flight": 0}, "got 0"),
        ({"rank": 2, "world_size": 2}, "expected 0 <= rank < world_size, got rank=2, world_size=2"),
        ({"weights": {"a": 1}}, r"no such source: \['a'\], without a weight: \['CountingEnv'\]"),
        ({"weights": [1, 2]}, "expected 1 weights"),
        ({"weights": [-1]}, r"expected finite weights >= 0, not all of them 0.*got \[-1.0\]"),
        ({"weights": [0]}, "not all of them 0"),
        ({"weights": [float("nan")]}, "expected finite weights"),
        ({"weights": lambda step: {"b": 1}}, r"no such source: \['b'\]"),
    ],
)
def test_what_does_not_fit_is_refused(options, match):
    with pytest.raises(SpecError, match=match):
        ae.Loader(CountingEnv(), **{"steps_per_epoch": 3, **options})


@pytest.mark.parametrize("env", [3, [], {}, {"a": 3}, [CountingEnv()]])
def test_what_is_no_env_is_refused(env):
    with pytest.raises(SpecError, match="expected an Env, or a mapping of names to Envs"):
        ae.Loader(env, steps_per_epoch=3)


# Streams persist


def test_the_next_epoch_goes_on_where_the_last_stopped():
    loader = ae.Loader(endless(), steps_per_epoch=3)
    steps = [timestep.ticket.step for _ in range(3) for timestep in snapshots(loader)]
    assert steps == list(range(9))


def test_leaving_a_loop_and_going_on():
    loader = ae.Loader(endless(), steps_per_epoch=5)
    first = snapshots(loader, 2)
    again = []
    for timestep in loader:
        again.append(timestep.ticket.step)
        timestep.reply(torch.tensor([1, 1]))
    assert [timestep.ticket.step for timestep in first] == [0, 1]
    assert again == [2, 3, 4, 5, 6]


def test_a_timestep_that_was_left_unanswered_is_shown_again_by_the_next_loop():
    loader = ae.Loader(endless(), steps_per_epoch=5)
    left = next(iter(loader))
    stream = iter(loader)
    assert next(stream).ticket is left.ticket
    with pytest.raises(FeedbackError, match="expected an answer to step 0"):
        next(stream)


def test_iter_does_nothing_until_it_is_asked():
    loader = ae.Loader(endless(), steps_per_epoch=2)
    for _ in range(3):
        iter(loader)
    stream = iter(loader)
    assert next(stream).ticket.step == 0


def test_nothing_happens_after_the_last_timestep_of_an_epoch():
    loader = ae.Loader(endless(), steps_per_epoch=2)
    stream = iter(loader)
    next(stream).reply(torch.tensor([1, 1]))
    last = next(stream)
    assert next(stream, None) is None
    last.reply(torch.tensor([3, 4]))  # its answer may come after the loop
    assert next(iter(loader)).reward.tolist() == [3, 4]


def test_an_epoch_that_starts_afresh_repeats_itself():
    loader = ae.Loader(endless(random=True), steps_per_epoch=4, resume_epochs=False, in_flight=2)
    first, second = snapshots(loader), snapshots(loader)
    assert streams_differ(first, second) is None
    snapshots(loader, 2)
    assert streams_differ(first, snapshots(loader)) is None


def test_environments_given_are_left_alone():
    env = endless()
    env.reset()
    timestep = env.step(torch.tensor([1, 1]))
    snapshots(ae.Loader(env, steps_per_epoch=4))
    assert env._outstanding is timestep


def test_options_for_every_env():
    env = endless().pipe(ae.ObserveReward)
    loader = ae.Loader(env, steps_per_epoch=4, on_missing="sample")
    assert [timestep.ticket.step for timestep in loader] == [0, 1, 2, 3]
    assert env.on_missing == "error"


# Slots


def test_slots_take_turns():
    loader = ae.Loader(endless(), steps_per_epoch=6, in_flight=3)
    assert places(snapshots(loader)) == [("CountingEnv", slot, step) for step in range(2) for slot in range(3)]


@pytest.mark.parametrize("in_flight", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_epoch_over_a_dataset_holds_every_sample_once(in_flight, shuffle):
    loader = ae.Loader(numbers(shuffle=shuffle), in_flight=in_flight)
    orders = [[x for (x,) in xs(snapshots(loader))] for _ in range(3)]
    assert [sorted(order) for order in orders] == [list(range(5))] * 3
    if shuffle:
        alone = ae.Loader(numbers(shuffle=True))
        assert orders == [[x for (x,) in xs(snapshots(alone))] for _ in range(3)]
    else:
        assert orders == [list(range(5))] * 3


@pytest.mark.parametrize("in_flight", [2, 4])
def test_ranks_share_the_slots_and_together_run_what_one_runs(in_flight):
    def streams(loaders, num_steps):
        found = {}
        for loader in loaders:
            for timestep in snapshots(loader):
                found.setdefault(timestep.ticket.slot, []).append(timestep)
        return found

    env = endless(random=True).pipe(ae.ObserveReward)
    alone = streams([ae.Loader(env, steps_per_epoch=16, in_flight=in_flight)], 16)
    shared = streams(
        [ae.Loader(env, steps_per_epoch=8, in_flight=in_flight, rank=rank, world_size=2) for rank in range(2)], 8
    )
    assert sorted(alone) == sorted(shared) == list(range(in_flight))
    for slot in alone:
        assert streams_differ(alone[slot], shared[slot]) is None


def test_ranks_share_a_pass_over_a_dataset():
    loaders = [ae.Loader(numbers(6), rank=rank, world_size=2) for rank in range(2)]
    assert [[x for (x,) in xs(snapshots(loader))] for loader in loaders] == [[0, 2, 4], [1, 3, 5]]
    uneven = [ae.Loader(numbers(5), rank=rank, world_size=2) for rank in range(2)]
    assert [[x for (x,) in xs(snapshots(loader))] for loader in uneven] == [[0, 2, 4], [1, 3, 0]]


# Mixtures


def mixed(**options):
    envs = {"rl": endless(), "data": numbers(epochs=None), "more": CountingEnv(1, num_actions=0)}
    return ae.Loader(envs, **{"steps_per_epoch": 60, "seed": 5, **options})


def test_the_source_of_a_step_is_the_same_on_every_rank_and_follows_from_the_seed():
    one, two = ([timestep.source for timestep in snapshots(mixed(rank=rank, world_size=2))] for rank in range(2))
    assert one == two == [timestep.source for timestep in snapshots(mixed(in_flight=3))]
    assert one != [timestep.source for timestep in snapshots(mixed(seed=6))]
    assert set(one) == {"rl", "data", "more"}


def test_weights_say_how_often():
    loader = mixed(weights={"rl": 6, "data": 3, "more": 1}, steps_per_epoch=2000)
    drawn = [loader._mixture.draw() for _ in range(2000)]
    shares = [drawn.count(name) / 2000 for name in ("rl", "data", "more")]
    np.testing.assert_allclose(shares, [0.6, 0.3, 0.1], atol=0.03)


def test_a_weight_of_zero_is_never_drawn_and_weights_may_follow_the_step():
    assert {timestep.source for timestep in snapshots(mixed(weights=[0, 1, 0]))} == {"data"}
    loader = mixed(weights=lambda step: {"rl": step < 20, "data": step >= 20, "more": 0}, steps_per_epoch=40)
    assert [timestep.source for timestep in snapshots(loader)] == ["rl"] * 20 + ["data"] * 20


def test_names_of_sources():
    loader = ae.Loader({"a": endless(), "b": ae.Interleave([endless(), endless()])}, steps_per_epoch=9)
    assert sorted(loader.specs) == ["a", "b/CountingEnv#1", "b/CountingEnv#2"]
    assert {timestep.source for timestep in snapshots(loader)} <= set(loader.specs)


def test_seed_prefix_runs_other_episodes():
    env = endless(random=True)
    plain, other = (snapshots(ae.Loader(env, steps_per_epoch=3, seed_prefix=prefix)) for prefix in ("", "val/"))
    assert plain[0].source == other[0].source
    assert plain[0].observation["random"].tolist() != other[0].observation["random"].tolist()


# State


def everything(in_flight):
    envs = {
        "rl": ae.GymnasiumEnv("CartPole-v1", 2).pipe(ae.Noisy).pipe(ae.ObserveReward, history=2),
        "data": numbers(shuffle=True, epochs=2).pipe(ae.Noisy, std=2),
        "judged": ae.DatasetEnv((torch.arange(6.0), torch.arange(6) % 3), batch_size=2, loss="correct", epochs=1),
    }
    return ae.Loader(envs, steps_per_epoch=9, in_flight=in_flight, seed=2, weights=[3, 1, 2])


@pytest.mark.parametrize("in_flight", [1, 3])
@pytest.mark.parametrize("answered", [True, False])
def test_a_state_at_any_step_gives_the_rest(in_flight, answered):
    loader, timesteps, states = everything(in_flight), [], []
    for _ in range(2):
        for timestep in loader:
            timesteps.append(snapshot(timestep))
            due = loader.specs[timestep.source].action
            if due and answered:
                timestep.reply(answer_to(loader, timestep))
            states.append(through_disk(loader.state_dict(replay=not answered)))
            if due:
                timestep.reply(answer_to(loader, timestep))
    assert len(timesteps) == 18
    for taken, state in enumerate(states, start=1):
        resumed = everything(in_flight)
        iter(resumed)  # a trainer probes before it loads
        resumed.load_state_dict(state)
        taken -= not answered
        rest = snapshots(resumed)
        assert len(rest) == (9 - taken % 9 if taken % 9 else 9)
        while len(rest) < 18 - taken:
            rest += snapshots(resumed)
        assert streams_differ(timesteps[taken:], rest[: 18 - taken]) is None, f"after {taken} steps"


def test_a_state_is_not_changed_by_going_on():
    loader = everything(2)
    snapshots(loader, 4)
    state = loader.state_dict()
    before = through_disk(state)
    snapshots(loader)
    first, second = everything(2), everything(2)
    first.load_state_dict(before)
    second.load_state_dict(state)
    assert streams_differ(snapshots(first), snapshots(second)) is None


def test_a_state_of_other_slots_or_sources_is_refused():
    state = ae.Loader(endless(), steps_per_epoch=3).state_dict()
    with pytest.raises(SpecError, match=r"expected the state of slots \[0, 1\], got \[0\]"):
        ae.Loader(endless(), steps_per_epoch=3, in_flight=2).load_state_dict(state)
    with pytest.raises(SpecError, match=r"expected the sources \['other'\], got \['CountingEnv'\]"):
        ae.Loader({"other": endless()}, steps_per_epoch=3).load_state_dict(state)


def test_a_state_may_be_loaded_by_a_loader_that_has_moved_on():
    loader = everything(2)
    snapshots(loader, 5)
    state = through_disk(loader.state_dict())
    expected = snapshots(loader)
    loader.load_state_dict(state)
    assert streams_differ(expected[:4], snapshots(loader)) is None
