"""AgentGenerator: where an agent's own random numbers come from."""

import torch

__all__ = ["AgentGenerator"]


class AgentGenerator(torch.Generator):
    """Draws on the CPU, and can be sent to a spawned process with its state, which torch's own cannot.

    Args:
      seed: of what it draws.
    """

    def __new__(cls, seed: int) -> "AgentGenerator":
        return super().__new__(cls)

    def __init__(self, seed: int):
        self.manual_seed(seed)

    def __reduce__(self) -> tuple:
        return _restored, (self.get_state().numpy().tobytes(),)


def _restored(state: bytes) -> AgentGenerator:
    generator = AgentGenerator(0)
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    return generator
