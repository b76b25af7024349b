#!/usr/bin/env python
"""Writes what is generated in docs/: outputs and contents of components.md, outputs and tasks of commai.md, and the README's
picture.

Every block of Python in components.md and commai.md is run, in order, and the block of text below it becomes what it prints.
The first block makes the names that the others use; what another block makes, no other sees. A block that prints nothing
needs no text. `scripts/docs.py --check` writes nothing, and fails where something would change.
"""

import contextlib
import difflib
import importlib
import io
import re
import sys
from pathlib import Path

import torch

import aexp_torch as ae
from aexp_torch.commai import Task
from aexp_torch.commai.presets import PRESETS

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(?P<level>##+) `?(?P<title>[^`\n]+)`?$", re.MULTILINE)
CONTENTS = re.compile(r"(?<=<!-- contents -->\n).*?(?=<!-- end of contents -->)", re.DOTALL)
TASKS = re.compile(r"(?<=<!-- tasks -->\n).*?(?=<!-- end of tasks -->)", re.DOTALL)
FAMILIES = {  # modules of tasks, and the preset whose tasks they are, or "" for all that they export
    "repetition": ("CommAI-env: repetition", ""),
    "counting": ("CommAI-env: counting", ""),
    "objects": ("CommAI-env: objects and properties", ""),
    "navigation": ("CommAI-env: navigation in the grid world", ""),
    "micro": ("General AI Challenge: micro-tasks", "micro"),
    "mini": ("General AI Challenge: mini-tasks", "mini"),
    "nano": ("Later tasks of CommAI-env: nano", "nano"),
    "small_comp": ("Later tasks of CommAI-env: small compositions", "small_comp"),
    "lookup_tables": ("Later tasks of CommAI-env: lookup tables", ""),
    "repeating": ("Later tasks of CommAI-env: repeating", ""),
    "sample": ("CommAI-env: sample tasks", ""),
    "pending": ("CommAI-env: tasks that were to be validated", ""),
}


def components(text: str) -> str:
    """Returns docs/components.md as it should be, from what it is."""
    return with_outputs(CONTENTS.sub(lambda _: contents(text), text), "components.md")


def commai(text: str) -> str:
    """Returns docs/commai.md as it should be, from what it is."""
    return with_outputs(TASKS.sub(lambda _: tasks(), text), "commai.md")


def with_outputs(text: str, name: str) -> str:
    """Returns a page with what its blocks of Python print."""
    names: dict | None = None

    def with_output(block: re.Match) -> str:
        nonlocal names
        printed, here = io.StringIO(), dict(names or {})
        code = "\n" * text.count("\n", 0, block.start("code")) + block["code"]  # so that errors name the line
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(DOCS / name), "exec"), here)
        names = here if names is None else names
        output = printed.getvalue().rstrip("\n")
        return f"```python\n{block['code']}```\n" + (f"\n```text\n{output}\n```\n" if output else "")

    return BLOCK.sub(with_output, text)


def contents(text: str) -> str:
    """Returns the table of contents: a line for each part, with its components."""
    lines: list[str] = []
    for heading in HEADING.finditer(BLOCK.sub("", text)):
        title = heading["title"]
        link = f"[{title}](#{re.sub(r'[^a-z0-9 -]', '', title.lower()).replace(' ', '-')})"
        if heading["level"] == "##":
            lines.append(f"- {link}")
        else:
            lines[-1] += (", " if ": " in lines[-1] else ": ") + link
    return "\n".join(lines) + "\n"


def tasks() -> str:
    """Returns a table of tasks for each of their modules: name, and the first line of what it says of itself."""
    parts = []
    for module, (title, preset) in FAMILIES.items():
        found = importlib.import_module(f"aexp_torch.commai.tasks.{module}")
        exported = [name for name in getattr(found, "__all__", ()) if _is_task(getattr(found, name))]
        scheduled = [task["type"].rpartition(".")[2] for task in PRESETS[preset]()["tasks"].values()] if preset else []
        lines = [f"| `{name}` | {getattr(found, name).__doc__.splitlines()[0]} |" for name in scheduled or exported]
        parts.append(
            "\n".join([f"### {title}", "", "| task | what it says, and what is right |", "|---|---|", *lines, ""])
        )
    return "\n".join(["", *parts, ""])


def _is_task(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Task)


def picture(_: str = "") -> str:
    """Returns the README's picture: its example of mixing."""
    digits = {"x": torch.zeros(640, 64), "y": torch.arange(640) % 10}
    train = {
        "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8).pipe(ae.Noisy, std=0.01),
        "digits": ae.DatasetEnv(digits, batch_size=64, shuffle=True),
    }
    loader = ae.Loader(train, weights={"cartpole": 1, "digits": 3}, in_flight=2, steps_per_epoch=1000)
    return ae.draw(loader).svg + "\n"


GENERATED = {"commai.md": commai, "components.md": components, "pipeline.svg": picture}


def main() -> int:
    """Writes the files, or tells what would change in them."""
    changed = 0
    for name, generate in GENERATED.items():
        path = DOCS / name
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        after = generate(before)
        if "--check" not in sys.argv:
            path.write_text(after, encoding="utf-8")
        elif before != after:
            changed += 1
            lines = difflib.unified_diff(
                before.splitlines(), after.splitlines(), f"docs/{name}", "as generated", "", "", 1
            )
            print("\n".join(lines))
    return changed


if __name__ == "__main__":
    sys.exit(main())
