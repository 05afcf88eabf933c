"""The processes that train together, as torchrun started them; or this one alone.

Knows PyTorch's distributed package. Knows nothing of pictures or of how a network is trained.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ReduceOp
from torch.nn.parallel import DistributedDataParallel

from antbee.errors import DistributedError

T = TypeVar("T")

PATIENCE: Final = timedelta(minutes=10)
"""How long a process waits for the others: the main one may be downloading weights."""


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this is, and what they say to each other.

    Every method but `shard` must be called by all processes alike; alone, it does nothing.
    """

    rank: int = 0  # counted from 0
    size: int = 1  # how many there are
    local_size: int = 1  # how many of them are on this machine

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and talks to people; one does."""
        return self.rank == 0

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's part of the items, which all processes share evenly."""
        return items[self.rank :: self.size]

    def all_reduce(self, tensor: Tensor, operation: ReduceOp.RedOpType = ReduceOp.SUM) -> Tensor:
        """Replace a CPU tensor by the sum over all processes, of the same shape in each."""
        if self.size > 1:
            distributed.all_reduce(tensor, operation)
        return tensor

    def sum(self, *numbers: float) -> list[float]:
        """Add up the numbers of all processes; every one gets the same sums."""
        sums: list[float] = self.all_reduce(torch.tensor(numbers, dtype=torch.float64)).tolist()
        return sums

    def min(self, number: float) -> float:
        """Find the least of all processes' numbers; every one gets the same."""
        return self.all_reduce(torch.tensor(number, dtype=torch.float64), ReduceOp.MIN).item()

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by the main process's, of the same shapes in each."""
        if self.size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def broadcast_object(self, value: T) -> T:
        """Return the main process's value to all; what the others pass is not used.

        Args:
            value: tensors, numbers, text, None, and lists, tuples and dictionaries of them: it is
                read as a checkpoint is, so that nothing in it can run.
        """
        if self.size == 1:
            return value
        values = [value]
        cpu = torch.device("cpu")
        distributed.broadcast_object_list(values, src=0, device=cpu, weights_only=True)
        return values[0]

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return what computes as the module does, and leaves it with the mean gradient of all.

        On GPUs its batch norms measure across all processes from now on. PyTorch has nothing like
        that for the CPU: there each process's measure its own part of a batch.
        """
        if self.size == 1:
            return module
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        # Running statistics are not used in training: `broadcast` before they are is enough.
        return DistributedDataParallel(module, forward_sync_buffers=False)


SINGLE: Final = ProcessGroup()


@contextmanager
def joined_process_group() -> Iterator[ProcessGroup]:
    """Within this context the processes that torchrun started are connected.

    gloo connects what is on the CPU, NCCL what is on a GPU.

    Raises:
        DistributedError: the processes cannot be connected, or another one ended while this one
            waited for it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))  # type: ignore[attr-defined]
        # torchrun keeps its store when it starts processes again, with the dead ones' addresses.
        fresh = distributed.PrefixStore(  # type: ignore[attr-defined]
            os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store
        )
        distributed.init_process_group(
            backend, store=fresh, rank=rank, world_size=size, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DistributedError(f"the processes cannot be connected: {reason}") from error
    try:
        yield ProcessGroup(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    except RuntimeError as error:
        # gloo has no class of its own for what goes wrong between processes.
        if "gloo" not in str(error) and not isinstance(error, distributed.DistError):
            raise
        raise DistributedError("another process ended, or cannot be reached") from error
    finally:
        distributed.destroy_process_group()
