"""One face for every TensorRT from 8.6 to 11 and for TensorRT-RTX.

What a version can do is found by looking for the name, not by comparing version numbers: NVIDIA
removes names at major versions only, and TensorRT-RTX numbers itself anew.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgepose.errors import MissingDependency
from edgepose.trt.log import make_logger

__all__ = [
    "Product",
    "TensorRT",
    "installed",
    "libraries_cuda",
    "load",
    "on_jetson",
    "parse_version",
    "require_installed",
]

Product = Literal["tensorrt", "tensorrt-rtx"]

OLDEST = (8, 6, 0)
_TITLES = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
# The full package, then the plain bindings of the wheels.
_MODULES: dict[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_DPKG = Path("/var/lib/dpkg/status")
_loaded: dict[str, TensorRT] = {}


@dataclass(frozen=True, eq=False)
class TensorRT:
    """A TensorRT that is loaded.

    Attributes:
        module: The Python module.
        product: ``tensorrt`` or ``tensorrt-rtx``.
        version: As the module tells it, e.g. ``10.3.0``.
        cuda: CUDA version that its libraries were built for, where the package says so.
        logger: What its classes take as logger; ``watch`` collects errors
            (:mod:`edgepose.trt.log`).
    """

    module: Any
    product: Product
    version: str
    cuda: str | None
    logger: Any

    @property
    def title(self) -> str:
        """Name and version for messages."""
        return f"{_TITLES[self.product]} {self.version}"

    @property
    def explicit_batch(self) -> bool:
        """Whether a network must be asked for with a batch axis of its own (8.x)."""
        flags = self.module.NetworkDefinitionCreationFlag
        return hasattr(flags, "EXPLICIT_BATCH") and not hasattr(flags, "STRONGLY_TYPED")

    @property
    def strongly_typed(self) -> bool:
        """Whether the types in the graph decide the types of the engine (10 and later)."""
        return hasattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")

    @property
    def precision_flags(self) -> bool:
        """Whether there are flags and constraints for precision (before 11)."""
        return hasattr(self.module.BuilderFlag, "FP16")

    @property
    def progress(self) -> bool:
        """Whether the builder tells of its progress (10 and later)."""
        return hasattr(self.module, "IProgressMonitor")

    @property
    def external_tactics(self) -> bool:
        """Whether cuBLAS and cuDNN may lend their kernels to the builder (before 11)."""
        return hasattr(self.module.TacticSource, "CUBLAS")

    @property
    def version_compatible(self) -> bool:
        """Whether engines for later versions can be built. Not by TensorRT-RTX, by its manual."""
        flag = hasattr(self.module.BuilderFlag, "VERSION_COMPATIBLE")
        return flag and self.product == "tensorrt"

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """GPU generations that an engine can be built for without one: TensorRT-RTX alone."""
        kinds = getattr(self.module, "ComputeCapability", None)
        names = [] if kinds is None else [n[2:] for n in kinds.__members__ if n.startswith("SM")]
        return tuple(f"{name[:-1]}.{name[-1]}" for name in names)

    @property
    def hardware_levels(self) -> tuple[str, ...]:
        """Degrees of hardware compatibility, lower case, ``none`` first. Not for TensorRT-RTX."""
        if self.product == "tensorrt-rtx":
            return ("none",)
        members = self.module.HardwareCompatibilityLevel.__members__
        return tuple(name.lower() for name in sorted(members, key=lambda n: int(members[n])))

    def enum(self, kind: str, name: str) -> Any:
        """A member of an enum of the module."""
        return getattr(getattr(self.module, kind), name)


def parse_version(text: str) -> tuple[int, int, int]:
    """Major, minor and patch of a version; what is missing is 0.

    Raises:
        ValueError: It does not begin with a number.
    """
    match = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"'{text}' is no version")
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major, minor, patch


def installed(product: Product) -> bool:
    """Whether the product's Python module is there. Does not load it."""
    return _module_name(product) is not None


def require_installed(product: Product) -> str:
    """Name of the product's Python module, which is there but need not load.

    Raises:
        MissingDependency: It is not there; says what to install on this machine.
    """
    name = _module_name(product)
    if name is None:
        raise MissingDependency(
            f"this needs {_TITLES[product]}", "it is not installed", _how(product)
        )
    return name


def load(product: Product = "tensorrt") -> TensorRT:
    """Load TensorRT or TensorRT-RTX, once a process.

    Raises:
        MissingDependency: It is not installed, its libraries are missing, or it is older than 8.6.
            Says what to install on this machine.
    """
    if product not in _loaded:
        _loaded[product] = _load(product)
    return _loaded[product]


def on_jetson() -> bool:
    """Whether this machine is a Jetson."""
    if Path("/etc/nv_tegra_release").is_file():
        return True
    model = Path("/proc/device-tree/model")
    return model.is_file() and "jetson" in model.read_text(errors="replace").lower()


def _load(product: Product) -> TensorRT:
    title, name = _TITLES[product], require_installed(product)
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise MissingDependency(
            f"{title} is installed but does not load", str(error), _how(product)
        ) from error
    version = str(getattr(module, "__version__", ""))
    if product == "tensorrt" and _too_old(version):
        raise MissingDependency(
            f"this needs TensorRT 8.6 or later, and version {version or 'unknown'} is installed",
            "JetPack 5 carries TensorRT 8.5 and Python 3.8: it is out of range",
            "update to JetPack 6 or later" if on_jetson() else _how(product),
        )
    return TensorRT(module, product, version, libraries_cuda(product), make_logger(module))


def _module_name(product: Product) -> str | None:
    return next((name for name in _MODULES[product] if _is_there(name)), None)


def _is_there(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ValueError:  # a module in sys.modules without a spec
        return False


def _too_old(version: str) -> bool:
    try:
        return parse_version(version) < OLDEST
    except ValueError:
        return True


def _how(product: Product) -> str:
    """What installs the product on this machine."""
    machine = platform.machine().lower()
    if product == "tensorrt-rtx":
        if platform.system() == "Linux" and machine in ("x86_64", "aarch64"):
            return 'pip install "edgepose[rtx]"'
        return "get it from https://developer.nvidia.com/tensorrt-rtx"
    if on_jetson():
        return (
            "it comes with JetPack: sudo apt install nvidia-jetpack, then make the environment "
            "with python3 -m venv --system-site-packages (pip's TensorRT is not for Jetson)"
        )
    if platform.system() in ("Linux", "Windows"):
        return (
            "pip install tensorrt-cu13 --extra-index-url https://pypi.nvidia.com "
            "(tensorrt-cu12 for drivers before 580), where the GPU is; without one, --to onnx here "
            "and the engine where it will run"
        )
    return "TensorRT runs on Linux and Windows with an NVIDIA GPU; here, use the .onnx file"


def libraries_cuda(product: Product) -> str | None:
    """CUDA version of the installed libraries: from pip's names, or apt's versions."""
    stem = _MODULES[product][0].replace("_", "[-_]")
    pattern = re.compile(rf"{stem}[-_]cu(\d+)(?:[-_](?:libs|bindings))?$", re.IGNORECASE)
    for distribution in importlib.metadata.distributions():
        match = pattern.match(distribution.metadata["Name"] or "")
        if match:
            return match[1]
    if product == "tensorrt" and _DPKG.is_file():
        text = _DPKG.read_text(errors="replace")
        apt = re.search(r"^Package: libnvinfer\d+\n(?:.+\n)*?Version: .*\+cuda([\d.]+)", text, re.M)
        return apt[1] if apt else None
    return None
