"""The Generalist grows while it learns, loses nothing by it, and takes what comes."""

import copy
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from dm_env import specs
from gymnasium import spaces
from lightning import Callback

import aexp_torch as ae
from aexp_torch.specs import spec_from_plain, spec_to_plain
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import Generalist
from lightning_modules.networks import module_key

sys.path.insert(0, str(Path(__file__).parent))
from streams import everything
from test_agents import SaveAt, cart, fit, small

GROWS_AT = 4


def table(y: torch.Tensor, **options) -> ae.Env:
    x = torch.randn(len(y), 3, generator=torch.Generator().manual_seed(0))
    return ae.DatasetEnv({"x": x, "y": y}, **{"batch_size": 4, "name": "table", **options})


def streams() -> dict[str, ae.Env]:
    return {"cart": cart(), "digits": ae.digits(batch_size=8), "numbers": table(y=torch.arange(12.0))}


def late(step: int) -> dict[str, float]:
    """Weights under which two of three sources come later."""
    return {"cart": 1, "digits": float(step >= GROWS_AT), "numbers": float(step >= 2 * GROWS_AT)}


def growing(**options) -> ExperienceDataModule:
    return ExperienceDataModule(streams(), weights=late, num_steps=4, steps_per_epoch=16, seed=3, **options)


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("known", [(), ("cart",), ("digits", "cart")])
def test_what_comes_later_is_learned_as_if_known_from_the_start(known):
    data = growing()
    whole = small(Generalist, data.specs)
    fit(whole, data)
    data = growing()
    grown = small(Generalist, {name: data.specs[name] for name in known})
    assert set(grown.specs) == set(known)
    fit(grown, data)
    assert set(grown.specs) == {"cart", "digits", "numbers"}
    assert set(whole.state_dict()) == set(grown.state_dict())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, grown.state_dict()[name]), name


def sayings(function, *arguments) -> list[str]:
    """Returns the warnings of the agent that a call gives."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        function(*arguments)
    return [str(warning.message) for warning in found if str(warning.message).startswith("Generalist")]


class GrowAt(Callback):
    """Lets the agent grow by hand before a step, and looks at what that changes."""

    def __init__(self, step: int, specs: dict):
        self.step, self.specs, self.looked = step, specs, 0

    def on_train_batch_start(self, trainer, agent, batch, batch_idx):
        if batch_idx != self.step:
            return
        (optimizer,) = trainer.optimizers
        before = copy.deepcopy([optimizer.state[p] for p in optimizer.param_groups[0]["params"]])
        parameters = list(optimizer.param_groups[0]["params"])
        weights = {name: value.clone() for name, value in agent.state_dict().items()}
        assert any(state for state in before)
        assert agent.grow(self.specs) == ["digits", "numbers"]
        assert agent.grow(self.specs) == []
        (group,) = optimizer.param_groups
        assert all(one is other for one, other in zip(parameters, group["params"]))
        for state, parameter in zip(before, parameters, strict=True):
            assert state.keys() == optimizer.state[parameter].keys()
            assert all(torch.equal(value, optimizer.state[parameter][name]) for name, value in state.items())
        assert all(torch.equal(value, agent.state_dict()[name]) for name, value in weights.items())
        every = {id(parameter) for parameter in agent.parameters()}
        assert {id(parameter) for parameter in group["params"]} == every and len(group["params"]) == len(every)
        assert group["param_names"][0] in dict(agent.named_parameters()) and len(group["param_names"]) == len(every)
        self.looked += 1


def test_growing_leaves_weights_and_moments_alone():
    data = growing()
    agent, look = small(Generalist, {"cart": data.specs["cart"]}), GrowAt(3, data.specs)
    trainer = fit(agent, data, [look])
    assert look.looked == 1
    by_name = dict(
        zip(trainer.optimizers[0].param_groups[0]["param_names"], trainer.optimizers[0].param_groups[0]["params"])
    )
    steps = {
        name: int(trainer.optimizers[0].state[p]["step"])
        for name, p in by_name.items()
        if trainer.optimizers[0].state[p]
    }
    assert any("digits" in name for name in steps) and any("numbers" in name for name in steps)
    assert max(steps.values()) > max(count for name, count in steps.items() if "digits" in name)


class Scheduled(Generalist):
    """Has a schedule of learning rates of its own, as a user would write one."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        self.schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return {"optimizer": optimizer, "lr_scheduler": self.schedule}

    def on_train_batch_end(self, *args):
        self.schedule.step()


