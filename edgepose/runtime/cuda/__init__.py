"""CUDA for runners, through whichever binding is installed (:mod:`edgepose.runtime.cuda.base`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from edgepose.errors import DeviceError, MissingDependency
from edgepose.runtime.cuda.base import Cuda, CudaError
from edgepose.trt.gpu import read_gpu

__all__ = ["Cuda", "CudaError", "Provider", "open_cuda"]

Provider = Literal["cuda-bindings", "pycuda"]


def open_cuda(index: int = 0, provider: str | None = None) -> Cuda:
    """A device, through a binding of CUDA to Python.

    Args:
        index: Number of the device.
        provider: ``cuda-bindings`` (has graphs) or ``pycuda``; by default the first of these two
            that is installed.

    Raises:
        MissingDependency: Neither is installed, or not the one asked for.
        DeviceError: No driver, no such device, or an unknown provider.
    """
    names = get_args(Provider)
    if provider is not None and provider not in names:
        raise DeviceError(f"unknown CUDA provider '{provider}'", f"there are {' and '.join(names)}")
    read_gpu(index)  # without a driver neither binding says plainly what is missing
    failures = []
    for name in names if provider is None else (provider,):
        try:
            return _OPEN[name](index)
        except ImportError as error:
            failures.append(f"{name}: {error}")
    raise MissingDependency(
        "this needs a binding of CUDA to Python",
        "; ".join(failures),
        f"pip install {provider}" if provider else "pip install cuda-bindings, or pycuda",
    )


def _cuda_bindings(index: int) -> Cuda:
    from edgepose.runtime.cuda.cuda_bindings import CudaBindings

    return CudaBindings(index)


def _pycuda(index: int) -> Cuda:
    from edgepose.runtime.cuda.pycuda import PyCuda

    return PyCuda(index)


_OPEN: dict[str, Callable[[int], Cuda]] = {"cuda-bindings": _cuda_bindings, "pycuda": _pycuda}
