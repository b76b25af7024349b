"""The command aexp: what it runs, what it leaves behind, what it says where something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import lightning as L
import pytest
import torch
import yaml

from aexp_torch import EnvSpec
from lightning_modules.cli import CONFIGS, main
from lightning_modules.cli_errors import in_one_line

SMALL = ["--trainer.max_steps=40", "--data.episodes=2", "--trainer.logger=false"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


class Unseeded(L.LightningModule):
    """Takes neither a seed nor has it anything to learn.

    Args:
      specs: of the sources.
      width: of nothing in particular.
    """

    def __init__(self, specs: dict[str, EnvSpec], width: int = 3):
        super().__init__()
        self.specs, self.layer = specs, torch.nn.Linear(1, width)

    def training_step(self, timestep, batch_idx):
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fails(*args):
    with pytest.raises(SystemExit) as raised:
        main(list(args))
    assert raised.value.code == 2


def run_aexp(*args, **options):
    command = [sys.executable, "-m", "lightning_modules.cli", *args]
    root = str(CONFIGS.parent.parent)
    environ = {**os.environ, "PYTHONPATH": root, "TERM": "dumb", "COLUMNS": "100"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environ}
    return subprocess.Popen(command, **pipes, **options)


def test_fit_alone_learns_two_tasks_and_leaves_a_folder(tmp_path):
    process = run_aexp("fit", "--trainer.max_steps", "50", "--trainer.default_root_dir", str(tmp_path / "x"))
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    run = tmp_path / "x" / "runs" / "generalist" / "version_0"
    files = {str(path.relative_to(run)).split("-")[0].split(".17")[0] for path in run.rglob("*") if path.is_file()}
    assert {"config.yaml", "checkpoints/last.ckpt", "plots/CartPole"} <= files
    assert any(name.startswith("events.out.tfevents") for name in files)
    assert os.listdir(tmp_path) == ["x"]
    for part in (
        "epoch 1/8",
        "Greedy evaluation",
        "CartPole-v1",
        "digits",
        "accuracy",
        "return",
        "env steps",
        str(run),
    ):
        assert part in said
    assert "Warning" not in said and "Traceback" not in said
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["class_path"] == "lightning_modules.agents.Generalist"
    assert "specs" not in config["model"]["init_args"]


@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")  # dqn.yaml: over before it validates
@pytest.mark.parametrize("config", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_shipped_configs(config, tmp_path, capsys):
    fewer = {"artificial_experience.yaml": ["--data.include=tabular"], "commai.yaml": ["--data.eval_steps=20"]}
    main(["fit", "--config", config, *SMALL, "--seed=3", *fewer.get(config, [])])
    said = capsys.readouterr().out
    assert "Greedy evaluation" in said and "run folder" in said
    assert (tmp_path / "checkpoints" / "last.ckpt").exists() and (tmp_path / "config.yaml").exists()


def test_seed_goes_to_data_and_model(tmp_path):
    def weights(seed):
        main(
            [
                "fit",
                "--config=classifier",
                f"--seed={seed}",
                "--trainer.max_epochs=1",
                f"--trainer.default_root_dir={seed}",
            ]
        )
        run = max((tmp_path / str(seed) / "runs" / "classifier").iterdir())
        return torch.load(run / "checkpoints" / "last.ckpt")

    one, same, other = weights(1), weights(1), weights(2)
    assert one["hyper_parameters"]["seed"] == 1
    names = list(one["state_dict"])
    assert all(torch.equal(one["state_dict"][name], same["state_dict"][name]) for name in names)
    assert any(not torch.equal(one["state_dict"][name], other["state_dict"][name]) for name in names)


def test_print_config_round_trips(tmp_path, capsys):
    def printed(*args):
        main(["fit", *args, "--print_config"])
        return capsys.readouterr().out

    text = printed("--seed=7", "--data.train.CartPole-v1.init_args.num_envs=3")
    config = yaml.safe_load(text)
    train = config["data"]["init_args"]["train"]
    assert config["seed"] == 7 and train["CartPole-v1"]["init_args"]["num_envs"] == 3
    (tmp_path / "my.yaml").write_text(text)
    assert printed("--config=my.yaml") == text


def test_a_config_replaces_the_default(tmp_path, capsys):
    noisy = """
        model: lightning_modules.agents.PPO
        data:
          train:
            class_path: aexp_torch.Noisy
            init_args:
              std: 0.1
              env: {class_path: aexp_torch.GymnasiumEnv, init_args: {id_or_factory: CartPole-v1, num_envs: 2}}
          num_steps: 4
          steps_per_epoch: 2
        trainer: {max_epochs: 1, accelerator: cpu, logger: false}
    """
    (tmp_path / "noisy.yaml").write_text(noisy)
    main(["fit", "--config", "noisy.yaml"])
    assert "digits" not in capsys.readouterr().out


def test_modules_without_a_seed(tmp_path, capsys):
    main(["fit", "--config=classifier", *SMALL, f"--model={__name__}.Unseeded", "--data.val=null", "--data.test=null"])
    assert "run folder" in capsys.readouterr().out


def test_stages_that_evaluate(tmp_path, capsys):
    main(["fit", "--config=classifier", "--trainer.max_epochs=1"])
    checkpoint = str(tmp_path / "runs" / "classifier" / "version_0" / "checkpoints" / "last.ckpt")
    capsys.readouterr()
    for command, shown in (("validate", "val/digits/accuracy"), ("test", "test/digits/accuracy"), ("predict", "")):
        main([command, "--ckpt_path", checkpoint])  # with the configuration of that run
        assert shown in capsys.readouterr().out
    assert os.listdir(tmp_path / "runs") == ["classifier"]
    assert os.listdir(tmp_path / "runs" / "classifier") == ["version_0"]


def test_fast_dev_run_leaves_nothing(tmp_path, capsys):
    main(["fit", "--trainer.fast_dev_run=2"])
    assert "trained in" in capsys.readouterr().out and os.listdir(tmp_path) == []


def test_without_checkpoints_and_bars(tmp_path, capsys):
    main(
        [
            "fit",
            "--config=classifier",
            *SMALL,
            "--trainer.enable_checkpointing=false",
            "--trainer.enable_progress_bar=false",
        ]
    )
    assert "epoch 1/" not in capsys.readouterr().out and not (tmp_path / "checkpoints").exists()


def test_the_best_checkpoint_is_tested_where_one_is_monitored(tmp_path, capsys):
    monitor = ["--checkpoint.monitor=val/digits/accuracy", "--checkpoint.mode=max"]
    main(["fit", "--config=classifier", *monitor, "--trainer.max_epochs=2", "--trainer.logger=false"])
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--modle=3"], "unrecognized option --modle. Did you mean --model?"),
        (["--data.steps_per_epochs", "3"], "no option 'steps_per_epochs'. Did you mean steps_per_epoch?"),
        (["--model.lrr=3"], "--model: Generalist has no option 'lrr'. Did you mean lr?"),
        (["--model.lr=abc"], "--model: Generalist: lr: expected float, got 'abc'"),
        (["--model=PPOX"], "--model: no such class 'PPOX'"),
        (
            ["--data=CommAIDataModule", "--data.mode=word"],
            "CommAIDataModule: mode: expected one of 'bit', 'byte', got 'word'",
        ),
        (["--data=CommAIDataModule", "--data.in_flight=x"], "CommAIDataModule: in_flight: expected int, got 'x'"),
        (["--trainer.max_epochs=x"], "--trainer.max_epochs: expected int, got 'x'"),
        (["--data.train.CartPole-v1.init_args.id_or_factory=CartPole-v9"], "registered environment, got 'CartPole-v9'"),
        (["--data.weights.digits=-1"], "Loader: expected finite weights >= 0"),
        (["--config=nope.yaml"], "--config: File does not exist"),
        (["--ckpt_path=nope.ckpt"], "--ckpt_path: no such file 'nope.ckpt'"),
        (["--model=PPO"], "PPO: expected sources that take actions, 'digits' takes none"),
    ],
)
def test_errors_are_one_line(args, said, capsys, tmp_path):
    fails("fit", *args)
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.startswith("aexp: ") and captured.err.count("\n") == 1
    assert captured.out == "" and os.listdir(tmp_path) == []


def test_errors_with_a_traceback(monkeypatch):
    from aexp_torch import SpecError

    with pytest.raises(SpecError, match="Did you mean"):
        main(["fit", "--modle=3", "--traceback"])
    monkeypatch.setenv("AEXP_TRACEBACK", "1")
    with pytest.raises(SpecError, match="weights"):
        main(["fit", "--data.weights.digits=-1"])


def test_no_command(capsys):
    fails()
    fails("fat")
    assert "fit" in capsys.readouterr().err


def test_notes_of_errors_are_kept():
    error = ValueError("wrong")
    error.add_note("while reading child 'pong'")
    assert in_one_line(error) == "wrong while reading child 'pong'"


@pytest.mark.parametrize("model", ["PPO", "lightning_modules.agents.PPO"])
def test_help_lists_options_with_their_docstrings(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["fit", "--model", model, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for part in (
        "--model.lambda_ LAMBDA_ of generalized advantage estimation",
        "--data.num_steps NUM_STEPS T. With it, training steps get trajectories",
        "--statistics.window WINDOW number of training episodes",
        "--seed SEED S of all seeds",
        "--trainer.max_epochs",
    ):
        assert part in said


def test_leaves_the_process_as_it_was():
    before = signal.getsignal(signal.SIGINT), torch.get_num_threads(), list(sys.argv)
    main(["fit", "--trainer.fast_dev_run=1"])
    assert (signal.getsignal(signal.SIGINT), torch.get_num_threads(), list(sys.argv)) == before


SHORT = ["--data.steps_per_epoch=60", "--trainer.max_epochs=1", "--data.episodes=1", "--data.max_episode_steps=20"]


def test_the_ready_made_experience_trains(tmp_path, capsys):
    narrow = [
        "--data.include=[digits, tabular.classification, FrozenLake-v1]",
        "--data.exclude",
        "tabular.medicine",
    ]
    narrow += ["--data.minibatches=3", "--data.steps=8", "--data.num_steps=4", "--data.num_envs=2"]
    main(["fit", "--data", "ArtificialExperience", *narrow, *SHORT, "--data.weights={FrozenLake-v1: 5}"])
    said = capsys.readouterr().out
    assert "before and after training" in said and "→" in said and "FrozenLake-v1" in said and "digits" in said
    assert "CartPole-v1" not in said
    run = tmp_path / "runs" / "artificial_experience" / "version_0"
    assert {"overview.png", "digits.png"} <= {path.name for path in (run / "plots").iterdir()}
    checkpoint = run / "checkpoints" / "last.ckpt"
    saved = torch.load(checkpoint)
    assert "FrozenLake-v1" in saved["sources"] and "CartPole-v1" not in saved["sources"]
    main(["fit", "--ckpt_path", str(checkpoint), "--trainer.max_epochs=2"])  # with the options of that run
    resumed = torch.load(tmp_path / "runs" / "artificial_experience" / "version_1" / "checkpoints" / "last.ckpt")
    assert resumed["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["completed"] == 120
    assert "before" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--data.include=imag"], "nothing fits 'imag'. Among others there are"),
        (["--data.exclude=[image, nothing_like_it]"], "for exclude, nothing fits 'nothing_like_it'"),
        (["--data.include=iris", "--data.exclude=tabular"], "nothing fits both filters"),
        (["--data.num_env=3"], "ArtificialExperience has no option 'num_env'. Did you mean num_envs?"),
        (["--data.steps_per_epoch=0"], "expected steps_per_epoch of at least 1"),
        (["--data.weights={image: -1}"], "expected weights >= 0"),
    ],
)
def test_errors_of_the_experience_are_one_line(args, said, capsys, tmp_path):
    fails("fit", "--data", "ArtificialExperience", *args)
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.startswith("aexp: ") and captured.err.count("\n") == 1
    assert captured.out == "" and os.listdir(tmp_path) == []


def test_help_of_the_experience(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["fit", "--help", "--data", "ArtificialExperience"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--data.include+ INCLUDE tags" in said and "--data.weights WEIGHTS how often tasks come" in said
    main(["fit", "--help", "--data", "CommAIDataModule"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--data.eval_steps EVAL_STEPS steps of a conversation" in said and "--data.config CONFIG a preset" in said
    main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "`aexp fit --data ArtificialExperience`" in said and "`aexp fit --data CommAIDataModule`" in said


def test_conversations_train(tmp_path, capsys):
    config = tmp_path / "echo.json"
    tasks = {"echo": {"type": "tasks.challenge.round1.challenge_micro.Micro4Task"}}
    scheduler = {"type": "core.scheduler.RandomTaskScheduler", "args": {"tasks": ["echo"]}}
    config.write_text(json.dumps({"worlds": {}, "tasks": tasks, "scheduler": scheduler}))
    shorter = ["--data.eval_steps=130", "--data.num_envs=4", "--data.steps_per_epoch=8", "--trainer.max_epochs=1"]
    main(["fit", "--data=CommAIDataModule", f"--data.config={config}", "--data.env_options={scramble: true}", *shorter])
    said = capsys.readouterr().out
    assert "before and after training" in said and "echo/Micro4Task" in said and "solved" in said
    run = tmp_path / "runs" / "commai" / "version_0"
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["env_options"] == {"scramble": True}
    main(["fit", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_epochs=2"])
    fails("fit", "--data", "CommAIDataModule", "--data.config=minor")
    captured = capsys.readouterr()
    assert captured.err.startswith("aexp: ") and "one of the presets" in captured.err and captured.err.count("\n") == 1


@pytest.mark.slow
def test_conversations_train_on_ranks(tmp_path):
    short = ["--data.num_envs=4", "--data.num_workers=1", "--data.steps_per_epoch=12", "--data.eval_steps=60"]
    ranks = ["--trainer.strategy=ddp", "--trainer.devices=2", "--trainer.max_epochs=1"]
    process = run_aexp("fit", "--data=CommAIDataModule", *short, *ranks, f"--trainer.default_root_dir={tmp_path}")
    try:
        said, _ = process.communicate(timeout=110)
    finally:
        process.kill()
    assert process.returncode == 0 and said.count("Greedy evaluation") == 1, said
    assert (tmp_path / "runs" / "commai" / "version_0" / "plots" / "Micro4Task" / "curves.csv").exists()


def test_interrupted_runs_can_be_resumed(tmp_path):
    options = ["--config=classifier", "--trainer.max_epochs=400", "--trainer.default_root_dir", str(tmp_path)]
    process = run_aexp("fit", *options, start_new_session=True)
    run = tmp_path / "runs" / "classifier" / "version_0"
    deadline = time.monotonic() + 60
    while not (run / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "resume with --ckpt_path" in said and "Traceback" not in said
    assert (run / "plots" / "digits.png").exists() and (run / "config.yaml").exists()
    checkpoint = run / "checkpoints" / "last.ckpt"
    step = torch.load(checkpoint)["global_step"]
    main(["fit", "--ckpt_path", str(checkpoint), f"--trainer.max_steps={step + 3}"])
    resumed = torch.load(tmp_path / "runs" / "classifier" / "version_1" / "checkpoints" / "last.ckpt")
    assert resumed["global_step"] == step + 3


@pytest.mark.slow
def test_ranks_are_interrupted_together(tmp_path):
    options = [
        "--config=ppo",
        "--trainer.strategy=ddp",
        "--trainer.devices=2",
        "--trainer.default_root_dir",
        str(tmp_path),
    ]
    process = run_aexp("fit", *options, start_new_session=True)
    checkpoint = tmp_path / "runs" / "ppo" / "version_0" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    before = torch.load(checkpoint)["global_step"]
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert "resume with --ckpt_path" in said and "No checkpoint was written" not in said, said
    saved = torch.load(checkpoint)
    assert saved["global_step"] > before
    assert len(saved["ExperienceDataModule"]["train"]) == len(saved["agent"]) == 2


def test_a_run_interrupted_between_steps_is_the_run(tmp_path, monkeypatch):
    from lightning_modules.callbacks import EpisodeStatistics

    options = [
        "--config=ppo",
        "--trainer.max_epochs=2",
        "--data.steps_per_epoch=6",
        "--model.epochs=2",
        "--data.episodes=2",
    ]
    main(["fit", *options, "--trainer.default_root_dir=whole"])
    original = EpisodeStatistics.on_train_batch_end

    def interrupting(self, trainer, *args):
        original(self, trainer, *args)
        if trainer.fit_loop.epoch_loop.total_batch_idx == 8:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(EpisodeStatistics, "on_train_batch_end", interrupting)
        with pytest.raises(SystemExit) as raised:
            main(["fit", *options, "--trainer.default_root_dir=parts"])
    assert raised.value.code == 130
    main(["fit", "--ckpt_path", str(tmp_path / "parts" / "runs" / "ppo" / "version_0" / "checkpoints" / "last.ckpt")])
    whole = torch.load(tmp_path / "whole" / "runs" / "ppo" / "version_0" / "checkpoints" / "last.ckpt")
    parts = torch.load(tmp_path / "parts" / "runs" / "ppo" / "version_1" / "checkpoints" / "last.ckpt")
    assert whole["global_step"] == parts["global_step"]
    assert all(torch.equal(value, parts["state_dict"][name]) for name, value in whole["state_dict"].items())
    for name in ("EpisodeStatistics", "Throughput"):
        assert str(whole["callbacks"][name]) == str(parts["callbacks"][name])


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_default_learns_both(tmp_path, seed):
    process = run_aexp("fit", "--seed", str(seed), "--trainer.default_root_dir", str(tmp_path))
    said, _ = process.communicate(timeout=380)
    rows = {line.split("│")[1].strip(): line.split("│")[2:] for line in said.splitlines() if line.startswith("│")}
    assert float(rows["CartPole-v1"][0].replace(",", "")) >= 400
    assert float(rows["digits"][1]) >= 0.95
