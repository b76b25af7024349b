"""EpisodeStatistics, Throughput, Plots and Progress: what they count, in every kind of fit, and over a resume."""

import io
import math

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

import aexp_torch as ae
from lightning_modules import ExperienceDataModule
from lightning_modules.callbacks import EpisodeStatistics, Plots, Progress, Throughput
from lightning_modules.callbacks.progress import clock, compact
from lightning_modules.callbacks.stream_watch import StreamWatch, specs_of


class Pushing(L.LightningModule):
    """Answers CartPole by the step's parity; its accuracy is made up from the minibatch."""

    def __init__(self, manual=False):
        super().__init__()
        self.automatic_optimization = not manual
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []  # (source, slot, step_type, reward) of everything, trajectories without their first row

    def act(self, timestep):
        return torch.full((len(timestep.reward),), timestep.ticket.step % 2)

    def training_step(self, batch, batch_idx):
        for item in batch.values() if isinstance(batch, dict) else [batch]:
            self._learn(item)
        return self.layer(torch.ones(1, 1)).sum()

    def _learn(self, batch):
        if isinstance(batch, ae.Trajectory):
            for t in range(1, len(batch.timesteps.reward)):
                self.seen.append((batch.source, batch.slot, batch.timesteps.step_type[t], batch.timesteps.reward[t]))
            return
        self.seen.append((batch.source, batch.ticket.slot, batch.step_type, batch.reward))
        if "y" in batch.observation:
            self.log(f"{batch.source}/accuracy", float(batch.observation["y"].float().mean()), batch_size=1)
        else:
            batch.reply(self.act(batch))

    def validation_step(self, timestep, batch_idx, dataloader_idx=0):
        if "y" not in timestep.observation:
            timestep.reply(self.act(timestep))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Lines(Logger):
    """Keeps what is logged."""

    name, version = "lines", 0

    def __init__(self):
        super().__init__()
        self.lines = []

    def log_metrics(self, metrics, step=None):
        self.lines += [(step, name, value) for name, value in metrics.items()]

    def log_hyperparams(self, *args, **kwargs):
        pass

    def of(self, name):
        return [(step, value) for step, other, value in self.lines if other == name]


def cartpole(num_envs=3):
    return ae.GymnasiumEnv("CartPole-v1", num_envs=num_envs)


def digits(**options):
    return ae.digits(batch_size=64, **options)


def trainer(tmp_path, callbacks, **options):
    options = {"logger": False, "enable_checkpointing": False, "max_epochs": 1, **options}
    return L.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=callbacks,
        enable_progress_bar=any(isinstance(callback, Progress) for callback in callbacks),
        enable_model_summary=False,
        **options,
    )


def everything():
    return [EpisodeStatistics(every_n_steps=1), Throughput(every_n_steps=2), Plots(every_n_steps=1), Progress()]


def episodes_of(seen, source):
    """Adds up episodes in the plainest way: returns in the order in which they end."""
    running, finished = {}, []
    for name, slot, step_type, reward in seen:
        for lane in range(len(reward)):
            if name != source:
                continue
            key = (slot, lane)
            running[key] = 0.0 if step_type[lane] == 0 else running.get(key, 0.0) + float(reward[lane])
            if step_type[lane] == 2:
                finished.append(running[key])
    return finished


@pytest.mark.parametrize("num_steps", [None, 7])
@pytest.mark.parametrize("in_flight", [None, 2])
def test_episodes_of_training(tmp_path, num_steps, in_flight):
    steps = 200 if num_steps is None else 30
    data = ExperienceDataModule(cartpole(), num_steps=num_steps, in_flight=in_flight, steps_per_epoch=steps)
    statistics, throughput, plots, module = EpisodeStatistics(every_n_steps=1), Throughput(), Plots(), Pushing()
    logger = Lines()
    trainer(tmp_path, [statistics, throughput, plots], logger=logger, log_every_n_steps=1).fit(module, data)
    expected = episodes_of(module.seen, "CartPole-v1")
    assert len(expected) > 5
    assert [value for _, value in plots._returns["CartPole-v1"]] == expected
    means = [sum(expected[: i + 1][-100:]) / len(expected[: i + 1][-100:]) for i in range(len(expected))]
    logged = [value for _, value in logger.of("CartPole-v1/return")]
    assert logged[-1] == pytest.approx(means[-1])
    assert {round(value, 3) for value in logged} <= {round(mean, 3) for mean in means}
    assert throughput.env_steps == {"CartPole-v1": sum(int((kind != 0).sum()) for _, _, kind, _ in module.seen)}


