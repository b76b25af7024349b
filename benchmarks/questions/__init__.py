"""One file per question. Each has a docstring that says what is asked, and `contests()`, which says who takes part.

Nothing is imported here: a contestant runs in a process of its own and starts with what its question needs.
"""

__all__ = ["QUESTIONS"]

HERE = ("transport", "round_trip", "cartpole", "slow", "scaling", "fit", "memory", "replay")
QUESTIONS = {name: f"{__name__}.{name}" for name in HERE} | {  # modules by name
    "sources": "benchmarks.sources",
    "commai": "benchmarks.commai",
}
