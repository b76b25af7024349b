"""Importing the library loads no provider and nothing heavy."""

import subprocess
import sys

HEAVY = "gymnasium torchdata lightning sklearn tensorflow_datasets tensordict matplotlib ray webdataset pandas"
PROGRAM = f"""
import sys
import aexp_torch
import aexp_torch.adapters.tensordict
print(sorted(set("{HEAVY}".split()) & set(sys.modules)))
"""


def test_import_is_light():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "[]"
