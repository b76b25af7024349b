"""A memory that is written in one step: what came after what."""

import torch
from torch import Tensor
from torch.nn import functional

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
    overlap = (rate * (key @ key.mT)).tril(-1)
    missing = rate * (value - key @ memory.mT)
    written = unit_lower_inverse(overlap) @ missing
    read = query @ memory.mT + (query @ key.mT).tril() @ written
    return read, memory + written.mT @ key


def unit_lower_inverse(lower: Tensor) -> Tensor:
    """Returns the inverse of I + L, float32 [..., T, T], for an L that is 0 on the diagonal and above.

    Blocks of twice the size are put together of those before: in log2(T) products of many small matrices, where
    `torch.linalg.solve_triangular` solves one system after the other, with all threads waiting for each.

    Args:
      lower: L, float32 [..., T, T].
    """
    steps = lower.shape[-1]
    whole = 1 << (steps - 1).bit_length()
    lower = functional.pad(lower, (0, whole - steps, 0, whole - steps))
    inverse = torch.ones_like(lower.diagonal(dim1=-2, dim2=-1))[..., None, None]  # [..., blocks, size, size]
    size = 1
    while size < whole:
        pairs = lower.unflatten(-1, (-1, 2 * size)).unflatten(-3, (-1, 2 * size)).diagonal(dim1=-4, dim2=-2)
        between = pairs.movedim(-1, -3)[..., size:, :size]
        first, second = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
        above = torch.cat((first, torch.zeros_like(first)), -1)
        inverse = torch.cat((above, torch.cat((-second @ between @ first, second), -1)), -2)
        size *= 2
    return inverse[..., 0, :steps, :steps]