def test_logs_only_when_an_episode_has_finished(tmp_path):
    module, said = Pushing(), []
    original = module.log_dict
    module.log_dict = lambda values, **options: (said.append(dict(values)), original(values, **options))
    data = ExperienceDataModule(cartpole(), steps_per_epoch=120)
    trainer(tmp_path, [EpisodeStatistics(every_n_steps=20)]).fit(module, data)
    assert 2 <= len([values for values in said if values]) <= 6


@pytest.mark.parametrize("seed", [0, 1])
def test_validation_counts_exactly_the_loaders_episodes(tmp_path, seed):
    env = {"pole": cartpole(3), "digits": digits(split="test", epochs=1)}
    data = ExperienceDataModule(cartpole(), val=env, test=env, steps_per_epoch=4, episodes=5, seed=seed)
    checkpoint = ModelCheckpoint(tmp_path, monitor="val/pole/return", mode="max")
    fit = trainer(tmp_path, [EpisodeStatistics(), Plots(), checkpoint], enable_checkpointing=True)
    fit.fit(Pushing(), data)
    loader = ae.Loader(env, episodes=5, seed=seed, resume_epochs=False, seed_prefix="val/")
    seen = []
    for timestep in loader:
        seen.append((timestep.source, 0, timestep.step_type, timestep.reward))
        if timestep.source == "pole":
            timestep.reply(torch.full((3,), timestep.ticket.step % 2))
    returns = episodes_of(seen, "pole")
    assert len(returns) == 5
    assert float(fit.callback_metrics["val/pole/return"]) == pytest.approx(sum(returns) / 5)
    assert float(checkpoint.best_model_score) == pytest.approx(sum(returns) / 5)
    assert not [name for name in fit.callback_metrics if name.startswith("val/digits")]
    fit.test(Pushing(), data, verbose=False)
    assert float(fit.callback_metrics["test/pole/return"]) > 0


def test_several_validation_loaders(tmp_path):
    statistics = EpisodeStatistics()
    train = ae.Loader(cartpole(), steps_per_epoch=4)
    named = [ae.Loader({name: cartpole()}, episodes=3, resume_epochs=False) for name in ("a", "b")]
    fit = trainer(tmp_path, [statistics, Throughput(), Plots()])
    fit.fit(Pushing(), train, named)
    assert {"val/a/return", "val/b/return"} <= set(fit.callback_metrics)
    same = [ae.Loader({"a": cartpole()}, episodes=n, resume_epochs=False) for n in (3, 4)]
    fit = trainer(tmp_path, [EpisodeStatistics(), Plots()])
    fit.fit(Pushing(), ae.Loader(cartpole(), steps_per_epoch=4), same)
    assert {"val/a/return/dataloader_idx_0", "val/a/return/dataloader_idx_1"} <= set(fit.callback_metrics)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_grad_batches": 3},
        {"fast_dev_run": 3},
        {"limit_val_batches": 2},
        {"logger": True},
        {"max_epochs": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["loader", "module", "trajectories"])
