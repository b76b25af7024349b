"""aexp show: what an entry is, what it promises, and what a sample looks like."""

import argparse
import ast
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aexp_torch import Env, EnvSpec, TimeStep
from aexp_torch.catalog import Entry, find
from aexp_torch.errors import AexpError, EndOfStream, SpecError
from aexp_torch.specs.env_spec import describe
from aexp_torch.specs.tree import flatten, path_name
from lightning_modules.commands.listing import size_text
from lightning_modules.commands.sample import Leaf, leaves_of
from lightning_modules.commands.terminal import draw_leaf

__all__ = ["add_arguments", "run"]

PICTURED = 4  # rows of a minibatch in a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the name and how to look at it."""
    parser.add_argument("name", metavar="NAME", help="of an entry, as `aexp list` shows it")
    parser.add_argument(
        "options", nargs="*", metavar="OPTION=VALUE", help="for what is built: split=test, num_envs=4, mode=delayed"
    )
    parser.add_argument("--steps", type=int, default=0, help="random actions before the sample is taken (default: 0)")
    parser.add_argument("--row", type=int, default=0, help="the row of the minibatch, the lane (default: 0)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="draw the sample into a file, too: sample.png")
    parser.add_argument("--download", action="store_true", help="download what is not here")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Prints what is known of an entry, opens it, and prints a sample."""
    entry = find(arguments.name)
    console.print(_facts(entry))
    reason = entry.why_not(arguments.download)
    if reason is not None and entry.why_not(download=True) is None:
        terms = ", ".join(part for part in (size_text(entry.size), entry.licence) if part)
        what = f" ({terms})" if terms else ""
        raise SpecError(f"{entry.name} has to be downloaded first{what}: aexp show {entry.name} --download")
    if reason is not None:
        raise SpecError(f"{entry.name} cannot be opened here: {reason}")
    options = _options(arguments.options)
    if entry.download and arguments.download:
        options["download"] = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of providers about themselves
        env = _built(entry, options)
        try:
            timestep = _stepped(env, arguments.steps)
            spec = env.specs[timestep.source]
            console.print(_promises(spec))
            rows = len(timestep.step_type)
            if not 0 <= arguments.row < rows:
                raise SpecError(f"--row: expected a row in 0..{rows - 1}, got {arguments.row}")
            _print_sample(leaves_of(spec, timestep, arguments.row), timestep, arguments.row, console)
            if options.get("render_mode") == "ansi":
                console.print(env.render(arguments.row), markup=False, highlight=False, soft_wrap=True)
            if arguments.save is not None:
                _save(spec, timestep, arguments.row, f"{entry.name}: {entry.about}", arguments.save, console)
        finally:
            env.close()
    return 0


def _options(given: list[str]) -> dict[str, Any]:
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise SpecError(f"show: expected OPTION=VALUE, got {text!r}")
        try:
            options[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[name] = value
    return options


def _built(entry: Entry, options: dict[str, Any]) -> Env:
    try:
        return entry.make(**options)
    except TypeError as error:  # an option that the factory does not have
        raise SpecError(f"{entry.name}: {error}") from error


def _stepped(env: Env, steps: int) -> TimeStep:
    """Returns the timestep after some random actions."""
    try:
        timestep = env.reset()
        for _ in range(steps):
            timestep = env.step(env.sample_action(timestep.source))
    except EndOfStream:
        raise SpecError(f"--steps: expected less than the stream has, it ended before step {steps}") from None
    except AexpError:
        raise
    except Exception as error:
        raise SpecError(f"{env.name}: {type(error).__name__}: {error}") from error
    return timestep


def _facts(entry: Entry) -> Table:
    needs = entry.why_not() or "nothing more: it opens here"
    facts = {
        "name": entry.name,
        "about": entry.about,
        "tags": ", ".join(entry.tags),
        "instruction": entry.instruction,
        "version": str(entry.version) if entry.version else "",
        "licence": entry.licence or "unknown",
        "size": size_text(entry.size),
        "extra": f"aexp-torch[{entry.extra}]" if entry.extra else "",
        "needs": needs,
        "source": entry.source,
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            table.add_row(name, Text(fact, "bold" if name == "name" else ""))
    return table


def _promises(spec: EnvSpec) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (f"B = {spec.num_envs}", "key", "spec of one row", "modality"):
        table.add_column(column, overflow="fold", min_width=28 if column == "key" and _is_long(spec) else None)
    for side, tree in (("observation", spec.observation), ("action", spec.action)):
        kinds = dict(flatten(spec.modalities[side]))
        rows = [
            (path_name(path), describe(leaf), _modality(kinds[path]))
            for path, leaf in flatten(tree)
            if leaf is not None
        ]
        for number, row in enumerate(rows or [("", "none is due", "")]):
            table.add_row(side if number == 0 else "", *(Text(cell) for cell in row))
    return table


def _is_long(spec: EnvSpec) -> bool:
    paths = [path for tree in (spec.observation, spec.action) for path, _ in flatten(tree)]
    return any(len(path_name(path)) > 20 for path in paths)


def _modality(modality: Any) -> str:
    parts = [modality.structure, modality.representation, modality.context, "optional" if modality.optional else ""]
    return ", ".join(part for part in parts if part)


def _print_sample(leaves: list[Leaf], timestep: TimeStep, row: int, console: Console) -> None:
    kind = ("FIRST", "MID", "LAST")[int(timestep.step_type[row])]
    reward = float(timestep.reward[row])
    console.print(f"sample: row {row}, {kind}, reward {reward:.4g}\n", highlight=False)
    for leaf in leaves:
        console.print(draw_leaf(leaf, console), highlight=False)


def _save(spec: EnvSpec, timestep: TimeStep, row: int, title: str, path: Path, console: Console) -> None:
    from lightning_modules.commands.figure import save_figure

    num_rows = len(timestep.step_type)
    wanted = np.arange(row, min(row + PICTURED, num_rows))
    rows = [leaves_of(spec, timestep, int(number)) for number in wanted]
    if len(rows[0]) > 3:  # many leaves: one row is enough
        rows = rows[:1]
    try:
        save_figure(rows, title, path)
    except ValueError as error:  # an ending that Matplotlib does not know
        raise SpecError(f"--save: {error}") from error
    console.print(f"saved {path}", markup=False, highlight=False, soft_wrap=True)
