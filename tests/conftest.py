"""What all tests have in common."""

import os
import signal
from collections import Counter

import pytest

# As many tests run as there are cores: threads of torch beside them would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell has what it starts in the background ignore Ctrl-C, and so what that starts; the tests send it to many.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked `every(n)`, with many cases, each n-th is fast enough for all runs; the others are marked slow."""
    seen = Counter()
    for item in items:
        mark = item.get_closest_marker("every")
        if mark:
            name = item.nodeid.partition("[")[0]
            if seen[name] % mark.args[0]:
                item.add_marker(pytest.mark.slow)
            seen[name] += 1
