"""TensorRT and TensorRT-RTX: their API by version, and the sidecar of an engine."""

from __future__ import annotations

from edgepose.trt.api import Product, TensorRT, load
from edgepose.trt.gpu import Gpu, find_gpu
from edgepose.trt.sidecar import Here, Profile, Sidecar, check, here, read, sidecar_path, write

__all__ = [
    "Gpu",
    "Here",
    "Product",
    "Profile",
    "Sidecar",
    "TensorRT",
    "check",
    "find_gpu",
    "here",
    "load",
    "read",
    "sidecar_path",
    "write",
]
