"""What `import aexp_torch` costs."""

import statistics
import subprocess
import sys
import time

import pytest

# What torch brings, or the interpreter; `hmac` and `secrets` are numpy's.
LIGHT = {"aexp_torch", "dm_env", "numpy", "torch"}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_no_provider_is_imported():
    code = (
        "import sys, torch; before = set(sys.modules); import aexp_torch;"
        " print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    came = {name for name in run(code).split() if name not in sys.stdlib_module_names and "cython" not in name}
    assert came <= LIGHT
    assert "aexp_torch" in came


@pytest.mark.slow
def test_it_takes_less_than_half_as_long_again_as_torch():
    def seconds(module: str) -> float:
        began = time.perf_counter()
        run(f"import {module}")
        return time.perf_counter() - began

    pairs = [(seconds("torch"), seconds("aexp_torch")) for _ in range(7)]
    assert statistics.median(ours / theirs for theirs, ours in pairs) < 1.5