def test_every_kind_of_fit(tmp_path, options, how, capsys):
    env = {"pole": cartpole(), "digits": digits()}
    val = {"pole": cartpole(), "digits": digits(split="test", epochs=1)}
    if how == "loader":
        loaders = ae.Loader(env, steps_per_epoch=30), ae.Loader(val, episodes=3, resume_epochs=False)
    else:
        steps = 7 if how == "trajectories" else None
        loaders = (ExperienceDataModule(env, val=val, num_steps=steps, steps_per_epoch=30, episodes=3),)
    fit = trainer(tmp_path, everything(), **options)
    fit.fit(Pushing(), *loaders)
    assert "env_steps" in fit.callback_metrics
    assert "epoch" in capsys.readouterr().out
    pictures = sorted(path.name for path in tmp_path.rglob("*.png"))
    assert set(pictures) <= {"digits.png", "overview.png", "pole.png"} and bool(pictures) != ("fast_dev_run" in options)


def test_dict_of_loaders(tmp_path):
    loaders = {
        "one": ae.Loader({"a": cartpole()}, steps_per_epoch=6),
        "two": ae.Loader({"b": cartpole()}, steps_per_epoch=6),
    }
    throughput = Throughput()
    trainer(tmp_path, [throughput, EpisodeStatistics()]).fit(Pushing(), loaders)
    assert set(throughput.env_steps) == {"a", "b"}


def test_masked_rows_are_no_samples(tmp_path):
    throughput = Throughput(every_n_steps=1)
    fit = trainer(tmp_path, [throughput])
    fit.fit(Pushing(), ae.Loader(digits(split="test", epochs=1)))  # 360 rows in minibatches of 64
    assert throughput._watch.samples == {"digits": 360}
    assert throughput.env_steps == {} and "env_steps" not in fit.callback_metrics
    assert float(fit.callback_metrics["digits/samples_per_s"]) > 0


def test_plain_batches_are_let_pass(tmp_path):
    class Plain(Pushing):
        def training_step(self, batch, batch_idx):
            return self.layer(batch[0]).sum()

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 1)))
    fit = trainer(tmp_path, everything())
    fit.fit(Plain(), data)
    assert "env_steps" not in fit.callback_metrics and not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("num_steps", [None, 5])
@pytest.mark.parametrize("stop", [17, 24])
@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_resumed_runs_log_the_same(tmp_path, num_steps, stop):
    def run(folder, ckpt_path=None, **options):
        data = ExperienceDataModule({"pole": cartpole(), "digits": digits()}, num_steps=num_steps, steps_per_epoch=24)
        callbacks = [EpisodeStatistics(window=3, every_n_steps=2), Throughput(every_n_steps=7), Plots(every_n_steps=2)]
        saving = ModelCheckpoint(tmp_path / "saved", every_n_train_steps=stop, save_top_k=-1, filename="{step}")
        logger = Lines()
        fit = trainer(
            folder, [*callbacks, saving], logger=logger, enable_checkpointing=True, log_every_n_steps=1, **options
        )
        fit.fit(Pushing(), data, ckpt_path=ckpt_path)
        return logger, callbacks

    whole, before = run(tmp_path / "whole", max_epochs=3)
    resumed, after = run(tmp_path / "resumed", tmp_path / "saved" / f"step={stop}.ckpt", max_epochs=3)
    for name in ("pole/return", "pole/length", "env_steps", "pole/env_steps"):
        rest = [(step, value) for step, value in whole.of(name) if step >= resumed.lines[0][0]]
        assert rest == resumed.of(name) and rest, name
    for one, other in zip(before, after, strict=True):
        assert str(one.state_dict()) == str(other.state_dict())


def test_state_loads_with_weights_only(tmp_path):
    data = ExperienceDataModule({"pole": cartpole(), "digits": digits()}, steps_per_epoch=60)
    fit = trainer(tmp_path, everything())
    fit.fit(Pushing(), data)
    state = {type(callback).__name__: callback.state_dict() for callback in fit.callbacks}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=True)


def test_plots_are_drawn_when_training_fails(tmp_path):
    class Failing(Pushing):
        def training_step(self, batch, batch_idx):
            if batch_idx == 100:
                raise RuntimeError("on purpose")
            return super().training_step(batch, batch_idx)

    data = ExperienceDataModule(cartpole(), steps_per_epoch=200)
    with pytest.raises(RuntimeError, match="on purpose"):
        trainer(tmp_path, everything()).fit(Failing(), data)
    picture = tmp_path / "plots" / "CartPole-v1.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000


