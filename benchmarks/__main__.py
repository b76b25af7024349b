"""Measures aexp_torch beside its peers and the limit, in one run.

Writes JSON and a chart per question into --out, and results.md over all questions that are there.
"""

import argparse
import dataclasses
import importlib
import re
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.contest import Contest, hold
from benchmarks.machine import describe
from benchmarks.questions import QUESTIONS
from benchmarks.report import NAME, section, write

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Runs the questions that are asked for."""
    options = parse(arguments)
    only = re.compile(options.only)
    modules = {name: importlib.import_module(QUESTIONS[name]) for name in options.names or QUESTIONS}
    asked = {name: choose(module.contests(), only) for name, module in modules.items()}
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:60.60}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        count = sum(len(contest.contestants) for contests in asked.values() for contest in contests)
        task = progress.add_task("", total=count * (options.turns + 2))
        for name, contests in asked.items():

            def tell(text: str, name: str = name) -> None:
                progress.update(task, description=f"{name}: {text}", advance=1)

            result = {
                "question": name,
                "text": modules[name].__doc__,
                "turns": options.turns,
                "seconds": options.seconds,
                "machine": describe(),
                "contests": [hold(contest, options.turns, options.seconds, tell) for contest in contests],
            }
            write(options.out, name, result, QUESTIONS)
            Console().print(Markdown(section(result)))
    console.print(f"Wrote {options.out / NAME}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    heads = ", ".join(QUESTIONS)
    parser.add_argument("names", nargs="*", metavar="name", help=f"questions: {heads}; all by default")
    parser.add_argument("--turns", type=int, default=9, help="turns of each contestant (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="that a turn is measured (%(default)s)")
    parser.add_argument("--only", default="", help="a regular expression: only contestants whose name has it")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in QUESTIONS]
    if unknown or options.turns < 1 or options.seconds <= 0:
        parser.error(
            f"expected names of {heads}, --turns of at least 1 and --seconds above 0, got {unknown or options}"
        )
    return options


def choose(contests: list[Contest], only: re.Pattern) -> list[Contest]:
    """Leaves out contestants, and figures that are made of none but these."""
    chosen = []
    for contest in contests:
        contestants = [entry for entry in contest.contestants if only.search(entry.name)]
        names = {entry.name for entry in contestants}
        figures = [figure for figure in contest.figures if figure.names() <= names]
        if contestants:
            chosen.append(dataclasses.replace(contest, contestants=contestants, figures=figures))
    return chosen


if __name__ == "__main__":
    main()
