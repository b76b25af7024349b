"""Every agent runs on every stream that suits it, says what does not, and resumes bit for bit."""

import sys
from pathlib import Path

import pytest
import torch
from lightning import Callback, Trainer

import aexp_torch as ae
from aexp_torch.specs import flatten
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import DQN, PPO, Classifier, Generalist, RecurrentPPO, WorldModel
from lightning_modules.agents.ppo import transitions
from lightning_modules.agents.replay import Replay
from lightning_modules.networks import merge_time, read_inputs

sys.path.insert(0, str(Path(__file__).parent))
from streams import counting, everything

CART, PENDULUM = "CartPole-v1", "Pendulum-v1"


def fit(agent, data, callbacks=(), epochs=1, ckpt_path=None, **options) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(agent, data, ckpt_path=ckpt_path)
    return trainer


def small(agent_class, specs, **options):
    quick = {PPO: {"epochs": 2, "hidden": 8}, Generalist: {"epochs": 2, "hidden": 8}, Classifier: {"hidden": 8}}
    quick[DQN] = {"warmup": 4, "batch_size": 4, "updates": 2, "hidden": 8, "replay_size": 20}
    quick[RecurrentPPO] = {"hidden": 8, "embedding": 8, "key_width": 4}
    quick[WorldModel] = {"warmup": 4, "batch_size": 4, "updates": 2, "hidden": 8, "replay_size": 20}
    return agent_class(specs, **{**quick[agent_class], **options})


def cart(num_envs: int = 2) -> ae.Env:
    return ae.GymnasiumEnv(CART, num_envs=num_envs)


def delayed(**options) -> ae.Env:
    return ae.digits(batch_size=8, mode="delayed", loss="correct", **options)


def asked(env: ae.Env, **options) -> ae.Env:
    return env.pipe(ae.PredictInputs, **{"signals": True, "weight": 0.0, **options})


def mixed() -> dict[str, ae.Env]:
    return {"cart": cart(), "digits": ae.digits(batch_size=8), "asked": delayed(), "everything": everything()}


def talks_and_texts() -> dict[str, ae.Env]:
    texts = [{"line": "one and two"}, {"line": "three"}, {"line": "and four"}]
    return {"talks": ae.CommAIEnv("mini", num_envs=2), "texts": ae.DatasetEnv(texts, batch_size=2, shuffle=True)}