def test_schedules_of_learning_rates_go_on():
    data = growing()
    agent = Scheduled({}, hidden=8, epochs=1)
    trainer = fit(agent, data, max_steps=-1)
    assert set(agent.specs) == set(data.specs)
    (group,) = trainer.optimizers[0].param_groups
    assert group["lr"] == pytest.approx(1e-3 * 0.5**16) and agent.schedule.get_last_lr() == [group["lr"]]


@pytest.mark.parametrize("known", ["nothing", "everything"])
def test_a_resumed_run_is_the_run_across_growth(known, tmp_path):
    whole, stops = small(Generalist, {}), [2, 4, 7, 11, 16, 20]
    fit(whole, growing(), [SaveAt(tmp_path, stops)], epochs=2)
    for stop in stops:
        data = growing()
        resumed = small(Generalist, {} if known == "nothing" else dict(reversed(data.specs.items())))
        trainer = fit(resumed, data, epochs=2, ckpt_path=tmp_path / f"{stop}.ckpt")
        assert same(whole.state_dict(), resumed.state_dict()), stop
        assert torch.equal(whole.generator.get_state(), resumed.generator.get_state())
        trained = {name.split(".")[1] for name in trainer.optimizers[0].param_groups[0]["param_names"]}
        assert {":digits", ":cart", ":numbers"} <= trained


def test_a_checkpoint_says_what_it_grew_for(tmp_path):
    data = growing()
    agent = small(Generalist, {})
    fit(agent, data, [SaveAt(tmp_path, [7, 16])])
    torch.load(tmp_path / "16.ckpt", weights_only=True)
    alone = Generalist.load_from_checkpoint(tmp_path / "16.ckpt", weights_only=True)
    assert list(alone.specs) == list(agent.specs) and same(alone.state_dict(), agent.state_dict())
    early = Generalist.load_from_checkpoint(tmp_path / "7.ckpt", weights_only=True)
    assert list(early.specs) == ["cart", "digits"]
    more = Generalist.load_from_checkpoint(tmp_path / "7.ckpt", specs=everything().specs, weights_only=True)
    assert list(more.specs) == ["cart", "digits", "everything"]
    assert all(torch.equal(value, more.state_dict()[name]) for name, value in early.state_dict().items())


def life(**options) -> ExperienceDataModule:
    """An experience that goes from task to task after a few steps each."""
    members = {**streams(), "ice": ae.GymnasiumEnv("FrozenLake-v1", num_envs=3)}
    members["digits"].tags = members["cart"].tags = ("early",)
    env = ae.AEEnv(members, steps=(2, 5), **options)
    return ExperienceDataModule(env, num_steps=4, steps_per_epoch=20, seed=1)


