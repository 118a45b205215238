"""A tensor's memory on both sides of the bus."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepose.runtime.cuda.base import Cuda, DeviceMemory, HostMemory, Stream

__all__ = ["Tensor"]


class Tensor:
    """Memory for an input or output of up to ``shape[0]`` rows, allocated once.

    On a GPU with memory of its own it is a page-locked buffer on the host and one on the device,
    with copies between them. Where the GPU shares the CPU's memory (Jetson) it is one buffer that
    both see, and nothing is copied; whoever reads it waits for the stream first.

    Args:
        cuda: The device. Its context is active.
        shape: Of the largest batch.
        dtype: Element type.
        mapped: Whether both sides see one buffer.

    Attributes:
        array: The host's view, of ``shape``; empty once freed.
        address: What the device is told.
    """

    def __init__(
        self, cuda: Cuda, shape: tuple[int, ...], dtype: npt.DTypeLike, *, mapped: bool
    ) -> None:
        kind = np.dtype(dtype)
        self._cuda = cuda
        self._row = math.prod(shape[1:]) * kind.itemsize
        size = shape[0] * self._row
        self._host: HostMemory | None = cuda.alloc_host(size, mapped=mapped)
        self._device: DeviceMemory | None = None
        if not mapped:
            try:
                self._device = cuda.alloc(size)
            except BaseException:
                cuda.free_host(self._host)
                raise
        self.array: npt.NDArray[Any] = self._host.array.view(kind).reshape(shape)
        self.address: int = (
            self._device.pointer if self._device is not None else self._host.device_pointer or 0
        )

    def upload(self, rows: int, stream: Stream) -> None:
        """Put a copy of the first rows to the device into the stream."""
        if self._device is not None and self._host is not None:
            self._cuda.upload(self._host, self._device, rows * self._row, stream)

    def download(self, rows: int, stream: Stream) -> None:
        """Put a copy of the first rows from the device into the stream."""
        if self._device is not None and self._host is not None:
            self._cuda.download(self._device, self._host, rows * self._row, stream)

    def free(self) -> None:
        """Give both sides back. Views of :attr:`array` must be gone."""
        self.array = self.array[:0].copy()
        device, self._device = self._device, None
        host, self._host = self._host, None
        try:
            if device is not None:
                self._cuda.free(device)
        finally:
            if host is not None:
                self._cuda.free_host(host)
