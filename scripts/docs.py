#!/usr/bin/env python
"""Writes what is generated in docs/: outputs and contents of components.md, and the README's picture.

Every block of Python in docs/components.md is run, in order, and the block of text below it becomes what it prints. The
first block makes the names that the others use; what another block makes, no other sees. A block that prints nothing needs
no text. `scripts/docs.py --check` writes nothing, and fails where something would change.
"""

import contextlib
import difflib
import io
import re
import sys
from pathlib import Path

import torch

import aexp_torch as ae

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(?P<level>##+) `?(?P<title>[^`\n]+)`?$", re.MULTILINE)
CONTENTS = re.compile(r"(?<=<!-- contents -->\n).*?(?=<!-- end of contents -->)", re.DOTALL)


def components(text: str) -> str:
    """Returns docs/components.md as it should be, from what it is."""
    text = CONTENTS.sub(lambda _: contents(text), text)
    names: dict | None = None

    def with_output(block: re.Match) -> str:
        nonlocal names
        printed, here = io.StringIO(), dict(names or {})
        code = "\n" * text.count("\n", 0, block.start("code")) + block["code"]  # so that errors name the line
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(DOCS / "components.md"), "exec"), here)
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


def picture(_: str = "") -> str:
    """Returns the README's picture: its example of mixing."""
    digits = {"x": torch.zeros(640, 64), "y": torch.arange(640) % 10}
    train = {
        "cartpole": ae.GymnasiumEnv("CartPole-v1", num_envs=8).pipe(ae.Noisy, std=0.01),
        "digits": ae.DatasetEnv(digits, batch_size=64, shuffle=True),
    }
    loader = ae.Loader(train, weights={"cartpole": 1, "digits": 3}, in_flight=2, steps_per_epoch=1000)
    return ae.draw(loader).svg + "\n"


GENERATED = {"components.md": components, "pipeline.svg": picture}


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