def test_an_experience_is_learned_as_it_comes_and_resumes(tmp_path):
    stops, data = [3, 12, 20, 31], life()
    whole, noted = small(Generalist, data.specs), SaveAt(tmp_path, stops)
    assert not whole.specs  # nothing is opened for it
    fit(whole, data, [noted], epochs=2)
    assert set(whole.specs) == {"cart", "digits", "numbers", "ice"}
    for stop in stops:
        data, again = life(), SaveAt(tmp_path)
        resumed = small(Generalist, data.specs)
        fit(resumed, data, [again], epochs=2, ckpt_path=tmp_path / f"{stop}.ckpt")
        assert len(again.seen) == 40 - stop
        for one, other in zip(noted.seen[stop:], again.seen, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert same(whole.state_dict(), resumed.state_dict()), stop


def test_what_evaluation_brings_is_trained_later():
    val = {"cart": cart(), "digits": ae.digits("test", epochs=1), "numbers": table(torch.arange(12.0), epochs=1)}
    data = growing(val=val, episodes=2)
    known, new = small(Generalist, data.specs), small(Generalist, {})
    for agent in (known, new):
        trainer = fit(agent, growing(val=val, episodes=2), max_steps=0)
        trainer.validate(agent, growing(val=val, episodes=2), verbose=False)
        assert set(agent.specs) == {"cart", "digits", "numbers"}
        fit(agent, growing(val=val, episodes=2))
    assert same({**known.state_dict()}, {**new.state_dict()})


class Widen(Callback):
    """Lets everything take part from a step on."""

    def on_train_batch_end(self, trainer, agent, outputs, batch, batch_idx):
        (env,) = trainer.train_dataloader.streams.loader.environments.values()
        if trainer.current_epoch == 0 and batch_idx == 8:
            assert set(agent.specs) <= {"cart", "digits"}
            env.include = None


def test_what_filters_let_in_later_is_learned():
    data = life(include=["early"])
    agent = small(Generalist, data.specs)
    fit(agent, data, [Widen()], epochs=3)
    assert set(agent.specs) == {"cart", "digits", "numbers", "ice"}


def with_keys(*keys: str) -> dict[str, ae.EnvSpec]:
    columns = {"x": torch.randn(8, 3), "word": torch.zeros(8, 5, dtype=torch.uint8), "z": torch.randn(8, 2)}
    return ae.DatasetEnv({**{k: columns[k] for k in keys}, "y": torch.arange(8.0)}, batch_size=4, name="data").specs


def test_a_key_that_is_new_begins_without_influence(tmp_path):
    torch.manual_seed(0)
    agent = small(Generalist, with_keys("x"))
    x = torch.randn(4, 3)
    word = torch.randint(0, 255, (4, 5), dtype=torch.uint8)
    step = ae.TimeStep(torch.zeros(4, dtype=torch.int8), torch.zeros(4), torch.ones(4), {"x": x, "word": word})
    step = step._replace(ticket=ae.Ticket("data", 0, 0, None))
    before = agent.greedy(step)["y"]
    weights = {name: value.clone() for name, value in agent.state_dict().items()}
    assert agent.grow(with_keys("x", "word", "z")) == ["data"]
    assert torch.equal(agent.greedy(step)["y"], before)
    assert all(torch.equal(value, agent.state_dict()[name]) for name, value in weights.items())
    data = ExperienceDataModule(
        ae.DatasetEnv(
            {
                "x": torch.randn(8, 3),
                "word": torch.randint(0, 255, (8, 5), dtype=torch.uint8),
                "z": torch.randn(8, 2),
                "y": torch.arange(8.0),
            },
            batch_size=4,
            name="data",
        ),
        steps_per_epoch=8,
    )
    fit(agent, data, [SaveAt(tmp_path, [5, 8])])
    later = [name for name in agent.state_dict() if ".later." in name]
    assert len(later) == 2 and all(agent.state_dict()[name].any() for name in later)
    again = Generalist.load_from_checkpoint(tmp_path / "8.ckpt", specs=with_keys("x", "word", "z"), weights_only=True)
    assert same(again.state_dict(), agent.state_dict())
    assert torch.equal(again.greedy(step)["y"], agent.greedy(step)["y"])
    resumed = small(Generalist, with_keys("x"))
    fit(resumed, data, ckpt_path=tmp_path / "5.ckpt")
    assert same(resumed.state_dict(), agent.state_dict())


def test_a_leaf_that_is_another_is_learned_anew(tmp_path):
    def numbers(size: int) -> ExperienceDataModule:
        env = ae.DatasetEnv({"x": torch.randn(8, size), "y": torch.arange(8.0)}, batch_size=4, name="data")
        return ExperienceDataModule({"data": env, "cart": cart()}, num_steps=2, steps_per_epoch=6)

    agent = small(Generalist, numbers(3).specs)
    fit(agent, numbers(3), [SaveAt(tmp_path, [6])])
    loaded = Generalist.load_from_checkpoint(tmp_path / "6.ckpt", specs=numbers(5).specs, weights_only=True)
    changed = (
        {name for name, value in agent.state_dict().items() if not torch.equal(value, loaded.state_dict()[name])}
        if agent.state_dict().keys() == loaded.state_dict().keys()
        else None
    )
    assert changed is None or all("encoders.:data.leaves" in name for name in changed)
    trainer = fit(loaded, numbers(5))
    every = {id(parameter) for parameter in loaded.parameters()}
    assert {id(parameter) for parameter in trainer.optimizers[0].param_groups[0]["params"]} == every


def test_texts_of_any_length_share_a_reader():
    def texts(length: int, name: str) -> ae.Env:
        return ae.DatasetEnv(
            {"x": torch.ones(6, length, dtype=torch.uint8), "y": torch.arange(6) % 2}, batch_size=3, name=name
        )

    agent = small(Generalist, texts(8, "short").specs)
    reader = {name: value.clone() for name, value in agent.encoders[":short"].state_dict().items()}
    agent.grow(texts(20, "long").specs)
    assert agent.encoders[":short"].leaves[":x"] is agent.encoders[":long"].leaves[":x"]
    assert same(reader, agent.encoders[":short"].state_dict())


class Wordy(gymnasium.Env):
    """Asks for a word, a text among numbers."""

    observation_space = spaces.Text(8)
    action_space = spaces.Dict({"word": spaces.Text(4), "loud": spaces.Discrete(2)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "hello", {}

    def step(self, action):
        return "again", float(action["word"].startswith("a")), bool(self.np_random.random() < 0.2), False, {}


def every_kind() -> dict[str, ae.Env]:
    torch.manual_seed(0)
    choice, text = torch.arange(12) % 3, torch.randint(32, 127, (12, 9), dtype=torch.uint8)

    def data(name: str, x: torch.Tensor, y: torch.Tensor, modality: ae.Modality | None = None) -> ae.Env:
        modalities = None if modality is None else {"x": modality}
        return ae.DatasetEnv({"x": x, "y": y}, batch_size=4, name=name, modalities=modalities)

    image = torch.randint(0, 256, (12, 20, 28, 3), dtype=torch.uint8)
    made = [
        data("text to class", text, choice),
        data("text to text", text, text[:, :5]),
        data("image to class", image, choice),
        data("image to image", image, image[:, :6, :6]),
        data("float image", image.float().movedim(-1, 1), choice),
        data("numbers to numbers", torch.randn(12, 4) * 1e4, torch.randn(12, 2) * 100),
        data("numbers to number", torch.randn(12), torch.randn(12)),
        data("choices to bits", torch.randint(0, 5, (12, 3)), torch.randint(0, 2, (12, 3)).bool()),
        data("video", torch.randint(0, 256, (12, 5, 12, 12, 3), dtype=torch.uint8), choice),
        data(
            "frames",
            torch.randint(0, 256, (12, 5, 12, 12), dtype=torch.uint8),
            choice,
            ae.Modality("sequence", "integer"),
        ),
        data("audio", torch.randn(12, 16_000, 1), choice, ae.Modality("sequence", "real")),
        data("long text", torch.randint(1, 255, (12, 2000), dtype=torch.uint8), choice),
        data("set", torch.randn(12, 6, 2), choice, ae.Modality("set", "real")),
        data("wide", torch.randn(12, 2, 300), choice),
        ae.DatasetEnv(
            {"x": {"a": text, "b": torch.randn(12, 2)}, "y": {"c": choice, "d": torch.randn(12)}},
            batch_size=5,
            name="nested",
            epochs=3,
        ),
        everything(),
        ae.GymnasiumEnv(Wordy, num_envs=2, name="wordy"),
        ae.GymnasiumEnv("Pendulum-v1", num_envs=2),
        ae.GymnasiumEnv("Blackjack-v1", num_envs=2),
        ae.digits(batch_size=8, mode="delayed", loss="correct", name="asked"),
    ]
    return {env.name: env for env in made}


class Finite(Callback):
    """Sees to it that every loss is a number."""

    def __init__(self):
        self.losses: dict[str, list[float]] = {}

    def on_train_batch_end(self, trainer, agent, outputs, batch, batch_idx):
        value = trainer.callback_metrics[f"{batch.source}/loss"]
        assert value.isfinite(), batch.source
        self.losses.setdefault(batch.source, []).append(float(value))


def test_a_lifelong_run_over_every_kind_of_thing():
    members = every_kind()
    data = ExperienceDataModule(ae.Interleave(members), val=members, num_steps=3, steps_per_epoch=200, episodes=1)
    agent, finite = small(Generalist, {}), Finite()
    trainer = fit(agent, data, [finite], limit_val_batches=0)
    assert set(finite.losses) == set(members)
    assert all(value.isfinite().all() for value in agent.state_dict().values())
    assert all(trainer.optimizers[0].state[p] for name, p in agent.named_parameters() if ".later" not in name)


def test_what_has_no_network_is_left_out_and_said_once():
    agents: list[Generalist] = []
    streams = {
        "maze": ae.EnvSpec(
            {
                "map": specs.Array((4, 2), np.float32),
                "place": specs.Array((2,), np.float32),
            },
            {"turn": specs.DiscreteArray(3), "odd": specs.Array((2,), np.int64)},
            modalities={"observation": {"map": ae.Modality("graph", "real")}},
        )
    }
    said = sayings(lambda: agents.append(small(Generalist, streams)))
    assert len(said) == 2 and "left out 'map' of 'maze'" in said[0] and "graph" in said[0]
    assert "left out 'odd' of 'maze'" in said[1] and "bounds" in said[1]
    observation = {"map": torch.zeros(5, 4, 2), "place": torch.zeros(5, 2)}
    step = ae.TimeStep(
        torch.zeros(5, dtype=torch.int8), torch.zeros(5), torch.ones(5), observation, ae.Ticket("maze", 0, 0, None)
    )
    action, extras = agents[0].act(step)
    assert action["odd"].tolist() == [[0, 0]] * 5 and action["odd"].dtype == torch.int64
    assert extras["log_prob"].shape == (5,)


def test_what_teaches_nothing_is_passed_over():
    blind = {"x": torch.randn(8, 3)}
    data = ExperienceDataModule(
        {"blind": ae.DatasetEnv(blind, batch_size=4), "digits": ae.digits(batch_size=8)},
        val={"blind": ae.DatasetEnv(blind, batch_size=4, epochs=1), "digits": ae.digits("test", epochs=1)},
        steps_per_epoch=8,
    )
    agent = small(Generalist, {})
    (said,) = sayings(fit, agent, data)
    assert "'blind' has ['x'] and takes none: it is passed over" in said and "PredictInputs" in said
    assert agent.num_steps == 8 and "val/digits/accuracy" in agent.trainer.callback_metrics


def test_numbers_that_are_none_do_no_harm():
    y = torch.arange(12.0)
    y[3] = torch.nan
    val = table(y, epochs=1, name="holes")
    data = ExperienceDataModule(table(y, name="holes"), val, steps_per_epoch=6)
    agent = small(Generalist, data.specs)
    said = sayings(fit, agent, data)
    assert said and all("expected finite numbers from 'holes', its loss is nan" in text for text in said)
    assert all(value.isfinite().all() for value in agent.state_dict().values())


def test_learns_to_write():
    words = ["yes", "no", "perhaps"]
    y = torch.zeros(48, 8, dtype=torch.uint8)
    for row in range(48):
        y[row, : len(words[row % 3])] = torch.tensor(list(words[row % 3].encode()))
    x = torch.nn.functional.one_hot(torch.arange(48) % 3).float()
    env = ae.DatasetEnv({"x": x, "y": y}, batch_size=16, shuffle=True, name="words")
    data = ExperienceDataModule(
        env, val=ae.DatasetEnv({"x": x, "y": y}, batch_size=16, epochs=1, name="words"), steps_per_epoch=300
    )
    agent = Generalist(data.specs, hidden=32, lr=1e-2)
    trainer = fit(agent, data)
    assert trainer.callback_metrics["val/words/accuracy"] == 1.0


def test_an_unknown_source_by_hand():
    agent = small(Generalist, {})
    with pytest.raises(ae.SpecError, match="one of the sources .*grow"):
        ae.evaluate(agent.greedy, cart(), episodes=1)
    agent.grow(cart().specs)
    assert len(ae.evaluate(agent.greedy, cart(), episodes=2)["CartPole-v1"]["return"]) == 2


def test_specs_go_through_plain_data(tmp_path):
    for env in every_kind().values():
        for spec in env.specs.values():
            torch.save(spec_to_plain(spec), tmp_path / "spec")
            again = spec_from_plain(torch.load(tmp_path / "spec", weights_only=True))
            assert again == spec or spec_to_plain(again) == spec_to_plain(spec)
            assert again.modalities == spec.modalities
    assert module_key("a.b") == ":a%2Eb"
