"""A memory that is written in one step: what came after what."""

import torch
from torch import Tensor

__all__ = ["delta_rule"]


def delta_rule(key: Tensor, value: Tensor, query: Tensor, rate: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Writes T values under T keys into a matrix, one after the other, and reads after each.

    M_t = M_{t-1} + rate_t * (value_t - M_{t-1} key_t) key_t^T and read_t = M_t query_t: with rate 1 and keys of length 1 a
    value takes the place of what was there. All T steps are made at once: what each writes follows from one triangular
    system.

    Args:
      key: of length 1, float32 [..., T, K].
      value: float32 [..., T, V].
      query: float32 [..., T, K].
      rate: float32 [..., T, 1] in [0, 1].
      memory: M_0, float32 [..., V, K].

    Returns:
      The reads, float32 [..., T, V], and M_T, float32 [..., V, K].

    Source: Schlag et al. 2021 (the rule); Yang et al. 2024 (all steps at once). Checked against the loop in
    tests/lightning_modules/test_associative_memory.py.
    """
    steps = torch.eye(key.shape[-2], dtype=key.dtype, device=key.device)
    overlap = (rate * (key @ key.mT)).tril(-1)
    missing = rate * (value - key @ memory.mT)
    written = torch.linalg.solve_triangular(steps + overlap, missing, upper=False, unitriangular=True)
    read = query @ memory.mT + (query @ key.mT).tril() @ written
    return read, memory + written.mT @ key
