"""Which persons a step sees, and their packed pixels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgepose.train.store import PersonStore

__all__ = ["BatchSource", "step_indices"]

Batch = tuple[Tensor, Tensor]


def step_indices(seed: int, step: int, batch: int, count: int) -> npt.NDArray[np.int64]:
    """Positions (0..count-1) of one step's persons.

    The steps walk through one shuffled pass after the other without a break, so that every person
    comes once a pass, and any step can be found again from its number alone.
    """
    flat = np.arange(step * batch, (step + 1) * batch)
    epochs, places = np.divmod(flat, count)
    return np.concatenate(
        [
            np.random.default_rng([seed, epoch]).permutation(count)[places[epochs == epoch]]
            for epoch in np.unique(epochs)
        ]
    )


class BatchSource:
    """Reads batches of several packed sets, one step ahead in a thread.

    Args:
        stores: The packed sets.
        chosen: Per set, the persons to use.
        batch: Persons a step over all processes.
        seed: Seeds the order.
        rank: This process.
        world: Processes; each takes every ``world``-th person of a step.
        pin: Put the pixels where a GPU can fetch them by itself.
    """

    def __init__(
        self,
        stores: Sequence[PersonStore],
        chosen: Sequence[Sequence[int]],
        *,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        pin: bool = False,
    ) -> None:
        self._stores = stores
        self._set = np.concatenate([np.full(len(c), i) for i, c in enumerate(chosen)])
        self._row = np.concatenate([np.asarray(c, np.int64) for c in chosen])
        self._batch, self._seed = batch, seed
        self._rank, self._world, self._pin = rank, world, pin
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def __len__(self) -> int:
        return len(self._row)

    @property
    def steps_per_epoch(self) -> float:
        """Steps of one pass; rarely a whole number."""
        return len(self) / self._batch

    def load(self, step: int) -> Batch:
        """(B, Hs, Ws, 3) uint8 pixels and (B, K, 3) float32 joints of a step, on the CPU."""
        if self._ahead is not None and self._ahead[0] == step:
            batch = self._ahead[1].result()
        else:
            batch = self._read(step)
        self._ahead = (step + 1, self._reader.submit(self._read, step + 1))
        return batch

    def close(self) -> None:
        """End the reading thread."""
        self._reader.shutdown(cancel_futures=True)

    def _read(self, step: int) -> Batch:
        places = step_indices(self._seed, step, self._batch, len(self))[self._rank :: self._world]
        shape = self._stores[0].pixels.shape[1:]
        pixels = np.empty((len(places), *shape), np.uint8)
        joints = np.empty((len(places), *self._stores[0].joints.shape[1:]), np.float32)
        for number, store in enumerate(self._stores):
            here = np.flatnonzero(self._set[places] == number)
            rows = self._row[places[here]]
            pixels[here] = store.pixels[rows]
            joints[here] = store.joints[rows]
        packed = torch.from_numpy(pixels)
        return packed.pin_memory() if self._pin else packed, torch.from_numpy(joints)