def test_several_sources_are_drawn_on_a_page(tmp_path):
    data = ExperienceDataModule({"pole": cartpole(), "digits": digits()}, val={"pole": cartpole()}, steps_per_epoch=60)
    plots = Plots(every_n_steps=1)
    trainer(tmp_path, [plots]).fit(Pushing(), data)
    page = tmp_path / "plots" / "overview.png"
    assert page.read_bytes().startswith(b"\x89PNG") and page.stat().st_size > 10_000
    panels = [plots._panel(source) for source in ("digits", "pole")]
    assert [panel.metric for panel in panels] == ["accuracy", "return"] and len(panels[1].training) > 0
    assert plots.draw_overview() == page
    del plots._watch.samples["digits"]
    assert plots.draw_overview() is None


def test_plots_leave_pyplot_alone(tmp_path):
    import sys

    before = "matplotlib.pyplot" in sys.modules
    trainer(tmp_path, [Plots()]).fit(Pushing(), ae.Loader(cartpole(), steps_per_epoch=100))
    assert ("matplotlib.pyplot" in sys.modules) == before
    assert (tmp_path / "plots" / "CartPole-v1.png").exists()


def test_watch_counts_a_trajectorys_first_timestep_once():
    def run(items):
        watch, finished = StreamWatch(), []
        for item in items:
            finished += watch.update(item)
        return finished, watch.env_steps, watch.samples

    def act(timestep):
        return torch.full((3,), timestep.ticket.step % 2)

    trajectories = list(ae.Loader(cartpole(), steps_per_epoch=20).drive(act, num_steps=6))
    timesteps = []
    for timestep in ae.Loader(cartpole(), steps_per_epoch=20 * 6 + 1):
        timesteps.append(timestep)
        timestep.reply(act(timestep))
    assert run(trajectories) == run(timesteps)


def test_specs_of_loaders():
    loader = ae.Loader(cartpole(), steps_per_epoch=1)
    plain = torch.utils.data.DataLoader(cartpole(), batch_size=None)
    for given in (loader, [loader], {"a": loader}, loader.drive(lambda timestep: None, 2), plain):
        assert list(specs_of(given)) == ["CartPole-v1"]
    assert specs_of(None) == specs_of([1, 2]) == {}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9781, "0.978"),
        (500.0, "500"),
        (42.13, "42.1"),
        (1205.0, "1,205"),
        (51234, "51.2k"),
        (2.5e6, "2.50M"),
        ("a", "a"),
    ],
)
def test_numbers_are_short(value, text):
    assert compact(value) == text


def test_numbers_that_are_none():
    assert compact(math.nan) == "nan" and clock(3723) == "1:02:03"


def test_progress_in_a_terminal(tmp_path, monkeypatch):
    import rich
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    data = ExperienceDataModule(
        {"pole": cartpole(), "digits": digits()}, val={"pole": cartpole()}, steps_per_epoch=60, episodes=3
    )
    trainer(tmp_path, [EpisodeStatistics(), Throughput(every_n_steps=5), Progress()], num_sanity_val_steps=0).fit(
        Pushing(), data
    )
    shown = console.file.getvalue()
    assert "epoch 1/1, step 60/60" in shown and "100%" in shown and "val return" in shown and "accuracy" in shown


def test_progress_shows_the_sources_that_there_is_room_for(tmp_path, monkeypatch):
    import rich
    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    monkeypatch.setattr("lightning_modules.callbacks.progress.MOST_SOURCES", 2)
    data = ExperienceDataModule({name: cartpole() for name in "abcd"}, steps_per_epoch=200)
    trainer(tmp_path, [EpisodeStatistics(), Progress(print_seconds=0.0)]).fit(Pushing(), data)
    last = console.file.getvalue().splitlines()[-1]
    assert "2 more sources" in last and last.count("return") == 2
