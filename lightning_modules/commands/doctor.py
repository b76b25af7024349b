"""aexp doctor: the machine, what is installed, what is missing or broken, and what to type."""

import argparse
import os
import platform
import subprocess
import sys
from importlib import metadata

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aexp_torch.catalog import entries
from aexp_torch.catalog.entry import in_bytes
from aexp_torch.catalog.registry import broken_packages
from lightning_modules.commands.listing import print_summary

__all__ = ["add_arguments", "run"]

PACKAGE = "aexp-torch"
LITTLE = 256e6  # bytes of shared memory below which workers may run out of it
PATIENCE = 120.0  # seconds for one import


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the slow part."""
    parser.add_argument(
        "--imports", action="store_true", help="import every provider that is installed, each in a process of its own"
    )


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Prints all; the exit code is 2 where something that is needed is missing, or something installed is broken."""
    console.print(_machine())
    wrong = _print_packages(console)
    known = entries()
    print_summary(known, f"catalogue: {len(known):,} entries", console)
    wrong |= _print_broken(console)
    if arguments.imports:
        wrong |= _print_imports(console)
    return 2 if wrong else 0


def _machine() -> Table:
    import joblib

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Python", f"{platform.python_version()} at {sys.executable}")
    table.add_row("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    table.add_row("cores", f"{joblib.cpu_count()} of {os.cpu_count()} may be used")
    table.add_row("GPU", _gpus())
    table.add_row("shared memory", _shared_memory())
    return table


def _gpus() -> str:
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        return f"none that torch sees ({f'it was built for {built}' if built else 'it was built for the CPU alone'})"
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(f"{properties.name}, {in_bytes(properties.total_memory)}")
    return "; ".join(found)


def _shared_memory() -> str:
    try:
        state = os.statvfs("/dev/shm")
    except OSError:
        return "no /dev/shm"
    free, total = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
    advice = ": workers may need more (containers: --shm-size=1g)" if free < LITTLE else ""
    return f"{in_bytes(free)} of {in_bytes(total)} free{advice}"


def _print_packages(console: Console) -> bool:
    """Prints the core and each extra; tells whether something of the core is missing."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in metadata.requires(PACKAGE) or []]
        extras = metadata.metadata(PACKAGE).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        console.print(f"{PACKAGE} is not installed as a package: its extras are not known. pip install -e .\n")
        return True
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("extra", "state", "packages"):
        table.add_column(column, overflow="fold")
    advice, incomplete = {}, False
    for extra in ["", *extras]:
        wanted = [one for one in required if _belongs(one, extra)]
        problems = [problem for one in wanted for problem in _problems(one, set())]
        state = Text("missing" if problems else "complete", "yellow" if problems else "green")
        table.add_row(extra or "core", state, "; ".join(dict.fromkeys(problems)) or ", ".join(map(_version, wanted)))
        if problems:
            advice[extra] = f'pip install "{PACKAGE}[{extra}]"' if extra else f"pip install {PACKAGE}"
        incomplete |= bool(problems) and not extra
    console.print(table)
    for command in advice.values():
        console.print(f"to complete: {command}", markup=False, highlight=False, soft_wrap=True)
    console.print()
    return incomplete


def _belongs(requirement, extra: str) -> bool:
    """Tells whether a requirement is one of an extra, and not one of the core."""
    if requirement.marker is None:
        return not extra
    return requirement.marker.evaluate({"extra": extra}) and (
        not extra or not requirement.marker.evaluate({"extra": ""})
    )


def _problems(requirement, seen: set[str]) -> list[str]:
    """Says what is missing or does not fit, below the extras that a requirement asks for as well."""
    from packaging.requirements import Requirement

    if str(requirement) in seen:
        return []
    seen.add(str(requirement))
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return [f"{requirement.name} is missing"]
    found = []
    if not requirement.specifier.contains(installed, prereleases=True):
        found.append(f"{requirement.name} is {installed}, expected {requirement.specifier}")
    below = [Requirement(line) for line in metadata.requires(requirement.name) or []] if requirement.extras else []
    for extra in requirement.extras:
        found += [problem for one in below if _belongs(one, extra) for problem in _problems(one, seen)]
    return found


def _version(requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras} {metadata.version(requirement.name)}"


def _print_broken(console: Console) -> bool:
    """Prints the packages whose entries could not be had."""
    broken = broken_packages()
    for package, reason in broken.items():
        console.print(f"broken package: {package} raised {reason}", markup=False, highlight=False, soft_wrap=True)
    return bool(broken)


def _print_imports(console: Console) -> bool:
    """Imports what is installed and prints what fails."""
    modules = sorted(
        {module for entry in entries() if entry.why_not(download=True) is None for module in entry.modules}
    )
    failed = False
    for module in modules:
        reason = _import_fails(module)
        failed |= reason is not None
        console.print(f"import {module}: {reason or 'works'}", markup=False, highlight=False, soft_wrap=True)
    return failed


def _import_fails(module: str) -> str | None:
    command = [sys.executable, "-W", "ignore", "-c", f"import {module}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"takes more than {PATIENCE:.0f} s"
    if ended.returncode == 0:
        return None
    said = ended.stderr.strip().splitlines()
    return f"fails, {said[-1] if said else f'exit code {ended.returncode}'}"
