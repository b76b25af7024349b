"""What is generated in docs/ is what the generator gives, and it tells of every component."""

import difflib
import importlib.machinery
import importlib.util
import re
from pathlib import Path

import pytest

import aexp_torch as ae
from aexp_torch import composition, stages

ROOT = Path(__file__).parent.parent
LOADER = importlib.machinery.SourceFileLoader("generate_docs", str(ROOT / "scripts" / "docs.py"))


def generated() -> dict:
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("generate_docs", LOADER))
    LOADER.exec_module(module)
    return module.GENERATED


@pytest.mark.parametrize("name", ["commai.md", "components.md", "pipeline.svg"])
def test_generated(name):
    before = (ROOT / "docs" / name).read_text(encoding="utf-8")
    after = generated()[name](before)
    changes = "\n".join(difflib.unified_diff(before.splitlines(), after.splitlines(), "docs", "generated", lineterm=""))
    assert not changes, f"run scripts/docs.py\n{changes}"


def test_every_component_has_a_section():
    text = (ROOT / "docs" / "components.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`$(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    exported = {name for name in (*stages.__all__, *composition.__all__) if isinstance(getattr(ae, name, None), type)}
    missing = sorted((exported - {"Composition"} | {"DatasetEnv"}) - set(sections))
    assert not missing, f"add to docs/components.md a section ### `name`, with a block of Python, for each of {missing}"
    assert not [name for name, section in sections.items() if "```python" not in section or "```text" not in section]
