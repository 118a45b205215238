"""One process or several, as torchrun started them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from edgepose.errors import DeviceError

__all__ = ["Processes", "join_processes", "leave_processes"]

# The others wait while the first packs a large set or validates; torch gives up after 10 minutes.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Processes:
    """This process among its peers.

    Attributes:
        rank: Number of this process; 0 validates, logs and saves.
        world: How many there are.
        device: Where this one computes.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def agree(self, *values: float) -> tuple[float, ...]:
        """The first process's values, in every process."""
        if self.world == 1:
            return values
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return tuple(shared.tolist())

    def any(self, flag: bool) -> bool:
        """Whether any process raised its flag."""
        if self.world == 1:
            return flag
        shared = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return bool(shared.item())


def join_processes(device: str) -> Processes:
    """Join the group that torchrun's environment describes; alone where there is none.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. With several processes each takes the
            GPU of its local rank.

    Raises:
        DeviceError: CUDA was asked for and torch has none (or too few GPUs).
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device.startswith("cuda"):
        if not torch.cuda.is_available() or local >= torch.cuda.device_count():
            raise DeviceError(
                f"device '{device}' is not available",
                f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices",
                "use --device cpu, or start fewer processes",
            )
        if world > 1:
            device = f"cuda:{local}"
        torch.cuda.set_device(device)
    place = torch.device(device)
    if world == 1:
        return Processes(0, 1, place)
    backend = "nccl" if place.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    return Processes(dist.get_rank(), world, place)


def leave_processes(processes: Processes) -> None:
    """Leave the group."""
    if processes.world > 1:
        dist.destroy_process_group()
