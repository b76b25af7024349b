"""What all tests have in common."""

import os

# As many tests run as there are cores: threads of torch beside them would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
