"""The command `aexp`: fit, validate, test and predict, with every option taken from the docstrings."""

import logging
import os
import pydoc
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import rich
import torch
from jsonargparse import ArgumentError
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from rich.table import Table

import lightning_modules.agents
import lightning_modules.artificial_experience  # short class names (`--model PPO`) are those that are imported
import lightning_modules.commai  # noqa: F401
from aexp_torch import AexpError, EnvSpec, SpecError
from lightning_modules.agents.growing import Growing
from lightning_modules.callbacks import EpisodeStatistics, Plots, Progress, Throughput
from lightning_modules.callbacks.interrupt import Interrupt
from lightning_modules.callbacks.progress import clock, compact
from lightning_modules.cli_errors import in_one_line
from lightning_modules.datamodule import ExperienceDataModule

__all__ = ["main"]

CONFIGS = Path(__file__).parent / "configs"
DESCRIPTION = (
    "Trains agents on environments and datasets, alone or mixed. `aexp fit` alone learns CartPole and digits,"
    " `aexp fit --data ArtificialExperience` all that is ready-made, `aexp fit --data CommAIDataModule` conversations."
    " Beside training: `aexp list` (what is ready-made), `aexp show NAME`, `aexp doctor` (what is missing),"
    " `aexp commai` (runs learners of CommAI-env, or lets you talk with its tasks)."
)
WRONG, INTERRUPTED = 2, 130  # exit codes


