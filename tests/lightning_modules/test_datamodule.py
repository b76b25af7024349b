"""Streams under Trainer.fit: nothing is asked for early, every flag of the trainer works, every checkpoint resumes."""

import inspect
import itertools
import warnings

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, OnExceptionCheckpoint

import aexp_torch as ae
from aexp_torch.testing import CountingEnv
from lightning_modules import ExperienceDataModule

X = {"x": torch.arange(40.0).view(20, 2), "y": torch.arange(20) % 3}


class Agent(lightning.LightningModule):
    """Answers at random from its own generator, learns a little, and writes down what it saw."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(1, 1)
        self.generator = torch.Generator().manual_seed(1)
        self.seen, self.validated, self.acted = [], [], []

    def act(self, timestep):
        action = torch.randint(0, 2, (len(timestep.reward),), generator=self.generator)
        self.acted.append((timestep.source, timestep.ticket.slot, timestep.ticket.step))
        return action

    def training_step(self, batch, batch_idx):
        timestep = batch.timesteps if isinstance(batch, ae.Trajectory) else batch
        self.seen.append((batch.source, _checksum(timestep), len(self.acted)))
        if isinstance(batch, ae.TimeStep) and self.trainer.datamodule.specs[batch.source].action:
            batch.reply(self.act(batch))
        return self.layer(timestep.reward.mean().view(1, 1) + 1).square().mean()

    def validation_step(self, timestep, batch_idx, dataloader_idx=0):
        self.validated.append((timestep.source, timestep.ticket.step, _checksum(timestep)))
        if timestep.source != "data":
            timestep.reply(torch.zeros(len(timestep.reward), dtype=torch.int64))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["generator"] = self.generator.get_state()

    def on_load_checkpoint(self, checkpoint):
        self.generator.set_state(checkpoint["generator"])


def _checksum(timestep):
    leaves = [leaf for leaf in timestep.observation.values() if leaf is not None]
    return float(sum(leaf.double().sum() for leaf in leaves)) + float(timestep.reward.sum())


def make_data(steps_per_epoch=6, **options):
    train = {
        "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=3).pipe(ae.Noisy, std=0.01),
        "data": ae.DatasetEnv(X, batch_size=4, shuffle=True),
    }
    val = {"cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=2), "data": ae.DatasetEnv(X, batch_size=4, epochs=1)}
    options = {"weights": {"cartpole": 2, "data": 1}, "in_flight": 2, "episodes": 3, **options}
    return ExperienceDataModule(train, val, steps_per_epoch=steps_per_epoch, **options)


def fit(data, ckpt_path=None, callbacks=(), agent=None, **flags):
    agent = agent or Agent()
    flags = {"max_epochs": 3, "num_sanity_val_steps": 0, **flags}
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=bool(callbacks),
        callbacks=list(callbacks),
        **flags,
    )
    with warnings.catch_warnings():  # a resumed run need not write checkpoints itself
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")
        warnings.filterwarnings("ignore", "`.fit\\(ckpt_path=None\\)` was called without a model")
        warnings.filterwarnings("ignore", ".*there is no last checkpoint available")
        trainer.fit(agent, datamodule=data, ckpt_path=ckpt_path)
    return agent


@pytest.mark.parametrize("num_steps", [None, 4])
def test_the_next_batch_is_never_asked_for_before_the_answer(num_steps):
    env = CountingEnv(num_envs=2)
    data = ExperienceDataModule(env, steps_per_epoch=5, num_steps=num_steps)
    agent = fit(data)
    # `acted` counts the answers that had been given when a training step began: none ahead, none late.
    ahead = [acted for _, _, acted in agent.seen]
    assert ahead == (list(range(15)) if num_steps is None else [4 * (i + 1) for i in range(15)])


def test_workers_change_nothing(tmp_path):
    full = fit(make_data())
    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    with_workers = fit(make_data(num_workers=2), callbacks=[saved])
    assert with_workers.seen == full.seen
    for path in tmp_path.glob("*.ckpt"):
        resumed = fit(make_data(num_workers=1), ckpt_path=str(path))
        assert [s[:2] for s in resumed.seen] == [s[:2] for s in full.seen][18 - len(resumed.seen) :], path.name
        assert torch.equal(resumed.layer.weight, full.layer.weight), path.name


def test_streams_persist_over_epochs():
    three_epochs = fit(make_data()).seen
    one_long_epoch = fit(make_data(steps_per_epoch=18), max_epochs=1).seen
    assert three_epochs == one_long_epoch


@pytest.mark.parametrize(
    "flags",
    [
        {"num_sanity_val_steps": 2},
        {"val_check_interval": 2},
        {"val_check_interval": 0.5},
        {"check_val_every_n_epoch": None, "val_check_interval": 5},
        {"accumulate_grad_batches": 4},
        {"limit_val_batches": 3},
        {"reload_dataloaders_every_n_epochs": 1},
    ],
    ids=str,
)
def test_flags_that_do_not_change_the_training_stream(flags):
    assert fit(make_data(), **flags).seen == fit(make_data()).seen


def test_accumulation_steps_at_the_end_of_an_epoch_too():
    steps = []
    agent = Agent()
    agent.on_before_optimizer_step = lambda optimizer: steps.append(len(agent.seen))
    fit(make_data(), agent=agent, max_epochs=2, accumulate_grad_batches=4)
    assert steps == [4, 6, 10, 12]


def test_limit_train_batches_cuts_epochs_not_streams():
    full = fit(make_data()).seen
    assert fit(make_data(), limit_train_batches=4, max_epochs=4).seen == full[:16]
    assert fit(make_data(), limit_train_batches=0.5, max_epochs=4).seen == full[:12]


def test_max_steps():
    assert fit(make_data(), max_steps=8, max_epochs=-1).seen == fit(make_data()).seen[:8]


def test_fast_dev_run():
    agent = fit(make_data(), fast_dev_run=2)
    assert len(agent.seen) == 2
    assert len(agent.validated) == 2


def test_overfit_batches_shows_the_same_batches_in_every_epoch():
    seen = [step[:2] for step in fit(make_data(), overfit_batches=2, max_epochs=3).seen]
    assert len(seen) == 6
    assert seen[0:2] == seen[2:4] == seen[4:6]


def test_validation_is_the_same_every_time_and_other_than_training():
    agent = fit(make_data(), max_epochs=2, num_sanity_val_steps=2)
    validated = agent.validated[2:]
    half = len(validated) // 2
    assert validated[:half] == validated[half:]
    assert validated[:2] == agent.validated[:2]
    assert not {step[2] for step in validated if step[0] == "cartpole"} & {step[1] for step in agent.seen}


def test_validation_runs_whole_passes_and_whole_episodes():
    agent = fit(make_data(), max_epochs=1)
    assert sum(step[0] == "data" for step in agent.validated) == 5
    assert sum(step[0] == "cartpole" for step in agent.validated) >= 8


@pytest.mark.parametrize("options", [{}, {"num_steps": 3}, {"num_steps": 3, "in_flight": 1}], ids=str)
def test_a_checkpoint_at_any_step_resumes_to_the_same_batches_and_weights(tmp_path, options):
    full = fit(make_data(**options))
    saved = [
        ModelCheckpoint(tmp_path, filename="step{step}", every_n_train_steps=1, save_top_k=-1),
        ModelCheckpoint(tmp_path, filename="end{epoch}", every_n_epochs=1, save_top_k=-1),
    ]
    assert [s[:2] for s in fit(make_data(**options), callbacks=saved).seen] == [s[:2] for s in full.seen]
    paths = sorted(tmp_path.glob("*.ckpt"))
    assert len(paths) == 21
    for path in paths[:: 1 if not options else 2]:
        resumed = fit(make_data(**options), ckpt_path=str(path))
        count = len(resumed.seen)
        assert [s[:2] for s in resumed.seen] == [s[:2] for s in full.seen][18 - count :], path.name
        assert torch.equal(resumed.layer.weight, full.layer.weight), path.name


def test_a_checkpoint_with_cut_epochs_resumes_exactly(tmp_path):
    flags = {"limit_train_batches": 4, "max_epochs": 3}
    full = fit(make_data(), **flags)
    fit(
        make_data(),
        callbacks=[ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)],
        **flags,
    )
    for path in tmp_path.glob("*.ckpt"):
        resumed = fit(make_data(), ckpt_path=str(path), **flags)
        assert [s[:2] for s in resumed.seen] == [s[:2] for s in full.seen][12 - len(resumed.seen) :], path.name
        assert torch.equal(resumed.layer.weight, full.layer.weight), path.name


def test_checkpoints_load_with_weights_only(tmp_path):
    fit(make_data(), callbacks=[ModelCheckpoint(tmp_path, filename="last")], max_epochs=1)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["ExperienceDataModule"]["train"]


@pytest.mark.parametrize("num_steps", [None, 3])
def test_a_batch_whose_training_step_failed_is_handed_out_again(tmp_path, num_steps):
    class Failing(Agent):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if len(self.seen) == 9:
                raise RuntimeError("boom")
            return loss

    full = fit(make_data(num_steps=num_steps))
    saved = OnExceptionCheckpoint(tmp_path)
    with pytest.raises(RuntimeError, match="boom"):
        fit(make_data(num_steps=num_steps), agent=Failing(), callbacks=[saved])
    (path,) = tmp_path.glob("*.ckpt")
    resumed = fit(make_data(num_steps=num_steps), ckpt_path=str(path))
    assert resumed.seen[0][:2] == full.seen[8][:2]
    assert len(resumed.seen) == 10


def test_trajectories_join():
    class Collector(Agent):
        def training_step(self, batch, batch_idx):
            self.batches = [*getattr(self, "batches", []), batch]
            return super().training_step(batch, batch_idx)

    agent = fit(make_data(num_steps=3, steps_per_epoch=12), agent=Collector(), max_epochs=1)
    by_slot = {}
    for batch in agent.batches:
        if isinstance(batch, ae.Trajectory):
            assert batch.timesteps.reward.shape == (4, 3)
            assert batch.action.shape == (3, 3)
            by_slot.setdefault(batch.slot, []).append(batch.timesteps.observation["observation"])
    assert sorted(by_slot) == [0, 1]
    for trajectories in by_slot.values():
        for before, after in itertools.pairwise(trajectories):
            assert torch.equal(before[-1], after[0])


def test_an_unsized_loader_is_told_that_it_asks_too_early():
    loader = ae.Loader(CountingEnv(num_envs=2), steps_per_epoch=5)

    class Unsized:
        def __iter__(self):
            return iter(loader)

    class Plain(Agent):
        def training_step(self, batch, batch_idx):
            batch.reply(self.act(batch))
            return self.layer.weight.sum()

    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        max_epochs=1,
    )
    with pytest.raises(ae.FeedbackError, match="asks too early"):
        trainer.fit(Plain(), Unsized())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"cartpole": -1, "data": 1}}, "weights >= 0"),
        ({"weights": {"cartpole": 0, "data": 0}}, "not all of them 0"),
        ({"weights": {"cartpole": 1, "digits": 1}}, "no such source: \\['digits'\\]"),
        ({"steps_per_epoch": None}, "never end"),
        ({"steps_per_epoch": 0}, "at least 1"),
    ],
    ids=str,
)
def test_wrong_arguments_are_told_before_anything_runs(options, message):
    with pytest.raises(ae.SpecError, match=message):
        make_data(**options)


def test_every_option_of_a_loader_can_be_given():
    loader, module = (inspect.signature(made).parameters for made in (ae.Loader, ExperienceDataModule))
    ours = {"env", "rank", "world_size", "resume_epochs", "seed_prefix"}  # what a split and a rank decide
    assert set(loader) - set(module) == ours
    for name in (loader.keys() & module.keys()) - {"episodes"}:
        assert loader[name].default == module[name].default, name
        assert f"      {name}: " in ExperienceDataModule.__doc__, name


def test_options_reach_the_loader():
    data = make_data(in_flight=4, num_workers=1, step_timeout=7.0, max_restarts=9, on_missing="repeat")
    loader = data.train_dataloader().streams
    assert loader.in_flight == 4 and [worker.step_timeout for worker in loader._workers] == [7.0]
    assert all(env.on_missing == "repeat" for slots in loader._slots.values() for env in slots.envs)
    assert not data.val_dataloader().streams._workers


def test_an_agent_that_cannot_act_is_told_so():
    class Silent(lightning.LightningModule):
        configure_optimizers = Agent.configure_optimizers

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return self.layer.weight.sum()

        def validation_step(self, timestep, batch_idx):
            return None

    with pytest.raises(ae.SpecError, match=r"Silent.act\(timestep\)"):
        fit(make_data(num_steps=3), agent=Silent())
