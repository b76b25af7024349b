"""One file per question; every figure is measured beside what it is compared with, interleaved in one run, as medians."""
