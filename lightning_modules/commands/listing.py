"""aexp list: names, tags, what they need, and whether they open here."""

import argparse
from collections import Counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aexp_torch.catalog import DOMAINS, Entry, Filter, entries, unmatched
from aexp_torch.catalog.entry import in_bytes

__all__ = ["add_arguments", "print_summary", "run", "size_text"]

SINGLE = 3  # needs of one entry each that are printed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the filters."""
    tags = "TAG is a path (image, text.classification), key:value (language:en), or several with commas between"
    parser.add_argument(
        "--tags", nargs="+", action="extend", metavar="TAG", help=f"only what has one of these tags. {tags}"
    )
    parser.add_argument("--exclude", nargs="+", action="extend", default=[], metavar="TAG", help="not what has a tag")
    parser.add_argument("--installed", action="store_true", help="only what opens here and now, without a download")
    parser.epilog = f"Tags begin with a domain: {', '.join(DOMAINS)}."
    parser.add_argument("--names", action="store_true", help="names alone, one a line")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Prints a table of the entries that the filters admit."""
    known = entries()
    include, exclude = _items(arguments.tags), _items(arguments.exclude) or []
    unmatched([*(include or []), *exclude], known, raises=True)
    wanted = Filter(include, exclude)
    chosen = sorted((entry for entry in known if wanted.admits(entry)), key=lambda entry: entry.name.lower())
    reasons = {entry.name: entry.why_not() for entry in chosen}
    if arguments.installed:
        chosen = [entry for entry in chosen if reasons[entry.name] is None]
    if arguments.names:
        for entry in chosen:
            console.print(entry.name, markup=False, highlight=False, soft_wrap=True)
        return 0
    if chosen:
        console.print(_table(chosen, reasons))
    print_summary(chosen, f"{len(chosen):,} of {len(known):,} entries", console)
    return 0


def print_summary(chosen: list[Entry], how_many: str, console: Console) -> None:
    """Prints how many entries open here, and what the others need, the commonest first."""
    counts = Counter(_need(entry) for entry in chosen)
    console.print(f"{how_many}, {counts.pop(None, 0):,} open here", highlight=False)
    single = [need for need, count in counts.items() if count == 1]
    if len(single) > SINGLE:
        for need in single:
            del counts[need]
    for need, count in counts.most_common():
        console.print(f"{count:,}: {need}", markup=False, highlight=False)
    if len(single) > SINGLE:
        console.print(f"{len(single):,}: need each something else, which `aexp show NAME` says", highlight=False)


def _need(entry: Entry) -> str | None:
    """Says what is missing; of downloads only that, since each has its own size and licence."""
    reason = entry.why_not()
    return "need a download, which download=True allows" if reason and entry.why_not(download=True) is None else reason


def _items(given: list[str] | None) -> list[str] | None:
    return None if given is None else [item for text in given for item in text.split(",") if item]


def _table(chosen: list[Entry], reasons: dict[str, str | None]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("name", overflow="fold", ratio=5)
    table.add_column("tags", overflow="fold", ratio=5)
    table.add_column("extra", ratio=2)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for entry in chosen:
        tags = ", ".join(tag for tag in entry.tags if ":" not in tag)
        here = Text("yes", "green") if reasons[entry.name] is None else Text(_in_a_word(entry), "yellow")
        table.add_row(Text(entry.name, "bold"), tags, entry.extra or "", size_text(entry.size), here)
    return table


def _in_a_word(entry: Entry) -> str:
    return "download" if entry.why_not(download=True) is None else "no"


def size_text(size: int | None) -> str:
    """Writes a number of bytes for people; nothing where it is unknown."""
    return "" if size is None else in_bytes(size)
