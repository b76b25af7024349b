"""to_node: the same stream as the root of a graph of `torchdata.nodes`."""

from typing import TYPE_CHECKING

from aexp_torch.env import Env

if TYPE_CHECKING:
    from aexp_torch.adapters.env_node import EnvNode

__all__ = ["to_node"]


def to_node(env: Env) -> "EnvNode":
    """Returns the environment as a `torchdata.nodes.BaseNode`, resumable.

    Each timestep is answered before the next is asked for, as everywhere. `torchdata.nodes.Loader` never reads ahead
    while it runs. Right after `load_state_dict` it reads one timestep to see whether the stream has ended: take the
    state after the answer, and nothing is lost or doubled. A state that was taken before the answer gives the
    timestep that waits for it once more.

    A second `iter(loader)` starts over as `env.reset()` does: an environment with new episodes, a dataset with a new
    pass. Nodes that read ahead (Batcher, Prefetcher) fit sources that want no answer, or an env with `on_missing`.

    Args:
      env: any pipeline. The node steps it, so nobody else should.

    >>> import aexp_torch as ae
    >>> from torchdata.nodes import Loader
    >>> node = ae.to_node(ae.GymnasiumEnv("CartPole-v1", num_envs=2, on_missing="sample"))
    >>> [timestep.ticket.step for timestep, _ in zip(Loader(node), range(3))]
    [0, 1, 2]
    """
    from aexp_torch.adapters.env_node import EnvNode

    return EnvNode(env)
