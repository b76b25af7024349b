"""How far does one agent get in every task of CommAI-env and of the General AI Challenge, each from a cold start?

For each task a `RecurrentPPO` with its default settings is trained by `Trainer.fit` on 128 conversations about that task
alone, and looked at before, and every 20 seconds of processor time: 32 new conversations with other seeds, the likeliest
answer each time, no learning (given up after 2,000 symbols without a solved instance). The criterion is the Challenge's: an
instance is solved by ten right answers in a row within its soft limit (where a task has a single question: by the right
answer), a task by five solved instances one after the other. Training ends when all 32 conversations meet it and have
solved 95 % of their instances, or the time is over.

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
SEED_OF_LOOKS = 10_000
UNSCHEDULED = {"commai": {"again": {"type": "tasks.competition.repetition.RepeatWhatISay2Task"}}}
FAMILIES = {"micro": "Challenge, micro-tasks", "mini": "Challenge, mini-tasks", "commai": "CommAI-env"}


def tasks() -> dict[str, dict[str, Any]]:
    """Returns `{name of the task: arguments of a CommAIEnv about it alone}`."""
    found = {}
    for family in FAMILIES:
        config = PRESETS[family]()
        for task in (config["tasks"] | UNSCHEDULED.get(family, {})).values():
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

    def __init__(self, source: dict[str, Any], seconds: float, every: float):
        self.source, self.seconds, self.every, self.history = source, seconds, every, []
        self.began, self.watched = time.process_time(), 0.0
        self.clock, self.first = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: Trainer, agent: LightningModule, *_: Any) -> None:
        trained = time.process_time() - self.began - self.watched
        if trained >= min(self.seconds, self.every * len(self.history)):
            self._look(trainer, agent, trained)

    def on_train_start(self, trainer: Trainer, agent: LightningModule) -> None:
        self.first = agent.env_steps
        self._look(trainer, agent, 0.0)

    def _look(self, trainer: Trainer, agent: LightningModule, trained: float) -> None:
        begin = time.process_time()
        found = look(agent, self.source)
        self.watched += time.process_time() - begin
        self.history.append({"seconds": round(trained, 1), "symbols": agent.env_steps - self.first, **found})
        if (found["passed"] == 1.0 and found["solved"] > 0.95) or trained >= self.seconds:
            trainer.should_stop = True


def train(
    source: dict[str, Any], seconds: float, every: float = 20.0, seed: int = 0, agent: RecurrentPPO | None = None
) -> dict[str, Any]:
    """Trains an agent on a task; returns what every look found.

    Args:
      source: arguments of CommAIEnv.
      seconds: of processor time that training may take.
      every: seconds from one look to the next.
      seed: of the agent and of the conversations.
      agent: goes on to learn; None for a new one.
    """
    env = ae.CommAIEnv(**source, num_envs=LANES, name="task")
    data = ExperienceDataModule(env, num_steps=STEPS, steps_per_epoch=10**6, seed=seed)
    looks = Looks(source, seconds, every)
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
    trainer.fit(agent or RecurrentPPO(data.specs, seed=seed), data)
    return {"clock": round(time.perf_counter() - looks.clock, 1), "looks": looks.history}


def markdown(results: dict[str, Any]) -> str:
    """Returns the tables of all tasks."""
    alone, gradual, machine = results["alone"], results["gradual"], results["machine"]
    met = sum(task["looks"][-1]["passed"] == 1.0 for task in alone.values())
    text = [
        "# How far an agent gets",
        "Written by `python -m benchmarks.commai_learning`, which says how it was measured. A conversation meets the"
        " criterion when five instances in a row were solved within 10,000 symbols; the tables say how many of 32 did, and"
        " after how many symbols (median).",
        f"A new agent for each task: all 32 did in {met} of {len(alone)} tasks."
        f" {machine['date']}, {machine['processor']}, one"
        " thread; seconds are of processor time.",
        "![What was solved over time](curves.png)",
    ]
    for family, title in FAMILIES.items():
        lines = [f"## {title}", "", "| task | instances solved | meet the criterion | symbols | trained on | in |"]
        lines.append("|---|---|---|---|---|---|")
        for name, task in alone.items():
            if task["family"] == family:
                last = task["looks"][-1]
                trained = f"{last['symbols']:,} symbols | {last['seconds']:.0f} s"
                lines.append(f"| {name} | {_solved(last)} | {last['passed'] * 32:.0f} | {_took(last)} | {trained} |")
        text.append("\n".join(lines))
    if gradual:
        lines = [
            "## One agent, one task after the other",
            "",
            "What it solves of a task before it has learned anything of it",
        ]
        lines[-1] += " comes from the tasks before.\n"
        lines += [
            "| task | solved before | solved after | meet the criterion | trained on | in |",
            "|---|---|---|---|---|---|",
        ]
        for name, task in gradual.items():
            first, last = task["looks"][0], task["looks"][-1]
            trained = f"{last['symbols']:,} symbols | {last['seconds']:.0f} s"
            lines.append(f"| {name} | {_solved(first)} | {_solved(last)} | {last['passed'] * 32:.0f} | {trained} |")
        text.append("\n".join(lines))
    return "\n\n".join(text) + "\n"


def _solved(look: dict[str, Any]) -> str:
    return f"{look['solved']:.1%} of {look['finished']:,}" if look["finished"] else "none ended"


def _took(look: dict[str, Any]) -> str:
    return "" if look["symbols_to_pass"] is None else f"{look['symbols_to_pass']:,}"


def draw(path: Path, found: dict[str, Any]) -> None:
    """Draws what was solved over time, a panel for each family; tasks that were never solved are grey lines at 0."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    families = [family for family in FAMILIES if any(task["family"] == family for task in found.values())]
    figure = Figure(figsize=(9, 3.4 * len(families)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, family in zip(figure.subplots(len(families), 1, squeeze=False)[:, 0], families, strict=True):
        best = 0
        for name, task in found.items():
            looks = task["looks"]
            if task["family"] != family:
                continue
            x, y = [look["symbols"] / 1e6 for look in looks], [100 * look["solved"] for look in looks]
            known = max(y) >= 5
            best += known
            style = {"marker": ".", "label": name} if known else {"color": "0.8", "zorder": 0}
            axes.plot(x, y, **style, linewidth=1.5 if known else 0.8)
        axes.set(title=FAMILIES[family], ylabel="instances solved (%)", ylim=(-3, 103))
        if best:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("symbols heard in training (millions)")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trains on every task that is asked for and has no result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = tasks()
    parser.add_argument("tasks", nargs="*", help="names of tasks; all by default", metavar="TASK")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time for each task")
    parser.add_argument("--every", type=float, default=20.0, help="processor time from one look to the next")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gradual", action="store_true", help="one agent learns all tasks, one after the other")
    parser.add_argument("--out", type=Path, default=Path("docs/commai_learning"))
    options = parser.parse_args()
    if unknown := [name for name in options.tasks if name not in known]:
        parser.error(f"expected names of tasks, {', '.join(known)}; got {', '.join(unknown)}")
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    results = json.loads(path.read_text()) if path.exists() else {"alone": {}, "gradual": {}}
    results["machine"], done = describe(), results["gradual" if options.gradual else "alone"]
    wanted = [name for name in options.tasks or known if options.tasks or name not in done]
    agent = RecurrentPPO(ae.CommAIEnv("micro", name="task").specs, seed=options.seed) if options.gradual else None
    with Progress() as progress:
        bar = progress.add_task("", total=len(wanted))
        for name in wanted:
            progress.update(bar, description=name)
            source = dict(known[name])
            family = source.pop("family")
            done[name] = {
                "family": family,
                **train(source, options.seconds, options.every, options.seed, agent),
            }
            path.write_text(json.dumps(results, indent=1) + "\n")
            (options.out / "results.md").write_text(markdown(results))
            draw(options.out / "curves.png", results["alone"])
            progress.console.print(name, done[name]["looks"][-1])
            progress.advance(bar)


if __name__ == "__main__":
    main()
