"""What can be known to fail before the long work: memory, disk, GPU, driver."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import DeviceError, InputError, OutputError
from edgepose.trt.api import Product, libraries_cuda
from edgepose.trt.gpu import Gpu, find_gpu, read_gpu

__all__ = ["Memory", "check_disk", "check_gpu", "check_memory"]

_MIB = 2**20

_NO_GPU_HINT = (
    "build on the machine that will run it, from the same .onnx file; or, for a desktop RTX GPU, "
    "build here without a GPU: --to rtx-engine"
)


@dataclass(frozen=True)
class Memory:
    """What a builder takes: ``base`` bytes, and ``factor`` times the file.

    ``needed`` of TensorRT-RTX is its measured peak over all models of the registry (the file and
    its FP32 weights are one size; 0.27 GiB + 3.2 x file fits all to 10 %). That of TensorRT, with
    CUDA's context, its kernels and a second copy for timing, is an estimate on the high side.
    """

    base: int
    factor: float

    def needed(self, file_bytes: int) -> int:
        """Bytes to build from a file of that size."""
        return int(self.base + self.factor * file_bytes)


_NEEDS: dict[str, Memory] = {
    "tensorrt": Memory(1536 * _MIB, 5.0),
    "tensorrt-rtx": Memory(320 * _MIB, 3.3),
}
# Below this share of the need nothing helps; between it and the need there is a warning.
_HOPELESS = 0.5


def check_gpu(product: Product) -> Gpu | None:
    """The GPU to build on; None for TensorRT-RTX where there is none.

    Raises:
        DeviceError: There is none and TensorRT needs it, or its driver is older than the CUDA of
            the installed TensorRT.
    """
    if product == "tensorrt-rtx":
        return find_gpu()
    try:
        gpu = read_gpu()
    except DeviceError as error:
        raise DeviceError(
            f"{error.what}, and TensorRT cannot build without one", error.why, _NO_GPU_HINT
        ) from error
    wanted = libraries_cuda(product)
    if wanted is not None and gpu.cuda[0] < int(wanted.partition(".")[0]):
        driver = f"driver {gpu.driver or 'of unknown version'}"
        raise DeviceError(
            f"the {driver} is too old for this TensorRT",
            f"TensorRT was made for CUDA {wanted}, the driver runs CUDA up to "
            f"{gpu.cuda[0]}.{gpu.cuda[1]}",
            "update the driver, or install the TensorRT of an older CUDA",
        )
    return gpu


def check_memory(product: Product, file_bytes: int) -> str | None:
    """Hold the free memory against what the builder will take.

    Returns:
        A warning where it may not be enough; None where it is, or the system does not say.

    Raises:
        DeviceError: It cannot be enough.
    """
    free = available_memory()
    if free is None:
        return None
    needed = _NEEDS[product].needed(file_bytes)
    told = f"about {needed // _MIB} MiB are needed and {free // _MIB} MiB are free"
    hint = "close what else runs (a desktop session alone takes 1 GiB), add swap, or build a "
    hint += "smaller model"
    if free < _HOPELESS * needed:
        raise DeviceError("there is not enough memory to build this engine", told, hint)
    if free < needed:
        return f"memory may run short during the build: {told}"
    return None


def available_memory() -> int | None:
    """Bytes that this process could still take: the system's, or its container's if fewer."""
    free = [n for n in (_mem_available(), _container_left()) if n is not None]
    return min(free) if free else None


def check_disk(out: Path, file_bytes: int) -> None:
    """See that an engine of about the size of its graph will fit.

    Raises:
        InputError: ``out`` is a folder.
        OutputError: It will not.
    """
    if out.is_dir():
        raise InputError(f"{out} is a folder", "the engine is one file", f"-o {out}/MODEL.engine")
    # The weights, kernels beside them, and what the file system rounds up.
    needed = file_bytes + file_bytes // 4 + 8 * _MIB
    folder = next(p for p in (out.parent, *out.parent.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"cannot write {out}",
            f"the engine takes about {needed // _MIB} MiB and {free // _MIB} MiB are free there",
            "free space, or choose another place",
        )


def _mem_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None


def _container_left(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take (cgroup v2); None without a limit."""
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
        caches = dict(line.split() for line in (root / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if not limit.isdigit():
        return None
    return max(0, int(limit) - used + int(caches.get("inactive_file", 0)))
