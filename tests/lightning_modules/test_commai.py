"""CommAIDataModule and TaskStatistics: conversations in Trainer.fit, and which tasks were solved in them."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

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
    (source,) = fit.train_dataloader.streams.loader.sources_here
    counted = sum(task.finished for task in source.results.tasks.values())
    assert counted == sum(counts[0] for counts in statistics._before.values()) > 20
    assert last["val/CommAI/Micro4Task/solved"] == 1 and last["val/CommAI/length"] == 400
    (scores,) = fit.test(module, stream, verbose=False)
    assert scores["test/CommAI/Micro4Task/solved"] == 1 and 0 < scores["test/CommAI/solved"] < 1
    assert scores["test/CommAI/return"] != last["val/CommAI/return"]  # other seeds


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


def test_what_workers_step_is_evaluated_but_not_followed(tmp_path):
    fit = trainer(tmp_path, [TaskStatistics(5)], enable_checkpointing=False)
    fit.fit(Echo(), data(num_workers=1))
    names = set(fit.callback_metrics)
    assert fit.train_dataloader.streams.loader.sources_here == []
    assert "val/CommAI/Micro4Task/solved" in names and "CommAI/solved" not in names


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
    with pytest.raises(SpecError, match="one of the presets"):
        CommAIDataModule("minor")
