"""Ranks: what every trainer process has of its own, put together, and what they must do alike.

A collective waits for all ranks, so every rank has to reach it, and equally often. Where that is not sure, because an
exception ends the run, ranks meet in the store that started the process group, and none waits for ever.
"""

import atexit
import io
import itertools
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from lightning import Trainer
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import _get_default_store

from aexp_torch import AexpError

__all__ = [
    "all_ranks",
    "anywhere",
    "average_gradients",
    "drop_gradients",
    "everywhere",
    "leave_at_exit",
    "own_rank",
    "rank_seed",
    "reach",
]

SECONDS = 20.0  # that ranks wait for one another while an exception ends the run
CHUNK = 2**22  # bytes; the store takes values up to 8 MiB
_exchanges = itertools.count()


def all_ranks(own: Any, trainer: Trainer | None) -> list[Any]:
    """Returns what every rank has, in their order; called on all of them.

    While an exception ends the run, it is not sure that the others come, too. Those that raised at the same step find
    one another without a collective; if one does not come within 20 seconds, the exception goes on with a note.

    Args:
      own: tensors and primitives; nothing is unpickled.
      trainer: whose ranks; None for one alone.

    Raises:
      BaseException: the one that ends the run, where other ranks did not raise.
    """
    if trainer is None or trainer.world_size == 1:
        return [own]
    buffer = io.BytesIO()
    torch.save(own, buffer)
    parts = _by_store(buffer.getvalue(), trainer) if trainer.interrupted else _by_collective(buffer.getvalue(), trainer)
    return [torch.load(io.BytesIO(part), weights_only=True) for part in parts]


def _by_collective(own: bytes, trainer: Trainer) -> list[bytes]:
    device = trainer.strategy.root_device
    mine = torch.frombuffer(bytearray(own), dtype=torch.uint8).to(device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(trainer.world_size)]
    distributed.all_gather(sizes, torch.tensor([len(own)], device=device))
    longest = max(int(size) for size in sizes)
    parts = [torch.empty(longest, dtype=torch.uint8, device=device) for _ in sizes]
    distributed.all_gather(parts, nn.functional.pad(mine, (0, longest - len(own))))
    return [part[: int(size)].cpu().numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]


def _by_store(own: bytes, trainer: Trainer) -> list[bytes]:
    """Exchanges parts by the process group's store, or raises what ends the run."""
    progress = trainer.fit_loop.epoch_loop.batch_progress.current
    here = f"aexp_torch/{next(_exchanges)}/{trainer.global_step}/{progress.ready}"
    ranks, missing, limit = range(trainer.world_size), [], timedelta(seconds=SECONDS)
    try:
        store = _get_default_store()
        store.set(f"{here}/{trainer.global_rank}", str(-(-len(own) // CHUNK)))
        try:
            store.wait([f"{here}/{rank}" for rank in ranks], limit)
            found = "all"
        except distributed.DistStoreError:
            found = "some"
            missing = [rank for rank in ranks if not store.check([f"{here}/{rank}"])]
        # The first to say counts for all: none goes on alone because it found the others a moment later.
        if store.compare_set(f"{here}/found", "", found) == b"all":
            for i in range(0, len(own), CHUNK):
                store.set(f"{here}/{trainer.global_rank}/{i // CHUNK}", own[i : i + CHUNK])  # type: ignore[arg-type]  # torch says str
            parts = [_take(store, f"{here}/{rank}", limit) for rank in ranks]
            if store.add(f"{here}/read", 1) == trainer.world_size:  # the last one clears away
                for rank, part in enumerate(parts):
                    for i in range(0, len(part), CHUNK):
                        store.delete_key(f"{here}/{rank}/{i // CHUNK}")
            return parts
    except distributed.DistError:  # the store went away with the rank that kept it, or a part did not come
        pass
    error = sys.exc_info()[1] or AexpError("Trainer.save_checkpoint: expected all ranks to save after an exception.")
    others = f"rank {', '.join(map(str, missing))}" if missing else "another rank"
    error.add_note(
        f"No checkpoint was written on this exception: rank {trainer.global_rank} raised it in batch {progress.ready}"
        f" of epoch {trainer.current_epoch}, {others} did not. Resume from the last checkpoint that was written before"
        " (ckpt_path='last'), which has the state of all ranks."
    )
    raise error


def _take(store: distributed.Store, key: str, limit: timedelta) -> bytes:
    chunks = [f"{key}/{i}" for i in range(int(store.get(key)))]
    for chunk in chunks:
        store.wait([chunk], limit)
    return b"".join(store.get(chunk) for chunk in chunks)


def own_rank(states: list[dict[str, Any]], trainer: Trainer | None) -> dict[str, Any]:
    """Returns this rank's part; the first without a trainer. A rank that is new has another's, but no `generator`."""
    rank = 0 if trainer is None else trainer.global_rank
    own = states[rank % len(states)]
    return own if rank < len(states) else {name: value for name, value in own.items() if name != "generator"}


def rank_seed(seed: int, rank: int) -> int:
    """Returns the seed of a rank's generator, so that no two ranks draw alike. Rank 0 has `seed` itself."""
    if rank == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(rank,)).generate_state(1)[0])


def everywhere(condition: bool, trainer: Trainer) -> bool:
    """Tells whether a condition holds on every rank; a collective."""
    return condition if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(condition, all=True)


def leave_at_exit() -> None:
    """Lets this process leave its group when it ends. Lightning does not with gloo, whose threads then abort at random."""
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def anywhere(condition: bool, trainer: Trainer) -> bool:
    """Tells whether a condition holds on some rank; a collective."""
    return condition if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(condition, all=False)


class _Reach(torch.autograd.Function):
    """Passes a loss through; its gradient also reaches parameters, to which it adds nothing."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *parameters: Tensor) -> Tensor:
        ctx.count = len(parameters)
        return loss.view_as(loss)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return gradient, *[None] * ctx.count


def reach(loss: Tensor, module: nn.Module, trainer: Trainer) -> Tensor:
    """Lets the backward pass of a loss reach every parameter of a module, those it does not depend on with nothing.

    DistributedDataParallel averages gradients once all parameters have been reached, and otherwise waits or raises. So a
    step may touch some heads of a module, or none on this rank, under the plain `strategy="ddp"`.

    Args:
      loss: float32 [].
      module: whose parameters are trained.
      trainer: with one rank the loss is returned as it is.
    """
    if trainer.world_size == 1:
        return loss
    return _Reach.apply(loss, *(parameter for parameter in module.parameters() if parameter.requires_grad))


def drop_gradients(module: nn.Module, used: Iterable[nn.Module], trainer: Trainer) -> None:
    """Sets the gradients of all parameters but those of `used` to None, so that an optimizer leaves them alone.

    With several ranks the averaged gradient of a parameter that no rank used is 0, by which an optimizer with momentum
    or weight decay would move it. Every rank has to have used the same.
    """
    if trainer.world_size > 1:
        kept = {id(parameter) for part in used for parameter in part.parameters()}
        for parameter in module.parameters():
            if id(parameter) not in kept:
                parameter.grad = None


def average_gradients(parameters: Sequence[nn.Parameter], trainer: Trainer) -> None:
    """Averages gradients over ranks, a collective: for parameters that DistributedDataParallel was not told of.

    A rank on which one has no gradient counts as 0.
    """
    if trainer.world_size == 1 or not parameters:
        return
    sizes = [parameter.numel() for parameter in parameters]
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    averaged = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(averaged)
    for parameter, gradient in zip(parameters, (averaged / trainer.world_size).split(sizes), strict=True):
        parameter.grad = gradient.view_as(parameter).clone()
