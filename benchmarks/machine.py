"""What the figures were measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["describe"]

PACKAGES = (
    "aexp-torch",
    "torch",
    "numpy",
    "gymnasium",
    "lightning",
    "torchdata",
    "torchrl",
    "tensordict",
    "stable-baselines3",
    "envpool",
    "ale-py",
)


def describe() -> dict[str, Any]:
    """Returns processor, cores, load, and versions of what is installed."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := installed(name))},
    }


def processor() -> str:
    """Returns the processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def installed(name: str) -> str | None:
    """Returns the version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
