"""CommAIDataModule and TaskStatistics: conversations in Trainer.fit, and which tasks were solved in them."""

import os
import signal

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger

from aexp_torch.errors import SpecError
from lightning_modules import CommAIDataModule
from lightning_modules.agents import PPO
from lightning_modules.callbacks import EpisodeStatistics, TaskStatistics

MICRO = "tasks.challenge.round1.challenge_micro"
TWO = {
    "worlds": {},
    "tasks": {"echo": {"type": f"{MICRO}.Micro4Task"}, "guess": {"type": f"{MICRO}.Micro1Task"}},
    "scheduler": {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["echo", "guess"]}},
}


class Echo(L.LightningModule):
    """Says what it hears, which solves one of the two tasks, and learns nothing."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.heard = []

    def act(self, timestep):
        return timestep.observation["symbol"]

    def training_step(self, trajectory, batch_idx):
        self.heard.append(trajectory.timesteps.observation["symbol"][1:].clone())
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, timestep, batch_idx):
        timestep.reply(self.act(timestep))

    test_step = validation_step

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def data(**options):
    return CommAIDataModule(
        TWO, **{"num_envs": 4, "num_steps": 50, "steps_per_epoch": 20, "eval_steps": 400, "episodes": 6} | options
    )


def trainer(folder, callbacks=(), **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return L.Trainer(default_root_dir=folder, callbacks=[*callbacks], **quiet | {"max_epochs": 1} | options)


def test_tasks_are_counted(tmp_path):
    statistics = TaskStatistics(every_n_steps=5)
    module, stream = Echo(), data()
    fit = trainer(
        tmp_path,
        [statistics, EpisodeStatistics()],
        enable_checkpointing=False,
        logger=CSVLogger(tmp_path, name="", version=""),
    )
    fit.fit(module, stream)
    assert {path.name for path in (tmp_path / "plots" / "CommAI").iterdir()} >= {"curves.csv", "curves.png"}
    last = {name: float(value) for name, value in fit.callback_metrics.items()}
    assert last["CommAI/Micro4Task/solved"] == 1 and last["CommAI/Micro4Task/reward"] == 10
    assert last["CommAI/Micro1Task/solved"] < 0.5 and last["CommAI/Micro1Task/reward"] < 0
    assert 0 < last["CommAI/solved"] < 1
    (counted,) = fit.train_dataloader.streams.loader.statistics["CommAI"].values()
    finished = {name: task["finished"] for name, task in counted["tasks"].items()}
    assert {name: counts[0] for name, counts in statistics._before["CommAI/0"]["tasks"].items()} == finished
    assert sum(finished.values()) > 20
    assert last["val/CommAI/Micro4Task/solved"] == 1 and last["val/CommAI/length"] == 400
    (scores,) = fit.test(module, stream, verbose=False)
    assert scores["test/CommAI/Micro4Task/solved"] == 1 and 0 < scores["test/CommAI/solved"] < 1
    assert scores["test/CommAI/return"] != last["val/CommAI/return"]  # other seeds


def test_another_fit_counts_anew(tmp_path):
    statistics, counted = TaskStatistics(every_n_steps=20), []
    for _ in range(2):
        fit = trainer(tmp_path, [statistics], enable_checkpointing=False)
        fit.fit(Echo(), data())
        counted.append({name: float(value) for name, value in fit.callback_metrics.items()})
    assert counted[0] == counted[1] and "CommAI/solved" in counted[0]


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_resumed_run_hears_and_counts_the_same(tmp_path):
    def run(statistics, module, **options):
        keep = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=7, save_top_k=-1)
        trainer(tmp_path, [statistics, keep]).fit(module, data(), **options)
        return statistics.state_dict(), module.heard

    whole, heard = run(TaskStatistics(5), Echo())
    again, rest = run(TaskStatistics(5), Echo(), ckpt_path=tmp_path / "step=7.ckpt")
    assert whole == again and len(rest) == 13
    assert all(map(torch.equal, heard[7:], rest))


class Log(Logger):
    """Keeps what is logged."""

    name, version = "log", 0

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, *args, **kwargs):
        pass


def test_the_same_is_counted_in_workers(tmp_path):
    def counted(num_workers):
        log, statistics = Log(), TaskStatistics(4)
        fit = trainer(tmp_path / str(num_workers), [statistics], logger=log, log_every_n_steps=4)
        fit.fit(Echo(), data(num_workers=num_workers, in_flight=4, steps_per_epoch=24))
        curves = (tmp_path / str(num_workers) / "plots" / "CommAI" / "curves.csv").read_text()
        return log.rows, statistics.state_dict(), curves

    rows, state, curves = counted(0)
    assert counted(1) == counted(2) == (rows, state, curves)
    assert [step for step, metrics in rows if "CommAI/Micro4Task/solved" in metrics] == [3, 7, 11, 15, 19, 23]
    (before,) = [rank["before"] for rank in state["ranks"]]
    assert list(before) == [f"CommAI/{slot}" for slot in range(4)] and curves.count("Micro") > 10


@pytest.mark.filterwarnings("ignore:(?s)Loader.*Restarted:UserWarning")
def test_counts_go_on_where_a_worker_is_lost(tmp_path):
    class Kill(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 14:
                os.kill(trainer.train_dataloader.streams.loader._workers[0].pid, signal.SIGKILL)

    log = Log()
    fit = trainer(tmp_path, [TaskStatistics(5), Kill()], logger=log, log_every_n_steps=5, enable_checkpointing=False)
    fit.fit(Echo(), data(num_workers=1, in_flight=1, steps_per_epoch=30))
    assert fit.train_dataloader.streams.loader.restarts == 1
    echoed = [metrics["CommAI/Micro4Task/reward"] for _, metrics in rows_with(log, "CommAI/Micro4Task/reward")]
    assert len(echoed) == 6 and set(echoed) == {10}, "a lost slot begins to count at 0"


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_interrupted_run_has_its_curves(num_workers, tmp_path):
    class Stop(L.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            if batch_idx == 9:
                raise KeyboardInterrupt

    fit = trainer(tmp_path, [TaskStatistics(5), Stop()], logger=Log(), enable_checkpointing=False)
    with pytest.raises(SystemExit):
        fit.fit(Echo(), data(num_workers=num_workers, in_flight=1))
    assert {path.name for path in (tmp_path / "plots" / "CommAI").iterdir()} >= {"curves.csv", "curves.png"}
    fit.train_dataloader.streams.loader.close()


def rows_with(log, name):
    return [(step, metrics) for step, metrics in log.rows if name in metrics]


@pytest.mark.parametrize("config, symbols", [("micro", 256), ("mini", 256), ("challenge", 256), ("commai", 2)])
def test_presets(config, symbols, tmp_path):
    stream = CommAIDataModule(config, num_envs=3, num_steps=4, steps_per_epoch=3, eval_steps=23, episodes=2)
    assert stream.specs[config].action["symbol"].num_values == symbols and stream.splits == ("train", "val", "test")
    fit = trainer(tmp_path, [EpisodeStatistics()], enable_checkpointing=False)
    fit.fit(PPO(stream.specs), stream)
    assert fit.callback_metrics[f"val/{config}/length"] == 23


def test_options_reach_the_conversations():
    stream = CommAIDataModule("mini", "bit", scramble=True, env_options={"instructions": True, "max_episode_steps": 31})
    stream.trainer = None
    env = stream.train_dataloader().streams.loader.environments["mini"]
    assert (env.mode, env.scramble, env.instructions, env.max_episode_steps) == ("bit", True, True, 31)
    evaluated = stream.val_dataloader().streams.environments["mini"]
    assert (evaluated.num_envs, evaluated.scramble, evaluated.max_episode_steps) == (20, True, 4007)
    for wrong, text in [
        ({"config": "minor"}, "one of the presets"),
        ({"episodes": 0}, "CommAIDataModule: expected episodes of at least 1, got 0"),
        (
            {"env_options": {"worlds": 1}},
            r"CommAIDataModule: expected env_options among .*.scramble., .*, got \[.worlds.\]",
        ),
        ({"eval_steps": 0}, "max_episode_steps of at least 1, got 0"),
    ]:
        with pytest.raises(SpecError, match=text):
            CommAIDataModule(**wrong)
    with pytest.raises(SpecError, match="TaskStatistics: expected every_n_steps of at least 1, got 0"):
        TaskStatistics(0)
