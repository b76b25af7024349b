"""How far does one agent get in every task of CommAI-env and of the General AI Challenge, each from a cold start?

For each task a `RecurrentPPO` with its default settings is trained by `Trainer.fit` on 128 conversations about that task
alone, and looked at every 20 seconds of processor time: 32 new conversations with other seeds, the likeliest answer each
time, no learning (given up after 2,000 symbols without a solved instance). The criterion is the Challenge's: an instance is
solved by ten right answers in a row within its soft limit (where a task has a single question: by the right answer), a task
by five solved instances one after the other. Training ends when all 32 conversations meet it, or the time is over.

Writes results.json, results.md and a picture of the curves into --out. Tasks that are in results.json are left out, so that
a run that was stopped goes on.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.progress import Progress

import aexp_torch as ae
from aexp_torch.commai.presets import PRESETS
from benchmarks.machine import describe
from lightning_modules import ExperienceDataModule
from lightning_modules.agents import RecurrentPPO

__all__ = ["tasks", "train"]

LANES, STEPS = 128, 32
IN_A_ROW = 5  # solved instances
SYMBOLS = 10_000  # that a conversation may take to solve them
BETWEEN = 20.0  # seconds from one look to the next
SEED_OF_LOOKS = 10_000
FAMILIES = {"micro": "Challenge, micro-tasks", "mini": "Challenge, mini-tasks", "commai": "CommAI-env"}


def tasks() -> dict[str, dict[str, Any]]:
    """Returns `{name of the task: arguments of a CommAIEnv about it alone}`."""
    found = {}
    for family in FAMILIES:
        config = PRESETS[family]()
        for task in config["tasks"].values():
            arguments = {"mode": "bit", "serializer": "identity"} if family == "commai" else {"mode": "byte"}
            scheduler = {"type": "core.scheduler.ConsecutiveTaskScheduler"}
            scheduler["args"] = {"tasks": ["task"], "success_threshold": IN_A_ROW}
            alone = {"worlds": config["worlds"], "tasks": {"task": task}, "scheduler": scheduler}
            found[task["type"].rpartition(".")[2]] = {"config": alone, **arguments, "family": family}
    return found


def look(agent: RecurrentPPO, source: dict[str, Any], lanes: int = 32) -> dict[str, Any]:
    """Has conversations without learning; returns how many met the criterion, and after how many symbols."""
    env = ae.CommAIEnv(**source, num_envs=lanes, seed=SEED_OF_LOOKS, name="task")
    agent.forget_evaluation()
    took = torch.full((lanes,), SYMBOLS)
    for step, timestep in zip(range(SYMBOLS), env, strict=False):
        timestep.reply(agent.greedy(timestep))
        took[timestep.last()] = took[timestep.last()].clamp(max=step)
        results = next(iter(env.results.tasks.values()))
        if (took <= step).all() or (step == SYMBOLS // 5 and not results.solved):
            break
    solved = took < SYMBOLS
    return {
        "passed": round(solved.float().mean().item(), 4),
        "symbols_to_pass": int(took[solved].median()) if solved.any() else None,
        "solved": round(results.solved / max(1, results.finished), 4),
        "finished": results.finished,
    }


class Looks(Callback):
    """Looks now and then; ends the training when the criterion is met or the time is over."""

    def __init__(self, source: dict[str, Any], seconds: float):
        self.source, self.seconds, self.history = source, seconds, []
        self.began, self.watched = time.process_time(), 0.0
        self.clock = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, agent: LightningModule, *_: Any) -> None:
        trained = time.process_time() - self.began - self.watched
        if trained < BETWEEN * (len(self.history) + 1) and trained < self.seconds:
            return
        begin = time.process_time()
        found = look(agent, self.source)
        self.watched += time.process_time() - begin
        self.history.append({"seconds": round(trained, 1), "symbols": agent.env_steps, **found})
        if (found["passed"] == 1.0 and found["solved"] > 0.95) or trained >= self.seconds:
            trainer.should_stop = True


def train(source: dict[str, Any], seconds: float, seed: int = 0) -> dict[str, Any]:
    """Trains an agent on a task; returns what every look found.

    Args:
      source: arguments of CommAIEnv.
      seconds: of processor time that training may take.
      seed: of the agent and of the conversations.
    """
    env = ae.CommAIEnv(**source, num_envs=LANES, name="task")
    data = ExperienceDataModule(env, num_steps=STEPS, steps_per_epoch=10**6, seed=seed)
    looks = Looks(source, seconds)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=[looks],
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(RecurrentPPO(data.specs, seed=seed), data)
    return {"clock": round(time.perf_counter() - looks.clock, 1), "looks": looks.history}


def main() -> None:
    """Trains on every task that is asked for and has no result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = tasks()
    parser.add_argument("tasks", nargs="*", help="names of tasks; all by default", metavar="TASK")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time for each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/commai_learning"))
    options = parser.parse_args()
    if unknown := [name for name in options.tasks if name not in known]:
        parser.error(f"expected names of tasks, {', '.join(known)}; got {', '.join(unknown)}")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"tasks": {}}
    results["machine"] = describe()
    wanted = [name for name in options.tasks or known if options.tasks or name not in results["tasks"]]
    with Progress() as progress:
        bar = progress.add_task("", total=len(wanted))
        for name in wanted:
            progress.update(bar, description=name)
            source = dict(known[name])
            family = source.pop("family")
            results["tasks"][name] = {"family": family, **train(source, options.seconds, options.seed)}
            path.write_text(json.dumps(results, indent=1) + "\n")
            progress.console.print(name, results["tasks"][name]["looks"][-1])
            progress.advance(bar)


if __name__ == "__main__":
    main()
