"""The processes that train together, as torchrun started them; or this one alone.

Knows PyTorch's distributed package. Knows nothing of pictures or networks.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from antbee.errors import TeamError
from antbee.files import Buffer

T = TypeVar("T")

PATIENCE: Final = timedelta(minutes=10)
"""How long a process waits for the others: the leader may be downloading weights."""


@dataclass(frozen=True)
class Team:
    """Which of how many processes this is.

    Attributes:
        rank: counted from 0.
        size: how many there are.
        neighbours: how many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    neighbours: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and talks to people; one does."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of the items, which all processes share evenly."""
        return items[self.rank :: self.size]

    def sum(self, *numbers: float) -> list[float]:
        """Add up the numbers of all processes; every one gets the same sums."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums

    def least(self, number: float) -> float:
        """Find the least of all processes' numbers; every one gets the same."""
        if self.size == 1:
            return number
        least = torch.tensor(number, dtype=torch.float64)
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        return least.item()

    def join(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return what computes as the module does, and leaves it with the gradients of all.

        Its batch norms measure across the batches of all processes from now on.
        """
        if self.size == 1:
            return module
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        for one in module.modules():
            if type(one) is nn.BatchNorm2d:
                one.__class__ = SyncedBatchNorm
        return DistributedDataParallel(module, forward_sync_buffers=False)

    def give(self, tensor: Tensor, giver: int) -> Tensor:
        """Give a CPU tensor of process `giver` to all, who pass one of its shape and type."""
        if self.size > 1:
            distributed.broadcast(tensor, giver)
        return tensor

    def give_bytes(self, data: Buffer) -> bytes:
        """Give what the leader has to all; what the others pass is not used."""
        if self.size == 1:
            return bytes(data)
        length = int(self.give(torch.tensor([len(data)]), 0))
        given = torch.empty(length, dtype=torch.uint8)
        if self.leads and length:
            given = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return self.give(given, 0).numpy().tobytes()

    def collect(self, parts: list[Tensor], total: int, dtype: torch.dtype) -> list[Tensor]:
        """Put together what every process made of its `share` of `total` things, in their order.

        Args:
            parts: this process's CPU tensors, contiguous, all with as many dimensions.
            total: of all processes.
            dtype: of the tensors.
        """
        if self.size == 1:
            return parts
        own, collected = iter(parts), list[Tensor]()
        for number in range(total):
            mine = number % self.size == self.rank
            part = next(own) if mine else torch.empty(0)
            shape = self.give(
                torch.tensor([*part.shape, *[0] * 4][:4]), number % self.size
            ).tolist()
            part = part if mine else torch.empty(shape, dtype=dtype)
            self.give(part.view(torch.uint8), number % self.size)
            collected.append(part)
        return collected


ALONE: Final = Team()


def in_team() -> bool:
    """Tell whether torchrun started other processes with this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def gathered() -> Iterator[Team]:
    """Within this context the processes that torchrun started are connected.

    gloo connects what is on the CPU, NCCL what is on a GPU.

    Raises:
        TeamError: another process ended while this one waited for it.
    """
    if not in_team():
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, rank, size = next(distributed.rendezvous("env://", timeout=PATIENCE))  # type: ignore[attr-defined]
    # torchrun keeps its store when it starts processes again, with the dead ones' addresses in it.
    fresh = distributed.PrefixStore(  # type: ignore[attr-defined]
        os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store
    )
    distributed.init_process_group(
        backend, store=fresh, rank=rank, world_size=size, timeout=PATIENCE
    )
    try:
        yield Team(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    except RuntimeError as error:
        # gloo has no class of its own for what goes wrong between processes.
        if "gloo" not in str(error) and not isinstance(error, distributed.DistError):
            raise
        raise TeamError("another process of the team ended, or cannot be reached") from error
    finally:
        distributed.destroy_process_group()


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm across processes on the CPU, for which PyTorch has none."""

    def forward(self, features: Tensor) -> Tensor:
        """Normalise [N, C, H, W] as one process would normalise the batches of all."""
        if not self.training:
            return super().forward(features)
        count = features.numel() // features.shape[1]
        wide = features.float()
        sums = [wide.sum((0, 2, 3)), wide.square().sum((0, 2, 3)), wide.new_tensor([count])]
        total: Tensor = _Sum.apply(torch.cat(sums))
        mean, square = total[:-1].div(total[-1]).chunk(2)
        variance = (square - mean.square()).clamp(min=0)  # rounding may take it below
        self._note(*map(torch.detach, (mean, variance, total[-1])))
        scale = self.weight / (variance + self.eps).sqrt()
        shift = self.bias - mean * scale
        shape = (1, -1, 1, 1)
        return (wide * scale.view(shape) + shift.view(shape)).to(features.dtype)

    def _note(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        unbiased = variance * count / (count - 1)
        for kept, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            if kept is not None:
                kept.lerp_(new, self.momentum or 0.0)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:  # noqa: ANN401 - torch's context
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
