"""What all tests have in common."""

import os
import signal
from collections import Counter

import pytest

# As many tests run as there are cores: threads of torch beside them would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is started in the background or by nohup ignores signals that the tests send to what they start themselves.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


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
