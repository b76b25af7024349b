"""What every test of Lightning runs ends with."""

import multiprocessing

import pytest


@pytest.fixture(autouse=True)
def ends_ranks():
    """Ends the ranks that a test which failed or took too long has left behind, for which Python would wait at its end."""
    yield
    for child in multiprocessing.active_children():
        if not child.daemon:
            child.kill()
            child.join()