STREAMS = {
    "ppo-cart": (PPO, cart, {"num_steps": 4}),
    "ppo-pendulum": (PPO, lambda: ae.GymnasiumEnv(PENDULUM, num_envs=2), {"num_steps": 4}),
    "ppo-blackjack": (PPO, lambda: ae.GymnasiumEnv("Blackjack-v1", num_envs=2), {"num_steps": 4}),
    "ppo-everything": (PPO, everything, {"num_steps": 4}),
    "ppo-digits": (PPO, delayed, {"num_steps": 1}),
    "ppo-two": (PPO, lambda: {"a.b": cart(), "pop": cart(3)}, {"num_steps": 4, "in_flight": 2}),
    "dqn-cart": (DQN, cart, {"in_flight": 2}),
    "dqn-blackjack": (DQN, lambda: ae.GymnasiumEnv("Blackjack-v1", num_envs=2), {}),
    "dqn-digits": (DQN, lambda: delayed(epochs=1), {}),
    "classifier": (Classifier, lambda: ae.digits(batch_size=8), {}),
    "generalist": (Generalist, mixed, {"num_steps": 4, "in_flight": 2}),
    "ppo-predicts": (PPO, lambda: asked(cart(), weight=0.1), {"num_steps": 4}),
    "recurrent-talks": (RecurrentPPO, lambda: ae.CommAIEnv("micro", num_envs=3), {"num_steps": 4}),
    "recurrent-bits": (RecurrentPPO, lambda: ae.CommAIEnv("commai"), {"num_steps": 9}),
    "recurrent-reads": (RecurrentPPO, talks_and_texts, {"num_steps": 5, "in_flight": 2}),
    "world-cart": (WorldModel, lambda: asked(cart()), {"num_steps": 4}),
    "world-pendulum": (WorldModel, lambda: asked(ae.GymnasiumEnv(PENDULUM, num_envs=2)), {"num_steps": 4}),
    "world-everything": (WorldModel, lambda: {"all": asked(everything()), "cart": asked(cart())}, {"in_flight": 2}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_learns_validates_tests_and_predicts(name):
    agent_class, streams, options = STREAMS[name]
    evaluation = streams() if name != "classifier" else ae.digits(batch_size=8)
    if name == "classifier":
        evaluation = ae.digits("test", batch_size=100, epochs=1)
    elif "digits" in name:
        evaluation = ae.digits("test", batch_size=100, epochs=1, mode="delayed", loss="correct")
    elif name == "generalist":
        asked = ae.digits("test", batch_size=100, epochs=1, mode="delayed", loss="correct")
        evaluation = {**evaluation, "digits": ae.digits("test", batch_size=100, epochs=1), "asked": asked}
    if "pendulum" in name or "recurrent" in name:  # a conversation has no episodes
        evaluation = None
    options = {"steps_per_epoch": 9, "episodes": 2, **options}
    data = ExperienceDataModule(streams(), evaluation, evaluation, evaluation, **options)
    agent = small(agent_class, data.specs)
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    state = torch.get_rng_state()
    trainer = fit(agent, data, num_sanity_val_steps=0)
    assert torch.equal(torch.get_rng_state(), state)  # no agent draws from the global generator
    assert any(not torch.equal(value, before[key]) for key, value in agent.state_dict().items())
    assert all(value.isfinite().all() for value in agent.state_dict().values())
    metrics = trainer.callback_metrics
    if evaluation is not None:
        for source, spec in data.specs.items():
            assert f"{source}/loss" in metrics or agent_class is Generalist
            wanted = "accuracy" if not spec.action or "predict:y" in spec.action else "return"
            assert f"val/{source}/{wanted}" in metrics
        (tested,) = trainer.test(agent, data, verbose=False)
        assert {key.replace("test/", "val/") for key in tested} <= set(metrics)
        assert trainer.predict(agent, data)


class SaveAt(Callback):
    """Saves a checkpoint after some training steps, and notes every batch."""

    def __init__(self, folder: Path, steps=()):
        self.folder, self.steps, self.seen = folder, steps, []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        timestep = batch.timesteps if hasattr(batch, "timesteps") else batch
        leaves = [leaf for _, leaf in flatten(timestep.observation) if leaf is not None]
        self.seen.append([leaf.clone() for leaf in (timestep.reward, timestep.step_type, *leaves)])

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if len(self.seen) in self.steps:
            trainer.save_checkpoint(self.folder / f"{len(self.seen)}.ckpt")


RESUMED = [
    "ppo-cart",
    "dqn-cart",
    "dqn-digits",
    "classifier",
    "generalist",
    "world-cart",
    "world-everything",
    "recurrent-reads",
]


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_is_the_run(name, tmp_path):
    agent_class, streams, options = STREAMS[name]
    stops = [1, 6, 9]  # 6 is the end of an epoch

    def build():
        data = ExperienceDataModule(streams(), steps_per_epoch=6, seed=1, **options)
        return small(agent_class, data.specs, seed=2), data

    whole, data = build()
    noted = SaveAt(tmp_path, stops)
    fit(whole, data, [noted], epochs=2)
    for stop in stops:
        resumed, data = build()
        again = SaveAt(tmp_path)
        fit(resumed, data, [again], epochs=2, ckpt_path=tmp_path / f"{stop}.ckpt")
        assert len(again.seen) == len(noted.seen) - stop
        for one, other in zip(noted.seen[stop:], again.seen, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        for key, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[key]), (stop, key)
        if agent_class is not Classifier:
            assert torch.equal(whole.generator.get_state(), resumed.generator.get_state())


@pytest.mark.parametrize("name", RESUMED)
def test_a_checkpoint_is_tensors_and_primitives(name, tmp_path):
    agent_class, streams, options = STREAMS[name]
    data = ExperienceDataModule(streams(), steps_per_epoch=6, **options)
    agent = small(agent_class, data.specs)
    fit(agent, data, [SaveAt(tmp_path, [5])])
    torch.load(tmp_path / "5.ckpt", weights_only=True)
    loaded = agent_class.load_from_checkpoint(tmp_path / "5.ckpt", specs=data.specs, weights_only=True)
    assert loaded.hparams.hidden == 8


@pytest.mark.parametrize("agent_class", [PPO, Generalist, WorldModel])
def test_predicts_the_next_minibatch_of_a_dataset(agent_class):
    weight = 0.0 if agent_class is WorldModel else 0.1
    streams = {"data": asked(ae.digits(batch_size=8), weight=weight), "cart": asked(cart(), weight=weight)}
    data = ExperienceDataModule(streams, num_steps=4, steps_per_epoch=8)
    assert set(data.specs["data"].action) == {"predict:x", "predict:y", "predict:reward", "predict:discount"}
    agent = small(agent_class, data.specs)
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    fit(agent, data)
    assert any(not torch.equal(value, before[key]) for key, value in agent.state_dict().items())


def test_the_same_seed_is_the_same_run():
    def weights(seed):
        data = ExperienceDataModule(cart(), num_steps=4, steps_per_epoch=3, seed=5)
        agent = small(PPO, data.specs, seed=seed)
        fit(agent, data)
        return torch.cat([parameter.flatten() for parameter in agent.parameters()])

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_replay_holds_no_transition_from_last_to_first():
    data = ExperienceDataModule(counting(), steps_per_epoch=40)
    agent = small(DQN, data.specs, replay_size=100, reward_scale=1.0, gamma=0.5)
    fit(agent, data)
    columns = {
        name: column[: len(agent.replay["counting"])] for name, column in agent.replay["counting"].columns.items()
    }
    now, following = columns["value:observation"], columns["next:value:observation"]
    assert torch.equal(following, now + 1)
    assert torch.equal(columns["reward"], following.flatten())
    ends = following.flatten() == 3
    assert (columns["discount"][~ends] == 0.5).all()
    # A truncated episode bootstraps from its own final observation, a terminated one from nothing.
    assert columns["discount"][ends][:4].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert agent.env_steps["counting"] == len(now) == 2 * (39 - 39 // 4)


def test_more_rows_than_a_replay_keeps():
    replay = Replay(4)
    replay.add({"x": torch.arange(3)})
    replay.add({"x": torch.arange(3, 14)})
    assert sorted(replay.columns["x"].tolist()) == [10, 11, 12, 13] and len(replay) == 4
    replay.add({"x": torch.arange(14, 16)})
    assert sorted(replay.columns["x"].tolist()) == [12, 13, 14, 15]


class Keep(Callback):
    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append(batch)


def test_trajectories_lose_only_what_was_ignored():
    data = ExperienceDataModule(counting(), num_steps=5, steps_per_epoch=4)
    agent, kept = small(PPO, data.specs), Keep()
    fit(agent, data, [kept])
    for trajectory in kept.batches:
        timesteps = trajectory.timesteps
        inputs = read_inputs(merge_time(timesteps.observation), [("observation",)], timesteps.reward.numel())
        rows = transitions(timesteps, inputs)
        before, after = (
            timesteps.observation["observation"][part].flatten() for part in (slice(0, -1), slice(1, None))
        )
        assert torch.equal(after[rows], before[rows] + 1)
        assert len(rows) == int((after == before + 1).sum())


def test_padded_rows_count_nowhere():
    data = ExperienceDataModule(
        ae.digits(batch_size=1000, epochs=1, mode="delayed", loss="correct", shuffle=False), num_steps=1
    )
    agent = small(PPO, data.specs, gamma=0.0)
    fit(agent, data)
    assert agent.env_steps == 1437

    data = ExperienceDataModule(ae.digits(batch_size=1000, epochs=1, mode="delayed", loss="correct", shuffle=False))
    agent = small(DQN, data.specs, bandit=True, replay_size=5000)
    fit(agent, data)
    assert agent.env_steps == {"digits": 1437}

    data = ExperienceDataModule(ae.digits(batch_size=1000, epochs=1), val=ae.digits("test", batch_size=1000, epochs=1))
    agent = small(Classifier, data.specs)
    fit(agent, data)
    right = agent.trainer.callback_metrics["val/digits/accuracy"] * 360
    assert right == pytest.approx(round(float(right)), abs=1e-3)


def test_accuracy_of_answers_is_the_mean_reward():
    data = ExperienceDataModule(
        delayed(), test=ae.digits("test", epochs=1, mode="delayed", loss="correct"), steps_per_epoch=3
    )
    agent = small(DQN, data.specs, bandit=True)
    trainer = fit(agent, data)
    (metrics,) = trainer.test(agent, data, verbose=False)
    result = ae.evaluate(agent.greedy, ae.digits("test", epochs=1, mode="delayed", loss="correct"), episodes=64)
    assert metrics["test/digits/accuracy"] == pytest.approx(float(result["digits"]["return"].sum()) / 360)


def test_gradient_accumulation_reaches_the_classifier():
    data = ExperienceDataModule(ae.digits(), steps_per_epoch=6)
    agent = small(Classifier, data.specs)
    trainer = fit(agent, data, accumulate_grad_batches=4, gradient_clip_val=1.0)
    assert trainer.global_step == 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.0


def test_annealing_ends_with_the_trainer():
    data = ExperienceDataModule(cart(), num_steps=4, steps_per_epoch=10)
    for epochs, max_steps in ((1, -1), (-1, 20)):
        agent = small(PPO, data.specs, minibatches=1)
        trainer = fit(agent, data, epochs=epochs, max_steps=max_steps)
        assert agent.num_steps == 10
        assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-4)  # of the last of 10 steps


def test_a_step_leaves_other_heads_alone():
    data = ExperienceDataModule(
        {"cart": cart(), "digits": ae.digits()}, num_steps=4, steps_per_epoch=6, weights={"cart": 1, "digits": 0}
    )
    agent = small(Generalist, data.specs)
    before = {key: value.clone() for key, value in agent.state_dict().items()}
    fit(agent, data)
    changed = {key for key, value in agent.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and not any("digits" in key for key in changed)


def test_says_what_does_not_suit():
    joint, questions, pole = ae.digits().specs, delayed().specs, cart().specs
    with pytest.raises(ae.SpecError, match="Classifier: expected 'CartPole-v1' to show x and y together"):
        Classifier(pole)
    with pytest.raises(ae.SpecError, match="expected 'label'"):
        Classifier(joint, target="label")
    with pytest.raises(ae.SpecError, match="mode='joint'"):
        Classifier(questions)
    with pytest.raises(ae.SpecError, match="choices in 'y'"):
        Classifier(ae.DatasetEnv((torch.zeros(4, 2), torch.zeros(4)), batch_size=2).specs)
    with pytest.raises(ae.SpecError, match="PPO: expected sources that take actions"):
        PPO(joint)
    with pytest.raises(ae.SpecError, match="DQN: expected one discrete action"):
        DQN(ae.GymnasiumEnv(PENDULUM).specs)
    with pytest.raises(ae.SpecError, match="DQN: expected one discrete action"):
        DQN(joint)
    with pytest.warns(UserWarning, match="Generalist: expected sources"):
        Generalist(ae.DatasetEnv({"x": torch.zeros(4, 2)}, batch_size=2).specs)
    predicts = asked(cart()).specs
    with pytest.raises(
        ae.SpecError, match="DQN: expected one discrete action .*predict:observation.*PPO.*PredictInputs out"
    ):
        DQN(predicts)
    with pytest.raises(ae.SpecError, match="Classifier: expected .*predict:x.*without PredictInputs"):
        Classifier(asked(ae.digits()).specs)
    with pytest.raises(ae.SpecError, match=r"WorldModel: expected a source that asks what comes next.*PredictInputs\("):
        WorldModel(pole)
    with pytest.raises(ae.SpecError, match="asks what comes next"):
        WorldModel(delayed().specs)
    for hides in ({"weight": 1.0}, {"mode": "replace"}):
        with pytest.raises(ae.SpecError, match="to show the reward that it asks to predict.*weight=0"):
            WorldModel(asked(cart(), **hides).specs)
    with pytest.raises(ae.SpecError, match=r"source= to be one of \['a', 'b'\]"):
        WorldModel({"a": predicts[CART], "b": predicts[CART]}).predictor()
    with pytest.raises(ae.SpecError, match="one of the sources"):
        WorldModel(predicts).predictor("other")


@pytest.mark.parametrize("agent_class", [PPO, Generalist])
def test_says_that_trajectories_are_missing(agent_class):
    data = ExperienceDataModule(cart(), steps_per_epoch=2)
    with pytest.raises(ae.SpecError, match="num_steps=32"):
        fit(small(agent_class, data.specs), data)


def test_says_that_timesteps_are_missing():
    data = ExperienceDataModule(cart(), steps_per_epoch=2, num_steps=4)
    agent = small(DQN, data.specs)
    agent.act = lambda timestep: agent.greedy(timestep)
    with pytest.raises(ae.SpecError, match="DQN: expected timesteps"):
        fit(agent, data)


def test_says_that_a_source_is_unknown():
    agent = small(PPO, cart().specs)
    with pytest.raises(ae.SpecError, match="one of the sources"):
        ae.evaluate(agent.greedy, ae.GymnasiumEnv(CART, name="other"), episodes=1)