def main(args: list[str] | None = None) -> None:
    """Runs the command.

    Args:
      args: the command line; by default that of the process. `--traceback` (or AEXP_TRACEBACK=1) shows where an error
        came from, which otherwise is one line.

    Raises:
      SystemExit: with code 2 where something was wrong, 130 where the run was interrupted.
    """
    args = list(sys.argv[1:] if args is None else args)
    wants_traceback = "--traceback" in args or bool(os.environ.get("AEXP_TRACEBACK"))
    args = [arg for arg in args if arg != "--traceback"]
    try:
        with _quiet():
            for command_line in _with_help_of_classes(_with_config(args)):
                _run(command_line)
    except KeyboardInterrupt:
        print("aexp: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (AexpError, MisconfigurationException, FileNotFoundError) as error:
        if wants_traceback:
            raise
        print(f"aexp: {in_one_line(error)}", file=sys.stderr)
        raise SystemExit(WRONG) from None


def _run(args: list[str]) -> None:
    """Leaves the process's seed and signals as they are, and its arguments, by which Lightning starts further ranks."""
    threads, interrupt = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    try:
        AexpCLI(
            datamodule_class=ExperienceDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        torch.set_num_threads(threads)
        if signal.getsignal(signal.SIGINT) != interrupt:  # Lightning ignores it from the first Ctrl-C on
            signal.signal(signal.SIGINT, interrupt)


def _with_config(args: list[str]) -> list[str]:
    """Puts a configuration first where none is given, and finds the shipped ones by name.

    It is that of the run where a checkpoint of one is given, else that of the class in `--data CLASS`, where one is shipped,
    else the default.
    """
    if not args or args[0] not in AexpCLI.subcommands():
        return args
    command, *options = args
    given = [i for i, option in enumerate(options) if option.split("=")[0] in ("--config", "-c")]
    for i in given:
        option, equals, value = options[i].partition("=")
        if equals:
            options[i] = f"{option}={_shipped(value)}"
        elif i + 1 < len(options):
            options[i + 1] = _shipped(options[i + 1])
    return [command, *([] if given else ["--config", str(_config_of_run(options))]), *options]


def _with_help_of_classes(args: list[str]) -> list[list[str]]:
    """Asks for the help of the data module, too, and that of the model in `--model CLASS --help`."""
    if {"-h", "--help"}.isdisjoint(args) or args[0] not in AexpCLI.subcommands():
        return [args]
    data = _named(args, "data") or ["ExperienceDataModule"]
    named = [*(("model", name) for name in _named(args, "model")), *(("data", name) for name in data)]
    return [[args[0], "--help"], *([args[0], f"--{what}.help", name] for what, name in named)]


def _named(options: list[str], what: str) -> list[str]:
    """Returns the classes that options name for the model or the data."""
    names = (f"--{what}", f"--{what}.class_path")
    pairs = pairwise([*options, ""])
    return [option.partition("=")[2] or following for option, following in pairs if option.partition("=")[0] in names]


def _shipped(name: str) -> str:
    candidate = CONFIGS / f"{name.removesuffix('.yaml')}.yaml"
    return str(candidate) if not Path(name).exists() and candidate.parent == CONFIGS and candidate.exists() else name


def _config_of_run(options: list[str]) -> Path:
    for option, following in zip(options, [*options[1:], ""]):
        name, _, value = option.partition("=")
        if name == "--ckpt_path":
            config = Path(value or following).resolve().parent.parent / "config.yaml"
            if config.is_file():
                return config
    for name in _named(options, "data"):
        wanted = name.rpartition(".")[2].removesuffix("DataModule").lower()
        for config in sorted(CONFIGS.glob("*.yaml")):
            if config.stem.replace("_", "") == wanted:  # `artificial_experience.yaml` for ArtificialExperience
                return config
    return CONFIGS / "generalist.yaml"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what Lightning says about hardware, workers and itself from between the lines of a run."""
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    seeds = logging.getLogger("lightning.fabric.utilities.seed")
    levels = log.level, seeds.level
    log.setLevel(logging.WARNING)
    seeds.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (
                ".*isinstance.treespec, LeafSpec",
                "LightningCLI's args parameter is intended to run from within Python",
                "The '.*_dataloader' does not have many workers",
                "GPU available but not used",
                "The number of training batches .* is smaller than the logging interval",
                "The dirpath has changed",
                "Checkpoint directory .* exists and is not empty",
                r"\s+.*(was deprecated in v|JsonargparseDeprecationWarning)",  # Lightning calls what jsonargparse deprecates
            ):
                warnings.filterwarnings("ignore", f"(?s){message}")
            yield
    finally:
        log.setLevel(levels[0])
        seeds.setLevel(levels[1])


class AexpCLI(LightningCLI):
    """Adds to LightningCLI: specs and seeds handed on, a run folder, callbacks, an evaluation and a summary."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Lets errors through to `main`."""
        kwargs.setdefault("description", DESCRIPTION)
        return super().init_parser(**{"prog": "aexp", "exit_on_error": False, **kwargs})

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what belongs to a run as a whole."""
        super().add_default_arguments_to_parser(parser)
        parser.add_argument("--seed", type=int, default=0, help="S of all seeds: of the streams and of the agent.")
        parser.add_argument(
            "--name", type=str, default="aexp", help="Name of the run: its folder is runs/NAME/version_N."
        )
        threads = "Threads of one torch operation; null for torch's own choice."
        parser.add_argument("--num_threads", type=int | None, default=None, help=threads)
        compare = "Evaluates before training, too, so that the summary says what was learned."
        parser.add_argument("--compare", type=bool, default=False, help=compare)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the callbacks and the links."""
        parser.add_lightning_class_args(EpisodeStatistics, "statistics")
        parser.add_lightning_class_args(Throughput, "throughput")
        parser.add_lightning_class_args(Plots, "plots")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"data": {"class_path": "lightning_modules.ExperienceDataModule"}})
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.save_on_exception": True})
        parser.set_defaults({"trainer.enable_model_summary": False, "trainer.num_sanity_val_steps": 0})
        parser.link_arguments("seed", "seed_everything")
        parser.link_arguments("seed", "model.init_args.seed")
        parser.link_arguments(
            "data.specs", "model.init_args.specs", apply_on="instantiate", compute_fn=self._specs_for_model
        )

    def _specs_for_model(self, specs: Mapping[str, EnvSpec]) -> Mapping[str, EnvSpec]:
        """Hands specs on: as they are to a model that grows, all of them, made, to others."""
        model = pydoc.locate(self._get(self.config, "model").class_path)
        return specs if isinstance(model, type) and issubclass(model, Growing) else dict(specs)

    def _parse_ckpt_path(self) -> None:
        """Takes no arguments from a checkpoint: the configuration says them all."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; what is wrong is said in one line, which knows the options."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            parsers = [parser, *self._subcommand_parsers.values()]
            options = [option for one in parsers for option in one._option_string_actions]
            raise SpecError(in_one_line(error, options)) from error

    def before_instantiate_classes(self) -> None:
        """Hands the seed on, sets the number of threads, and looks whether the checkpoint is there before a run begins.

        A link would hand the seed on, too, but jsonargparse 4.53 then takes no functions within the arguments of the data.
        """
        data = self._get(self.config, "data").get("init_args", {})
        if "seed" in data:
            data["seed"] = self._get(self.config, "seed")
        path = self._get(self.config, "ckpt_path")
        if path is not None and path not in ("best", "last", "hpc", "registry") and not Path(path).exists():
            raise SpecError(f"--ckpt_path: no such file {path!r}")
        self.began = time.monotonic()
        threads = self._get(self.config, "num_threads")
        if threads is not None:
            torch.set_num_threads(threads)

    def instantiate_classes(self) -> None:
        """Builds everything; an error of a class of ours comes as one of several alternatives of a type."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            if isinstance(error, AexpError) or not str(error).startswith("Does not validate against any"):
                raise
            raise SpecError(in_one_line(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer with a logger in the run's folder and the callbacks."""
        options = {**self._get(self.config_init, "trainer"), **kwargs}
        fits = self.subcommand == "fit"
        if options["logger"] is None or options["logger"] is True:
            root = os.path.join(options["default_root_dir"] or "", "runs")
            name = self._get(self.config_init, "name")
            options["logger"] = TensorBoardLogger(root, name=name, default_hp_metric=False) if fits else False
        given = options["callbacks"] or []
        options["callbacks"] = [*(given if isinstance(given, list) else [given])]
        options["callbacks"] += self._callbacks(options)
        return self.trainer_class(**options)

    def _callbacks(self, options: dict[str, Any]) -> list[Callback]:
        self.throughput: Throughput = self._get(self.config_init, "throughput")
        self.checkpoint: ModelCheckpoint = self._get(self.config_init, "checkpoint")
        self.interrupt = Interrupt()
        own = [self._get(self.config_init, "statistics"), self.throughput, self._get(self.config_init, "plots")]
        given = options["callbacks"]
        if options["enable_progress_bar"] is not False and not _any(given, ProgressBar):
            own.append(Progress())
        if self.subcommand == "fit":
            own.append(self.interrupt)
        if self.subcommand == "fit" and not options["fast_dev_run"]:
            config = self.config[self.subcommand]
            own.append(SaveConfigCallback(self._parser(self.subcommand), config, overwrite=True))
            if options["enable_checkpointing"] is not False and not _any(given, ModelCheckpoint):
                own.append(self.checkpoint)
        return own

    def fit(self, **kwargs: Any) -> None:
        """Trains, evaluates greedily, and sums up."""
        compares = self._get(self.config, "compare") and not kwargs.get("ckpt_path") and not self.trainer.fast_dev_run
        try:
            before = self._evaluate() if compares else {}
            with self.interrupt:
                self.trainer.fit(**kwargs)
        except SystemExit:
            if self.trainer.state.status == TrainerStatus.INTERRUPTED:
                self._say_where("interrupted, resume with --ckpt_path")
                raise KeyboardInterrupt from None
            raise
        if self.trainer.state.status == TrainerStatus.INTERRUPTED:
            raise KeyboardInterrupt
        env_steps, run = dict(self.throughput.env_steps), self.trainer.log_dir
        fitted = time.monotonic() - self.began
        scores = self._evaluate()
        if not self.trainer.is_global_zero:
            return
        if scores or env_steps:
            specs = self.datamodule.specs
            known = list(specs) if isinstance(specs, dict) else sorted(env_steps)
            rich.get_console().print(_summary(known, scores, env_steps, before))
        times = f"trained in {clock(fitted)}, evaluated in {clock(time.monotonic() - self.began - fitted)}"
        _print(times)
        if not self.trainer.fast_dev_run:
            _print(f"run folder: {run}")

    def _evaluate(self) -> dict[str, float]:
        """Runs the test streams, or the validation streams where there are none; with the best weights, if there are."""
        trainer, best = self.trainer, self.checkpoint.best_model_path
        splits = self.datamodule.splits
        split = next((split for split in ("test", "val") if split in splits), None)
        if split is None:
            return {}
        run = trainer.test if split == "test" else trainer.validate
        chosen = best if self.checkpoint.monitor and best and not trainer.fast_dev_run else None
        run(self.model, datamodule=self.datamodule, ckpt_path=chosen, verbose=False)
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        return {name.removeprefix(f"{split}/"): value for name, value in scores.items() if name.startswith(f"{split}/")}

    def _say_where(self, what: str) -> None:
        last = self.checkpoint.last_model_path or self.checkpoint.best_model_path
        _print(f"{what} {last}" if last else "interrupted before there was anything to keep")


def _any(callbacks: list[Callback], kind: type) -> bool:
    return any(isinstance(callback, kind) for callback in callbacks)


def _summary(
    sources: list[str], scores: dict[str, float], env_steps: dict[str, int], before: dict[str, float] | None = None
) -> Table:
    """Returns a table with a row per source; where there are scores from before training, both."""
    rows: dict[str, dict[str, float]] = {source: {} for source in sources}
    for name, value in scores.items():
        source, metric = _place_of(name)
        rows.setdefault(source, {})[metric] = value
    past = {_place_of(name): value for name, value in (before or {}).items()}
    columns = [
        metric for metric in ("return", "accuracy", "mae", "solved") if any(metric in row for row in rows.values())
    ]
    title = "Greedy evaluation, before and after training" if before else "Greedy evaluation"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("source")
    for column in (*columns, *(["env steps"] if env_steps else [])):
        table.add_column(column, justify="right")
    for source, row in rows.items():
        cells = []
        for column in columns:
            old = f"{compact(past[source, column])} → " if (source, column) in past else ""
            cells.append(old + compact(row[column]) if column in row else "")
        steps = [f"{env_steps[source]:,}" if source in env_steps else ""] if env_steps else []
        table.add_row(source, *cells, *steps)
    return table


def _place_of(name: str) -> tuple[str, str]:
    """Returns the source and the metric of the name of a score."""
    source, _, metric = name.partition("/dataloader_idx_")[0].rpartition("/")
    return source, metric


def _print(text: str) -> None:
    rich.get_console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
